/** Super-frames (virtio-net headers, GSO): the rules of RFC 7915 under an offload. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { check, decode } from '../../helpers/checker.js';
import { Harness, HOST4, HOST6, type Vnet } from '../../helpers/harness.js';
import { ipv4, ipv6, tcp, udp } from '../../helpers/packet.js';

const SERVER4 = '8.8.8.8';
const SERVER6 = '64:ff9b:1::808:808';
const TCPV4 = 1;
const TCPV6 = 4;
const UDP_L4 = 5;
const ECN = 0x80;

/** The sum that NEEDS_CSUM leaves in the field: of the pseudo-header, folded, not complemented. */
function partialSum(packet: Uint8Array): number {
  const is4 = packet[0]! >> 4 === 4;
  const header = is4 ? 20 : 40;
  let sum = packet.length - header + packet[is4 ? 9 : 6]!;
  for (let i = is4 ? 12 : 8; i < header; i += 2) sum += (packet[i]! << 8) | packet[i + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

/** Makes a packet one whose checksum, and segmentation if gsoType is not 0, is left to an offload. */
function offloaded(packet: Uint8Array, gsoType: number, gsoSize: number): [Uint8Array, Vnet] {
  const is4 = packet[0]! >> 4 === 4;
  const start = is4 ? 20 : 40;
  const isTcp = packet[is4 ? 9 : 6] === 6;
  const at = start + (isTcp ? 16 : 6);
  const bytes = packet.slice();
  const sum = partialSum(packet);
  bytes[at] = sum >> 8;
  bytes[at + 1] = sum & 255;
  const hdrLen = start + (isTcp ? (bytes[start + 12]! >> 4) * 4 : 8);
  return [bytes, { flags: 1, gsoType, hdrLen, gsoSize, csumStart: start, csumOffset: isTcp ? 16 : 6 }];
}

const tcp6 = (size: number) =>
  ipv6({ src: HOST6, dst: SERVER6 }, tcp({ sport: 1, dport: 2 }, new Uint8Array(size)));
const tcp4 = (size: number, df = true) =>
  ipv4(
    { src: SERVER4, dst: HOST4, df, id: 100 },
    tcp({ sport: 2, dport: 1, seq: 1000, flags: ['ack', 'psh'] }, new Uint8Array(size)),
  );
const udp6 = (size: number) => ipv6({ src: HOST6, dst: SERVER6 }, udp({}, new Uint8Array(size)));

for (const [name, packet, gsoType, outType, hdrLen, start] of [
  ['TCP to IPv4', tcp6(60_000), TCPV6, TCPV4, 40, 20],
  ['TCP with ECN to IPv4', tcp6(60_000), TCPV6 | ECN, TCPV4 | ECN, 40, 20],
  ['TCP to IPv6', tcp4(60_000), TCPV4, TCPV6, 60, 40],
  ['TCP with ECN to IPv6', tcp4(60_000), TCPV4 | ECN, TCPV6 | ECN, 60, 40],
  ['UDP to IPv4', udp6(60_000), UDP_L4, UDP_L4, 28, 20],
] as const) {
  test(`RFC 7915 section 1: a super-frame of ${name} passes with one rewrite [TAYGA-13]`, () => {
    const { verdict, frames } = new Harness().send(...offloaded(packet, gsoType, 1400));
    assert.equal(verdict, 'forward');
    assert.equal(frames.length, 1);
    const { vnet, bytes } = frames[0]!;
    const csumOffset = name.startsWith('UDP') ? 6 : 16;
    assert.deepEqual(vnet, {
      flags: 1,
      gsoType: outType,
      hdrLen,
      gsoSize: 1400,
      csumStart: start,
      csumOffset,
    });
    assert.equal((bytes[start + csumOffset]! << 8) | bytes[start + csumOffset + 1]!, partialSum(bytes));
  });
}

test('RFC 7915 section 1: a checksum left to an offload, without segmentation, is left to it again', () => {
  const [bytes, vnet] = offloaded(tcp6(100), 0, 0);
  const { frames } = new Harness().send(bytes, vnet);
  assert.deepEqual(frames[0]!.vnet, {
    flags: 1,
    gsoType: 0,
    hdrLen: 40,
    gsoSize: 0,
    csumStart: 20,
    csumOffset: 16,
  });
  check(frames[0]!.bytes, 4, { upper: { kind: 'tcp', checksum: 'pseudo' } });
});

test('RFC 7915 section 4.1: MTU rules look at the segments of a super-frame, not at its length', () => {
  const harness = new Harness({ settings: { ipv6Mtu: 1400 } });
  assert.equal(harness.send(...offloaded(tcp4(20_000), TCPV4, 1340)).verdict, 'forward');
  const { verdict, frames } = harness.send(...offloaded(tcp4(20_000), TCPV4, 1341));
  assert.equal(verdict, 'drop-too-big');
  check(frames[0]!.bytes, 4, { dst: SERVER4, upper: { kind: 'icmp', type: 3, code: 4, rest: 1380 } });
});

test('RFC 7915 section 5.1: the same towards IPv4', () => {
  const harness = new Harness({ settings: { ipv4Mtu: 1400 } });
  assert.equal(harness.send(...offloaded(tcp6(20_000), TCPV6, 1360)).verdict, 'forward');
  const { verdict, frames } = harness.send(...offloaded(tcp6(20_000), TCPV6, 1361));
  assert.equal(verdict, 'drop-too-big');
  check(frames[0]!.bytes, 6, { dst: HOST6, upper: { kind: 'icmp', type: 2, rest: 1420 } });
});

test('RFC 7915 section 5.1: a super-frame without data takes an identification, too', () => {
  const gateway = new Harness();
  const ids = [offloaded(udp6(0), UDP_L4, 100), offloaded(udp6(0), UDP_L4, 100)].map(([bytes, vnet]) =>
    Buffer.from(gateway.send(bytes, vnet).frames[0]!.bytes).readUInt16BE(4),
  );
  assert.equal((ids[1] as number) - (ids[0] as number), 1);
});

test('RFC 7915 section 5.1: segments of at most 1260 bytes have DF clear, and each its identification', () => {
  const harness = new Harness();
  const idOf = () => {
    const { id, df } = decode(harness.send(...offloaded(tcp6(10_000), TCPV6, 1000)).frames[0]!.bytes, 4);
    assert.equal(df, false);
    return id;
  };
  const [first, second] = [idOf(), idOf()];
  assert.ok(second - first >= 10, `ten segments, and the next begins ${second - first} later`);
  assert.equal(decode(harness.send(...offloaded(tcp6(10_000), TCPV6, 1221)).frames[0]!.bytes, 4).df, true);
});

test('RFC 7915 section 4: a super-frame without DF whose segments do not fit is segmented, then fragmented', () => {
  const { verdict, frames } = new Harness().send(...offloaded(tcp4(4000, false), TCPV4, 1400));
  assert.equal(verdict, 'forward');
  // Three segments of 1400, 1400 and 1200 bytes; the first two in two fragments each, the last (1260) in one packet.
  assert.equal(frames.length, 5);
  for (const { bytes, vnet } of frames) {
    assert.ok(bytes.length <= 1280);
    assert.equal(vnet.flags, 0);
  }
  const last = check(frames[4]!.bytes, 6, {
    nextHeader: 6,
    upper: { kind: 'tcp', seq: 3800, checksum: 'good' },
  });
  assert.ok('flags' in last.upper! && last.upper.flags.includes('psh'), 'PSH stays on the last');
});

test('a super-frame whose result would exceed 65,535 bytes is cut into packets with whole checksums', () => {
  const size = 65_535 - 20;
  const { verdict, frames } = new Harness().send(...offloaded(tcp6(size), TCPV6, 1440));
  assert.equal(verdict, 'forward');
  assert.equal(frames.length, Math.ceil(size / 1440));
  for (const { bytes } of frames)
    check(bytes, 4, { src: HOST4, dst: SERVER4, upper: { kind: 'tcp', checksum: 'good' } });
});

for (const [name, change] of [
  ["the other family's type", { gsoType: TCPV4 }],
  ['an unknown type', { gsoType: 3 }],
  ['a segment size of 0', { gsoSize: 0 }],
  ['no checksum offload', { flags: 0 }],
  ['a checksum start elsewhere', { csumStart: 48 }],
  ['a checksum offset elsewhere', { csumOffset: 6 }],
] as const) {
  test(`a super-frame with ${name} is dropped and counted`, () => {
    const [bytes, vnet] = offloaded(tcp6(5000), TCPV6, 1400);
    assert.equal(new Harness().send(bytes, { ...vnet, ...change }).verdict, 'drop-super-frame');
  });
}

test('a checksum that is said to begin inside the IP header is no checksum', () => {
  const [bytes, vnet] = offloaded(tcp6(100), 0, 0);
  assert.equal(new Harness().send(bytes, { ...vnet, csumStart: 8 }).verdict, 'drop-super-frame');
});

test('a super-frame turns round in a hairpin', () => {
  const harness = new Harness({
    hosts: [
      [HOST4, HOST6],
      ['10.64.9.9', '2001:db8:1::9'],
    ],
  });
  const packet = ipv6({ src: HOST6, dst: '64:ff9b:1::10.64.9.9' }, tcp({}, new Uint8Array(30_000)));
  const { frames } = harness.send(...offloaded(packet, TCPV6, 1400));
  const { vnet, bytes } = frames[0]!;
  assert.deepEqual(vnet, {
    flags: 1,
    gsoType: TCPV6,
    hdrLen: 60,
    gsoSize: 1400,
    csumStart: 40,
    csumOffset: 16,
  });
  assert.equal((bytes[56]! << 8) | bytes[57]!, partialSum(bytes));
  assert.equal(bytes.length, packet.length);
});

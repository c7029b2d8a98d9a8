/** RFC 7915 sections 4.1, 4.4, 4.5, 5.1, 5.4 and 5.5: IP headers and upper layers, both ways. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { check } from '../../helpers/checker.js';
import { Harness, HOST4, HOST6 } from '../../helpers/harness.js';
import {
  destinationOptions,
  fragment6,
  hopByHop,
  icmp,
  ipv4,
  ipv6,
  mss,
  raw,
  routing,
  tcp,
  udp,
} from '../../helpers/packet.js';

const SERVER4 = '8.8.8.8';
const SERVER6 = '64:ff9b:1::808:808';
const DST6 = '64:ff9b:1::8.8.8.8';
const from4 = (fields: object, ...parts: Parameters<typeof ipv4>[1][]) =>
  ipv4({ src: SERVER4, dst: HOST4, ...fields }, ...parts);
const from6 = (fields: object, ...parts: Parameters<typeof ipv6>[1][]) =>
  ipv6({ src: HOST6, dst: DST6, ...fields }, ...parts);
const zeros = (length: number) => new Uint8Array(length);
const only = (harness: Harness, packet: Uint8Array) => {
  const { verdict, frames } = harness.send(packet);
  assert.equal(verdict, 'forward');
  assert.equal(frames.length, 1);
  return frames[0]!.bytes;
};

for (const tos of [0, 1, 2, 3, 0xb8, 0xff]) {
  test(`RFC 7915 section 4.1: type of service 0x${tos.toString(16)} becomes the traffic class, all 8 bits; flow label 0`, () => {
    check(only(new Harness(), from4({ tos }, udp({}))), 6, { trafficClass: tos, flowLabel: 0 });
  });
  test(`RFC 7915 section 5.1: traffic class 0x${tos.toString(16)} becomes the type of service, all 8 bits`, () => {
    check(only(new Harness(), from6({ trafficClass: tos, flowLabel: 0x12345 }, udp({}))), 4, { tos });
  });
}

test('RFC 7915 sections 4.1 and 5.1: copying the traffic class can be turned off [R7915-8] [R7915-38]', () => {
  const harness = new Harness({ settings: { copyTrafficClass: false } });
  check(only(harness, from4({ tos: 0xb8 }, udp({}))), 6, { trafficClass: 0 });
  check(only(harness, from6({ trafficClass: 0xb8 }, udp({}))), 4, { tos: 0 });
});

test('RFC 7915 section 4.1: TTL counts down; payload length is the total less the header', () => {
  check(only(new Harness(), from4({ ttl: 64 }, udp({}, zeros(10)))), 6, {
    hopLimit: 63,
    payloadLength: 18,
    nextHeader: 17,
  });
});

test('RFC 7915 section 5.1: hop limit counts down; total length is the payload and 20', () => {
  check(only(new Harness(), from6({ hopLimit: 64 }, udp({}, zeros(10)))), 4, {
    ttl: 63,
    totalLength: 38,
    headerLength: 20,
  });
});

for (const ttl of [0, 1]) {
  test(`RFC 7915 section 4.1: TTL ${ttl} on arrival is answered with ICMP 11/0 [R7915-10]`, () => {
    const { verdict, frames } = new Harness().send(from4({ ttl }, udp({})));
    assert.equal(verdict, 'drop-ttl');
    check(frames[0]!.bytes, 4, {
      src: '10.64.0.1',
      dst: SERVER4,
      ttl: 64,
      upper: { kind: 'icmp', type: 11, code: 0, quoted: { ttl } },
    });
  });
  test(`RFC 7915 section 5.1: hop limit ${ttl} on arrival is answered with ICMPv6 3/0 [R7915-39]`, () => {
    const { verdict, frames } = new Harness().send(from6({ hopLimit: ttl }, udp({})));
    assert.equal(verdict, 'drop-ttl');
    check(frames[0]!.bytes, 6, {
      src: '64:ff9b:1::a40:1',
      dst: HOST6,
      hopLimit: 64,
      upper: { kind: 'icmp', type: 3, code: 0, quoted: { hopLimit: ttl } },
    });
  });
}

test('RFC 7915 section 4.1: options are dropped', () => {
  const out = only(new Harness(), from4({ options: [1, 1, 1, 0] }, udp({}, 'data')));
  check(out, 6, { payloadLength: 12, upper: { kind: 'udp', checksum: 'good' } });
});

for (const [name, option] of [
  ['LSRR', 131],
  ['SSRR', 137],
] as const) {
  test(`RFC 7915 section 4.1: an unexpired ${name} is answered with ICMP 3/5`, () => {
    const { verdict, frames } = new Harness().send(
      from4({ options: [option, 7, 4, 1, 2, 3, 4, 0] }, udp({})),
    );
    assert.equal(verdict, 'drop-source-route');
    check(frames[0]!.bytes, 4, { dst: SERVER4, upper: { kind: 'icmp', type: 3, code: 5 } });
  });
  test(`RFC 7915 section 4.1: an expired ${name} passes`, () => {
    only(new Harness(), from4({ options: [option, 7, 8, 1, 2, 3, 4, 0] }, udp({})));
  });
}

/** Total length of the IPv4 packet, and what becomes of it at IPv6 MTU 1400. */
for (const [length, fits] of [
  [1380, true],
  [1381, false],
] as const) {
  test(`RFC 7915 section 4.1: with DF, ${length} bytes ${fits ? 'fit' : 'do not fit'} an IPv6 MTU of 1400 [R7915-1] [R7915-7]`, () => {
    const { verdict, frames } = new Harness({ settings: { ipv6Mtu: 1400 } }).send(
      from4({ df: true }, udp({}, zeros(length - 28))),
    );
    assert.equal(verdict, fits ? 'forward' : 'drop-too-big');
    if (!fits) check(frames[0]!.bytes, 4, { upper: { kind: 'icmp', type: 3, code: 4, rest: 1380 } });
  });
}

test('RFC 7915 section 4.1: a fragment with DF that does not fit is told 28 bytes less [R7915-7]', () => {
  const { frames } = new Harness({ settings: { ipv6Mtu: 1400 } }).send(
    from4({ df: true, mf: true }, udp({}, zeros(1392))),
  );
  check(frames[0]!.bytes, 4, { upper: { kind: 'icmp', type: 3, code: 4, rest: 1372 } });
});

test('RFC 7915 section 4: without DF, a packet that fits gets no Fragment header [R7915-4]', () => {
  check(only(new Harness(), from4({}, udp({}, zeros(1260 - 28)))), 6, {
    nextHeader: 17,
    payloadLength: 1240,
  });
});

for (const [length, sizes] of [
  [1261, [1280, 57]],
  [1500, [1280, 296]],
  [4020, [1280, 1280, 1280, 352]],
] as const) {
  test(`RFC 7915 section 4: without DF, ${length} bytes become fragments of at most 1280 [R7915-1] [R7915-2] [R7915-6]`, () => {
    const { frames } = new Harness().send(from4({ id: 0xbeef }, udp({}, zeros(length - 28))));
    assert.deepEqual(
      frames.map(({ bytes }) => bytes.length),
      sizes,
    );
    let offsetBytes = 0;
    for (const [i, { bytes }] of frames.entries()) {
      const more = i < frames.length - 1;
      check(bytes, 6, {
        nextHeader: 44,
        extensions: [{ kind: 'fragment', offsetBytes, more, id: 0xbeef, reserved: 0 }],
      });
      offsetBytes += bytes.length - 48;
    }
  });
}

for (const [length, count] of [
  [1252, 1],
  [1260, 2],
] as const) {
  test(`RFC 7915 section 4.1: a fragment of ${length} bytes becomes ${count}`, () => {
    const { frames } = new Harness().send(
      from4({ mf: true, id: 7, offsetBytes: 800 }, raw(17), zeros(length - 20)),
    );
    assert.equal(frames.length, count);
    check(frames[0]!.bytes, 6, { extensions: [{ kind: 'fragment', offsetBytes: 800, more: true, id: 7 }] });
    assert.equal(frames[0]!.bytes.length, 1280);
  });
}

for (const protocol of [0, 43, 44, 58, 60]) {
  test(`RFC 7915 section 4.1: protocol ${protocol} cannot pass to IPv6`, () => {
    assert.equal(new Harness().send(from4({}, raw(protocol), zeros(16))).verdict, 'drop-protocol');
  });
}

for (const [name, protocol] of [
  ['GRE', 47],
  ['ESP', 50],
  ['SCTP', 132],
  ['IPIP', 4],
  ['protocol 253', 253],
] as const) {
  test(`RFC 7915 sections 4.5 and 5.5: ${name} passes both ways, untouched`, () => {
    const content = Uint8Array.from({ length: 24 }, (_, i) => i);
    const there = only(new Harness(), from6({}, raw(protocol), content));
    assert.deepEqual(there.slice(20), content);
    const back = only(new Harness(), from4({}, raw(protocol), content));
    assert.deepEqual(back.slice(40), content);
  });
}

test('RFC 7915 section 5.1: next header 1 (ICMPv4) cannot pass to IPv4', () => {
  assert.equal(new Harness().send(from6({}, raw(1), zeros(16))).verdict, 'drop-protocol');
});

for (const [length, df] of [
  [1260, false],
  [1261, true],
] as const) {
  test(`RFC 7915 section 5.1: a result of ${length} bytes has DF ${df ? 'set' : 'clear'} [R7915-35] [R7915-36]`, () => {
    check(only(new Harness(), from6({}, udp({}, zeros(length - 28)))), 4, { df, totalLength: length });
  });
}

test('RFC 7915 section 5.1: identifications do not repeat soon', () => {
  const harness = new Harness();
  const seen = new Set<number>();
  for (let i = 0; i < 60_000; i++) seen.add(check(only(harness, from6({}, udp({}))), 4).id);
  assert.equal(seen.size, 60_000);
});

for (const [length, fits] of [
  [1420, true],
  [1421, false],
] as const) {
  test(`RFC 7915 section 5.1: ${length} bytes ${fits ? 'fit' : 'do not fit'} an IPv4 MTU of 1400 [R7915-1] [R7915-44]`, () => {
    const { verdict, frames } = new Harness({ settings: { ipv4Mtu: 1400 } }).send(
      from6({}, udp({}, zeros(length - 48))),
    );
    assert.equal(verdict, fits ? 'forward' : 'drop-too-big');
    if (!fits)
      check(frames[0]!.bytes, 6, { dst: HOST6, upper: { kind: 'icmp', type: 2, code: 0, rest: 1420 } });
  });
}

test('RFC 7915 section 5.1: with DF clear nothing is too big: an MTU below 1280 would be a black hole', () => {
  const harness = new Harness({ settings: { ipv4Mtu: 576 } });
  check(only(harness, from6({}, udp({}, zeros(1232)))), 4, { totalLength: 1260, df: false });
  const { frames } = harness.send(from6({}, udp({}, zeros(1233))));
  check(frames[0]!.bytes, 6, { upper: { kind: 'icmp', type: 2, rest: 1280 } });
});

test('RFC 7915 section 5.1.1: a Fragment header becomes the IPv4 fields', () => {
  const out = only(
    new Harness(),
    from6({}, fragment6({ id: 0x12345678, offsetBytes: 1232, more: true, nextHeader: 17 }), zeros(64)),
  );
  check(out, 4, { id: 0x5678, offsetBytes: 1232, mf: true, df: false, protocol: 17, totalLength: 84 });
});

test('RFC 6946: an atomic fragment is a whole packet', () => {
  const out = only(new Harness(), from6({}, fragment6({ id: 9 }), udp({}, 'data')));
  check(out, 4, { id: 9, offsetBytes: 0, mf: false, df: false, upper: { kind: 'udp', checksum: 'good' } });
});

for (const [name, layer] of [
  ['hop-by-hop options', hopByHop()],
  ['destination options', destinationOptions()],
  ['a spent routing header', routing({ segmentsLeft: 0 })],
] as const) {
  test(`RFC 7915 section 5.1: ${name} are skipped`, () => {
    check(only(new Harness(), from6({}, layer, udp({}, 'data'))), 4, {
      protocol: 17,
      totalLength: 32,
      upper: { kind: 'udp', checksum: 'good' },
    });
  });
}

for (const [name, layers, pointer] of [
  ['first', [routing({ segmentsLeft: 1 })], 43],
  ['behind 8 bytes of hop-by-hop options', [hopByHop(), routing({ segmentsLeft: 1 })], 51],
] as const) {
  test(`RFC 7915 section 5.1: a routing header with segments left, ${name}, is answered with ICMPv6 4/0 pointer ${pointer}`, () => {
    const { verdict, frames } = new Harness().send(from6({}, ...layers, udp({})));
    assert.equal(verdict, 'drop-routing-header');
    check(frames[0]!.bytes, 6, { upper: { kind: 'icmp', type: 4, code: 0, rest: pointer } });
  });
}

for (const [name, layer] of [
  ['destination options', destinationOptions()],
  ['another Fragment header', fragment6({})],
] as const) {
  test(`RFC 7915 section 5.1.1: ${name} behind the Fragment header: dropped`, () => {
    assert.equal(
      new Harness().send(from6({}, fragment6({}), layer, udp({}))).verdict,
      'drop-extension-header',
    );
  });
}

for (const [name, ...layers] of [
  ['TCP', tcp({ sport: 1, dport: 2 }, 'odd')],
  ['UDP', udp({}, 'odd')],
  ['UDP-Lite', raw(136, { checksumAt: 6 }), zeros(19)],
  ['DCCP', raw(33, { checksumAt: 6 }), zeros(16)],
] as const) {
  test(`RFC 7915 sections 4.5 and 5.5: the checksum of ${name} is adjusted, both ways`, () => {
    const there = only(new Harness(), from6({}, ...layers)).slice(20);
    assert.deepEqual(there, ipv4({ src: HOST4, dst: SERVER4 }, ...layers).slice(20));
    const back = only(new Harness(), from4({}, ...layers)).slice(40);
    assert.deepEqual(back, ipv6({ src: SERVER6, dst: HOST6 }, ...layers).slice(40));
  });
}

for (const [policy, verdict, checksum] of [
  ['drop', 'drop-udp-zero-checksum', ''],
  ['calc', 'forward', 'good'],
  ['forward', 'forward', 'none'],
] as const) {
  test(`RFC 7915 section 4.5: UDP without a checksum, policy ${policy} [R7915-29]`, () => {
    const { verdict: actual, frames } = new Harness({ settings: { udpZeroChecksum: policy } }).send(
      from4({}, udp({ checksum: 0 }, 'data')),
    );
    assert.equal(actual, verdict);
    if (checksum !== '') check(frames[0]!.bytes, 6, { upper: { kind: 'udp', checksum } });
  });
}

test('RFC 7915 section 4.5: a first fragment does not show what a checksum would cover [R7915-30] [TAYGA-4]', () => {
  const harness = new Harness({ settings: { udpZeroChecksum: 'calc' } });
  assert.equal(
    harness.send(from4({ mf: true }, udp({ checksum: 0 }, zeros(16)))).verdict,
    'drop-udp-zero-checksum',
  );
});

test('RFC 768: a sum that adjusts to 0 is sent as 0xffff [TAYGA-3]', () => {
  // One datagram whose data is chosen so that its sum comes out as 0 on the other side.
  const gateway = new Harness({ hosts: [[HOST4, HOST6]], settings: { mssClamp: 'off' } });
  const results = Array.from({ length: 0x10000 }, (_, i) => i).filter((i) => {
    const bytes = only(gateway, from4({}, udp({}, [i >> 8, i & 255])));
    return bytes[46] === 0xff && bytes[47] === 0xff;
  });
  assert.equal(results.length, 1);
});

test('mss-clamp lowers the MSS of a SYN that would not fit, and no other', () => {
  const harness = new Harness({ settings: { mssClamp: 'auto', ipv6Mtu: 1400, ipv4Mtu: 1500 } });
  const optionOf = (bytes: Uint8Array, at: number) => (bytes[at + 22]! << 8) | bytes[at + 23]!;
  const syn = only(harness, from6({}, tcp({ flags: ['syn'], options: mss(1440) })));
  check(syn, 4, { upper: { kind: 'tcp', checksum: 'good' } });
  assert.equal(optionOf(syn, 20), 1340);
  assert.equal(optionOf(only(harness, from4({}, tcp({ flags: ['syn'], options: mss(1460) }))), 40), 1340);
  assert.equal(optionOf(only(harness, from6({}, tcp({ flags: ['syn'], options: mss(1200) }))), 20), 1200);
  assert.equal(optionOf(only(harness, from6({}, tcp({ flags: ['ack'], options: mss(1440) }))), 20), 1440);
});

test('RFC 7915 section 4.1: a bad header checksum is dropped', () => {
  assert.equal(new Harness().send(from4({ checksum: 'wrong' }, udp({}))).verdict, 'drop-v4-checksum');
});

for (const address of ['0.1.2.3', '127.0.0.1', '224.0.0.1', '240.0.0.1', '255.255.255.255', '169.254.1.1']) {
  test(`never forwarded: ${address}, as source or destination`, () => {
    assert.equal(new Harness().send(ipv4({ src: address, dst: HOST4 }, udp({}))).verdict, 'drop-v4-address');
    assert.equal(
      new Harness().send(ipv6({ src: HOST6, dst: `64:ff9b:1::${address}` }, udp({}))).verdict,
      'drop-v4-address',
    );
  });
}

test('240.0.0.0/4 passes where it is allowed, the broadcast address does not', () => {
  const harness = new Harness({ settings: { forwardClassE: true } });
  only(harness, ipv6({ src: HOST6, dst: '64:ff9b:1::240.0.0.1' }, udp({})));
  only(harness, ipv4({ src: '240.0.0.1', dst: HOST4 }, udp({})));
  assert.equal(
    harness.send(ipv4({ src: '255.255.255.255', dst: HOST4 }, udp({}))).verdict,
    'drop-v4-address',
  );
});

for (const address of ['::', '::1', 'fe80::1', 'ff02::1']) {
  test(`never forwarded: ${address} as a source`, () => {
    assert.equal(new Harness().send(ipv6({ src: address, dst: DST6 }, udp({}))).verdict, 'drop-v6-address');
  });
}

test("an IPv6 source inside pref64 is dropped, but for the kernel's own on the device", () => {
  assert.equal(
    new Harness().send(ipv6({ src: '64:ff9b:1::9.9.9.9', dst: DST6 }, udp({}))).verdict,
    'drop-v6-source-in-pref64',
  );
  assert.equal(new Harness().send(ipv6({ src: '64:ff9b:1::10.64.0.2', dst: DST6 }, udp({}))).verdict, 'hold');
});

test("an IPv4 source inside the pool is dropped, but for the kernel's own on the device", () => {
  assert.equal(
    new Harness().send(ipv4({ src: '10.64.9.9', dst: HOST4 }, udp({}))).verdict,
    'drop-v4-source-in-pool4',
  );
  check(only(new Harness(), ipv4({ src: '10.64.0.2', dst: HOST4 }, udp({}))), 6, { src: '64:ff9b:1::a40:2' });
});

test('destinations without a map are answered: ICMP 3/1, ICMPv6 1/0', () => {
  check(new Harness().send(ipv4({ src: SERVER4, dst: '10.64.77.7' }, udp({}))).frames[0]!.bytes, 4, {
    upper: { kind: 'icmp', type: 3, code: 1 },
  });
  check(new Harness().send(ipv6({ src: HOST6, dst: '2001:db8:9::1' }, udp({}))).frames[0]!.bytes, 6, {
    upper: { kind: 'icmp', type: 1, code: 0 },
  });
  check(new Harness().send(ipv6({ src: HOST6, dst: '64:ff9b:1::10.64.77.7' }, udp({}))).frames[0]!.bytes, 6, {
    upper: { kind: 'icmp', type: 1, code: 0 },
  });
});

test('a source that gets no address is answered: ICMPv6 1/5', () => {
  const harness = new Harness({ pool4: null });
  const { verdict, frames } = harness.send(from6({}, udp({})));
  assert.equal(verdict, 'drop-v6-no-map-source');
  check(frames[0]!.bytes, 6, { src: '64:ff9b:1::a40:1', upper: { kind: 'icmp', type: 1, code: 5 } });
});

for (const type of [1, 2, 3, 4, 127, 137]) {
  test(`RFC 4443 section 2.4 e: no error about an ICMPv6 message of type ${type}`, () => {
    const packet = ipv6({ src: HOST6, dst: '2001:db8:9::1' }, icmp({ type }, zeros(40)));
    assert.deepEqual(new Harness().send(packet), { verdict: 'drop-v6-no-map-destination', frames: [] });
  });
}

test('RFC 1812 section 4.3.2.8: errors of our own are limited, and what is suppressed is counted', () => {
  const harness = new Harness({ settings: { icmpErrorsPerSec: 0, icmpErrorBurst: 3 } });
  let sent = 0;
  for (let i = 0; i < 10; i++) sent += harness.send(from6({ hopLimit: 1 }, udp({}))).frames.length;
  assert.equal(sent, 3);
  assert.equal(harness.count('icmp-errors-sent'), 3);
  assert.equal(harness.count('icmp-errors-suppressed'), 7);
});

test(`the translator's own addresses answer ping and refuse the rest: ICMP 3/2, ICMPv6 4/1 pointer 6`, async () => {
  const { echo } = await import('../../helpers/packet.js');
  const own4 = '10.64.0.1';
  const own6 = '64:ff9b:1::10.64.0.1';
  check(only(new Harness(), ipv4({ src: SERVER4, dst: own4 }, echo({ id: 3 }, 'x'))), 4, {
    src: own4,
    dst: SERVER4,
    upper: { kind: 'icmp', type: 0, checksum: 'good' },
  });
  check(only(new Harness(), ipv6({ src: HOST6, dst: own6 }, echo({ id: 3 }, 'x'))), 6, {
    dst: HOST6,
    upper: { kind: 'icmp', type: 129, checksum: 'good' },
  });
  check(new Harness().send(ipv4({ src: SERVER4, dst: own4 }, udp({}))).frames[0]!.bytes, 4, {
    upper: { kind: 'icmp', type: 3, code: 2 },
  });
  check(new Harness().send(ipv6({ src: HOST6, dst: own6 }, udp({}))).frames[0]!.bytes, 6, {
    upper: { kind: 'icmp', type: 4, code: 1, rest: 6 },
  });
});

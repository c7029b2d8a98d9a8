/** RFC 7915 sections 4.1 and 5.1: what is no packet, what stands in the way of its upper layer, and which addresses never pass. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { check } from '../../helpers/checker.js';
import { Harness, HOST4, HOST6 } from '../../helpers/harness.js';
import {
  bytes,
  cut,
  destinationOptions,
  extension,
  hopByHop,
  icmp,
  ipv4,
  ipv6,
  type Layer,
  raw,
  routing,
  tcp,
  udp,
} from '../../helpers/packet.js';
import { from4, from6, OWN4, only, SERVER4, SERVER6, send, zeros } from '../shared.js';

/** Writes a right checksum into the first 20 bytes of an IPv4 packet that was tampered with. */
function resum(packet: Uint8Array): Uint8Array {
  const out = packet.slice();
  out.set([0, 0], 10);
  let sum = 0;
  for (let i = 0; i < 20; i += 2) sum += (out[i]! << 8) | out[i + 1]!;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  out.set([(~sum >> 8) & 255, ~sum & 255], 10);
  return out;
}

const whole4 = from4({}, udp({}, bytes(40)));
const whole6 = from6({}, udp({}, bytes(40)));

for (const length of [1, 8, 19, 20, 27, 67]) {
  test(`RFC 791 section 3.1: ${length} bytes of an IPv4 packet of 68 are none`, () => {
    assert.deepEqual(send(cut(whole4, length)), { verdict: 'drop-v4-malformed', frames: [] });
  });
}

for (const length of [1, 39, 40, 87]) {
  test(`RFC 8200 section 3: ${length} bytes of an IPv6 packet of 88 are none`, () => {
    assert.deepEqual(send(cut(whole6, length)), { verdict: 'drop-v6-malformed', frames: [] });
  });
}

for (const words of [0, 1, 4]) {
  test(`RFC 791 section 3.1: a header of ${words} words is too short`, () => {
    const packet = whole4.slice();
    packet[0] = 0x40 | words;
    assert.equal(send(resum(packet)).verdict, 'drop-v4-malformed');
  });
}

test('RFC 791 section 3.1: a header longer than the packet, and a total length shorter than the header', () => {
  const packet = resum(ipv4({ src: SERVER4, dst: HOST4 }));
  packet[0] = 0x46;
  assert.equal(send(resum(packet)).verdict, 'drop-v4-malformed');
  assert.equal(send(from4({ totalLength: 19 }, udp({}))).verdict, 'drop-v4-malformed');
});

for (const version of [0, 1, 5, 7, 15]) {
  test(`RFC 7915 section 1.1: version ${version} is no IP`, () => {
    assert.equal(send(from4({ version }, udp({}))).verdict, 'drop-not-ip');
    assert.equal(send(from6({ version }, udp({}))).verdict, 'drop-not-ip');
  });
}

test('RFC 791 section 3.1: bytes behind the end that the header tells do not pass, both ways', () => {
  const padded = (packet: Uint8Array) => Uint8Array.from([...packet, 1, 2, 3, 4, 5]);
  assert.equal(only(padded(whole4)).length, 40 + 48);
  assert.equal(only(padded(whole6)).length, 20 + 48);
});

for (let bit = 0; bit < 160; bit += 7) {
  // A flip in version, header length or total length is another fault first.
  if (bit < 8 || (bit >= 16 && bit < 32)) continue;
  test(`RFC 1812 section 5.2.2: bit ${bit} of the IPv4 header flipped: its checksum is wrong`, () => {
    const packet = whole4.slice();
    packet[bit >> 3] = packet[bit >> 3]! ^ (0x80 >> (bit & 7));
    assert.deepEqual(send(packet), { verdict: 'drop-v4-checksum', frames: [] });
  });
}

for (const [name, packet] of [
  ['hop-by-hop options', from6({}, hopByHop(bytes(30)))],
  ['a routing header', from6({}, hopByHop(), extension(43, [0, 0, 0, 0, 0, 0, ...bytes(16)]))],
  ['a Fragment header', from6({ nextHeader: 44 }, [17, 0, 0, 0, 0, 0, 0, 0])],
] as const) {
  test(`RFC 8200 section 4: ${name} cut short: the chain leaves the packet`, () => {
    const short = cut(packet, packet.length - 4);
    short[5] = short[5]! - 4;
    assert.deepEqual(send(short), { verdict: 'drop-v6-malformed', frames: [] });
  });
}

const CHAINS: readonly (readonly [string, readonly Layer[]])[] = [
  ['hop-by-hop options of 8 bytes', [hopByHop()]],
  ['hop-by-hop options of 256 bytes', [hopByHop(bytes(254))]],
  ['destination options', [destinationOptions(bytes(14))]],
  ['a spent routing header of type 0', [routing({})]],
  ['a spent routing header of type 2', [routing({ type: 2 })]],
  ['a spent routing header of type 4', [extension(43, [4, 0, ...zeros(36)])]],
  [
    'all of them, destination options twice',
    [hopByHop(), destinationOptions(), routing(), destinationOptions()],
  ],
];
for (const [name, chain] of CHAINS) {
  for (const [kind, layer, protocol] of [
    ['TCP', tcp({}, 'data'), 6],
    ['UDP', udp({}, 'data'), 17],
    ['GRE', raw(47), 47],
  ] as const) {
    test(`RFC 7915 section 5.1: ${name} in front of ${kind} ignored: lengths and protocol as if not there [R7915-41]`, () => {
      const out = only(from6({}, ...chain, layer));
      assert.deepEqual(out.slice(20), ipv4({ src: HOST4, dst: SERVER4 }, layer).slice(20));
      check(out, 4, { protocol, totalLength: out.length, headerLength: 20, options: zeros(0) });
    });
  }
}

for (const [name, chain, pointer] of [
  ['first', [routing({ segmentsLeft: 1 })], 43],
  ['behind 8 bytes of hop-by-hop options', [hopByHop(), routing({ segmentsLeft: 255 })], 51],
  ['behind 32 bytes of hop-by-hop options', [hopByHop(bytes(30)), routing({ segmentsLeft: 1 })], 75],
  ['behind destination options', [hopByHop(), destinationOptions(), routing({ segmentsLeft: 1 })], 59],
  ['of a type that nobody knows', [routing({ type: 99, segmentsLeft: 1 })], 43],
  ['behind a spent one', [routing(), routing({ segmentsLeft: 2 })], 51],
] as const) {
  test(`RFC 7915 section 5.1: segments left in a routing header ${name}: ICMPv6 4/0, pointer ${pointer} [R7915-42] [R7915-43]`, () => {
    const packet = from6({ hopLimit: 9 }, ...chain, udp({}, 'data'));
    const { verdict, frames } = send(packet);
    assert.equal(verdict, 'drop-routing-header');
    assert.equal(frames.length, 1);
    check(frames[0]!.bytes, 6, {
      dst: HOST6,
      upper: { kind: 'icmp', type: 4, code: 0, pointer, data: packet },
    });
  });
}

const OPTIONS: readonly (readonly [string, readonly number[]])[] = [
  ['no-operation', [1, 1, 1, 1]],
  ['end of list, and what looks like a route behind it', [0, 131, 7, 4, 1, 2, 3, 4]],
  ['record route', [7, 11, 4, ...zeros(8), 0]],
  ['timestamp', [68, 12, 5, 0, ...zeros(8)]],
  ['router alert', [148, 4, 0, 0]],
  ['40 bytes of them', [7, 39, 4, ...zeros(36), 0]],
  ['one of length 0', [7, 0, 0, 0]],
  ['one that runs out of the header', [7, 200, 4, 0]],
  ['a spent loose route', [131, 7, 8, 1, 2, 3, 4, 0]],
  ['a spent strict route', [137, 7, 8, 1, 2, 3, 4, 0]],
];
for (const [name, options] of OPTIONS) {
  test(`RFC 7915 section 4.1: IPv4 options (${name}) are ignored, the packet is translated without them [R7915-12]`, () => {
    const layer = udp({}, 'data');
    const out = only(from4({ options }, layer));
    check(out, 6, { nextHeader: 17, payloadLength: 12, extensions: [] });
    assert.deepEqual(out.slice(40), ipv6({ src: SERVER6, dst: HOST6 }, layer).slice(40));
  });
}

for (const [name, options] of [
  ['a loose route', [131, 7, 4, 1, 2, 3, 4, 0]],
  ['a strict route', [137, 7, 4, 1, 2, 3, 4, 0]],
  ['a loose route with one hop left of two', [131, 11, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0]],
  ['a route behind other options', [1, 7, 7, 4, 0, 0, 0, 0, 131, 7, 4, 1, 2, 3, 4, 0]],
] as const) {
  test(`RFC 7915 section 4.1: ${name} that is not spent: dropped, ICMP 3/5 [R7915-13] [R7915-14]`, () => {
    const packet = from4({ options }, udp({}, 'data'));
    const { verdict, frames } = send(packet);
    assert.equal(verdict, 'drop-source-route');
    check(frames[0]!.bytes, 4, {
      src: OWN4,
      dst: SERVER4,
      upper: { kind: 'icmp', type: 3, code: 5, rest: 0, data: packet },
    });
  });
}

const FORBIDDEN4 = [
  ...[
    '0.0.0.0',
    '0.0.0.1',
    '0.255.255.255',
    '127.0.0.1',
    '127.255.255.255',
    '169.254.0.1',
    '169.254.255.255',
  ],
  ...['224.0.0.1', '239.255.255.255', '240.0.0.1', '255.255.255.254', '255.255.255.255'],
];
for (const address of FORBIDDEN4) {
  test(`RFC 7915 section 4.1: ${address} never passes and gets no answer, as source or destination, both ways [R7915-11] [R7915-17]`, () => {
    const dropped = { verdict: 'drop-v4-address', frames: [] };
    assert.deepEqual(send(from4({ src: address }, udp({}))), dropped);
    assert.deepEqual(send(from4({ dst: address }, udp({}))), dropped);
    assert.deepEqual(send(from6({ dst: `64:ff9b:1::${address}` }, udp({}))), dropped);
    assert.deepEqual(send(from4({ src: address, dst: OWN4 }, udp({}))), dropped);
  });
}
for (const address of [
  '1.0.0.0',
  '126.255.255.255',
  '128.0.0.1',
  '169.253.255.255',
  '169.255.0.0',
  '223.255.255.255',
]) {
  test(`RFC 7915 section 4.1: ${address}, next to one that never passes, passes both ways`, () => {
    only(from4({ src: address }, udp({})));
    only(from6({ dst: `64:ff9b:1::${address}` }, udp({})));
  });
}

test('RFC 7757 section 3.2: a link-local IPv4 address passes where an explicit map names it', () => {
  const options = { maps: [['169.254.7.7/32', '2001:db8:7::7/128']] as const };
  check(only(from4({ dst: '169.254.7.7' }, udp({})), new Harness(options)), 6, { dst: '2001:db8:7::7' });
  check(only(from6({ src: '2001:db8:7::7' }, udp({})), new Harness(options)), 4, { src: '169.254.7.7' });
});

const FORBIDDEN6 = ['::', '::1', 'fe80::1', 'febf:ffff::1', 'ff00::', 'ff02::1', 'ffff::1'];
for (const address of FORBIDDEN6) {
  test(`RFC 7915 section 5.1: ${address} never passes and gets no answer, as source or destination [R7915-40]`, () => {
    const dropped = { verdict: 'drop-v6-address', frames: [] };
    assert.deepEqual(send(from6({ src: address }, udp({}))), dropped);
    assert.deepEqual(send(from6({ dst: address }, udp({}))), dropped);
    assert.deepEqual(send(from6({ src: address, dst: '64:ff9b:1::10.64.0.1' }, udp({}))), dropped);
  });
}

test("RFC 6052 section 5.1: a source inside pref64 is nobody's, but for the addresses of the device", () => {
  const spoofed = { verdict: 'drop-v6-source-in-pref64', frames: [] };
  for (const source of ['8.8.4.4', '10.64.3.7', '10.64.0.3']) {
    assert.deepEqual(send(from6({ src: `64:ff9b:1::${source}` }, udp({}))), spoofed);
  }
  const hosts = [['10.64.5.5', '64:ff9b:1::10.64.0.2']] as const;
  assert.equal(send(from6({ src: '64:ff9b:1::10.64.0.2' }, udp({})), { hosts: [] }).verdict, 'hold');
  check(only(from6({ src: '64:ff9b:1::10.64.0.2' }, udp({})), new Harness({ hosts })), 4, {
    src: '10.64.5.5',
  });
});

test('RFC 6052 section 5.1: what comes in with an address of our own as its source is a loop', () => {
  assert.deepEqual(send(from6({ src: '64:ff9b:1::10.64.0.1' }, udp({}))), {
    verdict: 'drop-loop',
    frames: [],
  });
  assert.deepEqual(send(from4({ src: OWN4 }, udp({}))), { verdict: 'drop-loop', frames: [] });
});

test('RFC 7757 section 4: a map whose IPv6 side is still under pref64 would turn round for ever: a loop', () => {
  const maps = [['192.0.2.1/32', '64:ff9b:1::192.0.2.1/128']] as const;
  assert.deepEqual(send(from4({ dst: '192.0.2.1' }, udp({})), { maps }), {
    verdict: 'drop-loop',
    frames: [],
  });
  assert.equal(send(from6({ dst: '64:ff9b:1::192.0.2.1' }, udp({})), { maps }).verdict, 'drop-loop');
});

test('RFC 7915 sections 4.5 and 5.5: an upper layer cut inside its header has no checksum to adjust: dropped', () => {
  for (const [layer, needed] of [
    [raw(6), 20],
    [raw(17), 8],
    [raw(136), 8],
    [raw(33), 8],
  ] as const) {
    for (const size of [0, 1, needed - 1]) {
      assert.equal(send(from4({}, layer, zeros(size))).verdict, 'drop-upper-layer-truncated');
      assert.equal(send(from6({}, layer, zeros(size))).verdict, 'drop-upper-layer-truncated');
    }
  }
  assert.equal(send(from4({}, raw(1), zeros(7))).verdict, 'drop-upper-layer-truncated');
  assert.equal(send(from6({}, raw(58), zeros(7))).verdict, 'drop-upper-layer-truncated');
});

test('RFC 7915 section 4.1: ICMPv4 of number 1 becomes 58, every other protocol keeps its number', () => {
  assert.equal(only(from4({}, icmp({ type: 8 })))[6], 58);
  assert.equal(only(from6({}, icmp({ type: 128 })))[9], 1);
});

for (let protocol = 0; protocol < 256; protocol++) {
  if ([0, 43, 44, 58, 60].includes(protocol) || protocol === 1) continue;
  test(`RFC 7915 sections 4.1 and 5.1: protocol ${protocol} passes both ways under its number [R7915-9] [R7915-31] [R7915-59]`, () => {
    const data = bytes(32);
    data[12] = 0x50;
    const to6 = only(from4({}, raw(protocol), data));
    assert.equal(to6[6], protocol);
    assert.equal(only(from6({}, raw(protocol), data))[9], protocol);
  });
}

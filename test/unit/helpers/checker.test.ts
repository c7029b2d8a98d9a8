/** The field checker: what it decodes, and above all that it finds what is wrong. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { check, decode, type Expected } from '../../helpers/checker.js';
import {
  bytes,
  cut,
  destinationOptions,
  echo,
  fragment6,
  fragments,
  hopByHop,
  icmp,
  ipv4,
  ipv6,
  join,
  raw,
  tcp,
  udp,
} from '../../helpers/packet.js';
import { address6, checksum, pseudoHeader } from '../../helpers/packet-bytes.js';

const from4 = { src: '192.0.2.1', dst: '192.0.2.9' };
const from6 = { src: '2001:db8::1', dst: '2001:db8::9' };
const LINUX_TCP6 = Buffer.from(
  '6008657a0028064020010db800000000000000000000000120010db80000000000000000000000099c410050d19fcd3600000000a002fd202d130000020405a00402080ab372d386000000000103030a',
  'hex',
);

test('a SYN of Linux, field by field', () => {
  assert.deepEqual(decode(new Uint8Array(LINUX_TCP6), 6), {
    version: 6,
    trafficClass: 0,
    flowLabel: 0x8657a,
    payloadLength: 40,
    nextHeader: 6,
    hopLimit: 64,
    src: '2001:db8::1',
    dst: '2001:db8::9',
    extensions: [],
    upper: {
      kind: 'tcp',
      sport: 40001,
      dport: 80,
      seq: 0xd19fcd36,
      ack: 0,
      flags: ['syn'],
      window: 0xfd20,
      urgent: 0,
      options: new Uint8Array(LINUX_TCP6.subarray(60)),
      checksum: 'good',
      data: new Uint8Array(),
    },
    trailing: 0,
  });
});

/** Packets, with where the part begins that the last checksum covers. */
const WHOLE: Record<string, [4 | 6, number, Uint8Array]> = {
  'a UDP datagram over IPv4': [4, 20, ipv4(from4, udp({}, 'hello'))],
  'a TCP segment over IPv4': [4, 20, ipv4(from4, tcp({}, bytes(101)))],
  'an echo over IPv4': [4, 20, ipv4(from4, echo({}, bytes(9)))],
  'a UDP datagram over IPv6': [6, 40, ipv6(from6, udp({}, 'hello'))],
  'a TCP segment behind Hop-by-Hop Options': [6, 48, ipv6(from6, hopByHop(), tcp({}, bytes(101)))],
  'an echo in an atomic fragment': [
    6,
    56,
    ipv6(from6, destinationOptions(), fragment6({ id: 3 }), echo({}, bytes(9))),
  ],
  'a DCCP packet': [6, 40, ipv6(from6, raw(33, { checksumAt: 6 }), [0, 1, 0, 2, 3, 0, 0, 0, 1, 2, 3, 4])],
};
for (const [name, [version, start, packet]] of Object.entries(WHOLE)) {
  test(`${name} is good, and a change of any of its bytes is found`, () => {
    check(packet, version as 4);
    for (let at = start; at < packet.length; at++) {
      const damaged = packet.slice();
      damaged[at]! ^= 0x40;
      assert.throws(() => check(damaged, version as 4), { name: 'AssertionError' }, `byte ${at}`);
    }
  });
}

test('a change of any byte of an IPv4 header is found', () => {
  const packet = ipv4({ ...from4, options: [1, 1, 1, 0] }, raw(50), bytes(16));
  check(packet, 4);
  for (let at = 0; at < 24; at++) {
    const damaged = packet.slice();
    damaged[at]! ^= 0x01;
    assert.throws(() => check(damaged, 4), `byte ${at}`);
  }
});

test('a change of an address of an IPv6 header is found by the checksum above it', () => {
  const packet = ipv6(from6, udp({}, 'x'));
  for (const at of [8, 23, 24, 39]) {
    const damaged = packet.slice();
    damaged[at]! ^= 1;
    assert.throws(() => check(damaged, 6), /upper\.checksum: bad/);
  }
});

const UPPER_STATES: Record<string, [Uint8Array, string]> = {
  'UDP without one': [ipv4(from4, udp({ checksum: 0 }, 'x')), 'none'],
  'a wrong one': [ipv4(from4, udp({ checksum: 'wrong' }, 'x')), 'bad'],
  'a first fragment': [fragments(ipv4(from4, udp({}, bytes(64))), 32)[0]!, 'unknown'],
};
for (const [name, [packet, state]] of Object.entries(UPPER_STATES)) {
  test(`the state of the checksum: ${name} is '${state}'`, () => {
    check(packet, 4, { upper: { kind: 'udp', checksum: state } });
  });
}

test('a checksum that is only the pseudo-header is told apart, and refused unless expected', () => {
  const sum =
    0xffff -
    checksum(pseudoHeader({ version: 6, src: address6(from6.src), dst: address6(from6.dst) }, 6, 24));
  const packet = ipv6(from6, tcp({ checksum: sum }, 'abcd'));
  check(packet, 6, { upper: { checksum: 'pseudo' } });
  assert.throws(() => check(packet, 6), /upper\.checksum: pseudo/);
});

test('later fragments are raw, whatever their bytes look like', () => {
  const [, later4] = fragments(ipv4(from4, udp({}, bytes(64))), 32);
  assert.equal(decode(later4!, 4).upper.kind, 'raw');
  const [, later6] = fragments(ipv6(from6, udp({}, bytes(64))), 32);
  const { extensions, upper } = decode(later6!, 6);
  assert.deepEqual(extensions, [{ kind: 'fragment', offsetBytes: 32, more: true, id: 1, reserved: 0 }]);
  assert.equal(upper.kind, 'raw');
});

const offender4 = ipv4({ ...from4, ttl: 1 }, udp({ sport: 5 }, bytes(200)));
const offender6 = ipv6({ ...from6, hopLimit: 1 }, udp({ sport: 5 }, bytes(200)));

test('an error with a quote that is cut: its lengths as they said, its checksum unknown', () => {
  check(ipv4(from4, icmp({ type: 3, code: 4, mtu: 1400 }, cut(offender4, 28))), 4, {
    upper: {
      family: 4,
      mtu: 1400,
      quoted: {
        ttl: 1,
        totalLength: 228,
        checksum: 'good',
        upper: { sport: 5, length: 208, checksum: 'unknown' },
      },
    },
  });
  check(ipv6(from6, icmp({ type: 2, mtu: 1400 }, offender6)), 6, {
    upper: { family: 6, mtu: 1400, quoted: { hopLimit: 1, upper: { sport: 5, checksum: 'good' } } },
  });
});

test('a bad checksum in a quote is found', () => {
  const offender = ipv4(from4, udp({ checksum: 'wrong' }, 'x'));
  const packet = ipv4(from4, icmp({ type: 3, code: 3 }, offender));
  assert.throws(() => check(packet, 4), /upper\.quoted\.upper\.checksum: bad/);
});

for (const version of [4, 6] as const) {
  test(`RFC 4884 extensions of ICMPv${version}, their own checksum too`, () => {
    const extensions = [{ classNum: 1, cType: 1, data: [1, 2, 3, 4] }];
    const packet =
      version === 4
        ? ipv4(from4, icmp({ type: 11, extensions }, offender4))
        : ipv6(from6, icmp({ type: 3, extensions }, offender6));
    const originalBytes = version === 4 ? 228 : 248;
    const object = { classNum: 1, cType: 1, data: Uint8Array.of(1, 2, 3, 4) };
    const expected = {
      upper: { extensions: { version: 2, checksum: 'good', originalBytes, objects: [object] } },
    };
    check(packet, version as 4, expected);
    const damaged = packet.slice();
    damaged[packet.length - 1]! ^= 1;
    assert.throws(() => check(damaged, version as 4), /upper\.extensions\.checksum: bad/);
  });
}

const MISMATCHES: [string, Expected, RegExp][] = [
  ['another value', { ttl: 63 }, /- ttl: expected 63, is 64/],
  ['deep inside', { upper: { sport: 1, dport: 53 } }, /- upper\.sport: expected 1, is 40000\n(?!-)/],
  [
    'other bytes',
    { upper: { data: Uint8Array.of(1) } },
    /- upper\.data: expected 1 bytes 01, is 5 bytes 68 65/,
  ],
  ['a field that is not there', { hopLimit: 64 }, /- hopLimit: expected 64, is undefined/],
  [
    'a layer that is not there',
    { upper: { quoted: { ttl: 1 } } },
    /- upper\.quoted: expected .*, is undefined/,
  ],
];
for (const [name, expected, message] of MISMATCHES) {
  test(`a difference is named: ${name}`, () => {
    assert.throws(() => check(ipv4(from4, udp({}, 'hello')), 4, expected), message);
  });
}

test('arrays have as many items as expected', () => {
  const packet = ipv6(from6, hopByHop(), udp({}));
  check(packet, 6, { extensions: [{ kind: 'hop-by-hop' }] });
  assert.throws(() => check(packet, 6, { extensions: [] }), /extensions: expected 0 of them, there are 1/);
});

test('bytes behind the packet are found, a cut or foreign header refused', () => {
  const packet = ipv4(from4, udp({}));
  assert.throws(() => check(join(packet, Uint8Array.of(0)), 4), /trailing: expected 0, is 1/);
  assert.throws(() => decode(packet.slice(0, 27), 4), /tells of 28 bytes, there are 27/);
  assert.throws(() => decode(packet.slice(0, 12), 4), /header is cut/);
  assert.throws(() => decode(packet, 6), /not IPv6/);
});

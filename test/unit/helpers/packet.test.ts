/** The packet builder, against packets that Linux sent into a TUN device. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode } from '../../helpers/checker.js';
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
  mss,
  raw,
  routing,
  tcp,
  udp,
} from '../../helpers/packet.js';
import { address4, address6, addressText, checksum } from '../../helpers/packet-bytes.js';

const hex = (packet: Uint8Array) => Buffer.from(packet).toString('hex');
const from4 = { src: '192.0.2.1', dst: '192.0.2.9' };
const from6 = { src: '2001:db8::1', dst: '2001:db8::9' };

/** The SYN of Linux: MSS, SACK permitted, timestamps, window scale. */
function syn(seq: number, window: number, maxSegment: number, timestamp: number[]) {
  const options = [...mss(maxSegment), 4, 2, 8, 10, ...timestamp, 0, 0, 0, 0, 1, 3, 3, 10];
  return tcp({ sport: 40001, dport: 80, seq, flags: ['syn'], window, options });
}

const FROM_LINUX: Record<string, [Uint8Array, string]> = {
  'UDP over IPv4': [
    ipv4({ ...from4, id: 0xe598, df: true }, udp({ sport: 40000, dport: 53 }, 'hello')),
    '45000021e59840004011d128c0000201c00002099c400035000d9b8168656c6c6f',
  ],
  'UDP over IPv6': [
    ipv6({ ...from6, flowLabel: 0x147d3 }, udp({ sport: 40000, dport: 53 }, 'hello')),
    '600147d3000d114020010db800000000000000000000000120010db80000000000000000000000099c400035000dc41068656c6c6f',
  ],
  'TCP over IPv4': [
    ipv4({ ...from4, id: 0x2bc9, df: true }, syn(0x6eff6f75, 0xfaf0, 1460, [0x2a, 0x35, 0xc9, 0xd1])),
    '4500003c2bc9400040068ae8c0000201c00002099c4100506eff6f7500000000a002faf059f40000020405b40402080a2a35c9d1000000000103030a',
  ],
  'TCP over IPv6': [
    ipv6({ ...from6, flowLabel: 0x8657a }, syn(0xd19fcd36, 0xfd20, 1440, [0xb3, 0x72, 0xd3, 0x86])),
    '6008657a0028064020010db800000000000000000000000120010db80000000000000000000000099c410050d19fcd3600000000a002fd202d130000020405a00402080ab372d386000000000103030a',
  ],
  'ICMPv4 echo': [
    ipv4({ ...from4, id: 0x9dcc, df: true }, echo({ id: 7, seq: 1 }, [0, 1, 2, 3, 4, 5, 6, 7, 8])),
    '450000259dcc400040011901c0000201c00002090800e3e700070001000102030405060708',
  ],
  'ICMPv6 echo': [
    ipv6({ ...from6, flowLabel: 0x91ef2 }, echo({ id: 7, seq: 1 }, [0, 1, 2, 3, 4, 5, 6, 7, 8])),
    '60091ef200113a4020010db800000000000000000000000120010db80000000000000000000000098000102000070001000102030405060708',
  ],
  'an ICMPv4 error': [
    ipv4(
      { ...from4, tos: 0xc0, id: 0xa11a },
      icmp(
        { type: 3, code: 3 },
        ipv4(
          { src: from4.dst, dst: from4.src, df: true },
          udp({ sport: 53, dport: 9999, checksum: 0 }, 'hello'),
        ),
      ),
    ),
    '45c0003da11a0000400154dbc0000201c0000209030391d90000000045000021000040004011b6c1c0000209c00002010035270f000d000068656c6c6f',
  ],
};

for (const [name, [packet, expected]] of Object.entries(FROM_LINUX)) {
  test(`${name} as Linux sends it`, () => assert.equal(hex(packet), expected));
}

test('the checksum of RFC 1071 section 3, and of an odd number of bytes', () => {
  assert.equal(checksum(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7)), 0xffff - 0xddf2);
  assert.equal(checksum(Uint8Array.of(0x12)), 0xffff - 0x1200);
});

const ADDRESSES: [string, string][] = [
  ['::', '00000000000000000000000000000000'],
  ['::1', '00000000000000000000000000000001'],
  ['2001:db8::', '20010db8000000000000000000000000'],
  ['64:ff9b:1::808:808', '0064ff9b000100000000000008080808'],
  ['2001:db8:0:1:1:1:1:1', '20010db8000000010001000100010001'],
  ['2001:0:0:1::1', '20010000000000010000000000000001'],
  ['2001:db8::1:0:0:1', '20010db8000000000001000000000001'],
];
for (const [text, bytesHex] of ADDRESSES) {
  test(`${text} from text and to it (RFC 5952 section 4)`, () => {
    assert.equal(hex(address6(text)), bytesHex);
    assert.equal(addressText(address6(text)), text);
  });
}

test('an IPv6 address that ends in an IPv4 one', () => {
  assert.deepEqual(address6('64:ff9b:1::8.8.8.8'), address6('64:ff9b:1::808:808'));
});

for (const text of [
  '',
  '1::2::3',
  '1:2:3:4:5:6:7',
  '1:2:3:4:5:6:7:8:9',
  '12345::',
  '::g',
  '1:2:3:4:5:6:7::8',
  '::1.2.3',
]) {
  test(`'${text}' is no IPv6 address`, () => assert.throws(() => address6(text), /not an IPv[46] address/));
}
for (const text of ['1.2.3', '1.2.3.256', '1.2.3.4.5', '1.2.3.x']) {
  test(`'${text}' is no IPv4 address`, () => assert.throws(() => address4(text), /not an IPv4 address/));
}

test('an IPv4 header with options, flags and an offset', () => {
  const packet = ipv4({ ...from4, mf: true, offsetBytes: 1480, options: [7, 3, 4] }, raw(17), [1, 2]);
  assert.equal(hex(packet.slice(0, 10)), '4600001a000020b94011');
  assert.equal(hex(packet.slice(20)), '070304000102');
  assert.equal(checksum(packet.slice(0, 24)), 0);
  assert.throws(() => ipv4({ ...from4, offsetBytes: 4 }), /no multiple of 8/);
});

test('extension headers: each names the next', () => {
  const packet = ipv6(
    from6,
    hopByHop(),
    routing(),
    destinationOptions(),
    fragment6({ id: 0x01020304 }),
    udp({}),
  );
  assert.equal(packet[6], 0);
  assert.equal(
    hex(packet.slice(40, 72)),
    '2b00010400000000' + '3c00000000000000' + '2c00010400000000' + '1100000001020304',
  );
  assert.equal(packet[5], 40);
});

test('a wrong checksum differs from the right one, and a given one is written as it is', () => {
  const sumOf = (how: 'right' | 'wrong' | number) => {
    const packet = ipv4(from4, udp({ checksum: how }, 'x'));
    return packet[26]! * 256 + packet[27]!;
  };
  assert.equal(sumOf(0x1234), 0x1234);
  assert.notEqual(sumOf('wrong'), sumOf('right'));
  assert.notEqual(hex(ipv4({ ...from4, checksum: 'wrong' })), hex(ipv4(from4)));
});

test('a UDP checksum that is 0 is sent as 0xffff (RFC 768)', () => {
  const without = ipv4(from4, udp({}, [0, 0]));
  const sum = without.slice(26, 28);
  const packet = ipv4(from4, udp({}, sum));
  assert.equal(hex(packet.slice(26, 28)), 'ffff');
});

for (const version of [4, 6] as const) {
  test(`the fragments of an IPv${version} packet hold it whole`, () => {
    const whole = version === 4 ? ipv4(from4, udp({}, bytes(3000))) : ipv6(from6, udp({}, bytes(3000)));
    const pieces = fragments(whole, 1237, 77);
    const headerLength = version === 4 ? 20 : 48;
    assert.deepEqual(
      pieces.map((piece) => piece.length - headerLength),
      [1232, 1232, 544],
    );
    const parts = pieces.map((piece) => piece.slice(headerLength));
    assert.deepEqual(join(...parts), whole.slice(version === 4 ? 20 : 40));
    const places = pieces.map((piece) => {
      if (version === 4) {
        const { offsetBytes, mf, id, checksum: state } = decode(piece, 4);
        return [offsetBytes, mf, id, state];
      }
      const [header] = decode(piece, 6).extensions;
      assert.ok(header?.kind === 'fragment');
      return [header.offsetBytes, header.more, header.id, 'good'];
    });
    assert.deepEqual(places, [
      [0, true, 77, 'good'],
      [1232, true, 77, 'good'],
      [2464, false, 77, 'good'],
    ]);
  });
}

test('the lengths of RFC 4884 count words of 4 bytes in ICMPv4 and of 8 in ICMPv6', () => {
  const extensions = [{ classNum: 1, cType: 1, data: [1, 2, 3, 4] }];
  const quote = bytes(131);
  const of4 = ipv4(from4, icmp({ type: 11, extensions }, quote)).slice(20);
  assert.equal(of4[5], 33);
  // 0x2000 + 0x0008 + 0x0101 + 0x0102 + 0x0304 = 0x250f
  assert.equal(hex(of4.slice(8 + 132)), '2000daf0' + '0008010101020304');
  const of6 = ipv6(from6, icmp({ type: 3, extensions }, quote)).slice(40);
  assert.equal(of6[4], 17);
  assert.equal(of6.length, 8 + 136 + 12);
  const short = ipv4(from4, icmp({ type: 11, extensions }, cut(quote, 28))).slice(20);
  assert.equal(short[5], 32, 'at least 128 bytes (RFC 4884 section 3)');
});

test('the MTU and the pointer lie where the family has them', () => {
  const rest = (packet: Uint8Array, at: number) => hex(packet.slice(at + 4, at + 8));
  assert.equal(rest(ipv4(from4, icmp({ type: 3, code: 4, mtu: 1400 })), 20), '00000578');
  assert.equal(rest(ipv6(from6, icmp({ type: 2, mtu: 70000 })), 40), '00011170');
  assert.equal(rest(ipv4(from4, icmp({ type: 12, pointer: 9 })), 20), '09000000');
  assert.equal(rest(ipv6(from6, icmp({ type: 4, pointer: 9 })), 40), '00000009');
});

test('data in the middle of a packet, and layers behind an upper one, are mistakes', () => {
  assert.throws(() => ipv4(from4, 'data', udp({})), /the last part/);
  assert.throws(() => ipv4(from4, udp({}), 'data'), /ends the packet/);
  assert.throws(() => ipv4({ ...from4, ttl: 256 }), /does not fit 8 bits/);
});

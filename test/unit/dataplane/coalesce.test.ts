import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  asPartial,
  cut,
  identification,
  Joiner,
  type Listed,
  withoutIdentification,
} from '../../helpers/coalescing.js';
import { bytes, fragment6, icmp, ipv4, ipv6, type TcpFields, tcp, udp } from '../../helpers/packet.js';
import { type Frame, NO_VNET } from '../../helpers/reference/offload.js';

const SOURCE = { src: '64:ff9b:1::8.8.8.8', dst: '2001:db8:1::2' };
const SOURCE4 = { src: '10.64.3.7', dst: '8.8.8.8' };
const START = 1000;

const plain = (packet: Uint8Array): Listed => ({ bytes: packet, vnet: NO_VNET });
const valid = (packet: Uint8Array): Listed => ({ bytes: packet, vnet: { ...NO_VNET, flags: 2 } });

/** Segments that follow each other, of this payload each, with what is different about one. */
function segments(
  sizes: readonly number[],
  change: (i: number) => TcpFields = () => ({}),
  ip: object = {},
): Listed[] {
  let seq = START;
  return sizes.map((size, i) => {
    const packet = ipv6({ ...SOURCE, ...ip }, tcp({ seq, ...change(i) }, bytes(size)));
    seq += size;
    return plain(packet);
  });
}

const datagrams = (sizes: readonly number[], ip: object = {}): Listed[] =>
  sizes.map((size) => plain(ipv6({ ...SOURCE, ...ip }, udp({}, bytes(size)))));

const at = (i: number, change: TcpFields) => (n: number) => (n === i ? change : {});

/** How many packets each frame that leaves is cut into again. */
const CASES: readonly [what: string, burst: Listed[], groups: readonly number[]][] = [
  ['TCP segments of one size', segments([100, 100, 100]), [3]],
  ['a shorter last segment ends the group', segments([100, 60, 60]), [2, 1]],
  ['a longer segment begins another group', segments([60, 100, 100]), [1, 2]],
  ['a gap in the sequence', segments([100, 100, 100], at(2, { seq: 5000 })), [2, 1]],
  ['a repeated segment', segments([100, 100], at(1, { seq: START })), [1, 1]],
  ['the sequence goes round', segments([100, 100], (i) => ({ seq: i === 0 ? 2 ** 32 - 100 : 0 })), [2]],
  ['PSH ends the group', segments([100, 100, 100], at(1, { flags: ['ack', 'psh'] })), [2, 1]],
  ['PSH in the first: it stays alone', segments([100, 100], at(0, { flags: ['ack', 'psh'] })), [1, 1]],
  ['FIN ends the group', segments([100, 100, 100], at(1, { flags: ['ack', 'fin'] })), [2, 1]],
  ['SYN is left alone', segments([100, 100], at(0, { flags: ['syn'] })), [1, 1]],
  ['RST is left alone and closes', segments([100, 100, 100], at(1, { flags: ['rst', 'ack'] })), [1, 1, 1]],
  ['URG is left alone', segments([100, 100], at(1, { flags: ['urg', 'ack'] })), [1, 1]],
  ['CWR may be in the first', segments([100, 100], at(0, { flags: ['ack', 'cwr'] })), [2]],
  [
    'CWR in a later one begins another group',
    segments([100, 100, 100], at(1, { flags: ['ack', 'cwr'] })),
    [1, 2],
  ],
  ['ECE changes', segments([100, 100], at(1, { flags: ['ack', 'ece'] })), [1, 1]],
  ['another acknowledgement', segments([100, 100], at(1, { ack: 7 })), [1, 1]],
  ['another window', segments([100, 100], at(1, { window: 7 })), [1, 1]],
  [
    'another flow label',
    [...segments([100], () => ({})), ...segments([100], () => ({ seq: START + 100 }), { flowLabel: 7 })],
    [1, 1],
  ],
  ['another urgent pointer', segments([100, 100], at(1, { urgent: 7 })), [1, 1]],
  ['the same options', segments([100, 100], () => ({ options: [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2] })), [2]],
  [
    'other options',
    segments([100, 100], (i) => ({ options: [1, 1, 8, 10, 0, 0, 0, i, 0, 0, 0, 2] })),
    [1, 1],
  ],
  ['a pure acknowledgement closes', segments([100, 0, 100]), [1, 1, 1]],
  ['another port', segments([100, 100], at(1, { sport: 7 })), [1, 1]],
  ['a wrong checksum: nothing joins it', segments([100, 100], at(1, { checksum: 'wrong' })), [1, 1]],
  ['64 segments at most', segments(Array.from({ length: 70 }, () => 20)), [64, 6]],
  ['65,535 bytes at most', segments(Array.from({ length: 50 }, () => 1440)), [45, 5]],
  ['UDP of one size', datagrams([64, 64, 64]), [3]],
  ['a shorter last datagram ends the group', datagrams([64, 10, 10]), [2, 1]],
  ['an empty datagram closes', datagrams([64, 0, 64]), [1, 1, 1]],
  [
    'UDP without a checksum',
    [0, 0].map((checksum) => plain(ipv4(SOURCE4, udp({ checksum }, bytes(64))))),
    [1, 1],
  ],
  [
    'a UDP length that is not the packet',
    [plain(ipv6(SOURCE, udp({ length: 50 }, bytes(64)))), ...datagrams([64])],
    [1, 1],
  ],
  ['another traffic class', [...datagrams([64]), ...datagrams([64], { trafficClass: 3 })], [1, 1]],
  ['another hop limit', [...datagrams([64]), ...datagrams([64], { hopLimit: 3 })], [1, 1]],
  ['another host', [...datagrams([64]), ...datagrams([64], { dst: '2001:db8:1::3' })], [1, 1]],
  [
    'IPv4 with another DF',
    [true, false].map((df) => plain(ipv4({ ...SOURCE4, df }, udp({}, bytes(64))))),
    [1, 1],
  ],
  [
    'two flows in turn',
    [0, 1, 0, 1].map((flow) => plain(ipv4({ ...SOURCE4, df: true }, udp({ sport: flow }, bytes(64))))),
    [2, 2],
  ],
  [
    'a fragment closes all groups',
    [...datagrams([64]), plain(ipv6(SOURCE, fragment6({ more: true }), bytes(64))), ...datagrams([64])],
    [1, 1, 1],
  ],
  [
    'an IPv4 fragment too',
    [false, true, false].map((mf) => plain(ipv4({ ...SOURCE4, mf }, udp({}, bytes(64))))),
    [1, 1, 1],
  ],
  [
    'so do fragments that we made',
    [...datagrams([64]), { ...plain(ipv6(SOURCE, fragment6({}), bytes(64))), pieces: 2 }, ...datagrams([64])],
    [1, 1, 1],
  ],
  [
    'ICMP passes between',
    [...datagrams([64]), plain(ipv6(SOURCE, icmp({ type: 128 }))), ...datagrams([64])],
    [2, 1],
  ],
  ['a checksum left to an offload', datagrams([64, 64]).map(({ bytes }) => asPartial(bytes)), [2]],
  ['one left, one right', [...datagrams([64]), ...datagrams([64]).map(({ bytes }) => asPartial(bytes))], [2]],
  ['one marked valid', datagrams([64, 64]).map(({ bytes }) => valid(bytes)), [2]],
  ['marked valid, alone', datagrams([64]).map(({ bytes }) => valid(bytes)), [1]],
  [
    'marked valid, nothing to join',
    [...datagrams([64]), ...datagrams([64], { dst: '2001:db8::' })].map(({ bytes }) => valid(bytes)),
    [1, 1],
  ],
];

const packetsOf = (frames: readonly Frame[]) => frames.flatMap(cut).map(withoutIdentification).sort();

for (const [what, burst, groups] of CASES) {
  test(`joining: ${what}`, () => {
    const out = new Joiner().run(burst);
    const isFragment = ({ bytes: [first, , , , , , sixth, , , ninth] }: Frame) =>
      first === 0x60 ? sixth !== 17 && sixth !== 6 : ninth !== 17 && ninth !== 6;
    assert.deepEqual(
      out.map((frame) => (isFragment(frame) ? 1 : cut(frame).length)),
      groups,
    );
    const whole = (frames: readonly Frame[]) => packetsOf(frames.filter((frame) => !isFragment(frame)));
    assert.deepEqual(whole(out), whole(burst));
    assert.ok(
      out.every(({ vnet }) => vnet.flags < 2),
      'no mark is left for the driver',
    );
  });
}

test('joining: headers count in the 65,535 bytes', () => {
  // Seven have 57,330 bytes of payload; eight 65,520, and more with their headers.
  const out = new Joiner().run(segments(Array.from({ length: 8 }, () => 8190)));
  assert.deepEqual(
    out.map((frame) => cut(frame).length),
    [7, 1],
  );
});

test('joining: a super-frame that came as one stays as it is', () => {
  const whole = ipv6(SOURCE, udp({}, bytes(128)));
  const superFrame: Listed = {
    ...asPartial(whole),
    vnet: { ...asPartial(whole).vnet, gsoType: 5, gsoSize: 64 },
  };
  const out = new Joiner().run([superFrame, superFrame, ...datagrams([128])]);
  assert.equal(out.length, 3);
  assert.deepEqual(out.slice(0, 2), [superFrame, superFrame]);
});

test('joining: a checksum that is marked valid is not summed again', () => {
  const marked = segments([100, 100], () => ({ checksum: 'wrong' })).map((frame) => valid(frame.bytes));
  assert.equal(new Joiner().run(marked).length, 1);
});

test('joining: flows that share a slot are told apart by each field', () => {
  const joiner = new Joiner();
  const flow = ipv4({ ...SOURCE4, df: true }, udp({}, bytes(64)));
  const others = [
    ipv4({ ...SOURCE4, df: true }, tcp({ sport: 40000, dport: 53 }, bytes(64))),
    // The same words where the slot is computed from.
    ipv6({ src: '::10.64.3.7', dst: '::8.8.8.8' }, udp({}, bytes(64))),
    ipv6({ src: '::10.64.3.7', dst: '::8.8.8.8' }, tcp({ sport: 40000, dport: 53 }, bytes(64))),
    ...Array.from({ length: 3000 }, (_, i) =>
      ipv4({ src: `10.64.${i >> 8}.${i & 255}`, dst: '8.8.8.8', df: true }, udp({}, bytes(64))),
    ).filter((packet) => !Buffer.from(packet).equals(flow)),
  ];
  const first = others[1] as Uint8Array;
  let shared = 0;
  for (const [mine, other] of [
    ...others.map((packet) => [flow, packet]),
    [first, others[2]],
    [others[2], first],
  ] as [Uint8Array, Uint8Array][]) {
    const burst = [mine, other, mine].map(plain);
    const out = joiner.run(burst);
    assert.deepEqual(packetsOf(out), packetsOf(burst));
    if (out.length === 3) shared++;
  }
  assert.ok(shared >= 6, `${shared} pairs share a slot`);
});

test('joining: a super-frame says how it is to be cut', () => {
  const [tcp6] = new Joiner().run(segments([100, 100]));
  assert.deepEqual(tcp6?.vnet, {
    flags: 1,
    gsoType: 4,
    hdrLen: 60,
    gsoSize: 100,
    csumStart: 40,
    csumOffset: 16,
  });
  const [udp4] = new Joiner().run([9, 9].map((size) => plain(ipv4(SOURCE4, udp({}, bytes(size))))));
  assert.deepEqual(udp4?.vnet, {
    flags: 1,
    gsoType: 5,
    hdrLen: 28,
    gsoSize: 9,
    csumStart: 20,
    csumOffset: 6,
  });
  const ecn = segments([100, 100], at(0, { flags: ['ack', 'cwr'] }), { trafficClass: 2 });
  assert.equal(new Joiner().run(ecn)[0]?.vnet.gsoType, 4 | 0x80);
});

test('joining: identifications in a row, with DF=0, stay', () => {
  const packets = [7, 8, 9].map((id) => plain(ipv4({ ...SOURCE4, id }, udp({}, bytes(64)))));
  assert.deepEqual(new Joiner().run(packets).flatMap(cut).map(identification), [7, 8, 9]);
});

test('joining: where they are in no row, a super-frame with DF=0 takes its own', () => {
  const joiner = new Joiner();
  const first = joiner.harness.ctx.takeIdentifications(1);
  const packets = [1, 3, 4].map((id) => plain(ipv4({ ...SOURCE4, id }, udp({}, bytes(64)))));
  const out = joiner.run(packets).flatMap(cut);
  assert.deepEqual(out.map(identification), [first + 1, first + 2, first + 3]);
  assert.equal(joiner.harness.ctx.takeIdentifications(1), first + 4);
});

test('joining: what is not asked for is not joined', () => {
  const burst = [...segments([100, 100]), ...datagrams([64, 64])];
  assert.equal(new Joiner('tcp').run(burst).length, 3);
  assert.equal(new Joiner('all').run(burst).length, 2);
});

test('joining: counted as frames joined and super-frames made', () => {
  const joiner = new Joiner();
  joiner.run([...segments([100, 100, 100]), ...datagrams([64])]);
  assert.equal(joiner.harness.count('frames-coalesced'), 3);
  assert.equal(joiner.harness.count('super-frames-made'), 1);
});

test('joining: a group with a wrong checksum in the middle falls apart and nothing is repaired', () => {
  const burst = segments([100, 100, 100], at(1, { checksum: 'wrong' }));
  const out = new Joiner().run(burst);
  assert.deepEqual(
    out.map((frame) => Buffer.from(frame.bytes).toString('hex')),
    burst.map((frame) => Buffer.from(frame.bytes).toString('hex')),
  );
});

/** Joining and cutting again is the identity: whatever comes in a burst reaches its receiver as if it had never been joined. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BURST_FRAMES } from '#nat64d/shm/frame-ring.js';
import { GSO_ECN, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4 } from '#nat64d/wire/vnet.js';
import { asPartial, cut, Joiner, type Listed, withoutIdentification } from '../helpers/coalescing.js';
import { bytes, fragment6, icmp, ipv4, ipv6, type TcpFlag, tcp, udp } from '../helpers/packet.js';
import { type Frame, NO_VNET } from '../helpers/reference/offload.js';

const SEED = Number(process.env.FC_SEED ?? 20_261_126);
const RUNS = 1000 * Number(process.env.FC_RUNS ?? 1);

/** Mostly the usual, so that groups form, and now and then something that ends one. */
const rarely = <T>(usual: T, ...others: T[]) =>
  fc.oneof(
    { weight: 12, arbitrary: fc.constant(usual) },
    { weight: 1, arbitrary: fc.constantFrom(...others) },
  );

const step = fc.record({
  flow: fc.constantFrom(0, 0, 0, 1, 2, 3),
  /** Now and then more than one super-frame may have. */
  times: fc.oneof(
    { weight: 60, arbitrary: fc.constant(1) },
    { weight: 1, arbitrary: fc.integer({ min: 60, max: 70 }) },
  ),
  kind: fc.constantFrom<'tcp' | 'udp'>('tcp', 'udp'),
  size: fc.oneof(
    { weight: 8, arbitrary: fc.constant(120) },
    { weight: 2, arbitrary: fc.integer({ min: 0, max: 300 }) },
  ),
  skip: rarely(0, 1, -1, 1000),
  flags: rarely<readonly TcpFlag[]>(
    ['ack'],
    ['ack', 'psh'],
    ['ack', 'fin'],
    ['ack', 'cwr'],
    ['ack', 'ece'],
    ['syn'],
    ['rst'],
    ['ack', 'urg'],
  ),
  options: rarely<readonly number[]>([], [1, 1, 1, 1], [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]),
  window: rarely(1000, 1001),
  ack: rarely(5, 6),
  ttl: rarely(63, 62),
  tos: rarely(0, 3),
  df: rarely(true, false),
  checksum: rarely<'right' | 'wrong' | 0>('right', 'wrong', 0),
  flowLabel: rarely(0, 7),
  urgent: rarely(0, 7),
  mark: fc.constantFrom<'none' | 'partial' | 'valid'>('none', 'none', 'partial', 'valid'),
  other: rarely<'no' | 'fragment' | 'pieces' | 'echo' | 'super'>('no', 'fragment', 'pieces', 'echo', 'super'),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** The frames of a burst; every step goes on where its flow had got to. */
function burstOf(steps: readonly Step[], version: 4 | 6): Listed[] {
  const sequences = new Map<string, number>();
  const repeated = steps.flatMap((s) => new Array<Step>(s.times).fill(s)).slice(0, BURST_FRAMES);
  return repeated.map((s, n) => {
    const ip =
      version === 4
        ? { src: '10.64.3.7', dst: `8.8.8.${s.flow}`, ttl: s.ttl, tos: s.tos, df: s.df, id: n }
        : {
            src: '64:ff9b:1::8.8.8.8',
            dst: `2001:db8::${s.flow + 1}`,
            hopLimit: s.ttl,
            trafficClass: s.tos,
            flowLabel: s.flowLabel,
          };
    const build = (layer: Parameters<typeof ipv6>[1], ...rest: Parameters<typeof ipv6>[1][]) =>
      version === 4 ? ipv4(ip, layer, ...rest) : ipv6(ip, layer, ...rest);
    if (s.other === 'echo') return { bytes: build(icmp({ type: version === 4 ? 8 : 128 })), vnet: NO_VNET };
    if (s.other === 'fragment' || s.other === 'pieces') {
      const packet =
        version === 4
          ? ipv4({ ...ip, mf: true }, udp({}, bytes(64)))
          : build(fragment6({ more: true }), udp({}, bytes(64)));
      return { bytes: packet, vnet: NO_VNET, pieces: s.other === 'pieces' ? 2 : 1 };
    }
    // Every byte of a payload is its frame's own, so that none can take another's place unnoticed.
    const isSuper = s.other === 'super' && s.size >= 100;
    const size = isSuper ? 3 * s.size : s.size;
    const data = Uint8Array.from({ length: size }, (_, i) => n * 7 + i);
    const key = `${s.kind} ${s.flow}`;
    const seq = (sequences.get(key) ?? 2 ** 32 - 500) + s.skip;
    sequences.set(key, seq + size);
    const checksum = s.mark === 'none' && !isSuper ? s.checksum : 'right';
    const { options, window, ack, urgent } = s;
    const flags: readonly TcpFlag[] = isSuper ? ['ack'] : s.flags;
    const upper =
      s.kind === 'tcp'
        ? tcp(
            {
              seq: ((seq % 2 ** 32) + 2 ** 32) % 2 ** 32,
              flags,
              options,
              window,
              ack,
              urgent,
              checksum: checksum === 0 ? 'right' : checksum,
            },
            data,
          )
        : udp({ checksum }, data);
    const packet = build(upper);
    if (isSuper) {
      const frame = asPartial(packet);
      const gsoType = s.kind === 'udp' ? GSO_UDP_L4 : version === 4 ? GSO_TCPV4 : GSO_TCPV6;
      return { bytes: frame.bytes, vnet: { ...frame.vnet, gsoType, gsoSize: s.size } };
    }
    if (s.mark === 'partial') return asPartial(packet);
    return { bytes: packet, vnet: s.mark === 'valid' ? { ...NO_VNET, flags: 2 } : NO_VNET };
  });
}

/** Packets by flow, in order; those that are of no flow (fragments, ICMP) by themselves. */
function byFlow(frames: readonly Frame[]): Map<string, string[]> {
  const flows = new Map<string, string[]>();
  for (const frame of frames) {
    const { bytes: packet } = frame;
    const isV4 = packet[0]! >> 4 === 4;
    const protocol = packet[isV4 ? 9 : 6]!;
    const isWhole = (protocol === 6 || protocol === 17) && !(isV4 && (packet[6]! & 0x20) !== 0);
    const upper = isV4 ? 20 : 40;
    const key = isWhole
      ? `${protocol} ${Buffer.from(packet.subarray(isV4 ? 12 : 8, upper + 4)).toString('hex')}`
      : 'none';
    const packets = isWhole ? cut(frame) : [packet];
    flows.set(key, [...(flows.get(key) ?? []), ...packets.map(withoutIdentification)]);
  }
  return flows;
}

for (const version of [4, 6] as const) {
  test(`frames joined and cut by the kernel's rules are the frames that came, in the order of their flow (IPv${version})`, () => {
    let joined = 0;
    let most = 0;
    fc.assert(
      fc.property(fc.array(fc.array(step, { maxLength: 40 }), { minLength: 1, maxLength: 3 }), (bursts) => {
        const joiner = new Joiner();
        for (const steps of bursts) {
          const burst = burstOf(steps, version);
          const out = joiner.run(burst);
          assert.deepEqual(byFlow(out), byFlow(burst));
          for (const { vnet, bytes: packet } of out) {
            assert.ok(packet.length <= 65535 && vnet.flags < 2);
            if (vnet.gsoType === 0) continue;
            joined++;
            const segments = cut({ vnet, bytes: packet }).length;
            most = Math.max(most, segments);
            assert.ok(segments <= 64);
            const isCwr = vnet.gsoType !== GSO_UDP_L4 && (packet[vnet.csumStart + 13]! & 0x80) !== 0;
            assert.equal(
              (vnet.gsoType & GSO_ECN) !== 0,
              isCwr,
              'CWR in the first, and only there, is GSO_ECN',
            );
          }
        }
      }),
      { seed: SEED, numRuns: RUNS },
    );
    assert.ok(joined > RUNS, `${joined} super-frames were made: the bursts are such that frames join`);
    assert.equal(most, 64, 'and that some have all the segments that they may');
  });
}

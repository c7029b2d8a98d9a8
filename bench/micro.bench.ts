/**
 * What each part costs by itself: `npm run bench -- micro`. Nanoseconds for a frame, a lookup, a map; without a device. Buffers
 * are those of a worker, and so are the V8 flags.
 */
import { setFlagsFromString } from 'node:v8';
import { Bench } from 'tinybench';
import { Coalescer } from '#nat64d/dataplane/coalesce.js';
import { HEADROOM } from '#nat64d/shm/frame-ring.js';
import { V8_FLAGS } from '#nat64d/shm/v8-flags.js';
import { adjustChecksum, sumBytes } from '#nat64d/wire/checksum.js';
import { VNET_HEADER } from '#nat64d/wire/vnet.js';
import native from '#native';
import { Harness, HOST6, NOW_SEC } from '../test/helpers/harness.js';
import { bytes, ipv4, tcp, udp } from '../test/helpers/packet.js';
import * as lookup from './lookup.bench.js';
import { hostOf, makePool } from './pool.bench.js';
import { printTable, writeResults } from './report.js';
import * as translate from './translate.bench.js';
import * as watch from './watch.bench.js';

interface Part {
  readonly name: string;
  /** Things that one run does. */
  readonly count: number;
  run(): unknown;
  beforeEach?(): void;
}

const BURST = 16;
const POOL_LENGTH = 16;
const CLOCK_SEC = 1000;
const LIFETIME_SEC = 7440;

/** A burst on the context's list, put there anew before each run: joining writes into the first frame. */
function joining(name: string, packets: readonly Uint8Array[], mark: number): Part {
  const harness = new Harness({ settings: { coalesce: 'all' } });
  const { ctx } = harness;
  const coalescer = new Coalescer(ctx);
  const lay = () => {
    let offset = HEADROOM;
    for (const [i, packet] of packets.entries()) {
      ctx.u8.fill(0, offset - VNET_HEADER, offset);
      ctx.u8[offset - VNET_HEADER] = mark;
      ctx.u8.set(packet, offset);
      ctx.list.set([1, offset - VNET_HEADER, VNET_HEADER + packet.length], 3 * i);
      offset += HEADROOM + ((packet.length + 15) & ~15);
    }
    ctx.listFrames = packets.length;
    ctx.listEnd = 3 * packets.length;
  };
  return { name, count: packets.length, run: () => coalescer.run(), beforeEach: lay };
}

const datagrams = (size: number, isOneFlow: boolean) =>
  Array.from({ length: BURST }, (_, i) =>
    ipv4({ src: '10.64.3.7', dst: '8.8.8.8', df: true }, udp({ sport: isOneFlow ? 1 : i }, bytes(size))),
  );
const segments = (size: number) =>
  Array.from({ length: BURST }, (_, i) =>
    ipv4({ src: '10.64.3.7', dst: '8.8.8.8', df: true }, tcp({ seq: i * size }, bytes(size))),
  );

function poolParts(): Part[] {
  const known = makePool(POOL_LENGTH);
  const hosts = Array.from({ length: 10_000 }, (_, i) => hostOf(i));
  for (const host of hosts) known.pool.assign(host, CLOCK_SEC);
  let fresh = makePool(POOL_LENGTH);
  let sec = CLOCK_SEC;
  return [
    {
      name: 'allocator: a new host',
      count: hosts.length,
      run: () => {
        for (const host of hosts) fresh.pool.assign(host, CLOCK_SEC);
      },
      beforeEach: () => {
        fresh = makePool(POOL_LENGTH);
      },
    },
    {
      name: 'allocator: a known host',
      count: hosts.length,
      run: () => {
        for (const host of hosts) known.pool.assign(host, CLOCK_SEC);
      },
    },
    {
      // Every map is due, and has been used since.
      name: 'expiry: a map that goes on',
      count: hosts.length,
      run: () => known.pool.sweep(sec),
      beforeEach: () => {
        sec += LIFETIME_SEC + 1;
        known.lastSeen.fill(sec);
      },
    },
  ];
}

function parts(): Part[] {
  const { ctx } = new Harness();
  const sums = new Int32Array(new SharedArrayBuffer(4 * BURST));
  const ranges = Int32Array.from({ length: 2 * BURST }, (_, i) => (i % 2 === 0 ? 2048 * i : 1400));
  const host = new Int32Array([0x20010db8, 0x10000, 0, 2]);
  const times = 1000;
  const repeat = (run: (i: number) => number) => () => {
    let sum = 0;
    for (let i = 0; i < times; i++) sum += run(i);
    return sum;
  };
  return [
    { name: 'checksum: adjust', count: times, run: repeat((i) => adjustChecksum(i, 0x1234, i)) },
    { name: 'checksum: sum 20 B', count: times, run: repeat((i) => sumBytes(ctx.dv, i & ~15, 20)) },
    { name: 'checksum: sum 1400 B', count: times, run: repeat((i) => sumBytes(ctx.dv, i & ~15, 1400)) },
    {
      name: 'checksum: sum 1400 B, natively, 16 in a call',
      count: BURST,
      run: () => native.sums(ctx.u8, ranges, BURST, sums),
    },
    {
      name: `host table: find ${HOST6}`,
      count: times,
      run: repeat(() =>
        ctx.hosts.find(
          host[0] as number,
          host[1] as number,
          host[2] as number,
          host[3] as number,
          2,
          NOW_SEC,
        ),
      ),
    },
    joining('joining: 16 datagrams of 64 B of a flow, sums verified', datagrams(64, true), 0),
    joining('joining: 16 datagrams of 1400 B of a flow, sums verified', datagrams(1400, true), 0),
    joining('joining: 16 segments of 1400 B, marked valid', segments(1400), 2),
    joining('joining: 16 datagrams of 16 flows', datagrams(64, false), 0),
    ...poolParts(),
  ];
}

export async function run(): Promise<void> {
  setFlagsFromString(V8_FLAGS);
  const bench = new Bench({ time: 300, warmupTime: 100 });
  const all = parts();
  for (const { name, run: work, beforeEach } of all) {
    bench.add(name, work, beforeEach === undefined ? {} : { beforeEach });
  }
  await bench.run();
  const rows = bench.tasks.map(({ name, result }, i) => {
    if (!('latency' in result)) throw new Error(`${name} did not run`);
    const each = (ms: number) => Math.round((ms * 1e7) / (all[i] as Part).count) / 10;
    return { part: name, 'ns median': each(result.latency.p50), 'ns p75': each(result.latency.p75) };
  });
  printTable(rows);
  writeResults('micro', rows);
  for (const [title, other] of [
    ['Translation, a frame', translate],
    ['Explicit maps, a lookup', lookup],
    ['Captures, a frame of a worker’s loop', watch],
  ] as const) {
    console.log(`\n${title}`);
    await other.run();
  }
}

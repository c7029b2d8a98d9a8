/**
 * What each part costs by itself: `npm run bench -- micro`. Nanoseconds for a frame, a lookup, a map, a query; without a device. Buffers
 * are those of a worker, and so are the V8 flags. Families of parts take turns, each time in a process of its own: what the JIT has
 * learned from one is no help and no harm to another. The ratio is to the first of a family.
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { Coalescer } from '#nat64d/dataplane/coalesce.js';
import { HEADROOM } from '#nat64d/shm/frame-ring.js';
import { V8_FLAGS } from '#nat64d/shm/v8-flags.js';
import { adjustChecksum, sumBytes } from '#nat64d/wire/checksum.js';
import { VNET_HEADER } from '#nat64d/wire/vnet.js';
import native from '#native';
import { Harness } from '../test/helpers/harness.js';
import { bytes, ipv4, tcp, udp } from '../test/helpers/packet.js';
import * as dnsPaths from './dns-paths.bench.js';
import * as lookup from './lookup.bench.js';
import { type Part, timeParts } from './parts.js';
import { hostOf, makePool } from './pool.bench.js';
import { barsOf, gather, type Measurement, report, rowsOf } from './report.js';
import * as translate from './translate.bench.js';
import * as watch from './watch.bench.js';

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
      name: 'a new host',
      count: hosts.length,
      run: () => {
        for (const host of hosts) fresh.pool.assign(host, CLOCK_SEC);
      },
      beforeEach: () => {
        fresh = makePool(POOL_LENGTH);
      },
    },
    {
      name: 'a known host',
      count: hosts.length,
      run: () => {
        for (const host of hosts) known.pool.assign(host, CLOCK_SEC);
      },
    },
    {
      // Every map is due, and has been used since.
      name: 'expiry of a map that goes on',
      count: hosts.length,
      run: () => known.pool.sweep(sec),
      beforeEach: () => {
        sec += LIFETIME_SEC + 1;
        known.lastSeen.fill(sec);
      },
    },
  ];
}

function checksumParts(): Part[] {
  const { ctx } = new Harness();
  const sums = new Int32Array(new SharedArrayBuffer(4 * BURST));
  const ranges = Int32Array.from({ length: 2 * BURST }, (_, i) => (i % 2 === 0 ? 2048 * i : 1400));
  const times = 1000;
  const repeat = (run: (i: number) => number) => () => {
    let sum = 0;
    for (let i = 0; i < times; i++) sum += run(i);
    return sum;
  };
  return [
    { name: 'adjust', count: times, run: repeat((i) => adjustChecksum(i, 0x1234, i)) },
    { name: 'sum 20 B', count: times, run: repeat((i) => sumBytes(ctx.dv, i & ~15, 20)) },
    { name: 'sum 1400 B', count: times, run: repeat((i) => sumBytes(ctx.dv, i & ~15, 1400)) },
    {
      name: 'sum 1400 B, natively, 16 in a call',
      count: BURST,
      run: () => native.sums(ctx.u8, ranges, BURST, sums),
    },
  ];
}

const joiningParts = (): Part[] => [
  joining('16 datagrams of 16 flows, none joined', datagrams(64, false), 0),
  joining('16 datagrams of 64 B of a flow, sums verified', datagrams(64, true), 0),
  joining('16 datagrams of 1400 B of a flow, sums verified', datagrams(1400, true), 0),
  joining('16 segments of 1400 B, marked valid', segments(1400), 2),
];

const withFlags = (group: string, parts: () => Part[]) => () => {
  setFlagsFromString(V8_FLAGS);
  return timeParts(group, parts());
};

const FAMILIES: Readonly<Record<string, () => Promise<Measurement[]>>> = {
  translation: translate.measure,
  checksums: withFlags('checksums', checksumParts),
  tables: lookup.measure,
  joining: withFlags('joining, a frame', joiningParts),
  pool: withFlags('allocator and expiry, a map', poolParts),
  captures: watch.measure,
  dns: dnsPaths.measure,
};

export interface MicroOptions {
  readonly runs: number;
  /** Only families whose name has this in it. */
  readonly only: string;
}

/** Measures, and writes the results under this name. */
export function run({ runs, only }: MicroOptions, file = only === '' ? 'micro' : 'micro-part'): void {
  const families = Object.keys(FAMILIES).filter((name) => name.includes(only));
  const measured: Measurement[] = [];
  for (let i = 1; i <= runs; i++) {
    for (const family of families) {
      console.error(`run ${i}/${runs}  ${family}`);
      const words = [...process.execArgv, fileURLToPath(import.meta.url), family];
      measured.push(...JSON.parse(execFileSync(process.execPath, words, { encoding: 'utf8' })));
    }
  }
  const series = gather(measured);
  report(file, 'nat64d: parts by themselves', rowsOf(series), barsOf(series));
}

const [script, family = ''] = process.argv.slice(1);
if (script === fileURLToPath(import.meta.url)) {
  const measure = FAMILIES[family];
  if (measure === undefined) throw new Error(`no family ${family}`);
  console.log(JSON.stringify(await measure()));
}

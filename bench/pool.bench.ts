/**
 * What a large dynamic pool costs: `npm run bench -- pool --length N`, a /10 (4 million addresses) unless told. Each start is
 * a process of its own, so that memory is its alone; all of them are done again in each run.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MapPublisher } from '#nat64d/control/map-publisher.js';
import { CLOCK_START_SEC } from '#nat64d/control/pool/clock-start.js';
import { DynamicMapStore } from '#nat64d/control/pool/dynamic-map-store.js';
import { DynamicPool, REFUSED_POOL_FULL } from '#nat64d/control/pool/dynamic-pool.js';
import { atOnce } from '#nat64d/control/slices.js';
import { createHostTable } from '#nat64d/shm/host-table.js';
import { createSharedState } from '#nat64d/shm/shared-state.js';
import { type Address6, formatAddress4, formatAddress6 } from '#nat64d/wire/address.js';
import { TABULATION_WORDS } from '#nat64d/wire/tabulation.js';
import { barsOf, gather, type Measurement, report, rowsOf } from './report.js';

const BASE = 0x0a000000;
const LIFETIME_SEC = 7440;
const DORMANT_SEC = 14 * 86400;
/** As many as the gateway looks at in one go. */
const SWEEP_SLICE = 10_000;
const RECORDS = 100_000;
const UNIX_SEC = Math.floor(Date.now() / 1000);
const FULL = 'full/dynamic.map';

/** Host `n`: no two alike, eight to a /64, spread over the pool as real ones are. */
export function hostOf(n: number): Address6 {
  return [0x20010db8, n >>> 3, Math.imul(n, 0x9e3779b1), Math.imul(n ^ 0x5bd1e995, 0x85ebca6b)];
}

export function makePool(length: number): { pool: DynamicPool; lastSeen: Int32Array } {
  const hosts = createHostTable(
    BASE,
    2 ** (32 - length),
    LIFETIME_SEC,
    new Int32Array(TABULATION_WORDS).map(random),
  );
  const lastSeen = new Int32Array(hosts.lastSeen);
  const pool = new DynamicPool({
    pool4: { address: BASE, length },
    reserved: [],
    lastSeen,
    lifetimeSec: LIFETIME_SEC,
    dormantSec: DORMANT_SEC,
    maxMapsPer64: 0,
    publisher: new MapPublisher(hosts, createSharedState(1), 1),
  });
  return { pool, lastSeen };
}

function random(): number {
  return (Math.random() * 2 ** 32) | 0;
}

/** Milliseconds that something takes. */
async function msOf(run: () => void | Promise<void>): Promise<number> {
  const startMs = performance.now();
  await run();
  return performance.now() - startMs;
}

/** The longest time in which the event loop had no turn while `run` was under way. */
async function longestBlockMs(run: () => Promise<void>): Promise<number> {
  let longest = 0;
  let lastMs = performance.now();
  const look = () => {
    const nowMs = performance.now();
    longest = Math.max(longest, nowMs - lastMs);
    lastMs = nowMs;
  };
  let turn: NodeJS.Immediate;
  const next = () => {
    look();
    turn = setImmediate(next);
  };
  turn = setImmediate(next);
  await run();
  look();
  clearImmediate(turn);
  return longest;
}

class Measurements {
  readonly rows: Measurement[] = [];

  add(group: string, what: string, unit: 'ms' | 'MiB' | 'µs', value: number): void {
    this.rows.push({ group, what, unit, value });
  }

  addMemory(what: string): void {
    this.add('resident', what, 'MiB', process.memoryUsage.rss() / 2 ** 20);
    this.add('resident at its peak', what, 'MiB', process.resourceUsage().maxRSS / 1024);
  }
}

/** Reads the files and fills a pool, as the gateway does at its start. */
async function start(what: string, length: number, file: string) {
  const measured = new Measurements();
  let made: ReturnType<typeof makePool> | undefined;
  const ms = await msOf(() => {
    made = makePool(length);
    const { entries, problems } = atOnce(new DynamicMapStore(file).read());
    const refused = atOnce(made.pool.restore(entries, CLOCK_START_SEC, UNIX_SEC + LIFETIME_SEC));
    if (problems.length + refused.length > 0)
      throw new Error(`${problems.length + refused.length} bad lines`);
  });
  if (made === undefined) throw new Error('no pool was made');
  measured.add('until it could serve', what, 'ms', ms);
  measured.addMemory(what);
  return { measured, ...made };
}

/** A pool from empty to full, on disk, refusing, and to rest again. */
async function fill(length: number, folder: string): Promise<Measurements> {
  const { measured, pool, lastSeen } = await start(
    'start, no file',
    length,
    join(folder, 'none/dynamic.map'),
  );
  const { capacity } = pool;
  const perMap = async (what: string, count: number, run: (i: number) => void) =>
    measured.add(
      'a map',
      what,
      'µs',
      ((await msOf(() => {
        for (let i = 0; i < count; i++) run(i);
      })) *
        1000) /
        count,
    );

  await perMap('assign, empty to full', capacity, (i) => pool.assign(hostOf(i), CLOCK_START_SEC));
  if (pool.liveCount !== capacity) throw new Error(`${pool.liveCount} maps of ${capacity}`);
  measured.addMemory('full');
  await perMap('assign, host known', RECORDS, (i) => pool.assign(hostOf(i % capacity), CLOCK_START_SEC));
  await perMap('assign, refused for a full pool', RECORDS, (i) => {
    if (pool.assign(hostOf(capacity + i), CLOCK_START_SEC) !== REFUSED_POOL_FULL) throw new Error('not full');
  });

  const store = new DynamicMapStore(join(folder, FULL));
  const compact = () => store.compact(pool.entries(), CLOCK_START_SEC, UNIX_SEC);
  measured.add('compaction', 'whole', 'ms', await msOf(compact));
  measured.add('compaction', 'longest without a turn of the event loop', 'ms', await longestBlockMs(compact));
  await perMap('record', RECORDS, (i) => store.record(BASE + 1 + (i % capacity), hostOf(i), UNIX_SEC));
  await store.compact(pool.entries(), CLOCK_START_SEC, UNIX_SEC);
  await store.close();

  // Every map is due in the same second: first all have been used since, then none.
  const dueSec = CLOCK_START_SEC + LIFETIME_SEC + 1;
  lastSeen.fill(dueSec);
  sweep(measured, pool, 'all in use', dueSec);
  sweep(measured, pool, 'all over', dueSec + LIFETIME_SEC + 1);
  if (pool.dormantCount !== capacity) throw new Error(`${pool.dormantCount} dormant maps of ${capacity}`);
  await perMap('assign, from the longest rested', RECORDS, (i) =>
    pool.assign(hostOf(2 * capacity + i), dueSec + LIFETIME_SEC + 1),
  );
  return measured;
}

function sweep(measured: Measurements, pool: DynamicPool, what: string, untilSec: number): void {
  const startMs = performance.now();
  let longestMs = 0;
  for (let looked = SWEEP_SLICE; looked === SWEEP_SLICE; ) {
    const sliceMs = performance.now();
    looked = pool.sweep(untilSec, SWEEP_SLICE);
    longestMs = Math.max(longestMs, performance.now() - sliceMs);
  }
  measured.add('sweep', `${what}, whole`, 'ms', performance.now() - startMs);
  measured.add('sweep', `${what}, longest slice`, 'ms', longestMs);
}

const phases: Record<string, (length: number, folder: string) => Promise<Measurements>> = {
  fill,
  full: async (length, folder) => (await start('start, full file', length, join(folder, FULL))).measured,
  journal: async (length, folder) => {
    const file = join(folder, FULL);
    const lines = Array.from({ length: Math.min(RECORDS, 2 ** (32 - length) - 1) }, (_, i) => {
      return `${formatAddress4(BASE + 1 + i)}\t${formatAddress6(hostOf(-1 - i))}\t${UNIX_SEC}\n`;
    });
    writeFileSync(`${file}.journal`, lines.join(''));
    return (await start(`start, full file and ${lines.length} lines of journal`, length, file)).measured;
  },
};

/** Measures a pool of this prefix length, each phase in a process of its own. */
function measurePool(length: number): Measurement[] {
  const folder = mkdtempSync(join(tmpdir(), 'nat64d-bench-pool-'));
  try {
    return Object.keys(phases).flatMap((phase) => {
      const words = [fileURLToPath(import.meta.url), phase, String(length), folder];
      return JSON.parse(execFileSync(process.execPath, words, { encoding: 'utf8' })) as Measurement[];
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export interface PoolOptions {
  readonly runs: number;
  /** Prefix length of the pool, from 8 to 29. */
  readonly length: number;
}

export function run({ runs, length }: PoolOptions): void {
  const measured: Measurement[] = [];
  for (let i = 1; i <= runs; i++) {
    console.error(`run ${i}/${runs}`);
    measured.push(...measurePool(length));
  }
  const series = gather(measured);
  report('pool', `nat64d: a pool of a /${length}`, rowsOf(series), barsOf(series));
}

const [script, phase = '', length = '10', folder = ''] = process.argv.slice(1);
if (script === fileURLToPath(import.meta.url)) {
  const measure = phases[phase];
  if (measure === undefined) throw new Error(`no phase ${phase}`);
  console.log(JSON.stringify((await measure(Number(length), folder)).rows));
}

/**
 * Fuzzing: cases made from a seed, each run against a part of the gateway. A case is a list of records (frames, messages,
 * chunks; or one text), so that a failing one can be made smaller and kept in a file of test/fuzz/corpus.
 *
 * The same seed makes the same cases, each by its number alone: `npm run fuzz -- NAME --seed S --first N --count 1`.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { Random } from './random.js';

export type Case = readonly Buffer[];

/** What cases are run against. It may remember what earlier ones did. */
export interface Runner {
  /** Throws, or rejects, where something is broken. */
  run(records: Case): void | Promise<void>;
  close?(): void | Promise<void>;
}

export interface Target {
  readonly name: string;
  readonly about: string;
  /** Of a whole run, in the target's units. */
  readonly wholeCount: number;
  /** Of the run in `npm test`, at least. */
  readonly shortCount: number;
  /** What a count counts; 'cases' where it is left out. */
  readonly unit?: string;
  /** Units of a case. */
  readonly weigh?: (records: Case) => number;
  /** A case is one text, and is kept as such. */
  readonly isText?: boolean;
  /** Where cases are kept, other than in a folder of its name under test/fuzz/corpus. */
  readonly corpus?: string;
  readonly make: (random: Random, corpus: readonly Case[]) => Case;
  readonly open: () => Runner | Promise<Runner>;
}

export interface Limits {
  readonly seed: number;
  readonly first?: number;
  readonly count?: number;
  readonly seconds?: number;
  /** Units that are run even where they take longer than `seconds`. */
  readonly least?: number;
}

export interface Done {
  readonly cases: number;
  readonly units: number;
  readonly seconds: number;
  readonly rssBytes: number;
}

const CORPUS = fileURLToPath(new URL('../../../test/fuzz/corpus/', import.meta.url));
/** A case that takes so long does not end. */
const HANG_MS = 60_000;
/** Processor time that a case may take: asked three times, because a collection of garbage may fall into it. */
const SLOW_US = 1e6;
/** In less by the clock, no case takes that. */
const QUICK_MS = 100;
const MOST_RSS_BYTES = 2 ** 31;
const LENGTH_BYTES = 4;
/** Tries to make a failing case smaller. */
const TRIES = 3000;
const SMALLER_MS = 30_000;

export function encodeCase(records: Case, isText = false): Buffer {
  if (isText) return Buffer.concat(records);
  return Buffer.concat(
    records.flatMap((record) => {
      const length = Buffer.alloc(LENGTH_BYTES);
      length.writeUInt32BE(record.length);
      return [length, record];
    }),
  );
}

export function decodeCase(bytes: Buffer, isText = false): Case {
  if (isText) return [bytes];
  const records: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + LENGTH_BYTES + bytes.readUInt32BE(at);
    records.push(bytes.subarray(at + LENGTH_BYTES, end));
    at = end;
  }
  return records;
}

const folderOf = ({ corpus, name }: Target) => corpus ?? join(CORPUS, name);

/** The cases that are kept: what failed once, and what leads far. */
export function readCorpus(target: Target): { name: string; records: Case }[] {
  const folder = folderOf(target);
  let names: string[] = [];
  try {
    names = readdirSync(folder).sort();
  } catch {
    // None is kept.
  }
  return names.map((name) => ({
    name,
    records: decodeCase(readFileSync(join(folder, name)), target.isText),
  }));
}

/** Ends the process, and says at which case, when one holds its thread for too long. */
class Watch {
  readonly #words = new Float64Array(new SharedArrayBuffer(16));
  readonly #worker: Worker;

  constructor(what: string) {
    const { buffer } = this.#words;
    const text = `
      const { workerData: { buffer, what, ms } } = require('node:worker_threads');
      const words = new Float64Array(buffer);
      let last = -1;
      setInterval(() => {
        if (words[1] === last) {
          require('node:fs').writeSync(2, what + ': case ' + words[0] + ' does not end\\n');
          process.kill(process.pid, 'SIGKILL');
        }
        last = words[1];
      }, ms);`;
    this.#worker = new Worker(text, { eval: true, workerData: { buffer, what, ms: HANG_MS } });
    this.#worker.unref();
  }

  note(caseNumber: number): void {
    this.#words[0] = caseNumber;
    this.#words[1]!++;
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}

/** What nobody catches: it would end the gateway. */
class Mishaps {
  #first: Error | null = null;
  readonly #take = (error: unknown) => {
    this.#first ??= error instanceof Error ? error : new Error(String(error));
  };

  constructor() {
    process.on('uncaughtException', this.#take);
    process.on('unhandledRejection', this.#take);
  }

  take(): Error | null {
    const first = this.#first;
    this.#first = null;
    return first;
  }

  close(): void {
    process.off('uncaughtException', this.#take);
    process.off('unhandledRejection', this.#take);
  }
}

/** Processor time of all threads. To ask for it at each case would take a fifth of a run of small ones. */
class Meter {
  #asked = process.cpuUsage();
  #askedMs = performance.now();

  /** Since it was asked last, or 0 where that was a moment ago: never less than the case behind us took, if it took much. */
  usedUs(): number {
    if (performance.now() - this.#askedMs < QUICK_MS) return 0;
    const { user, system } = process.cpuUsage(this.#asked);
    this.#asked = process.cpuUsage();
    this.#askedMs = performance.now();
    return user + system;
  }
}

const meter = new Meter();

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

/** Runs the corpus, then new cases up to a limit. Throws at the first that fails, when it has been made smaller and written down. */
export async function fuzz(target: Target, limits: Limits): Promise<Done> {
  const { seed, first = 0, count = Number.POSITIVE_INFINITY, seconds = Number.POSITIVE_INFINITY } = limits;
  const { least = 0 } = limits;
  const corpus = readCorpus(target);
  const kept = corpus.map(({ records }) => records);
  const watch = new Watch(`${target.name}, seed ${seed}`);
  const mishaps = new Mishaps();
  const startMs = performance.now();
  let runner: Runner | undefined = await target.open();
  const closeRunner = async () => {
    const closing = runner;
    // Once, whatever becomes of it: an error of a second time would hide what was found.
    runner = undefined;
    await closing?.close?.();
  };
  let cases = 0;
  let units = 0;
  const attempt = async (records: Case, what: string) => {
    watch.note(cases);
    runner ??= await target.open();
    const failure = (await failureOf(runner, records)) ?? mishaps.take();
    if (failure === null) return;
    await closeRunner();
    const smaller = await makeSmaller(target, records, mishaps, () => watch.note(cases));
    const file = keep(target, smaller ?? records, `failed-${seed}-${cases + first}`);
    const text =
      smaller === null ? 'it does not fail alone: what came before it has a part in it' : 'made smaller';
    throw new Error(`${target.name}: ${what} (seed ${seed}) fails; ${text}, in ${file}: ${failure.message}`, {
      cause: failure,
    });
  };
  try {
    for (const { name, records } of corpus) {
      await attempt(records, name);
      // What one has left behind is not to help the next.
      await closeRunner();
    }
    while (units < count && (units < least || performance.now() - startMs < seconds * 1000)) {
      const records = target.make(new Random(seed, first + cases), kept);
      await attempt(records, `case ${first + cases}`);
      units += target.weigh?.(records) ?? 1;
      if (++cases % 1024 === 0) {
        await nextTurn();
        const { rss } = process.memoryUsage();
        if (rss > MOST_RSS_BYTES)
          throw new Error(`${target.name}: ${rss} bytes resident after ${cases} cases`);
      }
    }
  } finally {
    await closeRunner();
    mishaps.close();
    await watch.close();
  }
  const { rss } = process.memoryUsage();
  return { cases, units, seconds: (performance.now() - startMs) / 1000, rssBytes: rss };
}

async function failureOf(runner: Runner, records: Case): Promise<Error | null> {
  try {
    for (let tries = 0; ; tries++) {
      await runner.run(records);
      const usedUs = meter.usedUs();
      if (usedUs < SLOW_US) return null;
      if (tries === 2) return new Error(`it takes ${usedUs / 1000} ms of the processor`);
    }
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** A case that fails alone and is smaller; null where this one does not fail alone. */
async function makeSmaller(
  target: Target,
  records: Case,
  mishaps: Mishaps,
  note: () => void,
): Promise<Case | null> {
  const endMs = performance.now() + SMALLER_MS;
  let left = TRIES;
  const fails = async (candidate: Case) => {
    if (left-- <= 0 || performance.now() > endMs) return false;
    note();
    const runner = await target.open();
    try {
      return ((await failureOf(runner, candidate)) ?? mishaps.take()) !== null;
    } finally {
      await runner.close?.();
    }
  };
  if (!(await fails(records))) return null;
  let best = await shorter(records, fails);
  for (let i = 0; i < best.length; i++) {
    const record = best[i] as Buffer;
    const withRecord = (bytes: readonly number[]) =>
      best.map((one, j) => (j === i ? Buffer.from(bytes) : one));
    const bytes = await shorter([...record], (candidate) => fails(withRecord(candidate)));
    best = withRecord(bytes);
  }
  return best;
}

/** Leaves parts of a list out, halves first, for as long as it still fails. */
async function shorter<T>(
  list: readonly T[],
  fails: (list: readonly T[]) => Promise<boolean>,
): Promise<readonly T[]> {
  let best = list;
  for (let size = Math.ceil(best.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < best.length; ) {
      const candidate = [...best.slice(0, at), ...best.slice(at + size)];
      if (await fails(candidate)) best = candidate;
      else at += size;
    }
  }
  return best;
}

function keep(target: Target, records: Case, name: string): string {
  const folder = folderOf(target);
  mkdirSync(folder, { recursive: true });
  const file = join(folder, target.isText ? `${name}.txt` : `${name}.bin`);
  writeFileSync(file, encodeCase(records, target.isText));
  return file;
}

/** One line on a run, for people. */
export function report(target: Target, seed: number, { cases, units, seconds, rssBytes }: Done): void {
  const rate = Math.round(units / seconds);
  const counted = target.unit === undefined ? '' : ` in ${cases} cases`;
  const line = `${target.name}: ${units} ${target.unit ?? 'cases'}${counted}, ${seconds.toFixed(1)} s, ${rate}/s, ${Math.round(rssBytes / 2 ** 20)} MiB resident, seed ${seed}\n`;
  writeSync(1, line);
}

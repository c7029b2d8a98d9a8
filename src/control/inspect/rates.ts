/** What passes per second, from two looks at the counters. Nobody looks until somebody asks. */
import { setTimeout as sleep } from 'node:timers/promises';

/** A look younger than this is too young to compare with, and one older tells of the past. */
const YOUNGEST_MS = 500;
const OLDEST_MS = 3000;

interface Look {
  readonly atMs: number;
  readonly counters: Readonly<Record<string, number>>;
}

export interface Rates {
  /** How long was looked at. */
  readonly intervalSec: number;
  /** Per second, by counter. */
  readonly perSec: Readonly<Record<string, number>>;
}

export class RateMeter {
  readonly #read: () => Readonly<Record<string, number>>;
  #looks: Look[] = [];

  constructor(read: () => Readonly<Record<string, number>>) {
    this.#read = read;
  }

  /** Rates since the last look, if that is of use; else after half a second. */
  async rates(): Promise<Rates> {
    const nowMs = performance.now();
    this.#looks = this.#looks.filter(({ atMs }) => nowMs - atMs <= OLDEST_MS);
    let before = this.#looks.findLast(({ atMs }) => nowMs - atMs >= YOUNGEST_MS);
    if (before === undefined) {
      before = this.#looks[0] ?? this.#look();
      await sleep(YOUNGEST_MS - (performance.now() - before.atMs));
    }
    return ratesBetween(before, this.#look());
  }

  #look(): Look {
    const look = { atMs: performance.now(), counters: this.#read() };
    this.#looks.push(look);
    // Many who ask at once share their looks.
    if (this.#looks.length > 64) this.#looks.splice(1, 32);
    return look;
  }
}

export function ratesBetween(before: Look, after: Look): Rates {
  const intervalSec = Math.max((after.atMs - before.atMs) / 1000, 1e-3);
  const perSec = Object.fromEntries(
    Object.entries(after.counters).map(([name, value]) => [
      name,
      Math.max(value - (before.counters[name] ?? 0), 0) / intervalSec,
    ]),
  );
  return { intervalSec, perSec };
}

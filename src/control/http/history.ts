/** An hour of throughput, a sample a second. */
import { type Rates, ratesBetween } from '../inspect/rates.js';
import type { HistoryColumns, Sample } from './page-data.js';

const HOUR_SEC = 3600;

interface Look {
  readonly atMs: number;
  readonly counters: Readonly<Record<string, number>>;
}

export class History {
  readonly #samples: (Omit<Sample, 'at'> & { readonly atMs: number })[] = [];
  #look: Look | undefined;
  rates: Rates = { intervalSec: 1, perSec: {} };

  /** Takes a sample, or the first look if there is none to compare with. */
  add(counters: Readonly<Record<string, number>>): void {
    const look = { atMs: performance.now(), counters };
    if (this.#look !== undefined) {
      this.rates = ratesBetween(this.#look, look);
      const per = (name: string) => Math.round(this.rates.perSec[name] ?? 0);
      this.#samples.push({
        atMs: look.atMs,
        v6ToV4Bits: 8 * per('bytes-in-v6'),
        v4ToV6Bits: 8 * per('bytes-in-v4'),
        v6ToV4Frames: per('frames-in-v6'),
        v4ToV6Frames: per('frames-in-v4'),
      });
      if (this.#samples.length > HOUR_SEC) this.#samples.shift();
    }
    this.#look = look;
  }

  /** The last sample, at this moment's time of day. */
  get last(): Sample | undefined {
    const sample = this.#samples.at(-1);
    return sample && dated(sample);
  }

  get columns(): HistoryColumns {
    const columns: HistoryColumns = {
      at: [],
      v6ToV4Bits: [],
      v4ToV6Bits: [],
      v6ToV4Frames: [],
      v4ToV6Frames: [],
    };
    for (const sample of this.#samples.map(dated)) {
      for (const [name, value] of Object.entries(sample)) columns[name as keyof HistoryColumns].push(value);
    }
    return columns;
  }
}

/** A step of the wall clock moves all of the past along, so that it stays in order. */
function dated({ atMs, ...rest }: Omit<Sample, 'at'> & { readonly atMs: number }): Sample {
  return { at: Math.round((Date.now() - (performance.now() - atMs)) / 100) / 10, ...rest };
}

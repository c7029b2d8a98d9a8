/** How long the control thread keeps others waiting. Measured only while somebody asks: the measuring wakes an idle process. */
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';

const RESOLUTION_MS = 100;
/** Nobody has asked for so long: nobody asks. */
const PATIENCE_MS = 5 * 60_000;

export interface Delay {
  readonly meanSec: number;
  readonly p99Sec: number;
  readonly maxSec: number;
}

export class EventLoopDelay {
  readonly #histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  #patience: NodeJS.Timeout | undefined;

  /** Beyond the timer's own interval, since this was last called; nothing the first time. */
  take(): Delay {
    const histogram = this.#histogram;
    const beyond = (ns: number) => (Number.isFinite(ns) ? Math.max(ns / 1e9 - RESOLUTION_MS / 1000, 0) : 0);
    const isEmpty = histogram.count === 0;
    const delay = {
      meanSec: isEmpty ? 0 : beyond(histogram.mean),
      p99Sec: isEmpty ? 0 : beyond(histogram.percentile(99)),
      maxSec: isEmpty ? 0 : beyond(histogram.max),
    };
    histogram.reset();
    histogram.enable();
    this.#patience ??= setTimeout(() => this.close(), PATIENCE_MS).unref();
    this.#patience.refresh();
    return delay;
  }

  /** Stops measuring, until the next `take`. */
  close(): void {
    clearTimeout(this.#patience);
    this.#patience = undefined;
    this.#histogram.disable();
  }
}

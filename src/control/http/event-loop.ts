/** How long the control thread keeps others waiting: what is measured only while somebody may ask. */
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';

const RESOLUTION_MS = 20;

export interface Delay {
  readonly meanSec: number;
  readonly p99Sec: number;
  readonly maxSec: number;
}

export class EventLoopDelay {
  readonly #histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });

  constructor() {
    this.#histogram.enable();
  }

  /** Beyond the timer's own interval, since this was last called. */
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
    return delay;
  }

  close(): void {
    this.#histogram.disable();
  }
}

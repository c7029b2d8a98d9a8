/** The gateway's clock in seconds: monotonic, so that no step of the wall clock ends a map or revives one. */
import { CLOCK_START_SEC } from './pool/clock-start.js';

export class Clock {
  readonly #startMs = performance.now();
  readonly #rate: number;

  /** @param rate seconds of this clock per real second; other than 1 only in tests */
  constructor(rate = 1) {
    this.#rate = rate;
  }

  nowSec(): number {
    return CLOCK_START_SEC + Math.floor(((performance.now() - this.#startMs) * this.#rate) / 1000);
  }
}

/** When an interface's next multicast router advertisement is due (RFC 4861 sections 6.2.4 and 6.2.6). */

const INITIAL_INTERVAL_MS = 16_000;
const INITIAL_ADVERTISEMENTS = 3;
const MIN_DELAY_MS = 3000;
const MAX_ANSWER_DELAY_MS = 500;

/** The shortest time between two unsolicited ones, of the longest (RFC 4861 section 6.2.1). */
export function shortestIntervalSec(longestSec: number): number {
  return Math.max(3, (longestSec >= 9 ? 0.33 : 0.75) * longestSec);
}

export class Schedule {
  /** By the clock that the methods are told. */
  dueMs: number;
  #lastMs = Number.NEGATIVE_INFINITY;
  #initialLeft = INITIAL_ADVERTISEMENTS;

  /**
   * @param intervalSec the longest time between two unsolicited ones
   * @param random from 0 to below 1
   */
  constructor(
    private intervalSec: number,
    nowMs: number,
    private readonly random: () => number = Math.random,
  ) {
    this.dueMs = nowMs;
  }

  /** Begins anew, with other contents to tell: soon, and a few times in short order. */
  restart(nowMs: number, intervalSec: number): void {
    this.intervalSec = intervalSec;
    this.#initialLeft = INITIAL_ADVERTISEMENTS;
    this.dueMs = Math.max(nowMs, this.#lastMs + MIN_DELAY_MS);
  }

  /** Whether the next one is among the first few since the start. */
  get isInitial(): boolean {
    return this.#initialLeft > 0;
  }

  /** One was sent. */
  sent(nowMs: number): void {
    this.#lastMs = nowMs;
    const shortest = shortestIntervalSec(this.intervalSec);
    const ms = 1000 * (shortest + this.random() * (this.intervalSec - shortest));
    if (this.#initialLeft > 0) this.#initialLeft--;
    this.dueMs = nowMs + (this.#initialLeft > 0 ? Math.min(ms, INITIAL_INTERVAL_MS) : ms);
  }

  /** One could not be sent. */
  failed(nowMs: number, retryMs: number): void {
    this.dueMs = nowMs + retryMs;
  }

  /** A host asks for one. All who ask before it goes have the same. */
  solicited(nowMs: number): void {
    const delayMs = this.random() * MAX_ANSWER_DELAY_MS;
    const isEarly = nowMs - this.#lastMs < MIN_DELAY_MS;
    this.dueMs = Math.min(this.dueMs, isEarly ? this.#lastMs + MIN_DELAY_MS + delayMs : nowMs + delayMs);
  }
}

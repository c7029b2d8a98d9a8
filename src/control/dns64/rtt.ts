/** How long a forwarder may take, by how long it took (RFC 6298). Milliseconds. */

/** RFC 6298 section 2: the weights of a new measurement, and of the variation. */
const ALPHA = 1 / 8;
const BETA = 1 / 4;
const K = 4;
/**
 * A forwarder answers from its cache at once and asks others for the rest: a shorter wait would send most of the rest twice.
 * (RFC 6298's own minimum is a second: TCP's data has time.)
 */
const MINIMUM_MS = 200;

export class RoundTrips {
  /** Smoothed; negative: nothing measured yet. */
  #meanMs = -1;
  #variationMs = 0;

  /** @param maximumMs the longest wait, and the one before anything was measured */
  constructor(private readonly maximumMs: number) {}

  /** The smoothed round-trip time; null before the first measurement. */
  get meanMs(): number | null {
    return this.#meanMs < 0 ? null : this.#meanMs;
  }

  /** An answer took this long. Each try has an id of its own, so that it is clear what an answer answers (Karn's algorithm). */
  add(ms: number): void {
    if (this.#meanMs < 0) {
      // 2.2
      this.#meanMs = ms;
      this.#variationMs = ms / 2;
    } else {
      // 2.3
      this.#variationMs += BETA * (Math.abs(this.#meanMs - ms) - this.#variationMs);
      this.#meanMs += ALPHA * (ms - this.#meanMs);
    }
  }

  /** How long to wait for an answer. @param triesBefore silent ones of the same question: each doubles the wait (5.5) */
  timeoutMs(triesBefore: number): number {
    if (this.#meanMs < 0) return this.maximumMs;
    const onceMs = Math.max(this.#meanMs + K * this.#variationMs, MINIMUM_MS);
    return Math.min(onceMs * 2 ** triesBefore, this.maximumMs);
  }
}

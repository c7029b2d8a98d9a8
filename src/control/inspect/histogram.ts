/** How often something took how long: counts by upper bound, as Prometheus wants them. */
export class Histogram {
  /** Upper bounds in seconds, ascending; what is beyond the last counts in `count` only. */
  readonly boundsSec: readonly number[];
  /** By bound, not cumulative. */
  readonly #counts: Float64Array;
  count = 0;
  sumSec = 0;

  constructor(boundsSec: readonly number[]) {
    this.boundsSec = boundsSec;
    this.#counts = new Float64Array(boundsSec.length);
  }

  observe(sec: number): void {
    this.count++;
    this.sumSec += sec;
    for (let i = 0; i < this.boundsSec.length; i++) {
      if (sec > (this.boundsSec[i] as number)) continue;
      this.#counts[i] = (this.#counts[i] as number) + 1;
      return;
    }
  }

  /** How many took no longer than each bound. */
  get cumulative(): number[] {
    let sum = 0;
    return [...this.#counts].map((count) => {
      sum += count;
      return sum;
    });
  }
}

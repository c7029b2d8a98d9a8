/** For a line that others can make due as often as they like. */

const EVERY_MS = 60_000;

export class Seldom {
  #saidMs = Number.NEGATIVE_INFINITY;
  #left = 0;

  constructor(private readonly nowMs: () => number = () => performance.now()) {}

  /** One is due: null where it is to be left out, as all within a minute of the last one; else how many were left out since. */
  due(): number | null {
    const nowMs = this.nowMs();
    if (nowMs - this.#saidMs < EVERY_MS) {
      this.#left++;
      return null;
    }
    const left = this.#left;
    this.#saidMs = nowMs;
    this.#left = 0;
    return left;
  }
}

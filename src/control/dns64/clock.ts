/** Whole seconds of a clock that nobody sets. */
export interface Clock {
  sec(): number;
}

/** How far the coarse clock may be behind. */
const COARSE_MS = 50;

/**
 * The monotonic clock, looked at 20 times a second at most: a look costs more than all else that a cached answer costs. Timers
 * run before sockets are read, so that it is no later after the event loop was held up. At rest there is no timer.
 */
export class CoarseClock implements Clock {
  #sec = 0;
  #isFresh = false;
  #timer: NodeJS.Timeout | undefined;

  sec(): number {
    return this.#isFresh ? this.#sec : this.#look();
  }

  #look(): number {
    this.#sec = Math.floor(performance.now() / 1000);
    this.#isFresh = true;
    if (this.#timer === undefined) {
      this.#timer = setTimeout(() => {
        this.#isFresh = false;
      }, COARSE_MS).unref();
    } else this.#timer.refresh();
    return this.#sec;
  }
}

/** The requests of all clients, run one by one: packets' maps and DNS get their turn after each, and clients theirs in order. */

export class RequestQueue {
  readonly #waiting: (() => void)[] = [];
  #isRunning = false;

  /**
   * Begins `work` in a turn of the event loop of its own, after all that waits already. What it does later, it does beside the
   * next one. Resolves and rejects as it does; undefined where nobody wants it any more when its turn comes.
   */
  run<T>(work: () => Promise<T>, isWanted: () => boolean): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      const begin = () => (isWanted() ? void work().then(resolve, reject) : resolve(undefined));
      this.#waiting.push(begin);
      if (!this.#isRunning) this.#goOn();
    });
  }

  #goOn(): void {
    this.#isRunning = this.#waiting.length > 0;
    if (!this.#isRunning) return;
    setImmediate(() => {
      this.#waiting.shift()?.();
      this.#goOn();
    });
  }
}

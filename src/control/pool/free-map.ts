/** Which pool addresses are taken, one bit each, so that a search in a full pool skips 32 at a time. */
export class FreeMap {
  readonly #size: number;
  /** A set bit: taken. */
  readonly #bits: Int32Array;
  /** Addresses not taken. */
  freeCount: number;

  constructor(size: number) {
    this.#size = size;
    this.#bits = new Int32Array(Math.ceil(size / 32));
    this.freeCount = size;
  }

  isTaken(index: number): boolean {
    return ((this.#bits[index >>> 5] as number) & (1 << (index & 31))) !== 0;
  }

  take(index: number): void {
    if (this.isTaken(index)) return;
    this.#bits[index >>> 5] = (this.#bits[index >>> 5] as number) | (1 << (index & 31));
    this.freeCount--;
  }

  release(index: number): void {
    if (!this.isTaken(index)) return;
    this.#bits[index >>> 5] = (this.#bits[index >>> 5] as number) & ~(1 << (index & 31));
    this.freeCount++;
  }

  /** The first free index from `start` on, around the end; -1 where none is free. */
  nextFree(start: number): number {
    if (this.freeCount === 0) return -1;
    let index = start;
    for (;;) {
      if (index >= this.#size) index = 0;
      if ((index & 31) === 0 && this.#bits[index >>> 5] === -1) {
        index += 32;
        continue;
      }
      if (!this.isTaken(index)) return index;
      index++;
    }
  }
}

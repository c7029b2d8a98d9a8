/**
 * Which pool addresses are taken, one bit each, and above them one bit for each full word: a search in a pool of four
 * million addresses with one left looks at some 4000 words, not at 130 000.
 */
export class FreeMap {
  readonly #size: number;
  /** A set bit: taken. */
  readonly #bits: Int32Array;
  /** A set bit: all 32 addresses of that word are taken. */
  readonly #full: Int32Array;
  /** Addresses not taken. */
  freeCount: number;

  constructor(size: number) {
    this.#size = size;
    this.#bits = new Int32Array(Math.ceil(size / 32));
    this.#full = new Int32Array(Math.ceil(size / 1024));
    this.freeCount = size;
  }

  isTaken(index: number): boolean {
    return isSet(this.#bits, index);
  }

  take(index: number): void {
    if (this.isTaken(index)) return;
    const word = index >>> 5;
    set(this.#bits, index);
    if (this.#bits[word] === -1) set(this.#full, word);
    this.freeCount--;
  }

  release(index: number): void {
    if (!this.isTaken(index)) return;
    clear(this.#bits, index);
    clear(this.#full, index >>> 5);
    this.freeCount++;
  }

  /** The first free index from `start` on, around the end; -1 where none is free. */
  nextFree(start: number): number {
    if (this.freeCount === 0) return -1;
    let index = start;
    for (;;) {
      if (index >= this.#size) index = 0;
      if ((index & 1023) === 0 && this.#full[index >>> 10] === -1) index += 1024;
      else if ((index & 31) === 0 && this.#bits[index >>> 5] === -1) index += 32;
      else if (this.isTaken(index)) index++;
      else return index;
    }
  }
}

function isSet(bits: Int32Array, index: number): boolean {
  return ((bits[index >>> 5] as number) & (1 << (index & 31))) !== 0;
}

function set(bits: Int32Array, index: number): void {
  bits[index >>> 5] = (bits[index >>> 5] as number) | (1 << (index & 31));
}

function clear(bits: Int32Array, index: number): void {
  bits[index >>> 5] = (bits[index >>> 5] as number) & ~(1 << (index & 31));
}

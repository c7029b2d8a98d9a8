/**
 * Doubly linked lists of pool indexes, many lists over one pair of arrays: an index is in one list at most. A link holds
 * index + 1, so that fresh memory (all zeros) is a set of empty lists, and a large pool costs nothing until it is used.
 */
export class IndexLists {
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #first: Int32Array;
  readonly #last: Int32Array;

  constructor(indexes: number, lists: number) {
    this.#next = new Int32Array(indexes);
    this.#previous = new Int32Array(indexes);
    this.#first = new Int32Array(lists);
    this.#last = new Int32Array(lists);
  }

  /** The first index of a list, or -1. */
  first(list: number): number {
    return (this.#first[list] as number) - 1;
  }

  /** The last index of a list, or -1. */
  last(list: number): number {
    return (this.#last[list] as number) - 1;
  }

  append(list: number, index: number): void {
    const last = this.#last[list] as number;
    this.#previous[index] = last;
    this.#next[index] = 0;
    if (last === 0) this.#first[list] = index + 1;
    else this.#next[last - 1] = index + 1;
    this.#last[list] = index + 1;
  }

  remove(list: number, index: number): void {
    const next = this.#next[index] as number;
    const previous = this.#previous[index] as number;
    if (previous === 0) this.#first[list] = next;
    else this.#next[previous - 1] = next;
    if (next === 0) this.#last[list] = previous;
    else this.#previous[next - 1] = previous;
  }
}

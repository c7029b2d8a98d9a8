/**
 * Questions under way: thousands come and go in each second, and few are there at a time.
 *
 * Not in a Map or a Set that lives on. V8 makes another table of one after as many removals as it has places, and the table before points to
 * it. Once a table is in the old space, all that come after it, with all that was ever in them, are kept until that space
 * is collected: a third of all new memory, copied twice, 13 ms at a time.
 */

/** Things by number, a few dozen at a time: a look at all of the numbers takes less than a hash. */
export class Numbered<T> {
  readonly #numbers: number[] = [];
  readonly #things: T[] = [];

  get size(): number {
    return this.#numbers.length;
  }

  has(number: number): boolean {
    return this.#numbers.includes(number);
  }

  get(number: number): T | undefined {
    return this.#things[this.#numbers.indexOf(number)];
  }

  /** Adds a thing under a number that is not there. */
  add(number: number, thing: T): void {
    this.#numbers.push(number);
    this.#things.push(thing);
  }

  /** The last one takes the place of the one that goes. */
  delete(number: number): void {
    const at = this.#numbers.indexOf(number);
    if (at < 0) return;
    const [lastNumber, lastThing] = [this.#numbers.pop() as number, this.#things.pop() as T];
    if (at === this.#numbers.length) return;
    this.#numbers[at] = lastNumber;
    this.#things[at] = lastThing;
  }

  clear(): void {
    this.#numbers.length = 0;
    this.#things.length = 0;
  }

  /** As they are now, in no order. */
  all(): T[] {
    return [...this.#things];
  }
}

/** Something that knows its place in a `Crowd`. */
export interface Placed {
  /** -1: in none. For `Crowd` only. */
  place: number;
}

/** Things without a number, in no order. */
export class Crowd<T extends Placed> {
  readonly #things: T[] = [];

  add(thing: T): void {
    thing.place = this.#things.push(thing) - 1;
  }

  delete(thing: T): void {
    const at = thing.place;
    if (at < 0) return;
    thing.place = -1;
    const last = this.#things.pop() as T;
    if (last === thing) return;
    last.place = at;
    this.#things[at] = last;
  }

  /** As they are now. */
  all(): T[] {
    return [...this.#things];
  }
}

/** After so many things there is another Map, and what is left in the one before that moves there. */
const GENERATION = 1024;

/** Things by text. Two Maps, each for a while, so that no chain of tables gets long. */
export class Named<T> {
  #young = new Map<string, T>();
  #old = new Map<string, T>();
  #added = 0;

  get size(): number {
    return this.#young.size + this.#old.size;
  }

  get(name: string): T | undefined {
    return this.#young.get(name) ?? this.#old.get(name);
  }

  /** Adds a thing under a name that is not there. */
  add(name: string, thing: T): void {
    if (this.#added++ === GENERATION) {
      for (const [left, its] of this.#old) this.#young.set(left, its);
      this.#old = this.#young;
      this.#young = new Map();
      this.#added = 1;
    }
    this.#young.set(name, thing);
  }

  delete(name: string): void {
    if (!this.#young.delete(name)) this.#old.delete(name);
  }
}

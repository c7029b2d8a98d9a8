/** Maps as files remember them, in columns: of a million objects, the garbage collector would copy each several times over. */
import type { Address6 } from '../../wire/address.js';
import type { Sliced } from '../slices.js';

/** A map as dynamic.map remembers it. */
export interface StoredEntry {
  /** Its number in the file, from 1. */
  readonly line: number;
  readonly ipv4: number;
  readonly host: Address6;
  readonly lastUsedUnixSec: number;
}

/** Line, IPv4 address, and four words of the host. */
const WORDS = 6;
const HOST = 2;
const LEAST = 64;
/** Entries that are looked at in one go. */
export const STEP_ENTRIES = 32;

export class StoredEntries implements Iterable<StoredEntry> {
  #length = 0;
  #words: Int32Array;
  /** Unix seconds of last use. More than 32 bits: a file may say anything. */
  #seconds: Float64Array;

  /** @param expected how many there will be, or somewhat more: memory that is not used costs nothing, moving does */
  constructor(expected = 0) {
    const room = Math.max(expected, LEAST);
    this.#words = new Int32Array(room * WORDS);
    this.#seconds = new Float64Array(room);
  }

  /** These entries, which may be in columns already. */
  static of(entries: Iterable<StoredEntry>): StoredEntries {
    if (entries instanceof StoredEntries) return entries;
    const stored = new StoredEntries();
    for (const { line, ipv4, host, lastUsedUnixSec } of entries)
      stored.push(line, ipv4, host, lastUsedUnixSec);
    return stored;
  }

  get length(): number {
    return this.#length;
  }

  /** @param host four words */
  push(line: number, ipv4: number, host: Address6 | Int32Array, lastUsedUnixSec: number): void {
    const i = this.#length++;
    if (i === this.#seconds.length) this.#grow();
    const words = this.#words;
    const at = i * WORDS;
    words[at] = line;
    words[at + 1] = ipv4;
    words[at + HOST] = host[0] as number;
    words[at + HOST + 1] = host[1] as number;
    words[at + HOST + 2] = host[2] as number;
    words[at + HOST + 3] = host[3] as number;
    this.#seconds[i] = lastUsedUnixSec;
  }

  /** Adds one of another list. */
  pushFrom(others: StoredEntries, i: number): void {
    this.push(others.lineAt(i), others.ipv4At(i), others.hostAt(i), others.lastUsedAt(i));
  }

  /** Leaves out those that are not to be kept. */
  *keep(isKept: (i: number) => boolean): Sliced<void> {
    let kept = 0;
    for (let i = 0; i < this.#length; i++) {
      if (i % STEP_ENTRIES === 0) yield;
      if (!isKept(i)) continue;
      if (kept < i) {
        this.#words.copyWithin(kept * WORDS, i * WORDS, (i + 1) * WORDS);
        this.#seconds[kept] = this.#seconds[i] as number;
      }
      kept++;
    }
    this.#length = kept;
  }

  lineAt(i: number): number {
    return this.#words[i * WORDS] as number;
  }

  ipv4At(i: number): number {
    return (this.#words[i * WORDS + 1] as number) >>> 0;
  }

  hostAt(i: number): Address6 {
    const at = i * WORDS + HOST;
    const words = this.#words;
    return [words[at] as number, words[at + 1] as number, words[at + 2] as number, words[at + 3] as number];
  }

  lastUsedAt(i: number): number {
    return this.#seconds[i] as number;
  }

  *[Symbol.iterator](): Generator<StoredEntry> {
    for (let i = 0; i < this.#length; i++) {
      yield {
        line: this.lineAt(i),
        ipv4: this.ipv4At(i),
        host: this.hostAt(i),
        lastUsedUnixSec: this.lastUsedAt(i),
      };
    }
  }

  #grow(): void {
    const [words, seconds] = [this.#words, this.#seconds];
    this.#words = new Int32Array(2 * words.length);
    this.#words.set(words);
    this.#seconds = new Float64Array(2 * seconds.length);
    this.#seconds.set(seconds);
  }
}

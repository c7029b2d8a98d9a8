/**
 * Answers in a fixed piece of memory: no object is made for one, so the garbage collector never sees them, and the bound is
 * kept to the byte, tables included.
 *
 *   ring:   … | entry | entry | entry | free …      new ones at the head; when room is needed, the one at the tail goes
 *   slots:  hash → where the entry begins           open addressing; deletion shifts entries back
 *
 *   entry:  fields (12 words) | question, folded, in whole words | rest of the message, behind its question
 *           | where TTLs stand in the rest (16 bits each) | EDNS options          padded to whole words
 *
 * Least recently used out, by second chance: an entry that was used since it was put at the head is put there again instead of
 * going, a bounded number of times in one call. So a use costs one store, and not a list to be mended.
 */
import { get16 } from '../../wire/bytes.js';
import { TYPE_OPT } from './message.js';
import type { QuestionKey } from './question-key.js';

/** Fields of an entry: numbers of words from its beginning. */
const SIZE = 0;
const HASH = 1;
const STATE = 2;
export const EXTRA = 3;
export const BORN_SEC = 4;
export const EXPIRES_SEC = 5;
export const HITS = 6;
/** Question's octets << 16 | number of TTLs. */
export const LENGTHS = 7;
/** Rest's octets << 16 | octets of EDNS options. */
export const REST = 8;
/** Message's flags << 16 | ANCOUNT. */
export const FLAGS = 9;
/** NSCOUNT << 16 | ARCOUNT. */
export const COUNTS = 10;
/** The owner's own. */
export const AUX = 11;
export const FIELDS = 12;

const USED = 1;
const GONE = 2;

/** Entries put at the head again before one must go: bounds what one insertion costs. */
const SECOND_CHANCES = 8;
/** So many slots that the memory is full before they are, but for the smallest of entries. */
const BYTES_PER_SLOT = 48;

/** What is put into the store. */
export interface Storable {
  /** The message; what stands before `from` (header and question) is not copied, nor what stands from `to`. */
  readonly bytes: Uint8Array;
  readonly from: number;
  readonly to: number;
  /** Flags and counts of the header. */
  readonly flags: number;
  readonly counts: readonly [answer: number, authority: number, additional: number];
  /** How many of `foundTtls` are its TTLs. */
  readonly ttlCount: number;
  readonly options: Uint8Array;
}

export class AnswerStore {
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly halves: Uint16Array;
  readonly #slots: Int32Array;
  readonly #mask: number;
  readonly #most: number;
  /** In words, as all places are. `#used` tells an empty ring from a full one. */
  readonly #ringWords: number;
  #head = 0;
  #tail = 0;
  #used = 0;
  #count = 0;

  /**
   * @param sizeBytes all memory that it takes, within a few hundred bytes
   * @param graceSec how long after its time an entry that was used is still worth a second chance
   */
  constructor(
    readonly sizeBytes: number,
    private readonly graceSec = 0,
  ) {
    let slots = 64;
    while (slots * 2 * BYTES_PER_SLOT <= sizeBytes) slots *= 2;
    this.#slots = new Int32Array(slots);
    this.#mask = slots - 1;
    this.#most = slots * 0.75;
    this.#ringWords = Math.max(0, (sizeBytes - slots * 4) >> 2);
    const ring = new ArrayBuffer(this.#ringWords * 4);
    this.bytes = new Uint8Array(ring);
    this.words = new Int32Array(ring);
    this.halves = new Uint16Array(ring);
  }

  get count(): number {
    return this.#count;
  }

  /** Bytes of the ring that hold entries, those that are gone included until they reach its tail. */
  get usedBytes(): number {
    return this.#used * 4;
  }

  /** The entry with this question and `extra`, as the number of its first word; -1 without one. Expired ones are found too. */
  find(key: QuestionKey, extra: number): number {
    const { words } = this;
    const slots = this.#slots;
    const { hash, length, words: question } = key;
    for (let slot = hash & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const entry = (slots[slot] as number) - 1;
      if (entry < 0) return -1;
      if (words[entry + HASH] !== hash || words[entry + EXTRA] !== extra) continue;
      const at = entry + FIELDS;
      if ((((words[entry + LENGTHS] as number) >>> 16) + 3) >> 2 !== length) continue;
      let i = 0;
      while (i < length && words[at + i] === question[i]) i++;
      if (i === length) return entry;
    }
  }

  /** Notes that an entry was used. */
  touch(entry: number): void {
    const { words } = this;
    words[entry + STATE] = (words[entry + STATE] as number) | USED;
    words[entry + HITS] = ((words[entry + HITS] as number) + 1) | 0;
  }

  /**
   * Puts an answer in, in the place of one with the same key.
   * @param size octets of the question
   * @returns the new entry, or -1 where it is too large to be kept
   */
  insert(
    key: QuestionKey,
    size: number,
    extra: number,
    nowSec: number,
    expiresSec: number,
    answer: Storable,
  ): number {
    const old = this.find(key, extra);
    if (old >= 0) this.remove(old);
    const { bytes, from, to, ttlCount, options } = answer;
    const restWords = (to - from + 3) >> 2;
    const ttlWords = (ttlCount + 1) >> 1;
    const needed = FIELDS + key.length + restWords + ttlWords + ((options.length + 3) >> 2);
    if (needed > this.#ringWords >> 3) return -1;
    const entry = this.#reserve(needed, nowSec);
    const { words } = this;
    words[entry + SIZE] = needed;
    words[entry + HASH] = key.hash;
    words[entry + STATE] = 0;
    words[entry + EXTRA] = extra;
    words[entry + BORN_SEC] = nowSec;
    words[entry + EXPIRES_SEC] = expiresSec;
    words[entry + HITS] = 0;
    words[entry + LENGTHS] = (size << 16) | ttlCount;
    words[entry + REST] = ((to - from) << 16) | options.length;
    words[entry + FLAGS] = (answer.flags << 16) | answer.counts[0];
    words[entry + COUNTS] = (answer.counts[1] << 16) | answer.counts[2];
    words[entry + AUX] = 0;
    let at = entry + FIELDS;
    for (let i = 0; i < key.length; i++) words[at + i] = key.words[i] as number;
    at += key.length;
    const rest = at * 4;
    for (let i = from; i < to; i++) this.bytes[rest + i - from] = bytes[i] as number;
    at += restWords;
    for (let i = 0; i < ttlCount; i++) this.halves[at * 2 + i] = foundTtls[i] as number;
    at += ttlWords;
    for (let i = 0; i < options.length; i++) this.bytes[at * 4 + i] = options[i] as number;
    this.#place(entry);
    this.#count++;
    return entry;
  }

  /** Takes an entry out. Its memory is free when it reaches the tail. */
  remove(entry: number): void {
    this.#unslot(this.#slotOf(entry));
    this.words[entry + STATE] = GONE;
    this.#count--;
  }

  /** The entries there are, oldest first; they may be removed meanwhile, and nothing else be done. */
  *entries(): Generator<number> {
    let left = this.#used;
    let at = this.#tail;
    while (left > 0) {
      const size = this.words[at + SIZE] as number;
      if (size > STATE && ((this.words[at + STATE] as number) & GONE) === 0) yield at;
      left -= size;
      at += size;
      if (at === this.#ringWords) at = 0;
    }
  }

  clear(): void {
    this.#slots.fill(0);
    this.#head = 0;
    this.#tail = 0;
    this.#used = 0;
    this.#count = 0;
  }

  /** First octet of the rest of the message. */
  restAt(entry: number): number {
    const question = (this.words[entry + LENGTHS] as number) >>> 16;
    return (entry + FIELDS + ((question + 3) >> 2)) * 4;
  }

  /** First element of `halves` with where TTLs stand. */
  ttlsAt(entry: number): number {
    const rest = (this.words[entry + REST] as number) >>> 16;
    return (this.restAt(entry) + ((rest + 3) & ~3)) >> 1;
  }

  /** First octet of the EDNS options. */
  optionsAt(entry: number): number {
    const count = (this.words[entry + LENGTHS] as number) & 0xffff;
    return (this.ttlsAt(entry) + ((count + 1) & ~1)) * 2;
  }

  /** The question as it was asked, but folded: a view. */
  question(entry: number): Buffer {
    const at = (entry + FIELDS) * 4;
    return Buffer.from(this.bytes.buffer, at, (this.words[entry + LENGTHS] as number) >>> 16);
  }

  /** All octets that an entry takes, its slot included. */
  sizeOf(entry: number): number {
    return (this.words[entry + SIZE] as number) * 4 + 4;
  }

  /** `needed` words in a row at the head. */
  #reserve(needed: number, nowSec: number): number {
    let chances = SECOND_CHANCES;
    for (;;) {
      if (this.#used === 0) {
        this.#head = 0;
        this.#tail = 0;
      }
      const isFull = this.#count >= this.#most;
      if (!isFull && this.#room() >= needed) {
        const entry = this.#head;
        this.#advance(needed);
        return entry;
      }
      if (!isFull && this.#tail < this.#head) this.#fill();
      else if (this.#evict(chances > 0, nowSec)) chances--;
    }
  }

  /** Free words in a row at the head. */
  #room(): number {
    const isAhead = this.#used === 0 || this.#tail < this.#head;
    return (isAhead ? this.#ringWords : this.#tail) - this.#head;
  }

  /** What is left behind the head is too short: the ring begins anew. */
  #fill(): void {
    const rest = this.#ringWords - this.#head;
    this.words[this.#head + SIZE] = rest;
    if (rest > STATE) this.words[this.#head + STATE] = GONE;
    this.#advance(rest);
  }

  #advance(words: number): void {
    this.#used += words;
    this.#head += words;
    if (this.#head === this.#ringWords) this.#head = 0;
  }

  /**
   * The entry at the tail goes, or is put at the head.
   * @returns whether it was put there again
   */
  #evict(mayStay: boolean, nowSec: number): boolean {
    const { words } = this;
    const entry = this.#tail;
    const size = words[entry + SIZE] as number;
    const state = size > STATE ? (words[entry + STATE] as number) : GONE;
    this.#tail += size;
    if (this.#tail === this.#ringWords) this.#tail = 0;
    this.#used -= size;
    if ((state & GONE) !== 0) return false;
    const slot = this.#slotOf(entry);
    const endsSec = (words[entry + EXPIRES_SEC] as number) + this.graceSec;
    if (mayStay && state === USED && nowSec < endsSec && this.#room() >= size) {
      words[entry + STATE] = 0;
      words.copyWithin(this.#head, entry, entry + size);
      this.#slots[slot] = this.#head + 1;
      this.#advance(size);
      return true;
    }
    this.#unslot(slot);
    this.#count--;
    return false;
  }

  #place(entry: number): void {
    let slot = (this.words[entry + HASH] as number) & this.#mask;
    while (this.#slots[slot] !== 0) slot = (slot + 1) & this.#mask;
    this.#slots[slot] = entry + 1;
  }

  #slotOf(entry: number): number {
    let slot = (this.words[entry + HASH] as number) & this.#mask;
    while (this.#slots[slot] !== entry + 1) slot = (slot + 1) & this.#mask;
    return slot;
  }

  /** Empties a slot and moves those behind it that would not be found any more. */
  #unslot(from: number): void {
    const slots = this.#slots;
    const mask = this.#mask;
    let hole = from;
    for (let slot = (hole + 1) & mask; slots[slot] !== 0; slot = (slot + 1) & mask) {
      const home = (this.words[(slots[slot] as number) - 1 + HASH] as number) & mask;
      if (((slot - home) & mask) >= ((slot - hole) & mask)) {
        slots[hole] = slots[slot] as number;
        hole = slot;
      }
    }
    slots[hole] = 0;
  }
}

/** More records than a message can hold. */
const MAX_RECORDS = 6000;

/** Where TTLs stand: found once when an answer is kept, so that counting them down needs no walk. One for all, used and done. */
export const foundTtls = new Uint16Array(MAX_RECORDS);

/**
 * Finds the TTLs of a checked message, but for its OPT's, into `foundTtls`.
 * @param from first octet behind the question; places count from there
 * @param count records in all sections
 * @returns how many there are
 */
export function findTtls(bytes: Uint8Array, from: number, count: number): number {
  let at = from;
  let found = 0;
  for (let i = 0; i < count; i++) {
    let length = bytes[at] as number;
    while (length !== 0 && length < 192) {
      at += 1 + length;
      length = bytes[at] as number;
    }
    at += length === 0 ? 1 : 2;
    if (get16(bytes, at) !== TYPE_OPT) foundTtls[found++] = at + 4 - from;
    at += 10 + get16(bytes, at + 8);
  }
  return found;
}

/**
 * Longest-prefix match over explicit maps, built once by control and read by workers; never changed afterwards.
 *
 * Binary search on prefix lengths (Waldvogel et al. 1997): one hash table holds the prefixes of all lengths, and, on the
 * search path to each, a marker at every shorter length that the search visits. A hit says "look at longer ones", a miss
 * "at shorter ones", so a lookup costs log₂(distinct lengths) probes: one where all maps have the same length.
 * Each hit carries the best match known so far, so the search never goes back.
 *
 *   header   16 words   number of lengths, slot mask, offset of slots, words per slot, offset of values
 *   lengths  1 word each, ascending
 *   slots    key words (1 for IPv4, 4 for IPv6), length + 1 (0: empty), best value + 1 (0: none)
 *   values   7 words each: IPv4 address, IPv4 length, IPv6 w0–w3, IPv6 length
 */
import type { Prefix4, Prefix6 } from '../wire/address.js';
import { maskWord6 } from '../wire/address.js';

const LENGTH_COUNT = 0;
const SLOT_MASK = 1;
const SLOTS = 2;
const KEY_WORDS = 3;
const VALUES = 4;
const LENGTHS = 16;
const VALUE_WORDS = 7;
/** Pairs that are put in from one interruption to the next. */
const STEP = 32;
/** No such key. */
const MISSING = -1;

/** Field offsets of a value, see `PrefixTable.value`. */
export const VALUE_IPV4 = 0;
export const VALUE_IPV4_LENGTH = 1;
export const VALUE_IPV6 = 2;
export const VALUE_IPV6_LENGTH = 6;

interface PrefixPair {
  readonly ipv4: Prefix4;
  readonly ipv6: Prefix6;
}

function hashStep(hash: number, word: number): number {
  const mixed = Math.imul(hash ^ word, 0x9e3779b1);
  return mixed ^ (mixed >>> 15);
}

/** The lengths that a search for `length` visits before it, in order: a binary search over the sorted `lengths`. */
function searchPath(lengths: readonly number[], length: number): number[] {
  const path: number[] = [];
  let low = 0;
  let high = lengths.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const probed = lengths[middle] as number;
    if (probed === length) break;
    if (probed < length) {
      path.push(probed);
      low = middle + 1;
    } else {
      high = middle - 1;
    }
  }
  return path;
}

/** Builds the table of one family: `family` says which side of each pair is the key. */
export function createPrefixTable(pairs: readonly PrefixPair[], family: 4 | 6): SharedArrayBuffer {
  for (const work = buildPrefixTable(pairs, family); ; ) {
    const step = work.next();
    if (step.done === true) return step.value;
  }
}

/** The same in small steps: it yields wherever it may be interrupted. */
export function* buildPrefixTable(
  pairs: readonly PrefixPair[],
  family: 4 | 6,
): Generator<void, SharedArrayBuffer> {
  const keyWords = family === 4 ? 1 : 4;
  const lengthOf = (pair: PrefixPair) => (family === 4 ? pair.ipv4.length : pair.ipv6.length);
  const lengths = [...new Set(pairs.map(lengthOf))].sort((a, b) => a - b);
  const paths = new Map(lengths.map((length) => [length, searchPath(lengths, length)]));

  // First all real prefixes, then the markers on the way to each: a marker's best match is the longest real prefix above it.
  const slots = new SlotHash(keyWords, 2 * pairs.length);
  const key = new Int32Array(4);
  const masked = new Int32Array(4);
  const readKey = (pair: PrefixPair) => {
    if (family === 4) key[0] = pair.ipv4.address;
    else key.set(pair.ipv6.address);
  };
  const maskTo = (length: number) => {
    for (let i = 0; i < keyWords; i++) masked[i] = (key[i] as number) & maskWord6(length, i);
  };
  for (const [index, pair] of pairs.entries()) {
    readKey(pair);
    slots.set(key, lengthOf(pair), index + 1);
    if (index % STEP === 0) yield;
  }
  const real = slots.clone();
  for (const [index, pair] of pairs.entries()) {
    if (index % STEP === 0) yield;
    readKey(pair);
    for (const length of paths.get(lengthOf(pair)) as number[]) {
      maskTo(length);
      if (slots.get(masked, length) !== MISSING) continue;
      let best = 0;
      for (let i = lengths.indexOf(length) - 1; i >= 0 && best === 0; i--) {
        maskTo(lengths[i] as number);
        best = Math.max(real.get(masked, lengths[i] as number), 0);
      }
      maskTo(length);
      slots.set(masked, length, best);
    }
  }

  const slotsAt = LENGTHS + lengths.length;
  const valuesAt = slotsAt + slots.words.length;
  const buffer = new SharedArrayBuffer((valuesAt + pairs.length * VALUE_WORDS) * 4);
  const table = new Int32Array(buffer);
  table[LENGTH_COUNT] = lengths.length;
  table[SLOT_MASK] = slots.mask;
  table[SLOTS] = slotsAt;
  table[KEY_WORDS] = keyWords;
  table[VALUES] = valuesAt;
  table.set(lengths, LENGTHS);
  table.set(slots.words, slotsAt);
  for (const [index, { ipv4, ipv6 }] of pairs.entries()) {
    const at = valuesAt + index * VALUE_WORDS;
    table[at + VALUE_IPV4] = ipv4.address;
    table[at + VALUE_IPV4_LENGTH] = ipv4.length;
    table.set(ipv6.address, at + VALUE_IPV6);
    table[at + VALUE_IPV6_LENGTH] = ipv6.length;
    if (index % STEP === 0) yield;
  }
  return buffer;
}

/** Builds a table in which only whether an address is found counts. */
export function createPrefixSet(prefixes: readonly Prefix6[]): SharedArrayBuffer {
  const nothing = { address: 0, length: 32 };
  return createPrefixTable(
    prefixes.map((ipv6) => ({ ipv4: nothing, ipv6 })),
    6,
  );
}

/** The slots of a table in the making; at most half of them are in use. */
class SlotHash {
  words: Int32Array;
  mask: number;
  readonly #keyWords: number;
  #used = 0;

  constructor(keyWords: number, atLeast: number) {
    let count = 4;
    while (count < atLeast) count *= 2;
    this.#keyWords = keyWords;
    this.mask = count - 1;
    this.words = new Int32Array(count * (keyWords + 2));
  }

  clone(): SlotHash {
    const copy = new SlotHash(this.#keyWords, this.mask + 1);
    copy.words.set(this.words);
    return copy;
  }

  /** The best value + 1 of a key (0: none), or MISSING. */
  get(key: Int32Array, length: number): number {
    const slot = this.#find(key, length);
    return this.words[slot + this.#keyWords] === 0
      ? MISSING
      : (this.words[slot + this.#keyWords + 1] as number);
  }

  /** Of one key given twice the last counts. */
  set(key: Int32Array, length: number, value: number): void {
    let slot = this.#find(key, length);
    if (this.words[slot + this.#keyWords] === 0) {
      if (2 * (this.#used + 1) > this.mask + 1) {
        this.#grow();
        slot = this.#find(key, length);
      }
      this.#used++;
    }
    for (let i = 0; i < this.#keyWords; i++) this.words[slot + i] = key[i] as number;
    this.words[slot + this.#keyWords] = length + 1;
    this.words[slot + this.#keyWords + 1] = value;
  }

  /** Position in `words` of the slot that holds the key, or of the empty one where it would go. */
  #find(key: Int32Array, length: number): number {
    let hash = length;
    for (let i = 0; i < this.#keyWords; i++) hash = hashStep(hash, key[i] as number);
    for (let probe = hash & this.mask; ; probe = (probe + 1) & this.mask) {
      const slot = probe * (this.#keyWords + 2);
      const stored = this.words[slot + this.#keyWords] as number;
      if (stored === 0) return slot;
      if (stored !== length + 1) continue;
      let same = 0;
      while (same < this.#keyWords && this.words[slot + same] === key[same]) same++;
      if (same === this.#keyWords) return slot;
    }
  }

  #grow(): void {
    const old = this.words;
    const step = this.#keyWords + 2;
    this.mask = this.mask * 2 + 1;
    this.words = new Int32Array((this.mask + 1) * step);
    for (let slot = 0; slot < old.length; slot += step) {
      const length = (old[slot + this.#keyWords] as number) - 1;
      if (length < 0) continue;
      const to = this.#find(old.subarray(slot, slot + this.#keyWords), length);
      this.words.set(old.subarray(slot, slot + step), to);
    }
  }
}

/** A worker's view of a table. */
export class PrefixTable {
  readonly words: Int32Array;
  readonly isEmpty: boolean;
  readonly #lengthCount: number;
  readonly #slotMask: number;
  readonly #slots: number;
  readonly #values: number;

  constructor(buffer: SharedArrayBuffer) {
    this.words = new Int32Array(buffer);
    this.#lengthCount = this.words[LENGTH_COUNT] as number;
    this.#slotMask = this.words[SLOT_MASK] as number;
    this.#slots = this.words[SLOTS] as number;
    this.#values = this.words[VALUES] as number;
    this.isEmpty = this.#lengthCount === 0;
  }

  /** Position in `words` of the pair whose IPv4 prefix matches best, or -1. */
  find4(address: number): number {
    const words = this.words;
    let best = 0;
    let low = 0;
    let high = this.#lengthCount - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const length = words[LENGTHS + middle] as number;
      const key = address & maskWord6(length, 0);
      let probe = hashStep(length, key) & this.#slotMask;
      let hit = false;
      for (;;) {
        const slot = this.#slots + probe * 3;
        const stored = words[slot + 1] as number;
        if (stored === 0) break;
        if (stored === length + 1 && words[slot] === key) {
          hit = true;
          best = words[slot + 2] as number;
          break;
        }
        probe = (probe + 1) & this.#slotMask;
      }
      if (hit) low = middle + 1;
      else high = middle - 1;
    }
    return best === 0 ? -1 : this.#values + (best - 1) * VALUE_WORDS;
  }

  /** Position in `words` of the pair whose IPv6 prefix matches best, or -1. */
  find6(w0: number, w1: number, w2: number, w3: number): number {
    const words = this.words;
    let best = 0;
    let low = 0;
    let high = this.#lengthCount - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const length = words[LENGTHS + middle] as number;
      const k0 = w0 & maskWord6(length, 0);
      const k1 = w1 & maskWord6(length, 1);
      const k2 = w2 & maskWord6(length, 2);
      const k3 = w3 & maskWord6(length, 3);
      let probe = hashStep(hashStep(hashStep(hashStep(length, k0), k1), k2), k3) & this.#slotMask;
      let hit = false;
      for (;;) {
        const slot = this.#slots + probe * 6;
        const stored = words[slot + 4] as number;
        if (stored === 0) break;
        if (
          stored === length + 1 &&
          words[slot] === k0 &&
          words[slot + 1] === k1 &&
          words[slot + 2] === k2 &&
          words[slot + 3] === k3
        ) {
          hit = true;
          best = words[slot + 5] as number;
          break;
        }
        probe = (probe + 1) & this.#slotMask;
      }
      if (hit) low = middle + 1;
      else high = middle - 1;
    }
    return best === 0 ? -1 : this.#values + (best - 1) * VALUE_WORDS;
  }
}

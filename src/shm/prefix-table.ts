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

/** Field offsets of a value, see `PrefixTable.value`. */
export const VALUE_IPV4 = 0;
export const VALUE_IPV4_LENGTH = 1;
export const VALUE_IPV6 = 2;
export const VALUE_IPV6_LENGTH = 6;

interface PrefixPair {
  readonly ipv4: Prefix4;
  readonly ipv6: Prefix6;
}

/** A prefix as words of a key. */
interface Key {
  readonly words: readonly number[];
  readonly length: number;
}

function maskKey(words: readonly number[], length: number): number[] {
  return words.map((word, index) => word & maskWord6(length, index));
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
  const keyWords = family === 4 ? 1 : 4;
  const keys: Key[] = pairs.map((pair) =>
    family === 4
      ? { words: [pair.ipv4.address | 0], length: pair.ipv4.length }
      : { words: pair.ipv6.address, length: pair.ipv6.length },
  );
  const lengths = [...new Set(keys.map((key) => key.length))].sort((a, b) => a - b);

  // value + 1 by key text; 0 marks a marker that is no prefix itself.
  const entries = new Map<string, { words: number[]; length: number; value: number }>();
  const textOf = (words: readonly number[], length: number) => `${length}:${words.join(':')}`;
  for (const [value, key] of keys.entries()) {
    entries.set(textOf(key.words, key.length), {
      words: [...key.words],
      length: key.length,
      value: value + 1,
    });
  }
  for (const key of keys) {
    for (const length of searchPath(lengths, key.length)) {
      const words = maskKey(key.words, length);
      const text = textOf(words, length);
      if (!entries.has(text)) entries.set(text, { words, length, value: 0 });
    }
  }
  // A marker's best match is the longest real prefix that covers it.
  const real = new Map(
    [...entries].filter(([, entry]) => entry.value > 0).map(([text, entry]) => [text, entry.value]),
  );
  for (const entry of entries.values()) {
    if (entry.value > 0) continue;
    for (const length of lengths.filter((candidate) => candidate < entry.length).reverse()) {
      const found = real.get(textOf(maskKey(entry.words, length), length));
      if (found !== undefined) {
        entry.value = found;
        break;
      }
    }
  }

  let slotCount = 4;
  while (slotCount < 2 * entries.size) slotCount *= 2;
  const slotWords = keyWords + 2;
  const slotsAt = LENGTHS + lengths.length;
  const valuesAt = slotsAt + slotCount * slotWords;
  const buffer = new SharedArrayBuffer((valuesAt + pairs.length * VALUE_WORDS) * 4);
  const table = new Int32Array(buffer);
  table[LENGTH_COUNT] = lengths.length;
  table[SLOT_MASK] = slotCount - 1;
  table[SLOTS] = slotsAt;
  table[KEY_WORDS] = keyWords;
  table[VALUES] = valuesAt;
  table.set(lengths, LENGTHS);
  for (const entry of entries.values()) {
    let probe = entry.words.reduce(hashStep, entry.length) & (slotCount - 1);
    while (table[slotsAt + probe * slotWords + keyWords] !== 0) probe = (probe + 1) & (slotCount - 1);
    table.set([...entry.words, entry.length + 1, entry.value], slotsAt + probe * slotWords);
  }
  for (const [index, pair] of pairs.entries()) {
    table.set(
      [pair.ipv4.address | 0, pair.ipv4.length, ...pair.ipv6.address, pair.ipv6.length],
      valuesAt + index * VALUE_WORDS,
    );
  }
  return buffer;
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

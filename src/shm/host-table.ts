/**
 * Dynamic maps in shared memory: one IPv6 host per address of the IPv4 pool. Control writes, workers read without locks.
 *
 * The map of pool address `pool4.address + i` is entry i, for as long as the pool exists: IPv4 → IPv6 is one index,
 * IPv6 → IPv4 one hash lookup.
 *
 *   header  16 words   base, size, slot mask, lifetime
 *   random  4096 words for the hash, secret
 *   entries 8 words each   host w0 w1 w2 w3, published-at, –, –, –
 *   slots   1 word each    index + 1 (0: empty)   open addressing, linear probing, at most half of them in use
 *   seen    1 word each    second of the last packet in either direction; workers write
 *
 * | word           | writer  | rule                                                                                  |
 * |----------------|---------|---------------------------------------------------------------------------------------|
 * | host w0–w3     | control | only while published-at is NEVER and every worker has passed a burst since it became so |
 * | published-at   | control | last when publishing, first when withdrawing; then GENERATION is raised               |
 * | slots          | control | any time; a reader believes a slot only after comparing the entry's host               |
 * | seen           | workers | plain stores, only if different; control writes before it publishes, and for pinned maps |
 *
 * A reader loads GENERATION once a burst (acquire) and believes an entry only if it was published at or before it, so a
 * half-written entry is never used. Slots move while readers probe, so a reader may miss a host that has a map. That is
 * harmless: a miss is only ever a question to control, which answers with the map, or a second look before a refusal.
 */
import type { Address6 } from '../wire/address.js';
import { TABULATION_WORDS, tabulationHash } from '../wire/tabulation.js';

const BASE = 0;
const SIZE = 1;
const SLOT_MASK = 2;
const LIFETIME = 3;
const RANDOM = 16;
const ENTRIES = RANDOM + TABULATION_WORDS;
const ENTRY_WORDS = 8;
const PUBLISHED = 4;

/** `published-at` of an entry that holds no map: later than every generation. */
const NEVER = 0x7fffffff;

/** Shared memory of a host table; what a worker needs to read it. */
export interface HostTableBuffers {
  readonly table: SharedArrayBuffer;
  readonly lastSeen: SharedArrayBuffer;
}

/**
 * @param base first address of the pool
 * @param size number of addresses in the pool; 0 for no pool
 * @param random TABULATION_WORDS words that nobody can guess
 */
export function createHostTable(
  base: number,
  size: number,
  lifetimeSec: number,
  random: Int32Array,
): HostTableBuffers {
  let slots = 16;
  while (slots < 2 * size) slots *= 2;
  const table = new SharedArrayBuffer((ENTRIES + size * ENTRY_WORDS + slots) * 4);
  const words = new Int32Array(table);
  words[BASE] = base;
  words[SIZE] = size;
  words[SLOT_MASK] = slots - 1;
  words.set(random, RANDOM);
  words[LIFETIME] = lifetimeSec;
  return { table, lastSeen: new SharedArrayBuffer(Math.max(size, 1) * 4) };
}

export class HostTable {
  /** First address of the pool, signed. */
  readonly base: number;
  readonly size: number;
  readonly words: Int32Array;
  readonly lastSeen: Int32Array;
  readonly #slotMask: number;
  readonly #slots: number;
  readonly #lifetimeSec: number;

  constructor(buffers: HostTableBuffers) {
    this.words = new Int32Array(buffers.table);
    this.lastSeen = new Int32Array(buffers.lastSeen);
    this.base = this.words[BASE] as number;
    this.size = this.words[SIZE] as number;
    this.#slotMask = this.words[SLOT_MASK] as number;
    this.#slots = ENTRIES + this.size * ENTRY_WORDS;
    this.#lifetimeSec = this.words[LIFETIME] as number;
  }

  /** A host's hash; the low bits choose the slot. */
  hash(w0: number, w1: number, w2: number, w3: number): number {
    return tabulationHash(this.words, RANDOM, w0, w1, w2, w3);
  }

  /**
   * The index of a host's map, or -1 where it has none that is valid at `nowSec`. Marks the map as used.
   * @param generation what GENERATION held when this burst began
   */
  find(w0: number, w1: number, w2: number, w3: number, generation: number, nowSec: number): number {
    const words = this.words;
    const mask = this.#slotMask;
    for (let probe = this.hash(w0, w1, w2, w3) & mask; ; probe = (probe + 1) & mask) {
      const index = (words[this.#slots + probe] as number) - 1;
      if (index < 0) return -1;
      const entry = ENTRIES + index * ENTRY_WORDS;
      if (
        words[entry] === w0 &&
        words[entry + 1] === w1 &&
        words[entry + 2] === w2 &&
        words[entry + 3] === w3
      ) {
        return this.use(index, generation, nowSec) ? index : -1;
      }
    }
  }

  /** Whether entry `index` (below `size`) holds a map valid at `nowSec`; marks it as used. */
  use(index: number, generation: number, nowSec: number): boolean {
    if ((this.words[ENTRIES + index * ENTRY_WORDS + PUBLISHED] as number) > generation) return false;
    return this.#touch(index, nowSec);
  }

  #touch(index: number, nowSec: number): boolean {
    const published = this.words[ENTRIES + index * ENTRY_WORDS + PUBLISHED] as number;
    // An entry never published is all zeros, and generations begin at 1.
    if (published === 0) return false;
    const seen = this.lastSeen[index] as number;
    if (seen === nowSec) return true;
    // Control may be busy: a map that has run out does not come to life again because nobody has swept it.
    if (nowSec - seen > this.#lifetimeSec) return false;
    this.lastSeen[index] = nowSec;
    return true;
  }

  /** Position in `words` of an entry's four address words. */
  hostWords(index: number): number {
    return ENTRIES + index * ENTRY_WORDS;
  }
}

/** Control's side of the table. */
export class HostTableWriter {
  readonly table: HostTable;
  readonly #words: Int32Array;
  readonly #slotMask: number;
  readonly #slots: number;

  constructor(buffers: HostTableBuffers) {
    this.table = new HostTable(buffers);
    this.#words = this.table.words;
    this.#slotMask = this.#words[SLOT_MASK] as number;
    this.#slots = ENTRIES + this.table.size * ENTRY_WORDS;
  }

  /**
   * Writes entry `index`, which must be empty and out of every reader's sight.
   * @param generation the value GENERATION takes next; the caller stores it afterwards
   */
  publish(index: number, host: Address6, generation: number): void {
    const words = this.#words;
    const entry = ENTRIES + index * ENTRY_WORDS;
    words[entry] = host[0];
    words[entry + 1] = host[1];
    words[entry + 2] = host[2];
    words[entry + 3] = host[3];
    Atomics.store(words, entry + PUBLISHED, generation);
    let probe = this.#hashOf(index) & this.#slotMask;
    while (words[this.#slots + probe] !== 0) probe = (probe + 1) & this.#slotMask;
    Atomics.store(words, this.#slots + probe, index + 1);
  }

  /** Ends the map of entry `index`. The entry may be published again once every worker has passed a burst. */
  withdraw(index: number): void {
    const words = this.#words;
    Atomics.store(words, ENTRIES + index * ENTRY_WORDS + PUBLISHED, NEVER);
    const mask = this.#slotMask;
    let hole = this.#hashOf(index) & mask;
    while (words[this.#slots + hole] !== index + 1) hole = (hole + 1) & mask;
    // Backward shift: entries behind the hole move up where their own probe path passes it, so that no tombstones pile up.
    for (let probe = (hole + 1) & mask; ; probe = (probe + 1) & mask) {
      const occupant = words[this.#slots + probe] as number;
      if (occupant === 0) break;
      const distance = (probe - this.#hashOf(occupant - 1)) & mask;
      if (distance < ((probe - hole) & mask)) continue;
      Atomics.store(words, this.#slots + hole, occupant);
      hole = probe;
    }
    Atomics.store(words, this.#slots + hole, 0);
  }

  #hashOf(index: number): number {
    const entry = ENTRIES + index * ENTRY_WORDS;
    const words = this.#words;
    return this.table.hash(
      words[entry] as number,
      words[entry + 1] as number,
      words[entry + 2] as number,
      words[entry + 3] as number,
    );
  }
}

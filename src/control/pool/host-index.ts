/** Which pool index an IPv6 host has, live or dormant: open addressing over Int32Arrays, grown as it fills. */
import type { Address6 } from '../../wire/address.js';

const FIRST_SLOTS = 1024;

export class HostIndex {
  /** Four words by pool index. */
  readonly #words: Int32Array;
  readonly #seed: number;
  /** index + 1; 0 is empty. */
  #slots = new Int32Array(FIRST_SLOTS);
  #count = 0;

  /** @param seed secret, so that no sender can choose addresses that collide */
  constructor(size: number, seed: number) {
    this.#words = new Int32Array(4 * size);
    this.#seed = seed;
  }

  /** The index of a host, or -1. */
  find(host: Address6): number {
    const slot = this.#slotOf(host);
    return (this.#slots[slot] as number) - 1;
  }

  hostAt(index: number): Address6 {
    const at = 4 * index;
    const words = this.#words;
    return [words[at] as number, words[at + 1] as number, words[at + 2] as number, words[at + 3] as number];
  }

  /** Adds a host that is not there, under an index that is not used. */
  add(host: Address6, index: number): void {
    if (2 * (this.#count + 1) > this.#slots.length) this.#grow();
    this.#words.set(host, 4 * index);
    this.#slots[this.#slotOf(host)] = index + 1;
    this.#count++;
  }

  /** Removes the host that has this index. */
  remove(index: number): void {
    const mask = this.#slots.length - 1;
    let hole = this.#slotOf(this.hostAt(index));
    this.#slots[hole] = 0;
    this.#count--;
    // Entries behind the hole whose probe path crosses it move up, so that no tombstones pile up.
    for (let slot = (hole + 1) & mask; this.#slots[slot] !== 0; slot = (slot + 1) & mask) {
      const home = this.#hash(this.hostAt((this.#slots[slot] as number) - 1)) & mask;
      if (((slot - home) & mask) < ((slot - hole) & mask)) continue;
      this.#slots[hole] = this.#slots[slot] as number;
      this.#slots[slot] = 0;
      hole = slot;
    }
  }

  /** The slot that holds the host, or the empty one where it would go. */
  #slotOf(host: Address6): number {
    const mask = this.#slots.length - 1;
    for (let slot = this.#hash(host) & mask; ; slot = (slot + 1) & mask) {
      const index = (this.#slots[slot] as number) - 1;
      if (index < 0 || this.#isAt(host, index)) return slot;
    }
  }

  #isAt(host: Address6, index: number): boolean {
    const at = 4 * index;
    const words = this.#words;
    return (
      words[at] === host[0] &&
      words[at + 1] === host[1] &&
      words[at + 2] === host[2] &&
      words[at + 3] === host[3]
    );
  }

  #hash(host: Address6): number {
    let hash = this.#seed;
    for (const word of host) {
      hash = Math.imul(hash ^ word, 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    return hash;
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Int32Array(old.length * 2);
    for (const occupant of old) {
      if (occupant !== 0) this.#slots[this.#slotOf(this.hostAt(occupant - 1))] = occupant;
    }
  }
}

/** Which pool index an IPv6 host has: open addressing over Int32Arrays, never more than half full. */
import type { Address6 } from '../../wire/address.js';
import { SecretHash } from './secret-hash.js';

export class HostIndex {
  /** Four words by pool index. */
  readonly #words: Int32Array;
  readonly #hash = new SecretHash();
  /**
   * index + 1; 0 is empty. At full size from the start: untouched pages cost nothing, and moving a million hosts to a
   * larger table would hold up the control thread for 100 ms.
   */
  readonly #slots: Int32Array;
  readonly #mask: number;

  /** @param size a power of two; indexes are below it */
  constructor(size: number) {
    this.#words = new Int32Array(4 * size);
    this.#slots = new Int32Array(2 * size);
    this.#mask = 2 * size - 1;
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

  /** Adds a host, under an index that is not used. Returns false, and does nothing, where it is there. */
  add(host: Address6, index: number): boolean {
    const slot = this.#slotOf(host);
    if (this.#slots[slot] !== 0) return false;
    const at = 4 * index;
    const words = this.#words;
    words[at] = host[0];
    words[at + 1] = host[1];
    words[at + 2] = host[2];
    words[at + 3] = host[3];
    this.#slots[slot] = index + 1;
    return true;
  }

  /** Removes the host that has this index. */
  remove(index: number): void {
    const mask = this.#mask;
    let hole = this.#slotOf(this.hostAt(index));
    this.#slots[hole] = 0;
    // Entries behind the hole whose probe path crosses it move up, so that no tombstones pile up.
    for (let slot = (hole + 1) & mask; this.#slots[slot] !== 0; slot = (slot + 1) & mask) {
      const home = this.#hash.of(this.hostAt((this.#slots[slot] as number) - 1)) & mask;
      if (((slot - home) & mask) < ((slot - hole) & mask)) continue;
      this.#slots[hole] = this.#slots[slot] as number;
      this.#slots[slot] = 0;
      hole = slot;
    }
  }

  /** The slot that holds the host, or the empty one where it would go. */
  #slotOf(host: Address6): number {
    const mask = this.#mask;
    for (let slot = this.#hash.of(host) & mask; ; slot = (slot + 1) & mask) {
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
}

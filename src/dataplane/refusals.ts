/** Hosts that control has refused a map lately, so that a worker can refuse them by itself. Direct-mapped and forgetful. */
import type { Address6 } from '../wire/address.js';

const SLOTS = 1024;
const WORDS = 5;
const REMEMBER_SEC = 2;

export class Refusals {
  readonly #words = new Int32Array(SLOTS * WORDS);

  remember(host: Address6, nowSec: number): void {
    const at = slotOf(host[0], host[1], host[2], host[3]);
    this.#words.set(host, at);
    this.#words[at + 4] = nowSec + REMEMBER_SEC;
  }

  forget(): void {
    this.#words.fill(0);
  }

  has(w0: number, w1: number, w2: number, w3: number, nowSec: number): boolean {
    const words = this.#words;
    const at = slotOf(w0, w1, w2, w3);
    return (
      (words[at + 4] as number) >= nowSec &&
      words[at + 3] === w3 &&
      words[at + 2] === w2 &&
      words[at + 1] === w1 &&
      words[at] === w0
    );
  }
}

function slotOf(w0: number, w1: number, w2: number, w3: number): number {
  const hash = Math.imul(w3 ^ Math.imul(w2 ^ Math.imul(w1 ^ w0, 0x85ebca77), 0xc2b2ae3d), 0x9e3779b1);
  return ((hash >>> 16) & (SLOTS - 1)) * WORDS;
}

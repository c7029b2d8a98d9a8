/** Whom control has refused a map lately, so that a worker can refuse them by itself. Direct-mapped and forgetful. */
import type { Address6 } from '../wire/address.js';

const SLOTS = 1024;
const HOST_WORDS = 5;
const NETWORK_WORDS = 3;
const REMEMBER_SEC = 2;

export class Refusals {
  /** By slot: an address, and until when. */
  readonly #hosts = new Int32Array(SLOTS * HOST_WORDS);
  /** By slot: a /64, all of whose hosts are refused, and until when. */
  readonly #networks = new Int32Array(SLOTS * NETWORK_WORDS);

  remember(host: Address6, nowSec: number): void {
    const at = slotOf(host[0], host[1], host[2], host[3]) * HOST_WORDS;
    this.#hosts.set(host, at);
    this.#hosts[at + 4] = nowSec + REMEMBER_SEC;
  }

  rememberNetwork(host: Address6, nowSec: number): void {
    const at = slotOf(host[0], host[1], 0, 0) * NETWORK_WORDS;
    this.#networks[at] = host[0];
    this.#networks[at + 1] = host[1];
    this.#networks[at + 2] = nowSec + REMEMBER_SEC;
  }

  forget(): void {
    this.#hosts.fill(0);
    this.#networks.fill(0);
  }

  has(w0: number, w1: number, w2: number, w3: number, nowSec: number): boolean {
    return this.#hasNetwork(w0, w1, nowSec) || this.#hasHost(w0, w1, w2, w3, nowSec);
  }

  #hasHost(w0: number, w1: number, w2: number, w3: number, nowSec: number): boolean {
    const words = this.#hosts;
    const at = slotOf(w0, w1, w2, w3) * HOST_WORDS;
    return (
      (words[at + 4] as number) >= nowSec &&
      words[at + 3] === w3 &&
      words[at + 2] === w2 &&
      words[at + 1] === w1 &&
      words[at] === w0
    );
  }

  #hasNetwork(w0: number, w1: number, nowSec: number): boolean {
    const words = this.#networks;
    const at = slotOf(w0, w1, 0, 0) * NETWORK_WORDS;
    return (words[at + 2] as number) >= nowSec && words[at + 1] === w1 && words[at] === w0;
  }
}

function slotOf(w0: number, w1: number, w2: number, w3: number): number {
  const hash = Math.imul(w3 ^ Math.imul(w2 ^ Math.imul(w1 ^ w0, 0x85ebca77), 0xc2b2ae3d), 0x9e3779b1);
  return (hash >>> 16) & (SLOTS - 1);
}

/** A hash of IPv6 addresses whose collisions no sender can choose. */
import { randomFillSync } from 'node:crypto';
import type { Address6 } from '../../wire/address.js';
import { TABULATION_WORDS, tabulationHash } from '../../wire/tabulation.js';

export class SecretHash {
  readonly #tables = randomFillSync(new Int32Array(TABULATION_WORDS));

  /** A signed 32-bit hash, all of its bits equally good. */
  of(host: Address6): number {
    return tabulationHash(this.#tables, 0, host[0], host[1], host[2], host[3]);
  }
}

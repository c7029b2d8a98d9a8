/**
 * Response-rate limiting: whoever forges a victim's address can have no more than so many answers a second sent there. Each client
 * prefix has a token bucket that holds the answers of one second. Of what is beyond, every second query gets an empty answer
 * with TC=1, so that a client that is real comes back by TCP, which cannot be forged.
 *
 * The buckets are in a table of fixed size, in sets of four; in a full set the one that has waited longest makes way. A set is
 * chosen by a secret hash, so nobody can push a certain prefix out.
 */
import { randomFillSync } from 'node:crypto';
import type { Address6 } from '../../wire/address.js';
import { TABULATION_WORDS, tabulationHash } from '../../wire/tabulation.js';
import { isMapped } from './access.js';

/** What an attacker has at hand is mostly a network of this size. */
const MASK4 = -1 << (32 - 24);
const MASK6_WORD1 = -1 << (64 - 56);
const SETS = 4096;
const WAYS = 4;
/** First word of an IPv4 prefix's key; no IPv6 address in use begins so (RFC 4291 section 2.5.5). */
const IPV4_KEY = 0xffff;

export const ANSWER = 0;
export const SLIP = 1;
export const DROP = 2;

export class RateLimit {
  readonly #secret = randomFillSync(new Int32Array(TABULATION_WORDS));
  /** Two words for each bucket; all ones where it is free, which no masked prefix is. */
  readonly #keys = new Int32Array(2 * SETS * WAYS).fill(-1);
  readonly #tokens = new Float64Array(SETS * WAYS);
  /** When the tokens were counted. */
  readonly #countedMs = new Float64Array(SETS * WAYS);
  #slips = 0;

  /** `perSec` answers for a client prefix (IPv4 /24, IPv6 /56). */
  constructor(
    private readonly perSec: number,
    private readonly nowMs: () => number = () => performance.now(),
  ) {}

  /** What one more query of this client gets: ANSWER, SLIP or DROP. */
  judge(client: Address6): typeof ANSWER | typeof SLIP | typeof DROP {
    const nowMs = this.nowMs();
    const bucket = isMapped(client)
      ? this.#bucket(IPV4_KEY, client[3] & MASK4, nowMs)
      : this.#bucket(client[0], client[1] & MASK6_WORD1, nowMs);
    const earned = (nowMs - (this.#countedMs[bucket] as number)) * (this.perSec / 1000);
    const tokens = Math.min(this.perSec, (this.#tokens[bucket] as number) + earned);
    this.#countedMs[bucket] = nowMs;
    this.#tokens[bucket] = tokens >= 1 ? tokens - 1 : tokens;
    if (tokens >= 1) return ANSWER;
    return (this.#slips++ & 1) === 0 ? SLIP : DROP;
  }

  /** The bucket of a key; a full one where it had none. */
  #bucket(word0: number, word1: number, nowMs: number): number {
    const first = (tabulationHash(this.#secret, 0, word0, word1, 0, 0) & (SETS - 1)) * WAYS;
    let oldest = first;
    for (let at = first; at < first + WAYS; at++) {
      if (this.#keys[2 * at] === word0 && this.#keys[2 * at + 1] === word1) return at;
      if ((this.#countedMs[at] as number) < (this.#countedMs[oldest] as number)) oldest = at;
    }
    this.#keys[2 * oldest] = word0;
    this.#keys[2 * oldest + 1] = word1;
    this.#tokens[oldest] = this.perSec;
    this.#countedMs[oldest] = nowMs;
    return oldest;
  }
}

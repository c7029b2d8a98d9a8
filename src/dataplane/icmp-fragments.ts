/**
 * Fragments of ICMP echoes, with `icmp-fragments = "hold"`.
 *
 * Only ICMPv6 has a pseudo-header in its checksum, and it counts the length of the whole message, which only the last
 * fragment shows. So the first fragment, which carries the checksum, waits for the last; the others pass as they come.
 *
 *   entry   family, identification, addresses  ->  length of the message (0: not known yet), slot of the first fragment
 *
 * Bounded: ENTRIES datagrams at a time, one slot of memory each, HOLD_SEC seconds.
 */
import { counter } from '../shm/counters.js';
import { FRAGMENT_SLOT_BYTES, FRAGMENT_SLOTS, FRAGMENTS_START, HEADROOM } from '../shm/frame-ring.js';
import { VNET_HEADER } from '../wire/vnet.js';
import type { Context } from './context.js';
import { count, countDrop, DROP_ICMP_FRAGMENT } from './context.js';
import { copyBytes } from './emit.js';

const HELD = counter('held-icmp-fragments');
/** As long as a receiver waits for the rest of a datagram at the least. */
const HOLD_SEC = 5;
const KEY_WORDS = 10;
const ADDRESS_WORDS_V6 = 8;
const NONE = 0;
const WAITS = 1;
const RELEASED = 2;

export class IcmpFragments {
  readonly #ctx: Context;
  readonly #keys = new Int32Array(FRAGMENT_SLOTS * KEY_WORDS);
  /** Second in which the entry was made; 0: free. */
  readonly #madeSec = new Int32Array(FRAGMENT_SLOTS);
  readonly #messageLength = new Int32Array(FRAGMENT_SLOTS);
  readonly #first = new Uint8Array(FRAGMENT_SLOTS);
  readonly #firstLength = new Int32Array(FRAGMENT_SLOTS);
  /** The key of the fragment in hand, set by `describe`. */
  readonly #key = new Int32Array(KEY_WORDS);
  #ready = -1;
  #hasReleased = false;

  constructor(ctx: Context) {
    this.#ctx = ctx;
  }

  /** Says which datagram the fragment in hand belongs to: `addressWords` words at `addresses`, and an identification. */
  describe(addresses: number, addressWords: number, identification: number): void {
    const key = this.#key.fill(0);
    key[0] = addressWords;
    key[1] = identification;
    for (let i = 0; i < addressWords; i++) key[2 + i] = this.#ctx.dv.getInt32(addresses + 4 * i);
  }

  /** The length of the described message, or 0 where its last fragment has not come yet. */
  messageLength(): number {
    const entry = this.#find();
    return entry < 0 ? 0 : (this.#messageLength[entry] as number);
  }

  /** Keeps the first fragment of the described message. False where there is no room. */
  keepFirst(offset: number, length: number): boolean {
    const entry = this.#findOrMake();
    if (entry < 0 || this.#first[entry] !== NONE || HEADROOM + length > FRAGMENT_SLOT_BYTES) return false;
    copyBytes(this.#ctx, offset - VNET_HEADER, this.#slot(entry) - VNET_HEADER, length + VNET_HEADER);
    this.#first[entry] = WAITS;
    this.#firstLength[entry] = length;
    count(this.#ctx, HELD, 1);
    return true;
  }

  /** Notes the length that the last fragment of the described message shows; its first is ready then. */
  noteLast(messageLength: number): void {
    const entry = this.#findOrMake();
    if (entry < 0) return;
    this.#messageLength[entry] = messageLength;
    if (this.#first[entry] === WAITS) this.#ready = entry;
  }

  /** Hands a first fragment that has become ready to `translate`, after the frame that made it so. */
  release(translate: (ctx: Context, offset: number, length: number) => number): void {
    const entry = this.#ready;
    if (entry < 0) return;
    this.#ready = -1;
    this.#first[entry] = RELEASED;
    this.#hasReleased = true;
    const verdict = translate(this.#ctx, this.#slot(entry), this.#firstLength[entry] as number);
    if (verdict > 0) countDrop(this.#ctx, verdict, this.#isV6(entry));
  }

  /** Gives the memory of released fragments back. Only after what they became has been written out. */
  reclaim(): void {
    if (!this.#hasReleased) return;
    this.#hasReleased = false;
    for (let entry = 0; entry < FRAGMENT_SLOTS; entry++)
      if (this.#first[entry] === RELEASED) this.#forget(entry);
  }

  /** Drops first fragments whose last has not come in time. */
  expire(): void {
    for (let entry = 0; entry < FRAGMENT_SLOTS; entry++) {
      const madeSec = this.#madeSec[entry] as number;
      if (madeSec !== 0 && this.#ctx.nowSec - madeSec > HOLD_SEC) this.#drop(entry);
    }
  }

  /** Drops them all: nothing is held from now on. */
  clear(): void {
    for (let entry = 0; entry < FRAGMENT_SLOTS; entry++) this.#drop(entry);
  }

  #drop(entry: number): void {
    if (this.#first[entry] === WAITS) countDrop(this.#ctx, DROP_ICMP_FRAGMENT, this.#isV6(entry));
    this.#forget(entry);
  }

  #slot(entry: number): number {
    return FRAGMENTS_START + entry * FRAGMENT_SLOT_BYTES + HEADROOM;
  }

  #isV6(entry: number): boolean {
    return this.#keys[entry * KEY_WORDS] === ADDRESS_WORDS_V6;
  }

  #forget(entry: number): void {
    this.#madeSec[entry] = 0;
    this.#first[entry] = NONE;
    this.#messageLength[entry] = 0;
  }

  #find(): number {
    const key = this.#key;
    for (let entry = 0; entry < FRAGMENT_SLOTS; entry++) {
      if (this.#madeSec[entry] === 0) continue;
      const at = entry * KEY_WORDS;
      let i = 0;
      while (i < KEY_WORDS && this.#keys[at + i] === key[i]) i++;
      if (i === KEY_WORDS) return entry;
    }
    return -1;
  }

  #findOrMake(): number {
    const found = this.#find();
    if (found >= 0) return found;
    const entry = this.#madeSec.indexOf(0);
    if (entry < 0) return -1;
    this.#keys.set(this.#key, entry * KEY_WORDS);
    this.#madeSec[entry] = this.#ctx.nowSec;
    return entry;
  }
}

/** `admitEchoFragment`: the fragment was kept; it comes back by `release`. */
export const KEPT = -1;
/** `admitEchoFragment`: the fragment must be dropped. */
export const REFUSED = -2;

/**
 * What to do with a fragment of an ICMP message: KEPT, REFUSED, 0 where it passes as it is, or, for a first fragment, the
 * length of the whole message, with which its checksum is adjusted.
 * @param addresses where the `addressWords` words of source and destination are
 * @param isLast no more fragments follow
 * @param isEcho whether the upper layer, if this is the first fragment, begins an echo
 */
export function admitEchoFragment(
  ctx: Context,
  offset: number,
  length: number,
  addresses: number,
  addressWords: number,
  identification: number,
  fragmentOffset: number,
  upperLength: number,
  isLast: boolean,
  isEcho: boolean,
): number {
  const { fragments } = ctx;
  if (fragments === null) return REFUSED;
  fragments.describe(addresses, addressWords, identification);
  if (isLast) fragments.noteLast(fragmentOffset * 8 + upperLength);
  if (fragmentOffset !== 0) return 0;
  if (!isEcho || upperLength < 8) return REFUSED;
  const messageLength = fragments.messageLength();
  if (messageLength > 0) return messageLength;
  // The second leg of a hairpin has seen the last fragment before the first leg lets the first one go.
  return !ctx.hairpin && fragments.keepFirst(offset, length) ? KEPT : REFUSED;
}

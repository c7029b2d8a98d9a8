/**
 * Frames that wait for their source to get a map, in the hold region of the frame ring. Bounded in hosts, frames, bytes and time.
 *
 *   hosts    a host table of our own: address → host number        first and last frame, second of the question
 *   frames   a ring of descriptors in order of arrival              offset, length, next frame of the same host
 *   bytes    a ring in the hold region, in the same order           each frame with its headroom
 *
 * A descriptor at the head of the ring is given back once its frame has gone; one in the middle waits for those before it.
 * That suffices: no frame is held longer than HOLD_SEC.
 */

import { randomFillSync } from 'node:crypto';
import { counter, level } from '../shm/counters.js';
import { HEADROOM, HOLD_BYTES, HOLD_FRAMES, HOLD_HOSTS, HOLD_START } from '../shm/frame-ring.js';
import { createHostTable, HostTableWriter } from '../shm/host-table.js';
import type { Address6 } from '../wire/address.js';
import { TABULATION_WORDS } from '../wire/tabulation.js';
import { VNET_HEADER } from '../wire/vnet.js';
import type { Context } from './context.js';
import { count } from './context.js';
import { copyBytes } from './emit.js';

const HELD = counter('held');
const HOLD_HOSTS_NOW = level('hold-hosts');
const HOLD_FRAMES_NOW = level('hold-frames');
const HOLD_BYTES_NOW = level('hold-bytes');
export const DROP_HOLD_FULL = counter('drop-hold-full');
export const DROP_HOLD_TIMEOUT = counter('drop-hold-timeout');

const FRAME_MASK = HOLD_FRAMES - 1;
const HOLD_END = HOLD_START + HOLD_BYTES;
/** Control answers in a fraction of a millisecond; who waits this long has been forgotten. */
export const HOLD_SEC = 3;
/** The host table's generation and clock are of no use here: one of each, for ever. */
const ALWAYS = 1;
const NONE = -1;

/** What `add` did. */
export const HELD_NEW_HOST = 1;
export const HELD_KNOWN_HOST = 2;
export const HELD_NOT = 0;

export class HoldArea {
  readonly #ctx: Context;
  readonly #table: HostTableWriter;
  readonly #freeHosts: number[] = Array.from({ length: HOLD_HOSTS }, (_, i) => HOLD_HOSTS - 1 - i);
  readonly #firstFrame = new Int32Array(HOLD_HOSTS).fill(NONE);
  readonly #lastFrame = new Int32Array(HOLD_HOSTS);
  readonly #askedSec = new Int32Array(HOLD_HOSTS);
  readonly #offset = new Int32Array(HOLD_FRAMES);
  readonly #length = new Int32Array(HOLD_FRAMES);
  readonly #next = new Int32Array(HOLD_FRAMES);
  readonly #isFree = new Uint8Array(HOLD_FRAMES);
  #head = 0;
  #tail = 0;
  #bytesEnd = HOLD_START;

  /** Hosts with frames here. */
  hostCount = 0;

  constructor(ctx: Context) {
    this.#ctx = ctx;
    this.#table = new HostTableWriter(
      createHostTable(0, HOLD_HOSTS, 1, randomFillSync(new Int32Array(TABULATION_WORDS))),
    );
  }

  /** The number of a host with held frames, or -1. */
  hostOf(w0: number, w1: number, w2: number, w3: number): number {
    return this.#table.table.find(w0, w1, w2, w3, ALWAYS, 0);
  }

  /** Copies the frame at `offset` here, behind those of the same host. HELD_NOT where there is no room. */
  add(host: Address6, offset: number, length: number): number {
    const known = this.hostOf(host[0], host[1], host[2], host[3]);
    if (known < 0 && this.#freeHosts.length === 0) return HELD_NOT;
    const frame = this.#allocate(length);
    if (frame < 0) return HELD_NOT;
    copyBytes(
      this.#ctx,
      offset - VNET_HEADER,
      (this.#offset[frame] as number) - VNET_HEADER,
      length + VNET_HEADER,
    );
    count(this.#ctx, HELD, 1);
    if (known >= 0) {
      this.#next[this.#lastFrame[known] as number] = frame;
      this.#lastFrame[known] = frame;
      this.#tellLevels();
      return HELD_KNOWN_HOST;
    }
    const number = this.#freeHosts.pop() as number;
    this.#table.publish(number, host, ALWAYS);
    this.#firstFrame[number] = frame;
    this.#lastFrame[number] = frame;
    this.#askedSec[number] = this.#ctx.nowSec;
    this.hostCount++;
    this.#tellLevels();
    return HELD_NEW_HOST;
  }

  /**
   * Hands each frame of a host, oldest first, to `take`, and forgets the host. Its memory is free after `reclaim`. One that is not
   * held has none: a host that was forgotten and has asked again is answered twice, and both answers may come at once.
   */
  release(host: number, take: (offset: number, length: number) => void): void {
    let frame = this.#firstFrame[host] as number;
    if (frame === NONE) return;
    // Forgotten first: a frame that asks again must find a clean slate.
    this.#firstFrame[host] = NONE;
    this.#table.withdraw(host);
    this.#freeHosts.push(host);
    this.hostCount--;
    while (frame !== NONE) {
      const next = this.#next[frame] as number;
      take(this.#offset[frame] as number, this.#length[frame] as number);
      this.#isFree[frame] = 1;
      frame = next;
    }
  }

  /** Gives released frames' memory back. Only after what they became has been written out. */
  reclaim(): void {
    if (this.#head === this.#tail) return;
    while (this.#head !== this.#tail && this.#isFree[this.#head & FRAME_MASK] === 1) this.#head++;
    if (this.#head === this.#tail) this.#bytesEnd = HOLD_START;
    this.#tellLevels();
  }

  /** Hands the frames of hosts that have waited too long to `drop`, and forgets them. */
  expire(drop: (offset: number, length: number) => void, nowSec = this.#ctx.nowSec): void {
    if (this.hostCount === 0) return;
    for (let host = 0; host < HOLD_HOSTS; host++) {
      if (this.#firstFrame[host] === NONE) continue;
      if (nowSec - (this.#askedSec[host] as number) <= HOLD_SEC) continue;
      this.release(host, drop);
    }
    this.reclaim();
  }

  /** The same with all hosts: nobody waits for an answer any more. */
  clear(drop: (offset: number, length: number) => void): void {
    this.expire(drop, Number.POSITIVE_INFINITY);
  }

  #tellLevels(): void {
    const { counters } = this.#ctx;
    const isEmpty = this.#head === this.#tail;
    const oldest = (this.#offset[this.#head & FRAME_MASK] as number) - HEADROOM;
    const bytes = this.#bytesEnd - oldest;
    counters[HOLD_HOSTS_NOW] = this.hostCount;
    counters[HOLD_FRAMES_NOW] = this.#tail - this.#head;
    counters[HOLD_BYTES_NOW] = isEmpty ? 0 : bytes > 0 ? bytes : bytes + HOLD_BYTES;
  }

  /** A descriptor with memory for `length` bytes, or -1. */
  #allocate(length: number): number {
    if (this.#tail - this.#head === HOLD_FRAMES) return NONE;
    const size = (HEADROOM + length + 15) & ~15;
    let at = this.#bytesEnd;
    if (this.#head !== this.#tail) {
      const oldest = (this.#offset[this.#head & FRAME_MASK] as number) - HEADROOM;
      if (at > oldest) {
        // Free: from the end of the newest to the end of the region, and from its start to the oldest.
        if (at + size > HOLD_END) {
          if (HOLD_START + size > oldest) return NONE;
          at = HOLD_START;
        }
      } else if (at + size > oldest) {
        return NONE;
      }
    }
    if (at + size > HOLD_END) return NONE;
    this.#bytesEnd = at + size;
    const frame = this.#tail++ & FRAME_MASK;
    this.#offset[frame] = at + HEADROOM;
    this.#length[frame] = length;
    this.#next[frame] = NONE;
    this.#isFree[frame] = 0;
    return frame;
  }
}

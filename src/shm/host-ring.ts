/**
 * A bounded ring of IPv6 hosts between two threads, one writer and one reader: a worker's questions to control, and
 * control's answers.
 *
 *   word 0   head: records taken by the reader    (reader writes)
 *   word 16  tail: records put by the writer      (writer writes)
 *   word 32  bell: 1 while a wake-up is on its way (both)
 *   word 48… records of 5 words: the address, then a value (of a question: when it was asked, see `nowUs`)
 *
 * Head and tail count records and wrap at 2³²; the ring is full when they differ by its capacity.
 */
import { hrtime } from 'node:process';
import type { Address6 } from '../wire/address.js';

const HEAD = 0;
const TAIL = 16;
const BELL = 32;
const RECORDS = 48;
const RECORD_WORDS = 5;

/** Answers to a question about a host. */
export const ANSWER_ASSIGNED = 1;
export const ANSWER_REFUSED = 2;
/** Refused, as is any other host of its /64: that has as many maps as it may. */
export const ANSWER_NETWORK_FULL = 3;

/** The time in microseconds of a clock that all threads share, modulo 2³²: differences are right up to half an hour. */
export function nowUs(): number {
  const [sec, ns] = hrtime();
  return (sec * 1_000_000 + ns / 1000) | 0;
}

/** Shared memory for a ring of `capacity` records, a power of two. */
export function createHostRing(capacity: number): SharedArrayBuffer {
  return new SharedArrayBuffer((RECORDS + capacity * RECORD_WORDS) * 4);
}

export class HostRing {
  readonly #words: Int32Array;
  readonly #mask: number;

  constructor(buffer: SharedArrayBuffer) {
    this.#words = new Int32Array(buffer);
    this.#mask = (this.#words.length - RECORDS) / RECORD_WORDS - 1;
  }

  /** Appends a record. False where the ring is full: nothing was written. */
  push(w0: number, w1: number, w2: number, w3: number, value: number): boolean {
    const words = this.#words;
    const tail = words[TAIL] as number;
    if (((tail - Atomics.load(words, HEAD)) | 0) > this.#mask) return false;
    const at = RECORDS + (tail & this.#mask) * RECORD_WORDS;
    words[at] = w0;
    words[at + 1] = w1;
    words[at + 2] = w2;
    words[at + 3] = w3;
    words[at + 4] = value;
    Atomics.store(words, TAIL, (tail + 1) | 0);
    return true;
  }

  /** Whether a record waits. One atomic load: cheap enough for every burst. */
  get isEmpty(): boolean {
    return Atomics.load(this.#words, TAIL) === this.#words[HEAD];
  }

  /** Hands at most `limit` records to `take`, oldest first; returns how many. */
  drain(limit: number, take: (host: Address6, value: number) => void): number {
    const words = this.#words;
    let taken = 0;
    while (taken < limit && !this.isEmpty) {
      const head = words[HEAD] as number;
      const at = RECORDS + (head & this.#mask) * RECORD_WORDS;
      const host: Address6 = [
        words[at] as number,
        words[at + 1] as number,
        words[at + 2] as number,
        words[at + 3] as number,
      ];
      const value = words[at + 4] as number;
      Atomics.store(words, HEAD, (head + 1) | 0);
      taken++;
      take(host, value);
    }
    return taken;
  }

  /** The writer's: true where the reader must be woken (no wake-up is on its way yet). */
  ring(): boolean {
    return Atomics.exchange(this.#words, BELL, 1) === 0;
  }

  /** The reader's, before it drains: what comes later rings again. */
  answerBell(): void {
    Atomics.store(this.#words, BELL, 0);
  }
}

/**
 * A bounded ring of captured frames from a worker to control. What does not fit is counted and gone: the writer never waits.
 *
 *   word 0     head: bytes taken by the reader     (reader writes)
 *   word 16    tail: bytes put by the writer       (writer writes)
 *   word 17    translations numbered so far        (writer writes; who comes after it goes on from there)
 *   double 16  frames that were wanted, of the IPv6 side and of the IPv4 side      (writer writes)
 *   double 18  of them, frames that there was no room for, in the same order       (writer writes)
 *   byte 192…  records, each a multiple of 8 bytes long; none reaches over the end of the ring
 *
 * A record: ten words, then up to 7 bytes of nothing, then the frame as far as it was captured.
 *
 *   size, kind | side, seconds, nanoseconds, captured length, original length, verdict, number, lost before it, where its bytes are
 *
 * Head and tail count bytes and wrap at 2³². Nobody reads behind the tail, so a writer that dies leaves nothing half written.
 */

const HEAD = 0;
const TAIL = 16;
const NUMBERED = 17;
const WANTED = 16;
const LOST = 18;
const RECORDS = 192;
const RECORD_HEADER = 40;
const ALIGNMENT = 8;

const SIZE = 0;
const KIND = 1;
const SEC = 2;
const NSEC = 3;
const CAPTURED = 4;
const LENGTH = 5;
const VERDICT = 6;
const NUMBER = 7;
const LOST_BEFORE = 8;
const BYTES = 9;

/** Sides, as in the low bit of a record's kind: interfaces of the capture. */
export const SIDE_V6 = 0;
export const SIDE_V4 = 1;
/** The rest of a record's kind: nothing, a frame that came in, one that went out. */
export const KIND_VOID = 0;
export const KIND_IN = 2;
export const KIND_OUT = 4;

/** Shared memory for a ring of `sizeBytes` bytes, a power of two. */
export function createCaptureRing(sizeBytes: number): SharedArrayBuffer {
  return new SharedArrayBuffer(RECORDS + sizeBytes);
}

export interface CaptureTotals {
  readonly wanted: readonly [v6: number, v4: number];
  readonly lost: readonly [v6: number, v4: number];
}

class Ring {
  readonly words: Int32Array;
  readonly u8: Uint8Array;
  readonly doubles: Float64Array;
  readonly size: number;

  constructor(buffer: SharedArrayBuffer) {
    this.words = new Int32Array(buffer);
    this.u8 = new Uint8Array(buffer);
    this.doubles = new Float64Array(buffer, 0, RECORDS / 8);
    this.size = buffer.byteLength - RECORDS;
  }

  /** Index of the first word of the record that begins at `count` bytes put or taken. */
  wordAt(count: number): number {
    return (RECORDS + (count & (this.size - 1))) >>> 2;
  }
}

/** A worker's side. Records are opened and cancelled as one likes; the reader sees them after `publish`. */
export class CaptureWriter {
  readonly #ring: Ring;
  /** Bytes put, records that are not published included. */
  #end: number;
  readonly #lostBefore = new Int32Array(2);

  constructor(buffer: SharedArrayBuffer) {
    this.#ring = new Ring(buffer);
    this.#end = this.#ring.words[TAIL] as number;
  }

  /** The ring's memory. */
  get u8(): Uint8Array {
    return this.#ring.u8;
  }

  /** Another translation's number, from 1 on. */
  nextNumber(): number {
    const { words } = this.#ring;
    words[NUMBERED] = ((words[NUMBERED] as number) + 1) | 0;
    return words[NUMBERED];
  }

  /**
   * Opens a record.
   * @param kind KIND_… and SIDE_…
   * @param captured bytes of it that are to be kept
   * @param number which translation it belongs to
   * @param like where its bytes come from: those of the record stand alike to a multiple of 8, which makes the copy fast
   * @returns the record, or -1 where there is no room: it is counted as lost
   */
  open(kind: number, length: number, captured: number, number: number, like: number): number {
    const { words, doubles, size } = this.#ring;
    const side = kind & 1;
    doubles[WANTED + side] = (doubles[WANTED + side] as number) + 1;
    const bytes = RECORD_HEADER + (like & (ALIGNMENT - 1));
    const need = (bytes + captured + ALIGNMENT - 1) & -ALIGNMENT;
    const left = size - (this.#end & (size - 1));
    const skipped = need <= left ? 0 : left;
    if (skipped + need > size - ((this.#end - Atomics.load(words, HEAD)) | 0)) {
      doubles[LOST + side] = (doubles[LOST + side] as number) + 1;
      this.#lostBefore[side]!++;
      return -1;
    }
    if (skipped > 0) {
      const at = this.#ring.wordAt(this.#end);
      words[at + SIZE] = skipped;
      words[at + KIND] = KIND_VOID;
      this.#end = (this.#end + skipped) | 0;
    }
    const at = this.#ring.wordAt(this.#end);
    const [sec, nsec] = process.hrtime();
    words[at + SIZE] = need;
    words[at + KIND] = kind;
    words[at + SEC] = sec;
    words[at + NSEC] = nsec;
    words[at + CAPTURED] = captured;
    words[at + LENGTH] = length;
    words[at + VERDICT] = 0;
    words[at + NUMBER] = number;
    words[at + LOST_BEFORE] = this.#lostBefore[side] as number;
    words[at + BYTES] = 4 * at + bytes;
    this.#lostBefore[side] = 0;
    this.#end = (this.#end + need) | 0;
    return at;
  }

  /** Where in `u8` the bytes of a record begin. */
  bytesOf(record: number): number {
    return this.#ring.words[record + BYTES] as number;
  }

  setVerdict(record: number, verdict: number): void {
    this.#ring.words[record + VERDICT] = verdict;
  }

  /** Takes a record back that is not published. */
  cancel(record: number): void {
    const { words, doubles } = this.#ring;
    const side = (words[record + KIND] as number) & 1;
    doubles[WANTED + side] = (doubles[WANTED + side] as number) - 1;
    this.#lostBefore[side] = (this.#lostBefore[side] as number) + (words[record + LOST_BEFORE] as number);
    words[record + KIND] = KIND_VOID;
  }

  /** Takes one back that there was no room for. */
  cancelLost(kind: number): void {
    const { doubles } = this.#ring;
    const side = kind & 1;
    doubles[WANTED + side] = (doubles[WANTED + side] as number) - 1;
    doubles[LOST + side] = (doubles[LOST + side] as number) - 1;
    this.#lostBefore[side]!--;
  }

  /** Lets the reader see all that was opened. */
  publish(): void {
    Atomics.store(this.#ring.words, TAIL, this.#end);
  }
}

/** Control's side. `next` finds the oldest record; its fields can be read until `take`. */
export class CaptureReader {
  readonly #ring: Ring;
  #at = 0;

  constructor(buffer: SharedArrayBuffer) {
    this.#ring = new Ring(buffer);
  }

  /** Whether there is a record to look at. */
  next(): boolean {
    const { words } = this.#ring;
    for (;;) {
      const head = words[HEAD] as number;
      if (head === Atomics.load(words, TAIL)) return false;
      this.#at = this.#ring.wordAt(head);
      if (words[this.#at + KIND] !== KIND_VOID) return true;
      this.take();
    }
  }

  /** Gives the memory of the record that `next` found back. */
  take(): void {
    const { words } = this.#ring;
    const size = words[this.#at + SIZE] as number;
    Atomics.store(words, HEAD, ((words[HEAD] as number) + size) | 0);
  }

  get side(): 0 | 1 {
    return (this.#word(KIND) & 1) === SIDE_V6 ? SIDE_V6 : SIDE_V4;
  }

  get isOutbound(): boolean {
    return (this.#word(KIND) & KIND_OUT) !== 0;
  }

  /** By process.hrtime(), which all threads share. */
  get sec(): number {
    return this.#word(SEC);
  }

  get nsec(): number {
    return this.#word(NSEC);
  }

  get length(): number {
    return this.#word(LENGTH);
  }

  get verdict(): number {
    return this.#word(VERDICT);
  }

  get number(): number {
    return this.#word(NUMBER) >>> 0;
  }

  /** Frames of the same side that were lost between the one before it and this one. */
  get lostBefore(): number {
    return this.#word(LOST_BEFORE) >>> 0;
  }

  /** The frame, as far as it was captured; valid until `take`. */
  get bytes(): Uint8Array {
    const from = this.#word(BYTES);
    return this.#ring.u8.subarray(from, from + this.#word(CAPTURED));
  }

  get totals(): CaptureTotals {
    const at = (index: number) => this.#ring.doubles[index] as number;
    return { wanted: [at(WANTED), at(WANTED + 1)], lost: [at(LOST), at(LOST + 1)] };
  }

  #word(index: number): number {
    return this.#ring.words[this.#at + index] as number;
  }
}

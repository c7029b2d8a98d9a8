/** Stands for the device of a loop: gives frames with canaries around their slots, and looks at all that is written. */
import assert from 'node:assert/strict';
import type { FrameIo } from '#nat64d/dataplane/loop.js';
import { BURST_BYTES, HEADROOM, RING_BYTES } from '#nat64d/shm/frame-ring.js';
import { checkFrame } from './check-frame.js';

const VNET_BYTES = 10;
const CANARY_BYTES = 48;
/** Frames of one turn are written here, one after another. */
const WRITTEN_BYTES = 24 << 20;

/** What a turn has written. */
export class Written {
  readonly bytes = Buffer.alloc(WRITTEN_BYTES);
  /** Where each frame ends. */
  readonly ends: number[] = [];
  end = 0;
  taken = 0;
  takenBytes = 0;
  refused = 0;
  /** Packets that were cut into fragments. */
  fragmented = 0;

  clear(): void {
    this.ends.length = 0;
    this.end = 0;
    this.taken = 0;
    this.takenBytes = 0;
    this.refused = 0;
    this.fragmented = 0;
  }

  assertSame(other: Written): void {
    if (
      this.ends.length === other.ends.length &&
      this.bytes.compare(other.bytes, 0, other.end, 0, this.end) === 0
    )
      return;
    let start = 0;
    for (const [i, end] of this.ends.entries()) {
      assert.equal(
        this.bytes.toString('hex', start, end),
        other.bytes.toString('hex', start, other.ends[i]),
        `frame ${i} depends on what is around the frames`,
      );
      start = end;
    }
    assert.fail('other frames come out with other bytes around the frames');
  }
}

interface Slot {
  /** From the first byte of its headroom to the end of the frame. */
  readonly start: number;
  readonly end: number;
}

export class FrameStage implements FrameIo {
  readonly written = new Written();
  /** Each so-manieth write is refused; 0: none. */
  refuseEvery = 0;
  protected readonly canary: Buffer;
  protected readonly slots: Slot[] = [];
  protected ring: Buffer | undefined;
  protected frames: readonly Buffer[] = [];
  protected given = 0;
  #writes = 0;

  constructor(canary: number) {
    this.canary = Buffer.alloc(HEADROOM + CANARY_BYTES, canary);
  }

  get hasFrames(): boolean {
    return this.given < this.frames.length;
  }

  close(): void {}

  give(frames: readonly Buffer[]): void {
    this.frames = frames;
    this.given = 0;
  }

  beginTurn(): void {
    this.written.clear();
    this.#writes = 0;
  }

  /** Between the slots of the last read all is as it was. */
  checkCanaries(): void {
    const ring = this.ring;
    if (ring === undefined) return;
    let from = 0;
    for (const { start, end } of this.slots) {
      this.#checkCanary(ring, from, start);
      from = end;
    }
    if (this.slots.length > 0) this.#checkCanary(ring, from, from + CANARY_BYTES);
  }

  #checkCanary(ring: Buffer, start: number, end: number): void {
    if (ring.compare(this.canary, 0, end - start, start, end) !== 0) {
      assert.fail(`bytes outside of a slot have changed: ${ring.toString('hex', start, end)} at ${start}`);
    }
  }

  read: FrameIo['read'] = (_fd, bytes, start, end, headroom, frames, maxFrames) => {
    this.checkCanaries();
    this.slots.length = 0;
    this.ring ??= Buffer.from(bytes.buffer);
    const ring = this.ring;
    let at = start;
    let count = 0;
    while (count < maxFrames && this.hasFrames) {
      const frame = this.frames[this.given] as Buffer;
      const offset = (at + CANARY_BYTES + headroom + 15) & ~15;
      if (offset + frame.length + CANARY_BYTES > Math.min(end, BURST_BYTES)) break;
      const slot = offset - HEADROOM;
      // The canary before it, and what an earlier frame has left in its headroom.
      this.canary.copy(ring, at, 0, slot - at);
      this.canary.copy(ring, slot, 0, HEADROOM);
      frame.copy(ring, offset - VNET_BYTES);
      at = offset + frame.length - VNET_BYTES;
      this.slots.push({ start: slot, end: at });
      frames[2 * count] = offset;
      frames[2 * count + 1] = frame.length - VNET_BYTES;
      count++;
      this.given++;
    }
    this.canary.copy(ring, at, 0, CANARY_BYTES);
    return count;
  };

  readonly wait: FrameIo['wait'] = () => false;

  write: FrameIo['write'] = (fd, bytes, list, count, refused) => this.take(fd, bytes, list, count, refused);

  protected readonly take: FrameIo['write'] = (_fd, bytes, list, count, refused) => {
    const { written } = this;
    this.ring ??= Buffer.from(bytes.buffer);
    const ring = this.ring;
    let refusals = 0;
    let payloadEnd = -1;
    for (let i = 0, at = 0; i < count; i++) {
      const countAt = at;
      const pieces = list[at++] as number;
      const start = written.end;
      if (pieces < 1 || pieces > 64) assert.fail(`frame ${i} has ${pieces} pieces`);
      for (let piece = 0; piece < pieces; piece++) {
        const offset = list[at++] as number;
        const length = list[at++] as number;
        this.#checkPiece(offset, length);
        ring.copy(written.bytes, written.end, offset, offset + length);
        written.end += length;
        if (pieces !== 2 || piece !== 1) continue;
        // Fragments of one packet lie one behind another.
        if (written.bytes[start + 1] === 0 && offset !== payloadEnd) written.fragmented++;
        payloadEnd = offset + length;
      }
      written.ends.push(written.end);
      checkFrame(written.bytes, start, written.end, pieces);
      const isJoined = pieces > 1 && written.bytes[start + 1] !== 0;
      const frames = isJoined ? pieces : 1;
      if (this.refuseEvery > 0 && ++this.#writes % this.refuseEvery === 0) {
        list[countAt] = -pieces;
        written.refused += frames;
        refusals++;
        continue;
      }
      written.taken += frames;
      const headers = written.bytes.readUInt16LE(start + 2);
      written.takenBytes += written.end - start - VNET_BYTES + (frames - 1) * headers;
    }
    refused[0] = refusals;
    refused[1] = refusals > 0 ? 5 : 0;
    return count - refusals;
  };

  #checkPiece(offset: number, length: number): void {
    const end = offset + length;
    if (offset < 0 || length < 0 || end > RING_BYTES)
      assert.fail(`a piece from ${offset} to ${end} is outside of the ring`);
    if (offset >= BURST_BYTES) return;
    for (const slot of this.slots) if (offset >= slot.start && end <= slot.end) return;
    assert.fail(`a piece from ${offset} to ${end} is no part of one slot`);
  }
}

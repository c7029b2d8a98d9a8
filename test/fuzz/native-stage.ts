/** Frames that come and go through the addon's own read and write, by way of UDP sockets that are connected to themselves. */
import assert from 'node:assert/strict';
import type { FrameIo } from '#nat64d/dataplane/loop.js';
import { HEADROOM } from '#nat64d/shm/frame-ring.js';
import native from '#native';
import type { Target } from './driver.js';
import { FrameStage } from './frame-stage.js';
import { framesTarget } from './frames.js';

const LOOPBACK = Int32Array.of(0, 0, 0xffff, 0x7f000001);
/** What a datagram holds. */
const MOST_BYTES = 65507;
/** What a socket's buffer surely holds at a time. */
const READ_FRAMES = 16;
const BUFFER_BYTES = 8 << 20;
const CANARY_BYTES = 48;

function loop(receiveBytes: number): number {
  const { fd, port } = native.openUdp({
    address: LOOPBACK,
    port: 0,
    scope: 0,
    packetInfo: false,
    receiveBytes,
    sendBytes: BUFFER_BYTES,
  });
  native.connectUdp(fd, LOOPBACK, port, 0);
  return fd;
}

export class NativeStage extends FrameStage {
  readonly #in = loop(BUFFER_BYTES);
  /** Nobody reads it: what does not fit its buffer is dropped. */
  readonly #out = loop(1);
  readonly #side = Buffer.alloc(1 << 16);
  readonly #one = new Int32Array(3);
  readonly #refused = new Int32Array(2);

  override give(frames: readonly Buffer[]): void {
    super.give(frames.map((frame) => frame.subarray(0, MOST_BYTES)));
  }

  override close(): void {
    native.closeUdp(this.#in);
    native.closeUdp(this.#out);
  }

  override read: FrameIo['read'] = (_fd, bytes, start, end, headroom, frames, maxFrames) => {
    this.checkCanaries();
    this.slots.length = 0;
    this.ring ??= Buffer.from(bytes.buffer);
    let sent = 0;
    let room = start;
    while (sent < Math.min(maxFrames, READ_FRAMES) && this.hasFrames) {
      const frame = this.frames[this.given++] as Buffer;
      frame.copy(this.#side);
      this.#one.set([1, 0, frame.length]);
      assert.equal(native.write(this.#in, this.#side, this.#one, 1, this.#refused), 1, `${this.#refused}`);
      room += frame.length + headroom + 16;
      sent++;
    }
    this.ring.fill(this.canary[0] as number, start, Math.min(end, room + CANARY_BYTES));
    const count = native.read(this.#in, bytes, start, end, headroom, frames, maxFrames);
    assert.equal(count, sent, 'datagrams are lost');
    for (let i = 0; i < count; i++) {
      const offset = frames[2 * i] as number;
      this.slots.push({ start: offset - HEADROOM, end: offset + (frames[2 * i + 1] as number) });
    }
    return count;
  };

  override write: FrameIo['write'] = (fd, bytes, list, count, refused) => {
    let end = 0;
    for (let frame = 0; frame < count; frame++) end += 1 + 2 * (list[end] as number);
    // It marks what is refused, and everything is.
    native.write(this.#out, bytes, list.slice(0, end), count, this.#refused);
    return this.take(fd, bytes, list, count, refused);
  };
}

export const nativeFrames: Target = {
  ...framesTarget((canary) => new NativeStage(canary)),
  name: 'native-frames',
  about: 'the same, read and written by the native addon',
  wholeCount: 1_000_000,
  shortCount: 10_000,
};

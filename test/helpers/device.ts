/** Stands for a TUN device's queue in tests of a worker's loop. */
import type { FrameIo } from '#nat64d/dataplane/loop.js';
import { HEADROOM } from '#nat64d/shm/frame-ring.js';

/** A device that has these frames, and does not take those of its writes whose number is in `refuses`. */
export class Device implements FrameIo {
  readonly asked: string[] = [];
  written = 0;

  constructor(
    readonly frames: Uint8Array[],
    private readonly refuses: readonly number[] = [],
  ) {}

  readonly read: FrameIo['read'] = (_fd, ring, start, _end, _headroom, offsets, maxFrames) => {
    this.asked.push(`read ${maxFrames}`);
    const taken = this.frames.splice(0, maxFrames);
    let end = start;
    for (const [i, frame] of taken.entries()) {
      const at = Math.ceil((end + HEADROOM) / 16) * 16;
      ring.fill(0, at - 10, at);
      ring.set(frame, at);
      offsets.set([at, frame.length], 2 * i);
      end = at + frame.length;
    }
    return taken.length;
  };

  readonly wait: FrameIo['wait'] = (_fd, _timeoutUs, isAwake) => {
    this.asked.push(isAwake ? 'wait awake' : 'wait');
    return this.frames.length > 0;
  };

  readonly write: FrameIo['write'] = (_fd, _bytes, list, count, refused) => {
    this.asked.push(`write ${count}`);
    let refusals = 0;
    for (let i = 0, at = 0; i < count; i++) {
      const pieces = list[at] as number;
      if (this.refuses.includes(this.written++)) {
        list[at] = -pieces;
        refusals++;
      }
      at += 1 + 2 * pieces;
    }
    refused[0] = refusals;
    return count - refusals;
  };
}

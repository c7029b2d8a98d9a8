/**
 * Copies frames for somebody who captures: each as it came in, and what it became as it is handed on, before frames are joined
 * (coalesce.ts): what the network sees behind the kernel. A super-frame is one frame.
 */
import { CaptureWriter, KIND_IN, KIND_OUT, SIDE_V4, SIDE_V6 } from '../shm/capture-ring.js';
import type { CaptureTask, HostFilter } from '../shm/worker-task.js';
import { type Address6, mask4, maskWord6 } from '../wire/address.js';
import {
  IPV4_DESTINATION,
  IPV4_HEADER,
  IPV4_SOURCE,
  IPV6_DESTINATION,
  IPV6_HEADER,
  IPV6_SOURCE,
} from '../wire/ip.js';
import { VNET_HEADER } from '../wire/vnet.js';
import { type Context, HOLD } from './context.js';
import type { FrameWatcher } from './frame-watcher.js';
import { embed, extract, hostOf4, hostOf6, isInPref64 } from './resolve.js';

/** No record: there was no room, or its side is not captured. */
const NO_ROOM = -1;
const NONE = -2;

export class Capture implements FrameWatcher {
  readonly id: number;
  readonly #ctx: Context;
  readonly #writer: CaptureWriter;
  readonly #snapLength: number;
  readonly #wants: readonly [v6: boolean, v4: boolean];
  readonly #matches: (offset: number, length: number) => boolean;
  /** Of the frame in hand. */
  #number = 0;
  #isWanted = false;
  #isNew = true;
  #record = NONE;
  #listStart = 0;

  constructor(ctx: Context, { id, ring, host, side, snapLength }: CaptureTask) {
    this.id = id;
    this.#ctx = ctx;
    this.#writer = new CaptureWriter(ring);
    this.#snapLength = snapLength;
    this.#wants = [side !== 'v4', side !== 'v6'];
    this.#matches = host === null ? () => true : matcher(ctx, host);
  }

  before(offset: number, length: number, isNew: boolean): void {
    this.#isWanted = this.#matches(offset, length);
    if (!this.#isWanted) return;
    this.#isNew = isNew;
    this.#number = this.#writer.nextNumber();
    // A held frame stands there from when it came. Unless it is dropped now, which must be told.
    this.#record = this.#open(KIND_IN, offset, length);
    if (this.#record >= 0) this.#copy(this.#record, 0, offset, length);
    this.#listStart = this.#ctx.listEnd;
  }

  after(verdict: number): void {
    if (!this.#isWanted) return;
    const record = this.#record;
    const isTold = this.#isNew || verdict > 0;
    if (record >= 0) {
      if (isTold) this.#writer.setVerdict(record, verdict);
      else this.#writer.cancel(record);
    } else if (record === NO_ROOM && !isTold) this.#writer.cancelLost(KIND_IN | SIDE_V6);
    if (verdict !== HOLD) this.#captureList();
    this.#writer.publish();
  }

  /** What the frame in hand has become: the frames that were put on the list since. */
  #captureList(): void {
    const { list, listEnd } = this.#ctx;
    for (let at = this.#listStart; at < listEnd; ) {
      const pieces = list[at] as number;
      const offset = (list[at + 1] as number) + VNET_HEADER;
      const end = at + 1 + 2 * pieces;
      let length = -VNET_HEADER;
      for (let i = at + 2; i < end; i += 2) length += list[i] as number;
      const record = this.#open(KIND_OUT, offset, length);
      if (record >= 0) {
        let copied = this.#copy(record, 0, offset, (list[at + 2] as number) - VNET_HEADER);
        for (let i = at + 3; i < end; i += 2)
          copied += this.#copy(record, copied, list[i] as number, list[i + 1] as number);
      }
      at = end;
    }
  }

  #open(kind: number, offset: number, length: number): number {
    const isV6 = length > 0 && (this.#ctx.u8[offset] as number) >>> 4 === 6;
    const side = isV6 ? SIDE_V6 : SIDE_V4;
    if (this.#wants[side] !== true) return NONE;
    const captured = Math.min(length, this.#snapLength);
    return this.#writer.open(kind | side, length, captured, this.#number, offset);
  }

  /** Copies a piece behind `before` bytes of a record, as far as it is captured; how much that was. */
  #copy(record: number, before: number, from: number, length: number): number {
    const size = Math.min(length, this.#snapLength - before);
    if (size <= 0) return 0;
    this.#writer.u8.set(this.#ctx.u8.subarray(from, from + size), this.#writer.bytesOf(record) + before);
    return size;
  }
}

/**
 * Whether a frame is one of these hosts', by the addresses in it or by those that they stand for. Looking a map up marks it as
 * used, as the translation that follows does.
 */
function matcher(ctx: Context, { family, prefix }: HostFilter): (offset: number, length: number) => boolean {
  const { address, length: bits } = prefix;
  if (family === 4) {
    const mask = mask4(bits);
    const isHost = (ipv4: number) => ((ipv4 ^ (address as number)) & mask) === 0;
    return (offset, length) => {
      const { dv } = ctx;
      const version = length > 0 ? (ctx.u8[offset] as number) >>> 4 : 0;
      if (version === 4 && length >= IPV4_HEADER)
        return isHost(dv.getInt32(offset + IPV4_SOURCE)) || isHost(dv.getInt32(offset + IPV4_DESTINATION));
      if (version !== 6 || length < IPV6_HEADER) return false;
      const is = (at: number) => {
        const w0 = dv.getInt32(at);
        const w1 = dv.getInt32(at + 4);
        const w2 = dv.getInt32(at + 8);
        const w3 = dv.getInt32(at + 12);
        if (isInPref64(ctx, w0, w1, w2)) return isHost(extract(ctx, w1, w2, w3));
        return hostOf6(ctx, w0, w1, w2, w3) && isHost(ctx.found4);
      };
      return is(offset + IPV6_SOURCE) || is(offset + IPV6_DESTINATION);
    };
  }
  const [h0, h1, h2, h3] = address as Address6;
  const [m0, m1, m2, m3] = [maskWord6(bits, 0), maskWord6(bits, 1), maskWord6(bits, 2), maskWord6(bits, 3)];
  const isHost = (w0: number, w1: number, w2: number, w3: number) =>
    (((w0 ^ h0) & m0) | ((w1 ^ h1) & m1) | ((w2 ^ h2) & m2) | ((w3 ^ h3) & m3)) === 0;
  const isHostAt = ({ dv }: Context, at: number) =>
    isHost(dv.getInt32(at), dv.getInt32(at + 4), dv.getInt32(at + 8), dv.getInt32(at + 12));
  const isFound = () => isHost(ctx.found0, ctx.found1, ctx.found2, ctx.found3);
  const is4 = (ipv4: number) => {
    if (!hostOf4(ctx, ipv4)) embed(ctx, ipv4);
    return isFound();
  };
  return (offset, length) => {
    const version = length > 0 ? (ctx.u8[offset] as number) >>> 4 : 0;
    if (version === 4 && length >= IPV4_HEADER)
      return is4(ctx.dv.getInt32(offset + IPV4_SOURCE)) || is4(ctx.dv.getInt32(offset + IPV4_DESTINATION));
    if (version !== 6 || length < IPV6_HEADER) return false;
    const to = offset + IPV6_DESTINATION;
    if (isHostAt(ctx, offset + IPV6_SOURCE) || isHostAt(ctx, to)) return true;
    // A hairpin: the destination stands for a host behind us.
    const { dv } = ctx;
    const w1 = dv.getInt32(to + 4);
    const w2 = dv.getInt32(to + 8);
    if (!isInPref64(ctx, dv.getInt32(to), w1, w2)) return false;
    return hostOf4(ctx, extract(ctx, w1, w2, dv.getInt32(to + 12))) && isFound();
  };
}

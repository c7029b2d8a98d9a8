/** Runs the coalescer on frames in memory, and cuts what it made as the kernel does. */
import { Coalescer } from '#nat64d/dataplane/coalesce.js';
import { BURST_BYTES, HEADROOM } from '#nat64d/shm/frame-ring.js';
import type { TranslatorSettings } from '#nat64d/shm/worker-task.js';
import { VNET_HEADER } from '#nat64d/wire/vnet.js';
import { Harness, listedFrames, putVnet } from './harness.js';
import { checksum, pseudo4, pseudo6, u16, withU16 } from './reference/bytes.js';
import { CHECKSUM_AT, type Frame, inspectOffload, NO_VNET, segmentFrame } from './reference/offload.js';

/** A frame as the translator leaves it; with two pieces, as it leaves fragments that it made. */
export interface Listed extends Frame {
  readonly pieces?: 1 | 2;
}

/** What one coalescer makes of bursts, one after another. */
export class Joiner {
  readonly harness: Harness;
  readonly #coalescer: Coalescer;

  constructor(coalesce: TranslatorSettings['coalesce'] = 'all') {
    this.harness = new Harness({ settings: { coalesce } });
    this.#coalescer = new Coalescer(this.harness.ctx);
  }

  run(burst: readonly Listed[]): Frame[] {
    const { ctx } = this.harness;
    let end = 0;
    let listEnd = 0;
    for (const { bytes, vnet, pieces = 1 } of burst) {
      const offset = end + HEADROOM;
      end = offset + bytes.length;
      if (end > BURST_BYTES) throw new Error('the burst does not fit');
      ctx.u8.set(bytes, offset);
      putVnet(ctx, offset, vnet);
      const cut = pieces === 1 ? bytes.length : 48;
      ctx.list.set([pieces, offset - VNET_HEADER, VNET_HEADER + cut], listEnd);
      if (pieces === 2) ctx.list.set([offset + cut, bytes.length - cut], listEnd + 3);
      listEnd += 1 + 2 * pieces;
    }
    ctx.listEnd = listEnd;
    ctx.listFrames = burst.length;
    const joined = this.#coalescer.run();
    return joined === 0
      ? listedFrames(ctx.u8, ctx.list, burst.length)
      : listedFrames(ctx.u8, this.#coalescer.list, joined);
  }
}

function upperOf(bytes: Uint8Array): { protocol: number; offset: number } {
  const isV4 = bytes[0]! >> 4 === 4;
  return { protocol: bytes[isV4 ? 9 : 6]!, offset: isV4 ? 20 : 40 };
}

/** The packets that the kernel makes of a frame, checksums complete. */
export function cut(frame: Frame): Uint8Array[] {
  const { protocol, offset } = upperOf(frame.bytes);
  const offload = inspectOffload(frame.vnet, frame.bytes, offset, protocol, 'none');
  if (offload.kind === 'super') return segmentFrame(frame.bytes, offset, protocol, offload);
  if (offload.kind === 'plain') return [frame.bytes];
  const sum = checksum(offload.upper) || (protocol === 17 ? 0xffff : 0);
  return [withU16(frame.bytes, offset + CHECKSUM_AT.get(protocol)!, sum)];
}

/** The frame with the sum of its pseudo-header in the place of its checksum, left to an offload. */
export function asPartial(bytes: Uint8Array): Frame {
  const { protocol, offset } = upperOf(bytes);
  const field = CHECKSUM_AT.get(protocol)!;
  const address = (at: number, size: number) =>
    BigInt(`0x${Buffer.from(bytes.slice(at, at + size)).toString('hex')}`);
  const length = bytes.length - offset;
  const pseudo =
    offset === 20
      ? pseudo4(address(12, 4), address(16, 4), protocol, length)
      : pseudo6(address(8, 16), address(24, 16), protocol, length);
  const headerLength = protocol === 17 ? 8 : (bytes[offset + 12]! >> 4) * 4;
  return {
    bytes: withU16(bytes, offset + field, 0xffff - checksum(pseudo)),
    vnet: { ...NO_VNET, flags: 1, hdrLen: offset + headerLength, csumStart: offset, csumOffset: field },
  };
}

/** Without what joining may change: the identification of an IPv4 packet, and so its header's checksum, which must be right. */
export function withoutIdentification(bytes: Uint8Array): string {
  if (bytes[0]! >> 4 !== 4) return Buffer.from(bytes).toString('hex');
  if (checksum(bytes.subarray(0, 20)) !== 0) throw new Error('the IPv4 header has a wrong checksum');
  return Buffer.from(withU16(withU16(bytes, 4, 0), 10, 0)).toString('hex');
}

/** IPv4 identification of a packet. */
export const identification = (bytes: Uint8Array): number => u16(bytes, 4);

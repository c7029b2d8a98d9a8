/**
 * Super-frames cut in software, for those that an offload cannot carry on the other side: as the kernel would cut them,
 * then each segment is translated like any packet. A rare path, so it copies.
 */
import { counter } from '../shm/counters.js';
import { HEADROOM, MAX_SEGMENTS } from '../shm/frame-ring.js';
import { get16, set16 } from '../wire/bytes.js';
import { fold, sumBytes } from '../wire/checksum.js';
import {
  IPV4_CHECKSUM,
  IPV4_HEADER,
  IPV4_ID,
  IPV4_TOTAL_LENGTH,
  IPV6_HEADER,
  IPV6_PAYLOAD_LENGTH,
} from '../wire/ip.js';
import type { Context } from './context.js';
import { count, DROP_SUPER_FRAME, FORWARD, takeScratch } from './context.js';
import { copyBytes } from './emit.js';

const SEGMENTS_MADE = counter('segments-made');
const TCP_FLAGS = 13;
const TCP_FIN_PSH = 0x09;
const TCP_CWR = 0x80;

/**
 * Cuts the super-frame at `offset`, its upper-layer header at `upper`, into segments of gso_size, and hands each, with its
 * checksum in full, to `translate`. Returns the first verdict that is not FORWARD, or FORWARD.
 */
export function segmentSuperFrame(
  ctx: Context,
  offset: number,
  upper: number,
  end: number,
  translate: (ctx: Context, offset: number, length: number) => number,
): number {
  const { u8, dv, gsoSize, checksumFieldOffset } = ctx;
  const isUdp = checksumFieldOffset === 6;
  const upperHeader = isUdp ? 8 : ((u8[upper + 12] as number) >>> 4) * 4;
  const headers = upper - offset + upperHeader;
  const payload = end - offset - headers;
  const segments = Math.ceil(payload / gsoSize);
  if (upperHeader < (isUdp ? 8 : 20) || payload <= 0 || segments > MAX_SEGMENTS) return DROP_SUPER_FRAME;
  const isV6 = (u8[offset] as number) >>> 4 === 6;
  // The partial sum covers addresses, protocol and the whole length; each segment has its own length.
  const wholeLength = end - upper;
  const partial = get16(u8, upper + checksumFieldOffset);
  const sequence = dv.getInt32(upper + 4);
  const flags = u8[upper + TCP_FLAGS] as number;
  const identification = get16(u8, offset + IPV4_ID);

  ctx.gsoType = 0;
  ctx.needsChecksum = false;
  let verdict = FORWARD;
  for (let i = 0; i < segments; i++) {
    const from = i * gsoSize;
    const size = Math.min(gsoSize, payload - from);
    const length = headers + size;
    const at = takeScratch(ctx, HEADROOM + length) + HEADROOM;
    copyBytes(ctx, offset, at, headers);
    copyBytes(ctx, offset + headers + from, at + headers, size);

    const upperAt = at + (upper - offset);
    const upperLength = upperHeader + size;
    if (isV6) {
      set16(u8, at + IPV6_PAYLOAD_LENGTH, length - IPV6_HEADER);
    } else {
      set16(u8, at + IPV4_TOTAL_LENGTH, length);
      set16(u8, at + IPV4_ID, identification + i);
      set16(u8, at + IPV4_CHECKSUM, 0);
      const headerLength = ((u8[at] as number) & 15) * 4;
      set16(u8, at + IPV4_CHECKSUM, ~fold(sumBytes(dv, at, Math.max(headerLength, IPV4_HEADER))) & 0xffff);
    }
    if (isUdp) {
      set16(u8, upperAt + 4, upperLength);
    } else {
      dv.setInt32(upperAt + 4, sequence + from);
      let segmentFlags = flags;
      if (i < segments - 1) segmentFlags &= ~TCP_FIN_PSH;
      if (i > 0) segmentFlags &= ~TCP_CWR;
      u8[upperAt + TCP_FLAGS] = segmentFlags;
    }
    // The pseudo-header's sum without the whole length and with this one, then everything under it.
    set16(u8, upperAt + checksumFieldOffset, fold(partial + (0xffff - fold(wholeLength)) + upperLength));
    const sum = ~fold(sumBytes(dv, upperAt, upperLength)) & 0xffff;
    set16(u8, upperAt + checksumFieldOffset, sum === 0 && isUdp ? 0xffff : sum);

    count(ctx, SEGMENTS_MADE, 1);
    const one = translate(ctx, at, length);
    if (verdict === FORWARD) verdict = one;
  }
  return verdict;
}

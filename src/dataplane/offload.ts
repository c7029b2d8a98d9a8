/** What a virtio-net header leaves to an offload, checked on the way in and said again on the way out. */
import { checksumOffset, PROTO_TCP, PROTO_UDP } from '../wire/ip.js';
import { GSO_ECN, GSO_UDP_L4 } from '../wire/vnet.js';
import type { Context } from './context.js';
import { DROP_SUPER_FRAME, FORWARD } from './context.js';
import { completeChecksum, emitOffloaded, emitPlain } from './emit.js';

/** Length of a TCP or UDP header. */
export function upperHeaderLength(ctx: Context, upper: number, protocol: number): number {
  return protocol === PROTO_TCP ? ((ctx.u8[upper + 12] as number) >>> 4) * 4 : 8;
}

/**
 * Checks that the virtio-net header fits the frame in hand; does in software what no offload could do on the other side.
 * @param tcpGso the GSO type of TCP on the side that the frame comes from
 * @param isWhole the frame is no fragment
 */
export function checkOffload(
  ctx: Context,
  offset: number,
  upper: number,
  end: number,
  protocol: number,
  isWhole: boolean,
  tcpGso: number,
): number {
  const fits =
    isWhole &&
    ctx.needsChecksum &&
    ctx.checksumStart === upper - offset &&
    ctx.checksumFieldOffset === checksumOffset(protocol);
  if (ctx.gsoType !== 0) {
    const kind = ctx.gsoType & ~GSO_ECN;
    const headerLength = upperHeaderLength(ctx, upper, protocol);
    const isKnown =
      (kind === tcpGso && protocol === PROTO_TCP && headerLength >= 20) ||
      (kind === GSO_UDP_L4 && protocol === PROTO_UDP);
    if (end - upper < Math.max(headerLength, 8)) return DROP_SUPER_FRAME;
    return isKnown && fits && ctx.gsoSize > 0 ? FORWARD : DROP_SUPER_FRAME;
  }
  // A sum that begins in the IP header is no checksum of what follows it.
  const isBehindHeader = ctx.checksumStart >= upper - offset;
  if (!fits && !(isBehindHeader && completeChecksum(ctx, offset, end))) return DROP_SUPER_FRAME;
  return FORWARD;
}

/**
 * Emits a translated packet, with what its frame had left to an offload.
 * @param ipHeader length of the new IP header, at `header`
 * @param tcpGso the GSO type of TCP on the side that the packet goes to
 */
export function emitTranslated(
  ctx: Context,
  header: number,
  length: number,
  ipHeader: number,
  protocol: number,
  tcpGso: number,
): void {
  if (!ctx.needsChecksum) {
    emitPlain(ctx, header, length);
    return;
  }
  const gsoType =
    ctx.gsoType === 0 ? 0 : protocol === PROTO_TCP ? tcpGso | (ctx.gsoType & GSO_ECN) : GSO_UDP_L4;
  const headers = ipHeader + upperHeaderLength(ctx, header + ipHeader, protocol);
  emitOffloaded(ctx, header, length, gsoType, headers, ipHeader);
}

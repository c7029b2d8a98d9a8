/** Frames leave the translator here: the virtio-net header is written and the frame put on the list for the next write. */
import { set16 } from '../wire/bytes.js';
import { fold, sumBytes } from '../wire/checksum.js';
import { VNET_HEADER, VNET_NEEDS_CSUM } from '../wire/vnet.js';
import type { Context } from './context.js';

function set16le(u8: Uint8Array, offset: number, value: number): void {
  u8[offset] = value;
  u8[offset + 1] = value >>> 8;
}

/** Reads the virtio-net header before `offset` into the context. */
export function readVnetHeader(ctx: Context, offset: number): void {
  const { u8, dv } = ctx;
  const at = offset - VNET_HEADER;
  const word = dv.getInt32(at);
  ctx.needsChecksum = ((word >>> 24) & VNET_NEEDS_CSUM) !== 0;
  ctx.validMark = (word >>> 24) & ctx.validMask;
  ctx.gsoType = (word >>> 16) & 0xff;
  // Most frames leave nothing to an offload, and the other fields mean nothing then.
  if (word >>> 16 === 0) return;
  ctx.gsoSize = (u8[at + 4] as number) | ((u8[at + 5] as number) << 8);
  ctx.checksumStart = (u8[at + 6] as number) | ((u8[at + 7] as number) << 8);
  ctx.checksumFieldOffset = (u8[at + 8] as number) | ((u8[at + 9] as number) << 8);
}

/**
 * Puts a frame on the list that leaves nothing to an offload. Its virtio-net header is zero, but for the mark of a valid checksum
 * where frames are joined afterwards (coalesce.ts takes it away).
 */
export function emitPlain(ctx: Context, offset: number, length: number): void {
  const { dv } = ctx;
  const at = offset - VNET_HEADER;
  dv.setInt32(at, ctx.validMark << 24);
  dv.setInt32(at + 4, 0);
  dv.setInt16(at + 8, 0);
  push(ctx, at, length);
}

/**
 * Puts a frame on the list whose checksum, and segmentation if `gsoType` is not 0, is left to an offload.
 * @param headerLength of all headers
 * @param checksumStart where the upper-layer header begins, from the start of the frame
 */
export function emitOffloaded(
  ctx: Context,
  offset: number,
  length: number,
  gsoType: number,
  headerLength: number,
  checksumStart: number,
): void {
  const at = offset - VNET_HEADER;
  const gsoSize = gsoType === 0 ? 0 : ctx.gsoSize;
  writeVnetHeader(ctx, at, gsoType, headerLength, gsoSize, checksumStart, ctx.checksumFieldOffset);
  push(ctx, at, length);
}

/** Writes a virtio-net header at `at` that leaves the checksum to an offload; see wire/vnet.ts for the fields. */
export function writeVnetHeader(
  ctx: Context,
  at: number,
  gsoType: number,
  headerLength: number,
  gsoSize: number,
  checksumStart: number,
  checksumField: number,
): void {
  const { u8 } = ctx;
  u8[at] = VNET_NEEDS_CSUM;
  u8[at + 1] = gsoType;
  set16le(u8, at + 2, headerLength);
  set16le(u8, at + 4, gsoSize);
  set16le(u8, at + 6, checksumStart);
  set16le(u8, at + 8, checksumField);
}

function push(ctx: Context, vnetAt: number, length: number): void {
  const { list } = ctx;
  const end = ctx.listEnd;
  list[end] = 1;
  list[end + 1] = vnetAt;
  list[end + 2] = length + VNET_HEADER;
  ctx.listEnd = end + 3;
  ctx.listFrames++;
  ctx.listBytes += length;
}

/** Puts a frame of two pieces on the list: headers at `offset` with a zero virtio-net header before them, and a payload. */
export function emitPieces(
  ctx: Context,
  offset: number,
  headerLength: number,
  payload: number,
  payloadLength: number,
): void {
  const { dv, list } = ctx;
  const at = offset - VNET_HEADER;
  dv.setInt32(at, 0);
  dv.setInt32(at + 4, 0);
  dv.setInt16(at + 8, 0);
  const end = ctx.listEnd;
  list[end] = 2;
  list[end + 1] = at;
  list[end + 2] = headerLength + VNET_HEADER;
  list[end + 3] = payload;
  list[end + 4] = payloadLength;
  ctx.listEnd = end + 5;
  ctx.listFrames++;
  ctx.listBytes += headerLength + payloadLength;
}

/**
 * Does in software what NEEDS_CSUM leaves to an offload: sums from the upper-layer header to the end, over the
 * pseudo-header sum that the field holds. False where the virtio-net header points outside the frame.
 */
export function completeChecksum(ctx: Context, offset: number, end: number): boolean {
  const start = offset + ctx.checksumStart;
  const field = start + ctx.checksumFieldOffset;
  if (field + 2 > end) return false;
  const sum = ~fold(sumBytes(ctx.dv, start, end - start)) & 0xffff;
  // A UDP sum of 0 would mean "none"; for the others 0xffff is the same number.
  set16(ctx.u8, field, sum === 0 ? 0xffff : sum);
  ctx.needsChecksum = false;
  return true;
}

/** Copies bytes inside the ring. For rare paths: headers on the fast path move by being written anew. */
export function copyBytes(ctx: Context, from: number, to: number, length: number): void {
  const { u8, dv } = ctx;
  const words = length & ~3;
  for (let i = 0; i < words; i += 4) dv.setInt32(to + i, dv.getInt32(from + i));
  for (let i = words; i < length; i++) u8[to + i] = u8[from + i] as number;
}

/** Writes zeros. */
export function zeroBytes(ctx: Context, offset: number, length: number): void {
  for (let i = 0; i < length; i++) ctx.u8[offset + i] = 0;
}

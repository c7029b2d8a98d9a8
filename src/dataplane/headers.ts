/** Writes whole IP headers from their fields. */
import { set16 } from '../wire/bytes.js';
import { fold, sumWord } from '../wire/checksum.js';
import { IPV4_CHECKSUM } from '../wire/ip.js';
import type { Context } from './context.js';

/**
 * Writes an IPv4 header without options, checksum included, at `at`.
 * @param fragment the header's second word: identification, flags and fragment offset
 */
export function writeIpv4Header(
  ctx: Context,
  at: number,
  tos: number,
  totalLength: number,
  fragment: number,
  ttl: number,
  protocol: number,
  source: number,
  destination: number,
): void {
  const { dv } = ctx;
  const first = 0x45000000 | (tos << 16) | totalLength;
  const third = (ttl << 24) | (protocol << 16);
  dv.setInt32(at, first);
  dv.setInt32(at + 4, fragment);
  dv.setInt32(at + 8, third);
  dv.setInt32(at + 12, source);
  dv.setInt32(at + 16, destination);
  const sum = sumWord(first) + sumWord(fragment) + sumWord(third) + sumWord(source) + sumWord(destination);
  set16(ctx.u8, at + IPV4_CHECKSUM, ~fold(sum) & 0xffff);
}

/** Writes an IPv6 header with flow label 0 at `at`. */
export function writeIpv6Header(
  ctx: Context,
  at: number,
  trafficClass: number,
  payloadLength: number,
  nextHeader: number,
  hopLimit: number,
  s0: number,
  s1: number,
  s2: number,
  s3: number,
  d0: number,
  d1: number,
  d2: number,
  d3: number,
): void {
  const { dv } = ctx;
  dv.setInt32(at, 0x60000000 | (trafficClass << 20));
  dv.setInt32(at + 4, (payloadLength << 16) | (nextHeader << 8) | hopLimit);
  dv.setInt32(at + 8, s0);
  dv.setInt32(at + 12, s1);
  dv.setInt32(at + 16, s2);
  dv.setInt32(at + 20, s3);
  dv.setInt32(at + 24, d0);
  dv.setInt32(at + 28, d1);
  dv.setInt32(at + 32, d2);
  dv.setInt32(at + 36, d3);
}

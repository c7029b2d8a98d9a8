/**
 * ICMP errors of our own, about a frame that cannot go on. The error is built in the frame's headroom: the offender stays
 * where it is and becomes the quoted packet.
 *
 * Never about an ICMP error, a fragment but the first, or a source that is no host (RFC 1122 section 3.2.2, RFC 4443
 * section 2.4 e). A token bucket limits them (RFC 4443 section 2.4 f, RFC 1812 section 4.3.2.8).
 */
import { counter } from '../shm/counters.js';
import { get16, set16 } from '../wire/bytes.js';
import { fold, sumAddress6, sumBytes } from '../wire/checksum.js';
import { ICMP_HEADER, ICMP6_FIRST_INFORMATIONAL, ICMP6_REDIRECT, isIcmp4Error } from '../wire/icmp.js';
import {
  IPV4_DESTINATION,
  IPV4_FRAGMENT,
  IPV4_HEADER,
  IPV4_OFFSET_MASK,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  IPV6_HEADER,
  IPV6_MINIMUM_MTU,
  IPV6_SOURCE,
  PROTO_ICMP,
  PROTO_ICMPV6,
} from '../wire/ip.js';
import type { Context } from './context.js';
import { count, FORWARD } from './context.js';
import { emitPlain } from './emit.js';
import { DROP_ROUTING, walkExtensionHeaders } from './extension-headers.js';
import { writeIpv4Header, writeIpv6Header } from './headers.js';
import { checkHost6, hostOf6, isFromPool, isInPref64 } from './resolve.js';

const SENT = counter('icmp-errors-sent');
const SUPPRESSED = counter('icmp-errors-suppressed');

/** What an IPv4 router may quote: the whole error stays within 576 bytes (RFC 1812 section 4.3.2.3). */
const ICMP4_ERROR_MAX = 576;
const OWN_TTL = 64;

/**
 * Whether the budget allows an error now; takes one from it. The clock is read only when an error is due.
 *
 * Those to hosts without a map have a small budget of their own in it, for all workers together. Where sources are forged out of
 * the prefix of a link here, the kernel looks for a neighbour for each error, and where there are a thousand such, for nobody else.
 */
function takeToken(ctx: Context, isStranger: boolean): boolean {
  const nowMs = performance.now();
  const passedMs = nowMs - ctx.icmpRefillMs;
  ctx.icmpTokens = Math.min(ctx.icmpTokens + passedMs * ctx.icmpErrorsPerMs, ctx.icmpErrorBurst);
  ctx.icmpStrangerTokens = Math.min(
    ctx.icmpStrangerTokens + passedMs * ctx.icmpStrangerErrorsPerMs,
    ctx.icmpErrorBurst,
  );
  ctx.icmpRefillMs = nowMs;
  if (ctx.icmpTokens < 1 || (isStranger && ctx.icmpStrangerTokens < 1)) {
    count(ctx, SUPPRESSED, 1);
    return false;
  }
  ctx.icmpTokens -= 1;
  if (isStranger) ctx.icmpStrangerTokens -= 1;
  count(ctx, SENT, 1);
  return true;
}

/** Whether an IPv6 host has no map, though it might. A map is marked as used, as by any packet of its host. */
function isStranger(ctx: Context, w0: number, w1: number, w2: number, w3: number): boolean {
  // To a CLAT, those under pref64 are the IPv4 internet, behind a router.
  if (ctx.clat && isInPref64(ctx, w0, w1, w2)) return false;
  return !hostOf6(ctx, w0, w1, w2, w3);
}

/** Whether an IPv4 address can be the source of a packet that deserves an answer. */
function isHost4(address: number): boolean {
  const top = address >>> 24;
  return top !== 0 && top !== 127 && top < 224;
}

/**
 * Sends an ICMPv4 error about the IPv4 packet at `offset`, unchanged so far.
 * @param rest the second word of the ICMP header: next-hop MTU, or a pointer in its top byte
 */
export function sendIcmp4Error(
  ctx: Context,
  offset: number,
  length: number,
  type: number,
  code: number,
  rest: number,
): void {
  const { u8, dv } = ctx;
  if ((get16(u8, offset + IPV4_FRAGMENT) & IPV4_OFFSET_MASK) !== 0) return;
  const source = dv.getInt32(offset + IPV4_SOURCE);
  if (!isHost4(source) || !isHost4(dv.getInt32(offset + IPV4_DESTINATION))) return;
  if (isFromPool(ctx, source)) return;
  const upper = offset + ((u8[offset] as number) & 15) * 4;
  if (u8[offset + IPV4_PROTOCOL] === PROTO_ICMP) {
    // What cannot be shown to be no error is left unanswered.
    if (upper >= offset + length || isIcmp4Error(u8[upper] as number)) return;
  }
  if (!takeToken(ctx, false)) return;

  const quoted = Math.min(length, ICMP4_ERROR_MAX - IPV4_HEADER - ICMP_HEADER);
  const icmp = offset - ICMP_HEADER;
  const start = icmp - IPV4_HEADER;
  const total = IPV4_HEADER + ICMP_HEADER + quoted;
  dv.setInt32(icmp, (type << 24) | (code << 16));
  dv.setInt32(icmp + 4, rest);
  set16(u8, icmp + 2, ~fold(sumBytes(dv, icmp, ICMP_HEADER + quoted)) & 0xffff);
  // Precedence 6 (internetwork control), RFC 1812 section 4.3.2.5.
  const fragment = ctx.takeIdentifications(1) << 16;
  writeIpv4Header(ctx, start, 0xc0, total, fragment, OWN_TTL, PROTO_ICMP, ctx.own4, source);
  emitPlain(ctx, start, total);
}

/**
 * Sends an ICMPv6 error about the IPv6 packet at `offset`, unchanged so far.
 * @param rest the second word of the ICMPv6 header: MTU or pointer
 */
export function sendIcmp6Error(
  ctx: Context,
  offset: number,
  length: number,
  type: number,
  code: number,
  rest: number,
): void {
  const { u8, dv } = ctx;
  const s0 = dv.getInt32(offset + IPV6_SOURCE);
  const s1 = dv.getInt32(offset + IPV6_SOURCE + 4);
  const s2 = dv.getInt32(offset + IPV6_SOURCE + 8);
  const s3 = dv.getInt32(offset + IPV6_SOURCE + 12);
  const isMulticast = s0 >>> 24 === 0xff;
  const isUnspecifiedOrLoopback = s0 === 0 && s1 === 0 && s2 === 0 && s3 >>> 1 === 0;
  if (isMulticast || isUnspecifiedOrLoopback) return;
  // A forged source is somebody who has not asked.
  if (checkHost6(ctx, s0, s1, s2, s3) !== FORWARD) return;
  const walk = walkExtensionHeaders(ctx, offset, offset + length);
  // What cannot be shown to be no error is left unanswered.
  if ((walk !== FORWARD && walk !== DROP_ROUTING) || ctx.fragmentOffset !== 0) return;
  if (ctx.upperProtocol === PROTO_ICMPV6) {
    if (ctx.upperOffset >= offset + length) return;
    // RFC 4443 section 2.4 e: never about an error, nor about a redirect.
    const quotedType = u8[ctx.upperOffset] as number;
    if (quotedType < ICMP6_FIRST_INFORMATIONAL || quotedType === ICMP6_REDIRECT) return;
  }
  if (!takeToken(ctx, isStranger(ctx, s0, s1, s2, s3))) return;

  const quoted = Math.min(length, IPV6_MINIMUM_MTU - IPV6_HEADER - ICMP_HEADER);
  const icmp = offset - ICMP_HEADER;
  const start = icmp - IPV6_HEADER;
  const upperLength = ICMP_HEADER + quoted;
  dv.setInt32(icmp, (type << 24) | (code << 16));
  dv.setInt32(icmp + 4, rest);
  const sum =
    sumAddress6(ctx.own60, ctx.own61, ctx.own62, ctx.own63) +
    sumAddress6(s0, s1, s2, s3) +
    upperLength +
    PROTO_ICMPV6 +
    sumBytes(dv, icmp, upperLength);
  set16(u8, icmp + 2, ~fold(sum) & 0xffff);
  writeIpv6Header(
    ctx,
    start,
    0,
    upperLength,
    PROTO_ICMPV6,
    OWN_TTL,
    ctx.own60,
    ctx.own61,
    ctx.own62,
    ctx.own63,
    s0,
    s1,
    s2,
    s3,
  );
  emitPlain(ctx, start, IPV6_HEADER + upperLength);
}

/** ICMPv6 → ICMPv4, RFC 7915 sections 5.2 and 5.3, in place. */
import { counter } from '../shm/counters.js';
import { HEADROOM } from '../shm/frame-ring.js';
import { get16, set16 } from '../wire/bytes.js';
import { adjustChecksum, fold, sumAddress6, sumBytes, sumWord } from '../wire/checksum.js';
import {
  ICMP_HEADER,
  ICMP4_DEST_UNREACHABLE,
  ICMP4_ECHO_REPLY,
  ICMP4_ECHO_REQUEST,
  ICMP4_FRAGMENTATION_NEEDED,
  ICMP4_HOST_ADMIN_PROHIBITED,
  ICMP4_HOST_UNREACHABLE,
  ICMP4_PARAMETER_PROBLEM,
  ICMP4_PORT_UNREACHABLE,
  ICMP4_PROTOCOL_UNREACHABLE,
  ICMP4_TIME_EXCEEDED,
  ICMP6_ADDRESS_UNREACHABLE,
  ICMP6_ADMIN_PROHIBITED,
  ICMP6_DEST_UNREACHABLE,
  ICMP6_ECHO_REPLY,
  ICMP6_ECHO_REQUEST,
  ICMP6_ERRONEOUS_HEADER,
  ICMP6_PACKET_TOO_BIG,
  ICMP6_PARAMETER_PROBLEM,
  ICMP6_PORT_UNREACHABLE,
  ICMP6_TIME_EXCEEDED,
  ICMP6_UNRECOGNIZED_NEXT_HEADER,
  pointer6to4,
} from '../wire/icmp.js';
import {
  checksumOffset,
  IPV4_DF,
  IPV4_HEADER,
  IPV6_DESTINATION,
  IPV6_HEADER,
  IPV6_HOP_LIMIT,
  IPV6_MINIMUM_MTU,
  IPV6_PAYLOAD_LENGTH,
  IPV6_SOURCE,
  meansNone,
  PROTO_ICMP,
  PROTO_ICMPV6,
  PROTO_UDP,
} from '../wire/ip.js';
import type { Context } from './context.js';
import { FORWARD } from './context.js';
import { walkExtensionHeaders } from './extension-headers.js';
import { writeIpv4Header } from './headers.js';
import { layOutError } from './icmp-extensions.js';
import { extract, hostOf6, isInPref64, mapTo4 } from './resolve.js';

const DROP_CHECKSUM = counter('drop-icmp-checksum');
const DROP_TYPE = counter('drop-icmp-type');
const DROP_QUOTE = counter('drop-icmp-quote');
const DROP_MISMATCH = counter('drop-icmp-quote-mismatch');

/** RFC 7915 section 5.2 keeps an error within what an IPv4 router sends (RFC 1812 section 4.3.2.3). */
const ERROR_MAX = 576 - IPV4_HEADER;

/** Echo request or reply: the type changes, and the pseudo-header leaves the checksum. */
export function translateEcho6(ctx: Context, upper: number, upperLength: number, addressSum: number): void {
  const { u8 } = ctx;
  const oldType = u8[upper] as number;
  const newType = oldType === ICMP6_ECHO_REQUEST ? ICMP4_ECHO_REQUEST : ICMP4_ECHO_REPLY;
  u8[upper] = newType;
  const removed = addressSum + upperLength + PROTO_ICMPV6 + (oldType << 8);
  set16(u8, upper + 2, adjustChecksum(get16(u8, upper + 2), removed, newType << 8));
}

/**
 * Translates the ICMPv6 error at `upper` and the packet it quotes. Sets `upperOffset` and `upperLength` to the ICMPv4
 * message; the caller writes the IPv4 header before it.
 * @param destination4 the IPv4 address that the error goes to: the quoted packet must have come from it
 * @param isHairpin it goes straight back to IPv6, so that no IPv4 MTU matters
 */
export function translateIcmp6Error(
  ctx: Context,
  offset: number,
  upper: number,
  end: number,
  destination4: number,
  isHairpin: boolean,
): number {
  const { u8, dv } = ctx;
  const length = end - upper;
  const pseudo = sumBytes(dv, offset + IPV6_SOURCE, 32) + length + PROTO_ICMPV6;
  if (fold(pseudo + sumBytes(dv, upper, length)) !== 0xffff) return DROP_CHECKSUM;
  const quote = upper + ICMP_HEADER;
  if (end - quote < IPV6_HEADER) return mapType(ctx, upper, false, isHairpin) ? DROP_QUOTE : DROP_TYPE;

  // RFC 4884 section 4.2: a length in 64-bit words says where the quoted packet ends and extensions begin.
  let quoteEnd = end;
  let extensions = end;
  const type = u8[upper] as number;
  if (type === ICMP6_DEST_UNREACHABLE || type === ICMP6_TIME_EXCEEDED) {
    const original = (u8[upper + 4] as number) * 8;
    if (original !== 0 && original <= end - quote) {
      quoteEnd = quote + original;
      extensions = quoteEnd;
    }
  }

  if ((u8[quote] as number) >>> 4 !== 6) return DROP_QUOTE;
  const quotedTotal = IPV6_HEADER + get16(u8, quote + IPV6_PAYLOAD_LENGTH);
  // What stands behind the quoted packet's own end is padding.
  quoteEnd = Math.min(quoteEnd, quote + quotedTotal);
  if (walkExtensionHeaders(ctx, quote, quoteEnd) !== FORWARD) return DROP_QUOTE;
  const {
    hasFragment,
    fragmentOffset,
    moreFragments,
    fragmentId,
    upperProtocol: protocol,
    upperOffset: payload,
  } = ctx;
  // An RFC 4884 length may end the quote inside its own header.
  if (payload > quoteEnd) return DROP_QUOTE;
  if (!mapType(ctx, upper, hasFragment, isHairpin)) return DROP_TYPE;

  // The quoted packet went the other way: its source is an IPv4 host's, its destination one of our hosts.
  const s0 = dv.getInt32(quote + IPV6_SOURCE);
  const s1 = dv.getInt32(quote + IPV6_SOURCE + 4);
  const s2 = dv.getInt32(quote + IPV6_SOURCE + 8);
  const s3 = dv.getInt32(quote + IPV6_SOURCE + 12);
  const d0 = dv.getInt32(quote + IPV6_DESTINATION);
  const d1 = dv.getInt32(quote + IPV6_DESTINATION + 4);
  const d2 = dv.getInt32(quote + IPV6_DESTINATION + 8);
  const d3 = dv.getInt32(quote + IPV6_DESTINATION + 12);
  let s4 = 0;
  const isFromPref64 = isInPref64(ctx, s0, s1, s2);
  if (isFromPref64) s4 = extract(ctx, s1, s2, s3);
  else if (mapTo4(ctx, s0, s1, s2, s3)) s4 = ctx.found4;
  else return DROP_MISMATCH;
  if (s4 !== destination4) return DROP_MISMATCH;
  if (ctx.clat && !isFromPref64 && isInPref64(ctx, d0, d1, d2)) ctx.found4 = extract(ctx, d1, d2, d3);
  else if (!hostOf6(ctx, d0, d1, d2, d3)) return DROP_MISMATCH;
  const d4 = ctx.found4;

  // No packet that came through here has ICMPv4's number, or is an ICMP message other than an echo.
  if (protocol === PROTO_ICMP) return DROP_QUOTE;
  if (protocol === PROTO_ICMPV6 && fragmentOffset === 0 && payload < quoteEnd) {
    const quotedType = u8[payload] as number;
    if (quotedType !== ICMP6_ECHO_REQUEST && quotedType !== ICMP6_ECHO_REPLY) return DROP_QUOTE;
  }
  const saysUpperLength = quotedTotal - (payload - quote);
  const quotedLength = quoteEnd - payload;
  let newProtocol = protocol;
  if (protocol === PROTO_ICMPV6) {
    newProtocol = PROTO_ICMP;
    if (fragmentOffset === 0 && quotedLength > 0) {
      const innerType = u8[payload] as number;
      const addressSum = sumAddress6(s0, s1, s2, s3) + sumAddress6(d0, d1, d2, d3);
      if (quotedLength >= 4) translateEcho6(ctx, payload, saysUpperLength, addressSum);
      else u8[payload] = innerType === ICMP6_ECHO_REQUEST ? ICMP4_ECHO_REQUEST : ICMP4_ECHO_REPLY;
    }
  } else if (fragmentOffset === 0) {
    const at = checksumOffset(protocol);
    if (at >= 0 && quotedLength >= at + 2) {
      const old = get16(u8, payload + at);
      if (old !== 0 || protocol !== PROTO_UDP) {
        const removed = sumAddress6(s0, s1, s2, s3) + sumAddress6(d0, d1, d2, d3);
        const sum = adjustChecksum(old, removed, sumWord(s4) + sumWord(d4));
        set16(u8, payload + at, sum === 0 && meansNone(protocol) ? 0xffff : sum);
      }
    }
  }

  // Lengths are converted from what they said, not from what is here.
  const trafficClass = (dv.getInt32(quote) >>> 20) & ctx.trafficClassMask;
  const hopLimit = u8[quote + IPV6_HOP_LIMIT] as number;
  const newTotal = IPV4_HEADER + saysUpperLength;
  let fragment = newTotal <= IPV6_MINIMUM_MTU - IPV4_HEADER ? 0 : IPV4_DF;
  if (hasFragment) fragment = (fragmentId << 16) | (moreFragments << 13) | fragmentOffset;
  const inner = payload - IPV4_HEADER;
  writeIpv4Header(ctx, inner, trafficClass, newTotal & 0xffff, fragment, hopLimit, newProtocol, s4, d4);

  const extensionsLength = ctx.icmpExtensible ? end - extensions : 0;
  const { icmpType, icmpCode } = ctx;
  // What turns round is cut by the second leg, to what IPv6 may carry.
  const maximum = isHairpin ? 0xffff : ERROR_MAX;
  const padded = layOutError(
    ctx,
    inner,
    quoteEnd - inner,
    extensions,
    extensionsLength,
    4,
    maximum,
    HEADROOM,
  );
  const at = ctx.upperOffset;
  dv.setInt32(at, (icmpType << 24) | (icmpCode << 16));
  dv.setInt32(at + 4, padded === 0 ? ctx.icmpRest : (padded / 4) << 16);
  set16(u8, at + 2, ~fold(sumBytes(dv, at, ctx.upperLength)) & 0xffff);
  return FORWARD;
}

/**
 * The table of RFC 7915 section 5.2: sets icmpType, icmpCode, icmpRest (the second word) and icmpExtensible of the context.
 * False where the message has no counterpart.
 */
function mapType(ctx: Context, upper: number, quotesFragment: boolean, isHairpin: boolean): boolean {
  const { u8, dv } = ctx;
  const code = u8[upper + 1] as number;
  ctx.icmpType = ICMP4_DEST_UNREACHABLE;
  ctx.icmpRest = 0;
  ctx.icmpExtensible = false;
  switch (u8[upper]) {
    case ICMP6_DEST_UNREACHABLE:
      ctx.icmpExtensible = true;
      if (code === ICMP6_ADMIN_PROHIBITED) ctx.icmpCode = ICMP4_HOST_ADMIN_PROHIBITED;
      else if (code === ICMP6_PORT_UNREACHABLE) ctx.icmpCode = ICMP4_PORT_UNREACHABLE;
      else if (code <= ICMP6_ADDRESS_UNREACHABLE) ctx.icmpCode = ICMP4_HOST_UNREACHABLE;
      else return false;
      return true;
    case ICMP6_PACKET_TOO_BIG: {
      ctx.icmpCode = ICMP4_FRAGMENTATION_NEEDED;
      // A quoted packet with a Fragment header was 28 bytes longer than its IPv4 original, not 20.
      const growth = IPV6_HEADER - IPV4_HEADER + (quotesFragment ? 8 : 0);
      const reported = dv.getUint32(upper + 4) - growth;
      const mtu = Math.min(reported, isHairpin ? reported : ctx.ipv4Mtu, ctx.ipv6Mtu - growth);
      // RFC 791: every IPv4 link carries 68 bytes; a smaller value is no router's.
      ctx.icmpRest = Math.max(mtu, 68);
      return true;
    }
    case ICMP6_TIME_EXCEEDED:
      ctx.icmpType = ICMP4_TIME_EXCEEDED;
      ctx.icmpCode = code;
      ctx.icmpExtensible = true;
      return true;
    case ICMP6_PARAMETER_PROBLEM: {
      if (code === ICMP6_UNRECOGNIZED_NEXT_HEADER) {
        ctx.icmpCode = ICMP4_PROTOCOL_UNREACHABLE;
        return true;
      }
      const pointer = code === ICMP6_ERRONEOUS_HEADER ? pointer6to4(dv.getInt32(upper + 4)) : -1;
      if (pointer < 0) return false;
      ctx.icmpType = ICMP4_PARAMETER_PROBLEM;
      ctx.icmpCode = 0;
      ctx.icmpRest = pointer << 24;
      return true;
    }
    default:
      return false;
  }
}

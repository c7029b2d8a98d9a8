/** ICMPv4 → ICMPv6, RFC 7915 sections 4.2 and 4.3, in place. */
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
  ICMP4_PARAMETER_PROBLEM,
  ICMP4_TIME_EXCEEDED,
  ICMP6_ADMIN_PROHIBITED,
  ICMP6_DEST_UNREACHABLE,
  ICMP6_ECHO_REPLY,
  ICMP6_ECHO_REQUEST,
  ICMP6_NO_ROUTE,
  ICMP6_PACKET_TOO_BIG,
  ICMP6_PARAMETER_PROBLEM,
  ICMP6_PORT_UNREACHABLE,
  ICMP6_TIME_EXCEEDED,
  ICMP6_UNRECOGNIZED_NEXT_HEADER,
  plateauBelow,
  pointer4to6,
} from '../wire/icmp.js';
import {
  cannotPass4,
  checksumOffset,
  FRAGMENT_HEADER,
  IPV4_DESTINATION,
  IPV4_HEADER,
  IPV4_MF,
  IPV4_OFFSET_MASK,
  IPV4_SOURCE,
  IPV6_HEADER,
  IPV6_MINIMUM_MTU,
  IPV6_NEXT_HEADER,
  meansNone,
  PROTO_FRAGMENT,
  PROTO_ICMP,
  PROTO_ICMPV6,
  PROTO_UDP,
} from '../wire/ip.js';
import type { Context } from './context.js';
import { FORWARD } from './context.js';
import { writeIpv6Header } from './headers.js';
import { layOutError } from './icmp-extensions.js';
import { checkSource, embed, embedForClat, hostOf4, mapTo6 } from './resolve.js';

const DROP_CHECKSUM = counter('drop-icmp-checksum');
const DROP_TYPE = counter('drop-icmp-type');
const DROP_QUOTE = counter('drop-icmp-quote');
const DROP_MISMATCH = counter('drop-icmp-quote-mismatch');

/** RFC 4443 section 2.4 c: an ICMPv6 error stays within the minimum MTU. */
const ERROR_MAX = IPV6_MINIMUM_MTU - IPV6_HEADER;

/** Echo request or reply: the type changes, and a pseudo-header joins the checksum. */
export function translateEcho4(ctx: Context, upper: number, upperLength: number, addressSum: number): void {
  const { u8 } = ctx;
  const oldType = u8[upper] as number;
  const newType = oldType === ICMP4_ECHO_REQUEST ? ICMP6_ECHO_REQUEST : ICMP6_ECHO_REPLY;
  u8[upper] = newType;
  const added = addressSum + upperLength + PROTO_ICMPV6 + (newType << 8);
  set16(u8, upper + 2, adjustChecksum(get16(u8, upper + 2), oldType << 8, added));
}

/**
 * Translates the ICMPv4 error at `upper` and the packet it quotes. Sets `upperOffset` and `upperLength` to the ICMPv6
 * message; the caller writes the IPv6 header before it.
 * @param destination4 the IPv4 address that the error goes to: the quoted packet must have come from it
 * @param addressSum the sum of the two IPv6 addresses of the error itself
 */
export function translateIcmp4Error(
  ctx: Context,
  upper: number,
  end: number,
  destination4: number,
  addressSum: number,
): number {
  const { u8, dv } = ctx;
  if (fold(sumBytes(dv, upper, end - upper)) !== 0xffff) return DROP_CHECKSUM;
  const quote = upper + ICMP_HEADER;
  if (end - quote < IPV4_HEADER) return DROP_QUOTE;
  if (!mapType(ctx, upper, quote)) return DROP_TYPE;

  // RFC 4884 section 4.1: a length in 32-bit words says where the quoted packet ends and extensions begin.
  let quoteEnd = end;
  let extensions = end;
  const original = (u8[upper + 5] as number) * 4;
  const type = u8[upper] as number;
  const mayExtend =
    type === ICMP4_DEST_UNREACHABLE || type === ICMP4_TIME_EXCEEDED || type === ICMP4_PARAMETER_PROBLEM;
  if (mayExtend && original !== 0 && original <= end - quote) {
    quoteEnd = quote + original;
    extensions = quoteEnd;
  }

  const first = dv.getInt32(quote);
  const headerLength = ((first >>> 24) & 15) * 4;
  const quotedTotal = first & 0xffff;
  if (first >>> 28 !== 4 || headerLength < IPV4_HEADER || quotedTotal < headerLength) return DROP_QUOTE;
  // What stands behind the quoted packet's own end is padding.
  quoteEnd = Math.min(quoteEnd, quote + quotedTotal);
  const payload = quote + headerLength;
  if (payload > quoteEnd) return DROP_QUOTE;
  const second = dv.getInt32(quote + 4);
  const third = dv.getInt32(quote + 8);
  const protocol = (third >>> 16) & 0xff;
  const fragmentOffset = second & IPV4_OFFSET_MASK;
  const isFragment = (second & (IPV4_MF | IPV4_OFFSET_MASK)) !== 0;

  // The quoted packet went the other way: its source is one of our hosts, its destination an IPv4 host.
  const s4 = dv.getInt32(quote + IPV4_SOURCE);
  const d4 = dv.getInt32(quote + IPV4_DESTINATION);
  if (s4 !== destination4) return DROP_MISMATCH;
  if (!hostOf4(ctx, s4) && !embedForClat(ctx, d4, s4)) return DROP_MISMATCH;
  const s0 = ctx.found0;
  const s1 = ctx.found1;
  const s2 = ctx.found2;
  const s3 = ctx.found3;
  // On the second leg of a hairpin the host addressed its peer under pref64, as the packet's own destination shows.
  if (ctx.hairpin || !mapTo6(ctx, d4)) {
    if (!ctx.hairpin && checkSource(ctx, d4) !== FORWARD) return DROP_MISMATCH;
    embed(ctx, d4);
  }
  const d0 = ctx.found0;
  const d1 = ctx.found1;
  const d2 = ctx.found2;
  const d3 = ctx.found3;

  if (cannotPass4(protocol)) return DROP_QUOTE;
  const saysUpperLength = quotedTotal - headerLength;
  const quotedLength = quoteEnd - payload;
  const quotedSum = sumAddress6(s0, s1, s2, s3) + sumAddress6(d0, d1, d2, d3);
  let newProtocol = protocol;
  if (protocol === PROTO_ICMP) {
    newProtocol = PROTO_ICMPV6;
    if (fragmentOffset === 0 && quotedLength > 0) {
      const innerType = u8[payload] as number;
      if (innerType !== ICMP4_ECHO_REQUEST && innerType !== ICMP4_ECHO_REPLY) return DROP_QUOTE;
      if (quotedLength >= 4) translateEcho4(ctx, payload, saysUpperLength, quotedSum);
      else u8[payload] = innerType === ICMP4_ECHO_REQUEST ? ICMP6_ECHO_REQUEST : ICMP6_ECHO_REPLY;
    }
  } else if (fragmentOffset === 0) {
    const at = checksumOffset(protocol);
    if (at >= 0 && quotedLength >= at + 2) {
      const old = get16(u8, payload + at);
      if (old !== 0 || protocol !== PROTO_UDP) {
        const sum = adjustChecksum(old, sumWord(s4) + sumWord(d4), quotedSum);
        set16(u8, payload + at, sum === 0 && meansNone(protocol) ? 0xffff : sum);
      }
    }
  }

  // Lengths are converted from what they said, not from what is here.
  const trafficClass = (first >>> 16) & ctx.trafficClassMask;
  let inner = payload - IPV6_HEADER;
  let newPayloadLength = saysUpperLength;
  if (isFragment) {
    inner -= FRAGMENT_HEADER;
    newPayloadLength += FRAGMENT_HEADER;
    const more = (second & IPV4_MF) !== 0 ? 1 : 0;
    dv.setInt32(payload - 8, (newProtocol << 24) | (fragmentOffset << 3) | more);
    dv.setInt32(payload - 4, second >>> 16);
    newProtocol = PROTO_FRAGMENT;
  }
  writeIpv6Header(
    ctx,
    inner,
    trafficClass,
    newPayloadLength & 0xffff,
    newProtocol,
    third >>> 24,
    s0,
    s1,
    s2,
    s3,
    d0,
    d1,
    d2,
    d3,
  );

  const extensionsLength = ctx.icmpExtensible ? end - extensions : 0;
  const padded = layOutError(
    ctx,
    inner,
    quoteEnd - inner,
    extensions,
    extensionsLength,
    8,
    ERROR_MAX,
    HEADROOM,
  );
  const at = ctx.upperOffset;
  dv.setInt32(at, (ctx.icmpType << 24) | (ctx.icmpCode << 16));
  dv.setInt32(at + 4, padded === 0 ? ctx.icmpRest : (padded / 8) << 24);
  const sum = addressSum + ctx.upperLength + PROTO_ICMPV6 + sumBytes(dv, at, ctx.upperLength);
  set16(u8, at + 2, ~fold(sum) & 0xffff);
  return FORWARD;
}

/** ICMPv6 code for each ICMPv4 destination-unreachable code, RFC 7915 section 4.2; -1: none, -2: not a 1/x message. */
const UNREACHABLE_CODES: readonly number[] = [
  ICMP6_NO_ROUTE,
  ICMP6_NO_ROUTE,
  -2,
  ICMP6_PORT_UNREACHABLE,
  -2,
  ICMP6_NO_ROUTE,
  ICMP6_NO_ROUTE,
  ICMP6_NO_ROUTE,
  ICMP6_NO_ROUTE,
  ICMP6_ADMIN_PROHIBITED,
  ICMP6_ADMIN_PROHIBITED,
  ICMP6_NO_ROUTE,
  ICMP6_NO_ROUTE,
  ICMP6_ADMIN_PROHIBITED,
  -1,
  ICMP6_ADMIN_PROHIBITED,
];

/**
 * The table of RFC 7915 section 4.2: sets icmpType, icmpCode, icmpRest (the second word) and icmpExtensible of the context.
 * False where the message has no counterpart.
 */
function mapType(ctx: Context, upper: number, quote: number): boolean {
  const { u8 } = ctx;
  const code = u8[upper + 1] as number;
  ctx.icmpCode = 0;
  ctx.icmpRest = 0;
  ctx.icmpExtensible = false;
  switch (u8[upper]) {
    case ICMP4_DEST_UNREACHABLE: {
      const mapped = code < UNREACHABLE_CODES.length ? (UNREACHABLE_CODES[code] as number) : -1;
      if (mapped >= 0) {
        ctx.icmpType = ICMP6_DEST_UNREACHABLE;
        ctx.icmpCode = mapped;
        ctx.icmpExtensible = true;
        return true;
      }
      if (mapped === -1) return false;
      if (code === ICMP4_FRAGMENTATION_NEEDED) {
        ctx.icmpType = ICMP6_PACKET_TOO_BIG;
        ctx.icmpRest = translateMtu(ctx, upper, quote);
      } else {
        // Protocol unreachable: the next-header field is what the IPv6 host got wrong.
        ctx.icmpType = ICMP6_PARAMETER_PROBLEM;
        ctx.icmpCode = ICMP6_UNRECOGNIZED_NEXT_HEADER;
        ctx.icmpRest = IPV6_NEXT_HEADER;
      }
      return true;
    }
    case ICMP4_TIME_EXCEEDED:
      ctx.icmpType = ICMP6_TIME_EXCEEDED;
      ctx.icmpCode = code;
      ctx.icmpExtensible = true;
      return true;
    case ICMP4_PARAMETER_PROBLEM: {
      const pointer = code === 0 || code === 2 ? pointer4to6(u8[upper + 4] as number) : -1;
      if (pointer < 0) return false;
      ctx.icmpType = ICMP6_PARAMETER_PROBLEM;
      ctx.icmpRest = pointer;
      return true;
    }
    default:
      return false;
  }
}

/** The MTU of a Packet Too Big for a Fragmentation Needed (RFC 7915 section 4.2, RFC 1191 section 5 where none is given). */
function translateMtu(ctx: Context, upper: number, quote: number): number {
  const reported = get16(ctx.u8, upper + 6);
  const mtu = reported === 0 ? plateauBelow(get16(ctx.u8, quote + 2)) : reported;
  // A quoted fragment is 28 bytes longer as an IPv6 packet, not 20.
  const isFragment = (get16(ctx.u8, quote + 6) & (IPV4_MF | IPV4_OFFSET_MASK)) !== 0;
  const growth = IPV6_HEADER - IPV4_HEADER + (isFragment ? FRAGMENT_HEADER : 0);
  const limit = ctx.hairpin ? ctx.ipv6Mtu : Math.min(ctx.ipv6Mtu, ctx.ipv4Mtu + growth);
  return Math.max(Math.min(mtu + growth, limit), IPV6_MINIMUM_MTU);
}

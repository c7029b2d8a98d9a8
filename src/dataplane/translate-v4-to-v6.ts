/** IPv4 → IPv6, RFC 7915 section 4, in place; also the second leg of a hairpin. */
import { counter } from '../shm/counters.js';
import { HEADROOM } from '../shm/frame-ring.js';
import { get16, set16 } from '../wire/bytes.js';
import { adjustChecksum, adjustPartial, fold, sumAddress6, sumBytes, sumWord } from '../wire/checksum.js';
import {
  ICMP4_DEST_UNREACHABLE,
  ICMP4_ECHO_REPLY,
  ICMP4_ECHO_REQUEST,
  ICMP4_FRAGMENTATION_NEEDED,
  ICMP4_HOST_ADMIN_PROHIBITED,
  ICMP4_HOST_UNREACHABLE,
  ICMP4_SOURCE_ROUTE_FAILED,
  ICMP4_TIME_EXCEEDED,
  isIcmp4Error,
} from '../wire/icmp.js';
import {
  cannotPass4,
  checksumOffset,
  FRAGMENT_HEADER,
  IPV4_DESTINATION,
  IPV4_DF,
  IPV4_FRAGMENT,
  IPV4_HEADER,
  IPV4_MF,
  IPV4_OFFSET_MASK,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  IPV6_HEADER,
  IPV6_PAYLOAD_LENGTH,
  meansNone,
  PROTO_FRAGMENT,
  PROTO_ICMP,
  PROTO_ICMPV6,
  PROTO_TCP,
  PROTO_UDP,
} from '../wire/ip.js';
import { GSO_TCPV4, GSO_TCPV6 } from '../wire/vnet.js';
import type { Context } from './context.js';
import {
  count,
  DROP_ICMP_FRAGMENT,
  DROP_LOOP,
  DROP_PROTOCOL,
  DROP_SUPER_FRAME,
  DROP_TOO_BIG,
  DROP_TRUNCATED,
  DROP_TTL,
  FORWARD,
  takeScratch,
  UDP_ZERO_DROP,
  UDP_ZERO_FORWARD,
} from './context.js';
import { completeChecksum, copyBytes, emitPieces, emitPlain } from './emit.js';
import { writeIpv6Header } from './headers.js';
import { sendIcmp4Error } from './icmp-error.js';
import { admitEchoFragment, KEPT, REFUSED } from './icmp-fragments.js';
import { clampMss } from './mss.js';
import { checkOffload, emitTranslated, upperHeaderLength } from './offload.js';
import { receiveOwn4 } from './own-address.js';
import {
  checkSource,
  DROP_FROM_POOL,
  DROP_NO_SOURCE,
  DROP_V4_ADDRESS,
  embed,
  embedForClat,
  hostOf4,
  isDevice6,
  isForbidden4,
  isFromPool,
  isInPref64,
  mapTo6,
} from './resolve.js';
import { segmentSuperFrame } from './segment.js';
import { translateEcho4, translateIcmp4Error } from './translate-icmp-v4-to-v6.js';

const TRANSLATED = counter('translated-v4-to-v6');
const FRAGMENTS_MADE = counter('fragments-made');
const DROP_MALFORMED = counter('drop-v4-malformed');
const DROP_CHECKSUM = counter('drop-v4-checksum');
const DROP_NO_DESTINATION = counter('drop-v4-no-map-destination');
const DROP_SOURCE_ROUTE = counter('drop-source-route');
const DROP_FRAGMENT = counter('drop-fragment-malformed');
const DROP_UDP_ZERO = counter('drop-udp-zero-checksum');

const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_LSRR = 131;
const OPTION_SSRR = 137;

/** Translates the IPv4 frame of `length` bytes at `offset`. Returns a verdict; what it became is on the context's list. */
export function translateV4ToV6(ctx: Context, offset: number, length: number): number {
  const { u8, dv } = ctx;
  if (length < IPV4_HEADER) return DROP_MALFORMED;
  const first = dv.getInt32(offset);
  const headerLength = ((first >>> 24) & 15) * 4;
  const total = first & 0xffff;
  if (headerLength < IPV4_HEADER || total < headerLength || total > length) return DROP_MALFORMED;
  const second = dv.getInt32(offset + 4);
  const third = dv.getInt32(offset + 8);
  const s4 = dv.getInt32(offset + IPV4_SOURCE);
  const d4 = dv.getInt32(offset + IPV4_DESTINATION);
  let sum = sumWord(first) + sumWord(second) + sumWord(third) + sumWord(s4) + sumWord(d4);
  if (headerLength > IPV4_HEADER) sum += sumBytes(dv, offset + IPV4_HEADER, headerLength - IPV4_HEADER);
  if (fold(sum) !== 0xffff) return DROP_CHECKSUM;

  // Destination.
  if (d4 === ctx.own4) return receiveOwn4(ctx, offset, total);
  let isUnderPref64 = false;
  if (!hostOf4(ctx, d4)) {
    if (isForbidden4(ctx, d4)) return DROP_V4_ADDRESS;
    isUnderPref64 = embedForClat(ctx, s4, d4);
    if (!isUnderPref64) {
      sendIcmp4Error(ctx, offset, total, ICMP4_DEST_UNREACHABLE, ICMP4_HOST_UNREACHABLE, 0);
      return DROP_NO_DESTINATION;
    }
  }
  const d0 = ctx.found0;
  const d1 = ctx.found1;
  const d2 = ctx.found2;
  const d3 = ctx.found3;
  if (!isUnderPref64 && isInPref64(ctx, d0, d1, d2) && !isDevice6(ctx, d0, d1, d2, d3)) return DROP_LOOP;

  // Source. On the second leg of a hairpin it must stay one that leads back here (RFC 7757 section 4.2).
  if (ctx.hairpin || !mapTo6(ctx, s4)) {
    const refusal = ctx.hairpin ? FORWARD : checkSource(ctx, s4);
    if (refusal === FORWARD) {
      embed(ctx, s4);
    } else if (refusal !== DROP_NO_SOURCE) {
      return refusal;
    } else if (isErrorMessage(ctx, offset, total)) {
      // RFC 6791: a router's error needs a source that fits, not one of the router's own.
      useOwn6(ctx);
    } else {
      sendIcmp4Error(ctx, offset, total, ICMP4_DEST_UNREACHABLE, ICMP4_HOST_ADMIN_PROHIBITED, 0);
      return refusal;
    }
  } else if (isFromPool(ctx, s4)) {
    // An explicit map may name an address of the pool, too.
    return DROP_FROM_POOL;
  }
  const s0 = ctx.found0;
  const s1 = ctx.found1;
  const s2 = ctx.found2;
  const s3 = ctx.found3;

  if (headerLength > IPV4_HEADER && hasSourceRoute(ctx, offset, headerLength)) {
    sendIcmp4Error(ctx, offset, total, ICMP4_DEST_UNREACHABLE, ICMP4_SOURCE_ROUTE_FAILED, 0);
    return DROP_SOURCE_ROUTE;
  }
  const ttl = third >>> 24;
  if (ttl <= 1) {
    sendIcmp4Error(ctx, offset, total, ICMP4_TIME_EXCEEDED, 0, 0);
    return DROP_TTL;
  }

  const protocol = (third >>> 16) & 0xff;
  if (cannotPass4(protocol)) return DROP_PROTOCOL;
  const end = offset + total;
  const upper = offset + headerLength;
  let upperLength = total - headerLength;
  const fragmentOffset = second & IPV4_OFFSET_MASK;
  const isFragment = (second & (IPV4_MF | IPV4_OFFSET_MASK)) !== 0;
  if (isFragment) {
    if ((second & IPV4_MF) !== 0 && (upperLength === 0 || (upperLength & 7) !== 0)) return DROP_FRAGMENT;
    if (fragmentOffset * 8 + upperLength > 65535) return DROP_FRAGMENT;
  }
  if (ctx.needsChecksum || ctx.gsoType !== 0) {
    const verdict = checkOffload(ctx, offset, upper, end, protocol, !isFragment, GSO_TCPV4);
    if (verdict !== FORWARD) return verdict;
  }

  // Size. Of a super-frame, the size of its segments.
  const headers = isFragment ? IPV6_HEADER + FRAGMENT_HEADER : IPV6_HEADER;
  let segmentLength = headers + upperLength;
  if (ctx.gsoType !== 0) {
    const upperHeader = upperHeaderLength(ctx, upper, protocol);
    segmentLength = Math.min(segmentLength, IPV6_HEADER + upperHeader + ctx.gsoSize);
  }
  const dontFragment = (second & IPV4_DF) !== 0;
  // An ICMP error will be cut to fit.
  const isIcmpError =
    protocol === PROTO_ICMP && !isFragment && upperLength > 0 && isIcmp4Error(u8[upper] as number);
  if (dontFragment && segmentLength > ctx.ipv6Mtu && !isIcmpError) {
    sendIcmp4Error(
      ctx,
      offset,
      total,
      ICMP4_DEST_UNREACHABLE,
      ICMP4_FRAGMENTATION_NEEDED,
      ctx.ipv6Mtu - (headers - IPV4_HEADER),
    );
    return DROP_TOO_BIG;
  }
  if (ctx.gsoType !== 0 && !dontFragment && segmentLength > ctx.lowestIpv6Mtu) {
    return segmentSuperFrame(ctx, offset, upper, end, translateV4ToV6);
  }

  // Upper layer.
  let outProtocol = protocol;
  let upperAt = upper;
  if (protocol === PROTO_ICMP) {
    if (!isFragment && upperLength < 8) return DROP_TRUNCATED;
    outProtocol = PROTO_ICMPV6;
    const pseudoSum = sumAddress6(s0, s1, s2, s3) + sumAddress6(d0, d1, d2, d3);
    const type = u8[upper] as number;
    const isEcho = type === ICMP4_ECHO_REQUEST || type === ICMP4_ECHO_REPLY;
    let messageLength = upperLength;
    if (isFragment) {
      const isLast = (second & IPV4_MF) === 0;
      messageLength = admitEchoFragment(
        ctx,
        offset,
        total,
        offset + IPV4_SOURCE,
        2,
        second >>> 16,
        fragmentOffset,
        upperLength,
        isLast,
        isEcho,
      );
      if (messageLength === REFUSED) return DROP_ICMP_FRAGMENT;
      if (messageLength === KEPT) return FORWARD;
    }
    if (isFragment && messageLength === 0) {
      // A later fragment: nothing of it is ICMP's.
    } else if (isEcho) {
      translateEcho4(ctx, upper, messageLength, pseudoSum);
    } else {
      const verdict = translateIcmp4Error(ctx, upper, end, d4, pseudoSum);
      if (verdict !== FORWARD) return verdict;
      // The message may have moved and changed its length.
      upperAt = ctx.upperOffset;
      upperLength = ctx.upperLength;
    }
  } else if (fragmentOffset === 0) {
    const at = checksumOffset(protocol);
    if (at >= 0) {
      if (upperLength < (protocol === PROTO_TCP ? 20 : 8)) return isFragment ? DROP_FRAGMENT : DROP_TRUNCATED;
      const removed = sumWord(s4) + sumWord(d4);
      const added = sumAddress6(s0, s1, s2, s3) + sumAddress6(d0, d1, d2, d3);
      const old = get16(u8, upper + at);
      if (ctx.needsChecksum) {
        set16(u8, upper + at, adjustPartial(old, removed, added));
      } else if (old === 0 && protocol === PROTO_UDP) {
        const verdict = supplyUdpChecksum(ctx, upper, upperLength, isFragment, added);
        if (verdict !== FORWARD) return verdict;
      } else {
        const adjusted = adjustChecksum(old, removed, added);
        set16(u8, upper + at, adjusted === 0 && meansNone(protocol) ? 0xffff : adjusted);
      }
      if (protocol === PROTO_TCP && ctx.mssLimit !== 0) {
        clampMss(ctx, upper, upperLength, ctx.hairpin ? ctx.hairpinMssLimit : ctx.mssLimit);
      }
    }
  }

  const trafficClass = (first >>> 16) & ctx.trafficClassMask;
  count(ctx, TRANSLATED, 1);
  const tooLong = !dontFragment && ctx.gsoType === 0 && IPV6_HEADER + upperLength > ctx.lowestIpv6Mtu;
  if (isFragment || tooLong) {
    // A fragment's checksum cannot be left to an offload.
    if (ctx.needsChecksum && !completeChecksum(ctx, offset, end)) return DROP_SUPER_FRAME;
    const at = upperAt - FRAGMENT_HEADER;
    const header = at - IPV6_HEADER;
    const inner = FRAGMENT_HEADER + upperLength;
    writeIpv6Header(
      ctx,
      header,
      trafficClass,
      inner,
      PROTO_FRAGMENT,
      ttl - 1,
      s0,
      s1,
      s2,
      s3,
      d0,
      d1,
      d2,
      d3,
    );
    dv.setInt32(at, outProtocol << 24);
    // Zero-extended, RFC 7915 section 4.1.
    dv.setInt32(at + 4, second >>> 16);
    emitFragments(ctx, header, upperLength, fragmentOffset, (second & IPV4_MF) !== 0 ? 1 : 0, dontFragment);
    return FORWARD;
  }

  const header = upperAt - IPV6_HEADER;
  const outLength = IPV6_HEADER + upperLength;
  writeIpv6Header(
    ctx,
    header,
    trafficClass,
    upperLength,
    outProtocol,
    ttl - 1,
    s0,
    s1,
    s2,
    s3,
    d0,
    d1,
    d2,
    d3,
  );
  emitTranslated(ctx, header, outLength, IPV6_HEADER, protocol, GSO_TCPV6);
  return FORWARD;
}

/**
 * Emits the packet whose IPv6 and Fragment headers begin at `header` and whose payload follows them, as one fragment or,
 * where it is larger than the limit, as several (RFC 7915 section 4: no larger than lowest-ipv6-mtu unless DF was set).
 */
function emitFragments(
  ctx: Context,
  header: number,
  payloadLength: number,
  fragmentOffset: number,
  more: number,
  dontFragment: boolean,
): void {
  const { u8 } = ctx;
  const headers = IPV6_HEADER + FRAGMENT_HEADER;
  const limit = (dontFragment ? ctx.ipv6Mtu : ctx.lowestIpv6Mtu) - headers;
  if (payloadLength <= limit) {
    set16(u8, header + IPV6_HEADER + 2, (fragmentOffset << 3) | more);
    emitPlain(ctx, header, headers + payloadLength);
    return;
  }
  const step = limit & ~7;
  for (let from = 0; from < payloadLength; from += step) {
    const size = Math.min(step, payloadLength - from);
    const isLast = from + size === payloadLength;
    const at = takeScratch(ctx, HEADROOM + headers) + HEADROOM;
    copyBytes(ctx, header, at, headers);
    set16(u8, at + IPV6_PAYLOAD_LENGTH, FRAGMENT_HEADER + size);
    set16(u8, at + IPV6_HEADER + 2, ((fragmentOffset + (from >>> 3)) << 3) | (isLast ? more : 1));
    emitPieces(ctx, at, headers, header + headers + from, size);
    count(ctx, FRAGMENTS_MADE, 1);
  }
}

/** A UDP datagram over IPv4 without a checksum: what IPv6 needs in its place, by policy (RFC 7915 section 4.5). */
function supplyUdpChecksum(
  ctx: Context,
  upper: number,
  upperLength: number,
  isFragment: boolean,
  addressSum: number,
): number {
  if (ctx.udpZero === UDP_ZERO_FORWARD) return FORWARD;
  // A first fragment does not show what the checksum would cover.
  if (ctx.udpZero === UDP_ZERO_DROP || isFragment) return DROP_UDP_ZERO;
  const udpLength = get16(ctx.u8, upper + 4);
  if (udpLength < 8 || udpLength > upperLength) return DROP_TRUNCATED;
  const sum = ~fold(addressSum + udpLength + PROTO_UDP + sumBytes(ctx.dv, upper, udpLength)) & 0xffff;
  set16(ctx.u8, upper + 6, sum === 0 ? 0xffff : sum);
  return FORWARD;
}

/** Whether the IPv4 packet is an ICMP error. */
function isErrorMessage(ctx: Context, offset: number, length: number): boolean {
  const upper = offset + ((ctx.u8[offset] as number) & 15) * 4;
  const isIcmp = ctx.u8[offset + IPV4_PROTOCOL] === PROTO_ICMP;
  const isFirst = (get16(ctx.u8, offset + IPV4_FRAGMENT) & IPV4_OFFSET_MASK) === 0;
  return isIcmp && isFirst && upper < offset + length && isIcmp4Error(ctx.u8[upper] as number);
}

function useOwn6(ctx: Context): void {
  ctx.found0 = ctx.own60;
  ctx.found1 = ctx.own61;
  ctx.found2 = ctx.own62;
  ctx.found3 = ctx.own63;
}

/** Whether the options hold a source route that is not spent (RFC 7915 section 4.1). */
function hasSourceRoute(ctx: Context, offset: number, headerLength: number): boolean {
  const { u8 } = ctx;
  const end = offset + headerLength;
  let at = offset + IPV4_HEADER;
  while (at < end) {
    const kind = u8[at] as number;
    if (kind === OPTION_END) return false;
    if (kind === OPTION_NOP) {
      at++;
      continue;
    }
    const length = at + 1 < end ? (u8[at + 1] as number) : 0;
    if (length < 2) return false;
    if ((kind === OPTION_LSRR || kind === OPTION_SSRR) && at + 2 < end) {
      const pointer = u8[at + 2] as number;
      // RFC 791: the route is spent when the pointer is greater than the length.
      if (pointer <= length) return true;
    }
    at += length;
  }
  return false;
}

/** IPv6 → IPv4, RFC 7915 section 5, in place. */
import { counter } from '../shm/counters.js';
import { get16, set16 } from '../wire/bytes.js';
import { adjustChecksum, adjustPartial, sumAddress6, sumWord } from '../wire/checksum.js';
import {
  ICMP6_DEST_UNREACHABLE,
  ICMP6_ECHO_REPLY,
  ICMP6_ECHO_REQUEST,
  ICMP6_ERRONEOUS_HEADER,
  ICMP6_FIRST_INFORMATIONAL,
  ICMP6_NO_ROUTE,
  ICMP6_PACKET_TOO_BIG,
  ICMP6_PARAMETER_PROBLEM,
  ICMP6_SOURCE_POLICY_FAILED,
  ICMP6_TIME_EXCEEDED,
} from '../wire/icmp.js';
import {
  checksumOffset,
  IPV4_DF,
  IPV4_HEADER,
  IPV6_DESTINATION,
  IPV6_HEADER,
  IPV6_HOP_LIMIT,
  IPV6_MINIMUM_MTU,
  IPV6_NEXT_HEADER,
  IPV6_PAYLOAD_LENGTH,
  IPV6_SOURCE,
  meansNone,
  PROTO_ICMP,
  PROTO_ICMPV6,
  PROTO_TCP,
  PROTO_UDP,
} from '../wire/ip.js';
import { GSO_ECN, GSO_TCPV4, GSO_TCPV6, GSO_UDP_L4 } from '../wire/vnet.js';
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
  HOLD,
} from './context.js';
import { DROP_ROUTING, walkExtensionHeaders } from './extension-headers.js';
import { writeIpv4Header } from './headers.js';
import { sendIcmp6Error } from './icmp-error.js';
import { admitEchoFragment, KEPT, REFUSED } from './icmp-fragments.js';
import { clampMss } from './mss.js';
import { checkOffload, emitTranslated, upperHeaderLength } from './offload.js';
import { receiveOwn6 } from './own-address.js';
import {
  checkHost6,
  checkRepresentable,
  checkRouter6,
  checkSource,
  DROP_IN_PREF64,
  DROP_V6_ADDRESS,
  extract,
  hostOf4,
  hostOf6,
  isDevice6,
  isForbidden6,
  isInPref64,
  isOwn6,
  mapTo4,
  mapTo6,
  poolIndex,
} from './resolve.js';
import { segmentSuperFrame } from './segment.js';
import { translateEcho6, translateIcmp6Error } from './translate-icmp-v6-to-v4.js';
import { translateV4ToV6 } from './translate-v4-to-v6.js';

const TRANSLATED = counter('translated-v6-to-v4');
const HAIRPINNED = counter('hairpinned');
const DROP_MALFORMED = counter('drop-v6-malformed');
const DROP_NO_DESTINATION = counter('drop-v6-no-map-destination');
const DROP_NO_SOURCE = counter('drop-v6-no-map-source');
const DROP_FRAGMENT = counter('drop-fragment-malformed');

/** The largest IPv4 packet that an IPv6 one of minimum MTU can become: DF stays 0 up to here (RFC 7915 section 5.1). */
const DF_THRESHOLD = IPV6_MINIMUM_MTU - IPV4_HEADER;
const IPV4_MAX = 65535;

/** Translates the IPv6 frame of `length` bytes at `offset`. Returns a verdict; what it became is on the context's list. */
export function translateV6ToV4(ctx: Context, offset: number, length: number): number {
  const { u8, dv } = ctx;
  if (length < IPV6_HEADER) return DROP_MALFORMED;
  const total = IPV6_HEADER + get16(u8, offset + IPV6_PAYLOAD_LENGTH);
  if (total > length) return DROP_MALFORMED;

  // Destination.
  const d0 = dv.getInt32(offset + IPV6_DESTINATION);
  const d1 = dv.getInt32(offset + IPV6_DESTINATION + 4);
  const d2 = dv.getInt32(offset + IPV6_DESTINATION + 8);
  const d3 = dv.getInt32(offset + IPV6_DESTINATION + 12);
  let d4 = 0;
  let hairpin = false;
  if (isInPref64(ctx, d0, d1, d2)) {
    d4 = extract(ctx, d1, d2, d3);
    if (d4 === ctx.own4) return receiveOwn6(ctx, offset, total);
    hairpin = poolIndex(ctx, d4) >= 0 || mapTo6(ctx, d4);
    if (hairpin && !hostOf4(ctx, d4)) return refuseDestination(ctx, offset, total);
    if (!hairpin) {
      const refusal = checkRepresentable(ctx, d4);
      if (refusal !== FORWARD) return refusal;
    }
  } else {
    if (isOwn6(ctx, d0, d1, d2, d3)) return receiveOwn6(ctx, offset, total);
    if (isForbidden6(d0, d1, d2, d3)) return DROP_V6_ADDRESS;
    // An IPv4 host that an explicit map represents. Not a hairpin: an IPv6 host would be reached without us.
    if (!mapTo4(ctx, d0, d1, d2, d3)) return refuseDestination(ctx, offset, total);
    d4 = ctx.found4;
  }

  const hopLimit = u8[offset + IPV6_HOP_LIMIT] as number;
  if (hopLimit <= 1) {
    sendIcmp6Error(ctx, offset, total, ICMP6_TIME_EXCEEDED, 0, 0);
    return DROP_TTL;
  }

  // The chain of headers.
  const end = offset + total;
  let protocol = u8[offset + IPV6_NEXT_HEADER] as number;
  let upper = offset + IPV6_HEADER;
  ctx.hasFragment = false;
  ctx.fragmentOffset = 0;
  ctx.moreFragments = 0;
  if (protocol !== PROTO_TCP && protocol !== PROTO_UDP) {
    const walk = walkExtensionHeaders(ctx, offset, end);
    if (walk !== FORWARD) {
      if (walk === DROP_ROUTING) {
        sendIcmp6Error(ctx, offset, total, ICMP6_PARAMETER_PROBLEM, ICMP6_ERRONEOUS_HEADER, ctx.pointer);
      }
      return walk;
    }
    protocol = ctx.upperProtocol;
    upper = ctx.upperOffset;
  } else {
    ctx.upperProtocol = protocol;
    ctx.upperOffset = upper;
  }

  // Source.
  const s0 = dv.getInt32(offset + IPV6_SOURCE);
  const s1 = dv.getInt32(offset + IPV6_SOURCE + 4);
  const s2 = dv.getInt32(offset + IPV6_SOURCE + 8);
  const s3 = dv.getInt32(offset + IPV6_SOURCE + 12);
  let s4 = 0;
  if (hostOf6(ctx, s0, s1, s2, s3)) {
    s4 = ctx.found4;
  } else {
    const verdict = resolveUnmappedSource(ctx, offset, total, s0, s1, s2, s3);
    if (verdict !== FORWARD) return verdict;
    s4 = ctx.found4;
  }

  const isWhole = ctx.fragmentOffset === 0 && ctx.moreFragments === 0;
  const upperLength = end - upper;
  if (ctx.needsChecksum || ctx.gsoType !== 0) {
    if (ctx.gsoType !== 0 && ctx.hasFragment) return DROP_SUPER_FRAME;
    const verdict = checkOffload(ctx, offset, upper, end, protocol, isWhole, GSO_TCPV6);
    if (verdict !== FORWARD) return verdict;
  }

  const isIcmpError =
    protocol === PROTO_ICMPV6 &&
    isWhole &&
    upperLength > 0 &&
    (u8[upper] as number) < ICMP6_FIRST_INFORMATIONAL;
  // What follows may look at a quoted packet's Fragment header.
  const { hasFragment, fragmentOffset, moreFragments, fragmentId } = ctx;

  // Size. Of a super-frame, the size of its segments.
  const outLength = IPV4_HEADER + upperLength;
  let segmentLength = outLength;
  let segments = 1;
  if (ctx.gsoType !== 0) {
    const upperHeader = upperHeaderLength(ctx, upper, protocol);
    segmentLength = Math.min(outLength, IPV4_HEADER + upperHeader + ctx.gsoSize);
    // One without data is a packet as well.
    segments = Math.max(1, Math.ceil((upperLength - upperHeader) / ctx.gsoSize));
  }
  if (isIcmpError) {
    // It will be cut to fit.
  } else if (hairpin) {
    if (segmentLength + IPV6_HEADER - IPV4_HEADER > ctx.ipv6Mtu)
      return refuseSize(ctx, offset, total, ctx.ipv6Mtu);
    if (outLength > IPV4_MAX) return DROP_SUPER_FRAME;
  } else if (segmentLength > ctx.ipv4Mtu && segmentLength > DF_THRESHOLD && !hasFragment) {
    // With DF=0 it is left to the kernel to fragment: an error that asks for less than 1280 would be a black hole.
    return refuseSize(ctx, offset, total, ctx.ipv4Mtu + IPV6_HEADER - IPV4_HEADER);
  }
  if (outLength > IPV4_MAX) {
    // The IPv4 header cannot say so much: cut it into ordinary packets and translate each.
    if (ctx.gsoType !== 0) return segmentSuperFrame(ctx, offset, upper, end, translateV6ToV4);
    return refuseSize(ctx, offset, total, IPV4_MAX);
  }
  if (hasFragment) {
    if (moreFragments !== 0 && (upperLength === 0 || (upperLength & 7) !== 0)) return DROP_FRAGMENT;
    // 13 bits of offset on both sides, but an IPv4 packet ends at 65,535 bytes with its header.
    if (fragmentOffset * 8 + upperLength > IPV4_MAX - IPV4_HEADER) return DROP_FRAGMENT;
  }

  const trafficClass = (dv.getInt32(offset) >>> 20) & ctx.trafficClassMask;
  // A hairpin costs one hop: the second leg takes it.
  const ttl = hairpin ? hopLimit : hopLimit - 1;

  // Upper layer.
  let outProtocol = protocol;
  let header = upper - IPV4_HEADER;
  let headerAndUpper = outLength;
  if (protocol === PROTO_ICMPV6) {
    if (isWhole && upperLength < 8) return DROP_TRUNCATED;
    outProtocol = PROTO_ICMP;
    const type = u8[upper] as number;
    const isEcho = type === ICMP6_ECHO_REQUEST || type === ICMP6_ECHO_REPLY;
    let messageLength = upperLength;
    if (!isWhole) {
      const isLast = moreFragments === 0;
      messageLength = admitEchoFragment(
        ctx,
        offset,
        total,
        offset + IPV6_SOURCE,
        8,
        fragmentId,
        fragmentOffset,
        upperLength,
        isLast,
        isEcho,
      );
      if (messageLength === REFUSED) return DROP_ICMP_FRAGMENT;
      if (messageLength === KEPT) return FORWARD;
    }
    if (!isWhole && messageLength === 0) {
      // A later fragment: nothing of it is ICMP's.
    } else if (isEcho) {
      translateEcho6(ctx, upper, messageLength, sumAddress6(s0, s1, s2, s3) + sumAddress6(d0, d1, d2, d3));
    } else {
      const verdict = translateIcmp6Error(ctx, offset, upper, end, d4, hairpin);
      if (verdict !== FORWARD) return verdict;
      // The message may have moved and changed its length.
      header = ctx.upperOffset - IPV4_HEADER;
      headerAndUpper = IPV4_HEADER + ctx.upperLength;
      segmentLength = headerAndUpper;
    }
  } else if (protocol === PROTO_ICMP) {
    return DROP_PROTOCOL;
  } else if (fragmentOffset === 0) {
    const at = checksumOffset(protocol);
    if (at >= 0) {
      if (upperLength < (protocol === PROTO_TCP ? 20 : 8)) return isWhole ? DROP_TRUNCATED : DROP_FRAGMENT;
      const removed = sumAddress6(s0, s1, s2, s3) + sumAddress6(d0, d1, d2, d3);
      const added = sumWord(s4) + sumWord(d4);
      const old = get16(u8, upper + at);
      if (ctx.needsChecksum) {
        set16(u8, upper + at, adjustPartial(old, removed, added));
      } else if (old !== 0 || protocol !== PROTO_UDP) {
        const sum = adjustChecksum(old, removed, added);
        set16(u8, upper + at, sum === 0 && meansNone(protocol) ? 0xffff : sum);
      }
      if (protocol === PROTO_TCP && ctx.mssLimit !== 0) {
        clampMss(ctx, upper, upperLength, hairpin ? ctx.hairpinMssLimit : ctx.mssLimit);
      }
    }
  }

  let fragment = IPV4_DF;
  if (hasFragment) {
    fragment = (fragmentId << 16) | (moreFragments << 13) | fragmentOffset;
  } else if (segmentLength <= DF_THRESHOLD) {
    fragment = ctx.takeIdentifications(segments) << 16;
  }
  writeIpv4Header(ctx, header, trafficClass, headerAndUpper, fragment, ttl, outProtocol, s4, d4);
  if (hairpin) {
    count(ctx, HAIRPINNED, 1);
    return secondLeg(ctx, header, headerAndUpper);
  }
  count(ctx, TRANSLATED, 1);
  emitTranslated(ctx, header, headerAndUpper, IPV4_HEADER, protocol, GSO_TCPV4);
  return FORWARD;
}

/** The IPv4 packet for a mapped host goes straight back (RFC 7757 section 4), without leaving the translator. */
function secondLeg(ctx: Context, offset: number, length: number): number {
  ctx.hairpin = true;
  if (ctx.needsChecksum) {
    if (ctx.gsoType !== 0 && (ctx.gsoType & ~GSO_ECN) !== GSO_UDP_L4)
      ctx.gsoType = GSO_TCPV4 | (ctx.gsoType & GSO_ECN);
    ctx.checksumStart = IPV4_HEADER;
  }
  const verdict = translateV4ToV6(ctx, offset, length);
  ctx.hairpin = false;
  return verdict;
}

function refuseDestination(ctx: Context, offset: number, length: number): number {
  sendIcmp6Error(ctx, offset, length, ICMP6_DEST_UNREACHABLE, ICMP6_NO_ROUTE, 0);
  return DROP_NO_DESTINATION;
}

function refuseSize(ctx: Context, offset: number, length: number, mtu: number): number {
  sendIcmp6Error(ctx, offset, length, ICMP6_PACKET_TOO_BIG, 0, Math.max(mtu, IPV6_MINIMUM_MTU));
  return DROP_TOO_BIG;
}

/** What to do with a source that has no map: FORWARD with `found4`, HOLD, or a drop verdict. */
function resolveUnmappedSource(
  ctx: Context,
  offset: number,
  length: number,
  s0: number,
  s1: number,
  s2: number,
  s3: number,
): number {
  if (isForbidden6(s0, s1, s2, s3)) return DROP_V6_ADDRESS;
  if (isOwn6(ctx, s0, s1, s2, s3)) return DROP_LOOP;
  if (isInPref64(ctx, s0, s1, s2) && !isDevice6(ctx, s0, s1, s2, s3)) {
    const { dv } = ctx;
    const d0 = dv.getInt32(offset + IPV6_DESTINATION);
    const d1 = dv.getInt32(offset + IPV6_DESTINATION + 4);
    const d2 = dv.getInt32(offset + IPV6_DESTINATION + 8);
    if (!ctx.clat || isInPref64(ctx, d0, d1, d2)) return DROP_IN_PREF64;
    // An answer of the IPv4 internet to a host with an explicit map: what `embedForClat` had sent out.
    ctx.found4 = extract(ctx, s1, s2, s3);
    return checkSource(ctx, ctx.found4);
  }
  if (
    ctx.upperProtocol === PROTO_ICMPV6 &&
    ctx.fragmentOffset === 0 &&
    ctx.upperOffset < offset + length &&
    (ctx.u8[ctx.upperOffset] as number) < ICMP6_FIRST_INFORMATIONAL
  ) {
    const refusal = checkRouter6(ctx, s0, s1, s2, s3);
    if (refusal !== FORWARD) return refusal;
    // RFC 6791: a router's error needs a source that fits, not a map of the router's own. Each router keeps to one, so that
    // traceroute shows it as one hop.
    ctx.found4 = (ctx.icmpSource4 + (((s0 ^ s1 ^ s2 ^ s3) >>> 0) % ctx.icmpSourceCount)) | 0;
    return FORWARD;
  }
  const refusal = checkHost6(ctx, s0, s1, s2, s3);
  if (refusal !== FORWARD) return refusal;
  if (ctx.poolFull !== 0 || ctx.hosts.size === 0) return refuseSource(ctx, offset, length);
  ctx.host0 = s0;
  ctx.host1 = s1;
  ctx.host2 = s2;
  ctx.host3 = s3;
  return HOLD;
}

/** Tells a host that it gets no IPv4 address (ICMPv6 1/5), and drops its packet. */
export function refuseSource(ctx: Context, offset: number, length: number): number {
  sendIcmp6Error(ctx, offset, length, ICMP6_DEST_UNREACHABLE, ICMP6_SOURCE_POLICY_FAILED, 0);
  return DROP_NO_SOURCE;
}

/** Packets for the translator's own addresses: ping is answered, anything else refused. */
import { counter } from '../shm/counters.js';
import { get16, set16 } from '../wire/bytes.js';
import { adjustChecksum } from '../wire/checksum.js';
import {
  ICMP4_DEST_UNREACHABLE,
  ICMP4_ECHO_REPLY,
  ICMP4_ECHO_REQUEST,
  ICMP4_PROTOCOL_UNREACHABLE,
  ICMP6_ECHO_REPLY,
  ICMP6_ECHO_REQUEST,
  ICMP6_ERRONEOUS_HEADER,
  ICMP6_PARAMETER_PROBLEM,
  ICMP6_UNRECOGNIZED_NEXT_HEADER,
} from '../wire/icmp.js';
import {
  IPV4_FRAGMENT,
  IPV4_HEADER,
  IPV4_MF,
  IPV4_OFFSET_MASK,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  IPV6_DESTINATION,
  IPV6_HEADER,
  IPV6_SOURCE,
  PROTO_ICMP,
  PROTO_ICMPV6,
} from '../wire/ip.js';
import type { Context } from './context.js';
import { count, DROP_SELF, FORWARD } from './context.js';
import { emitPlain } from './emit.js';
import { DROP_ROUTING, walkExtensionHeaders } from './extension-headers.js';
import { writeIpv4Header, writeIpv6Header } from './headers.js';
import { sendIcmp4Error, sendIcmp6Error } from './icmp-error.js';
import {
  checkHost6,
  DROP_FROM_POOL,
  DROP_V4_ADDRESS,
  DROP_V6_ADDRESS,
  isForbidden4,
  isForbidden6,
  isFromPool,
} from './resolve.js';

const SELF_ANSWERED = counter('self-answered');
const OWN_TTL = 64;

/** A packet for the translator's own IPv4 address: ping is answered, anything else refused (ICMP 3/2). */
export function receiveOwn4(ctx: Context, offset: number, length: number): number {
  const { u8, dv } = ctx;
  const headerLength = ((u8[offset] as number) & 15) * 4;
  const upper = offset + headerLength;
  const source = dv.getInt32(offset + IPV4_SOURCE);
  if (isForbidden4(ctx, source)) return DROP_V4_ADDRESS;
  if (isFromPool(ctx, source)) return DROP_FROM_POOL;
  if (u8[offset + IPV4_PROTOCOL] !== PROTO_ICMP) {
    sendIcmp4Error(ctx, offset, length, ICMP4_DEST_UNREACHABLE, ICMP4_PROTOCOL_UNREACHABLE, 0);
    return DROP_SELF;
  }
  const isFragment = (get16(u8, offset + IPV4_FRAGMENT) & (IPV4_MF | IPV4_OFFSET_MASK)) !== 0;
  const upperLength = offset + length - upper;
  if (isFragment || upperLength < 8 || u8[upper] !== ICMP4_ECHO_REQUEST) return DROP_SELF;
  u8[upper] = ICMP4_ECHO_REPLY;
  set16(u8, upper + 2, adjustChecksum(get16(u8, upper + 2), ICMP4_ECHO_REQUEST << 8, ICMP4_ECHO_REPLY << 8));
  // Options are not sent back: the header is written anew in front of the message.
  const header = upper - IPV4_HEADER;
  const tos = u8[offset + 1] as number;
  const fragment = ctx.takeIdentifications(1) << 16;
  const total = IPV4_HEADER + upperLength;
  writeIpv4Header(ctx, header, tos, total, fragment, OWN_TTL, PROTO_ICMP, ctx.own4, source);
  emitPlain(ctx, header, total);
  count(ctx, SELF_ANSWERED, 1);
  return FORWARD;
}

/** A packet for the translator's own IPv6 address: ping is answered, anything else refused (ICMPv6 4/1). */
export function receiveOwn6(ctx: Context, offset: number, length: number): number {
  const { u8, dv } = ctx;
  const end = offset + length;
  const walk = walkExtensionHeaders(ctx, offset, end);
  const upper = ctx.upperOffset;
  const s0 = dv.getInt32(offset + IPV6_SOURCE);
  const s1 = dv.getInt32(offset + IPV6_SOURCE + 4);
  const s2 = dv.getInt32(offset + IPV6_SOURCE + 8);
  const s3 = dv.getInt32(offset + IPV6_SOURCE + 12);
  if (isForbidden6(s0, s1, s2, s3)) return DROP_V6_ADDRESS;
  const refusal = checkHost6(ctx, s0, s1, s2, s3);
  if (refusal !== FORWARD) return refusal;
  if (walk === DROP_ROUTING) {
    sendIcmp6Error(ctx, offset, length, ICMP6_PARAMETER_PROBLEM, ICMP6_ERRONEOUS_HEADER, ctx.pointer);
  }
  if (walk !== FORWARD) return walk;
  if (ctx.upperProtocol !== PROTO_ICMPV6) {
    const field = ctx.nextHeaderField;
    sendIcmp6Error(ctx, offset, length, ICMP6_PARAMETER_PROBLEM, ICMP6_UNRECOGNIZED_NEXT_HEADER, field);
    return DROP_SELF;
  }
  if (ctx.hasFragment || end - upper < 8 || u8[upper] !== ICMP6_ECHO_REQUEST) return DROP_SELF;
  u8[upper] = ICMP6_ECHO_REPLY;
  // Swapping the addresses does not change the sum; a checksum that was wrong stays wrong, and the sender drops it.
  const checksum = get16(u8, upper + 2);
  set16(u8, upper + 2, adjustChecksum(checksum, ICMP6_ECHO_REQUEST << 8, ICMP6_ECHO_REPLY << 8));
  // Extension headers are not sent back: the IP header is written anew in front of the message, with class and label kept.
  const first = dv.getInt32(offset);
  const d0 = dv.getInt32(offset + IPV6_DESTINATION);
  const d1 = dv.getInt32(offset + IPV6_DESTINATION + 4);
  const d2 = dv.getInt32(offset + IPV6_DESTINATION + 8);
  const d3 = dv.getInt32(offset + IPV6_DESTINATION + 12);
  const header = upper - IPV6_HEADER;
  writeIpv6Header(ctx, header, 0, end - upper, PROTO_ICMPV6, OWN_TTL, d0, d1, d2, d3, s0, s1, s2, s3);
  dv.setInt32(header, first);
  emitPlain(ctx, header, IPV6_HEADER + end - upper);
  count(ctx, SELF_ANSWERED, 1);
  return FORWARD;
}

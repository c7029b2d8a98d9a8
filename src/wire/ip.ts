/** IP protocol numbers, and the fields of both headers by their offset. */

export const PROTO_HOPOPT = 0;
export const PROTO_ICMP = 1;
export const PROTO_TCP = 6;
export const PROTO_UDP = 17;
export const PROTO_DCCP = 33;
export const PROTO_ROUTING = 43;
export const PROTO_FRAGMENT = 44;
export const PROTO_ESP = 50;
export const PROTO_AH = 51;
export const PROTO_ICMPV6 = 58;
export const PROTO_NONE = 59;
export const PROTO_DSTOPTS = 60;
export const PROTO_MOBILITY = 135;
export const PROTO_UDPLITE = 136;
export const PROTO_HIP = 139;
export const PROTO_SHIM6 = 140;

/*
 * IPv4, RFC 791 section 3.1
 *    0                   1                   2                   3
 *    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *   +-------+-------+---------------+-------------------------------+
 *   |Version|  IHL  |Type of Service|          Total Length         |
 *   |         Identification        |Flags|     Fragment Offset     |
 *   | Time to Live  |    Protocol   |        Header Checksum        |
 *   |                        Source Address                         |
 *   |                      Destination Address                      |
 *   +---------------------------------------------------------------+
 */
export const IPV4_HEADER = 20;
export const IPV4_TOTAL_LENGTH = 2;
export const IPV4_ID = 4;
export const IPV4_FRAGMENT = 6;
export const IPV4_TTL = 8;
export const IPV4_PROTOCOL = 9;
export const IPV4_CHECKSUM = 10;
export const IPV4_SOURCE = 12;
export const IPV4_DESTINATION = 16;
export const IPV4_DF = 0x4000;
export const IPV4_MF = 0x2000;
export const IPV4_OFFSET_MASK = 0x1fff;

/*
 * IPv6, RFC 8200 section 3
 *    0                   1                   2                   3
 *    0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *   +-------+---------------+---------------------------------------+
 *   |Version| Traffic Class |              Flow Label               |
 *   |         Payload Length        |  Next Header  |   Hop Limit   |
 *   |                    Source Address (16 bytes)                  |
 *   |                 Destination Address (16 bytes)                |
 *   +---------------------------------------------------------------+
 */
export const IPV6_HEADER = 40;
export const IPV6_PAYLOAD_LENGTH = 4;
export const IPV6_NEXT_HEADER = 6;
export const IPV6_HOP_LIMIT = 7;
export const IPV6_SOURCE = 8;
export const IPV6_DESTINATION = 24;

/*
 * Fragment header, RFC 8200 section 4.5
 *   |  Next Header  |   Reserved    |      Fragment Offset    |Res|M|
 *   |                         Identification                        |
 */
export const FRAGMENT_HEADER = 8;

/** The smallest MTU of an IPv6 link (RFC 8200 section 5). */
export const IPV6_MINIMUM_MTU = 1280;

/** Where the checksum stands behind the start of an upper-layer header that has the pseudo-header's sum; -1 for the others. */
export function checksumOffset(protocol: number): number {
  switch (protocol) {
    case PROTO_TCP:
      return 16;
    case PROTO_UDP:
    case PROTO_UDPLITE:
    case PROTO_DCCP:
      return 6;
    default:
      return -1;
  }
}

/** Whether a checksum field of 0 says "no checksum" in this protocol, so that a sum of 0 is sent as 0xffff (RFC 768, RFC 3828). */
export function meansNone(protocol: number): boolean {
  return protocol === PROTO_UDP || protocol === PROTO_UDPLITE;
}

/** Protocols that an IPv4 packet cannot take to IPv6, where their numbers are extension headers or another family's ICMP. */
export function cannotPass4(protocol: number): boolean {
  return (
    protocol === PROTO_HOPOPT ||
    protocol === PROTO_ROUTING ||
    protocol === PROTO_FRAGMENT ||
    protocol === PROTO_ICMPV6 ||
    protocol === PROTO_DSTOPTS
  );
}

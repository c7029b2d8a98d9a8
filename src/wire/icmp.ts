/** ICMP and ICMPv6 message types and codes by their RFC names (RFC 792, RFC 1122, RFC 1812, RFC 4443). */

export const ICMP_HEADER = 8;

export const ICMP4_ECHO_REPLY = 0;
export const ICMP4_DEST_UNREACHABLE = 3;
export const ICMP4_SOURCE_QUENCH = 4;
export const ICMP4_REDIRECT = 5;
export const ICMP4_ECHO_REQUEST = 8;
export const ICMP4_TIME_EXCEEDED = 11;
export const ICMP4_PARAMETER_PROBLEM = 12;

export const ICMP4_HOST_UNREACHABLE = 1;
export const ICMP4_PROTOCOL_UNREACHABLE = 2;
export const ICMP4_PORT_UNREACHABLE = 3;
export const ICMP4_FRAGMENTATION_NEEDED = 4;
export const ICMP4_SOURCE_ROUTE_FAILED = 5;
export const ICMP4_HOST_ADMIN_PROHIBITED = 10;
export const ICMP4_COMMUNICATION_PROHIBITED = 13;

export const ICMP6_DEST_UNREACHABLE = 1;
export const ICMP6_PACKET_TOO_BIG = 2;
export const ICMP6_TIME_EXCEEDED = 3;
export const ICMP6_PARAMETER_PROBLEM = 4;
export const ICMP6_ECHO_REQUEST = 128;
export const ICMP6_ECHO_REPLY = 129;
/** Types below this one are errors (RFC 4443 section 2.1). */
export const ICMP6_FIRST_INFORMATIONAL = 128;

export const ICMP6_REDIRECT = 137;

export const ICMP6_NO_ROUTE = 0;
export const ICMP6_ADMIN_PROHIBITED = 1;
export const ICMP6_ADDRESS_UNREACHABLE = 3;
export const ICMP6_PORT_UNREACHABLE = 4;
export const ICMP6_SOURCE_POLICY_FAILED = 5;
export const ICMP6_ERRONEOUS_HEADER = 0;
export const ICMP6_UNRECOGNIZED_NEXT_HEADER = 1;

/** Whether an ICMPv4 type is an error message: one that quotes a packet (RFC 1122 section 3.2.2). */
export function isIcmp4Error(type: number): boolean {
  return (
    type === ICMP4_DEST_UNREACHABLE ||
    type === ICMP4_SOURCE_QUENCH ||
    type === ICMP4_REDIRECT ||
    type === ICMP4_TIME_EXCEEDED ||
    type === ICMP4_PARAMETER_PROBLEM
  );
}

/** The plateau table of RFC 1191 section 7.1, with the steps RFC 7915 section 4.2 names. */
const PLATEAUS: readonly number[] = [65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68];

/** The largest plateau below a packet's total length: the likely MTU of a router that reported none. */
export function plateauBelow(totalLength: number): number {
  for (let i = 0; i < PLATEAUS.length; i++) {
    const plateau = PLATEAUS[i] as number;
    if (plateau < totalLength) return plateau;
  }
  return 68;
}

/** ICMPv4 parameter-problem pointer → ICMPv6 pointer, RFC 7915 section 4.2 figure 3. -1: no counterpart, drop. */
export function pointer4to6(pointer: number): number {
  if (pointer <= 1) return pointer;
  if (pointer <= 3) return 4;
  if (pointer === 8) return 7;
  if (pointer === 9) return 6;
  if (pointer >= 12 && pointer <= 15) return 8;
  if (pointer >= 16 && pointer <= 19) return 24;
  return -1;
}

/** ICMPv6 parameter-problem pointer → ICMPv4 pointer, RFC 7915 section 5.2 figure 6. -1: no counterpart, drop. */
export function pointer6to4(pointer: number): number {
  if (pointer < 0) return -1;
  if (pointer <= 1) return pointer;
  if (pointer === 4 || pointer === 5) return 2;
  if (pointer === 6) return 9;
  if (pointer === 7) return 8;
  if (pointer >= 8 && pointer <= 23) return 12;
  if (pointer >= 24 && pointer <= 39) return 16;
  return -1;
}

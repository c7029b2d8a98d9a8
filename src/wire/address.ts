/**
 * IPv4 and IPv6 addresses and prefixes as numbers, and their text forms.
 *
 * An IPv4 address is an unsigned 32-bit number in host order (192.0.2.1 is 0xc0000201). An IPv6 address is four
 * signed 32-bit words in host order, the first holding bits 0 to 31: what `DataView.getInt32` reads from a header.
 * Signed, because every int32 is a small integer to V8 and an unsigned word above 2³¹ is not.
 */

/** Four signed 32-bit words, most significant first. */
export type Address6 = readonly [number, number, number, number];

/** An IPv4 prefix without host bits: `address` as an unsigned number, `length` 0 to 32. */
export interface Prefix4 {
  readonly address: number;
  readonly length: number;
}

/** An IPv6 prefix without host bits, `length` 0 to 128. */
export interface Prefix6 {
  readonly address: Address6;
  readonly length: number;
}

export const UNSPECIFIED6: Address6 = [0, 0, 0, 0];

/** Reads dotted-quad text. Leading zeros are refused: some systems take them for octal. Null if it is no address. */
export function parseAddress4(text: string): number | null {
  const parts = text.split('.');
  if (parts.length !== 4) return null;
  let address = 0;
  for (const part of parts) {
    if (!/^(0|[1-9][0-9]{0,2})$/.test(part)) return null;
    const octet = Number(part);
    if (octet > 255) return null;
    address = address * 256 + octet;
  }
  return address;
}

/** Dotted-quad text of an IPv4 address, signed or unsigned. */
export function formatAddress4(address: number): string {
  return `${(address >>> 24) & 255}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** The 16-bit groups of one side of a `::`; null if a group is malformed. Embedded IPv4 is allowed as the last. */
function parseGroups(text: string, mayEndInIpv4: boolean): number[] | null {
  if (text === '') return [];
  const parts = text.split(':');
  const groups: number[] = [];
  for (const [index, part] of parts.entries()) {
    if (mayEndInIpv4 && index === parts.length - 1 && part.includes('.')) {
      const ipv4 = parseAddress4(part);
      if (ipv4 === null) return null;
      groups.push(ipv4 >>> 16, ipv4 & 0xffff);
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) {
      groups.push(Number.parseInt(part, 16));
    } else {
      return null;
    }
  }
  return groups;
}

/** Reads an IPv6 address in any form of RFC 4291 section 2.2 (no zone, no brackets). Null if it is no address. */
export function parseAddress6(text: string): Address6 | null {
  const halves = text.split('::');
  if (halves.length > 2) return null;
  const head = parseGroups(halves[0] as string, halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1] as string, true) : [];
  if (head === null || tail === null) return null;
  const missing = 8 - head.length - tail.length;
  // RFC 4291: "::" stands for one or more groups.
  if (halves.length === 1 ? missing !== 0 : missing < 1) return null;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...tail];
  const word = (i: number) => ((groups[2 * i] as number) << 16) | (groups[2 * i + 1] as number);
  return [word(0), word(1), word(2), word(3)];
}

/** The canonical text of RFC 5952: lower case, the longest run of two or more zero groups (the first of equals) as `::`. */
export function formatAddress6(address: Address6): string {
  const groups = address.flatMap((word) => [word >>> 16, word & 0xffff]);
  let bestStart = -1;
  let bestLength = 1;
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && groups[start + length] === 0) length++;
    if (length > bestLength) {
      bestStart = start;
      bestLength = length;
    }
  }
  const hex = (from: number, to: number) =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(':');
  if (bestStart < 0) return hex(0, 8);
  return `${hex(0, bestStart)}::${hex(bestStart + bestLength, 8)}`;
}

export function equalAddress6(a: Address6, b: Address6): boolean {
  return a[0] === b[0] && a[1] === b[1] && a[2] === b[2] && a[3] === b[3];
}

/** The netmask of an IPv4 prefix length, as a signed word. */
export function mask4(length: number): number {
  return length === 0 ? 0 : -1 << (32 - length);
}

/** Word `index` (0 to 3) of the netmask of an IPv6 prefix length, signed. */
export function maskWord6(length: number, index: number): number {
  const bits = length - 32 * index;
  if (bits <= 0) return 0;
  return bits >= 32 ? -1 : mask4(bits);
}

/** An IPv6 address with everything behind the first `length` bits cleared. */
export function maskAddress6(address: Address6, length: number): Address6 {
  return [
    address[0] & maskWord6(length, 0),
    address[1] & maskWord6(length, 1),
    address[2] & maskWord6(length, 2),
    address[3] & maskWord6(length, 3),
  ];
}

/** Splits `address/length`; the length must be plain decimal digits. */
function splitPrefix(text: string, maxLength: number): [string, number] | null {
  const match = /^([^/]+)\/(0|[1-9][0-9]{0,2})$/.exec(text);
  if (match === null) return null;
  const length = Number(match[2]);
  return length <= maxLength ? [match[1] as string, length] : null;
}

/** Reads `a.b.c.d/n`. Null if malformed or if bits behind the prefix are set. */
export function parsePrefix4(text: string): Prefix4 | null {
  const parts = splitPrefix(text, 32);
  const address = parts === null ? null : parseAddress4(parts[0]);
  if (parts === null || address === null) return null;
  return (address & ~mask4(parts[1])) === 0 ? { address, length: parts[1] } : null;
}

/** Reads `x::y/n`. Null if malformed or if bits behind the prefix are set. */
export function parsePrefix6(text: string): Prefix6 | null {
  const parts = splitPrefix(text, 128);
  const address = parts === null ? null : parseAddress6(parts[0]);
  if (parts === null || address === null) return null;
  return equalAddress6(address, maskAddress6(address, parts[1])) ? { address, length: parts[1] } : null;
}

export function formatPrefix4(prefix: Prefix4): string {
  return `${formatAddress4(prefix.address)}/${prefix.length}`;
}

export function formatPrefix6(prefix: Prefix6): string {
  return `${formatAddress6(prefix.address)}/${prefix.length}`;
}

export function prefix4Contains(prefix: Prefix4, address: number): boolean {
  return ((address ^ prefix.address) & mask4(prefix.length)) === 0;
}

export function prefix6Contains(prefix: Prefix6, address: Address6): boolean {
  return equalAddress6(maskAddress6(address, prefix.length), prefix.address);
}

/** Whether one of the two prefixes lies within the other. */
export function prefixes4Overlap(a: Prefix4, b: Prefix4): boolean {
  return prefix4Contains(a.length <= b.length ? a : b, a.length <= b.length ? b.address : a.address);
}

/** Whether one of the two prefixes lies within the other. */
export function prefixes6Overlap(a: Prefix6, b: Prefix6): boolean {
  return prefix6Contains(a.length <= b.length ? a : b, a.length <= b.length ? b.address : a.address);
}

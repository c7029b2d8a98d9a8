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

/** Global unicast (RFC 4291 section 2.4, as far as IANA has opened it) and unique-local (RFC 4193) addresses. */
export const GLOBAL_AND_UNIQUE_LOCAL: readonly Prefix6[] = [
  { address: [0x20000000, 0, 0, 0], length: 3 },
  { address: [0xfc000000 | 0, 0, 0, 0], length: 7 },
];

const DOT = 0x2e;
const COLON = 0x3a;
const ZERO = 0x30;

/** Longer than any text of an address. */
const MAX_TEXT = 64;
const scratch = new Uint8Array(MAX_TEXT);

/** The text's characters in `scratch`. Returns how many, or 0 where an address cannot have so many, or such. */
function toScratch(text: string): number {
  if (text.length > MAX_TEXT) return 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) return 0;
    scratch[i] = code;
  }
  return text.length;
}

/** Reads dotted-quad text. Leading zeros are refused: some systems take them for octal. Null if it is no address. */
export function parseAddress4(text: string): number | null {
  const address = readAddress4(scratch, 0, toScratch(text));
  return address < 0 ? null : address;
}

/** The same of the ASCII text in the bytes from `start` to `end` (exclusive), without garbage; -1 if it is no address. */
export function readAddress4(text: Uint8Array, start: number, end: number): number {
  let address = 0;
  let at = start;
  for (let part = 0; part < 4; part++) {
    if (part > 0 && (at === end || text[at++] !== DOT)) return -1;
    const first = at;
    let octet = 0;
    for (; at < end && at < first + 3; at++) {
      const digit = (text[at] as number) - ZERO;
      if (digit < 0 || digit > 9) break;
      octet = octet * 10 + digit;
    }
    if (at === first || octet > 255 || (at > first + 1 && text[first] === ZERO)) return -1;
    address = address * 256 + octet;
  }
  return at === end ? address : -1;
}

/** Dotted-quad text of an IPv4 address, signed or unsigned. */
export function formatAddress4(address: number): string {
  return `${(address >>> 24) & 255}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
}

/** The value of a hexadecimal digit by its code, or -1. */
function hexDigit(code: number): number {
  if (code >= ZERO && code <= ZERO + 9) return code - ZERO;
  const letter = code | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x61 + 10 : -1;
}

const groups = new Uint16Array(8);
const parsed = new Int32Array(4);

/** Reads an IPv6 address in any form of RFC 4291 section 2.2 (no zone, no brackets). Null if it is no address. */
export function parseAddress6(text: string): Address6 | null {
  if (!readAddress6(scratch, 0, toScratch(text), parsed)) return null;
  return [parsed[0] as number, parsed[1] as number, parsed[2] as number, parsed[3] as number];
}

/**
 * The same of the ASCII text in the bytes from `start` to `end` (exclusive), without garbage.
 * @param words gets the address: four signed words, most significant first
 * @returns false if it is no address; `words` is as it was then
 */
export function readAddress6(text: Uint8Array, start: number, end: number, words: Int32Array): boolean {
  let count = 0;
  /** Number of groups before the `::`. */
  let gap = -1;
  let at = start;
  if (end - start >= 2 && text[start] === COLON && text[start + 1] === COLON) {
    gap = 0;
    at += 2;
  }
  while (at < end) {
    // As many as there can be, and yet there is more.
    if (count === groups.length) return false;
    const first = at;
    let group = 0;
    for (; at < end && at < first + 4; at++) {
      const digit = hexDigit(text[at] as number);
      if (digit < 0) break;
      group = group * 16 + digit;
    }
    if (at < end && text[at] === DOT) {
      // The last 32 bits may be an IPv4 address.
      const ipv4 = readAddress4(text, first, end);
      if (ipv4 < 0 || count > groups.length - 2) return false;
      groups[count++] = ipv4 >>> 16;
      groups[count++] = ipv4;
      break;
    }
    if (at === first) return false;
    groups[count++] = group;
    if (at === end) break;
    if (text[at++] !== COLON || at === end) return false;
    if (text[at] !== COLON) continue;
    if (gap >= 0) return false;
    gap = count;
    at++;
  }
  // RFC 4291: "::" stands for one or more groups.
  if (gap < 0 ? count !== groups.length : count === groups.length) return false;
  if (gap >= 0) {
    groups.copyWithin(groups.length - (count - gap), gap, count);
    groups.fill(0, gap, groups.length - (count - gap));
  }
  for (let i = 0; i < words.length; i++) words[i] = wordAt(2 * i);
  return true;
}

function wordAt(group: number): number {
  return ((groups[group] as number) << 16) | (groups[group + 1] as number);
}

/** The canonical text of RFC 5952: lower case, the longest run of two or more zero groups (the first of equals) as `::`. */
export function formatAddress6(address: Address6): string {
  const group = (i: number) => {
    const word = address[i >> 1] as number;
    return (i & 1) === 0 ? word >>> 16 : word & 0xffff;
  };
  let bestStart = -1;
  let bestLength = 1;
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && group(start + length) === 0) length++;
    if (length > bestLength) {
      bestStart = start;
      bestLength = length;
    }
    start += length;
  }
  let text = '';
  for (let i = 0; i < 8; i++) {
    if (i === bestStart) {
      text += '::';
      i += bestLength - 1;
    } else {
      text += i === 0 || i === bestStart + bestLength ? group(i).toString(16) : `:${group(i).toString(16)}`;
    }
  }
  return text;
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

/** The IPv6 address in the 16 bytes at `offset`, in network order, which must be there. Makes an array: not for every frame. */
export function address6At(bytes: Uint8Array, offset: number): Address6 {
  const word = (at: number) =>
    ((bytes[at] as number) << 24) |
    ((bytes[at + 1] as number) << 16) |
    ((bytes[at + 2] as number) << 8) |
    (bytes[at + 3] as number);
  return [word(offset), word(offset + 4), word(offset + 8), word(offset + 12)];
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

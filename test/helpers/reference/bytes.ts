/** Bytes, checksums and packets as objects: the reference translator computes everything anew and changes nothing in place. */

export const concat = (...parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));
export const u16 = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;
export const u32 = (bytes: Uint8Array, at: number): number => u16(bytes, at) * 65536 + u16(bytes, at + 2);

/** `value` as `length` bytes, most significant first. */
export function bytesOf(value: bigint | number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let rest = BigInt(value);
  for (let i = length - 1; i >= 0; i--) {
    bytes[i] = Number(rest & 255n);
    rest >>= 8n;
  }
  return bytes;
}

export function numberOf(bytes: Uint8Array): bigint {
  return bytes.reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

/** A copy of `bytes` with the 16-bit field at `at` set; unchanged where the field is not wholly inside. */
export function withU16(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const copy = bytes.slice();
  if (at + 2 <= copy.length) copy.set(bytesOf(value, 2), at);
  return copy;
}

/** The one's complement sum of RFC 1071: an odd last byte is padded with zero. */
export function onesSum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes[i]! * 256 + (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum % 65536) + Math.floor(sum / 65536);
  return sum;
}

export const checksum = (bytes: Uint8Array): number => 0xffff - onesSum(bytes);

/** The pseudo-header of RFC 793 and RFC 768. */
export function pseudo4(source: bigint, destination: bigint, protocol: number, length: number): Uint8Array {
  return concat(
    bytesOf(source, 4),
    bytesOf(destination, 4),
    bytesOf(0, 1),
    bytesOf(protocol, 1),
    bytesOf(length, 2),
  );
}

/** The pseudo-header of RFC 8200 section 8.1. */
export function pseudo6(source: bigint, destination: bigint, protocol: number, length: number): Uint8Array {
  return concat(
    bytesOf(source, 16),
    bytesOf(destination, 16),
    bytesOf(length, 4),
    bytesOf(0, 3),
    bytesOf(protocol, 1),
  );
}

/**
 * The checksum of `after`, wrong by as much as `field` was wrong about `before` (both with the field itself zero):
 * a translator must not repair what was damaged on the way.
 */
export function carriedChecksum(field: number, before: Uint8Array, after: Uint8Array): number {
  const result = (field - checksum(before) + checksum(after)) % 65535;
  return result < 0 ? result + 65535 : result;
}

/** The same for a partial checksum (virtio NEEDS_CSUM): the folded pseudo-header sum, not complemented, never 0. */
export function carriedPartial(field: number, before: Uint8Array, after: Uint8Array): number {
  const result = (field - onesSum(before) + onesSum(after)) % 65535;
  return result <= 0 ? result + 65535 : result;
}

export interface Packet4 {
  readonly tos: number;
  /** What the header says; equals header plus payload but in a quote that was cut. */
  readonly totalLength: number;
  readonly id: number;
  readonly df: boolean;
  readonly mf: boolean;
  /** In units of 8 bytes. */
  readonly offset: number;
  readonly ttl: number;
  readonly protocol: number;
  readonly source: bigint;
  readonly destination: bigint;
  readonly options: Uint8Array;
  readonly payload: Uint8Array;
}

/** Reads an IPv4 header; null if version, IHL or lengths do not fit. `isQuote`: bytes may be missing behind the header. */
export function parse4(bytes: Uint8Array, isQuote: boolean): Packet4 | null {
  if (bytes.length < 20 || bytes[0]! >> 4 !== 4) return null;
  const headerLength = (bytes[0]! & 15) * 4;
  const totalLength = u16(bytes, 2);
  if (headerLength < 20 || totalLength < headerLength || bytes.length < headerLength) return null;
  if (!isQuote && totalLength > bytes.length) return null;
  const flags = u16(bytes, 6);
  return {
    tos: bytes[1]!,
    totalLength,
    id: u16(bytes, 4),
    df: (flags & 0x4000) !== 0,
    mf: (flags & 0x2000) !== 0,
    offset: flags & 0x1fff,
    ttl: bytes[8]!,
    protocol: bytes[9]!,
    source: numberOf(bytes.subarray(12, 16)),
    destination: numberOf(bytes.subarray(16, 20)),
    options: bytes.slice(20, headerLength),
    payload: bytes.slice(headerLength, totalLength),
  };
}

/** Serializes without options. */
export function serialize4(packet: Omit<Packet4, 'options'>): Uint8Array {
  const header = concat(
    Uint8Array.of(0x45, packet.tos),
    bytesOf(packet.totalLength, 2),
    bytesOf(packet.id, 2),
    bytesOf((packet.df ? 0x4000 : 0) + (packet.mf ? 0x2000 : 0) + packet.offset, 2),
    Uint8Array.of(packet.ttl, packet.protocol, 0, 0),
    bytesOf(packet.source, 4),
    bytesOf(packet.destination, 4),
  );
  return concat(withU16(header, 10, checksum(header)), packet.payload);
}

export interface Fragment6 {
  readonly id: number;
  readonly offset: number;
  readonly more: boolean;
}

export interface Packet6 {
  readonly trafficClass: number;
  readonly flowLabel: number;
  /** What the header says. */
  readonly payloadLength: number;
  readonly nextHeader: number;
  readonly hopLimit: number;
  readonly source: bigint;
  readonly destination: bigint;
  /** Everything behind the fixed header: extension headers too. */
  readonly payload: Uint8Array;
}

export function parse6(bytes: Uint8Array, isQuote: boolean): Packet6 | null {
  if (bytes.length < 40 || bytes[0]! >> 4 !== 6) return null;
  const payloadLength = u16(bytes, 4);
  if (!isQuote && 40 + payloadLength > bytes.length) return null;
  return {
    trafficClass: (u16(bytes, 0) >> 4) & 255,
    flowLabel: u32(bytes, 0) % 2 ** 20,
    payloadLength,
    nextHeader: bytes[6]!,
    hopLimit: bytes[7]!,
    source: numberOf(bytes.subarray(8, 24)),
    destination: numberOf(bytes.subarray(24, 40)),
    payload: bytes.slice(40, 40 + payloadLength),
  };
}

/** Serializes with no extension headers but those inside `payload`. */
export function serialize6(packet: Packet6): Uint8Array {
  return concat(
    bytesOf(0x60000000 + packet.trafficClass * 0x100000 + packet.flowLabel, 4),
    bytesOf(packet.payloadLength, 2),
    Uint8Array.of(packet.nextHeader, packet.hopLimit),
    bytesOf(packet.source, 16),
    bytesOf(packet.destination, 16),
    packet.payload,
  );
}

export function fragmentHeader(nextHeader: number, fragment: Fragment6): Uint8Array {
  return concat(
    Uint8Array.of(nextHeader, 0),
    bytesOf(fragment.offset * 8 + (fragment.more ? 1 : 0), 2),
    bytesOf(fragment.id, 4),
  );
}

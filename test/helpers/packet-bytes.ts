/** Bytes, addresses as text, and the Internet checksum: what packet.ts and checker.ts share. Knows nothing of src/. */

export type Data = Uint8Array | string | readonly number[];

/** What an upper layer knows of the IP header around it. */
export interface Enclosing {
  readonly version: 4 | 6;
  readonly src: Uint8Array;
  readonly dst: Uint8Array;
}

export const PROTOCOL = {
  hopByHop: 0,
  icmp: 1,
  tcp: 6,
  udp: 17,
  dccp: 33,
  routing: 43,
  fragment: 44,
  icmp6: 58,
  none: 59,
  destinationOptions: 60,
  udpLite: 136,
} as const;

export const TCP_FLAGS = ['fin', 'syn', 'rst', 'psh', 'ack', 'urg', 'ece', 'cwr'] as const;
export type TcpFlag = (typeof TCP_FLAGS)[number];

export function toBytes(data: Data): Uint8Array {
  return typeof data === 'string' ? new TextEncoder().encode(data) : Uint8Array.from(data);
}

/** `length` bytes that differ from place to place. */
export function bytes(length: number, seed = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (seed + i * 31 + (i >> 8)) & 255);
}

/** The first `length` bytes of a packet, as a router quotes it. */
export const cut = (packet: Uint8Array, length: number): Uint8Array => packet.slice(0, length);

export function join(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

function integer(value: number, length: 1 | 2 | 4): Uint8Array {
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** (8 * length)) {
    throw new RangeError(`${value} does not fit ${8 * length} bits`);
  }
  const result = new Uint8Array(length);
  for (let i = 0; i < length; i++) result[i] = Math.floor(value / 2 ** (8 * (length - 1 - i))) & 255;
  return result;
}
export const u8 = (value: number) => integer(value, 1);
export const u16 = (value: number) => integer(value, 2);
export const u32 = (value: number) => integer(value, 4);

/** Bytes of an IPv4 address. */
export function address4(text: string): Uint8Array {
  const parts = text.split('.');
  const isGood = parts.length === 4 && parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) < 256);
  if (!isGood) throw new Error(`not an IPv4 address: ${text}`);
  return Uint8Array.from(parts, Number);
}

/** Bytes of an IPv6 address; the last two groups may be written as IPv4 (RFC 4291 section 2.2). */
export function address6(text: string): Uint8Array {
  const groupsOf = (part: string) =>
    (part === '' ? [] : part.split(':')).flatMap((group) => {
      if (group.includes('.')) return [...address4(group)];
      if (!/^[0-9a-f]{1,4}$/i.test(group)) throw new Error(`not an IPv6 address: ${text}`);
      return [...u16(Number.parseInt(group, 16))];
    });
  const halves = text.split('::');
  const head = groupsOf(halves[0]!);
  const tail = groupsOf(halves[1] ?? '');
  const missing = 16 - head.length - tail.length;
  if (halves.length > 2 || (halves.length === 2 ? missing < 2 : missing !== 0)) {
    throw new Error(`not an IPv6 address: ${text}`);
  }
  return Uint8Array.from([...head, ...new Array<number>(missing).fill(0), ...tail]);
}

/** The Internet checksum (RFC 1071), an odd last byte padded with zero; over correct data with its checksum in it, 0. */
export function checksum(...parts: readonly Uint8Array[]): number {
  const all = join(...parts);
  let sum = 0;
  for (let i = 0; i < all.length; i += 2) sum += all[i]! * 256 + (all[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return 0xffff - sum;
}

/** The pseudo-header of RFC 9293 section 3.1 (IPv4) or RFC 8200 section 8.1 (IPv6). */
export function pseudoHeader({ version, src, dst }: Enclosing, protocol: number, length: number): Uint8Array {
  return version === 4
    ? join(src, dst, u8(0), u8(protocol), u16(length))
    : join(src, dst, u32(length), Uint8Array.of(0, 0, 0, protocol));
}

/** Text of an address: IPv4, or IPv6 as RFC 5952 section 4 writes it. */
export function addressText(address: Uint8Array): string {
  if (address.length === 4) return address.join('.');
  const groups = Array.from({ length: 8 }, (_, i) => address[2 * i]! * 256 + address[2 * i + 1]!);
  const hex = (part: number[]) => part.map((group) => group.toString(16)).join(':');
  let best = 0;
  let length = 1;
  for (let from = 0; from < 8; from++) {
    const end = groups.findIndex((group, i) => i >= from && group !== 0);
    const run = (end < 0 ? 8 : end) - from;
    // The longest run of zeros, the first of equals, and none of a single group.
    if (run > length) [best, length] = [from, run];
  }
  if (length === 1) return hex(groups);
  return `${hex(groups.slice(0, best))}::${hex(groups.slice(best + length))}`;
}

/** `data` with zeros behind it up to a multiple of `unit`, and at least `least` bytes. */
export function padded(data: Uint8Array, unit: number, least = 0): Uint8Array {
  const length = Math.max(Math.ceil(data.length / unit) * unit, least);
  return join(data, new Uint8Array(length - data.length));
}

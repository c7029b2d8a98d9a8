/**
 * Packets back to plain objects, every checksum verified in full, and a comparison with what was expected:
 *
 *   check(frame, 4, { src: '10.64.3.7', ttl: 63, upper: { kind: 'udp', dport: 53 } });
 *   decode(frame, 6).upper
 *
 * `check` wants only the fields that it is given, but every checksum right, in quoted packets too, unless it is told another
 * state. An oracle: knows nothing of src/.
 */
import { AssertionError } from 'node:assert';
import { isDeepStrictEqual } from 'node:util';
import {
  addressText,
  checksum,
  type Enclosing,
  PROTOCOL,
  pseudoHeader,
  TCP_FLAGS,
  type TcpFlag,
} from './packet-bytes.js';

/**
 * good, bad; none: UDP's 0; pseudo: only the pseudo-header's sum, as a frame has it whose checksum is left to the network card;
 * unknown: bytes are missing that it covers (a cut quote, a fragment).
 */
export type ChecksumState = 'good' | 'bad' | 'none' | 'pseudo' | 'unknown';

export type Upper =
  | { kind: 'udp'; sport: number; dport: number; length: number; checksum: ChecksumState; data: Uint8Array }
  | {
      kind: 'tcp';
      sport: number;
      dport: number;
      seq: number;
      ack: number;
      flags: TcpFlag[];
      window: number;
      urgent: number;
      options: Uint8Array;
      checksum: ChecksumState;
      data: Uint8Array;
    }
  | DecodedIcmp
  /** Another protocol, a piece of a packet that is not its first, or a header that is cut or malformed. */
  | { kind: 'raw'; protocol: number; checksum?: ChecksumState; data: Uint8Array };

export interface DecodedIcmp {
  kind: 'icmp';
  /** The family of the message, which is wrong if it is not that of the packet. */
  family: 4 | 6;
  type: number;
  code: number;
  /** Bytes 4 to 7. */
  rest: number;
  checksum: ChecksumState;
  /** Echoes only. */
  id?: number;
  seq?: number;
  /** Errors only: packet too big and fragmentation needed; parameter problem; the packet that it is about; RFC 4884. */
  mtu?: number;
  pointer?: number;
  quoted?: Decoded;
  extensions?: DecodedExtensions;
  data: Uint8Array;
}

export interface DecodedExtensions {
  version: number;
  checksum: ChecksumState;
  /** Bytes of the quoted packet with its padding, as the length field says. */
  originalBytes: number;
  objects: { classNum: number; cType: number; data: Uint8Array }[];
}

export interface Decoded4 {
  version: number;
  headerLength: number;
  tos: number;
  totalLength: number;
  id: number;
  df: boolean;
  mf: boolean;
  offsetBytes: number;
  ttl: number;
  protocol: number;
  checksum: ChecksumState;
  src: string;
  dst: string;
  options: Uint8Array;
  upper: Upper;
  /** Bytes behind the end that the header tells. */
  trailing: number;
}

export type DecodedExtension =
  | { kind: 'fragment'; offsetBytes: number; more: boolean; id: number; reserved: number }
  | { kind: 'hop-by-hop' | 'destination-options' | 'routing'; data: Uint8Array };

export interface Decoded6 {
  version: number;
  trafficClass: number;
  flowLabel: number;
  payloadLength: number;
  nextHeader: number;
  hopLimit: number;
  src: string;
  dst: string;
  extensions: DecodedExtension[];
  upper: Upper;
  trailing: number;
}

export type Decoded = Decoded4 | Decoded6;

const u16 = (data: Uint8Array, at: number): number => data[at]! * 256 + data[at + 1]!;
const u32 = (data: Uint8Array, at: number): number => u16(data, at) * 65536 + u16(data, at + 2);

/** Decodes a packet. Throws where its IP header or the length in it does not fit the bytes; `isQuoted` ones may be cut. */
export function decode(data: Uint8Array, version: 4, isQuoted?: boolean): Decoded4;
export function decode(data: Uint8Array, version: 6, isQuoted?: boolean): Decoded6;
export function decode(data: Uint8Array, version: 4 | 6, isQuoted?: boolean): Decoded;
export function decode(data: Uint8Array, version: 4 | 6, isQuoted = false): Decoded {
  const headerLength = version === 4 ? (data[0]! & 15) * 4 : 40;
  if (data[0]! >> 4 !== version) throw new Error(`not IPv${version}: ${hex(data)}`);
  if (headerLength < 20 || data.length < headerLength) throw new Error(`the IP header is cut: ${hex(data)}`);
  const total = version === 4 ? u16(data, 2) : 40 + u16(data, 4);
  if (total < headerLength || (total > data.length && !isQuoted)) {
    throw new Error(`the IP header tells of ${total} bytes, there are ${data.length}: ${hex(data)}`);
  }
  const packet = data.slice(0, total);
  const trailing = data.length - packet.length;
  return version === 4 ? decode4(packet, headerLength, trailing) : decode6(packet, trailing);
}

function decode4(packet: Uint8Array, headerLength: number, trailing: number): Decoded4 {
  const ip: Enclosing = { version: 4, src: packet.slice(12, 16), dst: packet.slice(16, 20) };
  const offsetBytes = (u16(packet, 6) & 0x1fff) * 8;
  const mf = (packet[6]! & 0x20) !== 0;
  const totalLength = u16(packet, 2);
  const isWhole = packet.length === totalLength && offsetBytes === 0 && !mf;
  return {
    version: 4,
    headerLength,
    tos: packet[1]!,
    totalLength,
    id: u16(packet, 4),
    df: (packet[6]! & 0x40) !== 0,
    mf,
    offsetBytes,
    ttl: packet[8]!,
    protocol: packet[9]!,
    checksum: checksum(packet.slice(0, headerLength)) === 0 ? 'good' : 'bad',
    src: addressText(ip.src),
    dst: addressText(ip.dst),
    options: packet.slice(20, headerLength),
    upper: decodeUpper(ip, packet[9]!, packet.slice(headerLength), isWhole, offsetBytes > 0),
    trailing,
  };
}

const EXTENSION_KINDS = {
  [PROTOCOL.hopByHop]: 'hop-by-hop',
  [PROTOCOL.routing]: 'routing',
  [PROTOCOL.destinationOptions]: 'destination-options',
} as const;

function decode6(packet: Uint8Array, trailing: number): Decoded6 {
  const ip: Enclosing = { version: 6, src: packet.slice(8, 24), dst: packet.slice(24, 40) };
  const extensions: DecodedExtension[] = [];
  let isWhole = packet.length === 40 + u16(packet, 4);
  let isLater = false;
  let protocol = packet[6]!;
  let at = 40;
  while (!isLater && at + 8 <= packet.length) {
    const length = protocol === PROTOCOL.fragment ? 8 : 8 * (packet[at + 1]! + 1);
    if (protocol === PROTOCOL.fragment) {
      const word = u16(packet, at + 2);
      const offsetBytes = word & 0xfff8;
      const more = (word & 1) !== 0;
      extensions.push({
        kind: 'fragment',
        offsetBytes,
        more,
        id: u32(packet, at + 4),
        reserved: packet[at + 1]! * 4 + ((word >> 1) & 3),
      });
      isLater = offsetBytes > 0;
      isWhole &&= !isLater && !more;
    } else if (protocol in EXTENSION_KINDS && at + length <= packet.length) {
      const kind = EXTENSION_KINDS[protocol as keyof typeof EXTENSION_KINDS];
      extensions.push({ kind, data: packet.slice(at + 2, at + length) });
    } else break;
    protocol = packet[at]!;
    at += length;
  }
  return {
    version: 6,
    trafficClass: (u16(packet, 0) >> 4) & 255,
    flowLabel: u32(packet, 0) % 2 ** 20,
    payloadLength: u16(packet, 4),
    nextHeader: packet[6]!,
    hopLimit: packet[7]!,
    src: addressText(ip.src),
    dst: addressText(ip.dst),
    extensions,
    upper: decodeUpper(ip, protocol, packet.slice(at), isWhole, isLater),
    trailing,
  };
}

/** Where the checksum lies, by protocol. */
const CHECKSUM_AT: Readonly<Record<number, number>> = {
  [PROTOCOL.icmp]: 2,
  [PROTOCOL.tcp]: 16,
  [PROTOCOL.udp]: 6,
  [PROTOCOL.dccp]: 6,
  [PROTOCOL.icmp6]: 2,
  [PROTOCOL.udpLite]: 6,
};

function decodeUpper(
  ip: Enclosing,
  protocol: number,
  data: Uint8Array,
  isWhole: boolean,
  isLater: boolean,
): Upper {
  const at = CHECKSUM_AT[protocol];
  if (isLater || at === undefined || data.length < at + 2) return { kind: 'raw', protocol, data };
  const state = isWhole ? checksumState(ip, protocol, data, at) : 'unknown';
  if (protocol === PROTOCOL.udp && data.length >= 8) {
    return {
      kind: 'udp',
      sport: u16(data, 0),
      dport: u16(data, 2),
      length: u16(data, 4),
      checksum: u16(data, 6) === 0 ? 'none' : state,
      data: data.slice(8),
    };
  }
  const tcpLength = (data[12]! >> 4) * 4;
  if (protocol === PROTOCOL.tcp && data.length >= tcpLength && tcpLength >= 20) {
    return {
      kind: 'tcp',
      sport: u16(data, 0),
      dport: u16(data, 2),
      seq: u32(data, 4),
      ack: u32(data, 8),
      flags: TCP_FLAGS.filter((_, i) => (data[13]! >> i) & 1),
      window: u16(data, 14),
      urgent: u16(data, 18),
      options: data.slice(20, tcpLength),
      checksum: state,
      data: data.slice(tcpLength),
    };
  }
  const isIcmp = protocol === PROTOCOL.icmp || protocol === PROTOCOL.icmp6;
  if (isIcmp && data.length >= 8) return decodeIcmp(protocol === PROTOCOL.icmp ? 4 : 6, data, state);
  return { kind: 'raw', protocol, checksum: state, data };
}

function checksumState(ip: Enclosing, protocol: number, data: Uint8Array, at: number): ChecksumState {
  // RFC 3828 and RFC 4340: a coverage of 0 is the whole message; partial ones are not verified here.
  if (protocol === PROTOCOL.udpLite && u16(data, 4) !== 0) return 'unknown';
  if (protocol === PROTOCOL.dccp && (data[5]! & 15) !== 0) return 'unknown';
  const pseudo = protocol === PROTOCOL.icmp ? new Uint8Array() : pseudoHeader(ip, protocol, data.length);
  if (checksum(pseudo, data) === 0) return 'good';
  return pseudo.length > 0 && u16(data, at) === 0xffff - checksum(pseudo) ? 'pseudo' : 'bad';
}

/** ICMP types by family: [echoes], [errors], the one with a pointer, [those that RFC 4884 extends]. */
const ICMP_TYPES = {
  4: { echoes: [0, 8], errors: [3, 4, 5, 11, 12], pointer: 12, extended: [3, 11, 12] },
  6: { echoes: [128, 129], errors: [1, 2, 3, 4], pointer: 4, extended: [1, 3] },
} as const;
const isOneOf = (list: readonly number[], type: number): boolean => list.includes(type);

function decodeIcmp(family: 4 | 6, message: Uint8Array, state: ChecksumState): DecodedIcmp {
  const [type, code] = [message[0]!, message[1]!];
  const types = ICMP_TYPES[family];
  const rest = u32(message, 4);
  const data = message.slice(8);
  const base = { kind: 'icmp', family, type, code, rest, checksum: state, data } as const;
  if (isOneOf(types.echoes, type)) return { ...base, id: u16(message, 4), seq: u16(message, 6) };
  if (!isOneOf(types.errors, type)) return base;

  // RFC 4884 section 3: the length lies in byte 5 in 32-bit words, for ICMPv6 in byte 4 in 64-bit words.
  const words = isOneOf(types.extended, type) ? message[family === 4 ? 5 : 4]! : 0;
  const originalBytes = words * (family === 4 ? 4 : 8);
  const quote = originalBytes === 0 ? data : data.slice(0, originalBytes);
  const quotedHeader = family === 4 ? 20 : 40;
  const hasQuote = quote.length >= quotedHeader && quote[0]! >> 4 === family;
  return {
    ...base,
    ...(family === 4 && type === 3 && code === 4 ? { mtu: u16(message, 6) } : {}),
    ...(family === 6 && type === 2 ? { mtu: rest } : {}),
    ...(type === types.pointer ? { pointer: family === 4 ? message[4]! : rest } : {}),
    ...(hasQuote ? { quoted: decode(quote, family, true) } : {}),
    ...(originalBytes === 0
      ? {}
      : { extensions: decodeExtensions(data.slice(originalBytes), originalBytes) }),
  };
}

function decodeExtensions(structure: Uint8Array, originalBytes: number): DecodedExtensions {
  const objects: DecodedExtensions['objects'] = [];
  for (let at = 4; at + 4 <= structure.length; ) {
    const length = u16(structure, at);
    if (length < 4 || at + length > structure.length)
      throw new Error(`an extension object is cut: ${hex(structure)}`);
    objects.push({
      classNum: structure[at + 2]!,
      cType: structure[at + 3]!,
      data: structure.slice(at + 4, at + length),
    });
    at += length;
  }
  const state = checksum(structure) === 0 && structure.length >= 4 ? 'good' : 'bad';
  return { version: structure[0]! >> 4, checksum: state, originalBytes, objects };
}

type Plain = string | number | boolean | Uint8Array | undefined;
/** Some fields of what `decode` returns, as deep as wanted; an array is compared item by item, and has to have as many. */
export type Expected = { readonly [field: string]: Plain | Expected | readonly (Plain | Expected)[] };

/**
 * Decodes a packet and compares it with what is expected of it. Throws an AssertionError with a line for each field that differs,
 * with the whole packet below. Returns the packet.
 */
export function check(data: Uint8Array, version: 4, expected?: Expected): Decoded4;
export function check(data: Uint8Array, version: 6, expected?: Expected): Decoded6;
export function check(data: Uint8Array, version: 4 | 6, expected: Expected = {}): Decoded {
  const decoded = decode(data, version);
  // Nothing may follow the packet, unless that is expected.
  const problems = differences(decoded, { trailing: 0, ...expected }, '');
  if (problems.length > 0) {
    const whole = show(decoded, '  ');
    throw new AssertionError({
      message: `the packet is not as expected:\n${problems.map((line) => `- ${line}`).join('\n')}\nIt is:\n${whole}\n${hex(data)}`,
      actual: decoded,
      expected,
      stackStartFn: check,
    });
  }
  return decoded;
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !(value instanceof Uint8Array);

/** A line for each field that differs, and for each checksum that is bad and was not expected to be. */
function differences(actual: unknown, expected: unknown, path: string): string[] {
  if (!isObject(actual) || (expected !== undefined && !isObject(expected))) {
    if (expected === undefined)
      return path.endsWith('checksum') && isWrong(actual) ? [`${path}: ${actual}`] : [];
    return isDeepStrictEqual(actual, expected)
      ? []
      : [`${path}: expected ${text(expected)}, is ${text(actual)}`];
  }
  const wanted: Record<string, unknown> = expected ?? {};
  if (Array.isArray(actual) && Array.isArray(wanted) && actual.length !== wanted.length) {
    return [`${path}: expected ${wanted.length} of them, there are ${actual.length}`];
  }
  return [...new Set([...Object.keys(actual), ...Object.keys(wanted)])].flatMap((key) =>
    differences(actual[key], wanted[key], path === '' ? key : `${path}.${key}`),
  );
}

const isWrong = (state: unknown): boolean => state === 'bad' || state === 'pseudo';

function text(value: unknown): string {
  if (value instanceof Uint8Array) return `${value.length} bytes ${hex(value)}`;
  return isObject(value) ? JSON.stringify(value) : String(value);
}

function show(value: unknown, indent: string): string {
  if (!isObject(value)) return text(value);
  return Object.entries(value)
    .map(
      ([key, inner]) =>
        `${indent}${key}: ${isObject(inner) ? `\n${show(inner, `${indent}  `)}` : text(inner)}`,
    )
    .join('\n');
}

/** The first 96 bytes, as pairs of digits. */
function hex(data: Uint8Array): string {
  const shown = [...data.slice(0, 96)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
  return data.length > 96 ? `${shown} …` : shown;
}

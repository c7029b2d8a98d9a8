/**
 * Packets from plain objects, every checksum computed in full. An oracle: knows nothing of src/.
 *
 *   ipv6({ src: '2001:db8::1', dst: '64:ff9b:1::8.8.8.8' }, udp({ sport: 1, dport: 53 }, 'hello'))
 *   ipv4({ src: '8.8.8.8', dst: '10.64.3.7', df: true }, tcp({ flags: ['syn'], options: mss(1460) }))
 *   ipv6({ src, dst }, hopByHop(), fragment6({ id: 7 }), udp({}, bytes(100)))
 *   fragments(ipv6({ src, dst }, udp({}, bytes(4000))), 1232)
 *   ipv4({ src, dst }, icmp({ type: 3, code: 4, mtu: 1400 }, cut(offender, 28)))
 *
 * The layers of one packet are written side by side, outermost first. An upper layer takes its pseudo-header from the IP header
 * around it. Addresses are text. A field left out has the value that a sane host would send.
 */

import {
  address4,
  address6,
  checksum,
  type Data,
  type Enclosing,
  join,
  PROTOCOL,
  padded,
  pseudoHeader,
  TCP_FLAGS,
  type TcpFlag,
  toBytes,
  u8,
  u16,
  u32,
} from './packet-bytes.js';

export { bytes, cut, type Data, type Enclosing, join, PROTOCOL, type TcpFlag } from './packet-bytes.js';

/** How a checksum is written: right, right with a bit flipped, or this value. */
export type Checksum = 'right' | 'wrong' | number;
/** A layer under an IP header: its protocol number and its bytes, `inner` being what follows it. */
export interface Layer {
  protocol(version: 4 | 6): number;
  build(ip: Enclosing, inner: Uint8Array, innerProtocol: number): Uint8Array;
}

/** Writes the checksum over `pseudo` and `message` into `message`. A wrong one of UDP is not 0 either. */
function putChecksum(
  message: Uint8Array,
  at: number,
  how: Checksum,
  pseudo: Uint8Array,
  isUdp = false,
): void {
  message.set([0, 0], at);
  let sum = checksum(pseudo, message);
  // RFC 768: 0 says that there is none, so a sum of 0 is sent as its other form.
  if (isUdp && sum === 0) sum = 0xffff;
  message.set(u16(typeof how === 'number' ? how : how === 'wrong' ? sum ^ 0x0100 || 0x5555 : sum), at);
}

const EMPTY = new Uint8Array();
type Part = Layer | Data;
const isLayer = (part: Part): part is Layer => typeof part === 'object' && 'build' in part;

/** The bytes under an IP header, and their protocol. Data may only come last. */
function buildLayers(ip: Enclosing, parts: readonly Part[]): { protocol: number; payload: Uint8Array } {
  let payload: Uint8Array = EMPTY;
  let protocol: number = PROTOCOL.none;
  for (const [i, part] of [...parts].reverse().entries()) {
    if (isLayer(part)) {
      payload = part.build(ip, payload, protocol);
      protocol = part.protocol(ip.version);
    } else if (i === 0) {
      payload = toBytes(part);
    } else throw new Error('data has to be the last part of a packet');
  }
  return { protocol, payload };
}

export interface Ipv4Fields {
  src: string;
  dst: string;
  ttl?: number;
  tos?: number;
  id?: number;
  df?: boolean;
  mf?: boolean;
  /** A multiple of 8. */
  offsetBytes?: number;
  /** Padded with zeros to a multiple of 4. */
  options?: Data;
  /** Of the header. */
  checksum?: Checksum;
  /** What the header says; by default the truth. */
  protocol?: number;
  totalLength?: number;
  version?: number;
}

export function ipv4(fields: Ipv4Fields, ...parts: readonly Part[]): Uint8Array {
  const ip: Enclosing = { version: 4, src: address4(fields.src), dst: address4(fields.dst) };
  const { protocol, payload } = buildLayers(ip, parts);
  const options = padded(toBytes(fields.options ?? []), 4);
  const flags = (fields.df ? 0x4000 : 0) | (fields.mf ? 0x2000 : 0);
  const headerLength = 20 + options.length;
  const header = join(
    u8(((fields.version ?? 4) << 4) | (headerLength / 4)),
    u8(fields.tos ?? 0),
    u16(fields.totalLength ?? headerLength + payload.length),
    u16(fields.id ?? 0),
    u16(flags | inUnitsOf8(fields.offsetBytes ?? 0)),
    u8(fields.ttl ?? 64),
    u8(fields.protocol ?? protocol),
    u16(0),
    ip.src,
    ip.dst,
    options,
  );
  putChecksum(header, 10, fields.checksum ?? 'right', EMPTY);
  return join(header, payload);
}

export interface Ipv6Fields {
  src: string;
  dst: string;
  hopLimit?: number;
  trafficClass?: number;
  flowLabel?: number;
  /** What the header says; by default the truth. */
  nextHeader?: number;
  payloadLength?: number;
  version?: number;
}

export function ipv6(fields: Ipv6Fields, ...parts: readonly Part[]): Uint8Array {
  const ip: Enclosing = { version: 6, src: address6(fields.src), dst: address6(fields.dst) };
  const { protocol, payload } = buildLayers(ip, parts);
  const { version = 6, trafficClass = 0, flowLabel = 0 } = fields;
  return join(
    u32(version * 2 ** 28 + trafficClass * 2 ** 20 + flowLabel),
    u16(fields.payloadLength ?? payload.length),
    u8(fields.nextHeader ?? protocol),
    u8(fields.hopLimit ?? 64),
    ip.src,
    ip.dst,
    payload,
  );
}

function inUnitsOf8(offsetBytes: number): number {
  if (offsetBytes % 8 !== 0) throw new RangeError(`a fragment offset of ${offsetBytes} is no multiple of 8`);
  return offsetBytes / 8;
}

/** An extension header with a length field (RFC 8200 section 4.2): `body` comes behind next header and length, padded to 8 bytes. */
export function extension(protocol: number, body: Data = [1, 4, 0, 0, 0, 0]): Layer {
  const content = padded(join(new Uint8Array(2), toBytes(body)), 8);
  return {
    protocol: () => protocol,
    build: (_ip, inner, innerProtocol) =>
      join(u8(innerProtocol), u8(content.length / 8 - 1), content.subarray(2), inner),
  };
}

/** Options are PadN unless given. */
export const hopByHop = (options?: Data): Layer => extension(PROTOCOL.hopByHop, options);
export const destinationOptions = (options?: Data): Layer => extension(PROTOCOL.destinationOptions, options);
/** The upper layer's checksum takes the IPv6 header's destination, which is the final one only with no segments left (RFC 8200 section 8.1). */
export const routing = ({ type = 0, segmentsLeft = 0 } = {}): Layer =>
  extension(PROTOCOL.routing, [type, segmentsLeft, 0, 0, 0, 0]);

export interface Fragment6Fields {
  id?: number;
  /** A multiple of 8. */
  offsetBytes?: number;
  more?: boolean;
  /** What the header says of its content; needed in front of data. */
  nextHeader?: number;
}

/**
 * The Fragment header of RFC 8200 section 4.5; atomic unless told otherwise. An upper layer behind it has the checksum of what is
 * here: for true pieces of a larger packet use `fragments`.
 */
export function fragment6({ id = 0, offsetBytes = 0, more = false, nextHeader }: Fragment6Fields): Layer {
  return {
    protocol: () => PROTOCOL.fragment,
    build: (_ip, inner, innerProtocol) =>
      join(
        Uint8Array.of(nextHeader ?? innerProtocol, 0),
        u16((inUnitsOf8(offsetBytes) << 3) | (more ? 1 : 0)),
        u32(id),
        inner,
      ),
  };
}

/** An upper layer of any protocol; with `checksumAt`, a checksum over pseudo-header and content is written there. */
export function raw(
  protocol: number,
  { checksumAt, checksum: how = 'right' }: { checksumAt?: number; checksum?: Checksum } = {},
): Layer {
  return {
    protocol: () => protocol,
    build: (ip, inner) => {
      const message = inner.slice();
      if (checksumAt !== undefined)
        putChecksum(message, checksumAt, how, pseudoHeader(ip, protocol, message.length));
      return message;
    },
  };
}

export interface UdpFields {
  sport?: number;
  dport?: number;
  /** 0: none. */
  checksum?: Checksum;
  length?: number;
}

export function udp(
  { sport = 40000, dport = 53, checksum: how = 'right', length }: UdpFields,
  data: Data = [],
): Layer {
  const content = toBytes(data);
  return {
    protocol: () => PROTOCOL.udp,
    build: (ip, inner) => {
      refuseInner(inner);
      const message = join(u16(sport), u16(dport), u16(length ?? 8 + content.length), u16(0), content);
      putChecksum(message, 6, how, pseudoHeader(ip, PROTOCOL.udp, message.length), true);
      return message;
    },
  };
}

export interface TcpFields {
  sport?: number;
  dport?: number;
  seq?: number;
  ack?: number;
  flags?: readonly TcpFlag[];
  window?: number;
  urgent?: number;
  /** Padded with zeros to a multiple of 4. */
  options?: Data;
  checksum?: Checksum;
}

export function tcp(fields: TcpFields, data: Data = []): Layer {
  const options = padded(toBytes(fields.options ?? []), 4);
  const flags = (fields.flags ?? ['ack']).reduce((sum, flag) => sum | (1 << TCP_FLAGS.indexOf(flag)), 0);
  const content = toBytes(data);
  return {
    protocol: () => PROTOCOL.tcp,
    build: (ip, inner) => {
      refuseInner(inner);
      const message = join(
        u16(fields.sport ?? 40000),
        u16(fields.dport ?? 80),
        u32(fields.seq ?? 1),
        u32(fields.ack ?? 0),
        Uint8Array.of(((20 + options.length) / 4) << 4, flags),
        u16(fields.window ?? 65535),
        u16(0),
        u16(fields.urgent ?? 0),
        options,
        content,
      );
      putChecksum(message, 16, fields.checksum ?? 'right', pseudoHeader(ip, PROTOCOL.tcp, message.length));
      return message;
    },
  };
}

/** The TCP option of a SYN. */
export const mss = (value: number): Uint8Array => join(Uint8Array.of(2, 4), u16(value));

/** An object of RFC 4884 section 8. */
export interface ExtensionObject {
  classNum: number;
  cType: number;
  data: Data;
}

export interface IcmpFields {
  type: number;
  code?: number;
  checksum?: Checksum;
  /** Bytes 4 to 7: at most one of `id` with `seq`, `mtu`, `pointer` and `rest`. `mtu` and `pointer` lie where the family has them. */
  id?: number;
  seq?: number;
  mtu?: number;
  pointer?: number;
  rest?: number;
  /** RFC 4884: the data is padded with zeros to 128 bytes and the family's unit, its length noted, and these follow. */
  extensions?: readonly ExtensionObject[];
}

/** An ICMP message of the family of the IP header around it; `data` is what follows its first 8 bytes, e.g. a quoted packet. */
export function icmp(fields: IcmpFields, data: Data = []): Layer {
  const protocol = (version: 4 | 6) => (version === 4 ? PROTOCOL.icmp : PROTOCOL.icmp6);
  return {
    protocol,
    build: (ip, inner) => {
      refuseInner(inner);
      const is4 = ip.version === 4;
      const rest = restOfHeader(fields, is4);
      let body = toBytes(data);
      if (fields.extensions !== undefined) {
        // RFC 4884 section 3: the length lies in byte 5 in 32-bit words, for ICMPv6 in byte 4 in 64-bit words.
        const unit = is4 ? 4 : 8;
        body = padded(body, unit, 128);
        rest[is4 ? 1 : 0] = body.length / unit;
        body = join(body, extensionStructure(fields.extensions));
      }
      const message = join(u8(fields.type), u8(fields.code ?? 0), u16(0), rest, body);
      const pseudo = is4 ? EMPTY : pseudoHeader(ip, PROTOCOL.icmp6, message.length);
      putChecksum(message, 2, fields.checksum ?? 'right', pseudo);
      return message;
    },
  };
}

/** An echo request or reply with the type number of its family. */
export function echo(
  fields: { reply?: boolean; id?: number; seq?: number; checksum?: Checksum },
  data: Data = [],
): Layer {
  const { reply = false, id = 1, seq = 1, checksum: how = 'right' } = fields;
  const of = (version: 4 | 6) =>
    icmp({ type: version === 4 ? (reply ? 0 : 8) : reply ? 129 : 128, id, seq, checksum: how }, data);
  return {
    protocol: (version) => of(version).protocol(version),
    build: (ip, inner, innerProtocol) => of(ip.version).build(ip, inner, innerProtocol),
  };
}

function restOfHeader({ id, seq, mtu, pointer, rest }: IcmpFields, is4: boolean): Uint8Array {
  if (id !== undefined || seq !== undefined) return join(u16(id ?? 0), u16(seq ?? 0));
  if (mtu !== undefined) return is4 ? join(u16(0), u16(mtu)) : u32(mtu);
  if (pointer !== undefined) return is4 ? Uint8Array.of(pointer, 0, 0, 0) : u32(pointer);
  return u32(rest ?? 0);
}

/** RFC 4884 section 7: version 2, a checksum over the whole structure, then the objects. */
function extensionStructure(objects: readonly ExtensionObject[]): Uint8Array {
  const parts = objects.map(({ classNum, cType, data }) => {
    const content = toBytes(data);
    return join(u16(4 + content.length), Uint8Array.of(classNum, cType), content);
  });
  const structure = join(Uint8Array.of(0x20, 0, 0, 0), ...parts);
  putChecksum(structure, 2, 'right', EMPTY);
  return structure;
}

function refuseInner(inner: Uint8Array): void {
  if (inner.length > 0) throw new Error('an upper layer takes its data as an argument and ends the packet');
}

/** Cuts a whole packet into fragments with at most `pieceBytes` (rounded down to a multiple of 8) of its payload each. */
export function fragments(packet: Uint8Array, pieceBytes: number, id = 1): Uint8Array[] {
  const is4 = packet[0]! >> 4 === 4;
  const headerLength = is4 ? (packet[0]! & 15) * 4 : 40;
  const header = packet.slice(0, headerLength);
  const payload = packet.slice(headerLength);
  const size = pieceBytes - (pieceBytes % 8);
  if (size <= 0) throw new RangeError('a piece holds 8 bytes at least');
  const result: Uint8Array[] = [];
  for (let at = 0; at < payload.length; at += size) {
    const piece = payload.slice(at, at + size);
    const more = at + size < payload.length;
    const own = header.slice();
    if (is4) {
      own.set(u16(headerLength + piece.length), 2);
      own.set(u16(id), 4);
      own.set(u16((more ? 0x2000 : 0) | (at / 8)), 6);
      putChecksum(own, 10, 'right', EMPTY);
      result.push(join(own, piece));
    } else {
      own.set(u16(8 + piece.length), 4);
      own[6] = PROTOCOL.fragment;
      const fragmentHeader = join(Uint8Array.of(header[6]!, 0), u16(at | (more ? 1 : 0)), u32(id));
      result.push(join(own, fragmentHeader, piece));
    }
  }
  return result;
}

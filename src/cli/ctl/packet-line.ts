/** A captured frame in words. */
import type { CapturedPacket } from '../../control/capture/pcapng.js';
import { address6At, formatAddress4, formatAddress6 } from '../../wire/address.js';
import { get16 } from '../../wire/bytes.js';
import {
  FRAGMENT_HEADER,
  IPV4_DESTINATION,
  IPV4_FRAGMENT,
  IPV4_HEADER,
  IPV4_OFFSET_MASK,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  IPV6_DESTINATION,
  IPV6_HEADER,
  IPV6_NEXT_HEADER,
  IPV6_SOURCE,
  PROTO_FRAGMENT,
  PROTO_ICMP,
  PROTO_ICMPV6,
  PROTO_TCP,
  PROTO_UDP,
} from '../../wire/ip.js';
import { printable } from './format.js';

const NAMES: Readonly<Record<number, string>> = {
  [PROTO_ICMP]: 'ICMP',
  [PROTO_TCP]: 'TCP',
  [PROTO_UDP]: 'UDP',
  [PROTO_ICMPV6]: 'ICMPv6',
};

export interface PacketDescription {
  readonly time: string;
  readonly side: 'v6' | 'v4';
  readonly direction: 'in' | 'out';
  readonly source: string;
  readonly destination: string;
  /** Of the upper layer, with its ports, or its type and code. */
  readonly upper: string;
  readonly length: number;
  readonly comment: string | null;
}

export function describePacket(packet: CapturedPacket): PacketDescription {
  const { ns, isOutbound, length, comment } = packet;
  const seconds = new Date(Number(ns / 1_000_000_000n) * 1000).toISOString().slice(0, 19);
  return {
    time: `${seconds}.${String(ns % 1_000_000_000n).padStart(9, '0')}Z`,
    side: versionOf(packet.bytes) === 6 ? 'v6' : 'v4',
    direction: isOutbound ? 'out' : 'in',
    ...headers(packet.bytes),
    length,
    comment,
  };
}

export function showPacket(packet: CapturedPacket): string {
  const { time, side, direction, source, destination, upper, length, comment } = describePacket(packet);
  const what = comment === null ? '' : `  (${printable(comment)})`;
  return `${time} ${side} ${direction.padEnd(3)} ${source} > ${destination}: ${upper}, ${length} bytes${what}`;
}

function versionOf(bytes: Uint8Array): number {
  return bytes.length > 0 ? (bytes[0] as number) >>> 4 : 0;
}

function headers(bytes: Uint8Array): Pick<PacketDescription, 'source' | 'destination' | 'upper'> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const version = versionOf(bytes);
  if (version === 4 && bytes.length >= IPV4_HEADER) {
    const isFirst = (get16(bytes, IPV4_FRAGMENT) & IPV4_OFFSET_MASK) === 0;
    return {
      source: formatAddress4(view.getUint32(IPV4_SOURCE)),
      destination: formatAddress4(view.getUint32(IPV4_DESTINATION)),
      upper: upperLayer(bytes, bytes[IPV4_PROTOCOL] as number, ((bytes[0] as number) & 15) * 4, isFirst),
    };
  }
  if (version === 6 && bytes.length >= IPV6_HEADER) {
    const at = (offset: number) => formatAddress6(address6At(bytes, offset));
    const next = bytes[IPV6_NEXT_HEADER] as number;
    const isFragment = next === PROTO_FRAGMENT && bytes.length >= IPV6_HEADER + FRAGMENT_HEADER;
    const upper = isFragment
      ? upperLayer(
          bytes,
          bytes[IPV6_HEADER] as number,
          IPV6_HEADER + FRAGMENT_HEADER,
          get16(bytes, IPV6_HEADER + 2) >>> 3 === 0,
        )
      : upperLayer(bytes, next, IPV6_HEADER, true);
    return { source: at(IPV6_SOURCE), destination: at(IPV6_DESTINATION), upper };
  }
  return { source: '?', destination: '?', upper: 'no IP' };
}

function upperLayer(bytes: Uint8Array, protocol: number, at: number, isFirst: boolean): string {
  const name = NAMES[protocol] ?? `protocol ${protocol}`;
  if (!isFirst) return `${name}, a later fragment`;
  if (at + 4 > bytes.length) return name;
  if (protocol === PROTO_TCP || protocol === PROTO_UDP)
    return `${name} ${get16(bytes, at)} > ${get16(bytes, at + 2)}`;
  if (protocol === PROTO_ICMP || protocol === PROTO_ICMPV6)
    return `${name} type ${bytes[at]} code ${bytes[at + 1]}`;
  return name;
}

/** The virtio-net header: what it promises about a frame, and doing in software what it asks of the device. */
import type { Vnet } from '../harness.js';
import {
  bytesOf,
  carriedPartial,
  checksum,
  concat,
  onesSum,
  pseudo4,
  pseudo6,
  u16,
  u32,
  withU16,
} from './bytes.js';
import { Drop } from './gateway.js';

export interface Frame {
  readonly vnet: Vnet;
  readonly bytes: Uint8Array;
}

export const NO_VNET: Vnet = { flags: 0, gsoType: 0, hdrLen: 0, gsoSize: 0, csumStart: 0, csumOffset: 0 };

export const TCP = 6;
export const UDP = 17;
const NEEDS_CSUM = 1;
const GSO_TCPV4 = 1;
const GSO_TCPV6 = 4;
const GSO_UDP_L4 = 5;
const GSO_ECN = 0x80;
const MAX_SEGMENTS = 1024;

/** Where the checksum field of a protocol lies in its header. */
export const CHECKSUM_AT: ReadonlyMap<number, number> = new Map([
  [TCP, 16],
  [UDP, 6],
  [33, 6],
  [136, 6],
]);

export interface Offload {
  readonly kind: 'plain' | 'partial' | 'super';
  /** The frame; its checksum complete if the kind is 'plain'. */
  readonly frame: Uint8Array;
  /** The upper layer; its checksum complete if the kind is 'plain'. */
  readonly upper: Uint8Array;
  /** Of TCP or UDP. */
  readonly headerLength: number;
  readonly gsoSize: number;
  readonly hasEcnBit: boolean;
}

/** Bytes of the upper header, by its own account. */
function upperHeaderLength(protocol: number, upper: Uint8Array): number {
  return protocol !== TCP ? 8 : upper.length < 13 ? 20 : (upper[12]! >> 4) * 4;
}

/** Reads the virtio-net header of `frame`, whose upper layer begins at `upperOffset`. */
export function inspectOffload(
  vnet: Vnet,
  frame: Uint8Array,
  upperOffset: number,
  protocol: number,
  fragment: 'none' | 'atomic' | 'real',
): Offload {
  const upper = frame.slice(upperOffset);
  const gso = vnet.gsoType & ~GSO_ECN;
  const needsChecksum = (vnet.flags & NEEDS_CSUM) !== 0;
  const headerLength = upperHeaderLength(protocol, upper);
  const fits =
    fragment !== 'real' && vnet.csumStart === upperOffset && vnet.csumOffset === CHECKSUM_AT.get(protocol);
  const common = { frame, headerLength, gsoSize: vnet.gsoSize, hasEcnBit: (vnet.gsoType & GSO_ECN) !== 0 };
  if (gso !== 0) {
    const tcpGso = frame[0]! >> 4 === 4 ? GSO_TCPV4 : GSO_TCPV6;
    const expected = new Map([
      [TCP, tcpGso],
      [UDP, GSO_UDP_L4],
    ]).get(protocol);
    const isHeaderWhole = headerLength >= (protocol === TCP ? 20 : 8) && upper.length >= headerLength;
    if (
      !fits ||
      fragment !== 'none' ||
      !needsChecksum ||
      gso !== expected ||
      vnet.gsoSize === 0 ||
      !isHeaderWhole
    ) {
      throw new Drop('drop-super-frame');
    }
    return { kind: 'super', upper, ...common };
  }
  if (!needsChecksum) return { kind: 'plain', upper, ...common };
  if (fits) return { kind: 'partial', upper, ...common };
  const at = vnet.csumStart + vnet.csumOffset;
  if (vnet.csumStart < upperOffset || at + 2 > frame.length) throw new Drop('drop-super-frame');
  const value = checksum(frame.subarray(vnet.csumStart)) || 0xffff;
  const completed = withU16(frame, at, value);
  return { ...common, kind: 'plain', upper: completed.slice(upperOffset), frame: completed };
}

/** How many packets the device would make of it. */
export function segmentCount(offload: Offload): number {
  if (offload.kind !== 'super') return 1;
  return Math.max(1, Math.ceil((offload.upper.length - offload.headerLength) / offload.gsoSize));
}

/** Upper-layer bytes of the largest packet the device would make of it. */
export function largestUpper(offload: Offload): number {
  if (offload.kind !== 'super') return offload.upper.length;
  return Math.min(offload.upper.length, offload.headerLength + offload.gsoSize);
}

/** Does in software what the device would do: the packets of a super-frame, checksums complete. */
export function segmentFrame(frame: Uint8Array, upperOffset: number, protocol: number, offload: Offload) {
  const { headerLength, gsoSize } = offload;
  const count = segmentCount(offload);
  if (count > MAX_SEGMENTS) throw new Drop('drop-super-frame');
  const header = offload.upper.slice(0, headerLength);
  const data = offload.upper.slice(headerLength);
  const segments: Uint8Array[] = [];
  for (let i = 0; i < count; i++) {
    const piece = data.slice(i * gsoSize, (i + 1) * gsoSize);
    const own = header.slice();
    if (protocol === TCP) {
      own.set(bytesOf((u32(header, 4) + i * gsoSize) % 2 ** 32, 4), 4);
      // CWR belongs to the first segment, FIN and PSH to the last.
      if (i > 0) own[13]! &= ~0x80;
      if (i < count - 1) own[13]! &= ~0x09;
    } else {
      own.set(bytesOf(headerLength + piece.length, 2), 4);
    }
    const checksumAt = CHECKSUM_AT.get(protocol)!;
    const ip = ipHeader(frame.slice(0, upperOffset), own.length + piece.length, i);
    const partial = carriedPartial(
      u16(header, checksumAt),
      pseudo(ip, protocol, offload.upper.length),
      pseudo(ip, protocol, own.length + piece.length),
    );
    const upper = withU16(concat(own, piece), checksumAt, partial);
    const sum = checksum(upper);
    segments.push(concat(ip, withU16(upper, checksumAt, protocol === UDP ? sum || 0xffff : sum)));
  }
  return segments;
}

/** The IP header of segment `index`: the kernel numbers IPv4 segments one after another. */
function ipHeader(header: Uint8Array, upperLength: number, index: number): Uint8Array {
  if (header[0]! >> 4 === 6) return withU16(header, 4, header.length - 40 + upperLength);
  let result = withU16(header, 2, header.length + upperLength);
  result = withU16(result, 4, (u16(header, 4) + index) % 65536);
  result = withU16(result, 10, 0);
  return withU16(result, 10, 0xffff - onesSum(result));
}

function pseudo(ip: Uint8Array, protocol: number, length: number): Uint8Array {
  const address = (from: number, size: number) =>
    ip.subarray(from, from + size).reduce((value, byte) => (value << 8n) | BigInt(byte), 0n);
  return ip[0]! >> 4 === 6
    ? pseudo6(address(8, 16), address(24, 16), protocol, length)
    : pseudo4(address(12, 4), address(16, 4), protocol, length);
}

/** The virtio-net header of the result. */
export function outgoingVnet(offload: Offload, protocol: number, family: 4 | 6): Vnet {
  if (offload.kind === 'plain') return NO_VNET;
  const ipLength = family === 4 ? 20 : 40;
  const gsoType = protocol === UDP ? GSO_UDP_L4 : family === 4 ? GSO_TCPV4 : GSO_TCPV6;
  const isSuper = offload.kind === 'super';
  return {
    flags: NEEDS_CSUM,
    gsoType: isSuper ? gsoType | (offload.hasEcnBit && protocol === TCP ? GSO_ECN : 0) : 0,
    hdrLen: ipLength + offload.headerLength,
    gsoSize: isSuper ? offload.gsoSize : 0,
    csumStart: ipLength,
    csumOffset: CHECKSUM_AT.get(protocol)!,
  };
}

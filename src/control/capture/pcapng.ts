/**
 * The blocks of a pcapng file (draft-ietf-opsawg-pcapng), little-endian:
 *
 *   type, length | body, padded to 32 bits | options: code, length, value padded to 32 bits; then a zero | length again
 *
 * One section; an interface for each side of the translator that is captured, whose frames begin with their IP header.
 */

const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const INTERFACE_STATISTICS = 5;
const ENHANCED_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const LINKTYPE_RAW = 101;

const OPT_COMMENT = 1;
const SHB_USER_APPLICATION = 4;
const IF_NAME = 2;
const IF_DESCRIPTION = 3;
const IF_TIMESTAMP_RESOLUTION = 9;
const EPB_FLAGS = 2;
const EPB_DROP_COUNT = 4;
const EPB_PACKET_ID = 5;
const EPB_QUEUE = 6;
const ISB_START_TIME = 2;
const ISB_END_TIME = 3;
const ISB_DROPPED = 5;
const ISB_ACCEPTED = 6;

/** As a power of ten: nanoseconds. */
const RESOLUTION = 9;
const INBOUND = 1;
const OUTBOUND = 2;

type Option = readonly [code: number, value: Uint8Array];

const text = (code: number, value: string): Option => [code, Buffer.from(value)];

function word(code: number, value: number): Option {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return [code, bytes];
}

function long(code: number, value: bigint): Option {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return [code, bytes];
}

/** A time is two words, the high one first. */
function time(code: number, ns: bigint): Option {
  const bytes = Buffer.alloc(8);
  writeTime(bytes, 0, ns);
  return [code, bytes];
}

function writeTime(bytes: Buffer, at: number, ns: bigint): void {
  bytes.writeUInt32LE(Number(ns >> 32n), at);
  bytes.writeUInt32LE(Number(ns & 0xffffffffn), at + 4);
}

const padded = (length: number) => (length + 3) & ~3;

/** A block with `bodyLength` bytes of room for its body, zeros; the body begins at byte 8. */
function block(type: number, bodyLength: number, options: readonly Option[]): Buffer {
  const body = padded(bodyLength);
  const optionsLength = options.reduce((sum, [, value]) => sum + 4 + padded(value.length), 0);
  const length = 12 + body + (options.length === 0 ? 0 : optionsLength + 4);
  const bytes = Buffer.alloc(length);
  bytes.writeUInt32LE(type, 0);
  bytes.writeUInt32LE(length, 4);
  let at = 8 + body;
  for (const [code, value] of options) {
    bytes.writeUInt16LE(code, at);
    bytes.writeUInt16LE(value.length, at + 2);
    bytes.set(value, at + 4);
    at += 4 + padded(value.length);
  }
  bytes.writeUInt32LE(length, length - 4);
  return bytes;
}

export function sectionHeader(application: string): Buffer {
  const bytes = block(SECTION_HEADER, 16, [text(SHB_USER_APPLICATION, application)]);
  bytes.writeUInt32LE(BYTE_ORDER_MAGIC, 8);
  bytes.writeUInt16LE(1, 12);
  // How long the section is nobody knows yet.
  bytes.writeBigInt64LE(-1n, 16);
  return bytes;
}

export function interfaceDescription(name: string, description: string, snapLength: number): Buffer {
  const bytes = block(INTERFACE_DESCRIPTION, 8, [
    text(IF_NAME, name),
    text(IF_DESCRIPTION, description),
    [IF_TIMESTAMP_RESOLUTION, Uint8Array.of(RESOLUTION)],
  ]);
  bytes.writeUInt16LE(LINKTYPE_RAW, 8);
  bytes.writeUInt32LE(snapLength, 12);
  return bytes;
}

export interface CapturedPacket {
  /** Number of its interface: the n-th description, from 0. */
  readonly interfaceId: number;
  /** Since the epoch. */
  readonly ns: bigint;
  /** As far as it was captured. */
  readonly bytes: Uint8Array;
  readonly length: number;
  readonly isOutbound: boolean;
  /** Packets of the interface that were lost since the one before. */
  readonly lostBefore: number;
  /** The same for all that one packet became. */
  readonly id: bigint;
  readonly queue: number;
  readonly comment: string | null;
}

export function enhancedPacket(packet: CapturedPacket): Buffer {
  const { interfaceId, ns, bytes: data, length, isOutbound, lostBefore, id, queue, comment } = packet;
  const bytes = block(ENHANCED_PACKET, 20 + data.length, [
    ...(comment === null ? [] : [text(OPT_COMMENT, comment)]),
    word(EPB_FLAGS, isOutbound ? OUTBOUND : INBOUND),
    ...(lostBefore === 0 ? [] : [long(EPB_DROP_COUNT, BigInt(lostBefore))]),
    long(EPB_PACKET_ID, id),
    word(EPB_QUEUE, queue),
  ]);
  bytes.writeUInt32LE(interfaceId, 8);
  writeTime(bytes, 12, ns);
  bytes.writeUInt32LE(data.length, 20);
  bytes.writeUInt32LE(length, 24);
  bytes.set(data, 28);
  return bytes;
}

/** Reads a block of `enhancedPacket`'s back. */
export function readPacket(block: Uint8Array): CapturedPacket {
  const view = new DataView(block.buffer, block.byteOffset, block.length);
  const captured = view.getUint32(20, true);
  const options = new Map<number, DataView>();
  for (let at = 28 + padded(captured); at + 4 <= block.length - 4; ) {
    const code = view.getUint16(at, true);
    const length = view.getUint16(at + 2, true);
    if (code === 0) break;
    options.set(code, new DataView(block.buffer, block.byteOffset + at + 4, length));
    at += 4 + padded(length);
  }
  const comment = options.get(OPT_COMMENT);
  return {
    interfaceId: view.getUint32(8, true),
    ns: (BigInt(view.getUint32(12, true)) << 32n) | BigInt(view.getUint32(16, true)),
    bytes: block.subarray(28, 28 + captured),
    length: view.getUint32(24, true),
    isOutbound: options.get(EPB_FLAGS)?.getUint32(0, true) === OUTBOUND,
    lostBefore: Number(options.get(EPB_DROP_COUNT)?.getBigUint64(0, true) ?? 0n),
    id: options.get(EPB_PACKET_ID)?.getBigUint64(0, true) ?? 0n,
    queue: options.get(EPB_QUEUE)?.getUint32(0, true) ?? 0,
    comment: comment === undefined ? null : new TextDecoder().decode(comment),
  };
}

export interface InterfaceCounts {
  readonly startNs: bigint;
  readonly endNs: bigint;
  /** What the filter let through, lost packets included. */
  readonly wanted: number;
  readonly lost: number;
}

export function interfaceStatistics(interfaceId: number, counts: InterfaceCounts): Buffer {
  const { startNs, endNs, wanted, lost } = counts;
  const bytes = block(INTERFACE_STATISTICS, 12, [
    time(ISB_START_TIME, startNs),
    time(ISB_END_TIME, endNs),
    long(ISB_DROPPED, BigInt(lost)),
    long(ISB_ACCEPTED, BigInt(wanted)),
  ]);
  bytes.writeUInt32LE(interfaceId, 8);
  writeTime(bytes, 12, endNs);
  return bytes;
}

/** The blocks in a run of whole ones, each with its type. */
export function* blocksIn(bytes: Uint8Array): Generator<{ isPacket: boolean; bytes: Uint8Array }> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at + 4, true);
    if (length < 12 || at + length > bytes.length) return;
    yield {
      isPacket: view.getUint32(at, true) === ENHANCED_PACKET,
      bytes: bytes.subarray(at, at + length),
    };
    at += length;
  }
}

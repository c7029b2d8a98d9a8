/** Frames from random numbers: right ones, wrong ones, and right ones gone wrong. Knows nothing of src/dataplane. */
import type { Random } from './random.js';

export const VNET_BYTES = 10;

const MTUS = [576, 1280, 1400, 1500, 1520];
const TCP = 6;
const UDP = 17;
const ICMP = 1;
const ICMP6 = 58;
const PROTOCOLS = [
  TCP,
  TCP,
  TCP,
  UDP,
  UDP,
  UDP,
  ICMP,
  ICMP,
  ICMP6,
  33,
  136,
  132,
  50,
  51,
  0,
  43,
  44,
  59,
  60,
  135,
  139,
];
const EXTENSIONS = [0, 43, 44, 44, 44, 51, 60, 135, 139, 140];

function words(text: string): Buffer {
  return Buffer.from(text.replaceAll(' ', ''), 'hex');
}

/** Hosts with a map at first, and without. */
export const HOSTS = Array.from({ length: 16 }, (_, i) =>
  words(`20010db8000100000000000000000${(i + 0x100).toString(16)}`),
);
export const MAPPED_HOSTS = 8;
const LOCAL_PREF64 = words('0064ff9b0001000000000000');
const WELL_KNOWN_PREF64 = words('0064ff9b0000000000000000');
const inPref64 = (ipv4: Buffer, prefix = LOCAL_PREF64) => Buffer.concat([prefix, ipv4]);
const POOL_HOSTS = Array.from({ length: 16 }, (_, i) => Buffer.of(10, 64, 1, i));
const SERVERS = [words('08080808'), words('c0000201'), words('cb007107')];
const ODD4 = [
  '0a400001',
  '0a400002',
  '0a40ffff',
  'c6336408',
  'c6336480',
  '00000000',
  '7f000001',
  'e0000001',
  'f0000001',
  'ffffffff',
  'a9fe0001',
  '0a000001',
].map(words);
const ODD6 = ['64ff9b0001 0000000000000a400001', '64ff9b0001 0000000000000a400002']
  .map((text) => words(`00${text}`))
  .concat(
    [
      '00000000000000000000000000000000',
      '00000000000000000000000000000001',
      'fe800000000000000000000000000001',
      'ff020000000000000000000000000001',
      '20010db8000900000000000000000008',
      '20010db8000900000000000000000088',
      'fd000000000000000000000000000001',
      '0064ff9b0000000000000000 08080808',
    ].map(words),
  );

function sum(bytes: Buffer, start: number, end: number): number {
  let total = 0;
  for (let at = start; at + 1 < end; at += 2)
    total += ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
  if (((end - start) & 1) === 1) total += (bytes[end - 1] as number) << 8;
  return total;
}

function fold(total: number): number {
  let folded = total;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return folded;
}

const OWN4 = words('0a400001');

function address4(random: Random, isFar: boolean): Buffer {
  if (!isFar && random.oneIn(15)) return OWN4;
  if (random.oneIn(12)) return random.pick(ODD4);
  if (random.oneIn(50)) return random.bytes(4);
  return random.pick(isFar ? SERVERS : POOL_HOSTS);
}

function address6(random: Random, isFar: boolean): Buffer {
  if (isFar && random.oneIn(15)) return inPref64(OWN4);
  if (random.oneIn(12)) return random.pick(ODD6);
  if (random.oneIn(50)) return random.bytes(16);
  if (!isFar) return random.pick(HOSTS);
  // In one of eight, another host of ours: a hairpin.
  return inPref64(
    random.oneIn(8) ? random.pick(POOL_HOSTS) : address4(random, true),
    random.oneIn(6) ? WELL_KNOWN_PREF64 : LOCAL_PREF64,
  );
}

function payloadSize(random: Random): number {
  const kind = random.below(40);
  if (kind < 26) return random.below(100);
  if (kind < 32) return random.below(1500);
  if (kind < 38) return Math.max(0, random.pick(MTUS) - random.between(0, 80));
  if (kind < 39) return random.below(9000);
  return random.oneIn(4) ? random.between(65000, 65560) : random.below(20_000);
}

interface Made {
  /** With the IP header. */
  bytes: Buffer;
  isV6: boolean;
  protocol: number;
  /** Where the upper layer begins, and its sum stands in it (-1: nowhere). */
  upper: number;
  field: number;
  /** The sum of its pseudo-header. */
  pseudo: number;
}

function fieldOf(protocol: number): number {
  if (protocol === TCP) return 16;
  if (protocol === UDP || protocol === 136 || protocol === 33) return 6;
  return protocol === ICMP || protocol === ICMP6 ? 2 : -1;
}

/** Of an echo, or of anything else in ICMP; errors quote a packet that might have been ours. */
function icmpMessage(random: Random, isV6: boolean, depth: number): Buffer {
  if (random.oneIn(3)) {
    const echo = random.bytes(8 + payloadSize(random));
    echo[0] = isV6 ? 128 + random.below(2) : random.pick([8, 0]);
    echo[1] = 0;
    return echo;
  }
  const header = random.bytes(8);
  header[0] = random.pick(
    isV6 ? [1, 2, 3, 4, 1, 2, 3, 4, 100, 127, 130, 133, 135, 137] : [3, 3, 3, 4, 5, 11, 12, 13, 17, 9],
  );
  header[1] = random.below(random.oneIn(4) ? 256 : 16);
  if (!random.oneIn(4)) header.fill(0, 4);
  // RFC 4884: the length of what is quoted; a next-hop MTU; a pointer.
  if (random.oneIn(3)) header[isV6 ? 4 : 5] = random.pick([0, 5, 16, 17, 32, 128, 255]);
  if (random.oneIn(3)) header.writeUInt16BE(random.pick([0, 68, 576, 1279, 1280, 1400, 1500, 65535]), 6);
  // Quoted is what the destination had sent: the other way round.
  const quote = depth > 1 ? random.bytes(random.below(60)) : packet(random, isV6, depth + 1, true).bytes;
  const kept = random.oneIn(2)
    ? quote
    : quote.subarray(0, random.pick([0, 8, 20, 27, 28, 40, 47, 48, 56, 128, 528]));
  const parts = [header, kept];
  if (random.oneIn(4)) {
    parts.push(Buffer.alloc(Math.max(0, 128 - kept.length)), extensions(random));
    header[isV6 ? 4 : 5] = isV6 ? Math.ceil(kept.length / 8) : Math.ceil(kept.length / 4);
  }
  return Buffer.concat(parts);
}

/** ICMP extensions (RFC 4884 section 7), their sum right or not. */
function extensions(random: Random): Buffer {
  const bytes = random.bytes(4 + random.below(6) * 4);
  bytes[0] = random.oneIn(5) ? random.below(256) : 0x20;
  if (bytes.length > 8)
    bytes.writeUInt16BE(random.oneIn(3) ? random.below(70000) & 0xffff : bytes.length - 4, 4);
  bytes.writeUInt16BE(0, 2);
  if (!random.oneIn(4)) bytes.writeUInt16BE(~fold(sum(bytes, 0, bytes.length)) & 0xffff, 2);
  return bytes;
}

function upperLayer(random: Random, protocol: number, isV6: boolean, depth: number): Buffer {
  if (protocol === ICMP || protocol === ICMP6)
    return icmpMessage(random, protocol === ICMP6 || (isV6 && random.oneIn(9)), depth);
  const size = depth === 0 ? payloadSize(random) : random.below(60);
  if (protocol === TCP) {
    const options = random.oneIn(3) ? random.below(11) * 4 : 0;
    const bytes = random.bytes(20 + options + size);
    bytes[12] = (5 + options / 4) << 4;
    if (random.oneIn(10)) bytes[12] = random.below(256);
    bytes[13] = random.pick([0x10, 0x10, 0x10, 0x18, 0x02, 0x12, 0x11, 0x04, 0x90, 0x30, random.below(256)]);
    // An MSS among the options, its length perhaps a lie.
    if (options > 0)
      bytes.set(
        [random.pick([1, 2, 2, 2, 3]), random.pick([4, 4, 4, 0, 1, 255]), random.pick([5, 0xff, 2])],
        20,
      );
    if (options > 4 && random.oneIn(2)) bytes.set([1, 1, 0], 20);
    return bytes;
  }
  const bytes = random.bytes(8 + size);
  if (protocol === UDP)
    bytes.writeUInt16BE(random.oneIn(12) ? random.below(65536) : bytes.length & 0xffff, 4);
  return bytes;
}

/** IPv6 extension headers; the last names `protocol`. */
function chain(random: Random, protocol: number): { first: number; bytes: Buffer } {
  let first = protocol;
  const parts: Buffer[] = [];
  for (let left = random.between(1, 3); left > 0; left--) {
    const kind = random.pick(EXTENSIONS);
    const units = kind === 44 ? 0 : random.oneIn(6) ? random.below(4) : 0;
    const bytes = random.bytes(8 + 8 * units);
    bytes[0] = first;
    bytes[1] = random.oneIn(12) ? random.below(256) : units;
    if (kind === 43 && !random.oneIn(3)) bytes[3] = 0;
    if (kind === 44) {
      bytes[1] = 0;
      const fragmentOffset = random.pick([0, 0, 0, 1, 2, 160, 8190, 8191]);
      bytes.writeUInt16BE((fragmentOffset << 3) | random.below(2), 2);
      bytes.writeUInt32BE(random.below(4), 4);
    }
    parts.unshift(bytes);
    first = kind;
  }
  return { first, bytes: Buffer.concat(parts) };
}

/** An IP packet, right in itself but for what is drawn to be wrong. @param isReverse from far to near */
export function packet(random: Random, isV6: boolean, depth = 0, isReverse = false): Made {
  let protocol = random.pick(PROTOCOLS);
  if (isV6 && protocol === ICMP && !random.oneIn(8)) protocol = ICMP6;
  if (!isV6 && protocol === ICMP6 && !random.oneIn(8)) protocol = ICMP;
  const upper = upperLayer(random, protocol, isV6, depth);
  const isFromFar = isV6 === isReverse;
  if (isV6) {
    const { first, bytes: between } = random.oneIn(5)
      ? chain(random, protocol)
      : { first: protocol, bytes: Buffer.alloc(0) };
    const header = Buffer.alloc(40);
    header[0] = 0x60 | (random.oneIn(4) ? random.below(16) : 0);
    header[1] = random.oneIn(4) ? random.below(256) : 0;
    header.writeUInt16BE(Math.min(65535, between.length + upper.length), 4);
    header[6] = first;
    header[7] = random.oneIn(12) ? random.below(3) : 64;
    address6(random, isFromFar).copy(header, 8);
    address6(random, !isFromFar).copy(header, 24);
    const bytes = Buffer.concat([header, between, upper]);
    return finish(random, bytes, true, protocol, 40 + between.length);
  }
  const options = random.oneIn(8) ? random.between(1, 10) * 4 : 0;
  const header = Buffer.alloc(20 + options);
  header[0] = 0x45 + options / 4;
  header[1] = random.oneIn(4) ? random.below(256) : 0;
  header.writeUInt16BE(Math.min(65535, header.length + upper.length), 2);
  header.writeUInt16BE(random.below(4), 4);
  if (random.oneIn(6)) {
    header.writeUInt16BE(
      random.pick([0x2000, 0x2000, 0x2001, 0x0001, 0x00a0, 0x1fff, 0x3fff, 0x6000, 0xe000]),
      6,
    );
  } else if (!random.oneIn(3)) {
    header[6] = 0x40;
  }
  header[8] = random.oneIn(12) ? random.below(3) : 64;
  header[9] = protocol;
  address4(random, isFromFar).copy(header, 12);
  address4(random, !isFromFar).copy(header, 16);
  if (options > 0)
    header.set(
      [
        random.pick([0, 1, 7, 68, 130, 131, 137, 148]),
        random.pick([3, 7, 11, 0, 1, 255]),
        random.pick([4, 8, 0, 255]),
      ],
      20,
    );
  return finish(random, Buffer.concat([header, upper]), false, protocol, header.length);
}

/** Makes the sums right, most times. */
function finish(random: Random, bytes: Buffer, isV6: boolean, protocol: number, upper: number): Made {
  const field = fieldOf(protocol);
  const length = bytes.length - upper;
  let pseudo = 0;
  if (isV6) pseudo = sum(bytes, 8, 40) + protocol + length;
  else if (protocol !== ICMP) pseudo = sum(bytes, 12, 20) + protocol + length;
  if (field >= 0 && length >= field + 2 && !random.oneIn(6)) {
    bytes.writeUInt16BE(0, upper + field);
    const right = ~fold(sum(bytes, upper, bytes.length) + pseudo) & 0xffff;
    bytes.writeUInt16BE(right === 0 && protocol === UDP ? 0xffff : right, upper + field);
  } else if (field >= 0 && length >= field + 2 && random.oneIn(2)) {
    bytes.writeUInt16BE(0, upper + field);
  }
  if (!isV6) repair4(bytes);
  return { bytes, isV6, protocol, upper, field, pseudo };
}

/** The sum of an IPv4 header. */
function repair4(bytes: Buffer): void {
  const length = ((bytes[0] as number) & 15) * 4;
  if (length < 20 || bytes.length < length) return;
  bytes.writeUInt16BE(0, 10);
  bytes.writeUInt16BE(~fold(sum(bytes, 0, length)) & 0xffff, 10);
}

/** A virtio-net header that fits the packet. */
function offload(random: Random, made: Made, vnet: Buffer): void {
  const { bytes, isV6, protocol, upper, field, pseudo } = made;
  if (field < 0 || bytes.length < upper + field + 2) return;
  const isTcp = protocol === TCP;
  const header = isTcp ? ((bytes[upper + 12] ?? 0) >>> 4) * 4 : 8;
  vnet[0] = 1;
  if (random.oneIn(2)) {
    vnet[1] = isTcp ? (isV6 ? 4 : 1) | (random.oneIn(4) ? 0x80 : 0) : 5;
    vnet.writeUInt16LE(random.pick([1, 7, 100, 536, 1208, 1220, 1240, 1380, 1440, 1460, 8960]), 4);
  }
  vnet.writeUInt16LE((upper + header) & 0xffff, 2);
  vnet.writeUInt16LE(upper, 6);
  vnet.writeUInt16LE(field, 8);
  bytes.writeUInt16BE(fold(pseudo), upper + field);
}

/** Headers from hell. */
function wreckVnet(random: Random, vnet: Buffer, length: number): void {
  const near = () =>
    random.pick([
      0,
      1,
      10,
      19,
      20,
      39,
      40,
      41,
      60,
      80,
      length - 2,
      length - 1,
      length,
      length + 1,
      32767,
      65535,
      random.below(65536),
    ]) & 0xffff;
  for (let left = random.between(1, 3); left > 0; left--) {
    const at = random.below(6);
    if (at === 0) vnet[0] = random.below(256);
    else if (at === 1)
      vnet[1] = random.pick([0, 1, 2, 3, 4, 5, 0x80, 0x81, 0x84, 0x85, 0xff, random.below(256)]);
    else vnet.writeUInt16LE(near(), 2 * (at - 1));
  }
}

function wreckPacket(random: Random, whole: Buffer): Buffer {
  let bytes = whole;
  for (let left = random.between(1, 3); left > 0 && bytes.length > 0; left--) {
    switch (random.below(8)) {
      case 0:
        bytes = bytes.subarray(0, random.below(bytes.length + 1));
        break;
      case 1:
        bytes = bytes.subarray(
          0,
          Math.min(
            bytes.length,
            random.pick([0, 1, 19, 20, 21, 27, 28, 39, 40, 41, 44, 47, 48, 55, 56, 59, 60]),
          ),
        );
        break;
      case 2:
        // As Ethernet pads.
        bytes = Buffer.concat([bytes, random.bytes(random.between(1, 48))]);
        break;
      case 3:
        // A length that lies, of IPv4 or of IPv6.
        if (bytes.length >= 6)
          bytes.writeUInt16BE(
            random.pick([
              0,
              1,
              19,
              20,
              28,
              40,
              bytes.length - 1,
              bytes.length + 1,
              65535,
              random.below(65536),
            ]) & 0xffff,
            random.pick([2, 4]),
          );
        break;
      case 4:
        bytes[0] = random.below(256);
        break;
      default:
        for (let flips = random.between(1, 4); flips > 0; flips--) {
          bytes[random.below(Math.min(bytes.length, random.pick([8, 48, 128, 2000])))] = random.oneIn(3)
            ? random.pick([0, 1, 127, 128, 255])
            : random.below(256);
        }
    }
  }
  if ((bytes[0] ?? 0) >>> 4 === 4 && !random.oneIn(6)) repair4(bytes);
  return bytes;
}

/** A frame with its virtio-net header in front. */
export function frame(random: Random): Buffer {
  const vnet = Buffer.alloc(VNET_BYTES);
  if (random.oneIn(60))
    return Buffer.concat([
      random.oneIn(2) ? vnet : random.bytes(VNET_BYTES),
      random.bytes(random.below(120)),
    ]);
  const made = packet(random, random.oneIn(2));
  if (random.oneIn(4)) offload(random, made, vnet);
  else if (random.oneIn(8)) vnet[0] = 2;
  if (random.oneIn(8)) wreckVnet(random, vnet, made.bytes.length);
  const bytes = random.oneIn(2) ? wreckPacket(random, made.bytes) : made.bytes;
  return Buffer.concat([vnet, bytes.subarray(0, 65600)]);
}

/** So much of a host without a map that not all of it can be held. */
export function flood(random: Random): Buffer[] {
  const bytes = Buffer.alloc(VNET_BYTES + 65000);
  const packet = bytes.subarray(VNET_BYTES);
  packet[0] = 0x60;
  packet.writeUInt16BE(packet.length - 40, 4);
  packet.set([UDP, 64], 6);
  (HOSTS[MAPPED_HOSTS] as Buffer).copy(packet, 8);
  inPref64(random.pick(SERVERS)).copy(packet, 24);
  packet.writeUInt16BE(packet.length - 40, 44);
  return Array.from({ length: 40 }, () => bytes);
}

/** Frames of one flow that go on from one another, so that they might be joined; now and then something is between them. */
export function flow(random: Random, length: number): Buffer[] {
  const isV6 = random.oneIn(2);
  const isTcp = random.oneIn(2);
  const size = random.pick([1, 32, 64, 512, 1000, 1200]);
  const upperHeader = isTcp ? 20 + (random.oneIn(3) ? 12 : 0) : 8;
  const near = random.below(MAPPED_HOSTS);
  const header = Buffer.alloc(isV6 ? 40 : 20);
  header[0] = isV6 ? 0x60 : 0x45;
  if (isV6) {
    header[6] = isTcp ? TCP : UDP;
    header[7] = 64;
    (HOSTS[near] as Buffer).copy(header, 8);
    inPref64(random.pick(SERVERS)).copy(header, 24);
  } else {
    header[6] = random.oneIn(2) ? 0x40 : 0;
    header[8] = 64;
    header[9] = isTcp ? TCP : UDP;
    random.pick(SERVERS).copy(header, 12);
    (POOL_HOSTS[near] as Buffer).copy(header, 16);
  }
  const upper = random.bytes(upperHeader);
  upper[12] = (upperHeader / 4) << 4;
  let sequence = random.u32() >>> 0;
  const frames: Buffer[] = [];
  while (frames.length < length) {
    if (random.oneIn(10)) {
      frames.push(frame(random));
      continue;
    }
    const payload = random.bytes(random.oneIn(12) ? random.below(1300) : size);
    const bytes = Buffer.concat([header, upper, payload]);
    if (isTcp) {
      bytes.writeUInt32BE(sequence, header.length + 4);
      bytes[header.length + 13] = random.oneIn(10) ? random.below(256) : 0x10;
      sequence = (sequence + payload.length) % 2 ** 32;
    } else bytes.writeUInt16BE(upperHeader + payload.length, header.length + 4);
    bytes.writeUInt16BE(isV6 ? bytes.length - 40 : bytes.length, isV6 ? 4 : 2);
    const made = finish(random, bytes, isV6, isTcp ? TCP : UDP, header.length);
    const vnet = Buffer.alloc(VNET_BYTES);
    if (random.oneIn(3)) vnet[0] = 2;
    if (random.oneIn(6)) offload(random, made, vnet);
    frames.push(Buffer.concat([vnet, random.oneIn(15) ? wreckPacket(random, bytes) : bytes]));
  }
  return frames;
}

/**
 * Generic receive offload in user space: consecutive segments of one flow, next to each other in a burst, leave as one
 * super-frame. The kernel forwards it as one and cuts it again as late as it can; reading and writing a frame costs far more
 * than translating it. The rules are those of the kernel's own GRO:
 *
 *   both  same addresses, ports, traffic class, TTL and DF; at most 64 segments and 65,535 bytes; only the last may be shorter
 *   UDP   a checksum, and a length that is the packet's
 *   TCP   the sequence goes on; same acknowledgement, window, options and flags. PSH, FIN and a short segment end the group;
 *         CWR may be set in its first segment only; SYN, RST, URG and segments without data are left alone
 *
 * The checksum of a super-frame is made anew, so a segment joins only if its own is right: left to an offload, marked valid by
 * the kernel, or summed here. Joining must not turn a broken packet into a sound one.
 *
 * Within a flow nothing is overtaken: a group stands where its first frame stood, and whatever of its flow cannot join it
 * closes it.
 */
import native from '#native';
import { counter } from '../shm/counters.js';
import { LIST_WORDS } from '../shm/frame-ring.js';
import { get16, set16 } from '../wire/bytes.js';
import { fold, sumAddress6, sumBytes, sumWord } from '../wire/checksum.js';
import {
  IPV4_CHECKSUM,
  IPV4_DESTINATION,
  IPV4_DF,
  IPV4_FRAGMENT,
  IPV4_HEADER,
  IPV4_ID,
  IPV4_MF,
  IPV4_OFFSET_MASK,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  IPV4_TOTAL_LENGTH,
  IPV4_TTL,
  IPV6_DESTINATION,
  IPV6_HEADER,
  IPV6_NEXT_HEADER,
  IPV6_PAYLOAD_LENGTH,
  IPV6_SOURCE,
  PROTO_FRAGMENT,
  PROTO_TCP,
  PROTO_UDP,
} from '../wire/ip.js';
import {
  GSO_ECN,
  GSO_TCPV4,
  GSO_TCPV6,
  GSO_UDP_L4,
  VNET_DATA_VALID,
  VNET_GSO_TYPE,
  VNET_HEADER,
  VNET_NEEDS_CSUM,
} from '../wire/vnet.js';
import { type Context, count } from './context.js';
import { writeVnetHeader } from './emit.js';

const FRAMES_COALESCED = counter('frames-coalesced');
const SUPER_FRAMES_MADE = counter('super-frames-made');

const MAX_SEGMENTS = 64;
const MAX_PACKET = 65535;
/** A frame on the list takes three words at least. */
const MAX_FRAMES = Math.floor(LIST_WORDS / 3);

/** Slots of the table of flows, a power of two; two flows that share one only close each other's groups. */
const SLOT_BITS = 9;

const UDP_LENGTH = 4;
const UDP_CHECKSUM = 6;
const UDP_HEADER = 8;
const TCP_SEQUENCE = 4;
const TCP_ACKNOWLEDGEMENT = 8;
/** Data offset, flags and window: one word. */
const TCP_OFFSET_FLAGS_WINDOW = 12;
const TCP_FLAGS = 13;
const TCP_CHECKSUM = 16;
const TCP_URGENT = 18;
const TCP_HEADER = 20;
const FIN = 0x01;
const PSH = 0x08;
const CWR = 0x80;
/** FIN, SYN, RST, PSH, URG: none of them begins a group. */
const NOT_FIRST = 0x2f;
/** What may differ between segments, in the word of offset, flags and window. */
const MAY_DIFFER = (FIN | PSH | CWR) << 16;

const NO_PROTOCOL = 0;

export class Coalescer {
  readonly #ctx: Context;
  /** The list with groups as frames of many pieces; see `write` of the native addon. */
  readonly list = new Int32Array(new SharedArrayBuffer(LIST_WORDS * 4));

  // By slot: the number of the frame whose group the flow's next frame may join, valid under the current stamp.
  readonly #slotHead = new Int32Array(1 << SLOT_BITS);
  readonly #slotStamp = new Int32Array(1 << SLOT_BITS);
  #stamp = 0;

  // By frame: where its virtio-net header is, its upper layer, its payload, its end; the frame before its group's last one.
  readonly #at = new Int32Array(MAX_FRAMES);
  readonly #upper = new Int32Array(MAX_FRAMES);
  readonly #payload = new Int32Array(MAX_FRAMES);
  readonly #end = new Int32Array(MAX_FRAMES);
  readonly #flags = new Uint8Array(MAX_FRAMES);
  readonly #head = new Int32Array(MAX_FRAMES);
  readonly #next = new Int32Array(MAX_FRAMES);

  // By the first frame of a group: how many it has, the last, and the payload of all.
  readonly #count = new Int32Array(MAX_FRAMES);
  readonly #tail = new Int32Array(MAX_FRAMES);
  readonly #total = new Int32Array(MAX_FRAMES);

  // Ranges to sum, the frame of each, and the sums.
  readonly #ranges = new Int32Array(new SharedArrayBuffer(MAX_FRAMES * 8));
  readonly #sums = new Int32Array(new SharedArrayBuffer(MAX_FRAMES * 4));
  readonly #summed = new Int32Array(MAX_FRAMES);

  constructor(ctx: Context) {
    this.#ctx = ctx;
  }

  /**
   * Joins what can be joined among the frames on the context's list. Returns how many frames are then on `this.list`, or 0
   * where nothing was joined and the context's own list stands.
   */
  run(): number {
    const { u8, list, listFrames } = this.#ctx;
    if (listFrames === 1) {
      const at = list[1] as number;
      u8[at] = (u8[at] as number) & ~VNET_DATA_VALID;
      return 0;
    }
    if (!this.#match()) return 0;
    this.#verify();
    return this.#build();
  }

  /** Puts frames in groups. False where every frame is alone. */
  #match(): boolean {
    const ctx = this.#ctx;
    const { list, listFrames, u8 } = ctx;
    let joined = 0;
    this.#closeAll();
    for (let i = 0, at = 0; i < listFrames; i++) {
      const pieces = list[at] as number;
      const vnetAt = list[at + 1] as number;
      const length = list[at + 2] as number;
      at += 1 + 2 * pieces;
      this.#head[i] = i;
      this.#count[i] = 1;
      this.#at[i] = vnetAt;
      this.#end[i] = vnetAt + length;
      const flags = u8[vnetAt] as number;
      // The mark of a checksum is for us: a driver may not set it.
      u8[vnetAt] = flags & ~VNET_DATA_VALID;
      this.#flags[i] = flags;
      // Pieces are fragments.
      if (pieces !== 1) this.#closeAll();
      else joined += this.#place(i, vnetAt + VNET_HEADER);
    }
    return joined !== 0;
  }

  #closeAll(): void {
    this.#stamp = (this.#stamp + 1) | 0;
    if (this.#stamp !== 0) return;
    // Once round: no slot may look as if it were of today.
    this.#slotStamp.fill(0);
    this.#stamp = 1;
  }

  /**
   * Puts a frame into its flow's open group (1), or lets it open one or close the flow's (0). What we send of TCP and UDP over
   * IPv4 has no options.
   */
  #place(i: number, offset: number): number {
    const { u8, dv } = this.#ctx;
    const version = (u8[offset] as number) >>> 4;
    let protocol = NO_PROTOCOL;
    let upper = 0;
    let hash = 0;
    if (version === 4) {
      protocol = u8[offset + IPV4_PROTOCOL] as number;
      upper = offset + IPV4_HEADER;
      if ((get16(u8, offset + IPV4_FRAGMENT) & (IPV4_MF | IPV4_OFFSET_MASK)) !== 0) protocol = PROTO_FRAGMENT;
      hash =
        dv.getInt32(offset + IPV4_SOURCE) ^ Math.imul(dv.getInt32(offset + IPV4_DESTINATION), 0x85ebca6b);
    } else {
      protocol = u8[offset + IPV6_NEXT_HEADER] as number;
      upper = offset + IPV6_HEADER;
      hash =
        dv.getInt32(offset + IPV6_SOURCE + 12) ^
        Math.imul(dv.getInt32(offset + IPV6_DESTINATION + 12), 0x85ebca6b);
    }
    if (protocol !== PROTO_UDP && protocol !== PROTO_TCP) {
      // A fragment shows no ports: it may be of any flow.
      if (protocol === PROTO_FRAGMENT) this.#closeAll();
      return 0;
    }
    this.#upper[i] = upper;
    hash = Math.imul(hash ^ Math.imul(dv.getInt32(upper), 0xc2b2ae35), 0x9e3779b1) >>> (32 - SLOT_BITS);

    const head = this.#slotStamp[hash] === this.#stamp ? (this.#slotHead[hash] as number) : -1;
    const isSame = head >= 0 && this.#isSameFlow(head, offset, upper, version, protocol);
    const size = this.#segmentSize(i, upper, protocol);
    if (isSame && size > 0 && this.#canJoin(head, i, offset, upper, size, version, protocol)) {
      this.#join(head, i, size);
      if (this.#endsGroup(head, i, size, protocol)) this.#slotStamp[hash] = 0;
      return 1;
    }
    if (size > 0 && (protocol === PROTO_UDP || ((u8[upper + TCP_FLAGS] as number) & NOT_FIRST) === 0)) {
      this.#slotHead[hash] = i;
      this.#slotStamp[hash] = this.#stamp;
      this.#tail[i] = i;
      this.#total[i] = size;
    } else if (isSame) {
      this.#slotStamp[hash] = 0;
    }
    return 0;
  }

  /** Bytes of payload of a frame that may be part of a group; 0 for one that may not. Notes where the payload is. */
  #segmentSize(i: number, upper: number, protocol: number): number {
    const { u8 } = this.#ctx;
    const at = this.#at[i] as number;
    const end = this.#end[i] as number;
    const isPartial = ((this.#flags[i] as number) & VNET_NEEDS_CSUM) !== 0;
    if (u8[at + VNET_GSO_TYPE] !== 0) return 0;
    if (protocol === PROTO_UDP) {
      if (!this.#ctx.coalesceUdp || get16(u8, upper + UDP_LENGTH) !== end - upper) return 0;
      if (!isPartial && get16(u8, upper + UDP_CHECKSUM) === 0) return 0;
      this.#payload[i] = upper + UDP_HEADER;
      return end - upper - UDP_HEADER;
    }
    const headerLength = ((u8[upper + 12] as number) >>> 4) * 4;
    if (!this.#ctx.coalesceTcp || headerLength < TCP_HEADER || upper + headerLength >= end) return 0;
    this.#payload[i] = upper + headerLength;
    return end - upper - headerLength;
  }

  #isSameFlow(head: number, offset: number, upper: number, version: number, protocol: number): boolean {
    const { u8, dv } = this.#ctx;
    const other = (this.#at[head] as number) + VNET_HEADER;
    if ((u8[other] as number) >>> 4 !== version) return false;
    if (dv.getInt32(upper) !== dv.getInt32(this.#upper[head] as number)) return false;
    if (version === 4) {
      return (
        u8[other + IPV4_PROTOCOL] === protocol &&
        dv.getInt32(offset + IPV4_SOURCE) === dv.getInt32(other + IPV4_SOURCE) &&
        dv.getInt32(offset + IPV4_DESTINATION) === dv.getInt32(other + IPV4_DESTINATION)
      );
    }
    if (u8[other + IPV6_NEXT_HEADER] !== protocol) return false;
    for (let word = IPV6_SOURCE; word < IPV6_HEADER; word += 4) {
      if (dv.getInt32(offset + word) !== dv.getInt32(other + word)) return false;
    }
    return true;
  }

  #canJoin(
    head: number,
    i: number,
    offset: number,
    upper: number,
    size: number,
    version: number,
    protocol: number,
  ): boolean {
    const { u8, dv } = this.#ctx;
    const other = (this.#at[head] as number) + VNET_HEADER;
    const otherUpper = this.#upper[head] as number;
    const total = this.#total[head] as number;
    const headers = (this.#payload[head] as number) - other;
    if (this.#count[head] === MAX_SEGMENTS || headers + total + size > MAX_PACKET) return false;
    if (size > (this.#end[head] as number) - (this.#payload[head] as number)) return false;
    if (version === 4) {
      if (get16(u8, offset) !== get16(u8, other)) return false;
      if (u8[offset + IPV4_TTL] !== u8[other + IPV4_TTL]) return false;
      if (u8[offset + IPV4_FRAGMENT] !== u8[other + IPV4_FRAGMENT]) return false;
    } else {
      if (dv.getInt32(offset) !== dv.getInt32(other)) return false;
      if (get16(u8, offset + IPV6_NEXT_HEADER) !== get16(u8, other + IPV6_NEXT_HEADER)) return false;
    }
    if (protocol === PROTO_UDP) return true;

    if ((this.#payload[i] as number) - upper !== (this.#payload[head] as number) - otherUpper) return false;
    if (dv.getInt32(upper + TCP_SEQUENCE) !== ((dv.getInt32(otherUpper + TCP_SEQUENCE) + total) | 0))
      return false;
    if (dv.getInt32(upper + TCP_ACKNOWLEDGEMENT) !== dv.getInt32(otherUpper + TCP_ACKNOWLEDGEMENT))
      return false;
    const word = dv.getInt32(upper + TCP_OFFSET_FLAGS_WINDOW);
    const differing = word ^ dv.getInt32(otherUpper + TCP_OFFSET_FLAGS_WINDOW);
    if ((differing & ~MAY_DIFFER) !== 0 || (word & (CWR << 16)) !== 0) return false;
    // The urgent pointer means nothing without URG, but segments would get the first one's.
    if (get16(u8, upper + TCP_URGENT) !== get16(u8, otherUpper + TCP_URGENT)) return false;
    const end = (this.#payload[i] as number) - upper;
    for (let option = TCP_HEADER; option < end; option += 4) {
      if (dv.getInt32(upper + option) !== dv.getInt32(otherUpper + option)) return false;
    }
    return true;
  }

  #join(head: number, i: number, size: number): void {
    this.#head[i] = head;
    this.#next[this.#tail[head] as number] = i;
    this.#tail[head] = i;
    this.#count[head] = (this.#count[head] as number) + 1;
    this.#total[head] = (this.#total[head] as number) + size;
  }

  #endsGroup(head: number, i: number, size: number, protocol: number): boolean {
    if (size < (this.#end[head] as number) - (this.#payload[head] as number)) return true;
    if (protocol === PROTO_UDP) return false;
    return ((this.#ctx.u8[(this.#upper[i] as number) + TCP_FLAGS] as number) & (FIN | PSH)) !== 0;
  }

  /** Sums what nobody vouches for; a group with a wrong checksum in it falls apart. */
  #verify(): void {
    const ctx = this.#ctx;
    let ranges = 0;
    for (let i = 0; i < ctx.listFrames; i++) {
      if ((this.#count[this.#head[i] as number] as number) < 2 || this.#flags[i] !== 0) continue;
      const upper = this.#upper[i] as number;
      this.#ranges[2 * ranges] = upper;
      this.#ranges[2 * ranges + 1] = (this.#end[i] as number) - upper;
      this.#summed[ranges++] = i;
    }
    if (ranges === 0) return;
    native.sums(ctx.u8, this.#ranges, ranges, this.#sums);
    for (let range = 0; range < ranges; range++) {
      const i = this.#summed[range] as number;
      const pseudo = this.#pseudoSum(i, this.#ranges[2 * range + 1] as number);
      if (fold((this.#sums[range] as number) + pseudo) !== 0xffff) this.#count[this.#head[i] as number] = 1;
    }
  }

  /** Sum of the pseudo-header of frame `i`, for an upper layer of this length. */
  #pseudoSum(i: number, length: number): number {
    const { u8, dv } = this.#ctx;
    const offset = (this.#at[i] as number) + VNET_HEADER;
    if ((u8[offset] as number) >>> 4 === 4) {
      const addresses =
        sumWord(dv.getInt32(offset + IPV4_SOURCE)) + sumWord(dv.getInt32(offset + IPV4_DESTINATION));
      return addresses + (u8[offset + IPV4_PROTOCOL] as number) + length;
    }
    const source = offset + IPV6_SOURCE;
    const destination = offset + IPV6_DESTINATION;
    return (
      sumAddress6(
        dv.getInt32(source),
        dv.getInt32(source + 4),
        dv.getInt32(source + 8),
        dv.getInt32(source + 12),
      ) +
      sumAddress6(
        dv.getInt32(destination),
        dv.getInt32(destination + 4),
        dv.getInt32(destination + 8),
        dv.getInt32(destination + 12),
      ) +
      (u8[offset + IPV6_NEXT_HEADER] as number) +
      length
    );
  }

  /** Writes the new list. Returns how many frames are on it. */
  #build(): number {
    const ctx = this.#ctx;
    const { list } = this;
    let frames = 0;
    let end = 0;
    for (let i = 0, at = 0; i < ctx.listFrames; i++) {
      const words = 1 + 2 * (ctx.list[at] as number);
      const head = this.#head[i] as number;
      const segments = this.#count[head] as number;
      if (segments < 2) {
        for (let word = 0; word < words; word++) list[end++] = ctx.list[at + word] as number;
        frames++;
      } else if (head === i) {
        this.#writeHeaders(i, segments);
        list[end++] = segments;
        list[end++] = this.#at[i] as number;
        list[end++] = (this.#end[i] as number) - (this.#at[i] as number);
        for (let segment = i; segment !== this.#tail[i]; ) {
          segment = this.#next[segment] as number;
          const payload = this.#payload[segment] as number;
          list[end++] = payload;
          list[end++] = (this.#end[segment] as number) - payload;
        }
        frames++;
        count(ctx, SUPER_FRAMES_MADE, 1);
        count(ctx, FRAMES_COALESCED, segments);
      }
      at += words;
    }
    return frames;
  }

  /** Whether the IPv4 packets of a group have identifications in a row: those of frames that came one right after the other do. */
  #areNumbered(head: number): boolean {
    const { u8 } = this.#ctx;
    const field = VNET_HEADER + IPV4_ID;
    let next = get16(u8, (this.#at[head] as number) + field);
    for (let segment = head; segment !== this.#tail[head]; ) {
      segment = this.#next[segment] as number;
      if (get16(u8, (this.#at[segment] as number) + field) !== ++next) return false;
    }
    return true;
  }

  /** Makes a group's first headers those of the whole. */
  #writeHeaders(head: number, segments: number): void {
    const ctx = this.#ctx;
    const { u8, dv } = ctx;
    const at = this.#at[head] as number;
    const offset = at + VNET_HEADER;
    const upper = this.#upper[head] as number;
    const payload = this.#payload[head] as number;
    const length = payload - upper + (this.#total[head] as number);
    const isV4 = (u8[offset] as number) >>> 4 === 4;
    const isUdp = payload - upper === UDP_HEADER;
    if (isV4) {
      set16(u8, offset + IPV4_TOTAL_LENGTH, IPV4_HEADER + length);
      // Segments are numbered on from the first: with DF=0 all those numbers must be this packet's own.
      if ((get16(u8, offset + IPV4_FRAGMENT) & IPV4_DF) === 0 && !this.#areNumbered(head))
        set16(u8, offset + IPV4_ID, ctx.takeIdentifications(segments));
      set16(u8, offset + IPV4_CHECKSUM, 0);
      set16(u8, offset + IPV4_CHECKSUM, ~fold(sumBytes(dv, offset, IPV4_HEADER)) & 0xffff);
    } else {
      set16(u8, offset + IPV6_PAYLOAD_LENGTH, length);
    }
    const partial = fold(this.#pseudoSum(head, length));
    let gsoType = GSO_UDP_L4;
    if (isUdp) {
      set16(u8, upper + UDP_LENGTH, length);
      set16(u8, upper + UDP_CHECKSUM, partial);
    } else {
      const last = u8[(this.#upper[this.#tail[head] as number] as number) + TCP_FLAGS] as number;
      const flags = (u8[upper + TCP_FLAGS] as number) | (last & (FIN | PSH));
      u8[upper + TCP_FLAGS] = flags;
      set16(u8, upper + TCP_CHECKSUM, partial);
      gsoType = (isV4 ? GSO_TCPV4 : GSO_TCPV6) | ((flags & CWR) !== 0 ? GSO_ECN : 0);
    }
    const segmentSize = (this.#end[head] as number) - payload;
    const checksumField = isUdp ? UDP_CHECKSUM : TCP_CHECKSUM;
    writeVnetHeader(ctx, at, gsoType, payload - offset, segmentSize, upper - offset, checksumField);
  }
}

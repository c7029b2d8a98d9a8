/**
 * Everything one worker's translator works with: memory, tables, settings as plain numbers, and what is known of the
 * frame in hand. One object for a worker's whole life; its fields stay small integers so that nothing is allocated.
 */
import { counter, DROPS_FROM_V4, workerCounters } from '../shm/counters.js';
import { LIST_WORDS, SCRATCH_START } from '../shm/frame-ring.js';
import { HostTable } from '../shm/host-table.js';
import { createPrefixSet, PrefixTable } from '../shm/prefix-table.js';
import type { Tables, WorkerTask } from '../shm/worker-task.js';
import { maskWord6 } from '../wire/address.js';
import { WELL_KNOWN_PREFIX } from '../wire/rfc6052.js';
import { VNET_DATA_VALID } from '../wire/vnet.js';
import type { IcmpFragments } from './icmp-fragments.js';

/** Verdicts: what became of a frame. A positive verdict is the index of the drop counter that it adds to. */
export const FORWARD = 0;
/** The source needs a map: its address is in `ctx.host0` to `host3`. */
export const HOLD = -1;

export const UDP_ZERO_DROP = 0;
export const UDP_ZERO_CALC = 1;
export const UDP_ZERO_FORWARD = 2;
const UDP_ZERO = { drop: UDP_ZERO_DROP, calc: UDP_ZERO_CALC, forward: UDP_ZERO_FORWARD } as const;

export const REPRESENTS_ALL = 0;
/** RFC 6052 section 3.1: not the non-global ones. */
export const REPRESENTS_GLOBAL = 1;
/** There is no pref64. */
export const REPRESENTS_NONE = 2;
/** Stands for no pref64: multicast addresses, in which no packet comes that far. */
const NO_PREF64 = { address: [-1, -1, -1, 0], length: 96 } as const;

/** The parts of a task that the translator uses. */
export type TranslatorMemory = Pick<
  WorkerTask,
  'worker' | 'workerCount' | 'settings' | 'counters' | 'hosts' | 'maps4' | 'maps6' | 'ring'
>;

/** What part of the ICMP errors is for hosts that have no map. */
const STRANGERS_SHARE = 20;

export class Context {
  readonly u8: Uint8Array;
  readonly dv: DataView;
  readonly counters: Float64Array;
  hosts!: HostTable;
  maps4!: PrefixTable;
  maps6!: PrefixTable;
  /** Where hosts may send from, beside those of explicit maps and the kernel. */
  allowed6!: PrefixTable;

  // Frames to write, as the native addon takes them: pieces, then (offset, length) of each.
  readonly list = new Int32Array(new SharedArrayBuffer(LIST_WORDS * 4));
  listEnd = 0;
  listFrames = 0;
  /** Of the frames on the list, virtio-net headers not counted. */
  listBytes = 0;
  scratchEnd = SCRATCH_START;

  // Read once a burst.
  generation = 1;
  nowSec = 0;
  poolFull = 0;

  // Settings; see `configure`.
  pref64Length = 0;
  prefix0 = 0;
  prefix1 = 0;
  prefix2 = 0;
  mask0 = 0;
  mask1 = 0;
  mask2 = 0;
  /** Which IPv4 addresses the prefix may represent: those that REPRESENTS_… tells. */
  represents = 0;
  own4 = 0;
  own60 = 0;
  own61 = 0;
  own62 = 0;
  own63 = 0;
  device4: readonly number[] = [];
  device6: Int32Array = new Int32Array(0);
  ipv6Mtu = 0;
  ipv4Mtu = 0;
  lowestIpv6Mtu = 0;
  udpZero = 0;
  trafficClassMask = 0;
  /** MSS that fits both sides, and that fits the IPv6 side, which is all that a hairpin sees; 0: no clamp. */
  mssLimit = 0;
  hairpinMssLimit = 0;
  /** First address, and number, of the sources for ICMP errors of unmapped routers. */
  icmpSource4 = 0;
  icmpSourceCount = 0;
  forwardClassE = false;
  clat = false;
  icmpErrorsPerMs = 0;
  icmpStrangerErrorsPerMs = 0;
  icmpErrorBurst = 0;
  coalesceUdp = false;
  coalesceTcp = false;
  /** VNET_DATA_VALID where frames are joined, so that its mark is kept; else 0. */
  validMask = 0;

  // ICMP error budget: of all, and of those to hosts that have no map.
  icmpTokens = Number.POSITIVE_INFINITY;
  icmpStrangerTokens = Number.POSITIVE_INFINITY;
  icmpRefillMs = 0;

  // IPv4 identifications: every worker goes round in a range of its own, so that two never give the same one at a time.
  readonly #worker: number;
  #identification = -1;
  #firstIdentification = 0;
  #identificationCount = 0;

  /** Where fragmented echoes are held; null where they are dropped. */
  fragments: IcmpFragments | null = null;

  // The virtio-net header of the frame in hand.
  needsChecksum = false;
  /** Its flag VNET_DATA_VALID, if that is of interest. */
  validMark = 0;
  gsoType = 0;
  gsoSize = 0;
  checksumStart = 0;
  checksumFieldOffset = 0;
  /** The frame in hand is on its second leg of a hairpin. */
  hairpin = false;

  // The host whose dynamic map was found last, and in which generation; see `hostOf6`.
  recent0 = 0;
  recent1 = 0;
  recent2 = 0;
  recent3 = 0;
  recentIndex = 0;
  recentGeneration = 0;

  // The host that a HOLD verdict is about.
  host0 = 0;
  host1 = 0;
  host2 = 0;
  host3 = 0;

  // What `resolve…` found: an IPv4 address, or the words of an IPv6 one.
  found4 = 0;
  found0 = 0;
  found1 = 0;
  found2 = 0;
  found3 = 0;

  // What a walk over extension headers found (see extension-headers.ts).
  upperProtocol = 0;
  upperOffset = 0;
  hasFragment = false;
  /** Fragment offset in units of 8 bytes, and the M flag, of the header in hand. */
  fragmentOffset = 0;
  moreFragments = 0;
  fragmentId = 0;
  pointer = 0;
  /** Where, from the start of the packet, the byte stands that names the upper layer. */
  nextHeaderField = 0;
  /** Length of an ICMP message after its translation. */
  upperLength = 0;

  // What mapping an ICMP error's type found (see translate-icmp.ts).
  icmpType = 0;
  icmpCode = 0;
  icmpRest = 0;
  icmpExtensible = false;

  constructor(task: TranslatorMemory) {
    this.u8 = new Uint8Array(task.ring);
    this.dv = new DataView(task.ring);
    this.counters = workerCounters(task.counters, task.worker);
    this.#worker = task.worker;
    this.configure(task);
  }

  /** Takes settings and tables over, at the start and at a reload: never in the middle of a burst. */
  configure(tables: Tables): void {
    const s = tables.settings;
    this.hosts = new HostTable(tables.hosts);
    this.maps4 = new PrefixTable(tables.maps4);
    this.maps6 = new PrefixTable(tables.maps6);
    this.allowed6 = new PrefixTable(createPrefixSet(s.allowFrom));
    // The index of another table says nothing about this one.
    this.recentGeneration = 0;

    this.#shareIdentifications(tables.workerCount);
    const { address, length } = s.pref64 ?? NO_PREF64;
    this.pref64Length = length;
    this.prefix0 = address[0];
    this.prefix1 = address[1];
    this.prefix2 = address[2];
    this.mask0 = maskWord6(length, 0);
    this.mask1 = maskWord6(length, 1);
    this.mask2 = maskWord6(length, 2);
    const isWellKnown = length === 96 && address.every((word, i) => word === WELL_KNOWN_PREFIX.address[i]);
    if (s.pref64 === null) this.represents = REPRESENTS_NONE;
    else this.represents = s.wkpfStrict && isWellKnown ? REPRESENTS_GLOBAL : REPRESENTS_ALL;
    this.own4 = s.ipv4Address | 0;
    [this.own60, this.own61, this.own62, this.own63] = s.ipv6Address;
    this.device4 = s.deviceAddresses4.map((ipv4) => ipv4 | 0);
    this.device6 = Int32Array.from(s.deviceAddresses6.flat());
    this.ipv6Mtu = s.ipv6Mtu;
    this.ipv4Mtu = s.ipv4Mtu;
    this.lowestIpv6Mtu = Math.min(s.lowestIpv6Mtu, s.ipv6Mtu);
    this.udpZero = UDP_ZERO[s.udpZeroChecksum];
    this.trafficClassMask = s.copyTrafficClass ? 0xff : 0;
    this.hairpinMssLimit = s.mssClamp === 'auto' ? s.ipv6Mtu - 60 : 0;
    this.mssLimit = s.mssClamp === 'auto' ? Math.min(s.ipv6Mtu - 60, s.ipv4Mtu - 40) : 0;
    this.icmpSource4 = (s.icmpSourcePool4?.address ?? s.ipv4Address) | 0;
    this.icmpSourceCount = s.icmpSourcePool4 === null ? 1 : 2 ** (32 - s.icmpSourcePool4.length);
    this.forwardClassE = s.forwardClassE;
    this.clat = s.clat;
    this.icmpErrorsPerMs = s.icmpErrorsPerSec / 1000;
    this.icmpErrorBurst = s.icmpErrorBurst;
    this.icmpStrangerErrorsPerMs = this.icmpErrorsPerMs / STRANGERS_SHARE / tables.workerCount;
    this.icmpTokens = Math.min(this.icmpTokens, s.icmpErrorBurst);
    this.icmpStrangerTokens = Math.min(this.icmpStrangerTokens, s.icmpErrorBurst);
    this.coalesceUdp = s.coalesce === 'all';
    this.coalesceTcp = s.coalesce !== 'none';
    this.validMask = s.coalesce === 'none' ? 0 : VNET_DATA_VALID;
  }

  #shareIdentifications(workers: number): void {
    const count = Math.floor(0x10000 / workers);
    if (count === this.#identificationCount) return;
    this.#identificationCount = count;
    // A worker that retires has no part any more; it sends what it holds.
    const first = (this.#worker * count) & 0xffff;
    this.#firstIdentification = first;
    if (this.#identification < first || this.#identification >= first + count) this.#identification = first;
  }

  /** Takes `count` identifications in a row (RFC 6864: not repeated soon), and returns the first. */
  takeIdentifications(count: number): number {
    const end = this.#firstIdentification + this.#identificationCount;
    let first = this.#identification;
    // The kernel numbers the segments of a super-frame first, first + 1, …; none may reach into another worker's range.
    if (first + count > end) first = this.#firstIdentification;
    this.#identification = first + count;
    return first;
  }
}

/** Adds to a counter by its index. */
export function count(ctx: Context, index: number, amount: number): void {
  ctx.counters[index] = (ctx.counters[index] as number) + amount;
}

/** Counts a frame that is dropped. @param isV6 the side that it came from */
export function countDrop(ctx: Context, verdict: number, isV6: boolean): void {
  count(ctx, verdict, 1);
  if (!isV6) count(ctx, verdict + DROPS_FROM_V4, 1);
}

/** Reserves scratch memory, 16-byte aligned, for what the frame in hand becomes. Written out before it is reused. */
export function takeScratch(ctx: Context, sizeBytes: number): number {
  const at = ctx.scratchEnd;
  ctx.scratchEnd = at + ((sizeBytes + 15) & ~15);
  return at;
}

export const DROP_LOOP = counter('drop-loop');
export const DROP_SUPER_FRAME = counter('drop-super-frame');
export const DROP_TTL = counter('drop-ttl');
export const DROP_TOO_BIG = counter('drop-too-big');
export const DROP_PROTOCOL = counter('drop-protocol');
export const DROP_TRUNCATED = counter('drop-upper-layer-truncated');
export const DROP_ICMP_FRAGMENT = counter('drop-icmp-fragment');
export const DROP_SELF = counter('drop-self');

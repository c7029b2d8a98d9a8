/**
 * The dynamic pool: one IPv4 address per IPv6 host, kept while it is in use.
 *
 *   free ──assign──> live ──lifetime without a packet──> dormant ──14 days, or another host's need──> free
 *                      ^──────── its host sends again ──────┘
 *
 * A live map is published to the workers, which write the second of each map's last packet. A live map stands in the
 * bucket of the second in which it would end; when that comes it is looked at once, and moved on if it has been used since.
 * So a map costs one look per lifetime, however many packets it carries.
 */
import {
  type Address6,
  formatAddress4,
  formatAddress6,
  type Prefix4,
  prefix4Contains,
} from '../../wire/address.js';
import { type Sliced, sorted } from '../slices.js';
import { FreeMap } from './free-map.js';
import { poolHash } from './hash.js';
import { HostIndex } from './host-index.js';
import { IndexLists } from './linked-list.js';
import { Per64Counts } from './per-64.js';
import { STEP_ENTRIES, StoredEntries, type StoredEntry } from './stored-entries.js';

/** `assign` refuses: no address is free, nor dormant. */
export const REFUSED_POOL_FULL = -1;
/** `assign` refuses: the host's /64 holds as many maps as it may. */
export const REFUSED_LIMIT_PER_64 = -2;

/** The workers' table of live maps. */
export interface MapPublisher {
  publish(index: number, host: Address6): void;
  withdraw(index: number): void;
}

export interface DynamicPoolOptions {
  /** Length 2 to 31: an index must fit 30 bits. */
  readonly pool4: Prefix4;
  /** Never handed out, where they lie in the pool; see `setReserved`. The pool's network address is not either. */
  readonly reserved: readonly Prefix4[];
  /** Second of last use by index, written by workers. */
  readonly lastSeen: Int32Array;
  readonly lifetimeSec: number;
  readonly dormantSec: number;
  /** 0: no limit. */
  readonly maxMapsPer64: number;
  readonly publisher: MapPublisher;
  /** Writes down that a host gets an address, anew or again, before anybody may use it. Must not throw. */
  readonly record?: (ipv4: number, host: Address6) => void;
}

/** A map, live or dormant. */
export interface PoolEntry {
  readonly ipv4: number;
  readonly host: Address6;
  readonly lastUsedSec: number;
  readonly live: boolean;
}

export interface LineProblem {
  readonly line: number;
  readonly message: string;
}

const STATE_FREE = 0;
const STATE_LIVE = 1;
const STATE_DORMANT = 2;
const UNLIMITED = Number.POSITIVE_INFINITY;

export class DynamicPool {
  readonly #options: DynamicPoolOptions;
  readonly #hostBits: number;
  readonly #hosts: HostIndex;
  readonly #free: FreeMap;
  readonly #state: Uint8Array;
  /** For a live map: the bucket it stands in. For a dormant one: the second of its last use. */
  readonly #place: Int32Array;
  /** One list per bucket, and behind them the dormant maps, the longest rested first. */
  readonly #lists: IndexLists;
  readonly #buckets: number;
  /** Kept only where there is a limit. */
  readonly #per64: Per64Counts | undefined;
  /** Addresses that are never handed out, by index. */
  #reserved: ReadonlySet<number> = new Set([0]);
  /** Every bucket up to this second has been looked through; -1 before the first map. */
  #sweptSec = -1;
  liveCount = 0;
  dormantCount = 0;

  constructor(options: DynamicPoolOptions) {
    const { pool4, lifetimeSec } = options;
    this.#options = options;
    this.#hostBits = 32 - pool4.length;
    const size = 2 ** this.#hostBits;
    this.#hosts = new HostIndex(size);
    this.#per64 = options.maxMapsPer64 > 0 ? new Per64Counts(size) : undefined;
    this.#free = new FreeMap(size);
    this.#state = new Uint8Array(size);
    this.#place = new Int32Array(size);
    // A map ends at most lifetime + 1 seconds from now. Each bucket is one of the next so many seconds, counted modulo this.
    this.#buckets = lifetimeSec + 2;
    this.#lists = new IndexLists(size, this.#buckets + 1);
    this.#free.take(0);
    this.setReserved(options.reserved);
  }

  /** How many addresses can be handed out. */
  get capacity(): number {
    return this.#state.length - this.#reserved.size;
  }

  get freeCount(): number {
    return this.#free.freeCount;
  }

  addressOf(index: number): number {
    return this.#options.pool4.address + index;
  }

  /** The index of a host's map, live or dormant, or -1. */
  lookup(host: Address6): number {
    return this.#hosts.find(host);
  }

  /** Gives a host its address: the index of its map, or a REFUSED constant. A host with a live map gets it again. */
  assign(host: Address6, nowSec: number): number {
    const known = this.#hosts.find(host);
    if (known >= 0 && this.#state[known] === STATE_LIVE) {
      if (!this.#isOver(known, nowSec)) return known;
      // It has run out and the sweep has not come by yet. For the workers it is dead, so it starts anew.
      this.#rest(known);
    }
    if (this.#isAtLimit(host)) return REFUSED_LIMIT_PER_64;
    const index = known >= 0 ? known : this.#choose(host);
    if (index < 0) return REFUSED_POOL_FULL;
    if (known >= 0) this.#leaveDormant(index);
    else this.#hosts.add(host, index);
    // That of a host that comes back too: after a crash its map would have rested for as long as the file says.
    this.#options.record?.(this.addressOf(index), host);
    this.#goLive(index, host, nowSec, nowSec);
    return index;
  }

  /**
   * Ends the maps whose time is over, and forgets those that have rested long enough.
   * @param maxMaps maps looked at before it stops; the next call goes on
   * @returns how many were looked at
   */
  sweep(nowSec: number, maxMaps = UNLIMITED): number {
    let looked = 0;
    if (this.#sweptSec < 0) this.#sweptSec = nowSec - 1;
    while (this.#sweptSec < nowSec) {
      // Nothing stands in any bucket: the rest of a long jump of the clock needs no visits.
      if (this.liveCount === 0) this.#sweptSec = nowSec - 1;
      const second = this.#sweptSec + 1;
      const bucket = second % this.#buckets;
      for (let index = this.#lists.first(bucket); index >= 0; index = this.#lists.first(bucket)) {
        if (looked >= maxMaps) return looked;
        looked++;
        // As of the bucket's own second, so that maps come to rest in the order in which they ended, after a jump too.
        if (this.#isOver(index, second)) this.#rest(index);
        else this.#stand(index);
      }
      this.#sweptSec = second;
    }
    const { dormantSec } = this.#options;
    for (let index = this.#lists.first(this.#buckets); index >= 0; index = this.#lists.first(this.#buckets)) {
      if (nowSec - (this.#place[index] as number) <= dormantSec || looked >= maxMaps) break;
      looked++;
      this.#forget(index);
    }
    return looked;
  }

  /** Every map, live and dormant; of a part of the pool, those of the indexes `from` to `to` (exclusive). */
  *entries(from = 0, to = this.#state.length): Generator<PoolEntry> {
    for (let index = from; index < to; index++) {
      if (this.#state[index] === STATE_FREE) continue;
      yield this.#entryAt(index);
    }
  }

  /** How many indexes there are, those that are never handed out included. */
  get size(): number {
    return this.#state.length;
  }

  /** The index of an address, or -1 where it lies outside the pool. */
  indexOf(ipv4: number): number {
    const { pool4 } = this.#options;
    return prefix4Contains(pool4, ipv4) ? (ipv4 - pool4.address) | 0 : -1;
  }

  isReserved(index: number): boolean {
    return this.#reserved.has(index);
  }

  /** The map of an index, or null where it has none. */
  entry(index: number): PoolEntry | null {
    return (this.#state[index] ?? STATE_FREE) === STATE_FREE ? null : this.#entryAt(index);
  }

  /** Whether the /64 of a host has as many live maps as it may. */
  isAtLimit(host: Address6): boolean {
    return this.#isAtLimit(host);
  }

  /** Ends and forgets the map of an index, if it has one. */
  drop(index: number): void {
    this.#evict(index);
  }

  /** Live maps used at this second or after it; of a part of the pool, those of the indexes `from` to `to` (exclusive). */
  countUsedSince(sec: number, from = 0, to = this.#state.length): number {
    const { lastSeen } = this.#options;
    let count = 0;
    for (let index = from; index < Math.min(to, this.#state.length); index++) {
      if (this.#state[index] === STATE_LIVE && (lastSeen[index] as number) >= sec) count++;
    }
    return count;
  }

  #entryAt(index: number): PoolEntry {
    const live = this.#state[index] === STATE_LIVE;
    const lastUsedSec = (live ? this.#options.lastSeen[index] : this.#place[index]) as number;
    return { ipv4: this.addressOf(index), host: this.#hosts.hostAt(index), lastUsedSec, live };
  }

  /**
   * Takes back what a file remembers, into an empty pool. Returns what could not be taken, and why.
   * @param isWelcome whether a host may have a map at all; without a word about those that may not
   */
  *restore(
    remembered: Iterable<StoredEntry>,
    nowSec: number,
    unixNowSec: number,
    isWelcome: (host: Address6) => boolean = () => true,
  ): Sliced<LineProblem[]> {
    const { pool4, lifetimeSec, dormantSec } = this.#options;
    const stored = StoredEntries.of(remembered);
    const problems: LineProblem[] = [];
    // A clock that was wrong then, or is now, says nothing about how long ago any of them was used.
    let latestSec = 0;
    for (let i = 0; i < stored.length; i++) latestSec = Math.max(latestSec, stored.lastUsedAt(i));
    const isClockWrong = latestSec > unixNowSec;
    const ageSec = (i: number) => (isClockWrong ? lifetimeSec + 1 : unixNowSec - stored.lastUsedAt(i));
    const resting = new Int32Array(stored.length);
    let restingCount = 0;
    for (let i = 0; i < stored.length; i++) {
      if (i % STEP_ENTRIES === 0) yield;
      const ipv4 = stored.ipv4At(i);
      const host = stored.hostAt(i);
      const index = ipv4 - pool4.address;
      // Of two lines for one address or host the first counts.
      let problem: string | undefined;
      if (!prefix4Contains(pool4, ipv4)) problem = `${formatAddress4(ipv4)} lies outside the pool`;
      else if (this.#state[index] !== STATE_FREE) problem = `${formatAddress4(ipv4)} stands twice`;
      else if (this.#free.isTaken(index))
        problem = `${formatAddress4(ipv4)} is reserved or explicitly mapped`;
      else if (ageSec(i) > dormantSec || !isWelcome(host)) continue;
      else if (!this.#hosts.add(host, index)) problem = `${formatAddress6(host)} stands twice`;
      if (problem !== undefined) {
        problems.push({ line: stored.lineAt(i), message: problem });
        continue;
      }
      this.#free.take(index);
      if (ageSec(i) <= lifetimeSec) {
        this.#goLive(index, host, nowSec - ageSec(i), nowSec);
      } else {
        this.#state[index] = STATE_DORMANT;
        resting[restingCount++] = i;
      }
    }
    // Maps have come to rest in the order of their last use.
    const byLastUse = (a: number, b: number) => stored.lastUsedAt(a) - stored.lastUsedAt(b);
    const inOrder = yield* sorted([...resting.subarray(0, restingCount)], byLastUse);
    for (const [n, i] of inOrder.entries()) {
      this.#enterDormant(stored.ipv4At(i) - pool4.address, nowSec - ageSec(i));
      if (n % STEP_ENTRIES === 0) yield;
    }
    return problems;
  }

  /** Says anew which addresses are never handed out. Maps that hold one of them end, and their hosts get another. */
  setReserved(prefixes: readonly Prefix4[]): void {
    const { pool4 } = this.#options;
    const poolEnd = pool4.address + 2 ** this.#hostBits;
    const reserved = new Set([0]);
    for (const { address, length } of prefixes) {
      const end = Math.min(address + 2 ** (32 - length), poolEnd);
      for (let ipv4 = Math.max(address, pool4.address); ipv4 < end; ipv4++)
        reserved.add(ipv4 - pool4.address);
    }
    for (const index of this.#reserved) if (!reserved.has(index)) this.#free.release(index);
    for (const index of reserved) {
      if (this.#reserved.has(index)) continue;
      this.#evict(index);
      this.#free.take(index);
    }
    this.#reserved = reserved;
  }

  /** Ends and forgets the maps of these hosts. */
  evictHosts(isEvicted: (host: Address6) => boolean): void {
    if (this.liveCount + this.dormantCount === 0) return;
    for (let index = 0; index < this.#state.length; index++) {
      if (this.#state[index] !== STATE_FREE && isEvicted(this.#hosts.hostAt(index))) this.#evict(index);
    }
  }

  #evict(index: number): void {
    if (this.#state[index] === STATE_LIVE) this.#rest(index);
    if (this.#state[index] === STATE_DORMANT) this.#forget(index);
  }

  /** Rules 2 and 3: the first free address from the host's hash on, else the one that has rested longest. */
  #choose(host: Address6): number {
    const free = this.#free.nextFree(poolHash(host, this.#hostBits));
    if (free >= 0) {
      this.#free.take(free);
      return free;
    }
    const rested = this.#lists.first(this.#buckets);
    if (rested < 0) return REFUSED_POOL_FULL;
    this.#leaveDormant(rested);
    this.#hosts.remove(rested);
    return rested;
  }

  #isOver(index: number, nowSec: number): boolean {
    return nowSec - (this.#options.lastSeen[index] as number) > this.#options.lifetimeSec;
  }

  #goLive(index: number, host: Address6, lastUsedSec: number, nowSec: number): void {
    if (this.#sweptSec < 0) this.#sweptSec = nowSec;
    this.#state[index] = STATE_LIVE;
    this.#options.lastSeen[index] = lastUsedSec;
    this.#append(index);
    this.liveCount++;
    this.#per64?.change(host, 1);
    this.#options.publisher.publish(index, host);
  }

  /** Moves a live map to the bucket of the second in which it would end. */
  #stand(index: number): void {
    this.#lists.remove(this.#place[index] as number, index);
    this.#append(index);
  }

  #append(index: number): void {
    const dueSec = (this.#options.lastSeen[index] as number) + this.#options.lifetimeSec + 1;
    // Where sweeps lag behind, a later second would share a bucket with one that is yet to be swept. The map is looked at
    // early instead: a bucket that took back what it gives away would never be done.
    const sec = Math.min(dueSec, this.#sweptSec + this.#buckets);
    const bucket = sec % this.#buckets;
    this.#place[index] = bucket;
    this.#lists.append(bucket, index);
  }

  /** Live to dormant. */
  #rest(index: number): void {
    this.#lists.remove(this.#place[index] as number, index);
    this.liveCount--;
    this.#per64?.change(this.#hosts.hostAt(index), -1);
    this.#options.publisher.withdraw(index);
    this.#enterDormant(index, this.#options.lastSeen[index] as number);
  }

  #enterDormant(index: number, lastUsedSec: number): void {
    this.#state[index] = STATE_DORMANT;
    this.#place[index] = lastUsedSec;
    this.#lists.append(this.#buckets, index);
    this.dormantCount++;
  }

  #leaveDormant(index: number): void {
    this.#lists.remove(this.#buckets, index);
    this.dormantCount--;
  }

  /** Dormant to free. */
  #forget(index: number): void {
    this.#leaveDormant(index);
    this.#hosts.remove(index);
    this.#state[index] = STATE_FREE;
    this.#free.release(index);
  }

  #isAtLimit(host: Address6): boolean {
    return this.#per64 !== undefined && this.#per64.count(host) >= this.#options.maxMapsPer64;
  }
}

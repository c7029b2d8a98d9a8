/** The dynamic pool of a configuration, with the table that workers read and the assigner that answers them. */
import { randomFillSync } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { createHostTable, type HostTableBuffers } from '../shm/host-table.js';
import { createPrefixTable, PrefixTable } from '../shm/prefix-table.js';
import type { Address6, Prefix4 } from '../wire/address.js';
import { TABULATION_WORDS } from '../wire/tabulation.js';
import { Assigner } from './assigner.js';
import type { Clock } from './clock.js';
import type { ExplicitMap } from './config/types.js';
import type { Assignments } from './inspect/assignments.js';
import type { Log } from './log.js';
import { MapLog } from './map-log.js';
import { MapPublisher } from './map-publisher.js';
import { unixNow } from './map-saver.js';
import { DynamicPool, type LineProblem } from './pool/dynamic-pool.js';
import { StoredEntries, type StoredEntry } from './pool/stored-entries.js';
import { allowedHosts, type EffectiveConfig, reservedAddresses } from './settings.js';
import { atOnce, type Sliced } from './slices.js';

const DORMANT_SEC = 14 * 86400;
/** Maps looked at in one go, so that DNS is served in between. */
const SWEEP_SLICE = 10_000;

export interface PoolSurroundings {
  readonly state: Int32Array;
  readonly workerCount: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Writes down that a host gets an address; see DynamicPoolOptions. */
  readonly record: (ipv4: number, host: Address6) => void;
  readonly assignments: Assignments;
}

/** The table of a configuration without a pool. */
export function createNoHosts(): HostTableBuffers {
  return createHostTable(0, 0, 1, randomFillSync(new Int32Array(TABULATION_WORDS)));
}

export class PoolKeeper {
  readonly hosts: HostTableBuffers;
  readonly pool: DynamicPool;
  readonly assigner: Assigner;
  readonly #publisher: MapPublisher;
  readonly #mapLog: MapLog;
  readonly #clock: Clock;
  readonly #lastSeen: Int32Array;
  readonly #options: { pool4: Prefix4; lifetimeSec: number; maxMapsPer64: number };
  /** The explicit maps that hosts were evicted for. */
  #maps: readonly ExplicitMap[] = [];
  #table = new PrefixTable(createPrefixTable([], 6));
  /** Hosts that got an address since `adopt`, until `settle`. */
  #recent: Address6[] | null = null;
  /** What decides about who may have a map, as every map here has been judged by. */
  #allowed: Pick<EffectiveConfig, 'allowFrom' | 'pref64' | 'deviceAddresses'> | undefined;
  /** Indexes of maps that do not run out. */
  readonly #pinned = new Set<number>();

  constructor(pool4: Prefix4, config: EffectiveConfig, surroundings: PoolSurroundings) {
    const { state, workerCount, clock, log, record } = surroundings;
    const { mapLifetimeSec: lifetimeSec, maxMapsPer64 } = config;
    this.#options = { pool4, lifetimeSec, maxMapsPer64 };
    this.#clock = clock;
    const random = randomFillSync(new Int32Array(TABULATION_WORDS));
    this.hosts = createHostTable(pool4.address, 2 ** (32 - pool4.length), lifetimeSec, random);
    this.#lastSeen = new Int32Array(this.hosts.lastSeen);
    this.#publisher = new MapPublisher(this.hosts, state, workerCount);
    this.#mapLog = new MapLog({ publisher: this.#publisher, pool: () => this.pool, clock, log });
    this.pool = new DynamicPool({
      ...this.#options,
      reserved: reservedAddresses(config),
      lastSeen: this.#lastSeen,
      dormantSec: DORMANT_SEC,
      publisher: this.#mapLog,
      record: (ipv4, host) => {
        this.#recent?.push(host);
        record(ipv4, host);
      },
    });
    this.assigner = new Assigner(this.pool, this.#publisher, surroundings);
  }

  /** Whether this pool can serve a configuration: all else about it can change in place. */
  serves({ pool4, mapLifetimeSec, maxMapsPer64 }: EffectiveConfig): boolean {
    const mine = this.#options;
    return (
      pool4?.address === mine.pool4.address &&
      pool4.length === mine.pool4.length &&
      mapLifetimeSec === mine.lifetimeSec &&
      maxMapsPer64 === mine.maxMapsPer64
    );
  }

  /** Takes over what can change in place, and leaves to the explicit maps, `maps6`, and to the kernel what is theirs. */
  adopt(config: EffectiveConfig, maps6: SharedArrayBuffer): void {
    this.assigner.mapLevel = config.log.packets.includes('dyn') ? config.log.assignmentLevel : null;
    this.#mapLog.turn(config.log.maps);
    this.pool.setReserved(reservedAddresses(config));
    // A large pool takes a while to look through.
    if (this.judgeBy(config, maps6)) this.pool.evictHosts((host) => !this.#isWelcome(host));
    // Before another host gets the address of one that was pinned.
    for (const index of this.#pinned) if (this.pool.entry(index) === null) this.#pinned.delete(index);
    this.assigner.noteFullness();
  }

  /** Who may have a map from now on is said by these. Returns whether those that have one must be looked at. */
  judgeBy(config: EffectiveConfig, maps6: SharedArrayBuffer): boolean {
    const { allowFrom, pref64, deviceAddresses } = config;
    const concern = { allowFrom, pref64, deviceAddresses };
    const isAllowedAsBefore = isDeepStrictEqual(concern, this.#allowed);
    this.#allowed = concern;
    if (!isAllowedAsBefore) this.assigner.isAllowed = allowedHosts(config);
    const areSameMaps = config.maps === this.#maps;
    if (!areSameMaps) {
      this.#maps = config.maps;
      this.#table = new PrefixTable(maps6);
      this.#recent = [];
    }
    return !isAllowedAsBefore || (!areSameMaps && !this.#table.isEmpty);
  }

  readonly #isWelcome = (host: Address6) => this.assigner.isAllowed(host) && !this.#isExplicit(host);

  #isExplicit(host: Address6): boolean {
    return !this.#table.isEmpty && this.#table.find6(...host) >= 0;
  }

  /** After `adopt`: the lines of the maps that live, where they are to be logged from now on. */
  logMaps(): Sliced<void> {
    return this.#mapLog.resume();
  }

  /** Once all workers know the explicit maps: one that did not yet may have asked for the host of one. */
  settle(): void {
    for (const host of this.#recent ?? []) if (this.#isExplicit(host)) this.drop(this.pool.lookup(host));
    this.#recent = null;
  }

  /** Takes back what a file remembers, of hosts that may have a map; see DynamicPool. */
  restore(entries: Iterable<StoredEntry>): Sliced<LineProblem[]> {
    return this.pool.restore(entries, this.#clock.nowSec(), unixNow(), this.#isWelcome);
  }

  /** Takes over the maps of the pool before it; those that have no place in this one end. */
  inherit(before: PoolKeeper): void {
    const nowUnixSec = unixNow();
    const clockOffsetSec = nowUnixSec - this.#clock.nowSec();
    const entries = new StoredEntries();
    for (const { ipv4, host, lastUsedSec } of before.pool.entries()) {
      // A pinned map counts as used, however short the lifetime is from now on.
      const isPinned = before.isPinned(before.pool.indexOf(ipv4));
      entries.push(0, ipv4, host, isPinned ? nowUnixSec : lastUsedSec + clockOffsetSec);
    }
    atOnce(this.restore(entries));
    this.#inheritMapLog(before);
    for (const pinned of before.#pinned) {
      const { host, ipv4 } = before.pool.entry(pinned) ?? {};
      const index = host === undefined ? -1 : this.pool.lookup(host);
      if (index >= 0 && this.pool.addressOf(index) === ipv4) this.#pinned.add(index);
    }
  }

  /** Where no pool comes after this one: each of its maps ends. */
  logEnd(): void {
    if (!this.#mapLog.isOn) return;
    for (const entry of this.pool.entries()) if (entry.live) this.#mapLog.end(entry);
  }

  /** What lives on neither ends nor starts. */
  #inheritMapLog(before: PoolKeeper): void {
    if (!before.#mapLog.isOn) return;
    for (const entry of before.pool.entries()) {
      const index = entry.live ? this.pool.lookup(entry.host) : -1;
      const after = index < 0 ? null : this.pool.entry(index);
      if (entry.live && !(after?.live && after.ipv4 === entry.ipv4)) this.#mapLog.end(entry);
    }
    this.#mapLog.isOn = true;
  }

  get lifetimeSec(): number {
    return this.#options.lifetimeSec;
  }

  get pinnedCount(): number {
    return this.#pinned.size;
  }

  isPinned(index: number): boolean {
    return this.#pinned.has(index);
  }

  /** Keeps a map, live or dormant, from running out, as long as this process lives; it comes to life. False where it may not. */
  pin(index: number): boolean {
    const nowSec = this.#clock.nowSec();
    const entry = this.pool.entry(index);
    if (entry === null || this.pool.assign(entry.host, nowSec) !== index) return false;
    this.#pinned.add(index);
    this.#refresh(index, nowSec);
    return true;
  }

  /** Lets a map run out again. */
  unpin(index: number): boolean {
    return this.#pinned.delete(index);
  }

  /** Ends and forgets the map of an entry. The host's next packet gets it an address anew. */
  drop(index: number): void {
    this.#pinned.delete(index);
    this.pool.drop(index);
    this.assigner.noteFullness();
  }

  /** What workers have noted in the table before this one, until they had this one. */
  noteUse(before: PoolKeeper): void {
    for (const { ipv4, host, lastUsedSec, live } of before.pool.entries()) {
      const index = live ? this.pool.lookup(host) : -1;
      if (index < 0 || this.pool.addressOf(index) !== ipv4) continue;
      if ((this.#lastSeen[index] as number) < lastUsedSec) this.#lastSeen[index] = lastUsedSec;
    }
  }

  /** Once a second, or when it has changed. */
  tick(nowSec: number): void {
    for (const index of this.#pinned) this.#refresh(index, nowSec);
    this.pool.sweep(nowSec, SWEEP_SLICE);
    this.assigner.tick();
    this.assigner.noteFullness();
  }

  close(): void {
    this.#publisher.close();
  }

  /** A pinned map counts as used. Not each second: its last packet is to be seen. */
  #refresh(index: number, nowSec: number): void {
    if (this.pool.entry(index)?.live !== true) this.#pinned.delete(index);
    else if (2 * (nowSec - (this.#lastSeen[index] as number)) > this.#options.lifetimeSec)
      this.#lastSeen[index] = nowSec;
  }
}

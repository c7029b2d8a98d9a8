/** The map table as plain data, in pages: whoever asks for all of a large pool gets it in bounded pieces. */
import { setImmediate } from 'node:timers/promises';
import type { HostFilter } from '../../shm/worker-task.js';
import {
  type Address6,
  formatAddress4,
  formatAddress6,
  formatPrefix4,
  formatPrefix6,
  parseAddress4,
  parseAddress6,
  parsePrefix4,
  parsePrefix6,
  prefix4Contains,
  prefix6Contains,
  prefixes4Overlap,
  prefixes6Overlap,
} from '../../wire/address.js';
import type { ExplicitMap } from '../config/types.js';
import type { PoolEntry } from '../pool/dynamic-pool.js';
import type { Subject } from './subject.js';

export type { HostFilter } from '../../shm/worker-task.js';

/** Maps and free addresses looked at in one page, and of them in one turn of the event loop: a millisecond of the control thread. */
const LOOKED = 65_536;
const SLICE = 4096;
export const PAGE = 1000;

export interface MapView {
  readonly kind: 'explicit' | 'live' | 'dormant';
  /** An address; of an explicit map of networks, a prefix. */
  readonly ipv4: string;
  readonly ipv6: string;
  /** Seconds since its last packet; null for an explicit map. */
  readonly idleSec: number | null;
  /** Seconds until it runs out without a packet; null where it does not run. */
  readonly endsInSec: number | null;
  readonly isPinned: boolean;
}

export interface MapPage {
  readonly maps: readonly MapView[];
  /** Where the next page begins; null at the end. */
  readonly next: string | null;
}

/** An address or a prefix of either family; null where it is none. */
export function readHostFilter(text: string): HostFilter | null {
  const address4 = parseAddress4(text);
  const prefix4 = address4 === null ? parsePrefix4(text) : { address: address4, length: 32 };
  if (prefix4 !== null) return { family: 4, prefix: prefix4 };
  const address6 = parseAddress6(text);
  const prefix6 = address6 === null ? parsePrefix6(text) : { address: address6, length: 128 };
  return prefix6 === null ? null : { family: 6, prefix: prefix6 };
}

/**
 * One page of the maps: explicit ones first, in the order of the configuration, then dynamic ones by IPv4 address. Looks at a
 * bounded number in each turn of the event loop, and ends the list where a reload brings another pool.
 * @param from `next` of the page before, or null for the first
 */
export async function mapsPage(
  subject: Subject,
  from: string | null,
  filter: HostFilter | null,
): Promise<MapPage> {
  const { explicitFrom, dynamicFrom } = readCursor(from);
  const { maps: explicit } = subject.config;
  const maps: MapView[] = [];
  if (explicitFrom >= 0) {
    const end = Math.min(explicitFrom + LOOKED, explicit.length);
    for (let i = explicitFrom; i < end; i++) {
      const map = explicit[i] as ExplicitMap;
      if (filter === null || concerns(filter, map)) maps.push(explicitView(map));
      if (maps.length === PAGE && i + 1 < explicit.length) return { maps, next: `explicit:${i + 1}` };
      if ((i + 1) % SLICE === 0) await setImmediate();
    }
    if (end < explicit.length) return { maps, next: `explicit:${end}` };
  }
  const { keeper } = subject.dataplane;
  if (keeper === undefined) return { maps, next: null };
  const single = filter === null ? undefined : indexOfSingle(subject, filter);
  if (single !== undefined) {
    const entry = keeper.pool.entry(single);
    return { maps: entry === null ? maps : [...maps, dynamicView(subject, entry)], next: null };
  }
  const { pool } = keeper;
  const end = Math.min(dynamicFrom + LOOKED, pool.size);
  for (let at = dynamicFrom; at < end; at += SLICE) {
    if (at > dynamicFrom) await setImmediate();
    // There is another pool: what is left of this one is nobody's.
    if (subject.dataplane.keeper !== keeper) return { maps, next: null };
    for (const entry of pool.entries(at, Math.min(at + SLICE, end))) {
      if (maps.length >= PAGE) return { maps, next: `dynamic:${pool.indexOf(entry.ipv4)}` };
      if (filter === null || isIn(filter, entry)) maps.push(dynamicView(subject, entry));
    }
  }
  return { maps, next: end < pool.size ? `dynamic:${end}` : null };
}

/** The explicit and dynamic maps of one address, the best match first. */
export function mapsOf(subject: Subject, filter: HostFilter): readonly MapView[] {
  const explicit = subject.config.maps
    .filter((map) => concerns(filter, map))
    .sort((a, b) => b.ipv4.length - a.ipv4.length);
  const { keeper } = subject.dataplane;
  const index = indexOfSingle(subject, filter) ?? -1;
  const entry = index < 0 ? null : (keeper?.pool.entry(index) ?? null);
  return [...explicit.map(explicitView), ...(entry === null ? [] : [dynamicView(subject, entry)])];
}

/** The index in the pool of the map of a single address: -1 for none, undefined where the filter is a network. */
export function indexOfSingle({ dataplane }: Subject, filter: HostFilter): number | undefined {
  const pool = dataplane.keeper?.pool;
  if (filter.prefix.length < (filter.family === 4 ? 32 : 128)) return undefined;
  if (pool === undefined) return -1;
  return filter.family === 4 ? pool.indexOf(filter.prefix.address) : pool.lookup(filter.prefix.address);
}

export function dynamicView({ dataplane }: Subject, entry: PoolEntry): MapView {
  const { keeper } = dataplane;
  const idleSec = Math.max(dataplane.nowSec() - entry.lastUsedSec, 0);
  const isPinned = keeper?.isPinned(keeper.pool.indexOf(entry.ipv4)) === true;
  const isRunning = entry.live && !isPinned && keeper !== undefined;
  return {
    kind: entry.live ? 'live' : 'dormant',
    ipv4: formatAddress4(entry.ipv4),
    ipv6: formatAddress6(entry.host),
    idleSec,
    endsInSec: isRunning ? Math.max(keeper.lifetimeSec - idleSec, 0) : null,
    isPinned,
  };
}

function explicitView({ ipv4, ipv6 }: ExplicitMap): MapView {
  return {
    kind: 'explicit',
    ipv4: ipv4.length === 32 ? formatAddress4(ipv4.address) : formatPrefix4(ipv4),
    ipv6: ipv6.length === 128 ? formatAddress6(ipv6.address) : formatPrefix6(ipv6),
    idleSec: null,
    endsInSec: null,
    isPinned: false,
  };
}

function concerns(filter: HostFilter, { ipv4, ipv6 }: ExplicitMap): boolean {
  return filter.family === 4 ? prefixes4Overlap(filter.prefix, ipv4) : prefixes6Overlap(filter.prefix, ipv6);
}

function isIn(filter: HostFilter, { ipv4, host }: { ipv4: number; host: Address6 }): boolean {
  return filter.family === 4 ? prefix4Contains(filter.prefix, ipv4) : prefix6Contains(filter.prefix, host);
}

function readCursor(from: string | null): { explicitFrom: number; dynamicFrom: number } {
  const match = /^(explicit|dynamic):([0-9]{1,10})$/.exec(from ?? 'explicit:0');
  const at = Number(match?.[2] ?? 0);
  return match?.[1] === 'dynamic'
    ? { explicitFrom: -1, dynamicFrom: at }
    : { explicitFrom: at, dynamicFrom: 0 };
}

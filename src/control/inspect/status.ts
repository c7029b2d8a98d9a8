/** The gateway at a glance, as plain data: what `status`, `top` and the page show. */
import { formatAddress4, formatAddress6, formatPrefix4, formatPrefix6 } from '../../wire/address.js';
import { showForwarder } from '../config/forwarder.js';
import { showSocketAddress } from '../config/socket-address.js';
import type { Advertiser } from '../radv/index.js';
import { coalescing } from '../settings.js';
import { VERSION } from '../version.js';
import type { Rates } from './rates.js';
import type { Subject } from './subject.js';

export interface Throughput {
  readonly framesPerSec: number;
  readonly bitsPerSec: number;
}

export interface Status {
  readonly version: string;
  readonly node: string;
  readonly pid: number;
  readonly uptimeSec: number;
  readonly configFile: string;
  readonly device: string;
  /** Why nothing can pass it; null where it can. */
  readonly deviceProblem: string | null;
  readonly workers: { readonly count: number; readonly running: number; readonly restarts: number };
  readonly offloads: readonly string[];
  readonly coalescing: 'none' | 'tcp' | 'all';
  /** Who takes a frame to a worker. */
  readonly steering: Subject['steering'];
  readonly pref64: string | null;
  readonly ipv4Address: string;
  readonly ipv6Address: string;
  readonly pool: PoolStatus | null;
  readonly explicitMaps: number;
  readonly dns64: Dns64Status | null;
  /** Of each interface that router advertisements are asked for on. */
  readonly advertise: readonly AdvertiseStatus[];
  readonly logLevel: string;
  /** Under way, of frames. */
  readonly captures: number;
  /** What came in, by direction of translation, and what was dropped. */
  readonly throughput: {
    readonly intervalSec: number;
    readonly v6ToV4: Throughput;
    readonly v4ToV6: Throughput;
    readonly dropsPerSec: number;
  };
}

export interface PoolStatus {
  readonly pool4: string;
  /** Addresses that can be handed out, and how many of them have no map. */
  readonly capacity: number;
  readonly free: number;
  readonly live: number;
  readonly dormant: number;
  readonly pinned: number;
  readonly lifetimeSec: number;
}

export interface Dns64Status {
  readonly pref64s: readonly string[];
  readonly listening: readonly string[];
  readonly forwarders: readonly string[];
  /** What of the configuration could not be done, each with what to do. */
  readonly failures: readonly string[];
}

export interface AdvertiseStatus {
  readonly interface: string;
  /** Why nothing is sent; null where it is. */
  readonly trouble: string | null;
  /** What is told. */
  readonly pref64: string | null;
  readonly dns: readonly string[];
  readonly prefix: string | null;
  readonly routerLifetimeSec: number;
}

export function statusOf(subject: Subject, { intervalSec, perSec }: Rates): Status {
  const { config, dataplane } = subject;
  const { workers } = dataplane;
  const side = (family: 'v6' | 'v4'): Throughput => ({
    framesPerSec: perSec[`frames-in-${family}`] ?? 0,
    bitsPerSec: 8 * (perSec[`bytes-in-${family}`] ?? 0),
  });
  return {
    version: VERSION,
    node: process.version,
    pid: process.pid,
    uptimeSec: (performance.now() - subject.startedMs) / 1000,
    configFile: config.file,
    device: subject.device,
    deviceProblem: subject.deviceProblem,
    workers: {
      count: workers.length,
      running: workers.filter(({ isRunning }) => isRunning).length,
      restarts: dataplane.workersReplaced,
    },
    offloads: config.offloads,
    coalescing: coalescing(config),
    steering: subject.steering,
    pref64: config.pref64 && formatPrefix6(config.pref64),
    ipv4Address: formatAddress4(config.ipv4Address),
    ipv6Address: formatAddress6(config.ipv6Address),
    pool: poolStatus(subject),
    explicitMaps: config.maps.length,
    dns64: dns64Status(subject),
    advertise: subject.advertisers.map(advertiseStatus),
    logLevel: subject.logLevel,
    captures: dataplane.captures.count,
    throughput: {
      intervalSec,
      v6ToV4: side('v6'),
      v4ToV6: side('v4'),
      dropsPerSec: Object.entries(perSec).reduce(
        (sum, [name, rate]) => sum + (name.startsWith('drop-') ? rate : 0),
        0,
      ),
    },
  };
}

function poolStatus({ config, dataplane: { keeper } }: Subject): PoolStatus | null {
  if (keeper === undefined || config.pool4 === null) return null;
  const { pool } = keeper;
  return {
    pool4: formatPrefix4(config.pool4),
    capacity: pool.capacity,
    free: pool.freeCount,
    live: pool.liveCount,
    dormant: pool.dormantCount,
    pinned: keeper.pinnedCount,
    lifetimeSec: keeper.lifetimeSec,
  };
}

function advertiseStatus({ name, trouble, contents }: Advertiser): AdvertiseStatus {
  const [pref64, prefix] = [contents?.pref64s[0], contents?.prefixes[0]];
  return {
    interface: name,
    trouble,
    pref64: pref64 === undefined ? null : formatPrefix6(pref64.of),
    dns: contents?.dnsServers.map(({ of }) => formatAddress6(of)) ?? [],
    prefix: prefix === undefined ? null : formatPrefix6(prefix.of),
    routerLifetimeSec: contents?.routerLifetimeSec ?? 0,
  };
}

function dns64Status({ dns64 }: Subject): Dns64Status | null {
  if (dns64 === undefined) return null;
  return {
    pref64s: dns64.prefixes.map(formatPrefix6),
    listening: dns64.listening.map(showSocketAddress),
    forwarders: dns64.forwarders.map(showForwarder),
    failures: dns64.failures.map(({ error }) => error.message),
  };
}

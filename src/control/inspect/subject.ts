/** What the control socket and HTTP look at, and the few things that they may do. */
import type { LevelName } from '../../shm/counters.js';
import type { PrefixTable } from '../../shm/prefix-table.js';
import type { Captures } from '../capture/captures.js';
import type { Changes } from '../changes.js';
import type { GatewayConfig, LogConfig } from '../config/types.js';
import type { Dns64 } from '../dns64/index.js';
import type { PoolKeeper } from '../pool-keeper.js';
import type { OpenDevice } from '../queues.js';
import type { Advertiser } from '../radv/index.js';
import type { EffectiveConfig } from '../settings.js';
import type { WorkerState } from '../workers.js';
import type { Assignments } from './assignments.js';
import type { BusiestHosts } from './busiest.js';
import type { RecentEvent } from './events.js';

export interface WorkerView extends WorkerState {
  /** Since its last start. */
  readonly counters: Readonly<Record<string, number>>;
}

/** The data plane, as control sees it. */
export interface Dataplane {
  /** Sums over all workers, dead ones included. */
  readonly counters: Readonly<Record<string, number>>;
  /** Of each `drop-` counter, the frames that came from the IPv4 side. */
  readonly dropsFromV4: Readonly<Record<string, number>>;
  /** How full things are now, all workers together. */
  readonly levels: Readonly<Record<LevelName, number>>;
  readonly workers: readonly WorkerView[];
  readonly workersReplaced: number;
  readonly keeper: PoolKeeper | undefined;
  readonly explicitMaps: { readonly maps4: PrefixTable; readonly maps6: PrefixTable };
  readonly assignments: Assignments;
  readonly captures: Captures;
  readonly busiest: BusiestHosts;
  /** The gateway's clock. */
  nowSec(): number;
}

export interface ReloadCounts {
  done: number;
  failed: number;
}

/** A configuration as it was read. */
export interface Loaded {
  readonly given: GatewayConfig;
  /** With the maps of its map-file; the lines of it that are no good are among the warnings. */
  readonly complete: GatewayConfig;
}

/** A gateway that serves. */
export interface Subject {
  /** By performance.now(). */
  readonly startedMs: number;
  /** What is in force. */
  readonly config: EffectiveConfig;
  /** The name the kernel gave. */
  readonly device: string;
  readonly steering: OpenDevice['steering'];
  /** Why nothing can pass the device; null where it can. */
  readonly deviceProblem: string | null;
  readonly dataplane: Dataplane;
  readonly dns64: Dns64 | undefined;
  /** Where router advertisements are asked for. */
  readonly advertisers: readonly Advertiser[];
  readonly reloads: Readonly<ReloadCounts>;
  /** The last lines of the log. */
  readonly recent: { readonly events: readonly RecentEvent[]; readonly total: number };
  logLevel: LogConfig['level'];
  /** Logs what somebody has done by hand. */
  note(event: string, message: string): void;
  /**
   * Reads the configuration anew. Rejects with ConfigError, or an Error that says what to do; for other than a dry run that is a failed
   * reload.
   */
  load(isDryRun: boolean): Promise<Loaded>;
  /** Brings a configuration into force, as given. Rejects where that cannot be done; then nothing has changed. */
  reload(given: GatewayConfig): Promise<Changes>;
  /** Writes dynamic.map anew. Rejects where it cannot. */
  save(): Promise<void>;
}

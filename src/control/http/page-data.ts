/** What the status page is told: its half of the contract imports these types. */
import type { BusyHost } from '../inspect/busiest.js';
import type { RecentEvent } from '../inspect/events.js';
import type { Status } from '../inspect/status.js';

/** By second, the oldest first; `at` in seconds since the epoch, everything else per second. */
export interface HistoryColumns {
  readonly at: number[];
  readonly v6ToV4Bits: number[];
  readonly v4ToV6Bits: number[];
  readonly v6ToV4Frames: number[];
  readonly v4ToV6Frames: number[];
}

export type Sample = { readonly [K in keyof HistoryColumns]: number };

export interface PageEvent {
  readonly sample: Sample;
  readonly status: Status;
  readonly counters: Readonly<Record<string, number>>;
  readonly workers: readonly {
    readonly worker: number;
    readonly isRunning: boolean;
    readonly aliveSec: number;
    readonly restarts: number;
    readonly framesIn: number;
  }[];
  readonly dns64: object | null;
  readonly busiestHosts: readonly BusyHost[];
  /** The latest first; null where there are no others than last time. */
  readonly events: readonly RecentEvent[] | null;
  /** As TOML, without secrets; null where it is as last time. */
  readonly config: string | null;
}

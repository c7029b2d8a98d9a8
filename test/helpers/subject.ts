/** A gateway as the control socket and HTTP see it, without device and workers: pool and tables are real ones. */

import { Captures } from '#nat64d/control/capture/captures.js';
import { changesBetween, refusalOf } from '#nat64d/control/changes.js';
import type { Clock } from '#nat64d/control/clock.js';
import { parseConfig } from '#nat64d/control/config/index.js';
import type { GatewayConfig } from '#nat64d/control/config/types.js';
import type { Dns64 } from '#nat64d/control/dns64/index.js';
import { newStats } from '#nat64d/control/dns64/stats.js';
import { Assignments } from '#nat64d/control/inspect/assignments.js';
import { BusiestHosts } from '#nat64d/control/inspect/busiest.js';
import { RememberingLog } from '#nat64d/control/inspect/events.js';
import { Histogram } from '#nat64d/control/inspect/histogram.js';
import type { Dataplane, Subject } from '#nat64d/control/inspect/subject.js';
import { silent } from '#nat64d/control/log.js';
import { CLOCK_START_SEC } from '#nat64d/control/pool/clock-start.js';
import { PoolKeeper } from '#nat64d/control/pool-keeper.js';
import type { EffectiveConfig } from '#nat64d/control/settings.js';
import { COUNTER_NAMES } from '#nat64d/shm/counters.js';
import { createPrefixTable, PrefixTable } from '#nat64d/shm/prefix-table.js';
import { createSharedState } from '#nat64d/shm/shared-state.js';
import type { ToWorker } from '#nat64d/shm/worker-task.js';
import { address6 } from './harness.js';

export class TestSubject implements Subject {
  readonly startedMs = performance.now();
  readonly device = 'nat64';
  readonly steering = 'program';
  deviceProblem: string | null = null;
  readonly dataplane: Dataplane;
  readonly reloads = { done: 0, failed: 0 };
  readonly recent = new RememberingLog({ ...silent, level: 'info' });
  readonly notes: string[] = [];
  advertisers: Subject['advertisers'] = [];
  readonly counters: Record<string, number> = Object.fromEntries(COUNTER_NAMES.map((name) => [name, 0]));
  readonly assignments = new Assignments();
  readonly dropsFromV4: Record<string, number> = {};
  readonly levels = { 'hold-hosts': 0, 'hold-frames': 0, 'hold-bytes': 0 };
  /** What was sent to the one worker there would be. */
  readonly sent: ToWorker[] = [];
  config: EffectiveConfig;
  logLevel: Subject['logLevel'] = 'info';
  nowSec = CLOCK_START_SEC;
  /** What `load` reads. */
  toml: string;
  dns64: Dns64 | undefined;

  constructor(toml = '', dns64: Partial<Dns64> | null = {}) {
    this.toml = toml;
    const config = parseConfig(toml, 'f');
    this.config = {
      ...config,
      deviceAddresses: config.device.addresses,
      deviceMtu: config.device.mtu,
      offloads: ['CSUM', 'TSO4'],
    };
    this.dns64 =
      dns64 === null
        ? undefined
        : // What a test does not give is not asked for.
          ({
            listening: [{ address: '::1', port: 53 }],
            forwarders: [],
            forwarderStates: [{ name: '192.0.2.53:53', isDown: false, latency: new Histogram([0.01, 1]) }],
            failures: [],
            prefixes: config.pref64 === null ? [] : [config.pref64],
            cacheStats: () => ({
              sizeBytes: 1000,
              answers: { entries: 3, usedBytes: 300 },
              finished: { entries: 2, usedBytes: 200 },
              pending: 0,
            }),
            stats: newStats(),
            close: async () => {},
            ...dns64,
          } as Dns64);
    const clock = { nowSec: () => this.nowSec } as Clock;
    const { assignments } = this;
    const surroundings = {
      state: createSharedState(1),
      workerCount: 1,
      clock,
      log: silent,
      record: () => {},
      assignments,
    };
    const maps4 = createPrefixTable(config.maps, 4);
    const maps6 = createPrefixTable(config.maps, 6);
    const keeper =
      config.pool4 === null ? undefined : new PoolKeeper(config.pool4, this.config, surroundings);
    keeper?.adopt(this.config, maps6);
    const { counters, dropsFromV4, levels } = this;
    const send = (_: number, message: ToWorker) => void this.sent.push(message);
    this.dataplane = {
      get counters() {
        return { ...counters };
      },
      workers: [{ worker: 0, isRunning: true, aliveSec: 5, restarts: 0, counters }],
      workersReplaced: 0,
      keeper,
      explicitMaps: { maps4: new PrefixTable(maps4), maps6: new PrefixTable(maps6) },
      assignments,
      dropsFromV4,
      levels,
      captures: new Captures(() => 1, send),
      busiest: new BusiestHosts(() => 1, send),
      nowSec: () => this.nowSec,
    };
  }

  get keeper(): PoolKeeper {
    return this.dataplane.keeper as PoolKeeper;
  }

  /** Gives a host its address; returns the index of its map. */
  assign(host: string): number {
    return this.keeper.pool.assign(address6(host), this.nowSec);
  }

  note(event: string, message: string): void {
    this.notes.push(`${event}: ${message}`);
  }

  async load(isDryRun: boolean) {
    try {
      const given = parseConfig(this.toml, 'f');
      return { given, complete: given };
    } catch (error) {
      if (!isDryRun) this.reloads.failed++;
      throw error;
    }
  }

  async save(): Promise<void> {}

  async reload(given: GatewayConfig) {
    const changes = changesBetween(this.config, given);
    const refusal = refusalOf(changes, given.file);
    if (refusal !== '') throw new Error(refusal);
    this.config = { ...this.config, ...given };
    this.reloads.done++;
    return changes;
  }
}

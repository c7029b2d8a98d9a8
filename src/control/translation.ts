/** The data plane as control sees it: the workers, the tables they read, the pool, and the clock. */
import { cpus } from 'node:os';
import type { Piscina } from 'piscina';
import {
  createCounters,
  type LevelName,
  readCounters,
  readDropsFromV4,
  readLevels,
  readWorkerCounters,
} from '../shm/counters.js';
import { buildPrefixTable, PrefixTable } from '../shm/prefix-table.js';
import { CLOCK, createSharedState } from '../shm/shared-state.js';
import type { HowToDie, PacketNote, Tables, ToWorker } from '../shm/worker-task.js';
import type { Address6 } from '../wire/address.js';
import { Captures } from './capture/captures.js';
import type { Clock } from './clock.js';
import type { ExplicitMap, LineLevel } from './config/types.js';
import { Assignments } from './inspect/assignments.js';
import { BusiestHosts } from './inspect/busiest.js';
import type { Dataplane, WorkerView } from './inspect/subject.js';
import type { Log } from './log.js';
import { MapSaver } from './map-saver.js';
import { createNoHosts, PoolKeeper, type PoolSurroundings } from './pool-keeper.js';
import type { OpenDevice, QueueChange } from './queues.js';
import { type EffectiveConfig, translatorSettings } from './settings.js';
import { inSlices } from './slices.js';
import { Workers } from './workers.js';

/** How often the clock is looked at; a sweep follows where the second has changed. */
const TICK_MS = 500;

/** For as many workers there are counters: what a configuration allows, or a machine with more CPUs, whichever this process may run on: that can change. */
const MAX_WORKERS = Math.max(64, cpus().length);

type PrefixTables = Pick<Tables, 'maps4' | 'maps6'>;

/** What `commit` brings into force. */
export interface NextTables {
  readonly config: EffectiveConfig;
  readonly prefixTables: PrefixTables;
  readonly keeper: PoolKeeper | undefined;
}

async function buildPrefixTables(maps: readonly ExplicitMap[]): Promise<PrefixTables> {
  return {
    maps4: await inSlices(buildPrefixTable(maps, 4)),
    maps6: await inSlices(buildPrefixTable(maps, 6)),
  };
}

export interface TranslationOptions {
  readonly device: OpenDevice;
  /** See WorkersOptions. */
  readonly threads: Piscina[];
  readonly clock: Clock;
  readonly log: Log;
  readonly onDeviceLost: (message: string) => void;
}

export class Translation implements Dataplane {
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #surroundings: PoolSurroundings;
  readonly #counters: SharedArrayBuffer;
  readonly #workers: Workers;
  /** Null where maps are not kept. */
  readonly #saver: MapSaver | null;
  readonly assignments = new Assignments();
  readonly captures: Captures;
  readonly busiest: BusiestHosts;
  #tablesInForce: Tables;
  /** What its prefix tables were made of. */
  #maps: readonly ExplicitMap[];
  #packetLevel: LineLevel;
  #keeper: PoolKeeper | undefined;
  #timer: NodeJS.Timeout | undefined;

  private constructor(config: EffectiveConfig, prefixTables: PrefixTables, options: TranslationOptions) {
    const { device, threads, clock, log, onDeviceLost } = options;
    const entries = () => this.#keeper?.pool.entries() ?? [];
    this.#saver =
      config.dataDir === null ? null : new MapSaver({ dataDir: config.dataDir, clock, log, entries });
    this.#log = log;
    this.#clock = clock;
    const state = createSharedState(MAX_WORKERS);
    state[CLOCK] = clock.nowSec();
    this.#counters = createCounters(MAX_WORKERS);
    const record = (ipv4: number, host: Address6) => this.#saver?.record(ipv4, host);
    this.#surroundings = {
      state,
      workerCount: MAX_WORKERS,
      clock,
      log,
      record,
      assignments: this.assignments,
    };
    this.#maps = config.maps;
    this.#packetLevel = config.log.packetLevel;
    const { maps4, maps6 } = prefixTables;
    if (config.pool4 !== null) this.#keeper = new PoolKeeper(config.pool4, config, this.#surroundings);
    this.#tablesInForce = {
      workerCount: device.fds.length,
      settings: translatorSettings(config),
      hosts: this.#keeper?.hosts ?? createNoHosts(),
      maps4,
      maps6,
    };
    const send = (worker: number, message: ToWorker) => this.#workers.send(worker, message);
    const workerCount = () => this.#workers.count;
    this.captures = new Captures(workerCount, send);
    this.busiest = new BusiestHosts(workerCount, send);
    this.#workers = new Workers({
      fds: device.fds,
      threads,
      shared: {
        nice: config.workerNice,
        state: state.buffer as SharedArrayBuffer,
        counters: this.#counters,
      },
      log,
      watched: (worker) => ({
        captures: this.captures.tasksOf(worker),
        samples: this.busiest.ringOf(worker),
      }),
      onQuestions: (worker) => this.#keeper?.assigner.answer(this.#workers, worker),
      onPackets: (notes, left) => this.#logPackets(notes, left),
      onDeviceLost: (message) => onDeviceLost(`the device ${device.name} is gone: ${message}`),
    });
  }

  /**
   * Does in slices what can be done before the device is set up: makes the tables, and takes back the maps that the data-dir remembers.
   * `start` follows. Rejects where a file cannot be read.
   */
  static async prepare(config: EffectiveConfig, options: TranslationOptions): Promise<Translation> {
    const translation = new Translation(config, await buildPrefixTables(config.maps), options);
    const keeper = translation.#keeper;
    if (keeper === undefined) return translation;
    keeper.judgeBy(config, translation.#tablesInForce.maps6);
    await translation.#restore(keeper);
    return translation;
  }

  /** Resolves when every queue is served. Where it rejects, nothing is left behind. @param config of `prepare`, as the device is now */
  async start(config: EffectiveConfig): Promise<void> {
    this.#keeper?.adopt(config, this.#tablesInForce.maps6);
    this.#keeper?.settle();
    this.#tablesInForce = { ...this.#tablesInForce, settings: translatorSettings(config) };
    try {
      await this.#workers.start(this.#tablesInForce);
      if (this.#keeper !== undefined) await inSlices(this.#keeper.logMaps());
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  get counters(): Record<string, number> {
    return readCounters(this.#counters);
  }

  get dropsFromV4(): Record<string, number> {
    return readDropsFromV4(this.#counters);
  }

  get levels(): Record<LevelName, number> {
    return readLevels(this.#counters);
  }

  get workers(): WorkerView[] {
    return this.#workers.states.map((state) => ({
      ...state,
      counters: readWorkerCounters(this.#counters, state.worker),
    }));
  }

  get workersReplaced(): number {
    return this.#workers.replaced;
  }

  /** The dynamic pool in force. */
  get keeper(): PoolKeeper | undefined {
    return this.#keeper;
  }

  get explicitMaps(): { maps4: PrefixTable; maps6: PrefixTable } {
    const { maps4, maps6 } = this.#tablesInForce;
    return { maps4: new PrefixTable(maps4), maps6: new PrefixTable(maps6) };
  }

  nowSec(): number {
    return this.#clock.nowSec();
  }

  /** Makes the tables of another configuration, in slices. Nothing is in force yet, and where it rejects nothing has changed. */
  async prepare(config: EffectiveConfig): Promise<NextTables> {
    const { maps4, maps6 } = this.#tablesInForce;
    const prefixTables = config.maps === this.#maps ? { maps4, maps6 } : await buildPrefixTables(config.maps);
    const { pool4 } = config;
    if (pool4 === null) return { config, prefixTables, keeper: undefined };
    if (this.#keeper?.serves(config)) return { config, prefixTables, keeper: this.#keeper };
    const keeper = new PoolKeeper(pool4, config, this.#surroundings);
    if (this.#keeper === undefined) {
      keeper.judgeBy(config, prefixTables.maps6);
      await this.#restore(keeper);
    }
    return { config, prefixTables, keeper };
  }

  /**
   * Works with other tables from the next burst of each worker on; resolves when all do. Maps that have a place in them live on. Cannot
   * fail. A map that ends does so before its address or its host means something else.
   */
  async commit({ config, prefixTables, keeper }: NextTables): Promise<void> {
    const before = this.#keeper;
    const live = before?.pool.liveCount ?? 0;
    if (keeper !== before && before !== undefined) {
      if (keeper === undefined) before.logEnd();
      else keeper.inherit(before);
    }
    keeper?.adopt(config, prefixTables.maps6);
    this.#noteEnded(live - (keeper?.pool.liveCount ?? 0));
    this.#keeper = keeper;
    this.#maps = config.maps;
    this.#packetLevel = config.log.packetLevel;
    this.#tablesInForce = {
      workerCount: this.#workers.count,
      settings: translatorSettings(config),
      hosts: keeper?.hosts ?? createNoHosts(),
      ...prefixTables,
    };
    await this.#workers.reload(this.#tablesInForce);
    // Who has asked while there was no pool will not ask again.
    this.answerWaiting();
    keeper?.settle();
    if (before !== undefined && before !== keeper) {
      keeper?.noteUse(before);
      before.close();
    }
    if (keeper !== undefined) await inSlices(keeper.logMaps());
  }

  /** Answers workers that ask for a map now; see Assigner.answerWaiting. */
  answerWaiting(): void {
    this.#keeper?.assigner.answerWaiting(this.#workers);
  }

  /** Has as many workers as there are queues in a change, and brings it about. Where it rejects, nothing has changed. */
  async resize(change: QueueChange): Promise<void> {
    await this.#workers.resize(change);
  }

  /** Writes dynamic.map anew. Rejects where it cannot; nothing is lost then. */
  async save(): Promise<void> {
    if (this.keepsMaps) await this.#saver?.save();
  }

  /** Whether there are dynamic maps, and a dynamic.map for them. */
  get keepsMaps(): boolean {
    return this.#keeper !== undefined && this.#saver !== null;
  }

  /** How many maps dynamic.map holds once it is saved. */
  get mapCount(): number {
    return this.#keeper === undefined ? 0 : this.#keeper.pool.liveCount + this.#keeper.pool.dormantCount;
  }

  /** Says where dynamic.map is from now on. */
  moveDataDir(folder: string): void {
    this.#saver?.moveTo(folder);
  }

  /** Test hook: ends a worker in this way. */
  killWorker(worker: number, how: HowToDie): void {
    this.#workers.send(worker, { type: 'die', how });
  }

  /** Ends the workers, and saves the maps. Descriptors stay open. Rejects where the maps cannot be saved. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.busiest.close();
    await this.#workers.stop();
    this.#keeper?.close();
    try {
      await this.save();
    } finally {
      await this.#saver?.close();
    }
  }

  #noteEnded(count: number): void {
    if (count <= 0) return;
    const maps =
      count === 1 ? 'map ends: its address or its host has' : 'maps end: their addresses or hosts have';
    this.#log.info(
      { event: 'maps-ended', count },
      `${count} dynamic ${maps} no place in the pool any more, or it is too old for its lifetime`,
    );
  }

  /** Takes back what the data-dir remembers, if there is one. */
  async #restore(keeper: PoolKeeper): Promise<void> {
    if (this.#saver === null) return;
    const { entries, problems } = await this.#saver.read();
    for (const { file, line, message } of problems) {
      this.#log.warn(
        { event: 'dynamic-map-line', file, line },
        `${file}:${line}: ${message}; the line is ignored`,
      );
    }
    for (const { line, message } of await inSlices(keeper.restore(entries))) {
      this.#log.warn(
        { event: 'dynamic-map-entry', line },
        `dynamic.map:${line}: ${message}; the entry is ignored`,
      );
    }
  }

  #tick(): void {
    const { state } = this.#surroundings;
    const nowSec = this.#clock.nowSec();
    if (nowSec === state[CLOCK]) return;
    Atomics.store(state, CLOCK, nowSec);
    this.#workers.look();
    this.#keeper?.tick(nowSec);
    this.#saver?.tick(nowSec, this.mapCount);
  }

  #logPackets(notes: readonly PacketNote[], left: number): void {
    for (const { kind, reason, source, destination, protocol, length } of notes) {
      this.#log[this.#packetLevel](
        { event: 'packet', kind, reason, source, destination, protocol, length },
        `${kind}: ${source} to ${destination}, protocol ${protocol}, ${length} bytes${reason && `: ${reason}`}`,
      );
    }
    if (left > 0)
      this.#log[this.#packetLevel](
        { event: 'packets-left', left },
        `and ${left} more packets in this second`,
      );
  }
}

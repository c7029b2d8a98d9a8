/** The gateway's life: everything that is put up, in order, and taken down again in reverse. */
import { join } from 'node:path';
import type { Piscina } from 'piscina';
import native from '#native';
import type { HowToDie } from '../shm/worker-task.js';
import { announce } from './announce.js';
import { type Changes, changesBetween, refusalOf } from './changes.js';
import { Clock } from './clock.js';
import type { ExplicitMap, GatewayConfig, LogConfig } from './config/types.js';
import { SocketKeeper } from './control-socket/keeper.js';
import { ControlSocket, checkGroup, SOCKET_NAME } from './control-socket/server.js';
import { DeviceCare } from './device-care.js';
import type { Dns64 } from './dns64/index.js';
import { explicitMaps } from './explicit-maps.js';
import { HttpService } from './http/service.js';
import { RememberingLog } from './inspect/events.js';
import type { Loaded, ReloadCounts, Subject } from './inspect/subject.js';
import { InstanceLocks } from './instance-lock.js';
import { type Log, plainLog, silent } from './log.js';
import { releaseMemoryRegularly } from './memory.js';
import { startNameServer } from './name-server.js';
import { buildNetdevSettings, configureNetdev, type Netdev, recoverSysctls } from './netdev/index.js';
import { type OpenDevice, openDevice } from './queues.js';
import { RouterAdvertisements } from './radv/index.js';
import { type Parts, Reload } from './reload.js';
import { type EffectiveConfig, workerCountOf } from './settings.js';
import { inSlices } from './slices.js';
import { Translation } from './translation.js';
import { openThread } from './worker-thread.js';

/** How often it is seen that somebody has removed or replaced a folder of ours, or what is in it. */
const FOLDERS_LOOK_MS = 1000;

export interface GatewayOptions {
  readonly log: Log;
  /** Seconds of the gateway's clock per real second; other than 1 only in tests. */
  readonly clockRate: number;
  /** Reads the configuration anew, for a reload that nobody has read it for. Throws ConfigError. */
  readonly load?: () => GatewayConfig;
}

export class Gateway {
  readonly #log: RememberingLog;
  readonly #clock: Clock;
  /** What must be taken down, in the order it was put up. */
  readonly #undo: (() => Promise<void> | void)[] = [];
  /** What is in force, with the maps of the map-file. */
  #config: GatewayConfig;
  #translation: Translation | undefined;
  #netdev: Netdev | undefined;
  /** What a reload may replace. */
  readonly #parts: Parts = { kernelSide: undefined, dns64: undefined, control: undefined, http: undefined };
  readonly #care: DeviceCare;
  /** What is in force as it was shown last: the same object for as long as it is the same. */
  #shown: { readonly of: GatewayConfig; readonly config: EffectiveConfig } | undefined;
  #stopping: Promise<void> | undefined;
  #device: OpenDevice | undefined;
  /** Undefined once folders have other names. */
  #locks: InstanceLocks | undefined;
  readonly #advertisements: RouterAdvertisements;
  readonly #load: (() => GatewayConfig) | undefined;
  readonly #startedMs = performance.now();
  readonly #reloads: ReloadCounts = { done: 0, failed: 0 };
  /** Reloads wait for each other. */
  #reloading: Promise<unknown> = Promise.resolve();
  /** DNS64 has the thread for milliseconds; new hosts do not wait for so long. */
  readonly #giveWay = () => this.#translation?.answerWaiting();
  #onLost: (message: string) => void = () => {};
  /** Resolves with a message when the gateway cannot go on (its device is gone). */
  readonly lost = new Promise<string>((resolve) => {
    this.#onLost = resolve;
  });

  private constructor(config: GatewayConfig, options: GatewayOptions) {
    this.#config = config;
    this.#log = new RememberingLog(options.log);
    this.#load = options.load;
    this.#clock = new Clock(options.clockRate);
    this.#care = new DeviceCare({
      name: config.device.name,
      clock: this.#clock,
      log: this.#log,
      kernelSide: () => this.#parts.kernelSide,
      setUp: () => this.#setUp(),
      follow: () => this.#followDevice(),
      inBackground: (change) => this.#inBackground(change),
      onLost: (message) => this.#onLost(message),
    });
    this.#advertisements = new RouterAdvertisements(() => this.#parts.dns64?.listening ?? [], this.#log);
  }

  /** Puts everything up. Where a part fails, what was put up before it is taken down again, and the error thrown. */
  static async start(config: GatewayConfig, options: GatewayOptions): Promise<Gateway> {
    const gateway = new Gateway(config, options);
    try {
      await gateway.#start();
      return gateway;
    } catch (error) {
      await gateway.stop();
      throw error;
    }
  }

  async #start(): Promise<void> {
    // Nothing goes without it, and what would be tried first has other reasons to fail.
    if (native.absence !== undefined) throw native.absence;
    const config = this.#config;
    const log = this.#log;
    for (const warning of config.warnings) log.warn({ event: 'config-warning' }, warning);
    const locks = await InstanceLocks.take(config, log);
    this.#locks = locks;
    this.#undo.push(() => locks.release());
    const socketKeeper = this.#keepSocket();
    const looking = setInterval(() => {
      this.#locks?.look(log);
      if (this.#locks !== undefined) socketKeeper.look();
    }, FOLDERS_LOOK_MS);
    this.#undo.push(() => clearInterval(looking));
    this.#undo.push(() => this.#parts.control?.close());
    if (config.controlSocket) this.#parts.control = await this.#openControl(config);
    if (locks.ownsRunDir) await recoverSysctls(config.runDir, plainLog(log));

    const workerCount = workerCountOf(config);
    const threads = this.#openThreads(workerCount);
    this.#config = { ...config, maps: await explicitMaps(config, log) };
    const device = openDevice(
      {
        name: config.device.name,
        count: workerCount,
        offload: config.device.offload,
        pref64: config.pref64,
      },
      log,
    );
    this.#undo.push(() => device.close());
    this.#device = device;
    // A device that was made for one queue has one, however many were asked for.
    for (const thread of threads.splice(device.fds.length)) void thread.destroy();
    this.#parts.kernelSide = await inSlices(buildNetdevSettings(this.#config));
    const known = this.#effective(this.#config);
    const settingUp = configureNetdev(this.#parts.kernelSide, plainLog(log));
    // Meanwhile, for other programs do most of that.
    const preparing = Translation.prepare(known, {
      device,
      threads,
      clock: this.#clock,
      log,
      onDeviceLost: (message) => this.#onLost(message),
    });
    // Where the set-up fails: while it reads, what it reads is this gateway's.
    this.#undo.push(() =>
      preparing.then(
        () => {},
        () => {},
      ),
    );
    preparing.catch(() => {});
    this.#netdev = await settingUp;
    this.#undo.push(() => (this.#care.maySetUp ? this.#netdev?.restore() : undefined));
    const translation = await preparing;
    await translation.start(this.#effective(this.#config));
    this.#translation = translation;
    this.#undo.push(() => translation.stop());
    this.#undo.push(() => this.#care.close());
    this.#care.watch();
    this.#undo.push(releaseMemoryRegularly());
    this.#undo.push(() => this.#parts.dns64?.close());
    this.#useDns64(config, await startNameServer(config, log, this.#giveWay));
    this.#undo.push(() => this.#parts.http?.close());
    if (config.http.listen.length > 0) this.#parts.http = await this.#startHttp(config);
    // Last: hosts are told of what serves, and that it ends before it does.
    this.#undo.push(() => this.#advertisements.close());
    this.#advertisements.use(config);
    announce(this.#effective(config), device, this.#netdev.summary, this.#parts.dns64, log);
  }

  /** Ahead of their work: they read their files while this thread sets up the device and reads the maps. */
  #openThreads(count: number): Piscina[] {
    const threads = Array.from({ length: count }, () => openThread(this.#log));
    const all = [...threads];
    this.#undo.push(async () => void (await Promise.all(all.map((thread) => thread.destroy()))));
    return threads;
  }

  #openControl({ runDir, controlGroup: group }: GatewayConfig): Promise<ControlSocket> {
    return ControlSocket.open({ path: join(runDir, SOCKET_NAME), group, subject: () => this.subject });
  }

  #keepSocket(): SocketKeeper {
    return new SocketKeeper({
      log: this.#log,
      current: () => this.#parts.control,
      open: () => this.#openControl(this.#config),
      use: (opened) => {
        this.#parts.control = opened;
      },
      inBackground: (change) => this.#inBackground(change),
    });
  }

  #startHttp({ http }: GatewayConfig): Promise<HttpService> {
    return HttpService.start({ ...http, subject: () => this.subject, log: this.#log });
  }

  /** What may be looked at from outside, and done; undefined before it serves, and at its end. */
  get subject(): Subject | undefined {
    const translation = this.#translation;
    const device = this.#device;
    if (translation === undefined || device === undefined || this.#stopping !== undefined) return undefined;
    const log = this.#log;
    return {
      startedMs: this.#startedMs,
      config: this.#shownConfig(device),
      device: device.name,
      steering: device.steering,
      deviceProblem: this.#care.problem,
      dataplane: translation,
      dns64: this.#parts.dns64,
      advertisers: this.#advertisements.advertisers,
      reloads: this.#reloads,
      recent: log,
      get logLevel() {
        return log.level as LogConfig['level'];
      },
      set logLevel(level) {
        log.info({ event: 'log-level', level }, `log level is now ${level}, until the next reload`);
        log.level = level;
      },
      note: (event, message) => log.info({ event }, message),
      load: (isDryRun) => (isDryRun ? this.#loadComplete() : this.#counted(() => this.#loadComplete())),
      reload: (config) => this.reload(config),
      save: () => translation.save(),
    };
  }

  #shownConfig({ offloads }: OpenDevice): EffectiveConfig {
    const shown = this.#shown;
    const { addresses: deviceAddresses, mtu } = this.#care;
    if (
      shown?.of === this.#config &&
      shown.config.deviceAddresses === deviceAddresses &&
      shown.config.deviceMtu === mtu
    )
      return shown.config;
    const config = { ...this.#config, deviceAddresses, deviceMtu: mtu, offloads };
    this.#shown = { of: this.#config, config };
    return config;
  }

  #read(): GatewayConfig {
    if (this.#load === undefined) throw new Error('this gateway has no file to read again');
    const config = this.#load();
    const { controlSocket, controlGroup } = config;
    // One that is in force already is not asked for again: what knows it may be out of reach by now.
    if (controlSocket && controlGroup !== null && controlGroup !== this.#config.controlGroup) {
      try {
        checkGroup(controlGroup);
      } catch (error) {
        throw new Error(`${config.file}: control-group: ${(error as Error).message}`);
      }
    }
    return config;
  }

  /** Counts a reload that comes to nothing because this fails. */
  async #counted<T>(read: () => Promise<T> | T): Promise<T> {
    try {
      return await read();
    } catch (error) {
      this.#reloads.failed++;
      throw error;
    }
  }

  async #loadComplete(): Promise<Loaded> {
    const given = this.#read();
    const warnings = [...given.warnings];
    const log = { ...silent, warn: (_: object, message: string) => void warnings.push(message) };
    return {
      given,
      complete: { ...given, maps: await explicitMaps(given, log, this.#config.maps), warnings },
    };
  }

  /** The configuration with the addresses and the MTU that the device has now. */
  #effective(config: GatewayConfig): EffectiveConfig {
    this.#care.look(config.device);
    const { addresses: deviceAddresses, mtu: deviceMtu } = this.#care;
    return { ...config, deviceAddresses, deviceMtu, offloads: this.#device?.offloads ?? [] };
  }

  /** Has the workers know what the device has now. */
  async #followDevice(): Promise<void> {
    const next = await this.#translation?.prepare(this.#effective(this.#config));
    if (next !== undefined) await this.#translation?.commit(next);
  }

  /** After a time in which the kernel had the device down, or no IPv6 on it. */
  async #setUp(): Promise<void> {
    const settings = await inSlices(buildNetdevSettings(this.#config));
    await this.#netdev?.setUpAgain(settings, plainLog(this.#log));
    const { name } = this.#config.device;
    this.#log.info(
      { event: 'device-up', device: name },
      `${name} is usable again, with its addresses and routes`,
    );
  }

  /** In turn, for nobody who waits: what goes wrong is logged. */
  #inBackground(change: () => Promise<void>): void {
    this.#inTurn(change).catch((error: Error) => {
      if (this.#stopping === undefined)
        this.#log.error({ event: 'set-up-failed', err: error }, error.message);
    });
  }

  #useDns64(config: GatewayConfig, dns64: Dns64 | undefined): void {
    this.#parts.dns64 = dns64;
    const [failure] = dns64?.failures ?? [];
    if (config.dns64.required && failure !== undefined) throw failure.error;
    this.#noteDns64Failures();
  }

  #noteDns64Failures(): void {
    for (const { error } of this.#parts.dns64?.failures ?? []) {
      this.#log.error(
        { event: 'dns64-listen-failed', err: error },
        `${error.message} NAT64 runs on without it.`,
      );
    }
  }

  /**
   * Brings another configuration into force, all of it in one step. Resolves with what differs. Where it rejects, with every reason in
   * a line of its own, all goes on as it was.
   */
  reload(given: GatewayConfig): Promise<Changes> {
    return this.#inTurn(() =>
      this.#counted(async () => {
        const before = this.#config;
        const log = this.#log;
        const config = { ...given, maps: await explicitMaps(given, log, before.maps) };
        const changes = changesBetween(before, config);
        const refusal = refusalOf(changes, config.file);
        if (refusal !== '') throw new Error(refusal);
        for (const warning of config.warnings) log.warn({ event: 'config-warning' }, warning);
        await this.#bringIntoForce(config);
        this.#reloads.done++;
        log.info(
          { event: 'reloaded', file: config.file, changed: changes.applied },
          changes.applied.length === 0
            ? `${config.file} read again: nothing in it has changed`
            : `${config.file} read again; changed: ${changes.applied.join(', ')}`,
        );
        return changes;
      }),
    );
  }

  /** The same with the configuration as it is on disk now. Rejects with ConfigError where that is no good. */
  async reloadFile(): Promise<Changes> {
    return this.reload(await this.#counted(() => this.#read()));
  }

  async #bringIntoForce(after: GatewayConfig): Promise<void> {
    const [translation, device, netdev] = [this.#translation, this.#device, this.#netdev];
    if (translation === undefined || device === undefined || netdev === undefined) return;
    await new Reload(this.#parts, {
      translation,
      device,
      netdev,
      log: this.#log,
      effective: (config) => this.#effective(config),
      openControl: (config) => this.#openControl(config),
      startHttp: (config) => this.#startHttp(config),
      onSetUpFailed: (error) => this.#care.fail(error),
      giveWay: this.#giveWay,
    }).run(this.#config, after);
    this.#config = after;
    this.#advertisements.use(after);
    this.#noteDns64Failures();
  }

  /** Runs one change of what is in force after the other. */
  #inTurn<T>(change: () => Promise<T> | T): Promise<T> {
    const result = this.#reloading.then(() => {
      if (this.#stopping !== undefined) throw new Error('the gateway is stopping');
      return change();
    });
    this.#reloading = result.catch(() => {});
    return result;
  }

  /** The explicit maps in force: those of the configuration, then those of its map-file. */
  get maps(): readonly ExplicitMap[] {
    return this.#config.maps;
  }

  /** Leaves addresses and routes as they are at the end: who has no privileges any more cannot take them down. */
  keepSetUp(): void {
    this.#care.maySetUp = false;
  }

  /** The data-dir has another name from now on: the root has changed. */
  moveDataDir(folder: string): void {
    this.#locks = undefined;
    this.#translation?.moveDataDir(folder);
  }

  /** Writes dynamic.map now, where there is one. Rejects where it cannot. */
  async save(): Promise<void> {
    const translation = this.#translation;
    // The end writes it, and lets go of it: it may be another gateway's by then.
    if (translation === undefined || this.#stopping !== undefined) return;
    await translation.save();
    if (!translation.keepsMaps) return;
    const maps = translation.mapCount;
    this.#log.info({ event: 'dynamic-map-written', maps }, `dynamic.map written: ${maps} maps`);
  }

  /** Test hook: ends a worker in this way. */
  killWorker(worker: number, how: HowToDie): void {
    this.#translation?.killWorker(worker, how);
  }

  /** Takes everything down that was put up. Idempotent; never throws: what fails is logged. */
  stop(): Promise<void> {
    this.#stopping ??= this.#takeDown();
    return this.#stopping;
  }

  async #takeDown(): Promise<void> {
    await this.#reloading;
    for (const undo of this.#undo.reverse()) {
      try {
        await undo();
      } catch (error) {
        this.#log.error({ event: 'stop-failed', err: error }, `while stopping: ${String(error)}`);
      }
    }
    // Where a start has failed, why is said, and nothing has been stopped.
    if (this.#translation === undefined) return;
    this.#log.info({ event: 'stopped', counters: nonZero(this.#translation.counters) }, 'stopped');
  }
}

function nonZero(counters: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(counters).filter(([, value]) => value !== 0));
}

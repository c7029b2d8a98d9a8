/** The gateway's life: everything that is put up, in order, and taken down again in reverse. */
import { cpus } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { announce } from './announce.js';
import { type Changes, changesBetween, withoutFixed } from './changes.js';
import { Clock } from './clock.js';
import type { ExplicitMap, GatewayConfig, InterfaceAddress, LogConfig } from './config/types.js';
import { ControlSocket, checkGroup, SOCKET_NAME } from './control-socket/server.js';
import type { Dns64 } from './dns64/index.js';
import { explicitMaps } from './explicit-maps.js';
import { HttpService } from './http/service.js';
import { RememberingLog } from './inspect/events.js';
import type { Loaded, ReloadCounts, Subject } from './inspect/subject.js';
import { lockInstance } from './instance-lock.js';
import { interfaceAddresses } from './kernel-addresses.js';
import { type Log, plainLog, silent } from './log.js';
import { releaseMemoryRegularly } from './memory.js';
import { isSameNameServer, reloadNameServer, startNameServer } from './name-server.js';
import { configureNetdev, type Netdev, netdevSettings, recoverSysctls } from './netdev/index.js';
import { type OpenDevice, openDevice } from './queues.js';
import type { EffectiveConfig } from './settings.js';
import { Translation } from './translation.js';

export interface GatewayOptions {
  readonly log: Log;
  /** Seconds of the gateway's clock per real second; other than 1 only in tests. */
  readonly clockRate: number;
  /** Reads the configuration anew, for a reload that nobody has read it for. Throws ConfigError. */
  readonly load?: () => GatewayConfig;
}

/** How often the kernel is asked for the device's addresses, where somebody else sets them. */
const ADDRESSES_MS = 1000;

export class Gateway {
  readonly #log: RememberingLog;
  readonly #clock: Clock;
  /** What must be taken down, in the order it was put up. */
  readonly #undo: (() => Promise<void> | void)[] = [];
  /** What is in force, with the maps of the map-file. */
  #config: GatewayConfig;
  #translation: Translation | undefined;
  #netdev: Netdev | undefined;
  #dns64: Dns64 | undefined;
  #deviceAddresses: readonly InterfaceAddress[] = [];
  /** What is in force as it was shown last: the same object for as long as it is the same. */
  #shown: { readonly of: GatewayConfig; readonly config: EffectiveConfig } | undefined;
  #isSetUpKept = false;
  #stopping: Promise<void> | undefined;
  #device: OpenDevice | undefined;
  #control: ControlSocket | undefined;
  #http: HttpService | undefined;
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
    const config = this.#config;
    const log = this.#log;
    for (const warning of config.warnings) log.warn({ event: 'config-warning' }, warning);
    const lock = await lockInstance(config.device.name);
    this.#undo.push(() => lock.release());
    // Before anything that the gateway of another device with the same run-dir would notice.
    this.#undo.push(() => this.#control?.close());
    await this.#openControl(config);
    await recoverSysctls(config.runDir, plainLog(log));

    this.#config = { ...config, maps: explicitMaps(config, log) };
    const device = openDevice(
      {
        name: config.device.name,
        count: config.workers || cpus().length,
        offload: config.device.offload,
        pref64: config.pref64,
      },
      log,
    );
    this.#undo.push(() => device.close());
    this.#device = device;
    this.#netdev = await configureNetdev(netdevSettings(this.#config), plainLog(log));
    this.#undo.push(() => (this.#isSetUpKept ? undefined : this.#netdev?.restore()));
    const translation = await Translation.start(this.#effective(this.#config), {
      device,
      clock: this.#clock,
      log,
      onDeviceLost: (message) => this.#onLost(message),
    });
    this.#translation = translation;
    this.#undo.push(() => translation.stop());
    this.#followAddresses();
    this.#undo.push(releaseMemoryRegularly());
    this.#undo.push(() => this.#dns64?.close());
    this.#useDns64(config, await startNameServer(config, log, this.#giveWay));
    this.#undo.push(() => this.#http?.close());
    await this.#startHttp(config);
    announce(this.#effective(config), device, this.#netdev.summary, this.#dns64, log);
  }

  async #openControl(config: GatewayConfig): Promise<void> {
    this.#control = undefined;
    if (!config.controlSocket) return;
    const path = join(config.runDir, SOCKET_NAME);
    this.#control = await ControlSocket.open({
      path,
      group: config.controlGroup,
      subject: () => this.subject,
    });
  }

  async #startHttp(config: GatewayConfig): Promise<void> {
    this.#http = undefined;
    if (config.http.listen.length === 0) return;
    this.#http = await HttpService.start({ ...config.http, subject: () => this.subject, log: this.#log });
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
      dataplane: translation,
      dns64: this.#dns64,
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
    if (shown?.of === this.#config && shown.config.deviceAddresses === this.#deviceAddresses)
      return shown.config;
    const config = { ...this.#config, deviceAddresses: this.#deviceAddresses, offloads };
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
        throw new Error(`${config.file}: control-group: '${controlGroup}': ${(error as Error).message}`);
      }
    }
    return config;
  }

  /** Counts a reload that comes to nothing because this fails. */
  #counted<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      this.#reloads.failed++;
      throw error;
    }
  }

  #loadComplete(): Loaded {
    const given = this.#read();
    const warnings = [...given.warnings];
    const log = { ...silent, warn: (_: object, message: string) => void warnings.push(message) };
    return { given, complete: { ...given, maps: explicitMaps(given, log), warnings } };
  }

  /** The configuration with the addresses that the device has now. */
  #effective(config: GatewayConfig): EffectiveConfig {
    const { name, addresses, configure } = config.device;
    this.#deviceAddresses = configure ? addresses : interfaceAddresses(name);
    return { ...config, deviceAddresses: this.#deviceAddresses, offloads: this.#device?.offloads ?? [] };
  }

  /** Where somebody else gives the device its addresses, they may come and go at any time. */
  #followAddresses(): void {
    const timer = setInterval(() => {
      const { configure, name } = this.#config.device;
      if (configure || isDeepStrictEqual(interfaceAddresses(name), this.#deviceAddresses)) return;
      this.#log.info({ event: 'addresses-changed' }, `the addresses of ${name} have changed`);
      void this.#inTurn(() => this.#translation?.reload(this.#effective(this.#config)));
    }, ADDRESSES_MS);
    this.#undo.push(() => clearInterval(timer));
  }

  #useDns64(config: GatewayConfig, dns64: Dns64 | undefined): void {
    this.#dns64 = dns64;
    for (const { error } of dns64?.failures ?? []) {
      if (config.dns64.required) throw error;
      this.#log.error(
        { event: 'dns64-listen-failed', err: error },
        `${error.message} NAT64 runs on without it.`,
      );
    }
  }

  /**
   * Brings another configuration into force, but for what needs a restart. Resolves with what differs. Where it rejects,
   * the workers go on as they were.
   */
  reload(given: GatewayConfig): Promise<Changes> {
    return this.#inTurn(async () => {
      const before = this.#config;
      const config = this.#counted(() => ({ ...given, maps: explicitMaps(given, this.#log) }));
      const changes = changesBetween(before, config);
      for (const warning of config.warnings) this.#log.warn({ event: 'config-warning' }, warning);
      for (const { key, reason } of changes.fixed) {
        this.#log.warn(
          { event: 'needs-restart', key },
          `${config.file}: ${key} cannot change while the gateway runs (${reason}): restart to apply it`,
        );
      }
      const after = withoutFixed(before, config);
      try {
        await this.#reloadParts(before, after);
      } catch (error) {
        this.#reloads.failed++;
        throw error;
      }
      this.#reloads.done++;
      this.#log.info(
        { event: 'reloaded', file: config.file, changed: changes.applied },
        changes.applied.length === 0
          ? `${config.file} read again: nothing in it has changed`
          : `${config.file} read again; changed: ${changes.applied.join(', ')}`,
      );
      return changes;
    });
  }

  /** The same with the configuration as it is on disk now. Rejects with ConfigError where that is no good. */
  async reloadFile(): Promise<Changes> {
    return this.reload(this.#counted(() => this.#read()));
  }

  async #reloadParts(before: GatewayConfig, after: GatewayConfig): Promise<void> {
    const log = this.#log;
    // The kernel learns new addresses and routes before workers serve them, and forgets old ones after.
    const netdev = this.#netdev;
    const isSame = isDeepStrictEqual(netdevSettings(before), netdevSettings(after));
    if (!isSame) await netdev?.extend(netdevSettings(after), plainLog(log));
    await this.#translation?.reload(this.#effective(after));
    this.#config = after;
    if (!isDeepStrictEqual(before.pref64, after.pref64)) this.#device?.steer(after.pref64);
    if (!isSame) await netdev?.reduce(netdevSettings(after), plainLog(log));
    log.level = after.log.level;
    if (!isSameNameServer(before, after) || this.#dns64?.isAdjusted === true) {
      this.#useDns64(after, await reloadNameServer(this.#dns64, before, after, log, this.#giveWay));
    }
    await this.#reloadOutlets(before, after);
  }

  /** What others look in by. The gateway serves on where one of them cannot be had. */
  async #reloadOutlets(before: GatewayConfig, after: GatewayConfig): Promise<void> {
    if (before.controlSocket !== after.controlSocket || before.controlGroup !== after.controlGroup) {
      try {
        if (after.controlGroup !== null && this.#control !== undefined && after.controlSocket) {
          this.#control.setGroup(after.controlGroup);
        } else {
          // Who has asked for this reload gets its reply.
          this.#control?.retire();
          await this.#openControl(after);
        }
      } catch (error) {
        this.#log.error({ event: 'control-socket-failed', err: error }, String(error));
      }
    }
    if (!isDeepStrictEqual(before.http, after.http)) {
      await this.#http?.close();
      await this.#startHttp(after);
    }
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
    this.#isSetUpKept = true;
  }

  /** The data-dir has another name from now on: the root has changed. */
  moveDataDir(folder: string): void {
    this.#translation?.moveDataDir(folder);
  }

  /** Writes dynamic.map now. Rejects where it cannot. */
  async save(): Promise<void> {
    await this.#translation?.save();
    const maps = this.#translation?.mapCount;
    this.#log.info({ event: 'dynamic-map-written', maps }, `dynamic.map written: ${maps} maps`);
  }

  /** Test hook: ends a worker in this way. */
  killWorker(worker: number, how: 'throw' | 'exit'): void {
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
    const counters = this.#translation && nonZero(this.#translation.counters);
    this.#log.info({ event: 'stopped', counters }, 'stopped');
  }
}

function nonZero(counters: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(counters).filter(([, value]) => value !== 0));
}

/** The gateway's life: everything that is put up, in order, and taken down again in reverse. */

import { randomFillSync } from 'node:crypto';
import { cpus, networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { createCounters, readCounters } from '../shm/counters.js';
import { createHostTable } from '../shm/host-table.js';
import { createPrefixTable } from '../shm/prefix-table.js';
import { CLOCK, createSharedState } from '../shm/shared-state.js';
import type { TranslatorSettings } from '../shm/worker-task.js';
import {
  type Address6,
  formatAddress6,
  formatPrefix4,
  formatPrefix6,
  mask4,
  maskAddress6,
  type Prefix4,
  type Prefix6,
  parseAddress4,
  parseAddress6,
} from '../wire/address.js';
import { embedAddress } from '../wire/rfc6052.js';
import { TABULATION_WORDS } from '../wire/tabulation.js';
import { Assigner } from './assigner.js';
import { Clock } from './clock.js';
import type { GatewayConfig } from './config/types.js';
import { type Dns64, startDns64 } from './dns64/index.js';
import { lockInstance } from './instance-lock.js';
import { type Log, plainLog } from './log.js';
import { MapPublisher } from './map-publisher.js';
import { configureNetdev, type Netdev, netdevSettings, recoverSysctls } from './netdev/index.js';
import { readDynamicMap, writeDynamicMap } from './pool/dynamic-map-file.js';
import { DynamicPool } from './pool/dynamic-pool.js';
import { type OpenDevice, openDevice } from './queues.js';
import { Workers } from './workers.js';

export interface GatewayOptions {
  readonly log: Log;
  /** Seconds of the gateway's clock per real second; other than 1 only in tests. */
  readonly clockRate: number;
}

/** How often the clock is looked at; a sweep follows where the second has changed. */
const TICK_MS = 200;
/** Maps looked at in one go, so that DNS is served in between. */
const SWEEP_SLICE = 10_000;
const DORMANT_SEC = 14 * 86400;

export class Gateway {
  readonly #config: GatewayConfig;
  readonly #log: Log;
  readonly #clock: Clock;
  /** What must be taken down, in the order it was put up. */
  readonly #undo: (() => Promise<void> | void)[] = [];
  #workers: Workers | undefined;
  #counters: SharedArrayBuffer | undefined;
  #stopping: Promise<void> | undefined;
  #onLost: (message: string) => void = () => {};
  /** Resolves with a message when the gateway cannot go on (its device is gone). */
  readonly lost = new Promise<string>((resolve) => {
    this.#onLost = resolve;
  });

  private constructor(config: GatewayConfig, options: GatewayOptions) {
    this.#config = config;
    this.#log = options.log;
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
    const lock = await lockInstance(config.device.name);
    this.#undo.push(() => lock.release());
    await recoverSysctls(config.runDir, plainLog(log));

    const device = openDevice(
      { name: config.device.name, count: config.workers || cpus().length, offload: config.device.offload },
      log,
    );
    this.#undo.push(() => device.close());
    const netdev = await this.#configureDevice();
    await this.#startTranslation(device);
    const dns64 = await this.#startDns64();
    this.#announce(device, netdev, dns64);
  }

  async #configureDevice(): Promise<Netdev | undefined> {
    if (!this.#config.device.configure) return undefined;
    const netdev = await configureNetdev(netdevSettings(this.#config), plainLog(this.#log));
    this.#undo.push(() => netdev.restore());
    return netdev;
  }

  async #startTranslation(device: OpenDevice): Promise<void> {
    const config = this.#config;
    const workerCount = device.fds.length;
    const state = createSharedState(workerCount);
    state[CLOCK] = this.#clock.nowSec();
    const counters = createCounters(workerCount);
    this.#counters = counters;
    const poolSize = config.pool4 === null ? 0 : 2 ** (32 - config.pool4.length);
    const random = randomFillSync(new Int32Array(TABULATION_WORDS));
    const hosts = createHostTable(config.pool4?.address ?? 0, poolSize, config.mapLifetimeSec, random);
    const publisher = new MapPublisher(hosts, state, workerCount);
    this.#undo.push(() => publisher.close());

    const assigner =
      config.pool4 === null ? undefined : this.#openPool(config.pool4, publisher, hosts.lastSeen, state);
    const workers = new Workers({
      fds: device.fds,
      shared: {
        workerCount,
        settings: translatorSettings(config),
        state: state.buffer as SharedArrayBuffer,
        counters,
        hosts,
        maps4: createPrefixTable(config.maps, 4),
        maps6: createPrefixTable(config.maps, 6),
      },
      log: this.#log,
      onQuestions: (worker) => assigner?.answer(workers, worker),
      onDeviceLost: (message) => this.#onLost(`the device ${device.name} is gone: ${message}`),
    });
    this.#workers = workers;
    this.#undo.push(() => workers.stop());
    await workers.start();
  }

  /** The dynamic pool with what dynamic.map remembers, and the timer that keeps its clock. */
  #openPool(
    pool4: Prefix4,
    publisher: MapPublisher,
    lastSeen: SharedArrayBuffer,
    state: Int32Array,
  ): Assigner {
    const config = this.#config;
    const log = this.#log;
    const pool = new DynamicPool({
      pool4,
      reserved: reservedAddresses(config),
      lastSeen: new Int32Array(lastSeen),
      lifetimeSec: config.mapLifetimeSec,
      dormantSec: DORMANT_SEC,
      maxMapsPer64: config.maxMapsPer64,
      publisher,
    });
    const file = join(config.dataDir, 'dynamic.map');
    const unixNow = () => Math.floor(Date.now() / 1000);
    const { entries, problems } = readDynamicMap(file);
    for (const { line, message } of problems) {
      log.warn({ event: 'dynamic-map-line', file, line }, `${file}:${line}: ${message}; the line is ignored`);
    }
    for (const { line, message } of pool.restore(entries, this.#clock.nowSec(), unixNow())) {
      log.warn(
        { event: 'dynamic-map-entry', file, line },
        `${file}:${line}: ${message}; the entry is ignored`,
      );
    }
    this.#undo.push(() => {
      writeDynamicMap(file, pool.entries(), this.#clock.nowSec(), unixNow());
      log.info(
        { event: 'dynamic-map-written', file },
        `${pool.liveCount + pool.dormantCount} maps written to ${file}`,
      );
    });

    const assigner = new Assigner(pool, publisher, state, this.#clock, log);
    const timer = setInterval(() => {
      const nowSec = this.#clock.nowSec();
      if (nowSec === state[CLOCK]) return;
      Atomics.store(state, CLOCK, nowSec);
      pool.sweep(nowSec, SWEEP_SLICE);
      assigner.noteFullness();
    }, TICK_MS);
    this.#undo.push(() => clearInterval(timer));
    return assigner;
  }

  async #startDns64(): Promise<Dns64 | undefined> {
    const { dns64, pref64, wkpfStrict, pool4 } = this.#config;
    if (!dns64.enabled || pref64 === null) return undefined;
    const server = await startDns64({
      listen: dns64.listen,
      forwarders: dns64.forwarders,
      pref64,
      wkpfStrict,
      allowFrom: dns64.allowFrom,
      ownNetworks: () => [pref64, ...(pool4 === null ? [] : [pool4]), ...connectedNetworks()],
      log: this.#log,
    });
    this.#undo.push(() => server.close());
    for (const { error } of server.failures) {
      if (dns64.required) throw error;
      this.#log.error(
        { event: 'dns64-listen-failed', err: error },
        `${error.message} NAT64 runs on without it.`,
      );
    }
    return server;
  }

  #announce(device: OpenDevice, netdev: Netdev | undefined, dns64: Dns64 | undefined): void {
    const config = this.#config;
    const log = this.#log;
    for (const line of netdev?.summary ?? []) log.info({ event: 'set-up' }, line);
    const offloads = device.offloads.length === 0 ? 'none' : device.offloads.join(' ');
    const pref64 = config.pref64 === null ? null : formatPrefix6(config.pref64);
    log.info(
      {
        event: 'ready',
        device: device.name,
        workers: device.fds.length,
        offloads: device.offloads,
        pref64,
        pool4: config.pool4 === null ? null : formatPrefix4(config.pool4),
        dns64: dns64?.listening ?? [],
      },
      `serving ${pref64 ?? 'explicit maps'} on ${device.name}: ${device.fds.length} workers, offloads ${offloads}`,
    );
    if (config.pref64 !== null) {
      const ping = exampleAddress(config.pref64);
      log.info({ event: 'try' }, `try, from an IPv6 host that routes here:  ping ${ping}`);
    }
    const listening = dns64?.listening.find(({ address }) => address.includes(':')) ?? dns64?.listening[0];
    if (listening !== undefined) {
      const port = listening.port === 53 ? '' : ` -p ${listening.port}`;
      log.info(
        { event: 'try' },
        `try, the name server to give to hosts:    dig @${listening.address}${port} AAAA example.com`,
      );
    }
  }

  /** Test hook: ends a worker in this way. */
  killWorker(worker: number, how: 'throw' | 'exit'): void {
    this.#workers?.send(worker, { type: 'die', how });
  }

  /** Takes everything down that was put up. Idempotent; never throws: what fails is logged. */
  stop(): Promise<void> {
    this.#stopping ??= this.#takeDown();
    return this.#stopping;
  }

  async #takeDown(): Promise<void> {
    for (const undo of this.#undo.reverse()) {
      try {
        await undo();
      } catch (error) {
        this.#log.error({ event: 'stop-failed', err: error }, `while stopping: ${String(error)}`);
      }
    }
    this.#log.info(
      { event: 'stopped', counters: this.#counters && nonZero(readCounters(this.#counters)) },
      'stopped',
    );
  }
}

/** 8.8.8.8 under the prefix, as a person would write it. */
function exampleAddress(pref64: Prefix6): string {
  const prefix = formatAddress6(pref64.address);
  return pref64.length === 96 && prefix.endsWith('::')
    ? `${prefix}8.8.8.8`
    : formatAddress6(embedAddress(pref64, 0x08080808));
}

/** The networks that this machine's interfaces are on. */
function connectedNetworks(): (Prefix4 | Prefix6)[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .flatMap(({ cidr }): (Prefix4 | Prefix6)[] => {
      const [address = '', length = ''] = (cidr ?? '').split('/');
      const ipv4 = parseAddress4(address);
      if (ipv4 !== null) return [{ address: (ipv4 & mask4(Number(length))) >>> 0, length: Number(length) }];
      const ipv6 = parseAddress6(address);
      return ipv6 === null ? [] : [{ address: maskAddress6(ipv6, Number(length)), length: Number(length) }];
    });
}

function nonZero(counters: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(counters).filter(([, value]) => value !== 0));
}

/** What the pool never hands out: the translator's own address, the kernel's, and what explicit maps name. */
function reservedAddresses(config: GatewayConfig): Prefix4[] {
  const own = { address: config.ipv4Address, length: 32 };
  const kernel = config.device.addresses.flatMap((a) =>
    a.family === 4 ? [{ address: a.address, length: 32 }] : [],
  );
  return [own, ...kernel, ...config.maps.map((map) => map.ipv4)];
}

/** The part of the configuration that the translators need. */
export function translatorSettings(config: GatewayConfig): TranslatorSettings {
  const { translation, device } = config;
  return {
    pref64: config.pref64,
    wkpfStrict: config.wkpfStrict,
    ipv4Address: config.ipv4Address,
    ipv6Address: config.ipv6Address,
    pool4: config.pool4,
    deviceAddresses4: device.addresses.flatMap((a) => (a.family === 4 ? [a.address] : [])),
    deviceAddresses6: device.addresses.flatMap((a) => (a.family === 6 ? [a.address] : ([] as Address6[]))),
    ipv6Mtu: translation.ipv6Mtu ?? device.mtu,
    ipv4Mtu: translation.ipv4Mtu ?? device.mtu,
    lowestIpv6Mtu: translation.lowestIpv6Mtu,
    udpZeroChecksum: translation.udpZeroChecksum,
    copyTrafficClass: translation.copyTrafficClass,
    mssClamp: translation.mssClamp,
    icmpFragments: translation.icmpFragments,
    icmpSourcePool4: translation.icmpSourcePool4,
    forwardClassE: translation.forwardClassE,
    icmpErrorsPerSec: translation.icmpErrorsPerSec,
    icmpErrorBurst: translation.icmpErrorBurst,
  };
}

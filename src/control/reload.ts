/**
 * From one configuration to another while the gateway runs: all of it, or nothing.
 *
 *   what can fail, each with its way back:  kernel's side │ listeners of DNS64, control socket, HTTP │ offloads │ tables │ queues, workers
 *   then, for certain:                      tables to all workers │ steering │ log │ what the new configuration has no more, in reverse
 */
import { isDeepStrictEqual } from 'node:util';
import type { GatewayConfig } from './config/types.js';
import type { ControlSocket } from './control-socket/server.js';
import type { Dns64 } from './dns64/index.js';
import type { HttpService } from './http/service.js';
import type { RememberingLog } from './inspect/events.js';
import { plainLog } from './log.js';
import { isSameNameServer, prepareNameServer } from './name-server.js';
import { areSameSettings, buildNetdevSettings, type Netdev, type NetdevSettings } from './netdev/index.js';
import type { OpenDevice } from './queues.js';
import { type EffectiveConfig, workerCountOf } from './settings.js';
import { inSlices } from './slices.js';
import { Steps } from './steps.js';
import type { Translation } from './translation.js';

/** What a reload may put another in the place of. */
export interface Parts {
  /** What is set up of the device. */
  kernelSide: NetdevSettings | undefined;
  dns64: Dns64 | undefined;
  control: ControlSocket | undefined;
  http: HttpService | undefined;
}

export interface ReloadSurroundings {
  readonly translation: Translation;
  readonly device: OpenDevice;
  readonly netdev: Netdev;
  readonly log: RememberingLog;
  /** With the addresses that the device has now. */
  readonly effective: (config: GatewayConfig) => EffectiveConfig;
  readonly openControl: (config: GatewayConfig) => Promise<ControlSocket>;
  readonly startHttp: (config: GatewayConfig) => Promise<HttpService>;
  /** Something of the device's set-up in force is missing. */
  readonly onSetUpFailed: (error: unknown) => void;
  /** See Dns64Options. */
  readonly giveWay: () => void;
}

export class Reload {
  readonly #parts: Parts;
  readonly #around: ReloadSurroundings;
  readonly #steps = new Steps();

  constructor(parts: Parts, around: ReloadSurroundings) {
    this.#parts = parts;
    this.#around = around;
  }

  /** Where it rejects, with a line for each reason, all goes on as it was. */
  async run(before: GatewayConfig, after: GatewayConfig): Promise<void> {
    const { translation, device, log, effective } = this.#around;
    const steps = this.#steps;
    try {
      await this.#prepareKernelSide(after);
      await steps.attempt(() => this.#prepareDns64(before, after));
      await steps.attempt(() => this.#prepareControl(before, after));
      await steps.attempt(() => this.#prepareHttp(before, after));
      steps.check();
      if (before.device.offload !== after.device.offload) {
        await steps.do({
          apply: () => device.setOffload(after.device.offload),
          undo: () => device.setOffload(before.device.offload),
        });
      }
      const next = await translation.prepare(effective(after));
      if (workerCountOf(before) !== workerCountOf(after)) await this.#resize(workerCountOf(after));
      await translation.commit(next);
    } catch (error) {
      await steps.undo(log);
      effective(before);
      throw error;
    }
    if (!isDeepStrictEqual(before.pref64, after.pref64)) device.steer(after.pref64);
    log.level = after.log.level;
    if (before.log.format !== after.log.format) log.format = after.log.format;
    await steps.commit(log);
  }

  /** The kernel learns new addresses and routes before anybody serves them, and forgets old ones after. */
  async #prepareKernelSide(after: GatewayConfig): Promise<void> {
    const { netdev } = this.#around;
    const log = plainLog(this.#around.log);
    const old = this.#parts.kernelSide;
    const next = await inSlices(buildNetdevSettings(after));
    if (old === undefined || areSameSettings(old, next)) return;
    await this.#steps.do({
      apply: () => netdev.extend(next, log),
      undo: async () => {
        try {
          await netdev.extend(old, log);
        } catch (error) {
          this.#around.onSetUpFailed(error);
          throw error;
        } finally {
          await netdev.reduce(old, log);
        }
      },
      commit: () => {
        this.#parts.kernelSide = next;
        return netdev.reduce(next, log);
      },
    });
  }

  async #prepareDns64(before: GatewayConfig, after: GatewayConfig): Promise<void> {
    const { dns64 } = this.#parts;
    if (isSameNameServer(before, after) && dns64?.isAdjusted !== true) {
      // Somebody may have freed the port that it found taken.
      this.#steps.atCommit(() => dns64?.listenAgain());
      return;
    }
    const { log, giveWay } = this.#around;
    const ready = await this.#steps.prepare(() => prepareNameServer(dns64, after, log, giveWay));
    this.#steps.atCommit(async () => {
      this.#parts.dns64 = await ready.commit();
    });
  }

  async #prepareControl(before: GatewayConfig, after: GatewayConfig): Promise<void> {
    const { control } = this.#parts;
    const { controlGroup: group, controlSocket: isWanted } = after;
    if (control !== undefined && isWanted) {
      // One that somebody has removed is made anew with the group of its time; what has its name by now is not ours to give away.
      if (before.controlGroup === group || !control.isThere) return;
      await this.#steps.do({
        apply: () => control.setGroup(group),
        undo: () => control.setGroup(before.controlGroup),
      });
    } else if (control === undefined && isWanted) {
      const opened = await this.#around.openControl(after);
      this.#steps.atUndo(() => opened.close());
      this.#steps.atCommit(() => {
        this.#parts.control = opened;
      });
    } else {
      this.#steps.atCommit(() => {
        this.#parts.control = undefined;
        // Who has asked for this reload gets its reply.
        control?.retire();
      });
    }
  }

  async #prepareHttp(before: GatewayConfig, after: GatewayConfig): Promise<void> {
    const { http } = this.#parts;
    if (isDeepStrictEqual(before.http, after.http)) {
      this.#steps.atCommit(() => http?.listenAgain());
      return;
    }
    if (after.http.listen.length === 0) {
      this.#steps.atCommit(async () => {
        this.#parts.http = undefined;
        await http?.close();
      });
    } else if (http === undefined) {
      const started = await this.#around.startHttp(after);
      this.#steps.atUndo(() => started.close());
      if (started.failures.length > 0)
        throw new Error(started.failures.map(({ error }) => error.message).join('\n'));
      this.#steps.atCommit(() => {
        this.#parts.http = started;
      });
    } else {
      const ready = await this.#steps.prepare(() => http.prepare(after.http));
      this.#steps.atCommit(() => ready.commit());
    }
  }

  async #resize(count: number): Promise<void> {
    const change = this.#around.device.prepareQueues(count);
    try {
      await this.#around.translation.resize(change);
    } catch (error) {
      change.undo();
      throw error;
    }
  }
}

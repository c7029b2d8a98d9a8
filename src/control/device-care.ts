/** What others do to the device while the gateway runs, and what is done about it: they change its addresses or MTU, take it down, or away. */
import { isDeepStrictEqual } from 'node:util';
import type { Clock } from './clock.js';
import type { DeviceConfig, InterfaceAddress } from './config/types.js';
import { DeviceWatch, deviceMtu } from './device-watch.js';
import { interfaceAddresses } from './kernel-addresses.js';
import type { Log } from './log.js';
import { formatInterfaceAddress, type NetdevSettings } from './netdev/index.js';
import { SetUpAgain } from './set-up-again.js';

export interface DeviceCareOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly log: Log;
  /** What the device is set up by now. */
  readonly kernelSide: () => NetdevSettings | undefined;
  /** Sets up what the kernel has forgotten. Rejects where the kernel does not take it. */
  readonly setUp: () => Promise<void>;
  /** Has the workers know the addresses and the MTU that the device has now. */
  readonly follow: () => Promise<void>;
  /** Runs a change after those under way, for nobody who waits. */
  readonly inBackground: (change: () => Promise<void>) => void;
  /** The device is gone. Called once. */
  readonly onLost: (message: string) => void;
}

export class DeviceCare {
  readonly #options: DeviceCareOptions;
  readonly #setUpAgain: SetUpAgain;
  #watch: DeviceWatch | undefined;
  /** As they were at the last `look`. */
  addresses: readonly InterfaceAddress[] = [];
  mtu = 0;
  /** False once this process has given up what it takes to set up anything. */
  maySetUp = true;

  constructor(options: DeviceCareOptions) {
    this.#options = options;
    this.#setUpAgain = new SetUpAgain(options.name, options.clock, () => options.setUp());
  }

  /** Finds the addresses of the device, whoever has set them, and its MTU. Throws where the kernel cannot be asked. */
  look({ name, mtu, addresses, configure }: DeviceConfig): void {
    this.addresses = configure ? addresses : interfaceAddresses(name, this.addresses);
    this.mtu = deviceMtu(name, mtu);
  }

  /** Why nothing can pass, or not all; null where it can. */
  get problem(): string | null {
    return this.#watch?.problem ?? this.#setUpAgain.problem;
  }

  /** From now on, until `close`. */
  watch(): void {
    const { name, log, onLost } = this.#options;
    this.#watch = new DeviceWatch({
      name,
      log,
      onLost,
      onMtu: () => this.#follow(),
      onUsable: () => this.#setUp(),
      onLook: (isAsBefore) => this.#compare(isAsBefore),
    });
  }

  close(): void {
    this.#watch?.close();
  }

  /** Somebody else has found that the kernel refuses a part of the set-up. */
  fail(error: unknown): void {
    this.#setUpAgain.fail(error);
  }

  #follow(): void {
    this.#options.inBackground(() => this.#options.follow());
  }

  #setUp(): void {
    const { name, log, inBackground } = this.#options;
    if (this.maySetUp) inBackground(() => this.#setUpAgain.run());
    else
      log.error(
        { event: 'device-not-set-up', device: name },
        `${name} may lack addresses and routes, and this process may not set them any more: restart it, or set them yourself`,
      );
  }

  #compare(isAsBefore: boolean): void {
    const { name, log, kernelSide, inBackground } = this.#options;
    if (this.maySetUp && this.#watch?.problem === null) {
      if (this.#setUpAgain.takeTurn()) this.#setUp();
      else if (isAsBefore && this.#isLost()) inBackground(() => this.#setUpLost());
    }
    // Where somebody else gives the device its addresses, they may come and go at any time.
    if (kernelSide()?.configure !== false) return;
    if (isDeepStrictEqual(interfaceAddresses(name, this.addresses), this.addresses)) return;
    log.info({ event: 'addresses-changed' }, `the addresses of ${name} have changed`);
    this.#follow();
  }

  /** Whether the device lacks one of the addresses that were set, and nobody has been told. */
  #isLost(): boolean {
    const set = this.#options.kernelSide()?.addresses ?? [];
    if (set.length === 0 || !this.#setUpAgain.isDue) return false;
    const found = new Set(interfaceAddresses(this.#options.name, set).map(formatInterfaceAddress));
    return set.some((address) => !found.has(formatInterfaceAddress(address)));
  }

  /** Somebody had the device down, or too small for IPv6, for less time than lies between two looks; or has taken its addresses. */
  async #setUpLost(): Promise<void> {
    // A reload that was under way may have set them.
    if (!this.#isLost()) return;
    const { name, log } = this.#options;
    log.warn(
      { event: 'device-reset', device: name },
      `${name} has lost addresses that were set: it was down for a moment, or somebody has removed them`,
    );
    await this.#setUpAgain.run();
  }
}

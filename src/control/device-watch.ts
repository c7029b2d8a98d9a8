/** Notices what others do to the device while the gateway runs: they take it down, change its MTU, or take it away. */
import { isDeepStrictEqual } from 'node:util';
import native, { type LinkState } from '#native';
import type { Log } from './log.js';

/** How often the kernel is asked. */
const LOOK_MS = 1000;
/** Below it the kernel has no IPv6 on an interface (RFC 8200 section 5). */
const LEAST_MTU = 1280;

export interface DeviceWatchOptions {
  readonly name: string;
  readonly log: Log;
  /** The name leads to no device any more. Called once. */
  readonly onLost: (message: string) => void;
  /** Packets can pass again: it is up, and large enough for IPv6. The kernel has forgotten routes and IPv6 addresses meanwhile. */
  readonly onUsable: () => void;
  /** The MTU is another one. */
  readonly onMtu: () => void;
  /** Called at each look. @param isAsBefore whether it finds what the one before has found */
  readonly onLook: (isAsBefore: boolean) => void;
}

/** The MTU that the device has now; `configured` where it has none. */
export function deviceMtu(name: string, configured: number): number {
  return native.linkState(name)?.mtu ?? configured;
}

export class DeviceWatch {
  readonly #options: DeviceWatchOptions;
  readonly #timer: NodeJS.Timeout;
  #state: LinkState;

  /** The device's state is taken as it is: who sets it up himself may do so after the start. */
  constructor(options: DeviceWatchOptions) {
    this.#options = options;
    this.#state = native.linkState(options.name) ?? { up: false, mtu: 0 };
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  /** Why nothing can pass; null where it can. */
  get problem(): string | null {
    return problemOf(this.#options.name, this.#state);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const { name, log, onLost, onUsable, onMtu, onLook } = this.#options;
    const before = this.#state;
    let state: LinkState | null;
    try {
      state = native.linkState(name);
    } catch {
      // Out of descriptors, for one: the next look may tell.
      return;
    }
    if (state === null) {
      this.close();
      onLost(`the device ${name} is gone: somebody has deleted, renamed or moved it`);
      return;
    }
    this.#state = state;
    const isAsBefore = isDeepStrictEqual(state, before);
    onLook(isAsBefore);
    if (isAsBefore) return;
    const problem = this.problem;
    if (state.mtu !== before.mtu) {
      const message = `the MTU of ${name} is ${state.mtu} now, no longer ${before.mtu}`;
      const fields = { event: 'device-mtu', device: name, mtu: state.mtu };
      if (state.mtu < LEAST_MTU) log.error(fields, `${message}: ${problem}`);
      else log.warn(fields, `${message}: packets are translated for it`);
      onMtu();
    }
    if (state.up !== before.up && !state.up)
      log.error({ event: 'device-down', device: name }, String(problem));
    if (problem === null && problemOf(name, before) !== null) onUsable();
  }
}

function problemOf(name: string, { up, mtu }: LinkState): string | null {
  if (!up) return `${name} is down: nothing is translated until 'ip link set ${name} up'`;
  if (mtu >= LEAST_MTU) return null;
  return `below ${LEAST_MTU} the kernel has no IPv6 on it, and nothing is translated until it is larger`;
}

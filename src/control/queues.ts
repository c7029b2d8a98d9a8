/** The TUN device: its queues, opened by the main thread so that they outlive any worker, its offloads and its steering. */
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import native from '#native';
import { BURST_BYTES, BURST_FRAMES, HEADROOM } from '../shm/frame-ring.js';
import type { Prefix6 } from '../wire/address.js';
import type { Log } from './log.js';
import { Steering } from './steering.js';

export interface QueuesOptions {
  readonly name: string;
  readonly count: number;
  readonly offload: boolean;
  readonly pref64: Prefix6 | null;
}

export interface OpenDevice {
  /** The name the kernel gave. */
  readonly name: string;
  /** One descriptor per worker. Others may be open: see `QueueChange`. */
  readonly fds: readonly number[];
  /** Names of the offloads in force. */
  readonly offloads: readonly string[];
  /** Who chooses the queue of a frame: a program of ours, by flow, or the kernel. */
  readonly steering: 'program' | 'kernel';
  /** Adapts the program to another prefix. */
  steer(pref64: Prefix6 | null): void;
  /** Turns the offloads on, as many as there are, or off. Throws the addon's error. */
  setOffload(isWanted: boolean): void;
  /** Opens what another number of workers needs; no frame goes there yet where a program chooses. Throws the addon's error. */
  prepareQueues(count: number): QueueChange;
  close(): void;
}

/**
 * From the queues in use to others. Where a program chooses, the two have none in common: all that waits in the old ones is older than
 * what comes to the new ones, so a flow keeps its order if those are served to their end first. The old ones stay open, empty, for the
 * next change: closing a queue renumbers the others.
 */
export interface QueueChange {
  /** One descriptor per worker. */
  readonly fds: readonly number[];
  /** Whether all of them are others than those in use. */
  readonly isDisjoint: boolean;
  /** From now on frames go to them. Throws where they do not; then nothing has changed. */
  take(): void;
  /** Closes what is open for nobody. */
  finish(): void;
  /** In the place of `take`: closes what was opened. */
  undo(): void;
}

const { offload } = native;
const QUEUE = { vnetHdr: true, exclusive: false };
const BUSY_WAIT_MS = 10_000;
const BUSY_RETRY_MS = 50;
/** From the most to the least: a kernel refuses a set that holds a bit it does not know. */
const OFFLOAD_SETS: readonly { bits: number; names: readonly string[] }[] = [
  {
    bits: offload.CSUM | offload.TSO4 | offload.TSO6 | offload.TSO_ECN | offload.USO4 | offload.USO6,
    names: ['CSUM', 'TSO4', 'TSO6', 'TSO_ECN', 'USO4', 'USO6'],
  },
  {
    bits: offload.CSUM | offload.TSO4 | offload.TSO6 | offload.TSO_ECN,
    names: ['CSUM', 'TSO4', 'TSO6', 'TSO_ECN'],
  },
  { bits: offload.CSUM, names: ['CSUM'] },
];

/** Whether an error of the addon carries this code. */
function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

/**
 * Opens the device, making it where there is none. A device that was made without multi_queue gives one queue.
 * Throws the addon's error, which says what to do.
 */
export function openDevice(options: QueuesOptions, log: Log): OpenDevice {
  const common = { ...QUEUE, ...owner() };
  const fds: number[] = [];
  let name = options.name;
  try {
    try {
      for (let i = 0; i < options.count; i++) {
        const queue = native.openQueue({ ...common, name, multiQueue: true });
        name = queue.name;
        fds.push(queue.fd);
      }
    } catch (error) {
      // EINVAL on the first: a persistent device of the other kind. Later: the kernel allows no more queues.
      if (fds.length > 0 || !hasCode(error, 'EINVAL')) throw error;
      const queue = native.openQueue({ ...common, name, multiQueue: false });
      fds.push(queue.fd);
      log.warn(
        { event: 'one-queue', device: name },
        `${name} was made without multi_queue: one worker serves it. To use all CPUs: ip tuntap del dev ${name} mode tun, and start again.`,
      );
    }
    return new TunDevice(name, fds, { ...options, log });
  } catch (error) {
    closeAll(fds);
    throw error;
  }
}

class TunDevice implements OpenDevice {
  /** All that are open, by their number in the kernel; those in use are `#count` from `#first` on. */
  readonly #open: number[];
  readonly #steering: Steering;
  #first = 0;
  #count: number;
  #offloads: readonly string[];

  constructor(
    readonly name: string,
    fds: number[],
    { offload: isWanted, pref64, log }: QueuesOptions & { log: Log },
  ) {
    this.#open = fds;
    this.#count = fds.length;
    this.#offloads = setOffloads(fds, isWanted);
    this.#steering = new Steering(fds[0] as number, pref64, log);
    if (fds.length > 1) this.#steering.choose(0, fds.length);
  }

  get fds(): readonly number[] {
    return this.#open.slice(this.#first, this.#first + this.#count);
  }

  get offloads(): readonly string[] {
    return this.#offloads;
  }

  get steering(): OpenDevice['steering'] {
    return this.#steering.isProgram ? 'program' : 'kernel';
  }

  steer(pref64: Prefix6 | null): void {
    this.#steering.use(pref64);
  }

  setOffload(isWanted: boolean): void {
    this.#offloads = setOffloads(this.#open, isWanted);
  }

  prepareQueues(count: number): QueueChange {
    const [first, old] = [this.#first, this.#count];
    // Before there is a second queue: the kernel itself would choose it too.
    const isDisjoint = this.#steering.choose(first, old);
    // The program in force would send frames to queues that are not served.
    if (!isDisjoint && this.#steering.isProgram)
      throw new Error(`${this.name}: the kernel takes no other program to choose queues by; try again`);
    const next = !isDisjoint || first >= count ? 0 : first + old;
    const before = this.#open.length;
    const closeFrom = (length: number) => {
      // The last first: the others keep their numbers.
      for (const fd of this.#open.splice(length).reverse()) native.closeQueue(fd);
    };
    try {
      while (this.#open.length < next + count) {
        this.#open.push(native.openQueue({ ...QUEUE, ...owner(), name: this.name, multiQueue: true }).fd);
      }
      // A worker that died in an earlier change may have left frames, which nobody waits for any more.
      if (isDisjoint) for (const fd of this.#open.slice(next, next + count)) discardFrames(fd);
    } catch (error) {
      closeFrom(before);
      throw error;
    }
    const fds = this.#open.slice(next, next + count);
    let isTaken = false;
    return {
      fds,
      isDisjoint,
      take: () => {
        if (isDisjoint && !this.#steering.choose(next, count))
          throw new Error(`${this.name}: the kernel takes no other program to choose queues by`);
        [this.#first, this.#count] = [next, count];
        isTaken = true;
      },
      finish: () => {
        if (!isDisjoint) closeFrom(count);
      },
      undo: () => {
        if (!isTaken) closeFrom(before);
      },
    };
  }

  close(): void {
    closeAll(this.#open);
  }
}

/**
 * Makes a persistent device, for whoever runs next. TAYGA can attach to one without multi_queue only, and we to both, with one
 * worker to a device without. Returns whether there was none before. Throws the addon's error.
 */
export async function makePersistentDevice(name: string, multiQueue: boolean): Promise<boolean> {
  const isNew = !existsSync(`/sys/class/net/${name}`);
  const { fd } = await openEither(name, multiQueue);
  try {
    native.setOffload(fd, 0);
    native.setPersist(fd, true);
  } finally {
    native.closeQueue(fd);
  }
  return isNew;
}

/** Removes a persistent device once nobody has it open. Returns whether there was one. Throws the addon's error. */
export async function removePersistentDevice(name: string): Promise<boolean> {
  if (!existsSync(`/sys/class/net/${name}`)) return false;
  const { fd } = await openEither(name, true);
  try {
    native.setPersist(fd, false);
  } finally {
    native.closeQueue(fd);
  }
  return true;
}

/**
 * One queue, of the wished kind where the device is new, and of the kind that it is where it is not. Init scripts tell the
 * daemon to end and do not wait for it: a device in use is waited for.
 */
async function openEither(name: string, multiQueue: boolean): Promise<{ fd: number }> {
  const options = { name, vnetHdr: false, exclusive: false, ...owner() };
  const end = performance.now() + BUSY_WAIT_MS;
  for (let isMultiQueue = multiQueue; ; ) {
    try {
      return native.openQueue({ ...options, multiQueue: isMultiQueue });
    } catch (error) {
      if (hasCode(error, 'EINVAL') && isMultiQueue === multiQueue) isMultiQueue = !multiQueue;
      else if (hasCode(error, 'EBUSY') && performance.now() < end) await sleep(BUSY_RETRY_MS);
      else throw error;
    }
  }
}

function owner() {
  return { owner: process.getuid?.() ?? 0, group: process.getgid?.() ?? 0 };
}

function setOffloads(fds: readonly number[], wanted: boolean): readonly string[] {
  // The device has one set, whichever queue sets it. Left by an earlier owner, it must be taken back explicitly.
  const [first] = fds as [number];
  const accepted = wanted ? OFFLOAD_SETS.find((set) => native.setOffload(first, set.bits)) : undefined;
  if (accepted === undefined) native.setOffload(first, 0);
  return accepted?.names ?? [];
}

function discardFrames(fd: number): void {
  const ring = new Uint8Array(BURST_BYTES);
  const frames = new Int32Array(2 * BURST_FRAMES);
  while (native.read(fd, ring, 0, BURST_BYTES, HEADROOM, frames, BURST_FRAMES) > 0);
}

function closeAll(fds: number[]): void {
  // A persistent device stays: a later reader without virtio-net headers must not get super-frames.
  for (const [index, fd] of fds.splice(0).entries()) {
    if (index === 0) {
      try {
        native.setOffload(fd, 0);
        native.clearSteering(fd);
      } catch {
        // The device has gone already.
      }
    }
    native.closeQueue(fd);
  }
}

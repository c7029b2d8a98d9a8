/** The TUN device: its queues, opened by the main thread so that they outlive any worker, its offloads and its steering. */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import native from '#native';
import type { Prefix6 } from '../wire/address.js';
import type { Log } from './log.js';

export interface QueuesOptions {
  readonly name: string;
  readonly count: number;
  readonly offload: boolean;
  readonly pref64: Prefix6 | null;
}

export interface OpenDevice {
  /** The name the kernel gave. */
  readonly name: string;
  /** One descriptor per queue. */
  readonly fds: readonly number[];
  /** Names of the offloads in force. */
  readonly offloads: readonly string[];
  /** Who chooses the queue of a frame: a program of ours, by flow, or the kernel. */
  readonly steering: 'program' | 'kernel';
  /** Adapts the program to another prefix. */
  steer(pref64: Prefix6 | null): void;
  close(): void;
}

const { offload } = native;
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
  const common = {
    vnetHdr: true,
    exclusive: false,
    ...owner(),
  };
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
    const offloads = setOffloads(fds, options.offload);
    let steering: OpenDevice['steering'] = 'kernel';
    const steer = (pref64: Prefix6 | null) => {
      steering = setSteering(fds, pref64, log) ? 'program' : 'kernel';
    };
    steer(options.pref64);
    return {
      name,
      fds,
      offloads,
      get steering() {
        return steering;
      },
      steer,
      close: () => closeAll(fds),
    };
  } catch (error) {
    closeAll(fds);
    throw error;
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

/** For each length of pref64, where an address under it has the first bits of the IPv4 address in one piece (RFC 6052 section 2.2). */
const REMOTE: Readonly<Record<number, readonly [byte: number, bits: number]>> = {
  32: [4, 32],
  40: [5, 24],
  48: [6, 16],
  56: [7, 8],
  64: [9, 32],
  96: [12, 32],
};

/** Has the kernel take both directions of a flow to one worker. False where it is left to its own choice. */
function setSteering([first, second]: readonly number[], pref64: Prefix6 | null, log: Log): boolean {
  const place = pref64 === null ? undefined : REMOTE[pref64.length];
  if (first === undefined) return false;
  if (second === undefined || place === undefined) {
    native.clearSteering(first);
    return false;
  }
  try {
    if (native.setSteering(first, place[0], place[1], randomBytes(4).readUInt32BE())) return true;
  } catch (error) {
    // A gateway serves without it.
    log.warn({ event: 'no-steering', err: error }, `frames are not steered by flow: ${String(error)}`);
  }
  // A program for another prefix would send the two directions of a flow apart.
  native.clearSteering(first);
  return false;
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

/**
 * What only one gateway may use at a time. A second one on a device would share its queues and steal its frames, one with the same
 * data-dir would lose the other's maps, and one with the same run-dir would take the kernel's switches back under it.
 */
import { type BigIntStats, closeSync, constants, fstatSync, openSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import native from '#native';
import type { GatewayConfig } from './config/types.js';
import { makeFolder } from './folder.js';
import type { Log } from './log.js';

/** What stands under a folder's name. */
interface Held {
  /** Device and inode. */
  readonly id: string;
  /** Keeps the lock; undefined where another name of ours has it, or another process. */
  readonly fd: number | undefined;
  /** Another process has it, which has been told. */
  readonly isTaken?: boolean;
}

export class InstanceLocks {
  readonly #releaseDevice: () => void;
  /** By name. */
  readonly #folders = new Map<string, Held>();
  /** Whether what lies in the run-dir is ours. One that sets up nothing may share it. */
  readonly ownsRunDir: boolean;

  private constructor(config: GatewayConfig, releaseDevice: () => void, log: Log) {
    this.#releaseDevice = releaseDevice;
    try {
      this.#lockDataDir(config, log);
      this.ownsRunDir = this.#lockRunDir(config);
    } catch (error) {
      this.release();
      throw error;
    }
  }

  /** Rejects with an Error that names what another gateway has; nothing is locked then. */
  static async take(config: GatewayConfig, log: Log): Promise<InstanceLocks> {
    return new InstanceLocks(config, await lockDevice(config.device.name), log);
  }

  release(): void {
    for (const { fd } of this.#folders.values()) if (fd !== undefined) closeSync(fd);
    this.#folders.clear();
    this.#releaseDevice();
  }

  /**
   * A lock is a folder's, not its name's: one that somebody has put in the place of ours is locked too, and so is one that could not
   * be made before, or that another gateway had until now. To be called now and then; never throws.
   */
  look(log: Log): void {
    for (const [folder, { id, fd, isTaken = false }] of this.#folders) {
      try {
        const found = idOf(statSync(folder, { bigint: true }));
        if (found === id && !isTaken) continue;
        const isOurs = this.#lock(folder);
        if (fd !== undefined) closeSync(fd);
        if (isOurs) continue;
        this.#folders.set(folder, { id: found, fd: undefined, isTaken: true });
        if (found === id) continue;
      } catch {
        // It is not there, or out of reach.
        continue;
      }
      log.error(
        { event: 'folder-shared', folder },
        `${folder} was replaced, and another nat64d uses the new one: stop one of the two, or set another folder for it`,
      );
    }
  }

  #lockDataDir({ dataDir }: GatewayConfig, log: Log): void {
    if (dataDir === null) return;
    try {
      if (this.#lock(dataDir)) return;
    } catch (error) {
      this.#folders.set(dataDir, { id: '', fd: undefined });
      // It may come to be writable, and is tried again whenever there is something to write.
      log.error(
        { event: 'data-dir-failed', err: error },
        `data-dir: ${(error as Error).message}; until that is mended, dynamic maps are not kept`,
      );
      return;
    }
    throw new Error(
      `data-dir: ${dataDir} is in use by another nat64d. Stop it first, or set another data-dir.`,
    );
  }

  #lockRunDir({ runDir, device }: GatewayConfig): boolean {
    try {
      if (this.#lock(runDir)) return true;
    } catch {
      // Who needs it says what is wrong with it.
      return true;
    }
    if (!device.configure) return false;
    throw new Error(`run-dir: ${runDir} is in use by another nat64d. Stop it first, or set another run-dir.`);
  }

  /**
   * Locks a folder, whatever network namespace others are in; it is made where it is missing. False where another process has it.
   * Throws where it cannot be made or opened.
   */
  #lock(folder: string): boolean {
    makeFolder(folder);
    const fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
    let isKept = false;
    try {
      const id = idOf(fstatSync(fd, { bigint: true }));
      // A lock is the open file's: by another descriptor even our own would be in the way.
      const isOurs = [...this.#folders.values()].some((held) => held.id === id && held.fd !== undefined);
      isKept = !isOurs && native.lock(fd);
      // One name may be that of both folders.
      if (isKept || (isOurs && this.#folders.get(folder)?.id !== id))
        this.#folders.set(folder, { id, fd: isKept ? fd : undefined });
      return isOurs || isKept;
    } finally {
      if (!isKept) closeSync(fd);
    }
  }
}

function idOf({ dev, ino }: BigIntStats): string {
  return `${dev} ${ino}`;
}

/**
 * A listening Unix socket with an abstract name (Linux: no file, gone with the process however it ends): one name space per network
 * namespace, as for devices.
 */
function lockDevice(device: string): Promise<() => void> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.unref();
    // Also afterwards: one that cannot be accepted is no reason to end.
    server.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') return reject(error);
      reject(
        new Error(
          `another nat64d already serves the device ${device} here. Stop it first, or set another name in [device] name.`,
        ),
      );
    });
    server.listen(`\0nat64d/${device}`, () => resolve(() => server.close()));
  });
}

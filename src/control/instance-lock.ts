/**
 * What only one gateway may use at a time. A second one on a device would share its queues and steal its frames, one with the same
 * data-dir would lose the other's maps, and one with the same run-dir would take the kernel's switches back under it.
 */
import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { createServer } from 'node:net';
import native from '#native';
import type { GatewayConfig } from './config/types.js';
import { makeFolder } from './folder.js';
import type { Log } from './log.js';

export class InstanceLocks {
  readonly #releases: (() => void)[] = [];
  /** Device and inode of the folders that are ours. */
  readonly #folders = new Set<string>();
  /** Whether what lies in the run-dir is ours. One that sets up nothing may share it. */
  readonly ownsRunDir: boolean;

  private constructor(config: GatewayConfig, releaseDevice: () => void, log: Log) {
    this.#releases.push(releaseDevice);
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
    for (const release of this.#releases.splice(0).reverse()) release();
  }

  #lockDataDir({ dataDir }: GatewayConfig, log: Log): void {
    if (dataDir === null) return;
    try {
      if (this.#lock(dataDir)) return;
    } catch (error) {
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
    let isLocked = false;
    try {
      const { dev, ino } = fstatSync(fd, { bigint: true });
      const folder = `${dev} ${ino}`;
      // A lock is the open file's: by another descriptor even our own would be in the way.
      if (this.#folders.has(folder)) return true;
      isLocked = native.lock(fd);
      if (isLocked) this.#folders.add(folder);
    } finally {
      if (isLocked) this.#releases.push(() => closeSync(fd));
      else closeSync(fd);
    }
    return isLocked;
  }
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

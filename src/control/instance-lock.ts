/**
 * One gateway per device: a second one would share its queues and steal its frames. The lock is a listening Unix socket with
 * an abstract name (Linux: no file, gone with the process however it ends), one per network namespace, as devices are.
 */
import { createServer } from 'node:net';

export interface InstanceLock {
  release(): void;
}

export function lockInstance(device: string): Promise<InstanceLock> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.unref();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') return reject(error);
      reject(
        new Error(
          `another nat64d already serves the device ${device} here. Stop it first, or set another name in [device] name.`,
        ),
      );
    });
    // The abstract name space belongs to the network namespace, as the device does.
    server.listen(`\0nat64d/${device}`, () => resolve({ release: () => server.close() }));
  });
}

/**
 * Worker threads for a gateway that has changed its root: there are no files to start one from any more. So before that the
 * whole of a worker is read into memory, one bundle with piscina's part and ours, and threads are started from that text.
 *
 * The addon needs no file: the loader knows it by its path, because this process has it open already.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import workerThreads, { Worker, type WorkerOptions } from 'node:worker_threads';
import { SEALED_WORKER_FILE } from './files.js';

const require = createRequire(import.meta.url);

/** Stands for the addon's path in the bundle. */
const ADDON = '__NAT64D_ADDON__';

/** Every thread that is started from now on runs the bundle, whatever file is asked for. Call before the root changes. */
export function sealWorkers(): void {
  const bundle = readFileSync(SEALED_WORKER_FILE, 'utf8');
  const folder = dirname(require.resolve('#native'));
  const { path } = require('node-gyp-build') as { path(folder: string): string };
  const text = bundle.replace(JSON.stringify(ADDON), JSON.stringify(path(folder)));
  // Piscina makes its threads with this class and offers no other way in.
  class SealedWorker extends Worker {
    constructor(_file: string | URL, options: WorkerOptions) {
      super(text, { ...options, eval: true });
    }
  }
  Object.assign(workerThreads, { Worker: SealedWorker });
}

/** A thread for a worker: piscina with one thread, which reads its files at once and then waits for its task. */
import { Piscina } from 'piscina';
import { WORKER_FILE } from './files.js';
import type { Log } from './log.js';

/** A worker allocates next to nothing; V8 would let it collect 48 MiB of that before it looked. */
const YOUNG_MIB = 6;

/** Those that could not begin, and why: a file is missing, or there is no memory for it. */
const failures = new WeakMap<Piscina, unknown>();

/** Why a thread has ended without a task; undefined where it has not. Another one is to be opened for the next try. */
export function failureOf(thread: Piscina): unknown {
  return failures.get(thread);
}

export function openThread(log: Log): Piscina {
  const piscina = new Piscina({
    filename: WORKER_FILE.href,
    minThreads: 1,
    maxThreads: 1,
    concurrentTasksPerWorker: 1,
    idleTimeout: Number.POSITIVE_INFINITY,
    // The tasks never end, so there is no next one to wait for; waiting on a futex would only block the event loop.
    atomics: 'disabled',
    recordTiming: false,
    resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB },
  });
  // A task's own promise tells of its end; an error without a task is logged, never thrown.
  piscina.on('error', (error: unknown) => {
    failures.set(piscina, error);
    // Or a task that it is given would neither begin nor end.
    void piscina.destroy();
    log.error({ event: 'worker-error', err: error }, `a worker failed outside its task: ${String(error)}`);
  });
  return piscina;
}

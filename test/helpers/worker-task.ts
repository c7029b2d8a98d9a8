/** What control would hand a worker, without a device. */
import { MessageChannel } from 'node:worker_threads';
import { createCounters } from '#nat64d/shm/counters.js';
import { createFrameRing } from '#nat64d/shm/frame-ring.js';
import { createHostRing } from '#nat64d/shm/host-ring.js';
import { createPrefixTable } from '#nat64d/shm/prefix-table.js';
import { CLOCK, createSharedState, GENERATION } from '#nat64d/shm/shared-state.js';
import type { TranslatorSettings, WorkerTask } from '#nat64d/shm/worker-task.js';
import { DEFAULT_SETTINGS, Harness, NOW_SEC } from './harness.js';

/** The host of most tests has its map. Close its port in the end. */
export function makeTask(settings: Partial<TranslatorSettings>): WorkerTask {
  const { port1, port2 } = new MessageChannel();
  port2.close();
  const harness = new Harness();
  const state = createSharedState(1);
  state[CLOCK] = NOW_SEC;
  state[GENERATION] = harness.ctx.generation;
  return {
    worker: 0,
    workerCount: 1,
    fd: -1,
    nice: 0,
    isWaiting: false,
    settings: { ...DEFAULT_SETTINGS, ...settings },
    hosts: harness.hostBuffers,
    maps4: createPrefixTable([], 4),
    maps6: createPrefixTable([], 6),
    state: state.buffer as SharedArrayBuffer,
    counters: createCounters(1),
    ring: createFrameRing(),
    questions: createHostRing(16),
    answers: createHostRing(16),
    captures: [],
    samples: null,
    port: port1,
  };
}

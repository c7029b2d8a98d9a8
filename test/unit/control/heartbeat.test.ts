/** The watch over the main thread, where it cannot be had. */
import assert from 'node:assert/strict';
import { syncBuiltinESMExports } from 'node:module';
import { test } from 'node:test';
import threads from 'node:worker_threads';
import { Heartbeat } from '#nat64d/control/heartbeat.js';
import { silent } from '#nat64d/control/log.js';

test('where no thread can be made, that is logged, and the gateway goes on without', async () => {
  const { Worker } = threads;
  threads.Worker = class {
    constructor() {
      throw Object.assign(new Error('Worker initialization failure: EAGAIN'), {
        code: 'ERR_WORKER_INIT_FAILED',
      });
    }
  } as unknown as typeof Worker;
  syncBuiltinESMExports();
  const lines: string[] = [];
  try {
    const log = { ...silent, error: (_: object, message: string) => void lines.push(message) };
    const notifier = { fd: 0, notify: () => {}, reloading: () => {} };
    const heartbeat = await Heartbeat.start(log, notifier, null);
    heartbeat.begin();
    await heartbeat.close();
  } finally {
    threads.Worker = Worker;
    syncBuiltinESMExports();
  }
  assert.match(lines.join('\n'), /^the watch thread .*EAGAIN/);
});

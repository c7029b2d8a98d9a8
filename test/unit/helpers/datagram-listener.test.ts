/** A listener does not outlive the process that has it: who waits for the end of its output would wait for ever. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

const LISTENER = new URL('../../helpers/datagram-listener.js', import.meta.url).href;

for (const [how, last, expected] of [
  ['of itself', '', [0, null]],
  ['by an exception', "throw new Error('on purpose');", [1, null]],
  ['killed', 'setTimeout(() => {}, 60_000);', [null, 'SIGKILL']],
] as const) {
  test(`a process that ends ${how} leaves no listener behind that it has not closed`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'nat64d-unheard-'));
    const program = `import { listenForDatagrams } from ${JSON.stringify(LISTENER)};
      await listenForDatagrams(${JSON.stringify(join(folder, 'socket'))});
      console.log('listening');
      ${last}`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', program]);
    t.after(() => {
      child.stdout.destroy();
      child.stderr.destroy();
      child.kill('SIGKILL');
    });
    // Once nobody has its output any more.
    const closed = once(child, 'close');
    child.stderr.resume();
    await once(child.stdout, 'data');
    if (expected[1] !== null) child.kill(expected[1]);
    assert.deepEqual(await Promise.race([closed, sleep(10_000, 'waits', { ref: false })]), expected);
    rmSync(folder, { recursive: true });
  });
}

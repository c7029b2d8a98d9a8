/** What a program has written before its end is shown, however much of it is still on its way then. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PseudoTerminal } from '../../helpers/pseudo-terminal.js';

test('a program that writes much and ends at once', async () => {
  for (let i = 0; i < 10; i++) {
    const terminal = new PseudoTerminal('sh', ['-c', "head -c 30000 /dev/zero | tr '\\0' x; exit 7"]);
    assert.deepEqual(await terminal.ended, { status: 7, isRestored: true });
    assert.equal(terminal.output, 'x'.repeat(30_000));
  }
});

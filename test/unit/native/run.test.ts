/** `run`: another program, from its start to its end. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import native from '#native';
import { openDescriptors } from './lab.js';

const sh = (script: string, { input = '', timeoutMs = 10_000 } = {}) =>
  native.run('/bin/sh', ['sh', '-c', script], ['PATH=/usr/bin:/bin', 'WORD=ü'], input, timeoutMs);

test('gives what a program says, with the environment it was given and no other', async () => {
  assert.deepEqual(await sh('echo "$WORD$HOME"; echo no >&2; exit 3'), {
    status: 3,
    signal: 0,
    stdout: 'ü\n',
    stderr: 'no\n',
  });
});

test('a program that a signal ends has no status', async () => {
  assert.deepEqual(await sh('kill -9 $$'), { status: -1, signal: 9, stdout: '', stderr: '' });
});

test('megabytes go in and out at once', async () => {
  const input = 'line of text\n'.repeat(400_000);
  const { stdout, stderr, status } = await sh('tee /dev/stderr', { input });
  assert.deepEqual([stdout === input, stderr === input, status], [true, true, 0]);
});

test('what a program does not read is lost, and no failure', async () => {
  const { stdout, status } = await sh('read -r line; echo "$line"', { input: `one\n${'x'.repeat(1 << 20)}` });
  assert.deepEqual([stdout, status], ['one\n', 0]);
});

test('signals are as they are by default, though Node ignores some', async () => {
  const { stdout } = await sh('grep -E "^Sig(Blk|Ign)" /proc/self/status');
  const sets = [...stdout.matchAll(/:\s([0-9a-f]+)/g)].map(([, set]) => BigInt(`0x${set}`));
  // Numbers 32 and 33 belong to the C library's threads.
  assert.deepEqual(
    sets.map((set) => set & ~0x180000000n),
    [0n, 0n],
  );
});

test('a program has the three standard streams and no other descriptor of ours', async () => {
  const inherited = execFileSync('ls', ['/proc/self/fd'], { encoding: 'utf8' });
  const file = openSync(fileURLToPath(import.meta.url), 'r');
  const [one, other] = await Promise.all([sh('exec ls /proc/self/fd'), sh('exec ls /proc/self/fd')]);
  closeSync(file);
  assert.deepEqual([one?.stdout, other?.stdout], [inherited, inherited]);
});

test('a file that is not there, and one that may not be run, are errors with their code', async () => {
  await assert.rejects(native.run('/nowhere/at/all', ['x'], [], '', 1000), {
    code: 'ENOENT',
    syscall: 'posix_spawn',
  });
  await assert.rejects(native.run('/etc/passwd', ['x'], [], '', 1000), { code: 'EACCES' });
});

for (const [what, script] of [
  ['that says nothing', 'exec sleep 60'],
  ['that has closed its output', 'exec sleep 60 >&- 2>&-'],
] as const) {
  test(`one ${what} and takes too long is killed`, async () => {
    await assert.rejects(sh(script, { timeoutMs: 100 }), { code: 'ETIMEDOUT' });
  });
}

test('what one that is killed has started does not hold us up', async () => {
  const pidFile = join(mkdtempSync(join(tmpdir(), 'nat64d-run-')), 'pid');
  await assert.rejects(sh(`sleep 60 & echo $! > ${pidFile}; exec sleep 60`, { timeoutMs: 300 }), {
    code: 'ETIMEDOUT',
  });
  process.kill(Number(readFileSync(pidFile, 'utf8')));
  rmSync(dirname(pidFile), { recursive: true });
});

test('one that closes its output and reads on finds the end of its input', async () => {
  const input = 'x'.repeat(1 << 20);
  assert.equal((await sh('exec cat > /dev/null 2>&1', { input })).status, 0);
  assert.equal((await sh('exec >&- 2>&-; cat > /dev/null; exit 5', { input })).status, 5);
});

test('many at once end one as the other, and leave no descriptor open', async () => {
  const before = openDescriptors();
  const ended = await Promise.all(Array.from({ length: 40 }, (_, i) => sh(`echo ${i}; exit ${i}`)));
  assert.deepEqual(
    ended.map(({ status, stdout }) => [status, Number(stdout)]),
    Array.from({ length: 40 }, (_, i) => [i, i]),
  );
  assert.equal(openDescriptors(), before);
});

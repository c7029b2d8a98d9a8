/** The daemon of `totd` where its launcher has been killed. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const CLI = fileURLToPath(new URL('../../../../dist/bin/totd.js', import.meta.url));

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nat64d-totd-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  return port;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

test('a daemon whose launcher has been killed serves all the same, and ends when it is told to', async () => {
  const port = await freePort();
  const pidfile = join(folder, 'pid');
  const conf = join(folder, 'totd.conf');
  writeFileSync(conf, `forwarder 127.0.0.1 port 9\ninterfaces lo\nport ${port}\npidfile ${pidfile}\n`);
  const daemon = spawn(process.execPath, [CLI, '-c', conf], {
    env: { ...process.env, NAT64D_TOTD_STAGE: 'detached' },
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  });
  const force = setTimeout(() => daemon.kill('SIGKILL'), 20_000);
  daemon.stdio[3]?.destroy();
  const ended = once(daemon, 'exit');
  while (!(await answers(port))) {
    assert.equal(daemon.exitCode, null);
    await sleep(50);
  }
  // It has its word to say yet.
  await sleep(500);
  assert.equal(daemon.exitCode, null);
  daemon.kill('SIGTERM');
  assert.deepEqual(await ended, [0, null]);
  clearTimeout(force);
  assert.ok(!existsSync(pidfile));
});

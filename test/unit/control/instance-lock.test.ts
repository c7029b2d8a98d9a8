/** What only one gateway may use at a time. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { parseConfig } from '#nat64d/control/config/index.js';
import { InstanceLocks } from '#nat64d/control/instance-lock.js';
import { silent } from '#nat64d/control/log.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'nat64d-lock-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const configOf = (device: string, dataDir: string, runDir: string) =>
  parseConfig(`data-dir = "${dataDir}"\nrun-dir = "${runDir}"\n[device]\nname = "${device}"\n`, 'f');

test('one folder may be data-dir and run-dir, by whatever name; for another gateway it is taken, until it is let go', async () => {
  const [data, run] = [join(folder, 'both'), join(folder, 'both', '..', 'both')];
  const locks = await InstanceLocks.take(configOf('lock-a', data, run), silent);
  assert.equal(locks.ownsRunDir, true);
  await assert.rejects(InstanceLocks.take(configOf('lock-b', data, join(folder, 'own')), silent), /data-dir/);
  await assert.rejects(InstanceLocks.take(configOf('lock-b', join(folder, 'own'), run), silent), /run-dir/);
  await assert.rejects(
    InstanceLocks.take(configOf('lock-a', join(folder, 'own'), join(folder, 'own')), silent),
    /already serves the device lock-a/,
  );
  locks.release();
  (await InstanceLocks.take(configOf('lock-a', data, run), silent)).release();
});

test('who asks for a device that is taken, while there are no descriptors left, ends nobody', async (t) => {
  const servers: Server[] = [];
  const { listen } = Server.prototype;
  t.mock.method(Server.prototype, 'listen', function (this: Server, ...args: unknown[]) {
    servers.push(this);
    return Reflect.apply(listen, this, args);
  });
  const locks = await InstanceLocks.take(configOf('lock-c', folder, folder), silent);
  // What Node tells of an accept that fails.
  for (const server of servers)
    server.emit('error', Object.assign(new Error('accept EMFILE'), { code: 'EMFILE' }));
  assert.equal(servers.length, 1);
  locks.release();
});

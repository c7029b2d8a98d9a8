/** What only one gateway may use at a time. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
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

test('a folder that somebody has replaced is locked anew, and no descriptor more is open', async () => {
  const [data, run] = [join(folder, 'data'), join(folder, 'run')];
  const lines: string[] = [];
  const log = { ...silent, error: (_: object, message: string) => void lines.push(message) };
  const locks = await InstanceLocks.take(configOf('lock-d', data, run), log);
  const open = () => readdirSync('/proc/self/fd').length;
  const before = open();
  for (let i = 0; i < 5; i++) {
    renameSync(data, join(folder, `before-${i}`));
    locks.look(log);
    mkdirSync(data);
    locks.look(log);
    await assert.rejects(
      InstanceLocks.take(configOf('lock-e', data, join(folder, 'own')), silent),
      /data-dir: .* is in use by another nat64d/,
    );
  }
  assert.equal(open(), before);
  assert.deepEqual(lines, []);

  rmSync(data, { recursive: true });
  const faster = await InstanceLocks.take(configOf('lock-e', data, join(folder, 'own')), silent);
  locks.look(log);
  locks.look(log);
  assert.equal(lines.length, 1, 'said once');
  assert.match(lines[0] as string, /data.* was replaced, and another nat64d uses the new one/);
  faster.release();
  locks.look(log);
  assert.equal(lines.length, 1);
  await assert.rejects(
    InstanceLocks.take(configOf('lock-e', data, join(folder, 'own')), silent),
    /data-dir: .* is in use by another nat64d/,
    'once the faster one has gone it is ours',
  );
  locks.release();
  (await InstanceLocks.take(configOf('lock-d', data, run), silent)).release();
  assert.equal(open(), before - 3, 'device, data-dir and run-dir');
});

test('a data-dir that could not be made at the start is locked once it is there', async () => {
  const data = join(folder, 'file', 'data');
  writeFileSync(join(folder, 'file'), '');
  const locks = await InstanceLocks.take(configOf('lock-f', data, join(folder, 'run')), silent);
  locks.look(silent);
  rmSync(join(folder, 'file'));
  mkdirSync(data, { recursive: true });
  locks.look(silent);
  await assert.rejects(InstanceLocks.take(configOf('lock-g', data, join(folder, 'own')), silent), /data-dir/);
  locks.release();
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

/** nat64ctl and the metrics, with the real gateway and real packets. */
import assert from 'node:assert/strict';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { MapView } from '#nat64d/control/inspect/maps.js';
import type { Status } from '#nat64d/control/inspect/status.js';
import type { WorkerView } from '#nat64d/control/inspect/subject.js';
import { CLIENT6, Lab, PUBLIC4, under } from '../helpers/lab.js';

const CTL = fileURLToPath(new URL('../../../dist/bin/nat64ctl.js', import.meta.url));

let lab: Lab;
beforeEach(() => {
  lab = new Lab();
});
afterEach(() => lab.close());

const socket = () => join(lab.folder, 'run', 'control.sock');

async function ctl(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await lab.run(lab.gateway, process.execPath, [
    CTL,
    '--socket',
    socket(),
    ...args,
  ]);
  assert.equal(status, 0, stderr);
  return stdout;
}

const ask = async <T>(...args: string[]) => JSON.parse(await ctl('--json', ...args)) as T;

async function get(path: string, ...args: string[]) {
  const { stdout } = await lab.run(lab.gateway, 'curl', ['-gsi', ...args, `http://127.0.0.1:6464${path}`]);
  const [head = '', body = ''] = stdout.split('\r\n\r\n', 2);
  return { status: Number(/^HTTP\/1\.1 ([0-9]+)/.exec(head)?.[1]), body };
}

test('a map that a ping makes is shown, pinned, traced and dropped; workers and counters tell of the packets', async () => {
  const gateway = await lab.startGateway();
  assert.deepEqual(await ask('maps'), []);
  assert.match(await ctl('trace', CLIENT6), /first packet is held until it has an address/);
  assert.ok(await lab.pings());
  const [map] = await ask<MapView[]>('maps');
  assert.equal(map?.ipv6, CLIENT6);
  assert.equal(map?.kind, 'live');
  assert.match(
    await ctl('trace', CLIENT6, under(PUBLIC4)),
    new RegExp(`=> translated: from ${map?.ipv4} to ${PUBLIC4}`),
  );
  assert.match(await ctl('map', 'pin', map?.ipv4 as string), /keeps/);
  assert.ok((await ask<MapView[]>('map', 'show', CLIENT6))[0]?.isPinned);

  const counters = await ask<Record<string, number>>('counters');
  assert.equal(counters['translated-v6-to-v4'], 1);
  assert.equal(counters['translated-v4-to-v6'], 1);
  assert.equal(counters.assigned, 1);
  const workers = await ask<WorkerView[]>('workers');
  assert.equal(
    workers.reduce((sum, worker) => sum + (worker.counters['translated-v6-to-v4'] ?? 0), 0),
    1,
  );
  const status = await ask<Status>('status');
  assert.deepEqual([status.device, status.pool?.live, status.pool?.pinned], ['nat64', 1, 1]);
  assert.equal(status.dns64?.listening.length, 2);

  await ctl('map', 'drop', CLIENT6);
  assert.equal(gateway.events('map-dropped').length, 1);
  assert.deepEqual(await ask('maps'), []);
  assert.ok(await lab.pings(), 'it gets an address again');
  assert.equal((await ask<MapView[]>('maps')).length, 1);

  // A worker that dies is replaced, and what it has counted is not lost.
  gateway.kill('SIGUSR2');
  await gateway.waitFor('worker-replaced');
  const after = await ask<Record<string, number>>('counters');
  assert.equal(after['workers-replaced'], 1);
  assert.ok((after['translated-v6-to-v4'] ?? 0) >= 2);
  assert.equal(await gateway.stop(), 0);
});

test('reload by nat64ctl: what a dry run foretells is what happens; the socket and HTTP follow the file', async () => {
  const gateway = await lab.startGateway();
  assert.ok(await lab.pings());
  lab.configure(
    'pool4 = "10.65.0.0/16"\nworkers = 1\ncontrol-group = "65534"\n[http]\nlisten = ["127.0.0.1:6465"]\n',
  );
  const dry = await ctl('reload', '--dry-run');
  assert.match(dry, / would change:\n/);
  assert.match(dry, /^ {2}pool4: \(default\) -> "10\.65\.0\.0\/16"$/m);
  assert.match(dry, /^ {2}workers: \(default\) -> 1$/m);
  assert.match(dry, /^ {2}connections of this machine itself from 10\.64\.0\.2\/32/m);
  assert.match(dry, /^ {2}HTTP connections \(metrics, page\) at 127\.0\.0\.1:6464$/m);
  assert.match(dry, /^ {2}1 dynamic map ends/m);
  assert.equal(gateway.events('reloaded').length, 0);
  assert.equal((await get('/healthz')).status, 200);

  assert.match(await ctl('reload'), /is in force; changed:/);
  assert.equal(gateway.events('reloaded').length, 1);
  assert.deepEqual(await ask('maps'), []);
  assert.ok(await lab.pings());
  assert.match((await ask<MapView[]>('maps'))[0]?.ipv4 as string, /^10\.65\./);
  assert.equal(statSync(socket()).gid, 65534);
  assert.ok(Number.isNaN((await get('/healthz')).status), 'it listens there no more');
  const { stdout } = await lab.run(lab.gateway, 'curl', ['-s', 'http://127.0.0.1:6465/metrics']);
  assert.match(stdout, /^nat64d_config_reloads_total\{result="done"\} 1$/m);

  lab.configure('nonsense = 1\n');
  const bad = await lab.run(lab.gateway, process.execPath, [CTL, '--socket', socket(), 'reload']);
  assert.deepEqual([bad.status, bad.stdout], [1, '']);
  assert.match(bad.stderr, /nat64d\.toml:3:1: nonsense: there is no such key/);

  lab.configure('control-group = "no-such-group"\n');
  const unknown = await lab.run(lab.gateway, process.execPath, [CTL, '--socket', socket(), 'reload']);
  assert.deepEqual([unknown.status, unknown.stdout], [1, '']);
  assert.match(unknown.stderr, /nat64d\.toml: control-group: there is no group 'no-such-group'/);
  assert.equal(gateway.events('reloaded').length, 1);

  // A reload that closes the socket is answered all the same.
  lab.configure('control-socket = false\n');
  assert.match(await ctl('reload'), /is in force; changed:/);
  assert.ok(!existsSync(socket()));

  // The same by signal.
  lab.configure('');
  gateway.kill('SIGHUP');
  await gateway.waitFor('reloaded', 3);
  assert.match(await ctl('status'), /^device +nat64$/m);
  lab.configure('control-socket = false\n[http]\nlisten = false\n');
  gateway.kill('SIGHUP');
  await gateway.waitFor('reloaded', 4);
  assert.ok(!existsSync(socket()));
  assert.equal(await gateway.stop(), 0);
});

test('metrics count what has passed; a foreign name is refused; log level and checks work', async () => {
  const gateway = await lab.startGateway();
  assert.ok(await lab.pings());
  await lab.run(lab.client, 'ping', ['-c', '1', '-W', '1', under('224.0.0.1')]);
  const { status, body } = await get('/metrics');
  assert.equal(status, 200);
  assert.match(body, /^nat64d_frames_translated_total\{direction="v6-to-v4"\} 1$/m);
  assert.match(body, /^nat64d_drops_total\{reason="v4-address",direction="v6-to-v4"\} 1$/m);
  assert.match(body, /^nat64d_maps\{state="live"\} 1$/m);
  assert.match(body, /^nat64d_map_assignment_seconds_count 1$/m);
  assert.match(body, /^nat64d_dns_listening_addresses 2$/m);
  assert.equal((await get('/readyz')).status, 200);
  assert.equal((await get('/metrics', '-H', 'Host: evil.example')).status, 421);
  assert.equal((await get('/metrics', '-X', 'POST')).status, 405);
  await ctl('log', 'level', 'error');
  await ctl('map', 'drop', CLIENT6);
  assert.equal(gateway.events('map-dropped').length, 0);
  assert.match(await ctl('check', join(lab.folder, 'nat64d.toml')), /: fine\n$/);
  assert.equal(await gateway.stop(), 0);
});

test('a kill -9 leaves a socket that the next start replaces; a second gateway with the same folders does not start', async () => {
  const killed = await lab.startGateway();
  killed.kill('SIGKILL');
  await killed.exited;
  assert.ok(existsSync(socket()));
  const { status, stderr } = await lab.run(lab.gateway, process.execPath, [
    CTL,
    '--socket',
    socket(),
    'status',
  ]);
  assert.equal(status, 1);
  assert.match(stderr, /no gateway runs here: .* is left from one that has ended/);
  const gateway = await lab.startGateway();
  assert.match(await ctl('status'), /^device +nat64$/m);
  const second = await lab.startGateway({ toml: '[device]\nname = "other"\n', isFailing: true });
  assert.equal(await second.exited, 1);
  assert.match(second.events('failed')[0]?.msg as string, /data-dir: .* is in use by another nat64d/);
  assert.match(await ctl('status'), /^device +nat64$/m);
  assert.equal(await gateway.stop(), 0);
  assert.ok(!existsSync(socket()));
});

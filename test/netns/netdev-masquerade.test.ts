/** The masquerade table on real kernels: what it does, and that it goes however its gateway ends. */

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { NetdevSettings } from '#nat64d/control/netdev/index.js';
import { until } from '../helpers/until.js';
import {
  addNamespace,
  Child,
  connect,
  GW,
  HOST,
  inside,
  ip,
  SERVER,
  settings,
  snapshot,
  TABLE,
  tables,
  top,
  useNamespaces,
} from './netdev-lab.js';

useNamespaces();

/** Host of the pool – gateway – server; the server knows no way back to the pool. */
function masqueradePath(): void {
  addNamespace(HOST);
  addNamespace(SERVER);
  ip(GW, 'link del nat64');
  // The tunnel's part is played by a cable: what comes out of it has a source in the pool.
  connect(GW, 'nat64', HOST, 'pool');
  connect(GW, 'eth0', SERVER, 'net');
  ip(HOST, 'address add 10.64.0.9/24 dev pool');
  ip(HOST, 'route add default via 10.64.0.1');
  ip(GW, 'address add 203.0.113.1/24 dev eth0');
  ip(SERVER, 'address add 203.0.113.2/24 dev net');
}

const pingServer = () =>
  spawnSync('ip', ['netns', 'exec', HOST, 'ping', '-n', '-c', '3', '-i', '0.2', '-W', '2', '203.0.113.2'])
    .status === 0;

const onCable = (more: Partial<NetdevSettings>) =>
  settings({ addresses: [{ family: 4, address: 0x0a400001, length: 24 }], ...more });

for (const masquerade of [true, 'eth0'] as const) {
  test(`masquerade = ${masquerade}: what leaves for the server has the gateway's address`, async () => {
    masqueradePath();
    inside(
      SERVER,
      'nft',
      'add table ip t; add chain ip t c { type filter hook input priority 0; }; add rule ip t c ip saddr 203.0.113.1 icmp type echo-request counter',
    );
    const child = new Child('configure', onCable({ masquerade }));
    await child.ready();
    assert.ok(pingServer());
    assert.match(inside(SERVER, 'nft', 'list', 'table', 'ip', 't'), /counter packets [1-9]/);
    await child.end('SIGTERM');
    assert.equal(tables(), '');
  });
}

for (const masquerade of [false, 'eth1'] as const) {
  test(`masquerade = ${masquerade}: the server sees the pool, and has no way back`, async () => {
    masqueradePath();
    const child = new Child('configure', onCable({ masquerade }));
    await child.ready();
    assert.ok(!pingServer());
  });
}

/** The process ids of the `nft -i` in the gateway's namespace. */
const holders = () =>
  inside(GW, 'sh', '-c', `ip netns pids ${GW}`)
    .split('\n')
    .filter(
      (pid) => pid !== '' && spawnSync('cat', [`/proc/${pid}/comm`], { encoding: 'utf8' }).stdout === 'nft\n',
    );

test('the table outlives Ctrl-C in the process group, a flush by others, and the death of its holder', async () => {
  const child = new Child('configure', settings());
  await child.ready();
  const [holder, ...others] = holders();
  assert.ok(holder !== undefined && others.length === 0);

  process.kill(-(child.process.pid as number), 'SIGINT');
  await until(() => child.lines.some((line) => line.message === 'SIGINT'), 'the signal to arrive', 30_000);
  inside(GW, 'nft', 'flush', 'ruleset');
  assert.deepEqual(holders(), [holder]);
  assert.match(tables(), new RegExp(TABLE));

  process.kill(Number(holder), 'SIGKILL');
  await until(
    () => child.lines.some((line) => /masquerade is up again/.test(line.message ?? '')),
    'a new table',
    30_000,
  );
  assert.match(tables(), new RegExp(TABLE));
  assert.match(child.warnings().join(), /has ended/);
  await child.end('SIGTERM');
  assert.equal(tables(), '');
  assert.deepEqual(holders(), []);
});

test('a plain table left by an earlier run is replaced', async () => {
  inside(GW, 'nft', `add table inet ${TABLE}; add chain inet ${TABLE} old`);
  const child = new Child('configure', settings());
  await child.ready();
  assert.doesNotMatch(inside(GW, 'nft', 'list', 'ruleset'), /chain old/);
  await child.end('SIGTERM');
  assert.equal(tables(), '');
});

test('a table that another process owns is an error that names it, and nothing is left', async () => {
  const owner = new Child('configure', settings());
  await owner.ready();
  const before = snapshot();
  const line = await new Child('configure', settings({ runDir: join(top, 'other') })).settled();
  assert.equal(line.failed, 'TABLE_IN_USE');
  assert.match(line.message ?? '', new RegExp(TABLE));
  assert.deepEqual(snapshot(), before);
});

/** An environment whose `nft` is a shell script that runs `body`, then the real one. */
function fakeNft(body: string): NodeJS.ProcessEnv {
  const bin = join(top, 'bin');
  const real = execFileSync('sh', ['-c', 'PATH=$PATH:/usr/sbin:/sbin command -v nft'], {
    encoding: 'utf8',
  }).trim();
  execFileSync('mkdir', ['-p', bin]);
  writeFileSync(join(bin, 'nft'), `#!/bin/sh\n${body}\nexec ${real} "$@"\n`);
  chmodSync(join(bin, 'nft'), 0o755);
  return { ...process.env, PATH: `${bin}:${process.env.PATH}` };
}

test('a kernel without table owners: a plain table with a warning, gone after restore', async () => {
  const env = fakeNft(
    '[ "$1" = -i ] && { echo "Error: Operation not supported" >&2; cat >/dev/null; exit 1; }',
  );
  const child = new Child('configure', settings(), { env });
  await child.ready();
  assert.match(child.warnings().join(), /Operation not supported.*kill -9/);
  assert.match(inside(GW, 'nft', 'list', 'table', 'inet', TABLE), /masquerade/);
  await child.end('SIGTERM');
  assert.equal(tables(), '');
});

test('an nft that can do nothing is an error with its own words', async () => {
  const env = fakeNft(
    'case "$1" in -i|-f) echo "Error: Could not process rule: no NAT today" >&2; cat >/dev/null; exit 1;; esac',
  );
  const before = snapshot();
  const line = await new Child('configure', settings(), { env }).settled();
  assert.equal(line.failed, 'NO_NAT');
  assert.match(line.message ?? '', /no NAT today.*nft_masq/);
  assert.deepEqual(snapshot(), before);
});

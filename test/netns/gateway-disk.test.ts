/** The disk under dynamic.map: full, read-only, its files removed. The gateway forwards on, says so, and recovers. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Lab, PUBLIC4, under } from '../helpers/lab.js';
import { until } from '../helpers/until.js';

let lab: Lab;
afterEach(() => lab.close());

/** Seconds of the gateway's clock in one of ours: what happens once a minute happens each second. */
const CLOCK_RATE = '60';
const hostOf = (n: number) => `2001:db8:1::100:${n}`;

test('a disk that is full, read-only or emptied: new hosts are let in, it is said once a minute, and mended', async () => {
  lab = new Lab({ clientAddresses: 3 });
  const disk = join(lab.folder, 'disk');
  const gateway = await lab.startGateway({
    args: ['--test-clock-rate', CLOCK_RATE],
    toml: `[http]\nlisten = false\n`,
    setUp: `mkdir ${disk} && mount -t tmpfs -o size=64k tmpfs ${disk} && ln -s ${disk} ${join(lab.folder, 'data')}`,
  });
  const seen = join(`/proc/${gateway.pid}/root`, disk);
  const map = join(seen, 'dynamic.map');
  const comesIn = async (n: number) => {
    assert.ok(await lab.pings(under(PUBLIC4), { source: hostOf(n), waitSec: 3 }));
  };

  assert.throws(() => writeFileSync(join(seen, 'fill'), Buffer.alloc(1 << 20)), { code: 'ENOSPC' });
  const startMs = performance.now();
  await comesIn(1);
  assert.match((await gateway.waitFor('dynamic-map-failed')).msg, /ENOSPC|disk .* is full/);
  // In the second minute it is said again; no oftener, though it is tried six times a minute, however long all this takes.
  await gateway.waitFor('dynamic-map-failed', 2);
  await sleep(500);
  const said = gateway.events('dynamic-map-failed').length;
  const minutes = ((performance.now() - startMs) / 1000) * (Number(CLOCK_RATE) / 60);
  assert.ok(said <= minutes + 1, `said ${said} times in ${minutes} minutes`);
  rmSync(join(seen, 'fill'));
  await gateway.waitFor('dynamic-map-recovered');
  assert.match(readFileSync(map, 'utf8'), new RegExp(`\t${hostOf(1)}\t`));

  const remount = (how: string) =>
    lab.run(lab.gateway, 'nsenter', ['-t', String(gateway.pid), '-m', 'mount', '-o', `remount,${how}`, disk]);
  const failures = gateway.events('dynamic-map-failed').length;
  assert.equal((await remount('ro')).status, 0);
  await comesIn(2);
  assert.match((await gateway.waitFor('dynamic-map-failed', failures + 1)).msg, /EROFS/);
  assert.equal((await remount('rw')).status, 0);
  await gateway.waitFor('dynamic-map-recovered', 2);
  assert.match(readFileSync(map, 'utf8'), new RegExp(`\t${hostOf(2)}\t`));

  await comesIn(3);
  rmSync(map);
  rmSync(`${map}.journal`);
  await gateway.waitFor('dynamic-map-gone');
  await until(() => existsSync(map), map, 30_000);
  for (const n of [1, 2, 3]) assert.match(readFileSync(map, 'utf8'), new RegExp(`\t${hostOf(n)}\t`));
  assert.equal(await gateway.stop(), 0);
});

test('a start that fails while maps are taken back, or for want of them, leaves nothing behind', async () => {
  lab = new Lab();
  const fails = async (why: RegExp) => {
    const before = await lab.snapshot();
    const gateway = await lab.startGateway({ isFailing: true });
    assert.equal(await gateway.exited, 1);
    assert.match(gateway.lines.at(-1)?.msg as string, why, 'the last that is said');
    assert.equal(await lab.snapshot(), before);
  };
  const data = join(lab.folder, 'data');
  mkdirSync(join(data, 'dynamic.map'), { recursive: true });
  await fails(/EISDIR/);
  rmSync(data, { recursive: true });
  mkdirSync(data);
  const lines = Array.from(
    { length: 60_000 },
    (_, n) => `10.64.${n >> 8}.${n & 255}\t2001:db8:2::${n.toString(16)}\t7`,
  );
  writeFileSync(join(data, 'dynamic.map'), `${lines.join('\n')}\nno line\n`);
  await lab.run(lab.gateway, 'sh', ['-c', 'echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6']);
  await fails(/IPv6 seems to be disabled/);
});

/** More than one gateway on a machine. One that would get in the way of another does not start, and harms nothing. */
import assert from 'node:assert/strict';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Lab } from '../helpers/lab.js';
import { until } from '../helpers/until.js';

const CTL = fileURLToPath(new URL('../../../dist/bin/nat64ctl.js', import.meta.url));

const labs: Lab[] = [];
afterEach(async () => {
  await Promise.all(labs.splice(0).map((lab) => lab.close()));
});

function newLab(): Lab {
  const lab = new Lab();
  labs.push(lab);
  return lab;
}

/** Another device, and nothing in common with the first gateway but its folders. */
const OTHER = 'pool4 = "10.99.0.0/16"\npref64 = "2001:db8:99::/96"\n';
const OTHER_DEVICE = '[device]\nname = "other"\n[http]\nlisten = false\n';

test('a second gateway with the data-dir or the run-dir of the first ends with a clear error and harms nothing', async () => {
  const lab = newLab();
  const first = await lab.startGateway();
  assert.ok(await lab.pings());
  const before = await lab.snapshot();
  const elsewhere = (name: string) => `${name}-dir = "${join(lab.folder, 'elsewhere')}"\n`;
  for (const [shared, toml] of [
    ['data', `${elsewhere('run')}${OTHER}`],
    ['run', `${elsewhere('data')}control-socket = false\n${OTHER}`],
  ] as const) {
    const second = await lab.startGateway({ isFailing: true, toml: `${toml}${OTHER_DEVICE}` });
    assert.equal(await second.exited, 1);
    const folder = join(lab.folder, shared);
    assert.match(
      second.output.join('\n'),
      new RegExp(`${shared}-dir: ${folder} is in use by another nat64d. Stop it first`),
    );
    assert.equal(await lab.snapshot(), before);
  }
  assert.ok(await lab.pings());
  // One that sets nothing up in the kernel leaves the other's notes in the run-dir alone.
  lab.ip(lab.gateway, 'tuntap add dev other mode tun multi_queue');
  const third = await lab.startGateway({
    toml: `${elsewhere('data')}control-socket = false\n${OTHER}${OTHER_DEVICE.replace('[http]', 'configure = false\n[http]')}`,
  });
  assert.ok(await lab.pings());
  assert.equal(await third.stop(), 0);
  lab.ip(lab.gateway, 'link del other');
  assert.equal(await lab.snapshot(), before);
  assert.equal(await first.stop(), 0);
});

test('a gateway of another namespace with the same data-dir does not start; with one of its own it does', async () => {
  const [lab, other] = [newLab(), newLab()];
  const first = await lab.startGateway();
  const shared = `data-dir = "${join(lab.folder, 'data')}"\n`;
  const refused = await other.startGateway({ isFailing: true, toml: shared });
  assert.equal(await refused.exited, 1);
  assert.match(refused.output.join('\n'), /data-dir: .* is in use by another nat64d/);
  const second = await other.startGateway();
  assert.deepEqual(await Promise.all([lab.pings(), other.pings()]), [true, true]);
  assert.equal(await second.stop(), 0);
  assert.ok(await lab.pings());
  assert.equal(await first.stop(), 0);
});

test('a data-dir that was removed and is made anew is as closed to a second gateway as before', async () => {
  const lab = newLab();
  // Ten seconds of the gateway's are one.
  const first = await lab.startGateway({ args: ['--test-clock-rate', '10'] });
  assert.ok(await lab.pings());
  const data = join(lab.folder, 'data');
  rmSync(data, { recursive: true });
  await first.waitFor('dynamic-map-gone');
  await until(() => existsSync(join(data, 'dynamic.map')), `dynamic.map in ${data}`, 30_000);
  // The folder is looked at once a second.
  await sleep(2000);
  const run = `run-dir = "${join(lab.folder, 'elsewhere')}"\n`;
  const second = await lab.startGateway({ isFailing: true, toml: `${run}${OTHER}${OTHER_DEVICE}` });
  assert.equal(await second.exited, 1);
  assert.match(second.output.join('\n'), /data-dir: .* is in use by another nat64d/);
  assert.equal(await first.stop(), 0);
});

test('a run-dir that is removed comes back with a control socket that answers', async () => {
  const lab = newLab();
  const gateway = await lab.startGateway();
  rmSync(join(lab.folder, 'run'), { recursive: true });
  await gateway.waitFor('control-socket-again');
  const { status, stdout } = await lab.run(lab.gateway, process.execPath, [
    CTL,
    '--socket',
    join(lab.folder, 'run', 'control.sock'),
    'status',
  ]);
  assert.equal(status, 0);
  assert.match(stdout, /nat64/);
  assert.equal(await gateway.stop(), 0);
});

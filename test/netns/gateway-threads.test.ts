/** Threads are opened before it is known what they will do: none is left over, and a start that has none to work with ends. */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Lab } from '../helpers/lab.js';
import { helpersStepBack } from '../helpers/niceness.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

const threadsOf = (pid: number) => readdirSync(`/proc/${pid}/task`).length;

test('a device that was made for one queue has one worker, and no thread is there for another', async () => {
  const lab = new Lab();
  after(() => lab.close());
  const toml = (workers: number) => `workers = ${workers}\n[device]\nname = "one"\nmasquerade = false\n`;
  const single = await lab.startGateway({ toml: toml(1) });
  const expected = threadsOf(single.pid);
  await helpersStepBack(single.pid);
  await single.stop();
  lab.ip(lab.gateway, 'tuntap add dev one mode tun');
  const gateway = await lab.startGateway({ toml: toml(3) });
  assert.equal(gateway.events('ready')[0]?.workers, 1);
  assert.equal(threadsOf(gateway.pid), expected);
  await gateway.stop();
});

test('where no worker can be started the start fails, says why, and leaves nothing', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'nat64d-threads-'));
  after(() => rmSync(folder, { recursive: true }));
  for (const name of ['dist', 'native', 'package.json'])
    cpSync(join(ROOT, name), join(folder, name), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  rmSync(join(folder, 'dist/bin/worker.js'));
  const toml = `workers = 2\ndata-dir = "${folder}/data"\nrun-dir = "${folder}/run"\n[device]\nmasquerade = false\n`;
  writeFileSync(join(folder, 'nat64d.toml'), toml);
  const lab = new Lab();
  after(() => lab.close());
  const args = [join(folder, 'dist/bin/nat64d.js'), '--config', join(folder, 'nat64d.toml')];
  const { status, stdout } = await lab.run(lab.gateway, process.execPath, args);
  assert.equal(status, 1, stdout);
  assert.match(stdout, /no worker can be started: Cannot find module '[^']*\/dist\/bin\/worker\.js'/);
  assert.doesNotMatch(stdout, /"event":"ready"/);
  const { stdout: links } = await lab.run(lab.gateway, 'ip', ['-br', 'link']);
  assert.doesNotMatch(links, /nat64/);
});

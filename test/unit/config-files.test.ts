/** The files that we ship for others' hands: they parse, and the units are as locked up as we say. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseTayga } from '#nat64d/control/config/tayga.js';
import { fetchPeer, SYSTEMD } from '../helpers/peers.js';

const CONFIG = fileURLToPath(new URL('../../../config/', import.meta.url));
const shipped = readFileSync(join(CONFIG, 'tayga.conf'), 'utf8');

test('tayga.conf as shipped is fine, and so it is with every directive in force', () => {
  assert.deepEqual(parseTayga(shipped, 'tayga.conf').warnings, []);
  const all = shipped.replace(/^#([a-z][a-z0-9-]* )/gm, '$1');
  const config = parseTayga(all, 'tayga.conf');
  assert.equal(config.maps.length, 2);
  assert.equal(config.device.up, true);
});

test("what Debian's script looks for in tayga.conf is there, once", () => {
  for (const name of ['tun-device', 'prefix', 'dynamic-pool']) {
    const found = execFileSync('sed', [
      '-rn',
      `/^[ \\t]*${name}/s/^[ \\t]*${name}[ \\t]+//p`,
      join(CONFIG, 'tayga.conf'),
    ]);
    assert.match(found.toString(), /^\S+\n$/);
  }
});

for (const folder of ['openrc', 'default']) {
  for (const name of readdirSync(join(CONFIG, folder))) {
    test(`${folder}/${name} is a shell script`, () => {
      const { status, stderr } = spawnSync('sh', ['-n', join(CONFIG, folder, name)], { encoding: 'utf8' });
      assert.equal(status, 0, stderr);
    });
  }
}

test("tayga.service lets Debian's tayga.conf keep its maps where it says", () => {
  const { root } = fetchPeer('tayga', ['tayga']);
  const debian = readFileSync(join(root, 'etc/tayga.conf'), 'utf8');
  const { dataDir, warnings } = parseTayga(debian, 'tayga.conf');
  assert.deepEqual(warnings, []);
  const unit = readFileSync(join(CONFIG, 'systemd/tayga.service'), 'utf8');
  const writable = /^ReadWritePaths=(.*)$/m.exec(unit)?.[1]?.split(' ');
  assert.ok(writable?.includes(`-${dataDir}`), `${dataDir} is read-only`);
});

/** systemd-analyze of Debian's package, whatever this machine runs. */
function analyze(...words: string[]) {
  const { root, env } = fetchPeer('systemd', SYSTEMD);
  const { LD_LIBRARY_PATH = '' } = env;
  const path = LD_LIBRARY_PATH.split(':').flatMap((folder) => [folder, join(folder, 'systemd')]);
  return spawnSync(join(root, 'usr/bin/systemd-analyze'), [...words, '--no-pager'], {
    encoding: 'utf8',
    env: { ...process.env, LD_LIBRARY_PATH: path.join(':') },
  });
}

for (const unit of readdirSync(join(CONFIG, 'systemd'))) {
  test(`${unit}: systemd-analyze rates its exposure below 3.0`, () => {
    const words = ['security', '--offline=true', '--threshold=29', join(CONFIG, 'systemd', unit)];
    const { status, stdout, stderr } = analyze(...words);
    // A key that systemd does not know is named there, and otherwise ignored.
    assert.equal(stderr, '');
    assert.match(stdout, /Overall exposure level for \S+: [0-2]\.\d /);
    assert.equal(status, 0, stderr);
  });

  test(`${unit}: systemd-analyze verify finds nothing, on a system that has its programs`, () => {
    const root = mkdtempSync(join(tmpdir(), 'nat64d-units-'));
    try {
      cpSync(join(fetchPeer('systemd', SYSTEMD).root, 'lib/systemd'), join(root, 'usr/lib/systemd'), {
        recursive: true,
      });
      symlinkSync('usr/lib', join(root, 'lib'));
      for (const program of ['bin/kill', 'usr/bin/nat64d', 'usr/sbin/tayga', 'usr/sbin/totd']) {
        mkdirSync(dirname(join(root, program)), { recursive: true });
        writeFileSync(join(root, program), '#!/bin/sh\n', { mode: 0o755 });
      }
      const file = join(root, 'etc/systemd/system', unit);
      mkdirSync(dirname(file), { recursive: true });
      const verify = (text: string) => {
        writeFileSync(file, text);
        return analyze('verify', '--man=no', '--recursive-errors=no', `--root=${root}`, unit).stderr;
      };
      const text = readFileSync(join(CONFIG, 'systemd', unit), 'utf8');
      assert.equal(verify(text), '');
      assert.match(verify(text.replace('ExecStart=/usr/', 'ExecStart=/elsewhere/')), /is not executable/);
    } finally {
      rmSync(root, { recursive: true });
    }
  });
}

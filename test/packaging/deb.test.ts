/** The Debian package in a clean Debian 12: installed, upgraded, removed and purged. Takes minutes, and Debian's packages. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import {
  buildDeb,
  type DebianTree,
  fetchLintian,
  lintian,
  makeDebian12,
  scratchFolder,
} from '../helpers/packages.js';

const { folder, remove } = scratchFolder('debian');
after(remove);
let deb: string;
let debian: DebianTree;
before(() => {
  deb = buildDeb(folder);
  debian = makeDebian12(join(folder, 'root'), ['iproute2', 'libstdc++6', 'nftables', 'procps', 'systemd']);
  copyFileSync(deb, join(debian.folder, 'tmp/nat64d.deb'));
});

const inside = (path: string) => join(debian.folder, path);
const CONFIG = 'etc/nat64d/nat64d.toml';

function succeeds(command: string, ...args: string[]): string {
  const { status, output } = debian.run(command, args);
  assert.equal(status, 0, `${command} ${args.join(' ')}: ${output}`);
  return output;
}

const isEnabled = () => debian.run('systemctl', ['is-enabled', 'nat64d']).output.trim();
const WANTED = 'etc/systemd/system/multi-user.target.wants/nat64d.service';

/** Makes a package of a folder's contents. */
function pack(tree: string, name: string, control: string): void {
  mkdirSync(join(tree, 'DEBIAN'), { recursive: true });
  writeFileSync(join(tree, 'DEBIAN/control'), control);
  execFileSync('dpkg-deb', ['--root-owner-group', '-Znone', '--build', tree, inside(`tmp/${name}`)], {
    stdio: 'ignore',
  });
}

/** The same package under another version. */
function packVersion(version: string): void {
  const tree = join(folder, version);
  execFileSync('dpkg-deb', ['--raw-extract', deb, tree]);
  const control = readFileSync(join(tree, 'DEBIAN/control'), 'utf8');
  pack(tree, 'newer.deb', control.replace(/^Version: .*/m, `Version: ${version}`));
}

test('the same sources give the same package', () => {
  const again = buildDeb(join(folder, 'again'));
  assert.ok(readFileSync(deb).equals(readFileSync(again)));
});

test('lintian finds no error', () => {
  assert.deepEqual(
    lintian(fetchLintian(), deb).filter((line) => line.startsWith('E:')),
    [],
  );
});

test('with no Node.js, or that of Debian 12, it says which one is needed and stays unconfigured', () => {
  const { status, output } = debian.run('dpkg', ['--install', '/tmp/nat64d.deb']);
  assert.notEqual(status, 0);
  assert.match(output, /nat64d depends on nodejs \(>= 20\.19\)/);
  assert.match(succeeds('dpkg', '--status', 'nat64d'), /add a package source of Node\.js 20/);
});

test('with Node.js 20 it is installed, and starts nothing', () => {
  const node = join(folder, 'node');
  mkdirSync(join(node, 'usr/bin'), { recursive: true });
  copyFileSync(process.execPath, join(node, 'usr/bin/node'));
  pack(
    node,
    'nodejs.deb',
    `Package: nodejs\nVersion: ${process.versions.node}-1\nArchitecture: amd64\nDepends: libstdc++6\n` +
      'Maintainer: test <root@localhost>\nDescription: this Node.js\n',
  );
  succeeds('dpkg', '--install', '/tmp/nodejs.deb');
  const output = succeeds('dpkg', '--install', '/tmp/nat64d.deb');
  assert.match(output, /not started yet.*systemctl enable --now nat64d/);
  assert.equal(succeeds('dpkg', '--verify', 'nat64d'), '');
  assert.equal(isEnabled(), 'disabled');
  succeeds('dpkg', '--install', '/tmp/nat64d.deb');
  assert.equal(isEnabled(), 'disabled', 'an upgrade enables nothing either');
});

test('its programs run, and systemd takes its unit', () => {
  assert.match(succeeds('nat64d', '--version'), /^nat64d \d/);
  assert.equal(succeeds('nat64d', '--check'), '/etc/nat64d/nat64d.toml: fine\n');
  assert.match(succeeds('nat64ctl', '--help'), /Usage: nat64ctl/);
  assert.match(succeeds('/usr/lib/nat64d/bin/tayga', '--help'), /usage: tayga/);
  assert.equal(succeeds('systemd-analyze', 'verify', '--man=no', 'nat64d.service'), '');
  succeeds('systemctl', 'enable', 'nat64d');
  succeeds('dpkg', '--install', '/tmp/nat64d.deb');
  assert.equal(isEnabled(), 'enabled', 'an upgrade leaves it enabled');
});

test('the gateway serves in it', () => {
  writeFileSync(inside('tmp/quick.toml'), '[dns64]\nforwarders = ["192.0.2.1"]\n');
  const output = succeeds('timeout', '--preserve-status', '20', 'nat64d', '--config', '/tmp/quick.toml');
  assert.match(output, /"event":"ready"/);
  assert.match(output, /"event":"stopped"/);
});

/** As on a machine that systemd runs and where the gateway runs: what it is told is written down. */
function bootSystemd(): () => string {
  mkdirSync(inside('run/systemd/system'), { recursive: true });
  for (const name of ['bin/systemctl', 'usr/bin/deb-systemd-invoke']) {
    writeFileSync(inside(name), `#!/bin/sh\necho ${name.split('/').pop()} "$@" >>/tmp/told\n`);
    chmodSync(inside(name), 0o755);
  }
  return () => {
    const told = existsSync(inside('tmp/told')) ? readFileSync(inside('tmp/told'), 'utf8') : '';
    writeFileSync(inside('tmp/told'), '');
    return told;
  };
}

test('an upgrade restarts the gateway only with a configuration that the new version takes', () => {
  const told = bootSystemd();
  const edit = (from: string, to: string) => {
    writeFileSync(inside(CONFIG), readFileSync(inside(CONFIG), 'utf8').replace(from, to));
  };
  edit('# workers = 0', 'workers = "half-edi');
  packVersion('9.0-1');
  const broken = succeeds('dpkg', '--install', '/tmp/newer.deb');
  assert.match(broken, /what runs is still version 0\.1\.0-1/);
  assert.match(broken, /nat64d\.toml:\d+:\d+: /);
  assert.doesNotMatch(told(), /restart|stop|start/);

  edit('"half-edi', '1');
  packVersion('9.1-1');
  succeeds('dpkg', '--install', '/tmp/newer.deb');
  assert.match(told(), /deb-systemd-invoke try-restart nat64d\.service/);
  assert.match(
    readFileSync(inside(CONFIG), 'utf8'),
    /^workers = 1$/m,
    'the configuration stays as it was edited',
  );
});

test('removed it stops, and leaves the configuration; purged it leaves nothing', () => {
  const told = bootSystemd();
  told();
  mkdirSync(inside('var/lib/nat64d'), { recursive: true });
  writeFileSync(inside('var/lib/nat64d/dynamic.map'), '');
  succeeds('dpkg', '--remove', 'nat64d');
  assert.match(told(), /deb-systemd-invoke stop nat64d\.service/);
  assert.ok(existsSync(inside(CONFIG)));
  assert.ok(existsSync(inside('var/lib/nat64d/dynamic.map')));
  succeeds('dpkg', '--purge', 'nat64d');
  assert.equal(lstatSync(inside(WANTED), { throwIfNoEntry: false }), undefined);
  const words = ['-path', './tmp', '-prune', '-o', '-name', '*nat64d*', '-print'];
  assert.equal(execFileSync('find', words, { cwd: debian.folder, encoding: 'utf8' }), '');
});

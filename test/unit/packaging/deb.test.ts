/** The Debian package, as far as it can be tried without installing it; test/packaging does that, in a clean Debian 12. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { buildDeb, ROOT, scratchFolder } from '../../helpers/packages.js';

const { folder, remove } = scratchFolder('deb');
after(remove);
const tree = join(folder, 'tree');
let deb: string;
before(() => {
  deb = buildDeb(folder);
  execFileSync('dpkg-deb', ['--raw-extract', deb, tree]);
});

const field = (name: string) => execFileSync('dpkg-deb', ['--field', deb, name], { encoding: 'utf8' }).trim();
const read = (path: string) => readFileSync(join(tree, path), 'utf8');

test('control: name, version, what it depends on, and what to do on Debian 12', () => {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  assert.equal(field('Package'), 'nat64d');
  assert.equal(field('Version'), `${version}-1`);
  assert.equal(field('Depends'), 'nodejs (>= 20.19), iproute2, libc6 (>= 2.28)');
  assert.match(
    field('Description'),
    /on Debian 12, whose own is\n version 18, add a package source of Node.js 20/,
  );
  assert.equal(read('DEBIAN/conffiles'), '/etc/nat64d/nat64d.toml\n');
});

test('the unit checks the configuration before each start', () => {
  const unit = read('lib/systemd/system/nat64d.service');
  assert.match(unit, /^ExecStartPre=\/usr\/bin\/nat64d --check --config \/etc\/nat64d\/nat64d.toml$/m);
  for (const [, path] of unit.matchAll(/^Exec[A-Za-z]+=(\/\S*nat64d)/gm)) {
    assert.ok(existsSync(join(tree, path as string)), `${path} is not in the package`);
  }
});

test('all of it belongs to root; nobody else may write; programs may be run', () => {
  const lines = execFileSync('dpkg-deb', ['--contents', deb], { encoding: 'utf8' }).trim().split('\n');
  const odd = lines.filter((line) => !/^(l|[d-]rw[x-]r-[x-]r-[x-]) *\S* root\/root /.test(line));
  assert.deepEqual(odd, []);
  for (const name of ['nat64ctl', 'nat64d', 'tayga', 'totd']) {
    const file = join(tree, 'usr/lib/nat64d/dist/bin', `${name}.js`);
    assert.equal(statSync(file).mode & 0o777, 0o755, name);
    assert.match(readFileSync(file, 'utf8'), /^#!\/usr\/bin\/node\n/);
  }
  const inPath = readdirSync(join(tree, 'usr/bin'));
  assert.deepEqual(inPath, ['nat64ctl', 'nat64d'], "TAYGA's and totd's own packages have these names");
});

test('no OpenRC, no sources, no tests, no types, no addon but ours', () => {
  const paths = readdirSync(tree, { recursive: true, encoding: 'utf8' });
  const unwanted = paths.filter((path) =>
    /openrc(?!\.md$)|\.(c|fingerprint|h|ts|map|md5|tsbuildinfo)$|(^|\/)tests?(\/|$)|-extract|@napi-rs/.test(
      path,
    ),
  );
  assert.deepEqual(unwanted, []);
  const addons = paths.filter((path) => path.endsWith('.node'));
  assert.equal(addons.length, 1);
  for (const page of readdirSync(join(ROOT, 'dist/man'))) {
    const file = join(tree, 'usr/share/man', `man${page.at(-1)}`, `${page}.gz`);
    assert.equal(
      gunzipSync(readFileSync(file)).toString(),
      readFileSync(join(ROOT, 'dist/man', page), 'utf8'),
    );
  }
});

test('maintainer scripts are shell scripts, and know every way that they are called', () => {
  for (const name of ['postinst', 'postrm', 'prerm']) {
    const { status, stderr } = spawnSync('sh', ['-n', join(tree, 'DEBIAN', name)], { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
  }
});

test('the copyright file has the licence of everything in it', () => {
  const text = read('usr/share/doc/nat64d/copyright');
  const modules = readdirSync(join(tree, 'usr/lib/nat64d/node_modules')).filter(
    (name) => !name.startsWith('@'),
  );
  for (const name of modules)
    assert.ok(text.includes(`Files: usr/lib/nat64d/node_modules/${name}/*\n`), name);
  for (const built of ['bin/*', 'sealed-worker.cjs', 'control/page.html'])
    assert.ok(text.includes(`Files: usr/lib/nat64d/dist/${built}\n`), built);
  for (const paragraph of text.split('\n\n').slice(1)) {
    assert.match(
      paragraph,
      /^Files: \S+\nCopyright: (?!its authors)\S.*\n(?: .*\n)*License: \S+\n \S/,
      paragraph,
    );
  }
});

test('the gateway runs from the package', async () => {
  const file = join(folder, 'nat64d.toml');
  const folders = `data-dir = "${folder}/data"\nrun-dir = "${folder}/run"\n`;
  writeFileSync(file, `${folders}[device]\nmasquerade = false\n[dns64]\nforwarders = ["192.0.2.1"]\n`);
  const program = join(tree, 'usr/bin/nat64d');
  const gateway = spawn('unshare', ['--net', process.execPath, program, '--config', file]);
  let output = '';
  let isReady = false;
  gateway.stderr.on('data', (data) => {
    output += data;
  });
  for await (const data of gateway.stdout) {
    output += data;
    if (isReady || !output.includes('"event":"ready"')) continue;
    isReady = true;
    gateway.kill('SIGTERM');
  }
  assert.match(output, /"event":"ready"/);
  assert.match(output, /"event":"stopped"/);
  assert.equal(gateway.exitCode ?? (await new Promise((resolve) => gateway.once('exit', resolve))), 0);
});

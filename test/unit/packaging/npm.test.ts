/** The npm package, as far as it can be tried without installing it; test/packaging does that. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { packNpm, pathOf, ROOT, scratchFolder } from '../../helpers/packages.js';

const { folder, remove } = scratchFolder('npm');
after(remove);
const unpacked = join(folder, 'package');
let files: string[];
before(() => {
  const tarball = packNpm(folder);
  files = execFileSync('tar', ['xvzf', tarball, '-C', folder], { encoding: 'utf8', maxBuffer: 2 ** 24 })
    .split('\n')
    .map((path) => path.replace(/^package\//, ''));
});

test('it has what a gateway runs with, and nothing of its making', () => {
  const own = files.filter((path) => !path.startsWith('node_modules/'));
  const folders = new Set(own.filter((path) => path.includes('/')).map((path) => path.split('/')[0]));
  assert.deepEqual([...folders].sort(), ['config', 'dist', 'docs', 'native']);
  for (const path of ['dist/control/page.html', 'dist/sealed-worker.cjs', 'config/nat64d.toml', 'LICENSE']) {
    assert.ok(own.includes(path), `${path} is missing`);
  }
  const unwanted = own.filter((path) =>
    /\.map$|\.(fingerprint|tsbuildinfo)$|\.test\.|^native\/(build|bench)\//.test(path),
  );
  assert.deepEqual(unwanted, []);
});

test('every command and manual page that package.json names is there', () => {
  const { bin, man } = JSON.parse(readFileSync(join(unpacked, 'package.json'), 'utf8'));
  for (const path of [...Object.values<string>(bin), ...man])
    assert.ok(existsSync(join(unpacked, path)), path);
});

test('its production packages come along, without msgpackr-extract', () => {
  const { dependencies } = JSON.parse(readFileSync(join(unpacked, 'package.json'), 'utf8'));
  for (const name of Object.keys(dependencies))
    assert.ok(files.includes(`node_modules/${name}/package.json`));
  assert.deepEqual(
    files.filter((path) => path.includes('extract')),
    ['node_modules/msgpackr-extract/package.json'],
  );
});

test('the prebuilt addon is loaded where there is no compiler; its install script has nothing to do', () => {
  const env = { PATH: pathOf(folder, ['node']) };
  const run = (...words: string[]) => spawnSync('node', words, { cwd: unpacked, env, encoding: 'utf8' });
  const install = run('native/install.js');
  assert.equal(install.status, 0, install.stderr);
  assert.equal(install.stdout + install.stderr, '');
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  assert.equal(run('dist/bin/nat64d.js', '--version').stdout, `nat64d ${version}\n`);
  const check = run('dist/bin/nat64d.js', '--check', '--config', 'config/nat64d.toml');
  assert.equal(check.stdout, 'config/nat64d.toml: fine\n', check.stderr);
  assert.match(run('dist/bin/nat64ctl.js', '--help').stdout, /Usage: nat64ctl/);
});

test('without a prebuilt addon and without a compiler the install script says what to install', () => {
  rmSync(join(unpacked, 'native/prebuilds'), { recursive: true });
  const env = { PATH: pathOf(folder, ['node']) };
  const { status, stderr } = spawnSync('node', ['native/install.js'], {
    cwd: unpacked,
    env,
    encoding: 'utf8',
  });
  assert.equal(status, 1);
  assert.match(stderr, /apt-get install g\+\+ make python3/);
});

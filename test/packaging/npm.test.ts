/** `npm install -g` for real, without any registry: with the prebuilt addon, and with one that is compiled. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { packNpm, pathOf, ROOT, scratchFolder } from '../helpers/packages.js';

const { folder, remove } = scratchFolder('install');
after(remove);
let tarball: string;
before(() => {
  tarball = packNpm(folder);
});

/** Installs a tarball into a prefix of its own. */
function install(file: string, name: string, path: string) {
  const prefix = join(folder, name);
  const words = [
    'install',
    '--global',
    '--offline',
    '--prefix',
    prefix,
    '--cache',
    join(folder, 'cache'),
    file,
  ];
  const env = { PATH: path, HOME: folder };
  const { status, stdout, stderr } = spawnSync('npm', words, { env, encoding: 'utf8' });
  assert.equal(status, 0, `${stdout}${stderr}`);
  return {
    native: join(prefix, 'lib/node_modules/nat64d/native'),
    run: (command: string, ...args: string[]) =>
      execFileSync(join(prefix, 'bin', command), args, { env, encoding: 'utf8' }),
  };
}

function tryOut({ run }: ReturnType<typeof install>): void {
  assert.match(run('nat64d', '--version'), /^nat64d \d+\.\d+\.\d+\n$/);
  assert.match(run('nat64d', '--check', '--config', join(ROOT, 'config/nat64d.toml')), /: fine\n$/);
  assert.match(run('nat64ctl', '--help'), /Usage: nat64ctl/);
  assert.match(run('tayga', '--help'), /usage: tayga/);
  assert.match(run('totd', '-h'), /usage: totd/);
}

test('npm install -g of the package, where there is no compiler', () => {
  const installed = install(tarball, 'prebuilt', pathOf(folder, ['node', 'npm', 'sh', 'env']));
  tryOut(installed);
  assert.ok(!existsSync(join(installed.native, 'build')), 'nothing was compiled');
});

test('npm pack in a fresh clone builds before it packs, no file that is not tested here, and what it packs can be installed', () => {
  const clone = join(folder, 'clone');
  mkdirSync(clone);
  const tracked = execFileSync('git', ['ls-files', '-z'], { cwd: ROOT });
  const tar = execFileSync('tar', ['c', '--null', '--verbatim-files-from', '-T', '-'], {
    cwd: ROOT,
    input: tracked,
    maxBuffer: 2 ** 28,
  });
  execFileSync('tar', ['x', '-C', clone], { input: tar });
  // What npm ci would put there.
  cpSync(join(ROOT, 'node_modules'), join(clone, 'node_modules'), {
    recursive: true,
    verbatimSymlinks: true,
  });
  execFileSync('npm', ['pack', '--offline'], { cwd: clone, stdio: ['ignore', 'ignore', 'pipe'] });
  const [packed = ''] = readdirSync(clone).filter((name) => name.endsWith('.tgz'));
  const filesOf = (file: string) =>
    execFileSync('tar', ['tzf', file], { encoding: 'utf8', maxBuffer: 2 ** 24 }).split('\n');
  // A build here may have left files of sources that are gone; a clean one has none.
  const here = new Set(filesOf(tarball));
  assert.deepEqual(
    filesOf(join(clone, packed)).filter((file) => !here.has(file)),
    [],
  );
  const path = pathOf(folder, ['node', 'npm', 'sh', 'env']);
  const installed = install(join(clone, packed), 'packed', path);
  tryOut(installed);
});

test('npm install -g compiles the addon where no prebuilt one fits', () => {
  execFileSync('tar', ['xzf', tarball, '-C', folder]);
  execFileSync('rm', ['-r', join(folder, 'package/native/prebuilds')]);
  const bare = join(folder, 'bare.tgz');
  execFileSync('tar', ['czf', bare, '-C', folder, 'package']);
  const installed = install(bare, 'compiled', process.env.PATH ?? '');
  tryOut(installed);
  assert.ok(existsSync(join(installed.native, 'build/Release/nat64d_native.node')));
  assert.ok(!existsSync(join(installed.native, 'build/Release/loadgen')), 'the benchmarks stay out of it');
});

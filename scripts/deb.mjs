// Makes the Debian package of what is built: `node scripts/deb.mjs [--out FOLDER] [--test]`. Prints its path. It takes dpkg-deb, and
// nothing else of Debian's tools. --test then runs the long tests of packages: test/packaging.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { changelog, control, copyright, debianArchitecture, debianVersion } from './deb/metadata.mjs';
import { productionModules } from './deb/modules.mjs';
import { fillTree, md5sums } from './deb/tree.mjs';

const root = resolve(import.meta.dirname, '..');

function fail(message) {
  console.error(`nat64d: ${message}`);
  process.exit(1);
}

/** The same sources give the same package: its times are those of the last commit, or of SOURCE_DATE_EPOCH. */
function sourceDate() {
  if (process.env.SOURCE_DATE_EPOCH !== undefined) return Number(process.env.SOURCE_DATE_EPOCH);
  const { stdout } = spawnSync('git', ['log', '-1', '--format=%ct'], { cwd: root, encoding: 'utf8' });
  return Number(stdout) || Math.floor(Date.now() / 1000);
}

function build(folder) {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const name = `nat64d_${debianVersion(version)}_${debianArchitecture()}.deb`;
  const modules = productionModules(root);
  const date = sourceDate();
  const stage = mkdtempSync(join(tmpdir(), 'nat64d-deb-'));
  try {
    const tree = join(stage, 'tree');
    fillTree(root, tree, {
      modules,
      changelog: changelog(version, date),
      copyright: copyright(root, modules),
    });
    control(root, tree, version);
    md5sums(tree);
    mkdirSync(folder, { recursive: true });
    const deb = join(folder, name);
    const { status, stderr, error } = spawnSync('dpkg-deb', ['--root-owner-group', '--build', tree, deb], {
      encoding: 'utf8',
      env: { ...process.env, SOURCE_DATE_EPOCH: String(date) },
    });
    if (status !== 0) fail(`dpkg-deb failed: ${error?.message ?? stderr}`);
    return deb;
  } finally {
    rmSync(stage, { recursive: true, force: true });
  }
}

const { values } = parseArgs({
  options: { out: { type: 'string', default: root }, test: { type: 'boolean', default: false } },
});
process.umask(0o022);
try {
  console.log(build(resolve(values.out)));
} catch (error) {
  fail(error.message);
}
if (values.test) {
  const env = { NAT64D_TEST_TIMEOUT_MS: '1200000', ...process.env };
  const words = ['scripts/test.mjs', 'packaging'];
  process.exitCode = spawnSync(process.execPath, words, { cwd: root, env, stdio: 'inherit' }).status ?? 1;
}

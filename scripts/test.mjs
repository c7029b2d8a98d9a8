// Lint, then every test: `node scripts/test.mjs [folder or file of test/ ...]`, e.g. `npm test -- unit/wire netns`.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const compiled = join(root, 'dist-test', 'test');

function testFiles(path) {
  if (!existsSync(path)) return existsSync(`${path}.test.js`) ? [`${path}.test.js`] : [];
  if (statSync(path).isFile()) return [path];
  return readdirSync(path)
    .sort()
    .flatMap((name) => {
      const inner = join(path, name);
      if (statSync(inner).isDirectory()) return testFiles(inner);
      // A compiled test whose source is gone is not a test any more.
      const source = join(root, 'test', inner.slice(compiled.length).replace(/\.js$/, '.ts'));
      return name.endsWith('.test.js') && existsSync(source) ? [inner] : [];
    });
}

// Gateways by the dozen are started, and none of them is measured: their workers need not compile anything in advance.
const env = { ...process.env, NAT64D_TEST_NO_REHEARSAL: '1' };

function run(command, args) {
  const result = spawnSync(command, args, { cwd: root, env, stdio: ['ignore', 'inherit', 'inherit'] });
  return result.status ?? 1;
}

const wanted = process.argv.slice(2);
if (
  wanted.length === 0 &&
  run(join(root, 'node_modules', '.bin', 'biome'), ['ci', '--error-on-warnings', '.']) !== 0
) {
  process.exit(1);
}

const folders = wanted.length > 0 ? wanted : ['unit', 'conformance', 'property', 'fuzz', 'netns'];
const found = folders.flatMap((folder) => testFiles(join(compiled, folder.replace(/\.ts$/, '.js'))));
const files = [...new Set(found)];
if (files.length === 0) {
  console.error(`no test matches ${folders.join(' ')}`);
  process.exit(2);
}
// What takes longest begins first, so that nothing is left to wait for at the end; then namespace tests, which wait much of their time, for
// packets that must not come and for kernels, while the others want all that a processor gives.
const LONG = [
  'netns/docs',
  'unit/control/http/page',
  'netns/dns64-peers',
  'netns/tayga',
  'property/',
  'fuzz/',
  'conformance/rfc1624',
  'netns/',
];
const rank = (file) => {
  const at = LONG.findIndex((start) => file.startsWith(join(compiled, start)));
  return at < 0 ? LONG.length : at;
};
files.sort((a, b) => rank(a) - rank(b));
// A test may leave sockets open behind it: the timeout ends its process then, and is a failure. Not --test-force-exit, with which a process
// ends before the last of its results are out of the pipe: they are missing without a word (nodejs/node#64833).
const flags = ['--enable-source-maps', '--import', join(compiled, 'helpers', 'setup.js')];
process.exit(
  run(process.execPath, [...flags, join(root, 'scripts', 'run-tests.mjs'), ...files]) === 0 ? 0 : 1,
);

// Builds the native addon (where its sources changed), then the TypeScript: `node scripts/build.mjs [--no-tests]`.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const native = join(root, 'native');
const bin = (name) => join(root, 'node_modules', '.bin', name);

function run(command, args, cwd) {
  const result = spawnSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  if (result.status === 0) return;
  process.stderr.write(`${result.stdout ?? ''}${result.stderr ?? ''}${result.error?.message ?? ''}\n`);
  console.error(`nat64d: '${command} ${args.join(' ')}' failed`);
  process.exit(1);
}

/** What the compiled addon depends on: its sources and the ABI it is compiled for. */
function nativeFingerprint() {
  const hash = createHash('sha256').update(`${process.version} ${process.arch}`);
  const files = [
    ...readdirSync(native),
    ...readdirSync(join(native, 'src')).map((name) => join('src', name)),
  ];
  for (const name of files.sort()) {
    if (/\.(c|h|gyp)$/.test(name)) hash.update(name).update(readFileSync(join(native, name)));
  }
  return hash.digest('hex');
}

function buildNative() {
  const stamp = join(native, 'build', 'fingerprint');
  const fingerprint = nativeFingerprint();
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === fingerprint) return;
  console.error('nat64d: compiling the native addon');
  // The headers that came with this Node spare a download, and a machine without internet can build.
  const prefix = join(dirname(process.execPath), '..');
  const headers = existsSync(join(prefix, 'include', 'node', 'node_api.h')) ? [`--nodedir=${prefix}`] : [];
  run(bin('node-gyp'), ['rebuild', '--silent', ...headers], native);
  writeFileSync(stamp, fingerprint);
}

buildNative();
run(bin('tsc'), ['-p', 'tsconfig.json'], root);
if (!process.argv.includes('--no-tests')) run(bin('tsc'), ['-p', 'tsconfig.test.json'], root);

// Builds the native addon, then the TypeScript, each where what it is made of has changed: `node scripts/build.mjs [--clean]
// [--no-tests]`. --clean always builds, for what is packed: no file of a source that is gone.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fingerprint, forget, INPUTS, isFresh, prune, stamp, TEST_INPUTS } from './fingerprint.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const native = join(root, 'native');
/** What a package brings along, named as node-gyp-build looks for it: Node-API, libuv 1 (uv_poll), glibc. */
const prebuilt = join(native, 'prebuilds', `linux-${process.arch}`, 'node.napi.uv1.glibc.node');
const PROGRAMS = ['nat64ctl', 'nat64d', 'tayga', 'totd'];
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
    ...['src', 'bench'].flatMap((folder) =>
      readdirSync(join(native, folder)).map((name) => join(folder, name)),
    ),
  ];
  for (const name of files.sort()) {
    if (/\.(c|h|gyp)$/.test(name)) hash.update(name).update(readFileSync(join(native, name)));
  }
  return hash.digest('hex');
}

function buildNative() {
  const stamp = join(native, 'build', 'fingerprint');
  const fingerprint = nativeFingerprint();
  const isBuilt = existsSync(stamp) && readFileSync(stamp, 'utf8') === fingerprint;
  if (isBuilt && existsSync(prebuilt)) return;
  console.error('nat64d: compiling the native addon');
  // The headers that came with this Node spare a download, and a machine without internet can build.
  const prefix = join(dirname(process.execPath), '..');
  const headers = existsSync(join(prefix, 'include', 'node', 'node_api.h')) ? [`--nodedir=${prefix}`] : [];
  run(bin('node-gyp'), ['rebuild', '--silent', ...headers], native);
  writeFileSync(stamp, fingerprint);
  mkdirSync(dirname(prebuilt), { recursive: true });
  const built = join(native, 'build', 'Release', 'nat64d_native.node');
  run('strip', ['--strip-unneeded', '-o', prebuilt, built], native);
}

/** All that a worker thread runs, as one text: a gateway in a chroot has no files to start one from. */
function bundleSealedWorker(esbuild) {
  // Inside, `require` gives the task for any name that piscina asks for, and the addon by the path it was loaded from.
  const before = `
const nodeRequire = require;
globalThis.require = (name) => {
  if (name === '#native') {
    const addon = { exports: {} };
    process.dlopen(addon, "__NAT64D_ADDON__");
    return addon.exports;
  }
  return name.endsWith('/bin/worker.js') ? { __esModule: true, default: globalThis.nat64dTask } : nodeRequire(name);
};`;
  const stdin = {
    contents: `import { task } from './dist/dataplane/sealed.js'; globalThis.nat64dTask = task; require('./node_modules/piscina/dist/worker.js');`,
    resolveDir: root,
  };
  const options = { bundle: true, platform: 'node', format: 'cjs', external: ['#native', '@napi-rs/nice'] };
  const outfile = join(root, 'dist', 'sealed-worker.cjs');
  return esbuild.build({ ...options, stdin, outfile, banner: { js: before }, logLevel: 'warning' });
}

/** The programs, and what a worker thread reads at its start: reading one file for each takes half as long as all that they import. */
async function bundlePrograms(esbuild) {
  const options = {
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    sourcemap: true,
    logLevel: 'warning',
    // Piscina looks for a file of its own beside it.
    external: ['#native', 'node-gyp-build', 'piscina'],
    // For what was written for CommonJS.
    banner: {
      js: `import { createRequire as nat64dRequire } from 'node:module'; const require = nat64dRequire(import.meta.url);`,
    },
  };
  const outdir = join(root, 'dist', 'bin');
  await Promise.all([
    esbuild.build({
      ...options,
      entryPoints: PROGRAMS.map((name) => join(root, 'dist', 'cli', `${name}.js`)),
      outdir,
      splitting: true,
      chunkNames: 'chunk-[hash]',
    }),
    ...['dataplane/worker.js', 'control/watch-thread.js'].map((path) =>
      esbuild.build({ ...options, entryPoints: [join(root, 'dist', path)], outdir }),
    ),
  ]);
}

/** The status page: one file, script and style in it. */
async function buildPage(esbuild) {
  const page = join(root, 'src', 'page');
  run(bin('tsc'), ['-p', page], root);
  const { outputFiles } = await esbuild.build({
    entryPoints: [join(page, 'main.ts')],
    bundle: true,
    minify: true,
    write: false,
    format: 'iife',
    target: 'es2022',
    logLevel: 'warning',
  });
  const uplot = readFileSync(join(root, 'node_modules', 'uplot', 'dist', 'uPlot.min.css'), 'utf8');
  // As functions: a replacement's text would have `$&` mean something.
  const html = readFileSync(join(page, 'page.html'), 'utf8')
    .replace('/*STYLE*/', () => `${uplot}${readFileSync(join(page, 'page.css'), 'utf8')}`)
    .replace('/*SCRIPT*/', () => outputFiles[0].text.replaceAll('</script', '<\\/script'));
  writeFileSync(join(root, 'dist', 'control', 'page.html'), html);
}

/** What a gateway runs. */
async function buildProgram() {
  const dist = join(root, 'dist');
  const print = fingerprint(root, INPUTS);
  if (isFresh(dist, print)) return;
  console.error('nat64d: building');
  forget(dist);
  prune(dist, [['', join(root, 'src')]]);
  run(bin('tsc'), ['-p', 'tsconfig.json'], root);
  const { default: esbuild } = await import('esbuild-wasm');
  await Promise.all([bundleSealedWorker(esbuild), buildPage(esbuild)]);
  await bundlePrograms(esbuild);
  // Init scripts ask whether their program may be run.
  for (const name of PROGRAMS) chmodSync(join(dist, 'bin', `${name}.js`), 0o755);
  run(process.execPath, ['dist/cli/manual/write.js', 'man', join('dist', 'man')], root);
  stamp(dist, print);
}

/**
 * For `npx` in this folder, which has these links on its path. Those in its cache are made once and for all: where that was before there was
 * a program, or when it was elsewhere, they lead nowhere.
 */
function linkPrograms() {
  for (const name of PROGRAMS) {
    const link = bin(name);
    rmSync(link, { force: true });
    symlinkSync(join('..', '..', 'dist', 'bin', `${name}.js`), link);
  }
}

function buildTests() {
  const distTest = join(root, 'dist-test');
  const print = fingerprint(root, [...INPUTS, ...TEST_INPUTS]);
  if (isFresh(distTest, print)) return;
  console.error('nat64d: building the tests');
  forget(distTest);
  prune(
    distTest,
    ['bench', 'test'].map((folder) => [folder, join(root, folder)]),
  );
  run(bin('tsc'), ['-p', 'tsconfig.test.json'], root);
  stamp(distTest, print);
}

const [isClean, isWithoutTests] = ['--clean', '--no-tests'].map((flag) => process.argv.includes(flag));
for (const folder of isClean ? ['dist', ...(isWithoutTests ? [] : ['dist-test'])] : [])
  rmSync(join(root, folder), { recursive: true, force: true });
buildNative();
await buildProgram();
linkPrograms();
if (!isWithoutTests) buildTests();

/**
 * The native addon compiled with AddressSanitizer and UBSan (Debian's clang, or gcc's), under its own tests and a run of frames; or as it
 * is, under valgrind. Both end at the first thing that they report.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fetchPeerWithDependencies } from '../helpers/peers.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const OUT = join(root, '.cache', 'sanitize');
const TESTS = join(root, 'dist-test', 'test', 'unit', 'native');
const MAIN = join(root, 'dist-test', 'test', 'fuzz', 'main.js');
const FRAMES = '20000';

/** A test that does not end by then never does: the longest takes a minute. */
const PART_MS = 300_000;

interface Addon {
  readonly sources: readonly string[];
  readonly defines: readonly string[];
}

/** What the addon is compiled from, as binding.gyp has it: JSON with comments. */
export function addonOf(gyp: string): Addon {
  const { targets } = JSON.parse(gyp.replace(/^\s*#.*$/gm, '')) as { targets: readonly [Addon] };
  return targets[0];
}

export const COMPILERS = ['clang', 'gcc'] as const;
export type Compiler = (typeof COMPILERS)[number];

interface Toolchain {
  readonly program: string;
  readonly env: NodeJS.ProcessEnv;
  readonly flags: readonly string[];
  /** The runtime that node must have loaded before the addon. */
  readonly runtime: string;
}

function toolchain(compiler: Compiler): Toolchain {
  const ask = (program: string, file: string, env = process.env) =>
    execFileSync(program, [`-print-file-name=${file}`], { encoding: 'utf8', env }).trim();
  if (compiler === 'gcc')
    return { program: 'gcc', env: process.env, flags: [], runtime: ask('gcc', 'libasan.so') };
  const peer = fetchPeerWithDependencies('clang', ['clang-14', 'libclang-rt-14-dev']);
  const program = join(peer.root, 'usr', 'bin', 'clang-14');
  const env = { ...process.env, ...peer.env };
  const runtime = ask(program, 'libclang_rt.asan-x86_64.so', env);
  return { program, env, flags: ['-shared-libasan'], runtime };
}

/** Returns what `node` needs in its environment. */
function build(compiler: Compiler): NodeJS.ProcessEnv {
  const { program, env, flags: own, runtime } = toolchain(compiler);
  const { sources, defines } = addonOf(readFileSync(join(root, 'native', 'binding.gyp'), 'utf8'));
  const include = join(dirname(process.execPath), '..', 'include', 'node');
  const release = join(OUT, 'build', 'Release');
  mkdirSync(release, { recursive: true });
  const flags = [
    '-std=c17',
    '-g',
    '-O1',
    '-shared',
    '-fPIC',
    '-fno-omit-frame-pointer',
    '-fsanitize=address,undefined',
    '-fno-sanitize-recover=all',
  ];
  execFileSync(
    program,
    [
      ...flags,
      ...own,
      ...defines.map((name) => `-D${name}`),
      '-I',
      include,
      ...sources,
      '-o',
      join(release, 'nat64d_native.node'),
    ],
    { cwd: join(root, 'native'), env, stdio: 'inherit' },
  );
  return {
    ...process.env,
    // Where node-gyp-build looks first for the package of this name.
    '@NAT64D/NATIVE_PREBUILD': OUT,
    LD_PRELOAD: runtime,
    // Node keeps much until its end, and frees none of it.
    ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1',
    UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
  };
}

interface Part {
  readonly what: string;
  readonly command: string;
  readonly args: readonly string[];
}

/** Returns whether nothing was reported. */
function run({ what, command, args }: Part, env: NodeJS.ProcessEnv): boolean {
  const startMs = performance.now();
  const { status, signal, stdout, stderr } = spawnSync(command, args, {
    env,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    timeout: PART_MS,
    killSignal: 'SIGKILL',
  });
  const text = `${stdout}${stderr}`;
  const reports = text.match(/^.*(?:AddressSanitizer|runtime error:).*$|^==\d+== .*$|^not ok .*$/gm) ?? [];
  const isFine = status === 0 && reports.length === 0;
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  console.log(`${what}: ${isFine ? 'nothing reported' : `FAILED, ${status ?? signal}`}, ${seconds} s`);
  if (!isFine) console.error(`${reports.join('\n')}\n${text.slice(-20_000)}`);
  return isFine;
}

/** All of them, whatever becomes of one; then the sum. */
function runAll(parts: readonly Part[], env: NodeJS.ProcessEnv): boolean {
  const failed = parts.filter((part) => !run(part, env)).map(({ what }) => what);
  const all = `${parts.length} parts`;
  console.log(
    failed.length === 0
      ? `${all}: nothing reported`
      : `${failed.length} of ${all} failed: ${failed.join(', ')}`,
  );
  return failed.length === 0;
}

/** Fails where another addon than the one just built is loaded: it would report nothing, whatever it does. */
const IS_LOADED = `
  require(${JSON.stringify(join(root, 'native'))});
  const maps = require('node:fs').readFileSync('/proc/self/maps', 'utf8');
  process.exit(maps.includes(${JSON.stringify(OUT)}) ? 0 : 1);`;

/** Returns whether nothing was reported. */
export function sanitize(compiler: Compiler): boolean {
  const env = build(compiler);
  const node = (what: string, ...args: string[]): Part => ({ what, command: process.execPath, args });
  const tests = readdirSync(TESTS).filter((name) => name.endsWith('.test.js'));
  const setup = ['--import', join(root, 'dist-test', 'test', 'helpers', 'setup.js')];
  return runAll(
    [
      node('the addon built for this is the one that is loaded', '-e', IS_LOADED),
      ...tests.map((name) => node(name, ...setup, join(TESTS, name))),
      node(`${FRAMES} frames`, MAIN, 'native-frames', '--count', FRAMES),
    ],
    env,
  );
}

/** V8's own code is left to itself: what is looked for is what goes through the addon. */
const VALGRIND = [
  '--error-exitcode=99',
  '--undef-value-errors=no',
  '--leak-check=no',
  '--smc-check=all-non-file',
  '--child-silent-after-fork=yes',
  '-q',
];

/** @param program valgrind */
export function underValgrind(program = 'valgrind'): boolean {
  const file = join(TESTS, 'misuse.test.js');
  if (!existsSync(file)) throw new Error(`${file} is not there: build first`);
  // The test makes its own namespace, unless it is told that it is in one.
  const env = { ...process.env, NAT64D_NATIVE_LAB: readlinkSync('/proc/self/ns/net') };
  const args = ['--net', '--mount', program, ...VALGRIND, process.execPath, '--jitless', file];
  return run({ what: 'misuse.test.js under valgrind', command: 'unshare', args }, env);
}

/**
 * The native addon compiled with AddressSanitizer and UBSan (gcc's), under its own tests and a run of frames; or as it is, under
 * valgrind. Both end at the first thing that they report.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const OUT = join(root, '.cache', 'sanitize');
const TESTS = join(root, 'dist-test', 'test', 'unit', 'native');
const MAIN = join(root, 'dist-test', 'test', 'fuzz', 'main.js');
const FRAMES = '20000';

interface Gyp {
  readonly targets: readonly { readonly sources: readonly string[]; readonly defines: readonly string[] }[];
}

/** Returns what `node` needs in its environment. */
function build(): NodeJS.ProcessEnv {
  const gyp = JSON.parse(readFileSync(join(root, 'native', 'binding.gyp'), 'utf8')) as Gyp;
  const { sources = [], defines = [] } = gyp.targets[0] ?? {};
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
    'gcc',
    [
      ...flags,
      ...defines.map((name) => `-D${name}`),
      '-I',
      include,
      ...sources,
      '-o',
      join(release, 'nat64d_native.node'),
    ],
    { cwd: join(root, 'native'), stdio: 'inherit' },
  );
  const library = execFileSync('gcc', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim();
  return {
    ...process.env,
    // Where node-gyp-build looks first for the package of this name.
    '@NAT64D/NATIVE_PREBUILD': OUT,
    LD_PRELOAD: library,
    // Node keeps much until its end, and frees none of it.
    ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1',
    UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
  };
}

function run(what: string, command: string, args: readonly string[], env: NodeJS.ProcessEnv): boolean {
  const { status, signal, stdout, stderr } = spawnSync(command, args, {
    env,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  const text = `${stdout}${stderr}`;
  const reports = text.match(/^.*(?:AddressSanitizer|runtime error:).*$|^==\d+== .*$|^not ok .*$/gm) ?? [];
  const isFine = status === 0 && reports.length === 0;
  console.log(`${what}: ${isFine ? 'nothing reported' : `status ${status ?? signal}`}`);
  if (!isFine) console.error(`${reports.join('\n')}\n${text.slice(-20_000)}`);
  return isFine;
}

/** Returns whether nothing was reported. */
export function sanitize(): boolean {
  const env = build();
  const tests = readdirSync(TESTS).filter((name) => name.endsWith('.test.js'));
  const setup = ['--import', join(root, 'dist-test', 'test', 'helpers', 'setup.js')];
  return [
    ...tests.map((name) => run(name, process.execPath, [...setup, join(TESTS, name)], env)),
    run(`${FRAMES} frames`, process.execPath, [MAIN, 'native-frames', '--count', FRAMES], env),
  ].every(Boolean);
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
  return run('misuse.test.js under valgrind', 'unshare', args, env);
}

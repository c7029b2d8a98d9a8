/** `destination` under [log]: files, moved away and opened anew, full and missing; and the other places. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

const folder = mkdtempSync(join(tmpdir(), 'nat64d-log-file-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** A program with `log`, opened as `config` says, in a Node of its own. */
function program(config: object, text: string): string[] {
  const module = JSON.stringify(import.meta.resolve('#nat64d/control/log.js'));
  const given = JSON.stringify({ level: 'info', format: 'auto', packets: [], maps: true, ...config });
  const script = `const { createLog } = await import(${module}); const log = createLog(${given}); ${text}`;
  return ['--input-type=module', '-e', script];
}

const run = (config: object, text: string) =>
  spawnSync(process.execPath, program(config, text), { encoding: 'utf8' });

test('a file that is moved away again and again under writing: every line is in one of them, in order', async () => {
  const path = join(folder, 'moved.log');
  const child = spawn(
    process.execPath,
    program(
      { destination: `file:${path}` },
      `process.on('SIGUSR1', () => log.reopen());
       let n = 0;
       const write = () => { for (let i = 0; i < 20; i++) log.info({ n: n++ }, 'line'); };
       const timer = setInterval(write, 1);
       process.on('SIGTERM', () => { clearInterval(timer); console.log(n); });`,
    ),
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let count = '';
  child.stdout.on('data', (data) => {
    count += data;
  });
  const moved: string[] = [];
  while (moved.length < 20) {
    await sleep(20);
    // The last signal has been answered, and something written since.
    if (!existsSync(path) || statSync(path).size === 0) continue;
    moved.push(`${path}.${moved.length}`);
    renameSync(path, moved.at(-1) as string);
    child.kill('SIGUSR1');
  }
  child.kill('SIGTERM');
  await new Promise((resolve) => child.once('close', resolve));
  const text = [...moved, path].map((file) => (existsSync(file) ? readFileSync(file, 'utf8') : '')).join('');
  const numbers = text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line).n);
  assert.equal(numbers.length, Number(count));
  assert.ok(numbers.every((number, index) => number === index));
  assert.equal(statSync(moved[0] as string).mode & 0o777, 0o640);
});

test('a file that cannot be opened anew: it says so, and goes on in the one that it has', () => {
  const inner = join(folder, 'inner');
  mkdirSync(inner);
  const { stdout, stderr } = run(
    { destination: `file:${inner}/a.log` },
    `const { renameSync } = await import('node:fs');
     log.info({}, 'one');
     renameSync('${inner}', '${inner}.away');
     try { log.reopen(); } catch (error) { console.log(error.message); }
     log.info({}, 'two');`,
  );
  assert.equal(stderr, '');
  assert.match(stdout, /cannot be opened \(ENOENT.*make its folder, or set another log\.destination/);
  const text = readFileSync(`${inner}.away/a.log`, 'utf8');
  assert.deepEqual(
    text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).msg),
    ['one', 'two'],
  );
});

test('a full disk is told once on standard error; later the file says how many lines it has not', () => {
  const path = join(folder, 'full.log');
  symlinkSync('/dev/full', path);
  const { status, stderr } = run(
    { destination: `file:${path}` },
    `const { rmSync } = await import('node:fs');
     for (let i = 0; i < 5; i++) log.info({}, 'lost');
     rmSync('${path}');
     log.reopen();
     log.info({}, 'kept');`,
  );
  assert.equal(status, 0);
  assert.match(
    stderr,
    /^nat64d: \S+full\.log cannot be written to \(ENOSPC.*\): lines are left out until it can\n$/,
  );
  const lines = readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.deepEqual(
    lines.map(({ msg, left }) => [msg, left]),
    [
      ['kept', undefined],
      ['5 lines before this one could not be written', 5],
    ],
  );
});

test('a folder that is not there is an error that says what to do', () => {
  const { status, stderr } = run({ destination: `file:${folder}/none/a.log` }, '');
  assert.equal(status, 1);
  assert.match(stderr, /make its folder, or set another log\.destination/);
});

test('stderr, journal, and a pretty file', () => {
  const text = "log.warn({ event: 'x' }, 'a line')";
  const stderr = run({ destination: 'stderr' }, text);
  assert.equal(stderr.stdout, '');
  assert.equal(JSON.parse(stderr.stderr).msg, 'a line');
  assert.equal(run({ destination: 'journal' }, text).stdout, '<4>a line\n');
  const path = join(folder, 'pretty.log');
  run({ destination: `file:${path}`, format: 'pretty' }, text);
  assert.match(readFileSync(path, 'utf8'), /^\[\d\d:\d\d:\d\d\] WARN: a line\n$/);
});

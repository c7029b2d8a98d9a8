/** Which threads are V8's: in a process of its own, for a niceness that has been raised stays. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { getPriority } from 'node:os';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const MODULE = fileURLToPath(import.meta.resolve('#nat64d/control/helper-threads.js'));

/** That of this process, which others inherit. */
const NICE = getPriority();

/** Threads of libuv's pool work, then V8's helpers; which of them got slower is printed with the CPU time of each. */
const SCRIPT = `
import { pbkdf2 } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { goBeforeHelpers } from ${JSON.stringify(MODULE)};

const threads = () => readdirSync('/proc/self/task').map((id) => {
  const stat = readFileSync('/proc/self/task/' + id + '/stat', 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { id: Number(id), nice: Number(fields[16]), ticks: Number(fields[11]) };
});
const spent = (before) => threads().map(({ id, nice, ticks }) =>
  ({ id, nice, ticks: ticks - (before.find((one) => one.id === id)?.ticks ?? 0) }));

await Promise.all([1, 2, 3, 4].map(() => new Promise((done) => pbkdf2('a', 'b', 1, 8, 'sha512', done))));
goBeforeHelpers();
goBeforeHelpers();
let before = threads();
await Promise.all([1, 2, 3, 4].map(() => new Promise((done) => pbkdf2('a', 'b', 100_000, 64, 'sha512', done))));
const pool = spent(before);
before = threads();
const kept = [];
for (let i = 0; i < 3_000_000; i++) kept[i % 300_000] = { i, text: [i] };
console.log(JSON.stringify({ pid: process.pid, pool, collecting: spent(before) }));
`;

interface Spent {
  readonly id: number;
  readonly nice: number;
  readonly ticks: number;
}

function run(options: readonly string[], nice = NICE) {
  const args = [
    '-n',
    String(nice - NICE),
    process.execPath,
    ...options,
    '--input-type=module',
    '--eval',
    SCRIPT,
  ];
  const { stdout, stderr } = spawnSync('nice', args, { encoding: 'utf8' });
  assert.equal(stderr, '');
  return JSON.parse(stdout) as { pid: number; pool: Spent[]; collecting: Spent[] };
}

const ticksOf = (threads: readonly Spent[], isLower: boolean) =>
  threads.filter(({ nice }) => (nice === NICE + 5) === isLower).reduce((sum, { ticks }) => sum + ticks, 0);

test('V8 compiles and collects at a niceness of 5 more, and nothing else does', () => {
  const { pid, pool, collecting } = run([]);
  assert.equal(pool.filter(({ nice }) => nice === NICE + 5).length, 4);
  assert.ok(pool.every(({ nice }) => nice === NICE + 5 || nice === NICE));
  assert.equal(pool.find(({ id }) => id === pid)?.nice, NICE);
  // They may have had something to collect, but no password.
  assert.ok(ticksOf(pool, true) * 10 < ticksOf(pool, false));
  assert.ok(ticksOf(collecting, true) > 0);
  const others = collecting.filter(({ id, nice }) => id !== pid && nice === NICE);
  assert.ok(ticksOf(others, false) * 10 < ticksOf(collecting, true));
});

test('there is no niceness above 19', () => {
  const { pool } = run([], 17);
  assert.deepEqual([...new Set(pool.map(({ nice }) => nice))].sort(), [17, 19]);
});

test('where Node was told how many of them to make, they stay as they are', () => {
  assert.ok(run(['--v8-pool-size=2']).pool.every(({ nice }) => nice === NICE));
});

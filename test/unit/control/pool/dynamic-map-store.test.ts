import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { DynamicMapStore } from '#nat64d/control/pool/dynamic-map-store.js';
import { atOnce } from '#nat64d/control/slices.js';
import { address4, address6 } from '../../../helpers/harness.js';

const folder = mkdtempSync(join(tmpdir(), 'nat64d-map-'));
after(() => rmSync(folder, { recursive: true }));

test('what is written is read back, with times moved from the gateway clock to unix time', async () => {
  const file = join(folder, 'made', 'dynamic.map');
  const entries = [
    { ipv4: address4('10.0.0.5'), host: address6('2001:db8::5'), lastUsedSec: 2_000_000, live: true },
    { ipv4: address4('223.0.0.6'), host: address6('fd00::6'), lastUsedSec: 1_990_000, live: false },
  ];
  await new DynamicMapStore(file).compact(entries, 2_000_100, 1_800_000_000);
  assert.match(
    readFileSync(file, 'utf8'),
    /^#.*\n10\.0\.0\.5\t2001:db8::5\t1799999900\n223\.0\.0\.6\tfd00::6\t1799989900\n$/,
  );
  assert.deepEqual(readdirSync(join(folder, 'made')), ['dynamic.map'], 'no temporary file is left');
  const { entries: read, problems } = atOnce(new DynamicMapStore(file).read());
  assert.deepEqual(problems, []);
  assert.deepEqual(
    [...read].map(({ ipv4, lastUsedUnixSec }) => [ipv4, lastUsedUnixSec]),
    [
      [address4('10.0.0.5'), 1_799_999_900],
      [address4('223.0.0.6'), 1_799_989_900],
    ],
  );
});

test('while one compaction after another is under way the journal is not long enough for a third', async () => {
  const store = new DynamicMapStore(join(folder, 'queued', 'dynamic.map'));
  let isLongMeanwhile: boolean | undefined;
  function* recording() {
    for (let i = 0; i < 40_000; i++) store.record(i, address6('2001:db8::5'), 1_800_000_000);
    isLongMeanwhile = store.isLong;
    yield { ipv4: 5, host: address6('2001:db8::5'), lastUsedSec: 2_000_000, live: true };
  }
  const first = store.compact([], 2_000_000, 1_800_000_000);
  await Promise.all([first, store.compact(recording(), 2_000_000, 1_800_000_000)]);
  assert.equal(isLongMeanwhile, false);
  assert.equal(store.isLong, true);
  await store.close();
});

test('the file is 0644, whatever the umask and the file before it', async () => {
  const file = join(folder, 'mode');
  writeFileSync(`${file}.new`, 'left by a crash', { mode: 0o600 });
  const umask = process.umask(0o077);
  try {
    await new DynamicMapStore(file).compact([], 2_000_000, 1_800_000_000);
  } finally {
    process.umask(umask);
  }
  assert.equal(statSync(file).mode & 0o777, 0o644);
  assert.match(readFileSync(file, 'utf8'), /^# [^\n]*\n$/);
});

test('where the file cannot be written whole, the old one stays and nothing is left beside it', () => {
  const full = join(folder, 'full');
  const file = join(full, 'dynamic.map');
  mkdirSync(full);
  writeFileSync(file, 'the old one');
  // A file size limit takes a part of a write and then refuses, as a disk does that fills up.
  const script = `
    const { DynamicMapStore } = await import(${JSON.stringify(import.meta.resolve('#nat64d/control/pool/dynamic-map-store.js'))});
    const entry = { ipv4: 1, host: [0x20010db8, 0, 0, 1], lastUsedSec: 1, live: true };
    try {
      await new DynamicMapStore(${JSON.stringify(file)}).compact(new Array(1000).fill(entry), 1, 1);
    } catch (error) {
      console.log(error.code);
    }`;
  const { stdout, stderr } = spawnSync(
    '/bin/sh',
    ['-c', 'ulimit -f 4 && exec "$0" --input-type=module -e "$1"', process.execPath, script],
    { encoding: 'utf8' },
  );
  assert.equal(stdout, 'EFBIG\n', stderr);
  assert.equal(readFileSync(file, 'utf8'), 'the old one');
  assert.deepEqual(readdirSync(full), ['dynamic.map']);
});

test('a missing file is an empty one', () => {
  const { entries, problems } = atOnce(new DynamicMapStore(join(folder, 'none')).read());
  assert.deepEqual([[...entries], problems], [[], []]);
});

test('damaged lines are named, good ones used', () => {
  const file = join(folder, 'damaged');
  writeFileSync(
    file,
    [
      '# TAYGA wrote this',
      '10.0.0.1\t2001:db8::1\t1700000000',
      '10.0.0.2 2001:db8::2',
      '10.0.0.300\t::1\t5',
      '',
      '\0\0\0',
      '10.0.0.3\t2001:db8::3\t17e8',
      '10.0.0.4\t2001:db8::4\t1700000001',
    ].join('\n'),
  );
  const { entries, problems } = atOnce(new DynamicMapStore(file).read());
  assert.deepEqual(
    [...entries].map((entry) => entry.line),
    [2, 8],
  );
  assert.deepEqual(
    problems.map((problem) => problem.line),
    [3, 4, 6, 7],
  );
});

test('any bytes read as lines or as problems, never as a crash', () => {
  const file = join(folder, 'any');
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300, size: 'max' }), (bytes) => {
      writeFileSync(file, bytes);
      const { entries, problems } = atOnce(new DynamicMapStore(file).read());
      assert.ok(entries.length + problems.length <= bytes.length + 1);
    }),
    { numRuns: 200 },
  );
});

test('files of many blocks, and a line longer than a block, read as short ones do', () => {
  const file = join(folder, 'long');
  const line = (n: number) =>
    `10.0.${n >> 8}.${n & 255}\t2001:db8::${n.toString(16)}\t${1_700_000_000 + n}\n`;
  const lines = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, i) => line(from + i)).join('');
  writeFileSync(file, `${lines(0, 5000)}${'x'.repeat(200_000)}\n${lines(5000, 6000)}10.0.255.255 :: 7`);
  writeFileSync(`${file}.journal`, `${lines(6000, 9000)}10.0.255.254 ::1 7`);
  const { entries, problems } = atOnce(new DynamicMapStore(file).read());
  assert.deepEqual(
    problems.map((problem) => [problem.file, problem.line]),
    [[file, 5001]],
  );
  // The last line of dynamic.map counts without its end; that of a journal was never finished.
  const expected = Array.from({ length: 9000 }, (_, n) => [address4(`10.0.${n >> 8}.${n & 255}`), n]);
  expected.splice(6000, 0, [address4('10.0.255.255'), 0]);
  assert.deepEqual(
    [...entries].map(({ ipv4, host }) => [ipv4, (host[3] as number) & 0xffff]),
    expected,
  );
  assert.deepEqual(
    [entries.lineAt(0), entries.lineAt(5000), entries.lineAt(6000), entries.lineAt(6001)],
    [1, 5002, 6002, 1],
  );
  assert.equal(entries.lastUsedAt(8999 + 1), 1_700_008_999);
});

test('what both ends of a very long line would say together counts for nothing; a long comment is one', () => {
  const file = join(folder, 'ends');
  for (const [first, count] of [
    ['1', 1],
    ['#', 0],
  ] as const) {
    for (let middle = 65_530; middle < 65_540; middle++) {
      writeFileSync(file, `${first}${'x'.repeat(middle)}0.0.0.9\t2001:db8::9\t7\n10.0.0.8\t2001:db8::8\t7\n`);
      const { entries, problems } = atOnce(new DynamicMapStore(file).read());
      assert.deepEqual(
        [[...entries].map(({ line, ipv4 }) => [line, ipv4]), problems.length],
        [[[2, address4('10.0.0.8')]], count],
      );
    }
  }
});

import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { readDynamicMap, writeDynamicMap } from '#nat64d/control/pool/dynamic-map-file.js';
import { address4, address6 } from '../../../helpers/harness.js';

const folder = mkdtempSync(join(tmpdir(), 'nat64d-map-'));
after(() => rmSync(folder, { recursive: true }));

test('what is written is read back, with times moved from the gateway clock to unix time', () => {
  const file = join(folder, 'made', 'dynamic.map');
  const entries = [
    { ipv4: address4('10.0.0.5'), host: address6('2001:db8::5'), lastUsedSec: 2_000_000, live: true },
    { ipv4: address4('223.0.0.6'), host: address6('fd00::6'), lastUsedSec: 1_990_000, live: false },
  ];
  writeDynamicMap(file, entries, 2_000_100, 1_800_000_000);
  assert.match(
    readFileSync(file, 'utf8'),
    /^#.*\n10\.0\.0\.5\t2001:db8::5\t1799999900\n223\.0\.0\.6\tfd00::6\t1799989900\n$/,
  );
  assert.equal(statSync(file).mode & 0o777, 0o644 & ~process.umask());
  assert.deepEqual(readdirSync(join(folder, 'made')), ['dynamic.map'], 'no temporary file is left');
  const { entries: read, problems } = readDynamicMap(file);
  assert.deepEqual(problems, []);
  assert.deepEqual(
    read.map(({ ipv4, lastUsedUnixSec }) => [ipv4, lastUsedUnixSec]),
    [
      [address4('10.0.0.5'), 1_799_999_900],
      [address4('223.0.0.6'), 1_799_989_900],
    ],
  );
});

test('a missing file is an empty one', () => {
  assert.deepEqual(readDynamicMap(join(folder, 'none')), { entries: [], problems: [] });
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
  const { entries, problems } = readDynamicMap(file);
  assert.deepEqual(
    entries.map((entry) => entry.line),
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
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      writeFileSync(file, bytes);
      const { entries, problems } = readDynamicMap(file);
      assert.ok(entries.length + problems.length <= bytes.length + 1);
    }),
    { numRuns: 200 },
  );
});

/** What is said about dynamic.map is true, also where there are no maps. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { Clock } from '#nat64d/control/clock.js';
import { silent } from '#nat64d/control/log.js';
import { MapSaver } from '#nat64d/control/map-saver.js';
import { address4, address6 } from '../../helpers/harness.js';

const ENTRY = { ipv4: address4('10.64.0.7'), host: address6('2001:db8::7'), lastUsedSec: 1000, live: true };

let dataDir: string;
let nowSec: number;
let lines: string[];
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'nat64d-saver-'));
  nowSec = 1000;
  lines = [];
});
afterEach(() => rmSync(dataDir, { recursive: true }));

function saverOf(entries: readonly (typeof ENTRY)[]): MapSaver {
  const say = (_: object, message: string) => void lines.push(message);
  const log = { ...silent, info: say, warn: say, error: say };
  return new MapSaver({ dataDir, clock: { nowSec: () => nowSec } as Clock, log, entries: () => entries });
}

for (const entries of [[ENTRY], []]) {
  const count = entries.length;

  test(`files that are gone, with ${count} maps: written anew ${count > 0 ? 'at once' : 'with the next map'}`, async () => {
    const saver = saverOf(entries);
    saver.record(ENTRY.ipv4, ENTRY.host);
    rmSync(join(dataDir, 'dynamic.map.journal'));
    nowSec += 10;
    saver.tick(nowSec, count);
    await saver.close();
    assert.equal(lines.length, 1);
    assert.match(
      lines[0] ?? '',
      count > 0 ? /: dynamic\.map is written anew$/ : /: they are made anew with the next map$/,
    );
    assert.equal(existsSync(join(dataDir, 'dynamic.map')), count > 0);
    saver.record(ENTRY.ipv4, ENTRY.host);
    assert.ok(existsSync(join(dataDir, 'dynamic.map.journal')));
    await saver.close();
  });

  test(`the wall clock is set, with ${count} maps: ${count > 0 ? 'said, and written anew' : 'nothing to say'}`, async (t) => {
    const saver = saverOf(entries);
    const { now } = Date;
    t.mock.method(Date, 'now', () => now() + 3_600_000);
    saver.tick(nowSec, count);
    saver.tick(nowSec, count);
    await saver.close();
    assert.equal(lines.length, count);
    assert.equal(existsSync(join(dataDir, 'dynamic.map')), count > 0);
  });
}

test('nothing is read while a compaction takes files away', async () => {
  const saver = saverOf([ENTRY]);
  saver.record(ENTRY.ipv4, ENTRY.host);
  let isSaved = false;
  const saving = saver.save().then(() => {
    isSaved = true;
  });
  const { entries } = await saver.read();
  assert.ok(isSaved);
  assert.deepEqual(
    [...entries].map(({ ipv4 }) => ipv4),
    [ENTRY.ipv4],
  );
  await saving;
  await saver.close();
});

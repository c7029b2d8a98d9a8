/** Long work in slices. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseConfig } from '#nat64d/control/config/index.js';
import { parseMapFile } from '#nat64d/control/config/map-file.js';
import { checkMaps } from '#nat64d/control/config/map-rules.js';
import { areSame } from '#nat64d/control/explicit-maps.js';
import { buildNetdevSettings } from '#nat64d/control/netdev/index.js';
import { buildRoutePlan } from '#nat64d/control/netdev/routes.js';
import { atOnce, inSlices, type Sliced, sorted } from '#nat64d/control/slices.js';
import { buildPrefixTable } from '#nat64d/shm/prefix-table.js';

test('sorted is what sort is, stable', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ key: fc.integer({ min: 0, max: 40 }), n: fc.nat() }), { maxLength: 400 }),
      (all) => {
        const compare = (a: { key: number }, b: { key: number }) => a.key - b.key;
        assert.deepEqual(atOnce(sorted(all, compare)), [...all].sort(compare));
      },
    ),
  );
});

test('work in slices gives others a turn, and its result or error', async () => {
  function* work(fails: boolean): Sliced<string> {
    const endMs = performance.now() + 100;
    while (performance.now() < endMs) yield;
    if (fails) throw new Error('half way');
    return 'done';
  }
  let turns = 0;
  const count = setInterval(() => turns++, 1);
  assert.equal(await inSlices(work(false)), 'done');
  await assert.rejects(inSlices(work(true)), /half way/);
  clearInterval(count);
  assert.ok(turns >= 5, `${turns} turns`);
});

test('with many maps no part of a reload goes far between two steps, and none takes more steps than there are maps, times a few', () => {
  const COUNT = 20_000;
  const text = Array.from(
    { length: COUNT },
    (_, n) => `map 100.64.${n >> 8}.${n & 255} 2001:db8:77::${((n * 7919) % COUNT).toString(16)}`,
  ).join('\n');
  const { maps } = parseMapFile(text);
  assert.equal(maps.length, COUNT);
  assert.ok(areSame(maps, parseMapFile(text).maps));
  assert.ok(!areSame(maps, parseMapFile(text.replace('::1\n', '::ffff:1\n')).maps));
  const config = { ...parseConfig('', 'f'), maps };
  const stepsOf = (work: Sliced<unknown>) => {
    for (let steps = 0; ; steps++) if (work.next().done === true) return steps;
  };
  const settings = atOnce(buildNetdevSettings(config));
  const existing = settings.routes.map(({ prefix }) => ({
    dst: prefix.replace('/32', ''),
    dev: 'eth0',
    metric: 5,
  }));
  const others = { 4: existing.filter(({ dst }) => !dst.includes(':')), 6: [] };
  const nowhere = () => assert.fail('no map is wrong');
  for (const [what, work, most] of [
    ['rules', checkMaps({ maps, pref64: false, allowsClassE: true }, config, String, nowhere), 16],
    ['table', buildPrefixTable(maps, 6), 1],
    ['settings', buildNetdevSettings(config), 2],
    ['routes', buildRoutePlan(settings.routes, others, 'nat64'), 8],
  ] as const) {
    const steps = stepsOf(work);
    assert.ok(steps > COUNT / 64 && steps < COUNT * most, `${what}: ${steps} steps`);
  }
});

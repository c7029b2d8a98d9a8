/** Questions under way: what comes and goes as a Map and a Set would have it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Crowd, Named, Numbered } from '#nat64d/control/dns64/under-way.js';

/** Adds where it is not there, else takes it away. */
const toggles = (most: number) => fc.array(fc.nat({ max: most }), { maxLength: 400 });

test('things by number are those of a Map', () => {
  fc.assert(
    fc.property(toggles(30), (numbers) => {
      const things = new Numbered<string>();
      const model = new Map<number, string>();
      for (const [i, number] of numbers.entries()) {
        assert.equal(things.has(number), model.has(number));
        assert.equal(things.get(number), model.get(number));
        if (model.delete(number)) things.delete(number);
        else {
          things.add(number, `thing ${i}`);
          model.set(number, `thing ${i}`);
        }
        assert.equal(things.size, model.size);
      }
      assert.deepEqual(things.all().sort(), [...model.values()].sort());
      things.delete(31);
      assert.equal(things.size, model.size, 'one that is not there is not missed');
      things.clear();
      assert.deepEqual([things.size, things.all(), things.get(0)], [0, [], undefined]);
    }),
  );
});

test('a crowd is a Set, whoever leaves it', () => {
  fc.assert(
    fc.property(toggles(30), (numbers) => {
      const all = Array.from({ length: 31 }, (_, id) => ({ id, place: -1 }));
      const crowd = new Crowd<{ id: number; place: number }>();
      const model = new Set<(typeof all)[0]>();
      for (const number of numbers) {
        const one = all[number] as (typeof all)[0];
        if (model.delete(one)) crowd.delete(one);
        else {
          crowd.add(one);
          model.add(one);
        }
      }
      const ids = (some: Iterable<{ id: number }>) => [...some].map(({ id }) => id).sort((a, b) => a - b);
      assert.deepEqual(ids(crowd.all()), ids(model));
      for (const one of all) crowd.delete(one);
      assert.deepEqual(crowd.all(), []);
      for (const { place } of all) assert.equal(place, -1);
    }),
  );
});

test('things by name are found however many have come and gone since', () => {
  const things = new Named<number>();
  const model = new Map<string, number>();
  const kept = ['first', 'second'];
  for (const [i, name] of kept.entries()) {
    things.add(name, i);
    model.set(name, i);
  }
  for (let i = 0; i < 5000; i++) {
    things.add(`name ${i}`, i);
    model.set(`name ${i}`, i);
    const gone = `name ${i - 40 + (i % 7)}`;
    things.delete(gone);
    model.delete(gone);
    assert.equal(things.get(gone), undefined);
    assert.equal(things.size, model.size);
  }
  for (const [name, thing] of model) assert.equal(things.get(name), thing);
  assert.deepEqual(
    kept.map((name) => things.get(name)),
    [0, 1],
  );
  for (const name of model.keys()) things.delete(name);
  assert.equal(things.size, 0);
});

import assert from 'node:assert/strict';
import { randomFillSync } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { createHostTable, HostTable, HostTableWriter } from '#nat64d/shm/host-table.js';
import type { Address6 } from '#nat64d/wire/address.js';
import { TABULATION_WORDS } from '#nat64d/wire/tabulation.js';

const LIFETIME = 7440;
const NOW = 2_000_000;

function setUp(size: number) {
  const buffers = createHostTable(
    0x0a400000,
    size,
    LIFETIME,
    randomFillSync(new Int32Array(TABULATION_WORDS)),
  );
  const writer = new HostTableWriter(buffers);
  const reader = new HostTable(buffers);
  let generation = 1;
  return {
    reader,
    writer,
    publish(index: number, host: Address6) {
      reader.lastSeen[index] = NOW;
      writer.publish(index, host, ++generation);
    },
    withdraw(index: number) {
      writer.withdraw(index);
      generation++;
    },
    find: (host: Address6, at = generation, now = NOW) => reader.find(...host, at, now),
    use: (index: number, at = generation, now = NOW) => reader.use(index, at, now),
    generation: () => generation,
  };
}

const host = (n: number): Address6 => [0x20010db8, 0, 0, n];

test('a published map is found by its host and by its index, others are not', () => {
  const table = setUp(256);
  table.publish(7, host(1));
  assert.equal(table.find(host(1)), 7);
  assert.equal(table.find(host(2)), -1);
  assert.ok(table.use(7));
  assert.ok(!table.use(8));
  const at = table.reader.hostWords(7);
  assert.deepEqual([...table.reader.words.subarray(at, at + 4)], host(1));
});

test('a map published after the burst began is not believed in it', () => {
  const table = setUp(256);
  const before = table.generation();
  table.publish(7, host(1));
  assert.equal(table.find(host(1), before), -1);
  assert.ok(!table.use(7, before));
  assert.equal(table.find(host(1)), 7);
});

test('a withdrawn map is gone at once, whatever generation a reader works with', () => {
  const table = setUp(256);
  table.publish(7, host(1));
  table.withdraw(7);
  assert.equal(table.find(host(1)), -1);
  assert.ok(!table.use(7));
});

test('a map is valid for 124 minutes after its last use and not a second more, swept or not', () => {
  const table = setUp(256);
  table.publish(7, host(1));
  assert.ok(table.use(7, table.generation(), NOW + LIFETIME));
  assert.equal(table.reader.lastSeen[7], NOW + LIFETIME, 'use moves the end');
  assert.ok(!table.use(7, table.generation(), NOW + 2 * LIFETIME + 1));
  assert.equal(table.find(host(1), table.generation(), NOW + 2 * LIFETIME + 1), -1);
  assert.equal(table.find(host(1), table.generation(), NOW + 2 * LIFETIME), 7);
});

test('any sequence of publishing and withdrawing finds exactly what is published', () => {
  const step = fc.record({ index: fc.nat(15), host: fc.nat(40) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const table = setUp(16);
      const model = new Map<number, number>();
      for (const { index, host: number } of steps) {
        if (model.has(index)) {
          table.withdraw(index);
          model.delete(index);
        } else if (![...model.values()].includes(number)) {
          table.publish(index, host(number));
          model.set(index, number);
        }
        for (let n = 0; n <= 40; n++) {
          const expected = [...model].find(([, value]) => value === n)?.[0] ?? -1;
          assert.equal(table.find(host(n)), expected);
        }
      }
    }),
    { numRuns: 200 },
  );
});

test('a full table finds all of a thousand hosts', () => {
  const table = setUp(1024);
  for (let i = 0; i < 1024; i++) table.publish(i, [i * 7919, i, -i, i ^ 0x55555555]);
  for (let i = 0; i < 1024; i++) assert.equal(table.find([i * 7919, i, -i, i ^ 0x55555555]), i);
});

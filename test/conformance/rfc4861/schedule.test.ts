/** RFC 4861 section 6.2: when advertisements are sent. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Schedule, shortestIntervalSec } from '#nat64d/control/radv/schedule.js';

const START = 1_000_000;
const begin = (intervalSec: number, random = 0) => new Schedule(intervalSec, START, () => random);

/** Times between so many, each sent when it is due. */
function gaps(schedule: Schedule, count: number): number[] {
  return Array.from({ length: count }, () => {
    const nowMs = schedule.dueMs;
    schedule.sent(nowMs);
    return schedule.dueMs - nowMs;
  });
}

for (const [longest, shortest] of [
  [1800, 594],
  [600, 198],
  [9, 3],
  [8, 6],
  [4, 3],
] as const) {
  test(`RFC 4861 section 6.2.1: with ${longest} s between two at most there are ${shortest} at least`, () => {
    assert.equal(shortestIntervalSec(longest), shortest);
    assert.equal(gaps(begin(longest), 4)[3], 1000 * shortest);
    const last = gaps(begin(longest, 0.999_999), 4)[3] as number;
    assert.ok(last > 999 * longest && last <= 1000 * longest);
  });
}

test('RFC 4861 section 6.2.4: the first at once, the next two after 16 s at most, then at the interval', () => {
  const schedule = begin(600);
  assert.equal(schedule.dueMs, START);
  assert.deepEqual(gaps(schedule, 4), [16_000, 16_000, 198_000, 198_000]);
});

test('RFC 4861 section 6.2.4: with a short interval the first ones keep to it', () => {
  assert.deepEqual(gaps(begin(4), 3), [3000, 3000, 3000]);
});

for (const [random, delayMs] of [
  [0, 0],
  [0.5, 250],
  [0.999, 499.5],
] as const) {
  test(`RFC 4861 section 6.2.6: who asks is answered after ${delayMs} ms`, () => {
    const schedule = begin(600, random);
    gaps(schedule, 3);
    const nowMs = schedule.dueMs - 100_000;
    schedule.solicited(nowMs);
    assert.equal(schedule.dueMs, nowMs + delayMs);
  });
}

test('RFC 4861 section 6.2.6: no two within 3 seconds: an answer comes 3 s and its delay after the one before', () => {
  const schedule = begin(600, 0.5);
  schedule.sent(START);
  schedule.solicited(START + 2999);
  assert.equal(schedule.dueMs, START + 3250);
  schedule.sent(START + 3250);
  schedule.solicited(START + 3250 + 3000);
  assert.equal(schedule.dueMs, START + 6500);
});

test('RFC 4861 section 6.2.6: many who ask have one answer, and none puts it off', () => {
  let random = 0.1;
  const schedule = new Schedule(600, START, () => random);
  schedule.sent(START);
  schedule.solicited(START + 10_000);
  assert.equal(schedule.dueMs, START + 10_050);
  random = 0.9;
  for (let i = 0; i < 40; i++) schedule.solicited(START + 10_000 + i);
  assert.equal(schedule.dueMs, START + 10_050);
});

test('RFC 4861 section 6.2.6: one that is due before the delay ends is answer enough', () => {
  const schedule = begin(600, 0.999);
  gaps(schedule, 3);
  const dueMs = schedule.dueMs;
  schedule.solicited(dueMs - 10);
  assert.equal(schedule.dueMs, dueMs);
});

test('RFC 4861 section 6.2.4: other contents are told like the first ones, but not within 3 s of the last', () => {
  const schedule = begin(600);
  gaps(schedule, 5);
  const lastMs = schedule.dueMs;
  schedule.sent(lastMs);
  schedule.restart(lastMs + 1000, 9);
  assert.equal(schedule.dueMs, lastMs + 3000);
  assert.ok(schedule.isInitial);
  assert.deepEqual(gaps(schedule, 3), [3000, 3000, 3000]);
  assert.ok(!schedule.isInitial);
  schedule.restart(schedule.dueMs + 5000, 9);
  assert.equal(schedule.dueMs, lastMs + 12_000 + 5000);
});

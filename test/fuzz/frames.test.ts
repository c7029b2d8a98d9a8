import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COUNTER_NAMES, type CounterName } from '#nat64d/shm/counters.js';
import { fuzz } from './driver.js';
import { type FramesRunner, framesTarget } from './frames.js';
import { shortLimits, testTargets } from './short.js';
import { FRAMES } from './targets.js';

testTargets(FRAMES.filter(({ name }) => name !== 'frames'));

test('frames of every kind: no exception, no byte outside its slot, each in one counter', async () => {
  const target = framesTarget();
  const counts: Partial<Record<CounterName, number>> = {};
  const open = () => {
    const runner: FramesRunner = target.open();
    const close = () => {
      for (const name of COUNTER_NAMES) counts[name] = (counts[name] ?? 0) + runner.count(name);
    };
    return Object.assign(runner, { close });
  };
  await fuzz({ ...target, open }, shortLimits(target));
  // Cases that lead nowhere would find nothing.
  const never = COUNTER_NAMES.filter((name) => counts[name] === 0);
  assert.deepEqual(never, []);
});

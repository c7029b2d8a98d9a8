/** Waiting ends when something is so, and says what it waited for when it is not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '../../helpers/until.js';

test('what is so already is looked at once', async () => {
  let looks = 0;
  await until(() => ++looks > 0, 'a look', 0);
  assert.equal(looks, 1);
});

test('what becomes so is waited for, whether it is known at once or later', async () => {
  let looks = 0;
  await until(() => ++looks === 3, 'a third look');
  assert.equal(looks, 3);
  await until(async () => ++looks === 6, 'a sixth look');
  assert.equal(looks, 6);
});

test('what never becomes so is named, not before its time', async () => {
  const startMs = performance.now();
  await assert.rejects(
    until(() => false, 'the moon', 50),
    { message: 'waited 50 ms in vain for the moon' },
  );
  assert.ok(performance.now() - startMs >= 50);
});

test('what there was instead is told as it is at the end', async () => {
  let output = '';
  await assert.rejects(
    until(
      () => {
        output += '.';
        return output.length > 3;
      },
      () => `four dots, there are '${output}'`,
      20,
      20,
    ),
    { message: /^waited 20 ms in vain for four dots, there are '\.{2,3}'$/ },
  );
});

test('a process that was held up past the end looks once more', async () => {
  let looks = 0;
  const isSo = () => {
    const busyUntilMs = performance.now() + 30;
    while (looks === 0 && performance.now() < busyUntilMs);
    return ++looks === 2;
  };
  await until(isSo, 'a second look', 10);
  assert.equal(looks, 2);
});

test('a look that fails is not repeated', async () => {
  let looks = 0;
  const fails = () => {
    looks++;
    throw new Error('on purpose');
  };
  await assert.rejects(until(fails, 'nothing'), { message: 'on purpose' });
  await assert.rejects(
    until(async () => fails(), 'nothing'),
    { message: 'on purpose' },
  );
  assert.equal(looks, 2);
});

/** A set-up that the kernel does not take at once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock } from '#nat64d/control/clock.js';
import { SetUpAgain } from '#nat64d/control/set-up-again.js';

test('what fails is the problem until it succeeds, is tried every ten seconds, and rejects once for each reason', async () => {
  let nowSec = 1000;
  let reason: string | null = 'IPv6 is disabled';
  let tries = 0;
  const again = new SetUpAgain('nat64', { nowSec: () => nowSec } as Clock, async () => {
    tries++;
    if (reason !== null) throw new Error(reason);
  });
  assert.deepEqual([again.problem, again.takeTurn()], [null, false]);
  await assert.rejects(again.run(), /IPv6 is disabled/);
  assert.match(again.problem ?? '', /^nat64 is not set up \(IPv6 is disabled\); it is tried again/);
  nowSec += 9;
  assert.equal(again.takeTurn(), false);
  nowSec += 1;
  assert.equal(again.takeTurn(), true);
  // A try may wait long for others before it.
  assert.equal(again.takeTurn(), false);
  await again.run();
  reason = 'no ip command';
  await assert.rejects(again.run(), /no ip command/);
  reason = null;
  await again.run();
  again.fail(new Error('no route'));
  assert.match(again.problem ?? '', /no route/);
  nowSec += 10;
  assert.equal(again.takeTurn(), true);
  await again.run();
  nowSec += 100;
  assert.deepEqual([again.problem, again.takeTurn(), tries], [null, false, 5]);
});

test('what is found missing is due, but not at once after a try, nor while one fails', async () => {
  let nowSec = 1000;
  let isFailing = false;
  const again = new SetUpAgain('nat64', { nowSec: () => nowSec } as Clock, async () => {
    if (isFailing) throw new Error('no ip command');
  });
  assert.equal(again.isDue, true);
  await again.run();
  nowSec += 9;
  assert.equal(again.isDue, false);
  nowSec += 1;
  assert.equal(again.isDue, true);
  isFailing = true;
  await assert.rejects(again.run());
  nowSec += 100;
  assert.equal(again.isDue, false);
});

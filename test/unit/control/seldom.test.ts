/** Lines that may be due all the time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Seldom } from '#nat64d/control/seldom.js';

test('the first is due at once; from then on one in a minute, which tells how many were left out', () => {
  let nowMs = 5;
  const seldom = new Seldom(() => nowMs);
  assert.equal(seldom.due(), 0);
  for (let i = 0; i < 1000; i++) assert.equal(seldom.due(), null);
  nowMs += 59_999;
  assert.equal(seldom.due(), null);
  nowMs += 1;
  assert.equal(seldom.due(), 1001);
  assert.equal(seldom.due(), null);
  nowMs += 60_000;
  assert.equal(seldom.due(), 1);
});

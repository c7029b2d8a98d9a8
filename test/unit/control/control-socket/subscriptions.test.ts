/** What a subscription leaves behind. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ReloadGate } from '#nat64d/control/control-socket/requests.js';
import { startSubscription } from '#nat64d/control/control-socket/subscriptions.js';
import { RateMeter } from '#nat64d/control/inspect/rates.js';
import { TestSubject } from '../../../helpers/subject.js';

for (const how of ['finish', 'close'] as const) {
  test(`a capture whose client does not read waits for it, and waits no more after ${how}: its rings are free`, async () => {
    const subject = new TestSubject();
    const surroundings = { subject, rates: new RateMeter(() => ({})), reloads: new ReloadGate() };
    const waiting = new Set<() => void>();
    const subscription = startSubscription({ topic: 'capture' }, surroundings, {
      surroundings: () => surroundings,
      send: () => assert.fail('nothing is sent to who does not read'),
      isFull: true,
      onceRead: (then) => {
        waiting.add(then);
        return () => void waiting.delete(then);
      },
    });
    await nextTurn();
    assert.equal(waiting.size, 1);
    subscription[how]();
    assert.equal(waiting.size, 0);
  });
}

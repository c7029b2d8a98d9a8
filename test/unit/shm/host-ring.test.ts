import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createHostRing, HostRing } from '#nat64d/shm/host-ring.js';

test('records come out in order, and a full ring refuses', () => {
  const buffer = createHostRing(4);
  const writer = new HostRing(buffer);
  const reader = new HostRing(buffer);
  for (let i = 0; i < 4; i++) assert.ok(writer.push(i, -i, 2 * i, 3, i));
  assert.ok(!writer.push(9, 9, 9, 9, 9));
  const seen: number[] = [];
  assert.equal(
    reader.drain(3, (host, value) => seen.push(host[0], host[1], host[2], host[3], value)),
    3,
  );
  assert.deepEqual(
    seen,
    [0, -0, 0, 3, 0, 1, -1, 2, 3, 1, 2, -2, 4, 3, 2].map((n) => n | 0),
  );
  assert.ok(writer.push(7, 7, 7, 7, 7), 'room again');
});

test('any interleaving of pushes and drains loses nothing and invents nothing', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -3, max: 5 }), { maxLength: 200 }), (steps) => {
      const ring = new HostRing(createHostRing(8));
      const model: number[] = [];
      let next = 0;
      for (const step of steps) {
        if (step >= 0) {
          const pushed = ring.push(next, 0, 0, 0, next);
          assert.equal(pushed, model.length < 8);
          if (pushed) model.push(next);
          next++;
        } else {
          const taken: number[] = [];
          ring.drain(-step, (_, value) => taken.push(value));
          assert.deepEqual(taken, model.splice(0, -step));
        }
        assert.equal(ring.isEmpty, model.length === 0);
      }
    }),
  );
});

test('the bell rings once until it is answered', () => {
  const ring = new HostRing(createHostRing(8));
  assert.ok(ring.ring());
  assert.ok(!ring.ring());
  ring.answerBell();
  assert.ok(ring.ring());
});

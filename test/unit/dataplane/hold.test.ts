import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { HELD_KNOWN_HOST, HELD_NEW_HOST, HELD_NOT, HOLD_SEC, HoldArea } from '#nat64d/dataplane/hold.js';
import { BURST_BYTES, HEADROOM, HOLD_BYTES, HOLD_START } from '#nat64d/shm/frame-ring.js';
import type { Address6 } from '#nat64d/wire/address.js';
import { Harness } from '../../helpers/harness.js';

const host = (n: number): Address6 => [0x20010db8, 0, 0, n];

function setUp() {
  const harness = new Harness();
  const { ctx } = harness;
  const hold = new HoldArea(ctx);
  return {
    harness,
    ctx,
    hold,
    /** Adds a frame whose every byte, and whose virtio-net header, is `fill`. */
    add(n: number, length: number, fill: number): number {
      ctx.u8.fill(fill, HEADROOM - 10, HEADROOM + length);
      return hold.add(host(n), HEADROOM, length);
    },
    /** The fills and lengths of a host's frames, after checking every byte. */
    release(n: number): [number, number][] {
      const frames: [number, number][] = [];
      const number = hold.hostOf(...host(n));
      assert.ok(number >= 0, `host ${n} is held`);
      hold.release(number, (offset, length) => {
        const bytes = ctx.u8.subarray(offset - 10, offset + length);
        assert.ok(
          bytes.every((byte) => byte === bytes[0]),
          'a held frame was overwritten',
        );
        assert.ok(offset - HEADROOM >= HOLD_START && offset + length <= HOLD_START + HOLD_BYTES);
        assert.equal(offset % 16, 0);
        frames.push([bytes[0] as number, length]);
      });
      hold.reclaim();
      return frames;
    },
  };
}

test('frames of a host come out in the order they came in, with their virtio-net headers [R7915-5]', () => {
  const { add, release, hold } = setUp();
  assert.equal(add(1, 100, 11), HELD_NEW_HOST);
  assert.equal(add(2, 60, 12), HELD_NEW_HOST);
  assert.equal(add(1, 1500, 13), HELD_KNOWN_HOST);
  assert.equal(hold.hostCount, 2);
  assert.deepEqual(release(1), [
    [11, 100],
    [13, 1500],
  ]);
  assert.deepEqual(release(2), [[12, 60]]);
  assert.equal(hold.hostCount, 0);
});

test('a super-frame is held whole', () => {
  const { add, release } = setUp();
  assert.equal(add(1, 65_575, 9), HELD_NEW_HOST);
  assert.deepEqual(release(1), [[9, 65_575]]);
});

test('the 1025th host is refused, and one more fits when one has gone', () => {
  const { add, release } = setUp();
  for (let n = 0; n < 1024; n++) assert.equal(add(n, 40, 1), HELD_NEW_HOST);
  assert.equal(add(5000, 40, 1), HELD_NOT);
  assert.equal(add(3, 40, 1), HELD_KNOWN_HOST, 'a known one may still add');
  release(0);
  assert.equal(add(5000, 40, 1), HELD_NEW_HOST);
});

test('frames, bytes and hosts that ran out of time are dropped, the others stay', () => {
  const { add, release, hold, ctx } = setUp();
  const dropped: number[] = [];
  const drop = (offset: number) => dropped.push(ctx.u8[offset] as number);
  add(1, 100, 1);
  add(1, 100, 2);
  ctx.nowSec += HOLD_SEC;
  add(2, 100, 3);
  hold.expire(drop);
  assert.equal(hold.hostCount, 2, 'not yet');
  ctx.nowSec += 1;
  hold.expire(drop);
  assert.equal(hold.hostCount, 1);
  assert.deepEqual(dropped, [1, 2]);
  assert.deepEqual(release(2), [[3, 100]]);
});

test('any sequence of adds and releases keeps every held byte, and never refuses while there is clearly room', () => {
  const step = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({
        add: fc.nat(30),
        length: fc.oneof(fc.nat(1500), fc.integer({ min: 40_000, max: 65_000 })),
      }),
    },
    { weight: 2, arbitrary: fc.record({ release: fc.nat(30) }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      const { add, release, hold } = setUp();
      const model = new Map<number, [number, number][]>();
      let fill = 0;
      for (const s of steps) {
        if ('add' in s) {
          fill = (fill + 1) & 0xff;
          const result = add(s.add, s.length, fill);
          const held = [...model.values()].flat().reduce((sum, [, length]) => sum + length + 200, 0);
          if (result === HELD_NOT)
            assert.ok(held > HOLD_BYTES / 2 - 66_000 || model.size > 0, 'refused an empty area');
          else model.set(s.add, [...(model.get(s.add) ?? []), [fill, s.length]]);
        } else if (model.has(s.release)) {
          assert.deepEqual(release(s.release), model.get(s.release));
          model.delete(s.release);
        }
        assert.equal(hold.hostCount, model.size);
      }
    }),
    { numRuns: 60 },
  );
});

test('the hold region lies behind the burst region', () => {
  assert.equal(HOLD_START, BURST_BYTES);
});

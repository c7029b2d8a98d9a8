import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  CaptureReader,
  CaptureWriter,
  createCaptureRing,
  KIND_IN,
  KIND_OUT,
  SIDE_V4,
  SIDE_V6,
} from '#nat64d/shm/capture-ring.js';

const SIZE = 1024;

/** Puts a frame whose bytes are all `fill`; whether there was room. */
function put(writer: CaptureWriter, side: number, length: number, fill: number, like: number): boolean {
  const record = writer.open(KIND_IN | side, length, length, fill, like);
  if (record < 0) return false;
  const at = writer.bytesOf(record);
  assert.equal(at % 8, like % 8);
  writer.u8.fill(fill, at, at + length);
  return true;
}

test('any interleaving of frames put, taken back and read gives what was put, in order, and counts the rest as lost', () => {
  const step = fc.oneof(
    { weight: 3, arbitrary: fc.record({ length: fc.nat(400), side: fc.nat(1), like: fc.nat(31) }) },
    { weight: 1, arbitrary: fc.record({ cancelled: fc.nat(200) }) },
    { weight: 2, arbitrary: fc.record({ read: fc.nat(4) }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const ring = createCaptureRing(SIZE);
      let writer = new CaptureWriter(ring);
      const reader = new CaptureReader(ring);
      const expected: { fill: number; side: number; length: number }[] = [];
      const lost = [0, 0];
      const wanted = [0, 0];
      const told = [0, 0];
      const read = () => {
        if (!reader.next()) return false;
        const one = expected.shift();
        assert.deepEqual(
          { fill: reader.number, side: reader.side, length: reader.length },
          one,
          'in the order in which they were put',
        );
        assert.ok(
          reader.bytes.every((byte) => byte === reader.number) && reader.bytes.length === one?.length,
        );
        told[reader.side]! += reader.lostBefore;
        reader.take();
        return true;
      };
      for (const [i, now] of steps.entries()) {
        const fill = i & 255;
        if ('read' in now) {
          for (let n = 0; n < now.read; n++) read();
          // A worker that is replaced goes on where the last one has published.
          if (now.read === 4) writer = new CaptureWriter(ring);
        } else if ('cancelled' in now) {
          const record = writer.open(KIND_OUT | SIDE_V4, now.cancelled, now.cancelled, fill, 0);
          if (record >= 0) writer.cancel(record);
          else {
            wanted[1]!++;
            lost[1]!++;
          }
          writer.publish();
        } else {
          const { side, length, like } = now;
          wanted[side]!++;
          if (put(writer, side, length, fill, like)) expected.push({ fill, side, length });
          else lost[side]!++;
          writer.publish();
        }
        assert.deepEqual(reader.totals, { wanted, lost });
      }
      while (read());
      assert.equal(expected.length, 0);
      for (const side of [SIDE_V6, SIDE_V4]) assert.ok((told[side] as number) <= (lost[side] as number));
    }),
  );
});

test('frames lost are told by the next one of their side', () => {
  const ring = createCaptureRing(SIZE);
  const writer = new CaptureWriter(ring);
  const reader = new CaptureReader(ring);
  assert.ok(put(writer, SIDE_V6, 900, 1, 0));
  for (let i = 0; i < 3; i++) assert.ok(!put(writer, SIDE_V4, 200, 2, 0));
  writer.publish();
  assert.ok(reader.next());
  reader.take();
  assert.ok(put(writer, SIDE_V6, 10, 3, 0) && put(writer, SIDE_V4, 10, 4, 0));
  writer.publish();
  assert.ok(reader.next());
  assert.deepEqual([reader.side, reader.lostBefore], [SIDE_V6, 0]);
  reader.take();
  assert.ok(reader.next());
  assert.deepEqual([reader.side, reader.lostBefore], [SIDE_V4, 3]);
});

test('what is not published is not seen, and its time is that of all threads', () => {
  const ring = createCaptureRing(SIZE);
  const writer = new CaptureWriter(ring);
  const reader = new CaptureReader(ring);
  const [beforeSec] = process.hrtime();
  put(writer, SIDE_V6, 10, 1, 0);
  assert.ok(!reader.next());
  writer.publish();
  assert.ok(reader.next());
  const [afterSec] = process.hrtime();
  assert.ok(reader.sec >= beforeSec && reader.sec <= afterSec && reader.nsec < 1e9);
  assert.ok(!reader.isOutbound);
});

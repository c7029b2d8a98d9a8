/** Captures as pcapng, against a reader of its own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type CaptureOptions, Captures, TooManyCapturesError } from '#nat64d/control/capture/captures.js';
import { blocksIn, readPacket } from '#nat64d/control/capture/pcapng.js';
import { CaptureWriter, KIND_IN, KIND_OUT, SIDE_V4, SIDE_V6 } from '#nat64d/shm/capture-ring.js';
import { counter } from '#nat64d/shm/counters.js';
import type { ToWorker } from '#nat64d/shm/worker-task.js';
import { nsOf, readPcapng } from '../../../helpers/pcapng.js';

const SECTION = 0x0a0d0d0a;
const ALL: CaptureOptions = { host: null, side: 'both', snapLength: 262_144 };

/** Captures with so many workers, whose part a test plays. */
function setUp(workerCount: number) {
  const sent: ToWorker[][] = Array.from({ length: workerCount }, () => []);
  const captures = new Captures(
    () => sent.length,
    (worker, message) => void sent[worker]?.push(message),
  );
  const writer = (worker: number) => {
    const message = sent[worker]?.findLast((one) => one.type === 'capture');
    assert.ok(message?.type === 'capture');
    return new CaptureWriter(message.capture.ring);
  };
  return { captures, sent, writer };
}

function put(writer: CaptureWriter, kind: number, bytes: Uint8Array, verdict = 0, number = 1): void {
  const record = writer.open(kind, bytes.length + 1000, bytes.length, number, 0);
  assert.ok(record >= 0);
  writer.u8.set(bytes, writer.bytesOf(record));
  writer.setVerdict(record, verdict);
  writer.publish();
}

test('the parts of a capture are a file: section, an interface for each side, frames, statistics', () => {
  const { captures, sent, writer } = setUp(1);
  const beforeNs = BigInt(Date.now() - 5) * 1_000_000n;
  const capture = captures.open('nat64', { ...ALL, snapLength: 96 });
  assert.equal(captures.count, 1);
  const worker = writer(0);
  const parts = [capture.read()];
  put(worker, KIND_IN | SIDE_V6, Buffer.from('123456789'), counter('drop-ttl'), 7);
  put(worker, KIND_OUT | SIDE_V4, Buffer.from('12345678'), 0, 8);
  put(worker, KIND_IN | SIDE_V6, Buffer.alloc(0), -1, 9);
  parts.push(capture.read());
  assert.equal(capture.read(), null);
  put(worker, KIND_IN | SIDE_V6, Buffer.from('late'));
  parts.push(capture.end());
  assert.deepEqual(
    parts.map((part) => part?.frames),
    [0, 3, 4],
  );
  assert.equal(captures.count, 0);
  assert.deepEqual(
    sent[0]?.map(({ type }) => type),
    ['capture', 'capture-end'],
  );

  const blocks = readPcapng(Buffer.concat(parts.map((part) => part?.pcapng as Uint8Array)));
  assert.deepEqual(
    blocks.map(({ type }) => type),
    [SECTION, 1, 1, 6, 6, 6, 6, 5, 5],
  );
  const [section, v6, v4, dropped, sent4, held, , statistics6, statistics4] = blocks;
  assert.deepEqual(section?.fields, { magic: 0x1a2b3c4d, major: 1, minor: 0, sectionLength: -1n });
  assert.deepEqual(v6?.fields, { linkType: 101, reserved: 0, snapLength: 96 });
  assert.deepEqual(
    [v6, v4].map((one) => [String(one?.options.get(2)), [...(one?.options.get(9) ?? [])]]),
    [
      ['nat64-v6', [9]],
      ['nat64-v4', [9]],
    ],
  );
  assert.equal(String(dropped?.data), '123456789');
  assert.deepEqual([dropped?.fields.interface, dropped?.fields.length], [0, 1009]);
  assert.equal(String(dropped?.options.get(1)), 'dropped: ttl');
  assert.equal(dropped?.options.get(2)?.readUInt32LE(), 1, 'inbound');
  assert.equal(dropped?.options.get(5)?.readBigUInt64LE(), 7n);
  assert.deepEqual([sent4?.fields.interface, sent4?.options.get(2)?.readUInt32LE()], [1, 2]);
  assert.ok(!sent4?.options.has(1));
  assert.equal(String(held?.options.get(1)), 'held until its host has a map');
  const afterNs = BigInt(Date.now() + 5) * 1_000_000n;
  for (const block of blocks.slice(3)) assert.ok(nsOf(block) > beforeNs && nsOf(block) < afterNs);
  assert.deepEqual(
    [statistics6, statistics4].map((one) =>
      [one?.options.get(5), one?.options.get(6)].map((o) => o?.readBigUInt64LE()),
    ),
    [
      [0n, 3n],
      [0n, 1n],
    ],
  );
});

test('a capture of one side has one interface', () => {
  const { captures, writer } = setUp(1);
  const capture = captures.open('nat64', { ...ALL, side: 'v4' });
  put(writer(0), KIND_IN | SIDE_V4, Buffer.from('abc'));
  const blocks = readPcapng(capture.end().pcapng);
  assert.deepEqual(
    blocks.map(({ type, fields }) => [type, fields.interface]),
    [
      [SECTION, undefined],
      [1, undefined],
      [6, 0],
      [5, 0],
    ],
  );
  assert.equal(String(blocks[1]?.options.get(2)), 'nat64-v4');
});

test('frames of several workers are in the order of their times', () => {
  const { captures, writer } = setUp(3);
  const capture = captures.open('nat64', ALL);
  const workers = [writer(0), writer(1), writer(2)];
  for (let i = 0; i < 30; i++) put(workers[(i * 7) % 3] as CaptureWriter, KIND_IN, Buffer.of(i));
  const packets = readPcapng(capture.end().pcapng).filter(({ type }) => type === 6);
  assert.deepEqual(
    packets.map(({ data }) => data[0]),
    Array.from({ length: 30 }, (_, i) => i),
  );
  assert.deepEqual(
    packets.slice(0, 3).map(({ options }) => options.get(6)?.readUInt32LE()),
    [0, 1, 2],
  );
});

test('what a full ring has lost is told by the frame behind the gap and at the end, and what the end leaves behind too', () => {
  const { captures, writer } = setUp(1);
  const capture = captures.open('nat64', ALL);
  const worker = writer(0);
  const large = Buffer.alloc(60_000);
  let lost = 0;
  for (let i = 0; i < 100; i++) {
    if (worker.open(KIND_IN | SIDE_V6, large.length, large.length, i, 0) < 0) lost++;
    worker.publish();
  }
  assert.ok(lost > 0);
  const parts: Uint8Array[] = [];
  for (let part = capture.read(); part !== null; part = capture.read()) {
    assert.ok(part.pcapng.length < 200_000, 'bounded pieces');
    assert.equal(part.lost, lost);
    parts.push(part.pcapng);
  }
  put(worker, KIND_IN | SIDE_V6, Buffer.from('after'));
  for (let i = 0; i < 20; i++) worker.open(KIND_IN | SIDE_V6, large.length, large.length, i, 0);
  worker.publish();
  const end = capture.end();
  const blocks = readPcapng(Buffer.concat([...parts, end.pcapng]));
  const packets = blocks.filter(({ type }) => type === 6);
  const gap = packets.find(({ data }) => String(data) === 'after');
  assert.equal(gap?.options.get(4)?.readBigUInt64LE(), BigInt(lost));
  assert.ok(end.lost > lost, 'not all of the last fit');
  assert.equal(packets.length + end.lost, 121);
  assert.equal(blocks.at(-2)?.options.get(5)?.readBigUInt64LE(), BigInt(end.lost));
});

test('four captures at once and no more; a worker that starts later takes part', () => {
  const { captures, sent } = setUp(2);
  const open = [1, 2, 3, 4].map(() => captures.open('nat64', ALL));
  assert.throws(() => captures.open('nat64', ALL), TooManyCapturesError);
  open[1]?.close();
  open[1]?.close();
  assert.equal(sent[0]?.filter(({ type }) => type === 'capture-end').length, 1);
  const tasks = captures.tasksOf(1);
  assert.deepEqual(
    tasks.map(({ id }) => id),
    [1, 3, 4],
  );
  const first = sent[1]?.[0];
  assert.ok(first?.type === 'capture' && first.capture.ring === tasks[0]?.ring);
  captures.open('nat64', ALL);
});

test('blocks are read back as they were written', () => {
  const { captures, writer } = setUp(1);
  const capture = captures.open('nat64', ALL);
  put(writer(0), KIND_OUT | SIDE_V4, Buffer.from('abc'), counter('drop-loop'), 5);
  const packets = [...blocksIn(capture.end().pcapng)].filter(({ isPacket }) => isPacket);
  const { bytes, ns, ...rest } = readPacket(packets[0]?.bytes as Uint8Array);
  assert.equal(String(Buffer.from(bytes)), 'abc');
  assert.ok(ns > 1_700_000_000_000_000_000n);
  assert.deepEqual(rest, {
    interfaceId: 1,
    length: 1003,
    isOutbound: true,
    lostBefore: 0,
    id: 5n,
    queue: 0,
    comment: 'dropped: loop',
  });
});

test('a worker that comes while a capture runs is captured too, and told of its end', () => {
  const { captures, sent } = setUp(1);
  const capture = captures.open('nat64', ALL);
  const [task, ...others] = captures.tasksOf(1);
  assert.equal(others.length, 0);
  assert.equal(captures.tasksOf(1)[0]?.ring, task?.ring, 'one that takes its place goes on in the same ring');
  sent[1] = [];
  put(new CaptureWriter(task?.ring as SharedArrayBuffer), KIND_IN | SIDE_V6, Buffer.from('frame'));
  const blocks = readPcapng(capture.end().pcapng);
  assert.deepEqual(
    blocks.flatMap(({ type, data }) => (type === 6 ? [String(data)] : [])),
    ['frame'],
  );
  assert.deepEqual(
    sent[1].map(({ type }) => type),
    ['capture-end'],
  );
});

/** Captures over the control socket: whole files, clients that are slow, and clients that go. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CaptureChunk } from '#nat64d/control/capture/captures.js';
import { encodeMessage } from '#nat64d/control/control-socket/protocol.js';
import { CapturedWorker } from '../../../helpers/captured-worker.js';
import { readPcapng } from '../../../helpers/pcapng.js';
import { HELLO, SocketLab } from '../../../helpers/socket-lab.js';
import { TestSubject } from '../../../helpers/subject.js';
import { until } from '../../../helpers/until.js';

const SUBSCRIBE = encodeMessage({ id: 1, request: 'subscribe', arguments: { topic: 'capture' } });

let lab: SocketLab;
let subject: TestSubject;
beforeEach(async () => {
  lab = new SocketLab();
  subject = new TestSubject();
  await lab.open(subject);
});
afterEach(() => lab.close());

/** Waits, twenty seconds at most, until there are so many captures. */
async function untilCaptures(count: number): Promise<void> {
  const endMs = performance.now() + 20_000;
  while (subject.dataplane.captures.count !== count) {
    assert.ok(performance.now() < endMs, `${subject.dataplane.captures.count} captures`);
    await sleep(5);
  }
}

test('events and the reply that ends them are a whole file', async () => {
  const client = await lab.client();
  const parts: Uint8Array[] = [];
  const subscription = await client.subscribe(
    'capture',
    { host: '2001:db8:1::/64', side: 'v6', snapLength: 128 },
    (event) => parts.push((event as CaptureChunk).pcapng),
  );
  const worker = new CapturedWorker(subject.sent);
  assert.equal(worker.task.side, 'v6');
  assert.equal(worker.task.snapLength, 128);
  assert.equal(worker.task.host?.prefix.length, 64);
  for (let i = 0; i < 5000; i++) {
    worker.put(Buffer.alloc(100, i));
    if (i % 500 === 0) await sleep(5);
  }
  const last = (await client.request('unsubscribe', { subscription })) as CaptureChunk;
  const blocks = readPcapng(Buffer.concat([...parts, last.pcapng]));
  const packets = blocks.filter(({ type }) => type === 6);
  assert.deepEqual(
    packets.map(({ data }) => data[0]),
    Array.from({ length: 5000 }, (_, i) => i & 255),
  );
  assert.deepEqual([last.frames, last.lost, blocks.at(-1)?.type], [5000, 0, 5]);
  assert.equal(subject.dataplane.captures.count, 0);
  await assert.rejects(client.request('unsubscribe', { subscription }), { code: 'not-found' });
});

test('a client that is cut off, and one that ends, take their captures with them', async () => {
  for (const end of ['destroy', 'end'] as const) {
    const raw = await lab.raw(HELLO, SUBSCRIBE);
    await raw.message(1);
    assert.equal(subject.dataplane.captures.count, 1);
    raw.socket[end]();
    await untilCaptures(0);
    assert.equal(subject.sent.at(-1)?.type, 'capture-end');
  }
});

test('a client that does not read loses frames, is held nothing for, and finds the number of them afterwards', async () => {
  const raw = await lab.raw(HELLO, SUBSCRIBE);
  await raw.message(2);
  raw.socket.pause();
  const worker = new CapturedWorker(subject.sent);
  let put = 0;
  let lost = 0;
  const before = process.memoryUsage().arrayBuffers;
  for (let i = 0; i < 400; i++) {
    for (let n = 0; n < 2; n++) worker.put(Buffer.alloc(60_000)) ? put++ : lost++;
    await sleep(0);
  }
  assert.ok(lost > 0, 'the ring is full');
  assert.ok(process.memoryUsage().arrayBuffers - before < 16 << 20);
  // Others are served meanwhile, and what goes away without having read is noticed.
  const client = await lab.client();
  assert.ok(await client.request('counters'));
  raw.socket.resume();
  const told = () => Number((raw.messages.at(-1)?.event as CaptureChunk | undefined)?.frames);
  await until(
    () => told() >= put,
    () => `${put} frames, the last message tells of ${told()}`,
  );
  raw.socket.write(encodeMessage({ id: 2, request: 'unsubscribe', arguments: { subscription: 1 } }));
  await until(() => raw.messages.some(({ id }) => id === 2), 'the reply');
  const parts = raw.messages.flatMap(({ event, result }) => (event ?? result ?? {}) as CaptureChunk);
  const blocks = readPcapng(Buffer.concat(parts.flatMap(({ pcapng }) => pcapng ?? [])));
  assert.equal(blocks.filter(({ type }) => type === 6).length, put);
  assert.equal(blocks.at(-2)?.options.get(5)?.readBigUInt64LE(), BigInt(lost));
});

test('a client that has said that it says no more, and neither reads nor goes, has no capture any more', async () => {
  // Sends, half-closes, and sits there with the socket open.
  const sitter = spawn('python3', [
    '-c',
    'import socket, sys, time\ns = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(bytes.fromhex(sys.argv[2])); sys.stdin.readline(); s.shutdown(socket.SHUT_WR); time.sleep(60)',
    lab.path,
    Buffer.concat([HELLO, SUBSCRIBE]).toString('hex'),
  ]);
  try {
    await untilCaptures(1);
    const worker = new CapturedWorker(subject.sent);
    await until(() => !worker.put(Buffer.alloc(60_000)), 'a ring that is full', 10_000, 1);
    sitter.stdin.write('\n');
    await untilCaptures(0);
  } finally {
    sitter.kill('SIGKILL');
  }
});

test('a client that stopped reading and is killed ends its capture', async () => {
  const raw = await lab.raw(HELLO, SUBSCRIBE);
  await raw.message(2);
  raw.socket.pause();
  const worker = new CapturedWorker(subject.sent);
  for (let i = 0; i < 100; i++) {
    worker.put(Buffer.alloc(60_000));
    await sleep(0);
  }
  assert.equal(subject.dataplane.captures.count, 1);
  raw.socket.destroy();
  await untilCaptures(0);
});

test('a wrong filter is refused and begins nothing; a fifth capture is one too many', async () => {
  const client = await lab.client();
  const subscribe = (arguments_: object) => client.subscribe('capture', arguments_, () => {});
  await assert.rejects(subscribe({ host: 'example.com' }), /neither an address nor a prefix/);
  await assert.rejects(subscribe({ side: 'left' }), { code: 'bad-arguments' });
  await assert.rejects(subscribe({ intervalMs: 100 }), { code: 'bad-arguments' });
  await assert.rejects(subscribe({ snapLength: 0 }), { code: 'bad-arguments' });
  assert.equal(subject.dataplane.captures.count, 0);
  for (let i = 0; i < 4; i++) await subscribe({});
  const other = await lab.client();
  await assert.rejects(
    other.subscribe('capture', {}, () => {}),
    { code: 'busy' },
  );
  client.close();
  await untilCaptures(0);
});

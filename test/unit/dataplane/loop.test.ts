import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Loop } from '#nat64d/dataplane/loop.js';
import { readCounters } from '#nat64d/shm/counters.js';
import { ANSWER_NETWORK_FULL, ANSWER_REFUSED, HostRing } from '#nat64d/shm/host-ring.js';
import { HostTable } from '#nat64d/shm/host-table.js';
import { beatWord, CLOCK, epochWord } from '#nat64d/shm/shared-state.js';
import { GSO_TCPV6, VNET_GSO_TYPE, VNET_HEADER } from '#nat64d/wire/vnet.js';
import { Device } from '../../helpers/device.js';
import { address6, HOST6 } from '../../helpers/harness.js';
import { bytes, icmp, ipv6, udp } from '../../helpers/packet.js';
import { makeTask } from '../../helpers/worker-task.js';

const SERVER = { src: HOST6, dst: '64:ff9b:1::8.8.8.8' };
const datagram = (size = 64) => ipv6(SERVER, udp({}, bytes(size)));
const echo = () => ipv6(SERVER, icmp({ type: 128 }, bytes(8)));

function serve(device: Device, coalesce: 'none' | 'all' = 'all') {
  const task = makeTask({ coalesce });
  const loop = new Loop(task, () => {}, device);
  return { loop, task, count: () => readCounters(task.counters), close: () => task.port.close() };
}

test('a sparse queue is read again behind the write, then waited for a moment', () => {
  const device = new Device([echo(), echo()]);
  const { loop, close } = serve(device);
  loop.serve();
  assert.deepEqual(device.asked, ['read 1', 'write 1', 'read 1', 'write 1', 'read 256', 'wait']);
  close();
});

test('a readable queue that has nothing is not waited for', () => {
  const device = new Device([]);
  const { loop, close } = serve(device);
  loop.serve();
  assert.deepEqual(device.asked, ['read 1']);
  close();
});

/** A device all of whose frames are super-frames while `isSuper` says so. */
function superDevice(isSuper: () => boolean): Device {
  const device = new Device([]);
  const { read } = device;
  return Object.assign(device, {
    read: (...words: Parameters<typeof read>) => {
      const n = read(...words);
      const [, ring, , , , offsets] = words;
      for (let i = 0; i < n && isSuper(); i++)
        ring[(offsets[2 * i] as number) - VNET_HEADER + VNET_GSO_TYPE] = GSO_TCPV6;
      return n;
    },
  });
}

test('the next frame is waited for awake where eight super-frames came in this turn and the one before', () => {
  let isSuper = false;
  const device = superDevice(() => isSuper);
  const { loop, close } = serve(device);
  for (const [superFrames, others, expected] of [
    [0, 9, 'wait'],
    [7, 0, 'wait'],
    [1, 0, 'wait awake'],
    [7, 0, 'wait awake'],
    [0, 1, 'wait'],
    [8, 0, 'wait awake'],
    [0, 1, 'wait awake'],
    [0, 1, 'wait'],
  ] as const) {
    isSuper = superFrames > 0;
    device.asked.length = 0;
    device.frames.push(...Array.from({ length: superFrames + others }, echo));
    loop.serve();
    assert.deepEqual(
      device.asked.filter((asked) => asked.startsWith('wait')),
      [expected],
      `${superFrames} super-frames, ${others} others`,
    );
  }
  close();
});

test('a bulk turn whose waits lend the CPU to others ends after some milliseconds', () => {
  const device = superDevice(() => true);
  const wait = (_fd: number, _timeoutUs: number, isAwake: boolean) => {
    // What a yield may take.
    if (isAwake) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3);
    return device.frames.push(echo()) > 0;
  };
  const { loop, count, close } = serve(Object.assign(device, { wait }));
  device.frames.push(...Array.from({ length: 8 }, echo));
  loop.serve();
  // Two sparse reads, the rest of the eight, and what came with two waits.
  assert.equal(count()['frames-in-v6'], 9);
  assert.equal(device.frames.length, 1, 'left for the next turn');
  close();
});

test('draining a queue gives the event loop its turn after 1024 frames, too', () => {
  const { loop, count, close } = serve(new Device(Array.from({ length: 1500 }, () => echo())));
  assert.equal(loop.drain(), false);
  assert.equal(count()['frames-in-v6'], 1024);
  assert.equal(loop.drain(), true);
  assert.equal(count()['frames-in-v6'], 1500);
  close();
});

test('the event loop gets its turn after 1024 frames, and after 64 bursts', () => {
  const full = serve(new Device(Array.from({ length: 3000 }, () => echo())));
  full.loop.serve();
  assert.equal(full.count()['frames-in-v6'], 1026, 'two sparse reads and four bursts');
  full.close();

  const frames = [echo()];
  const trickle = new Device(frames);
  // The next one is always there in time.
  Object.assign(trickle, { wait: () => frames.push(echo()) > 0 });
  const slow = serve(trickle);
  slow.loop.serve();
  assert.equal(slow.count().bursts, 64);
  slow.close();
});

for (const [what, refuses, expected] of [
  ['nothing', [], { 'frames-out': 4, 'bytes-out': 3 * 92 + 36, 'write-refused': 0 }],
  ['a super-frame of three', [0], { 'frames-out': 1, 'bytes-out': 36, 'write-refused': 3 }],
  ['the echo', [1], { 'frames-out': 3, 'bytes-out': 3 * 92, 'write-refused': 1 }],
  ['all', [0, 1], { 'frames-out': 0, 'bytes-out': 0, 'write-refused': 4 }],
] as const) {
  test(`what a device refuses is counted as the frames that it was joined from, and not tried again: ${what}`, () => {
    const device = new Device(
      [echo(), echo(), datagram(), datagram(), datagram(), echo()],
      [0, 1, ...refuses.map((n) => n + 2)],
    );
    const { loop, count, close } = serve(device);
    // The first two come one by one.
    loop.serve();
    const counters = count();
    assert.deepEqual(
      Object.fromEntries(Object.keys(expected).map((name) => [name, counters[name as 'frames-out']])),
      { ...expected, 'write-refused': expected['write-refused'] + 2 },
    );
    assert.equal(device.written, 4);
    close();
  });
}

test('two answers about a held host at once, as after a time in which control was held up: released once, and no loop', () => {
  const stranger = '2001:db8:9::9';
  const device = new Device([ipv6({ ...SERVER, src: stranger }, udp({}, bytes(64)))]);
  const { loop, task, count, close } = serve(device);
  loop.serve();
  assert.equal(count().held, 1);
  const [w0, w1, w2, w3] = address6(stranger);
  const answers = new HostRing(task.answers);
  for (let i = 0; i < 2; i++) answers.push(w0, w1, w2, w3, ANSWER_REFUSED);
  loop.serveAnswers();
  assert.deepEqual([count().held, count()['drop-refused']], [1, 1]);
  close();
});

test('where a /64 has all the maps that it may, its other hosts are refused without a question, for two seconds', () => {
  const from = (src: string) => ipv6({ ...SERVER, src }, udp({}, bytes(64)));
  const device = new Device([from('2001:db8:9::9')]);
  const { loop, task, count, close } = serve(device);
  loop.serve();
  const [w0, w1, w2, w3] = address6('2001:db8:9::9');
  new HostRing(task.answers).push(w0, w1, w2, w3, ANSWER_NETWORK_FULL);
  loop.serveAnswers();
  assert.deepEqual([count()['hosts-asked'], count()['drop-refused']], [1, 1]);
  device.frames.push(from('2001:db8:9::a'), from('2001:db8:9:1::9'), from('2001:db8:9::b'));
  loop.serve();
  assert.deepEqual([count()['hosts-asked'], count()['drop-refused']], [2, 3], 'the other /64 asks');
  Atomics.add(new Int32Array(task.state), CLOCK, 3);
  device.frames.push(from('2001:db8:9::c'));
  loop.serve();
  assert.deepEqual([count()['hosts-asked'], count()['drop-refused']], [3, 3]);
  new HostRing(task.answers).push(w0, w1, w2, w3, ANSWER_NETWORK_FULL);
  loop.serveAnswers();
  loop.reload(task);
  device.frames.push(from('2001:db8:9::d'));
  loop.serve();
  assert.deepEqual([count()['hosts-asked'], count()['drop-refused']], [4, 3], 'a reload may have made room');
  close();
});

test('a host of a full /64 that the table misses once is not refused: it has a map', (t) => {
  const device = new Device([ipv6({ ...SERVER, src: '2001:db8:1::9' }, udp({}, bytes(64)))]);
  const { loop, task, count, close } = serve(device);
  loop.serve();
  // HOST6 is of the same /64.
  new HostRing(task.answers).push(...address6('2001:db8:1::9'), ANSWER_NETWORK_FULL);
  loop.serveAnswers();
  const { find } = HostTable.prototype;
  let misses = 1;
  t.mock.method(HostTable.prototype, 'find', function (this: HostTable, ...args: Parameters<typeof find>) {
    return misses-- > 0 ? -1 : find.apply(this, args);
  });
  device.frames.push(datagram());
  const before = count();
  loop.serve();
  assert.equal(misses < 0, true);
  assert.deepEqual(
    [count()['drop-refused'] - before['drop-refused'], count()['frames-out'] - before['frames-out']],
    [0, 1],
  );
  close();
});

test('what is held at the end is dropped and counted', () => {
  const stranger = { ...SERVER, src: '2001:db8:9::9' };
  const device = new Device([1, 2].map(() => ipv6(stranger, udp({}, bytes(64)))));
  const { loop, count, close } = serve(device);
  loop.serve();
  assert.equal(count().held, 2);
  loop.end();
  assert.equal(count()['drop-hold-timeout'], 2);
  close();
});

test('packets noted for the log are told before a reload changes what is noted, and at the end', () => {
  const told: string[] = [];
  const device = new Device([]);
  const task = makeTask({ logPackets: ['drop'] });
  const loop = new Loop(
    task,
    (message) => {
      if (message.type === 'packets') told.push(...message.notes.map(({ source }) => source));
    },
    device,
  );
  const drop = (src: string) => {
    device.frames.push(ipv6({ ...SERVER, src }, udp({})));
    loop.serve();
  };
  drop('::1');
  loop.reload(task);
  assert.deepEqual(told, ['::1']);
  drop('ff02::1');
  loop.end();
  assert.deepEqual(told, ['::1', 'ff02::1']);
  task.port.close();
});

test('each second its event loop gets its turn is counted, for whoever looks whether it still does', () => {
  const { loop, task, close } = serve(new Device([]));
  const state = new Int32Array(task.state);
  const before = state[beatWord(task.worker)] as number;
  loop.tick();
  loop.serve();
  loop.tick();
  assert.equal(state[beatWord(task.worker)], before + 2);
  assert.equal(state[epochWord(task.worker)], 0, 'and it looks at no table any more');
  close();
});

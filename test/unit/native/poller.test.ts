/** Readiness: when the callback comes, and what is left when a thread ends. */
import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import { EventEmitter, on } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { after, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import native, { type Poller } from '#native';
import { until } from '../../helpers/until.js';
import {
  close,
  ip,
  type Link,
  open,
  openDescriptors,
  openLink,
  Receiver,
  sendUdp,
  turns,
  udpPacket,
} from './lab.js';
import type { Ending } from './poller-worker.js';

const pollers = new Set<Poller>();
after(() => {
  for (const poller of pollers) poller.stop();
});

/** A poller that a failed test cannot leave running. */
function poll(fd: number, onReadable: (errno: number) => void): Poller {
  const poller = new native.Poller(fd, onReadable);
  pollers.add(poller);
  return poller;
}

const ring = new Uint8Array(new SharedArrayBuffer(1 << 20));
const frames = new Int32Array(512);
const drain = (fd: number) => native.read(fd, ring, 0, ring.length, 80, frames, 256);

test('calls back while the queue is readable, and not once it is empty', async () => {
  const { fd, far } = openLink();
  let calls = 0;
  let read = 0;
  const errnos = new Set<number>();
  const poller = poll(fd, (errno) => {
    errnos.add(errno);
    // Level-triggered: what the first two calls leave is reported again.
    if (++calls > 2) read += drain(fd);
  });
  await turns(10);
  assert.equal(calls, 0);
  await sendUdp(far, ['one', 'two']);
  await until(() => read >= 2, 'two frames to be read');
  const before = calls;
  assert.ok(before >= 3);
  await turns(10);
  assert.equal(calls, before);
  assert.deepEqual([...errnos], [0]);
  poller.stop();
});

test('stop: within the callback, twice, and for good; then the same descriptor again', async () => {
  const { fd, far } = openLink();
  let calls = 0;
  const poller = poll(fd, () => {
    calls++;
    poller.stop();
    poller.stop();
  });
  await sendUdp(far, ['waits']);
  await until(() => calls > 0, 'a call');
  await turns(10);
  assert.equal(calls, 1);
  poller.stop();

  let again = 0;
  const second = poll(fd, () => {
    again += drain(fd);
  });
  await until(() => again > 0, 'a call');
  assert.equal(again, 1);
  second.stop();
  // Before the loop has had its turn.
  const third = poll(fd, () => assert.fail('stopped'));
  await sendUdp(far, ['unread']);
  third.stop();
  await turns(10);
});

test('a stopped poller may be followed by another at once, before the loop has closed it', async () => {
  const { fd, far } = openLink();
  let calls = 0;
  for (let i = 0; i < 50; i++) poll(fd, () => assert.fail('stopped')).stop();
  const poller = poll(fd, () => {
    calls += drain(fd);
  });
  await sendUdp(far, ['frame']);
  await until(() => calls > 0, 'a call');
  poller.stop();
});

test('refuses a second poller of one descriptor, a file, and a closed descriptor', () => {
  const { fd } = openLink();
  const poller = poll(fd, () => {});
  assert.throws(() => poll(fd, () => {}), {
    code: 'EEXIST',
    errno: 17,
    syscall: 'uv_poll_init',
    message: /polled by this thread already/,
  });
  poller.stop();
  const file = openSync('/proc/self/exe', 'r');
  assert.throws(() => poll(file, () => {}), { code: 'EPERM', errno: 1, message: /cannot be polled/ });
  closeSync(file);
  assert.throws(() => poll(file, () => {}), { code: 'EBADF', errno: 9, message: /is closed/ });
});

test('the callback runs in the asynchronous context of the constructor, with the Poller as this', async () => {
  const { fd, far } = openLink();
  const storage = new AsyncLocalStorage<string>();
  let seen: unknown[] = [];
  const poller = storage.run('the context', () =>
    poll(fd, function (this: unknown) {
      seen = [storage.getStore(), this];
      drain(fd);
    }),
  );
  await sendUdp(far, ['frame']);
  await until(() => seen.length > 0, 'a call');
  assert.equal(seen[0], 'the context');
  assert.equal(seen[1], poller);
  poller.stop();
});

test('a device that is down is silent; one that is deleted reports EBADF once and the poll ends', async () => {
  const link = openLink();
  const errnos: number[] = [];
  poll(link.fd, (errno) => errnos.push(errno));
  ip('link', 'set', link.name, 'down');
  await turns(20);
  assert.deepEqual(errnos, []);
  ip('link', 'delete', link.name);
  await until(() => errnos.length > 0, 'an error');
  await turns(20);
  assert.deepEqual(errnos, [9]);
  assert.throws(() => drain(link.fd), { code: 'EBADFD' });
});

test('a poller is kept while it polls, and collected when it is stopped', async () => {
  const { fd, far } = openLink();
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  let calls = 0;
  const make = () => {
    const poller = new native.Poller(fd, () => {
      calls += drain(fd);
      if (calls > 1) reference.deref()!.stop();
    });
    return new WeakRef(poller);
  };
  const reference = make();
  for (const payload of ['one', 'two']) {
    await turns(5);
    collect();
    const before = calls;
    await sendUdp(far, [payload]);
    await until(() => calls !== before, `a call for '${payload}'`);
  }
  for (let i = 0; i < 100 && reference.deref() !== undefined; i++) {
    await turns(2);
    collect();
  }
  assert.equal(reference.deref(), undefined);
});

interface Thread {
  worker: Worker;
  /** The next message. */
  said: () => Promise<string>;
  /** Its exit code. */
  exit: Promise<number>;
}

function start(link: Link, ending: Ending): Thread {
  const worker = new Worker(new URL('./poller-worker.js', import.meta.url), {
    workerData: { fd: link.fd, ending },
  });
  // A test that expects an error listens too; in the others the exit code tells.
  worker.on('error', () => {});
  // The worker's own iterator would end at an error, and an error may overtake a message.
  const relay = new EventEmitter();
  worker.on('message', (message) => relay.emit('message', message));
  const messages = on(relay, 'message');
  return {
    worker,
    said: async () => (await messages.next()).value[0],
    exit: new Promise((resolve) => worker.once('exit', resolve)),
  };
}

/** The queue still writes, and another thread can poll it. */
async function assertUsable(link: Link): Promise<void> {
  const receiver = new Receiver();
  const port = await receiver.bind();
  const frame = Buffer.concat([Buffer.alloc(10), udpPacket(link.far, link.near, port, Buffer.from('alive'))]);
  const refused = new Int32Array(2);
  assert.equal(native.write(link.fd, frame, Int32Array.of(1, 0, frame.length), 1, refused), 1);
  await receiver.wait(1);

  const { worker, said } = start(link, 'serve');
  assert.equal(await said(), 'ready');
  await sendUdp(link.far, ['to the next thread']);
  assert.equal(await said(), 'to the next thread');
  await worker.terminate();
  // And this one, when that is gone.
  await sendUdp(link.far, ['to the main thread']);
  assert.equal(drain(link.fd), 1);
}

/** How a thread ends: the frames sent to it, whether it is terminated, and the code it exits with. */
const endings: { ending: Ending; send: boolean; terminate: boolean; code: number; error?: string }[] = [
  { ending: 'serve', send: false, terminate: true, code: 1 },
  { ending: 'serve', send: true, terminate: true, code: 1 },
  { ending: 'spin', send: true, terminate: true, code: 1 },
  { ending: 'exit', send: true, terminate: false, code: 3 },
  { ending: 'exit-at-once', send: false, terminate: false, code: 3 },
  { ending: 'throw', send: true, terminate: false, code: 1, error: 'from onReadable' },
  { ending: 'stop', send: true, terminate: false, code: 0 },
  { ending: 'stop-at-once', send: false, terminate: false, code: 0 },
];

for (const { ending, send, terminate, code, error } of endings) {
  const how = `${ending}${send ? ' in the callback' : ''}${terminate ? ', terminated' : ''}`;
  test(`a thread that ends (${how}) leaves the queue usable`, async () => {
    const link = openLink();
    const { worker, said, exit } = start(link, ending);
    const errors: string[] = [];
    worker.on('error', (cause) => errors.push((cause as Error).message));
    assert.equal(await said(), 'ready');
    if (send) {
      await sendUdp(link.far, ['frame']);
      assert.equal(await said(), 'frame');
    }
    if (terminate) await worker.terminate();
    assert.equal(await exit, code);
    assert.deepEqual(errors, error === undefined ? [] : [error]);
    await assertUsable(link);
  });
}

test('an exception of the callback is an uncaughtException of its thread; one that is handled does not end the poll', async () => {
  const link = openLink();
  const { worker, said } = start(link, 'survive');
  assert.equal(await said(), 'ready');
  for (const payload of ['one', 'two', 'three']) {
    await sendUdp(link.far, [payload]);
    assert.equal(await said(), payload);
    assert.equal(await said(), 'caught: from onReadable');
  }
  await worker.terminate();
});

test('a poll that ends with its device does not keep the thread', async () => {
  const link = openLink();
  const { said, exit } = start(link, 'survive');
  assert.equal(await said(), 'ready');
  ip('link', 'delete', link.name);
  assert.match(await said(), /caught: the device of descriptor \d+ has been deleted/);
  assert.equal(await exit, 0);
});

test('two threads poll two queues of one device', async () => {
  const first = openLink({ name: 'shared', multiQueue: true });
  const second = { ...first, fd: open({ name: 'shared', multiQueue: true }).fd };
  const threads = [start(first, 'serve'), start(second, 'serve')];
  const got: string[][] = [[], []];
  for (const { said } of threads) assert.equal(await said(), 'ready');
  const sent = Array.from({ length: 32 }, (_, i) => `flow ${i}`);
  // A socket each: the kernel spreads flows, not packets.
  for (const payload of sent) await sendUdp(first.far, [payload]);
  for (const [i, { said }] of threads.entries()) {
    void (async () => {
      for (;;) got[i]!.push(...(await said()).split(','));
    })();
  }
  await until(
    () => got.flat().length >= sent.length,
    () => `${sent.length} frames, there are ${got.flat().length}`,
  );
  assert.ok(got[0]!.length > 0 && got[1]!.length > 0, 'both queues carry flows');
  assert.deepEqual(got.flat().sort(), sent.sort());
  for (const { worker } of threads) await worker.terminate();
});

test('24 threads, however they end, leave no descriptor', async () => {
  const link = openLink();
  const kinds: [Ending, boolean][] = [
    ['serve', true],
    ['exit-at-once', false],
    ['throw', true],
    ['stop-at-once', false],
  ];
  const round = async () => {
    for (const [ending, send] of kinds) {
      const { worker, said, exit } = start(link, ending);
      await said();
      if (send) {
        await sendUdp(link.far, ['frame']);
        assert.equal(await said(), 'frame');
      }
      if (ending === 'serve') await worker.terminate();
      await exit;
    }
  };
  await round();
  const before = openDescriptors();
  for (let i = 0; i < 6; i++) await round();
  assert.equal(openDescriptors(), before);
  await assertUsable(link);
  close(link);
});

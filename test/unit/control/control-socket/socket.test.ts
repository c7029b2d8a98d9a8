/** The control socket against clients of every kind: none of them brings it down, none holds up another. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { pack } from 'msgpackr';
import { encodeMessage, MessageReader } from '#nat64d/control/control-socket/protocol.js';
import { checkGroup } from '#nat64d/control/control-socket/server.js';
import { VERSION } from '#nat64d/control/version.js';
import { HELLO, SocketLab } from '../../../helpers/socket-lab.js';
import { TestSubject } from '../../../helpers/subject.js';
import { until } from '../../../helpers/until.js';

let lab: SocketLab;
beforeEach(() => {
  lab = new SocketLab();
});
afterEach(() => lab.close());

const request = (id: unknown, name: unknown, arguments_?: unknown) =>
  encodeMessage({ id, request: name, ...(arguments_ === undefined ? {} : { arguments: arguments_ }) });

test('hello is answered with version and process, a request with its result', async () => {
  await lab.open(new TestSubject());
  const raw = await lab.raw(HELLO, request(7, 'counters'));
  assert.deepEqual(await raw.message(0), {
    hello: 'nat64d',
    protocol: 1,
    version: VERSION,
    pid: process.pid,
  });
  const { id, result } = await raw.message(1);
  assert.equal(id, 7);
  assert.equal((result as Record<string, number>)['frames-in-v6'], 0);
});

test('messages may come byte by byte, and many in one piece', async () => {
  await lab.open(new TestSubject());
  const raw = await lab.raw();
  for (const byte of Buffer.concat([HELLO, request(1, 'workers')])) {
    raw.socket.write(Buffer.of(byte));
    await new Promise(setImmediate);
  }
  raw.socket.write(Buffer.concat([request(2, 'workers'), request(3, 'workers')]));
  assert.deepEqual(
    [1, 2, 3],
    [(await raw.message(1)).id, (await raw.message(2)).id, (await raw.message(3)).id],
  );
});

for (const [what, bytes, code] of [
  ['no MessagePack', Buffer.of(0, 0, 0, 1, 0xc1), 'bad-message'],
  ['an empty message', Buffer.of(0, 0, 0, 0), 'bad-message'],
  ['a map that ends too early', Buffer.of(0, 0, 0, 2, 0x82, 0xa1), 'bad-message'],
  ['an array that claims to be huge', Buffer.of(0, 0, 0, 5, 0xdd, 0xff, 0xff, 0xff, 0xff), 'bad-message'],
  ['a number', Buffer.of(0, 0, 0, 1, 7), 'bad-message'],
  ['a request without an id', encodeMessage({ request: 'status' }), 'bad-message'],
  ['an id that is text', request('x', 'status'), 'bad-message'],
  ['arguments that are a list', request(5, 'status', [1]), 'bad-message'],
  ['an unknown request', request(5, 'constructor'), 'unknown-request'],
  ['an unknown argument', request(5, 'status', { verbose: true }), 'bad-arguments'],
  ['an address that is none', request(5, 'map-show', { address: 'x' }), 'bad-arguments'],
  ['an address that has no map', request(5, 'map-show', { address: '2001:db8::1' }), 'not-found'],
] as const) {
  test(`${what} is answered with ${code}, and the connection goes on`, async () => {
    await lab.open(new TestSubject());
    const raw = await lab.raw(HELLO, bytes, request(9, 'counters'));
    const replies = [await raw.message(1), await raw.message(2)];
    assert.equal(replies.find(({ id }) => id !== 9)?.error?.code, code);
    assert.ok(replies.find(({ id }) => id === 9)?.result);
  });
}

test('a message deeper than any stack is an error, not an end', async () => {
  await lab.open(new TestSubject());
  const deep = Buffer.alloc(60_000, 0x91);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(deep.length);
  const raw = await lab.raw(HELLO, length, deep);
  assert.equal((await raw.message(1)).error?.code, 'bad-message');
});

for (const [what, bytes, pattern] of [
  [
    'another version',
    encodeMessage({ hello: 'x', protocol: 99 }),
    /speaks version 1 of the protocol, not 99/,
  ],
  ['a request before hello', request(1, 'status'), /the first message is/],
  ['a length beyond all bounds', Buffer.of(0x7f, 0xff, 0xff, 0xff), /too long/],
  ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n'), /too long/],
] as const) {
  test(`${what} gets an error, and the connection ends`, async () => {
    await lab.open(new TestSubject());
    const raw = await lab.raw(bytes);
    assert.match((await raw.message(0)).error?.message ?? '', pattern);
    await raw.closed;
  });
}

test('what follows a message that is too long is neither kept nor answered', async () => {
  await lab.open(new TestSubject());
  const raw = await lab.raw(HELLO, Buffer.of(0x7f, 0xff, 0xff, 0xff));
  await raw.message(1);
  for (let i = 0; i < 50; i++) {
    raw.socket.write(Buffer.alloc(4096, 0x7f));
    await new Promise(setImmediate);
  }
  await raw.closed;
  assert.equal(raw.messages.length, 2);
});

test('a reader that has failed takes nothing more', () => {
  const reader = new MessageReader(10);
  assert.throws(() => [...reader.read(Buffer.of(0, 0, 1, 0))], /too long/);
  assert.deepEqual([...reader.read(encodeMessage({ a: 1 }))], []);
});

test('requests of all clients run one by one, each in a turn of its own', async () => {
  const subject = new TestSubject();
  await lab.open(subject);
  const clients = await Promise.all(Array.from({ length: 3 }, () => lab.client()));
  let turn = 0;
  let isOver = false;
  const count = () => {
    turn++;
    if (!isOver) setImmediate(count);
  };
  setImmediate(count);
  const turns: number[] = [];
  Object.defineProperty(subject.dataplane, 'workers', {
    get: () => {
      turns.push(turn);
      return [];
    },
  });
  await Promise.all(clients.flatMap((client) => [1, 2, 3, 4].map(() => client.request('workers'))));
  isOver = true;
  assert.equal(turns.length, 12);
  assert.equal(new Set(turns).size, 12);
});

test('one reload or dry run at a time', async () => {
  const subject = new TestSubject();
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const reload = subject.reload.bind(subject);
  subject.reload = async (given) => {
    await held;
    return reload(given);
  };
  await lab.open(subject);
  const [one, other] = [await lab.client(), await lab.client()];
  const first = one.request('reload');
  await one.request('counters');
  await assert.rejects(other.request('reload', { isDryRun: true }), { code: 'busy' });
  release();
  await first;
  assert.ok(await other.request('reload', { isDryRun: true }));
});

test('a socket that is retired lets the replies out that it owes, and then its clients go', async () => {
  const subject = new TestSubject();
  const control = await lab.open(subject);
  const reload = subject.reload.bind(subject);
  subject.reload = async (given) => {
    control.retire();
    assert.ok(!existsSync(lab.path));
    return reload(given);
  };
  const client = await lab.client();
  assert.ok(await client.request('reload'));
  assert.match((await client.closed).message, /has closed the connection/);
});

test('a client that never says hello is let go', async () => {
  await lab.open(new TestSubject(), { limits: { helloMs: 50 } });
  const raw = await lab.raw();
  assert.match((await raw.message(0)).error?.message ?? '', /no hello/);
  await raw.closed;
});

test('noise of any kind ends no more than its own connection', async () => {
  await lab.open(new TestSubject());
  for (let i = 0; i < 200; i++) {
    const noise = randomBytes(1 + (i % 64));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(noise.length);
    const raw = await lab.raw(
      ...(i % 3 === 0 ? [noise] : i % 3 === 1 ? [HELLO, noise] : [HELLO, length, noise]),
    );
    raw.socket.end();
    raw.socket.resume();
    await raw.closed;
  }
  const client = await lab.client();
  assert.ok(await client.request('counters'));
});

test('a client that asks and never reads is cut off; another is served meanwhile', async () => {
  const subject = new TestSubject('pool4 = "10.64.0.0/20"');
  for (let i = 1; i <= 1500; i++) subject.assign(`2001:db8::${i.toString(16)}`);
  await lab.open(subject, { limits: { backlogBytes: 64 * 1024 } });
  const stuck = await lab.raw(HELLO);
  await stuck.message(0);
  stuck.socket.pause();
  let closed = false;
  void stuck.closed.then(() => {
    closed = true;
  });
  const client = await lab.client();
  for (let id = 1; !closed && id < 10_000; id++) {
    stuck.socket.write(request(id, 'maps', { from: null }));
    assert.ok(await client.request('counters'));
    if (stuck.socket.readableLength > 0) stuck.socket.pause();
  }
  assert.ok(closed);
});

test('more than eight requests at once are told to wait', async () => {
  await lab.open(new TestSubject());
  // `status` takes half a second to look at what passes.
  const raw = await lab.raw(HELLO, ...Array.from({ length: 9 }, (_, i) => request(i, 'status')));
  const { id, error } = await raw.message(1);
  assert.deepEqual([id, error?.code], [8, 'busy']);
  for (let i = 2; i < 10; i++) assert.ok((await raw.message(i)).result);
});

test('a subscription tells again and again, until it is ended; a connection has four at most', async () => {
  const subject = new TestSubject();
  await lab.open(subject);
  const raw = await lab.raw(HELLO, request(1, 'subscribe', { topic: 'counters', intervalMs: 100 }));
  assert.deepEqual(await raw.message(1), { id: 1, result: { subscription: 1 } });
  subject.counters['frames-in-v6'] = 5;
  const events = [await raw.message(2), await raw.message(3)];
  assert.deepEqual(
    events.map(({ subscription }) => subscription),
    [1, 1],
  );
  assert.equal((events[1] as { event: Record<string, number> }).event['frames-in-v6'], 5);
  raw.socket.write(request(2, 'unsubscribe', { subscription: 1 }));
  while (!raw.messages.some(({ id }) => id === 2)) await raw.message(raw.messages.length);
  const count = raw.messages.length;
  await new Promise((resolve) => setTimeout(resolve, 250));
  assert.equal(raw.messages.length, count);
  for (let id = 3; id < 8; id++)
    raw.socket.write(request(id, 'subscribe', { topic: 'status', intervalMs: 10_000 }));
  await until(() => raw.messages.some(({ id }) => id === 7), 'the fifth reply');
  assert.equal(raw.messages.find(({ id }) => id === 7)?.error?.code, 'busy');
});

test('clients beyond the limit are told so', async () => {
  await lab.open(new TestSubject(), { maxConnections: 1 });
  const first = await lab.raw(HELLO);
  await first.message(0);
  const second = await lab.raw();
  assert.equal((await second.message(0)).error?.code, 'busy');
  await second.closed;
  first.socket.destroy();
  await first.closed;
  assert.ok(await (await lab.client()).request('workers'));
});

test('nat64ctl, which writes before it reads, is told so too', async () => {
  await lab.open(new TestSubject(), { maxConnections: 1 });
  await lab.client();
  const script = `
    import { ControlClient } from '${new URL('../../../../../dist/control/control-socket/client.js', import.meta.url)}';
    await ControlClient.connect(process.argv[1]).catch(({ code, message }) => console.log(code, message));
    process.exit();
  `;
  for (let i = 0; i < 3; i++) {
    const other = spawn(process.execPath, ['--input-type=module', '-e', script, lab.path]);
    let said = '';
    other.stdout.on('data', (data) => {
      said += data;
    });
    await once(other, 'close');
    assert.equal(said, 'busy 1 clients are connected already; end some of them\n');
  }
});

test('before it serves, a gateway says so', async () => {
  await lab.open(undefined);
  const client = await lab.client();
  await assert.rejects(client.request('status'), /starting or stopping/);
});

test('the socket is for its owner and its group, from the first moment on, and gone at the end', async () => {
  const control = await lab.open(new TestSubject(), { group: '65534' });
  const { mode, gid } = statSync(lab.path);
  assert.equal(mode & 0o777, 0o660);
  assert.equal(gid, 65534);
  await control.close();
  assert.ok(!existsSync(lab.path));
});

test('a group is looked for without a socket', () => {
  checkGroup('65534');
  checkGroup('root');
  for (const group of ['no-such-group', '4294967296'])
    assert.throws(() => checkGroup(group), /there is no group '/);
});

test('an unknown group is an error, and leaves no socket', async () => {
  await assert.rejects(
    lab.open(new TestSubject(), { group: 'no-such-group' }),
    /there is no group 'no-such-group'/,
  );
  assert.ok(!existsSync(lab.path));
});

test('what a kill -9 has left is replaced; a live gateway, or a file that is no socket, is not', async () => {
  mkdirSync(dirname(lab.path));
  const script = `require('node:net').createServer().listen(process.argv[1], () => console.log('up'))`;
  const child = spawn(process.execPath, ['-e', script, lab.path], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  await assert.rejects(lab.open(new TestSubject()), /another nat64d answers at .*control\.sock: stop it/);
  child.kill('SIGKILL');
  await once(child, 'close');
  assert.ok(existsSync(lab.path));
  const control = await lab.open(new TestSubject());
  await control.close();
  writeFileSync(lab.path, '');
  chmodSync(lab.path, 0o600);
  await assert.rejects(lab.open(new TestSubject()), /no socket, and in the way/);
});

test('a path longer than a socket can have is said to be', async () => {
  await assert.rejects(
    lab.open(new TestSubject(), { path: `/tmp/${'x'.repeat(200)}/control.sock` }),
    /at most 107 bytes/,
  );
});

test("records of msgpackr's own are read too, by clients that use it as it comes", async () => {
  await lab.open(new TestSubject());
  const framed = (message: object) => {
    const body = pack(message);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(body.length);
    return Buffer.concat([length, body]);
  };
  const raw = await lab.raw(framed({ hello: 'x', protocol: 1 }), framed({ id: 1, request: 'workers' }));
  assert.ok((await raw.message(1)).result);
});

/** Batched UDP on loopback: what comes, what goes, what is refused, and every kind of wrong argument. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync } from 'node:fs';
import { after, afterEach, describe, test } from 'node:test';
import { inspect } from 'node:util';
import native, { type Poller, type UdpOptions, type UdpSocket } from '#native';

const ANY4 = Int32Array.of(0, 0, 0xffff, 0);
const LOOPBACK4 = Int32Array.of(0, 0, 0xffff, 0x7f000001);
const ANY6 = new Int32Array(4);
const LOOPBACK6 = Int32Array.of(0, 0, 0, 1);
const SLOT = 256;
const EINVAL = 22;
const EMSGSIZE = 90;
const ENETUNREACH = 101;
const ECONNREFUSED = 111;
const { UDP_FIELDS } = native;

const DEFAULTS: UdpOptions = {
  address: LOOPBACK4,
  port: 0,
  scope: 0,
  packetInfo: false,
  receiveBytes: 0,
  sendBytes: 0,
};

const sockets = new Set<UdpSocket>();
const pollers = new Set<Poller>();
const open = (options: Partial<UdpOptions> = {}) => {
  const socket = native.openUdp({ ...DEFAULTS, ...options });
  sockets.add(socket);
  return socket;
};
afterEach(() => {
  for (const poller of pollers) poller.stop();
  pollers.clear();
  for (const { fd } of sockets) native.closeUdp(fd);
  sockets.clear();
});

const ring = new Uint8Array(64 * SLOT);
const fields = new Int32Array(64 * UDP_FIELDS);
const mishaps = new Int32Array(2);
const receive = (fd: number, most = 64) => native.receiveBatch(fd, ring, SLOT, fields, most, mishaps);
const payload = (i: number) =>
  Buffer.from(ring.subarray(i * SLOT, i * SLOT + (fields[i * UDP_FIELDS + 1] as number))).toString('latin1');

interface Sent {
  bytes: Uint8Array;
  list: Int32Array;
}

/** One datagram per text, all to the same address. */
function outgoing(
  texts: string[],
  address: Int32Array,
  port: number,
  more: { family?: number; local?: Int32Array } = {},
): Sent {
  const bytes = Buffer.from(texts.join(''), 'latin1');
  const list = new Int32Array(texts.length * UDP_FIELDS);
  let offset = 0;
  for (const [i, text] of texts.entries()) {
    const family = more.family ?? (address[2] === 0xffff ? 4 : 6);
    list.set([offset, text.length, family, port, 0, ...address, ...(more.local ?? [])], i * UDP_FIELDS);
    offset += text.length;
  }
  return { bytes, list };
}
const send = (fd: number, { bytes, list }: Sent, refused = mishaps) =>
  native.sendBatch(fd, bytes, list, list.length / UDP_FIELDS, refused);

for (const [name, address, any] of [
  ['IPv4', LOOPBACK4, ANY4],
  ['IPv6', LOOPBACK6, ANY6],
] as const) {
  describe(name, () => {
    const family = name === 'IPv4' ? 4 : 6;

    test('datagrams in one call, with all that is known of them; an empty one too', () => {
      const from = open({ address });
      const to = open({ address });
      assert.equal(receive(to.fd), 0);
      assert.equal(send(from.fd, outgoing(['one', '', 'three'], address, to.port)), 3);
      assert.deepEqual([...mishaps], [0, 0]);
      fields.fill(-1);
      assert.equal(receive(to.fd), 3);
      assert.deepEqual([0, 1, 2].map(payload), ['one', '', 'three']);
      for (const i of [0, 1, 2]) {
        assert.deepEqual(
          [...fields.subarray(i * UDP_FIELDS, (i + 1) * UDP_FIELDS)],
          [i * SLOT, [3, 0, 5][i], family, from.port, 0, ...address, 0, 0, 0, 0, 0, 0, 0],
        );
      }
      assert.equal(receive(to.fd), 0);
    });

    test('no more than asked for; the rest waits', () => {
      const { fd, port } = open({ address });
      assert.equal(send(fd, outgoing(['a', 'b', 'c'], address, port)), 3);
      assert.equal(receive(fd, 0), 0);
      assert.equal(receive(fd, 2), 2);
      assert.equal(receive(fd, 2), 1);
      assert.equal(payload(0), 'c');
    });

    test('more than one system call sends: 150', () => {
      const { fd, port } = open({ address, receiveBytes: 1 << 20 });
      const texts = [...Array(150).keys()].map(String);
      assert.equal(send(fd, outgoing(texts, address, port)), 150);
      const got: string[] = [];
      for (let n = receive(fd); n > 0; n = receive(fd)) for (let i = 0; i < n; i++) got.push(payload(i));
      assert.deepEqual(got, texts);
    });

    test('a datagram longer than its slot: its own length, and the slots beside it untouched', () => {
      const { fd, port } = open({ address });
      assert.equal(send(fd, outgoing(['x'.repeat(SLOT + 44), 'next'], address, port)), 2);
      assert.equal(receive(fd), 2);
      assert.equal(fields[1], SLOT + 44);
      assert.equal(payload(1), 'next');
    });

    test('a socket of all addresses tells which one was asked, and answers from there', () => {
      const server = open({ address: any, packetInfo: true });
      const client = open({ address: any, packetInfo: true });
      const asked = family === 4 ? Int32Array.of(0, 0, 0xffff, 0x7f010203) : LOOPBACK6;
      send(client.fd, outgoing(['ask'], asked, server.port));
      assert.equal(receive(server.fd), 1);
      assert.deepEqual([...fields.subarray(9, 13)], [...asked]);
      assert.ok((fields[13] as number) > 0);
      // The fields of the question are those of the answer.
      assert.equal(native.sendBatch(server.fd, ring, fields, 1, mishaps), 1);
      assert.equal(receive(client.fd), 1);
      assert.equal(payload(0), 'ask');
      assert.deepEqual([...fields.subarray(5, 9)], [...asked]);
      assert.equal(fields[3], server.port);
    });

    test('connected: datagrams of others do not come, family 0 goes to the peer', () => {
      const peer = open({ address });
      const other = open({ address });
      const { fd, port } = open({ address });
      native.connectUdp(fd, address, peer.port, 0);
      send(other.fd, outgoing(['from another'], address, port));
      send(peer.fd, outgoing(['from the peer'], address, port));
      assert.equal(receive(fd), 1);
      assert.equal(payload(0), 'from the peer');
      assert.equal(send(fd, outgoing(['to the peer'], new Int32Array(4), 0, { family: 0 })), 1);
      assert.equal(receive(peer.fd), 1);
      assert.equal(payload(0), 'to the peer');
    });

    test('connected: what ICMP says of one datagram does not keep the next one back', async () => {
      const gone = open({ address });
      const { fd } = open({ address });
      native.connectUdp(fd, address, gone.port, 0);
      sockets.delete(gone);
      native.closeUdp(gone.fd);
      assert.equal(send(fd, outgoing(['hello'], address, 0, { family: 0 })), 1);
      const back = open({ address, port: gone.port });
      assert.equal(send(fd, outgoing(['again', 'and again'], address, 0, { family: 0 })), 2);
      assert.deepEqual([...mishaps], [0, 0]);
      assert.equal(receive(back.fd), 2);
      assert.deepEqual([0, 1].map(payload), ['again', 'and again']);
    });

    test('connected: a port where nobody listens is told once, and the Poller lives on', async () => {
      const gone = open({ address });
      const { fd } = open({ address });
      native.connectUdp(fd, address, gone.port, 0);
      sockets.delete(gone);
      native.closeUdp(gone.fd);
      const errnos: number[] = [];
      let told: (mishaps: number) => void = () => {};
      let mended: (value: unknown) => void = () => {};
      const telling = new Promise<number>((resolve) => {
        told = resolve;
      });
      const poller = new native.Poller(fd, (errno) => {
        errnos.push(errno);
        if (receive(fd) > 0) mended(null);
        else told(mishaps[0] as number);
      });
      pollers.add(poller);
      assert.equal(send(fd, outgoing(['hello'], address, 0, { family: 0 }), new Int32Array(2)), 1);
      assert.equal(await telling, 1);
      assert.equal(mishaps[1], ECONNREFUSED);
      assert.equal(receive(fd), 0);
      assert.deepEqual([...mishaps], [0, 0]);
      // Somebody takes the port: the same socket and the same Poller serve again.
      const answered = new Promise((resolve) => {
        mended = resolve;
      });
      const local = portOf(fd, address);
      const back = open({ address, port: gone.port });
      send(back.fd, outgoing(['here again'], address, local));
      await answered;
      assert.equal(payload(0), 'here again');
      assert.ok(errnos.every((errno) => errno === 0));
    });
  });
}

/** The port of a connected socket, as its peer's kernel sees it: the peer is at `address` too. */
function portOf(fd: number, address: Int32Array): number {
  const socket = [...sockets].find((one) => one.fd === fd);
  assert.ok(socket, String(address));
  return socket.port;
}

test('an IPv6 socket of all addresses leaves the port to an IPv4 one', () => {
  const { port } = open({ address: ANY6 });
  assert.equal(open({ address: ANY4, port }).port, port);
});

test('a port that is taken, an address that is nowhere, a family that is another: errors with their codes', () => {
  const { fd, port } = open();
  assert.throws(() => native.openUdp({ ...DEFAULTS, port }), { code: 'EADDRINUSE', syscall: 'bind' });
  const nowhere = Int32Array.of(0, 0, 0xffff, 0xc0000201 | 0);
  assert.throws(() => native.openUdp({ ...DEFAULTS, address: nowhere }), { code: 'EADDRNOTAVAIL' });
  assert.throws(() => native.connectUdp(fd, LOOPBACK6, 53, 0), { code: 'EAFNOSUPPORT', syscall: 'connect' });
});

test('works with sockets of others: an answer reaches dgram', async () => {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { fd } = open();
  const got = once(socket, 'message');
  send(fd, outgoing(['over'], LOOPBACK4, socket.address().port));
  assert.equal(String((await got)[0]), 'over');
  socket.close();
});

test('what the kernel refuses is counted and skipped; the others go', () => {
  const { fd, port } = open();
  const out = outgoing(['a', 'b', 'c', 'd'], LOOPBACK4, port);
  out.list[UDP_FIELDS + 3] = 0; // port 0
  out.list[2 * UDP_FIELDS + 2] = 6; // an IPv6 address to an IPv4 socket
  assert.equal(send(fd, out), 2);
  assert.equal(mishaps[0], 2);
  assert.notEqual(mishaps[1], 0);
  assert.equal(receive(fd), 2);
  assert.deepEqual([0, 1].map(payload), ['a', 'd']);
  const large = { bytes: new Uint8Array(70_000), list: outgoing(['x'], LOOPBACK4, port).list };
  large.list[1] = 70_000;
  assert.equal(send(fd, large), 0);
  assert.deepEqual([...mishaps], [1, EMSGSIZE]);
  const wrongSource = outgoing(['x'], LOOPBACK4, port, { local: Int32Array.of(0, 0, 0xffff, 0x08080808) });
  assert.equal(send(fd, wrongSource), 0);
  assert.equal(mishaps[0], 1);
  // Which of the two depends on the routes there are.
  assert.ok([EINVAL, ENETUNREACH].includes(mishaps[1] as number));
});

test('a list that is wrong: a RangeError, what is before it has been sent', () => {
  const { fd, port } = open();
  const wrongs: [number, number][] = [
    [0, -1],
    [0, 3],
    [1, -1],
    [1, 2 ** 31 - 1],
    [2, 5],
    [2, -4],
    [3, -1],
    [3, 65536],
  ];
  for (const [word, value] of wrongs) {
    const out = outgoing(['a', 'b', 'c'], LOOPBACK4, port);
    out.list[UDP_FIELDS + word] = value;
    assert.throws(() => send(fd, out), { name: 'RangeError', message: /datagram 1/ });
    assert.equal(receive(fd), 1);
    assert.equal(payload(0), 'a');
  }
});

test('descriptors that are closed or no sockets: an error that says so, and speaks of no device', () => {
  const { fd, port } = native.openUdp(DEFAULTS);
  native.closeUdp(fd);
  const calls: [string, (fd: number) => unknown][] = [
    ['recvmmsg', (bad) => receive(bad)],
    ['sendmmsg', (bad) => send(bad, outgoing(['x'], LOOPBACK4, port))],
    ['connect', (bad) => native.connectUdp(bad, LOOPBACK4, port, 0)],
    ['close', (bad) => native.closeUdp(bad)],
    ['uv_poll_init', (bad) => new native.Poller(bad, () => {})],
  ];
  for (const [syscall, call] of calls) {
    assert.throws(
      () => call(fd),
      (error: NodeJS.ErrnoException) => {
        assert.deepEqual([error.code, error.syscall], ['EBADF', syscall]);
        assert.match(error.message, /is closed/);
        assert.doesNotMatch(error.message, /queue|device|TUN/);
        return true;
      },
    );
  }
  const file = openSync('/dev/null', 'r');
  for (const [syscall, call] of calls.slice(0, 3)) {
    assert.throws(() => call(file), { code: 'ENOTSOCK', syscall, message: /is not a socket/ });
  }
  closeSync(file);
});

// Of the tables below: `open` would close it after the first test.
const { fd, port } = native.openUdp(DEFAULTS);
after(() => native.closeUdp(fd));

function detached<T extends Uint8Array | Int32Array>(array: T): T {
  structuredClone(array.buffer, { transfer: [array.buffer as ArrayBuffer] });
  return array;
}

const NOT_NUMBERS = [undefined, null, '3', 3n, {}, true, Symbol('fd')];
const NO_DESCRIPTORS = [-1, 2 ** 31, 0.5, Number.NaN, Number.POSITIVE_INFINITY];
const NOT_BYTES = [undefined, null, {}, 'bytes', new ArrayBuffer(64), new Int8Array(64)];
const NOT_WORDS = [undefined, null, {}, [0], new ArrayBuffer(64), new Uint32Array(64), new Uint8Array(64)];
const one = outgoing(['x'], LOOPBACK4, port);
const tables: Record<
  string,
  {
    call: (...args: never[]) => unknown;
    good: () => unknown[];
    type: Record<number, readonly unknown[]>;
    range: Record<number, readonly unknown[]>;
  }
> = {
  connectUdp: {
    call: native.connectUdp,
    good: () => [open().fd, LOOPBACK4, port, 0],
    type: { 0: NOT_NUMBERS, 1: NOT_WORDS, 2: NOT_NUMBERS, 3: NOT_NUMBERS },
    range: {
      0: NO_DESCRIPTORS,
      1: [new Int32Array(3), new Int32Array(5), detached(new Int32Array(4))],
      2: [-1, 65536, 0.5],
      3: [-1, 2 ** 31, 0.5],
    },
  },
  closeUdp: {
    call: native.closeUdp,
    good: () => [native.openUdp(DEFAULTS).fd],
    type: { 0: NOT_NUMBERS },
    range: { 0: NO_DESCRIPTORS },
  },
  receiveBatch: {
    call: native.receiveBatch,
    good: () => [fd, ring, SLOT, fields, 64, mishaps],
    type: {
      0: NOT_NUMBERS,
      1: NOT_BYTES,
      2: NOT_NUMBERS,
      3: NOT_WORDS,
      4: NOT_NUMBERS,
      5: NOT_WORDS,
    },
    range: {
      0: NO_DESCRIPTORS,
      1: [new Uint8Array(64 * SLOT - 1), detached(new Uint8Array(64 * SLOT))],
      2: [-1, 0, SLOT + 1, 65537, 2 ** 40, 0.5],
      3: [new Int32Array(64 * UDP_FIELDS - 1), detached(new Int32Array(64 * UDP_FIELDS))],
      4: [-1, 65, 0.5, Number.NaN],
      5: [new Int32Array(1), detached(new Int32Array(2))],
    },
  },
  sendBatch: {
    call: native.sendBatch,
    good: () => [fd, one.bytes, one.list, 1, mishaps],
    type: { 0: NOT_NUMBERS, 1: NOT_BYTES, 2: NOT_WORDS, 3: NOT_NUMBERS, 4: NOT_WORDS },
    range: {
      0: NO_DESCRIPTORS,
      1: [new Uint8Array(0), detached(new Uint8Array(64))],
      2: [new Int32Array(UDP_FIELDS - 1), detached(new Int32Array(UDP_FIELDS))],
      3: [-1, 2, 0.5, Number.NaN],
      4: [new Int32Array(1), detached(new Int32Array(2))],
    },
  },
};

const openDescriptors = () => readdirSync('/proc/self/fd').length;

for (const [name, { call, good, type, range }] of Object.entries(tables)) {
  test(`${name}: wrong arguments`, () => {
    call(...(good() as never[]));
    for (const [rows, kind] of [
      [type, TypeError],
      [range, RangeError],
    ] as const) {
      for (const [at, values] of Object.entries(rows)) {
        for (const value of values) {
          const args = name === 'closeUdp' ? [fd] : good();
          args[Number(at)] = value;
          assert.throws(() => call(...(args as never[])), kind, `argument ${at}: ${inspect(value)}`);
        }
      }
    }
    assert.throws(() => call(), TypeError);
  });
}

test('openUdp: wrong options, and no descriptor left open by one', () => {
  const before = openDescriptors();
  const wrong: [keyof UdpOptions, readonly unknown[], typeof TypeError | typeof RangeError][] = [
    ['address', NOT_WORDS, TypeError],
    ['address', [new Int32Array(3), detached(new Int32Array(4))], RangeError],
    ['port', NOT_NUMBERS, TypeError],
    ['port', [-1, 65536, 1.5], RangeError],
    ['scope', NOT_NUMBERS, TypeError],
    ['scope', [-1, 2 ** 31], RangeError],
    ['packetInfo', [undefined, 0, 'yes'], TypeError],
    ['receiveBytes', NOT_NUMBERS, TypeError],
    ['receiveBytes', [-1, 2 ** 31], RangeError],
    ['sendBytes', NOT_NUMBERS, TypeError],
    ['sendBytes', [-1, 2 ** 31], RangeError],
  ];
  for (const [key, values, kind] of wrong) {
    for (const value of values) {
      assert.throws(() => native.openUdp({ ...DEFAULTS, [key]: value }), kind, `${key}: ${inspect(value)}`);
    }
  }
  for (const value of [undefined, null, 'options', 1])
    assert.throws(() => native.openUdp(value as never), TypeError);
  // A getter that throws, and one that takes the memory of an array already given.
  const throwing = Object.defineProperty({ ...DEFAULTS }, 'sendBytes', {
    get() {
      throw new Error('a getter of the caller');
    },
  });
  assert.throws(() => native.openUdp(throwing), /a getter of the caller/);
  const address = Int32Array.from(LOOPBACK4);
  const taking = Object.defineProperty({ ...DEFAULTS, address }, 'sendBytes', {
    get() {
      detached(address);
      return 0;
    },
  });
  assert.throws(() => native.openUdp(taking), RangeError);
  assert.equal(openDescriptors(), before);
});

/**
 * Every exported function against every wrong value in every place, alone and all at once: a JavaScript error each time. What
 * functions do with right values, and which error is which, is told beside them (arguments.test.ts, udp.test.ts, …).
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import native from '#native';
import { Random } from '../../fuzz/random.js';
import { DEFAULTS, openDescriptors } from './lab.js';

const BYTES = 1 << 18;
const { UDP_FIELDS } = native;
/** None of this process is so high. */
const CLOSED = 100_000;
const ANY4 = Int32Array.of(0, 0, 0xffff, 0x7f000001);

type Resizable = new (
  size: number,
  options: { maxByteLength: number },
) => ArrayBuffer & { resize(size: number): void; grow(size: number): void };

function detached<T extends Uint8Array | Int32Array>(array: T): T {
  structuredClone(array.buffer, { transfer: [array.buffer as ArrayBuffer] });
  return array;
}

/** A view whose buffer has shrunk under it, so that it lies outside or follows the end. */
function shrunk(View: typeof Uint8Array | typeof Int32Array, length?: number) {
  const buffer = new (ArrayBuffer as unknown as Resizable)(BYTES, { maxByteLength: BYTES });
  const view = new View(buffer, 16, length);
  buffer.resize(8);
  return view;
}

/** A view that has grown with its buffer. */
function grown(View: typeof Uint8Array | typeof Int32Array) {
  const buffer = new (SharedArrayBuffer as unknown as Resizable)(8, { maxByteLength: 4096 });
  const view = new View(buffer);
  buffer.grow(64);
  return view;
}

const NOT_NUMBERS = [undefined, null, '3', 3n, {}, [3], true, Symbol('3'), () => 3];
const NO_WHOLE_NUMBERS = [
  0.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  -Infinity,
  1e300,
  -1,
  -(2 ** 31),
  2 ** 53,
];
const NO_VIEWS = [
  undefined,
  null,
  {},
  'bytes',
  [1],
  1,
  new ArrayBuffer(64),
  new SharedArrayBuffer(64),
  new DataView(new ArrayBuffer(64)),
  new Float64Array(8),
];
const NO_OBJECTS = [undefined, null, 1, 'options', Symbol('o'), true];

interface Kind {
  /** Values that are a TypeError, and values that are a RangeError. */
  readonly type: readonly unknown[];
  readonly range: readonly unknown[];
  /** Values that may do. */
  readonly odd: () => readonly unknown[];
}

const KINDS = {
  fd: { type: NOT_NUMBERS, range: [...NO_WHOLE_NUMBERS, 2 ** 31], odd: () => [CLOSED, 2 ** 31 - 1] },
  whole: {
    type: NOT_NUMBERS,
    range: NO_WHOLE_NUMBERS,
    odd: () => [0, 1, 7, 64, 65, 1000, 65536, 2 ** 31 - 1, 2 ** 32 - 1],
  },
  flag: { type: [undefined, null, 0, 1, 'true', {}], range: [], odd: () => [true, false] },
  bytes: {
    type: [...NO_VIEWS, new Int8Array(64), new Uint8ClampedArray(64), new Int32Array(16)],
    range: [],
    odd: () => [
      new Uint8Array(0),
      new Uint8Array(64),
      detached(new Uint8Array(64)),
      shrunk(Uint8Array),
      shrunk(Uint8Array, 32),
      grown(Uint8Array),
      new Uint8Array(new SharedArrayBuffer(BYTES)),
    ],
  },
  words: {
    type: [...NO_VIEWS, new Uint32Array(16), new Uint8Array(64)],
    range: [],
    odd: () => [
      new Int32Array(0),
      new Int32Array(1),
      new Int32Array(2),
      ANY4.slice(),
      detached(new Int32Array(64)),
      shrunk(Int32Array),
      shrunk(Int32Array, 4),
      grown(Int32Array),
      Int32Array.from({ length: 256 }, (_, i) => [1, 0, 28, -1, 2 ** 31 - 1, 4, 6, 65535][i % 8] as number),
    ],
  },
  path: {
    type: [undefined, null, 1, {}, ['x']],
    range: ['', 'x\0y', '/'.repeat(5000)],
    odd: () => ['/nowhere/at/all', '@nobody', 'ü'.repeat(40)],
  },
  strings: {
    type: [undefined, null, 1, {}, 'x', [1], ['x', null]],
    range: [['x\0y']],
    odd: () => [[], ['x'.repeat(10_000)]],
  },
  text: {
    type: [undefined, null, 1, {}, ['x']],
    range: [],
    odd: () => ['', 'x\0y', 'ü'.repeat(100_000)],
  },
  callback: { type: [undefined, null, {}, 'f', 1], range: [], odd: () => [() => {}] },
  options: {
    type: NO_OBJECTS,
    range: [],
    odd: () => [
      {},
      [],
      Object.create(null),
      new Proxy({}, { get: () => 1 }),
      { ...DEFAULTS, name: 'x'.repeat(99) },
      {
        address: detached(ANY4.slice()),
        port: 0,
        scope: 0,
        packetInfo: false,
        receiveBytes: 0,
        sendBytes: 0,
      },
    ],
  },
} satisfies Record<string, Kind>;

interface Row {
  readonly call: (...values: never[]) => unknown;
  readonly kinds: readonly (keyof typeof KINDS)[];
  /** Values that would do, or that fail in the kernel and change nothing. */
  readonly good: () => unknown[];
  /** What must be undone after a call that did. */
  readonly undo?: (result: never) => void;
}

const queue = native.openQueue(DEFAULTS);
const udp = native.openUdp({
  address: ANY4,
  port: 0,
  scope: 0,
  packetInfo: false,
  receiveBytes: 0,
  sendBytes: 0,
});
const ring = new Uint8Array(new SharedArrayBuffer(BYTES));
/** Any number of the right kind is taken, and there is no way back. */
const ONE_WAY = ['dropBoundingSet', 'setCapabilities'];
const close = (fd: number) => native.closeQueue(fd);
const TABLE: Record<string, Row> = {
  openQueue: {
    call: native.openQueue,
    kinds: ['options'],
    good: () => [DEFAULTS],
    undo: ({ fd }: { fd: number }) => close(fd),
  },
  setPersist: { call: native.setPersist, kinds: ['fd', 'flag'], good: () => [queue.fd, false] },
  setOffload: { call: native.setOffload, kinds: ['fd', 'whole'], good: () => [queue.fd, 0] },
  setSteering: {
    call: native.setSteering,
    kinds: ['fd', 'whole', 'whole', 'whole', 'whole', 'whole'],
    good: () => [queue.fd, 12, 32, 1, 0, 2],
  },
  clearSteering: { call: native.clearSteering, kinds: ['fd'], good: () => [queue.fd] },
  closeQueue: { call: native.closeQueue, kinds: ['fd'], good: () => [CLOSED] },
  read: {
    call: native.read,
    kinds: ['fd', 'bytes', 'whole', 'whole', 'whole', 'words', 'whole'],
    good: () => [queue.fd, ring, 0, BYTES, 80, new Int32Array(16), 8],
  },
  wait: { call: native.wait, kinds: ['fd', 'whole', 'flag'], good: () => [queue.fd, 0, true] },
  write: {
    call: native.write,
    kinds: ['fd', 'bytes', 'words', 'whole', 'words'],
    good: () => [queue.fd, ring, Int32Array.of(1, 0, 30), 1, new Int32Array(2)],
  },
  sums: {
    call: native.sums,
    kinds: ['bytes', 'words', 'whole', 'words'],
    good: () => [ring, Int32Array.of(0, 8, 3, 5), 2, new Int32Array(2)],
  },
  releaseMemory: { call: native.releaseMemory, kinds: [], good: () => [] },
  setNoNewPrivs: { call: native.setNoNewPrivs, kinds: [], good: () => [] },
  // Keeps them all.
  dropBoundingSet: { call: native.dropBoundingSet, kinds: ['whole'], good: () => [2 ** 53 - 1] },
  keepCapabilities: { call: native.keepCapabilities, kinds: [], good: () => [] },
  setCapabilities: { call: native.setCapabilities, kinds: ['whole'], good: () => [2 ** 53 - 1] },
  chroot: { call: native.chroot, kinds: ['path'], good: () => ['/nowhere/at/all'] },
  exec: {
    call: native.exec,
    kinds: ['path', 'strings', 'strings'],
    good: () => ['/nowhere/at/all', ['x'], ['A=b']],
  },
  run: {
    call: native.run,
    kinds: ['path', 'strings', 'strings', 'text', 'whole'],
    good: () => ['/nowhere/at/all', ['x'], ['A=b'], 'input', 1000],
  },
  interfaceAddresses: { call: native.interfaceAddresses, kinds: ['path'], good: () => ['nowhere'] },
  linkState: { call: native.linkState, kinds: ['path'], good: () => ['nowhere'] },
  lock: { call: native.lock, kinds: ['fd'], good: () => [CLOSED] },
  openRouter: { call: native.openRouter, kinds: ['path'], good: () => ['lo'], undo: close },
  openDatagram: { call: native.openDatagram, kinds: ['path'], good: () => ['@nobody'], undo: close },
  sendDatagram: {
    call: native.sendDatagram,
    kinds: ['fd', 'bytes'],
    good: () => [udp.fd, new Uint8Array(8)],
  },
  openUdp: {
    call: native.openUdp,
    kinds: ['options'],
    good: () => [{ address: ANY4, port: 0, scope: 0, packetInfo: true, receiveBytes: 0, sendBytes: 0 }],
    undo: ({ fd }: { fd: number }) => close(fd),
  },
  connectUdp: {
    call: native.connectUdp,
    kinds: ['fd', 'words', 'whole', 'whole'],
    good: () => [udp.fd, ANY4.slice(), udp.port, 0],
  },
  closeUdp: { call: native.closeUdp, kinds: ['fd'], good: () => [CLOSED] },
  receiveBatch: {
    call: native.receiveBatch,
    kinds: ['fd', 'bytes', 'whole', 'words', 'whole', 'words'],
    good: () => [udp.fd, ring, 2048, new Int32Array(64 * UDP_FIELDS), 64, new Int32Array(2)],
  },
  sendBatch: {
    call: native.sendBatch,
    kinds: ['fd', 'bytes', 'words', 'whole', 'words'],
    good: () => [udp.fd, ring, new Int32Array(UDP_FIELDS), 1, new Int32Array(2)],
  },
  Poller: {
    call: (...values: unknown[]) =>
      new native.Poller(...(values as ConstructorParameters<typeof native.Poller>)),
    kinds: ['fd', 'callback'],
    good: () => [queue.fd, () => {}],
    undo: (poller: InstanceType<typeof native.Poller>) => poller.stop(),
  },
};

/** Calls; what is thrown must be an error as this addon makes them. */
async function attempt({ call, undo }: Row, values: readonly unknown[]): Promise<unknown> {
  try {
    const result = await call(...(values as never[]));
    undo?.(result as never);
    return null;
  } catch (error) {
    assert.ok(
      error instanceof Error && typeof (error as NodeJS.ErrnoException).code === 'string',
      inspect(error),
    );
    return error;
  }
}

test('every function that the addon exports is in the table', () => {
  const functions = Object.entries(native).flatMap(([name, value]) =>
    typeof value === 'function' ? [name] : [],
  );
  assert.deepEqual(functions.sort(), Object.keys(TABLE).sort());
});

for (const [name, row] of Object.entries(TABLE)) {
  test(`${name}: one wrong value in each place`, async () => {
    const before = openDescriptors();
    for (const [place, kindName] of row.kinds.entries()) {
      const kind: Kind = KINDS[kindName];
      const withValue = (value: unknown) => row.good().with(place, value);
      const shown = (value: unknown) =>
        `argument ${place}: ${inspect(value, { breakLength: Infinity }).slice(0, 200)}`;
      for (const value of kind.type)
        assert.throws(() => row.call(...(withValue(value) as never[])), TypeError, shown(value));
      for (const value of kind.range) {
        if (ONE_WAY.includes(name) && value === 2 ** 53) continue;
        assert.throws(() => row.call(...(withValue(value) as never[])), RangeError, shown(value));
      }
      if (name !== 'setCapabilities') for (const value of kind.odd()) await attempt(row, withValue(value));
    }
    if (row.kinds.length > 0) assert.throws(() => row.call(), TypeError, 'no arguments');
    assert.equal(openDescriptors(), before);
  });
}

test('all values wrong at once, in any order', async () => {
  const random = new Random(1, 0);
  const rows = Object.entries(TABLE).filter(([name]) => !ONE_WAY.includes(name));
  const names = Object.keys(KINDS) as (keyof typeof KINDS)[];
  // Made anew now and then only: they are large.
  let odd = Object.fromEntries(names.map((name) => [name, KINDS[name].odd()]));
  const before = openDescriptors();
  for (let i = 0; i < 4000; i++) {
    if (i % 500 === 0) odd = Object.fromEntries(names.map((name) => [name, KINDS[name].odd()]));
    const [, row] = random.pick(rows);
    const values = row.good();
    for (const [place, kindName] of row.kinds.entries()) {
      if (random.oneIn(2)) continue;
      const from = random.oneIn(4) ? random.pick(names) : kindName;
      const { type, range }: Kind = KINDS[from];
      values[place] = random.pick(random.oneIn(3) ? [...type, ...range] : (odd[from] as readonly unknown[]));
    }
    // No descriptor of the process itself: 0 and 1 are whole numbers too.
    const [first] = values;
    if (
      row.kinds[0] === 'fd' &&
      typeof first === 'number' &&
      first >= 0 &&
      first < CLOSED &&
      first !== queue.fd &&
      first !== udp.fd
    )
      values[0] = CLOSED;
    if (random.oneIn(10)) values.length = random.below(values.length + 1);
    await attempt(row, values);
  }
  assert.equal(openDescriptors(), before);
});

test('handles that are closed twice, and used after that', async () => {
  const { fd } = native.openQueue(DEFAULTS);
  native.closeQueue(fd);
  const socket = native.openUdp({
    address: ANY4,
    port: 0,
    scope: 0,
    packetInfo: false,
    receiveBytes: 0,
    sendBytes: 0,
  });
  native.closeUdp(socket.fd);
  for (const [name, row] of Object.entries(TABLE)) {
    if (row.kinds[0] !== 'fd') continue;
    for (const closed of [fd, socket.fd]) {
      const values = row.good().with(0, closed);
      const error = await attempt(row, values);
      // `wait` tells that there is something to read: the read then says what. A program for steering takes the free number.
      const { code } = (error ?? {}) as NodeJS.ErrnoException;
      const isFine =
        name === 'wait'
          ? code === undefined
          : code === 'EBADF' || (name === 'setSteering' && code === 'ENOTTY');
      assert.ok(isFine, `${name}: ${inspect(error)}`);
    }
  }
  const poller = new native.Poller(queue.fd, () => {});
  poller.stop();
  poller.stop();
});

test('arrays that a getter takes away while options are read', () => {
  const address = ANY4.slice();
  const options = {
    address,
    port: 0,
    get scope() {
      detached(address);
      return 0;
    },
    packetInfo: false,
    receiveBytes: 0,
    sendBytes: 0,
  };
  assert.throws(() => native.openUdp(options), RangeError);
});

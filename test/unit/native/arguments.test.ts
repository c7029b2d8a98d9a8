/** Every function with every kind of wrong argument: a TypeError or a RangeError, never a crash, never a system call. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { inspect } from 'node:util';
import native from '#native';
import { DEFAULTS, openDescriptors } from './lab.js';

const NOT_NUMBERS = [undefined, null, '3', 3n, {}, [3], true, Symbol('fd'), () => 3];
const NO_DESCRIPTORS = [-1, 2 ** 31, 0.5, Number.NaN, Number.POSITIVE_INFINITY, -Infinity, 1e300];
const NOT_BYTES = [
  undefined,
  null,
  {},
  'bytes',
  [1],
  new ArrayBuffer(1 << 18),
  new SharedArrayBuffer(1 << 18),
  new DataView(new ArrayBuffer(1 << 18)),
  new Uint8ClampedArray(1 << 18),
  new Int8Array(1 << 18),
  new Uint16Array(1 << 18),
];
const NOT_WORDS = [undefined, null, {}, [0], new ArrayBuffer(64), new Uint32Array(16), new Uint8Array(64)];

function detached<T extends Uint8Array | Int32Array>(array: T): T {
  structuredClone(array.buffer, { transfer: [array.buffer as ArrayBuffer] });
  return array;
}

/** Views on a buffer that has shrunk under them (TypeScript's library has no `resize` yet). */
function shrunk(length?: number): Uint8Array {
  const Resizable = ArrayBuffer as unknown as new (
    size: number,
    options: { maxByteLength: number },
  ) => ArrayBuffer & { resize(size: number): void };
  const buffer = new Resizable(1 << 18, { maxByteLength: 1 << 18 });
  const view = new Uint8Array(buffer, 16, length);
  buffer.resize(8);
  return view;
}

type Arguments = readonly unknown[];
interface Table {
  call: (...values: never[]) => unknown;
  /** Arguments that would do. */
  good: () => unknown[];
  /** For each argument by its position: values that are of the wrong type, and of the wrong range. */
  type: Record<number, Arguments>;
  range: Record<number, Arguments>;
}

// Of all tests: `open` would close it after the first.
const { fd } = native.openQueue(DEFAULTS);
after(() => native.closeQueue(fd));

const ring = new Uint8Array(new SharedArrayBuffer(1 << 18));
const tables: Record<string, Table> = {
  setPersist: {
    call: native.setPersist,
    good: () => [fd, false],
    type: { 0: NOT_NUMBERS, 1: [undefined, null, 0, 1, 'true', {}] },
    range: { 0: NO_DESCRIPTORS },
  },
  setOffload: {
    call: native.setOffload,
    good: () => [fd, 0],
    type: { 0: NOT_NUMBERS, 1: NOT_NUMBERS },
    range: { 0: NO_DESCRIPTORS, 1: [-1, 2 ** 32, 0.5, Number.NaN] },
  },
  closeQueue: {
    call: native.closeQueue,
    good: () => [native.openQueue(DEFAULTS).fd],
    type: { 0: NOT_NUMBERS },
    range: { 0: NO_DESCRIPTORS },
  },
  read: {
    call: native.read,
    good: () => [fd, ring, 0, ring.length, 80, new Int32Array(16), 8],
    type: {
      0: NOT_NUMBERS,
      1: NOT_BYTES,
      2: NOT_NUMBERS,
      3: NOT_NUMBERS,
      4: NOT_NUMBERS,
      5: NOT_WORDS,
      6: NOT_NUMBERS,
    },
    range: {
      0: NO_DESCRIPTORS,
      1: [new Uint8Array(ring.length - 1), detached(new Uint8Array(ring.length)), shrunk(64), shrunk()],
      2: [-1, ring.length + 1, 1.5, Number.NaN, 2 ** 53],
      3: [-1, ring.length + 1, 1.5, Number.NaN, 2 ** 53],
      4: [-1, 0, 9, 2 ** 31, 80.5, Number.NaN],
      5: [new Int32Array(15), new Int32Array(0), detached(new Int32Array(16))],
      6: [-1, 9, 2 ** 31, 0.5, Number.NaN],
    },
  },
  write: {
    call: native.write,
    good: () => [fd, ring, Int32Array.of(1, 0, 0), 0, new Int32Array(2)],
    type: { 0: NOT_NUMBERS, 1: NOT_BYTES, 2: NOT_WORDS, 3: NOT_NUMBERS, 4: NOT_WORDS },
    range: {
      0: NO_DESCRIPTORS,
      3: [-1, 2 ** 31, 0.5, Number.NaN],
      4: [new Int32Array(0), new Int32Array(1), detached(new Int32Array(2))],
    },
  },
  Poller: {
    call: (...values: unknown[]) =>
      new native.Poller(...(values as ConstructorParameters<typeof native.Poller>)).stop(),
    good: () => [fd, () => {}],
    type: { 0: NOT_NUMBERS, 1: [undefined, null, {}, 'onReadable', 1] },
    range: { 0: NO_DESCRIPTORS },
  },
};

for (const [name, { call, good, type, range }] of Object.entries(tables)) {
  const wrong = [
    ...Object.entries(type).map(([at, values]) => [Number(at), values, TypeError] as const),
    ...Object.entries(range).map(([at, values]) => [Number(at), values, RangeError] as const),
  ];
  test(`${name}: wrong arguments`, () => {
    call(...(good() as never[]));
    const before = openDescriptors();
    for (const [at, values, kind] of wrong) {
      for (const value of values) {
        const args = name === 'closeQueue' ? [fd] : good();
        args[at] = value;
        assert.throws(() => call(...(args as never[])), kind, `argument ${at}: ${inspect(value)}`);
      }
    }
    assert.throws(() => call(), TypeError, 'no arguments');
    assert.equal(openDescriptors(), before);
  });
}

test('openQueue: wrong options', () => {
  for (const value of [undefined, null, 'options', 1]) {
    assert.throws(() => native.openQueue(value as never), TypeError);
  }
  const typeErrors: Record<string, Arguments> = {
    name: [undefined, null, 1, {}, ['tun']],
    multiQueue: [undefined, 0, 'yes'],
    vnetHdr: [undefined, 0, 'yes'],
    exclusive: [undefined, 0, 'yes'],
    owner: NOT_NUMBERS,
    group: NOT_NUMBERS,
  };
  const rangeErrors: Record<string, Arguments> = {
    name: ['', 'a name of 16 byt', 'ü'.repeat(8), 'zero\0byte'],
    // 2 ** 32 - 1 would mean nobody in particular, that is everybody.
    owner: [-1, 2 ** 32 - 1, 2 ** 32, 0.5, Number.NaN],
    group: [-1, 2 ** 32 - 1, 2 ** 32, 0.5, Number.NaN],
  };
  const before = openDescriptors();
  for (const [table, kind] of [
    [typeErrors, TypeError],
    [rangeErrors, RangeError],
  ] as const) {
    for (const [key, values] of Object.entries(table)) {
      for (const value of values) {
        const options = { ...DEFAULTS, [key]: value } as never;
        assert.throws(() => native.openQueue(options), kind, `${key}: ${inspect(value)}`);
      }
    }
  }
  const failing = Object.defineProperty({ ...DEFAULTS }, 'group', {
    get() {
      throw new Error('a getter of the caller');
    },
  });
  assert.throws(() => native.openQueue(failing), /a getter of the caller/);
  assert.equal(openDescriptors(), before);
});

test('write: a detached or shrunk array of bytes or words has no room for any piece', () => {
  const good = new Uint8Array(64);
  const list = Int32Array.of(1, 0, 28);
  for (const [bytes, words] of [
    [detached(new Uint8Array(64)), list],
    [shrunk(32), list],
    [shrunk(), list],
    [good, detached(Int32Array.of(1, 0, 28))],
  ] as const) {
    assert.throws(() => native.write(fd, bytes, words, 1, new Int32Array(2)), RangeError);
  }
});

test('Poller: only with new, and its methods only on a Poller', () => {
  const poller = new native.Poller(fd, () => {});
  const { Poller } = native;
  assert.throws(() => (Poller as unknown as (fd: number, f: () => void) => void)(fd, () => {}), TypeError);
  assert.throws(() => Reflect.apply(Poller, poller, [fd, () => {}]), TypeError);
  for (const other of [undefined, null, {}, Object.create(poller), Poller.prototype, new Int32Array(2)]) {
    assert.throws(() => Poller.prototype.stop.call(other as never), TypeError);
  }
  poller.stop();
});

test('errors carry a code', () => {
  assert.throws(() => native.closeQueue(-1), { name: 'RangeError', code: 'ERR_OUT_OF_RANGE' });
  assert.throws(() => native.closeQueue('1' as never), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
});

/**
 * What clients send to the control socket; the records are the pieces in which it comes. Whatever comes, the reply to a sound request
 * is a message, objects keep their prototype, and nothing is under way afterwards.
 */
import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { Packr } from 'msgpackr';
import { CONNECTION_LIMITS, Connection } from '#nat64d/control/control-socket/connection.js';
import { encodeMessage, MAX_REPLY, MessageReader } from '#nat64d/control/control-socket/protocol.js';
import { RequestQueue } from '#nat64d/control/control-socket/queue.js';
import { REQUESTS, ReloadGate } from '#nat64d/control/control-socket/requests.js';
import type { RateMeter } from '#nat64d/control/inspect/rates.js';
import { type Prefix6, parsePrefix6 } from '#nat64d/wire/address.js';
import { HELLO } from '../helpers/socket-lab.js';
import { TestSubject } from '../helpers/subject.js';
import type { Case, Runner, Target } from './driver.js';
import { assertUnpolluted, FakeSocket, within } from './fake-socket.js';
import { mutate } from './mutate.js';
import type { Random } from './random.js';

const packr = new Packr({ useRecords: false, mapsAsObjects: true });
const records = new Packr({ useRecords: true });
const cloning = new Packr({ structuredClone: true, bundleStrings: true, moreTypes: true } as never);
const ADDRESSES = [
  '2001:db8:1::2',
  '10.64.0.3',
  '10.64.0.0/16',
  '2001:db8::/32',
  '::',
  '0.0.0.0/0',
  '64:ff9b:1::1',
  'x',
  '',
  '1'.repeat(300),
];
const VALUES: readonly unknown[] = [
  undefined,
  null,
  true,
  0,
  -1,
  1.5,
  Number.NaN,
  2 ** 53,
  2n ** 63n,
  '',
  'AAAA',
  '__proto__',
  'constructor',
  [],
  {},
  [[]],
  new Date(0),
  /x/,
  new Map([['__proto__', 1]]),
  new Set([1]),
  new Uint8Array(4),
  new Error('x'),
  '\u0000',
  'x'.repeat(2000),
];
const KEYS = [
  'host',
  'from',
  'address',
  'isPinned',
  'isDryRun',
  'level',
  'addresses',
  'limit',
  'name',
  'type',
  'topic',
  'intervalMs',
  'change',
  'prefix',
  'subscription',
  '__proto__',
  'constructor',
  'toString',
  'x',
];
const WORDS = [
  'c1',
  'c0',
  '80',
  '90',
  'a0',
  'd9ff',
  'dbffffffff',
  'ddffffffff',
  'dfffffffff',
  'c6ffffffff',
  'c9ffffffff72',
  'd47240',
  'd57240ff',
  'd672',
  'd40000',
  'd6ff00000000',
  'd740',
  'd442',
  'd645',
  'd66900000000',
  'd67000000000',
  'c70165',
  'c70178',
  'c70173',
  'c70174',
  'd66200000000',
  'a95f5f70726f746f5f5f',
  'ab636f6e7374727563746f72',
  '00000000',
  'ffffffff',
  '00010000',
  '00010001',
].map((hex) => Buffer.from(hex, 'hex'));

const DEFECT = /is not a function|Cannot read|not iterable|is not defined/;

class Control implements Runner {
  readonly #subject = new TestSubject('[[map]]\nipv4 = "198.51.100.8"\nipv6 = "2001:db8:9::8"\n', {
    cacheStats: () => ({}) as never,
    cacheEntries: () => [],
    flush: () => 0,
    explain: async () => ({}) as never,
    prefixes: [parsePrefix6('64:ff9b::/96') as Prefix6],
    usePrefixes: () => {},
  });
  readonly #queue = new RequestQueue();
  readonly #reloads = new ReloadGate();

  constructor() {
    for (const host of ['2001:db8:1::2', '2001:db8:1::3']) this.#subject.assign(host);
  }

  async run(pieces: Case): Promise<void> {
    const socket = new FakeSocket();
    const rates = { rates: async () => ({ intervalSec: 1, perSec: {} }) } as unknown as RateMeter;
    const surroundings = () => ({ subject: this.#subject, rates, reloads: this.#reloads });
    const connection = new Connection(
      socket as unknown as Socket,
      surroundings,
      this.#queue,
      CONNECTION_LIMITS,
    );
    for (const piece of pieces) {
      if (!socket.destroyed) socket.push(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
    // Behind all that was asked for.
    await this.#queue.run(
      async () => {},
      () => true,
    );
    await new Promise((resolve) => setImmediate(resolve));
    const reader = new MessageReader(MAX_REPLY);
    for (const message of reader.read(Buffer.concat(socket.written))) {
      if (message instanceof Error) throw message;
      const { hello, id, error, subscription } = message as Record<string, unknown>;
      assert.ok(
        hello === 'nat64d' || id !== undefined || subscription !== undefined,
        JSON.stringify(message),
      );
      // A defect of ours has the words of the JavaScript engine.
      const { code, message: text } = (error ?? {}) as { code?: string; message?: string };
      if (code === 'failed') assert.doesNotMatch(text ?? '', DEFECT);
    }
    // It ends when all is answered.
    if (!socket.destroyed) connection.retire();
    assert.ok(
      await within(50, () => socket.destroyed || socket.writableEnded),
      'a request is still under way',
    );
    socket.destroy();
    assert.ok(await within(5, () => socket.closed));
    assertUnpolluted();
  }
}

function argumentsOf(random: Random): Record<string, unknown> {
  const given: Record<string, unknown> = {};
  for (let left = random.below(4); left > 0; left--) {
    const value = random.oneIn(2) ? random.pick(VALUES) : random.pick(ADDRESSES);
    Object.defineProperty(given, random.pick(KEYS), {
      value: random.oneIn(6) ? [value] : value,
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return given;
}

function message(random: Random): Buffer {
  const request = random.oneIn(12)
    ? random.pick(KEYS)
    : random.pick([...REQUESTS.keys(), 'subscribe', 'unsubscribe']);
  const made = {
    id: random.oneIn(12) ? random.pick(VALUES) : random.below(100),
    request,
    arguments: random.oneIn(10) ? random.pick(VALUES) : argumentsOf(random),
  };
  const body = Buffer.from(random.pick([packr, packr, packr, records, cloning]).pack(made));
  const wrong = random.oneIn(2) ? body : mutate(random, body, WORDS);
  const bytes = Buffer.alloc(4 + wrong.length);
  const lies = [0, 1, wrong.length - 1, wrong.length + 1, 65536, 65537, 2 ** 31, 2 ** 32 - 1];
  bytes.writeUInt32BE(random.oneIn(10) ? Math.max(0, random.pick(lies)) : wrong.length);
  bytes.set(wrong, 4);
  return bytes;
}

function make(random: Random): Case {
  const first = random.oneIn(10)
    ? mutate(random, HELLO, WORDS)
    : random.oneIn(20)
      ? encodeMessage({ hello: random.pick(VALUES), protocol: random.pick(VALUES) })
      : HELLO;
  const pieces = [first, ...Array.from({ length: random.between(1, 4) }, () => message(random))];
  if (!random.oneIn(4)) return pieces;
  const all = Buffer.concat(pieces);
  const at = random.below(all.length);
  return [all.subarray(0, at), all.subarray(at)];
}

export const control: Target = {
  name: 'control',
  about: 'messages of clients of the control socket',
  wholeCount: 1_000_000,
  shortCount: 2_000,
  make,
  open: () => new Control(),
};

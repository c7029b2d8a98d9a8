import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { AnswerStore, EXPIRES_SEC, foundTtls, REST } from '#nat64d/control/dns64/answer-store.js';
import { nameOf } from '#nat64d/control/dns64/message.js';
import { QuestionKey } from '#nat64d/control/dns64/question-key.js';

const question = (name: string, type = 28) =>
  Buffer.from(`${nameOf(name)}${String.fromCharCode(type >> 8, type & 255)}\0\x01`, 'latin1');
const key = new QuestionKey();

function insert(
  store: AnswerStore,
  name: string,
  rest: Uint8Array,
  { now = 0, until = 100, extra = 0 } = {},
) {
  const bytes = question(name);
  key.read(bytes, 0, bytes.length, extra);
  foundTtls[0] = 7;
  return store.insert(key, bytes.length, extra, now, until, {
    bytes: rest,
    from: 0,
    to: rest.length,
    flags: 0x8180,
    counts: [1, 2, 3],
    ttlCount: 1,
    options: Buffer.from([9, 8, 7]),
  });
}

function find(store: AnswerStore, name: string, extra = 0, type = 28): number {
  const bytes = question(name, type);
  key.read(bytes, 0, bytes.length, extra);
  return store.find(key, extra);
}

function restOf(store: AnswerStore, entry: number): Buffer {
  const at = store.restAt(entry);
  return Buffer.from(store.bytes.subarray(at, at + (store.words[entry + REST]! >>> 16)));
}

describe('the key of a question', () => {
  it('is the same whatever the letter case of the name, and another for another type or flag', () => {
    const store = new AnswerStore(65536);
    const entry = insert(store, 'www.EXample.Org', Buffer.from('x'));
    assert.equal(find(store, 'WWW.exAMPLE.oRG'), entry);
    assert.equal(find(store, 'www.example.org', 1), -1);
    assert.equal(find(store, 'www.example.org', 0, 1), -1);
    // 28 ^ 0x20: type and class have no letters.
    assert.equal(find(store, 'www.example.org', 0, 60), -1);
    assert.equal(find(store, 'www.example.or'), -1);
    assert.equal(find(store, '[ww.example.org'), -1);
  });

  it('tells type 65 from type 97', () => {
    const store = new AnswerStore(65536);
    const bytes = question('a', 65);
    key.read(bytes, 0, bytes.length, 0);
    const first = key.hash;
    const words = [...key.words.slice(0, key.length)];
    const other = question('a', 97);
    key.read(other, 0, other.length, 0);
    assert.notEqual(key.hash, first);
    assert.notDeepEqual([...key.words.slice(0, key.length)], words);
    assert.equal(store.find(key, 0), -1);
  });

  it('spreads names over all bits of the hash', () => {
    const buckets = new Uint32Array(256);
    for (let i = 0; i < 25_600; i++) {
      const bytes = question(`host-${i}.example`);
      key.read(bytes, 0, bytes.length, 0);
      buckets[key.hash & 255]!++;
    }
    // 100 each; six standard deviations.
    assert.ok(Math.min(...buckets) > 40 && Math.max(...buckets) < 160, [...buckets].join());
  });
});

describe('the store of answers', () => {
  it('gives back what was put in', () => {
    const store = new AnswerStore(65536);
    for (const size of [0, 1, 2, 3, 4, 5, 100]) {
      const rest = Buffer.alloc(size, size);
      const entry = insert(store, `n${size}`, rest);
      assert.deepEqual(restOf(store, entry), rest);
      assert.equal(store.halves[store.ttlsAt(entry)], 7);
      const options = store.optionsAt(entry);
      assert.deepEqual([...store.bytes.subarray(options, options + 3)], [9, 8, 7]);
      assert.deepEqual(store.question(entry), question(`n${size}`));
    }
    assert.equal(store.count, 7);
  });

  it('is a Map that forgets: whatever is done to it, what it gives is what was put in last', () => {
    const op = fc.record({
      what: fc.constantFrom('put', 'put', 'put', 'get', 'get', 'remove'),
      name: fc.integer({ min: 0, max: 60 }),
      size: fc.oneof(fc.integer({ min: 0, max: 80 }), fc.integer({ min: 0, max: 600 })),
    });
    fc.assert(
      fc.property(
        fc.array(op, { maxLength: 400 }),
        fc.constantFrom(4096, 6000, 8192, 20_000),
        (ops, sizeBytes) => {
          const store = new AnswerStore(sizeBytes);
          const model = new Map<number, Buffer>();
          for (const [i, { what, name, size }] of ops.entries()) {
            if (what === 'put') {
              const rest = Buffer.alloc(size, i);
              const entry = insert(store, `name-${name}`, rest);
              if (entry < 0) model.delete(name);
              else model.set(name, rest);
            } else {
              const entry = find(store, `name-${name}`);
              if (entry >= 0) {
                assert.deepEqual(restOf(store, entry), model.get(name));
                if (what === 'get') store.touch(entry);
                else {
                  store.remove(entry);
                  model.delete(name);
                  assert.equal(find(store, `name-${name}`), -1);
                }
              }
            }
            assert.ok(store.usedBytes <= sizeBytes);
          }
          const listed = [...store.entries()];
          assert.equal(listed.length, store.count);
          for (const entry of listed) {
            const name = store.question(entry).toString('latin1', 1, store.question(entry).length - 5);
            assert.equal(find(store, name), entry);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  it('lets those go that were not used, and keeps the one that is', () => {
    const store = new AnswerStore(16_384);
    insert(store, 'popular', Buffer.alloc(40));
    for (let i = 0; i < 2000; i++) {
      insert(store, `once-${i}`, Buffer.alloc(40));
      const entry = find(store, 'popular');
      assert.ok(entry >= 0, `gone after ${i}`);
      store.touch(entry);
    }
    assert.equal(find(store, 'once-0'), -1);
    assert.ok(find(store, 'once-1999') >= 0);
  });

  it('gives no second chance to what is expired', () => {
    const store = new AnswerStore(16_384);
    insert(store, 'old', Buffer.alloc(40), { until: 5 });
    for (let i = 0; i < 400; i++) {
      const entry = find(store, 'old');
      if (entry >= 0) store.touch(entry);
      insert(store, `new-${i}`, Buffer.alloc(40), { now: 6 });
    }
    assert.equal(find(store, 'old'), -1);
  });

  it('does not take what would fill an eighth of it, and forgets what was there before', () => {
    const store = new AnswerStore(8192);
    insert(store, 'a', Buffer.alloc(10));
    assert.equal(insert(store, 'a', Buffer.alloc(2000)), -1);
    assert.equal(find(store, 'a'), -1);
    assert.equal(insert(new AnswerStore(0), 'a', Buffer.alloc(0)), -1);
  });

  it('takes no more memory than it was given, tables included', () => {
    for (const sizeBytes of [4096, 65_536, 1_000_000, 2 ** 25]) {
      const store = new AnswerStore(sizeBytes);
      for (let i = 0; i < 30_000 && i * 60 < 2 * sizeBytes; i++) insert(store, `n${i}`, Buffer.alloc(0));
      assert.ok(store.usedBytes < sizeBytes);
      assert.ok(store.count > 0);
      const last = find(store, 'n10');
      if (last >= 0) assert.equal(store.words[last + EXPIRES_SEC], 100);
    }
  });

  it('is empty after clear', () => {
    const store = new AnswerStore(8192);
    for (let i = 0; i < 500; i++) insert(store, `n${i}`, Buffer.alloc(30));
    store.clear();
    assert.deepEqual([store.count, store.usedBytes, find(store, 'n499')], [0, 0, -1]);
    assert.ok(insert(store, 'n1', Buffer.alloc(30)) >= 0);
  });
});

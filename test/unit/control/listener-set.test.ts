/** Listeners and their change: all of it, or none. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inTheWay, ListenerSet } from '#nat64d/control/listener-set.js';

const at = (address: string, port = 53) => ({ address, port });

/** A machine on which these addresses cannot be listened on; `open` is what is. */
function machine(...taken: string[]) {
  const open = new Set<string>();
  const set = new ListenerSet<{ name: string }>(
    async (address) => {
      const name = `${address.address} ${address.port}`;
      if (taken.includes(name)) return { address, error: new Error(`${name} is taken`) };
      assert.ok(!open.has(name), `${name} is open already`);
      open.add(name);
      return { name };
    },
    ({ name }) => void open.delete(name),
  );
  return { set, taken, open: () => [...open].sort() };
}

test('what is left stays open until the commit, what comes is open before', async () => {
  const { set, open } = machine();
  await set.start([at('192.0.2.1'), at('192.0.2.2')]);
  const ready = await set.prepare([at('192.0.2.2'), at('192.0.2.3')]);
  assert.deepEqual(open(), ['192.0.2.1 53', '192.0.2.2 53', '192.0.2.3 53']);
  await ready.commit();
  assert.deepEqual(open(), ['192.0.2.2 53', '192.0.2.3 53']);
  const other = await set.prepare([]);
  await other.undo();
  assert.deepEqual(open(), ['192.0.2.2 53', '192.0.2.3 53']);
});

test('where one cannot be opened nothing changes, and all that cannot are named', async () => {
  const { set, open } = machine('192.0.2.8 53', '192.0.2.9 53');
  await set.start([at('192.0.2.1')]);
  const wanted = [at('192.0.2.8'), at('192.0.2.2'), at('192.0.2.9')];
  await assert.rejects(set.prepare(wanted), /192\.0\.2\.8 53 is taken\n192\.0\.2\.9 53 is taken$/);
  assert.deepEqual(open(), ['192.0.2.1 53']);
  assert.deepEqual(set.failures, []);
});

test('one that failed at the start is tried again, and may fail again', async () => {
  const { set, open, taken } = machine('192.0.2.8 53');
  await set.start([at('192.0.2.1'), at('192.0.2.8')]);
  assert.equal(set.failures.length, 1);
  await (await set.prepare([at('192.0.2.1'), at('192.0.2.8')])).commit();
  assert.equal(set.failures.length, 1);
  taken.length = 0;
  await (await set.prepare([at('192.0.2.1'), at('192.0.2.8')])).commit();
  assert.deepEqual([set.failures, open()], [[], ['192.0.2.1 53', '192.0.2.8 53']]);
});

test('an address and all addresses exclude each other: the old one goes first, and comes back where the change fails', async () => {
  assert.deepEqual(inTheWay([at('0.0.0.0')], [at('192.0.2.1')]), [at('0.0.0.0')]);
  assert.deepEqual(inTheWay([at('192.0.2.1'), at('192.0.2.2')], [at('0.0.0.0'), at('192.0.2.2')]), [
    at('192.0.2.1'),
  ]);
  assert.deepEqual(inTheWay([at('0.0.0.0')], [at('2001:db8::1'), at('192.0.2.1', 54)]), []);
  const { set, open } = machine('192.0.2.9 53');
  await set.start([at('0.0.0.0')]);
  await assert.rejects(set.prepare([at('192.0.2.1'), at('192.0.2.9')]), /is taken/);
  assert.deepEqual(open(), ['0.0.0.0 53']);
  await (await set.prepare([at('192.0.2.1')])).commit();
  assert.deepEqual(open(), ['192.0.2.1 53']);
});

test('one that made way and cannot be opened again is a failure, and is tried again', async () => {
  const { set, open, taken } = machine('192.0.2.9 53');
  await set.start([at('0.0.0.0')]);
  const changing = set.prepare([at('192.0.2.1'), at('192.0.2.9')]);
  taken.push('0.0.0.0 53');
  await assert.rejects(changing, /192\.0\.2\.9 53 is taken$/);
  assert.deepEqual(
    set.failures.map(({ error }) => error.message),
    ['0.0.0.0 53 is taken'],
  );
  taken.length = 0;
  assert.deepEqual(await set.retry(), [at('0.0.0.0')]);
  assert.deepEqual([open(), set.failures], [['0.0.0.0 53'], []]);
});

test('what failed is tried again by itself: the rest stays as it is', async () => {
  const { set, open, taken } = machine('192.0.2.8 53', '192.0.2.9 53');
  await set.start([at('192.0.2.1'), at('192.0.2.8'), at('192.0.2.9')]);
  taken.shift();
  assert.deepEqual(await set.retry(), [at('192.0.2.8')]);
  assert.deepEqual(open(), ['192.0.2.1 53', '192.0.2.8 53']);
  assert.deepEqual(
    set.failures.map(({ address }) => address),
    [at('192.0.2.9')],
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CLOCK_START_SEC } from '#nat64d/control/pool/clock-start.js';
import { DynamicPool, REFUSED_LIMIT_PER_64, REFUSED_POOL_FULL } from '#nat64d/control/pool/dynamic-pool.js';
import { atOnce } from '#nat64d/control/slices.js';
import { type Address6, formatAddress4 } from '#nat64d/wire/address.js';
import { address4, address6, prefix4 } from '../../../helpers/harness.js';

const LIFETIME = 7440;
const DAY = 86400;
const T0 = CLOCK_START_SEC;

function setUp(
  network: string,
  { reserved = [] as string[], maxMapsPer64 = 0, events = [] as string[] } = {},
) {
  const pool4 = prefix4(network);
  const lastSeen = new Int32Array(2 ** (32 - pool4.length));
  const published = new Map<number, Address6>();
  const withdrawn: number[] = [];
  const pool = new DynamicPool({
    pool4,
    reserved: reserved.map(prefix4),
    lastSeen,
    lifetimeSec: LIFETIME,
    dormantSec: 14 * DAY,
    maxMapsPer64,
    record: (ipv4, host) => events.push(`record ${formatAddress4(ipv4)} ${host[3]}`),
    publisher: {
      publish(index, host) {
        assert.ok(!published.has(index), 'published twice');
        published.set(index, host);
        events.push(`publish ${index} ${host[3]}`);
      },
      withdraw(index) {
        assert.ok(published.delete(index), 'withdrawn without being published');
        withdrawn.push(index);
      },
    },
  });
  const give = (host: string, now = T0) => {
    const index = pool.assign(address6(host), now);
    return index < 0 ? index : formatAddress4(pool.addressOf(index));
  };
  const touch = (ipv4: string, now: number) => {
    lastSeen[address4(ipv4) - pool4.address] = now;
  };
  return { pool, lastSeen, published, withdrawn, give, touch };
}

const host = (n: number): Address6 => [0x20010db8, 0, 0, n];

test('a host gets the address of its hash, and the next one where that is taken', () => {
  const { give } = setUp('192.168.0.0/24');
  assert.equal(give('2001:db8::69'), '192.168.0.80');
  // The hash adds the words, so these two words in another order collide.
  assert.equal(give('2001:db8::69'), '192.168.0.80', 'the same host again');
  assert.equal(give('0:69:2001:db8::'), give('0:69:2001:db8::'));
});

test('the network address and reserved ones are never given, the broadcast address is', () => {
  const { give, pool } = setUp('10.0.0.0/29', { reserved: ['10.0.0.1/32', '10.0.0.4/31', '192.0.2.0/24'] });
  assert.equal(pool.capacity, 4);
  const given = new Set<string | number>();
  for (let i = 0; i < 4; i++) given.add(give(`2001:db8::${i + 1}`));
  assert.deepEqual([...given].sort(), ['10.0.0.2', '10.0.0.3', '10.0.0.6', '10.0.0.7']);
  assert.equal(give('2001:db8::99'), REFUSED_POOL_FULL);
});

test('a pool at the top of the address space works', () => {
  const { give } = setUp('223.255.255.252/30', { reserved: ['223.255.255.253/32'] });
  assert.deepEqual([give('::1'), give('::2')].sort(), ['223.255.255.254', '223.255.255.255']);
});

test('a map ends 124 minutes after its last packet and not before', () => {
  const { give, pool, published, touch } = setUp('10.0.0.0/24');
  const ipv4 = give('2001:db8::1') as string;
  touch(ipv4, T0 + 1000);
  pool.sweep(T0 + 1000 + LIFETIME);
  assert.equal(published.size, 1);
  pool.sweep(T0 + 1000 + LIFETIME + 1);
  assert.equal(published.size, 0);
  assert.equal(pool.dormantCount, 1);
});

test('a host that asks in the last second of its map keeps it, one second later it gets it anew', () => {
  const { give, withdrawn } = setUp('10.0.0.0/24');
  const ipv4 = give('2001:db8::1');
  assert.equal(give('2001:db8::1', T0 + LIFETIME), ipv4);
  assert.deepEqual(withdrawn, []);
  assert.equal(give('2001:db8::1', T0 + LIFETIME + 1), ipv4);
  assert.equal(withdrawn.length, 1);
});

test('hosts that come and go by the thousand leave nothing behind', () => {
  const { give, pool } = setUp('10.0.0.0/30');
  for (let i = 0, now = T0; i < 3000; i++, now += LIFETIME + 1) {
    pool.sweep(now);
    assert.equal(typeof give(`2001:db8::${i.toString(16)}`, now), 'string');
    assert.equal(pool.lookup(address6(`2001:db8::${(i + 1).toString(16)}`)), -1);
    if (i >= 3) assert.equal(pool.lookup(address6(`2001:db8::${(i - 3).toString(16)}`)), -1);
  }
});

test('a dormant host gets its address again, however many came since', () => {
  const { give, pool } = setUp('10.0.0.0/24');
  const mine = give('2001:db8::1');
  pool.sweep(T0 + LIFETIME + 1);
  for (let i = 2; i < 50; i++) assert.notEqual(give(`2001:db8::${i}`, T0 + LIFETIME + 1), mine);
  assert.equal(give('2001:db8::1', T0 + LIFETIME + 2), mine);
});

test('a full pool takes the address that has rested longest', () => {
  const { give, pool, touch } = setUp('10.0.0.0/30', { reserved: [] });
  const [a, b, c] = ['2001:db8::a', '2001:db8::b', '2001:db8::c'].map((host) => give(host) as string) as [
    string,
    string,
    string,
  ];
  touch(b, T0 + 10);
  touch(a, T0 + 20);
  touch(c, T0 + 5000);
  assert.equal(give('2001:db8::d', T0 + 100), REFUSED_POOL_FULL);
  const later = T0 + LIFETIME + 100;
  pool.sweep(later);
  assert.equal(pool.dormantCount, 2);
  assert.equal(give('2001:db8::d', later), b);
  assert.equal(give('2001:db8::a', later), a, 'the host of the other one still has its own');
  assert.equal(give('2001:db8::b', later), REFUSED_POOL_FULL);
});

test('a dormant map is forgotten after 14 days', () => {
  const { give, pool } = setUp('10.0.0.0/24');
  give('2001:db8::1');
  pool.sweep(T0 + LIFETIME + 1);
  pool.sweep(T0 + 14 * DAY);
  assert.equal(pool.dormantCount, 1);
  pool.sweep(T0 + 14 * DAY + 1);
  assert.equal(pool.dormantCount, 0);
  assert.equal(pool.freeCount, pool.capacity);
  assert.equal(pool.lookup(address6('2001:db8::1')), -1);
});

test('one /64 gets no more maps at a time than it may', () => {
  const { give, pool } = setUp('10.0.0.0/24', { maxMapsPer64: 2 });
  give('2001:db8::1');
  give('2001:db8::2');
  assert.equal(give('2001:db8::3'), REFUSED_LIMIT_PER_64);
  assert.notEqual(give('2001:db8:0:1::3'), REFUSED_LIMIT_PER_64);
  assert.equal(typeof give('2001:db8::2'), 'string', 'who has one keeps it');
  pool.sweep(T0 + LIFETIME + 1);
  assert.equal(typeof give('2001:db8::3', T0 + LIFETIME + 1), 'string');
});

test('a sweep looks at a map once per lifetime, however often it is used', () => {
  const { give, pool, touch } = setUp('10.0.0.0/24');
  const ipv4 = give('2001:db8::1') as string;
  let looked = 0;
  for (let second = 1; second <= 10 * LIFETIME; second++) {
    touch(ipv4, T0 + second);
    looked += pool.sweep(T0 + second);
  }
  assert.ok(looked <= 10, `${looked} looks in ten lifetimes`);
  assert.equal(pool.liveCount, 1);
});

test('a sweep in slices ends what a whole one ends', () => {
  const { give, pool } = setUp('10.0.0.0/24');
  for (let i = 1; i <= 100; i++) give(`2001:db8::${i}`);
  let calls = 0;
  while (pool.liveCount > 0 && calls++ < 100) assert.ok(pool.sweep(T0 + LIFETIME + 1, 7) <= 7);
  assert.equal(pool.dormantCount, 100);
});

test('maps used again while a sweep lags do not hold it up', () => {
  const { pool, lastSeen } = setUp('10.0.0.0/24');
  const indexes = [1, 2, 3, 4].map((n) => pool.assign(address6(`2001:db8::${n}`), T0));
  const other = pool.assign(address6('2001:db8::5'), T0 + 100);
  const due = T0 + LIFETIME + 1;
  for (const index of indexes) lastSeen[index] = T0 + 5;
  pool.sweep(due, 1);
  // The second whose bucket, one lifetime on, is the one being swept.
  for (const index of indexes) lastSeen[index] = due + 1;
  for (let second = 1; second <= 100; second++) pool.sweep(due + second, 1);
  assert.equal(pool.lookup(address6('2001:db8::5')), other);
  assert.equal(pool.liveCount, 4, 'the fifth map ended on time');
  assert.equal(pool.dormantCount, 1);
});

test('after a jump of the clock the longest rested is still the one that ended first', () => {
  const { give, pool } = setUp('10.0.0.0/30');
  // The clock's start falls anywhere in the wheel of buckets, so all of it is tried in coarse steps.
  for (let turn = 0, now = T0; turn < 20; turn++, now += 20 * DAY) {
    const first = give('2001:db8::a', now);
    give('2001:db8::b', now + LIFETIME - 10);
    give('2001:db8::c', now + LIFETIME - 5);
    const later = now + 2 * LIFETIME + 500 * turn;
    pool.sweep(later);
    assert.equal(pool.dormantCount, 3);
    assert.equal(give('2001:db8::d', later), first, `turn ${turn}`);
    pool.sweep(now + 20 * DAY - 1);
    assert.equal(pool.freeCount, 3);
  }
});

const stored = (line: number, ipv4: string, host: string, lastUsedUnixSec: number) => ({
  line,
  ipv4: address4(ipv4),
  host: address6(host),
  lastUsedUnixSec,
});

test('restored maps are live with what is left of their time, dormant, or forgotten', () => {
  const unix = 1_800_000_000;
  const { pool, published, give } = setUp('10.0.0.0/24', { reserved: ['10.0.0.9/32'] });
  const problems = atOnce(
    pool.restore(
      [
        stored(1, '10.0.0.5', '2001:db8::5', unix - 100),
        stored(2, '10.0.0.6', '2001:db8::6', unix - LIFETIME - 1),
        stored(3, '10.0.0.7', '2001:db8::7', unix - 15 * DAY),
        stored(4, '192.0.2.1', '2001:db8::8', unix),
        stored(5, '10.0.0.9', '2001:db8::9', unix),
        stored(6, '10.0.0.5', '2001:db8::a', unix - 200),
        stored(7, '10.0.0.11', '2001:db8::6', unix - 300),
        stored(8, '10.0.0.0', '2001:db8::b', unix),
      ],
      T0,
      unix,
    ),
  );
  assert.deepEqual(
    problems.map(({ line, message }) => `${line}: ${message}`),
    [
      '4: 192.0.2.1 lies outside the pool',
      '5: 10.0.0.9 is reserved or explicitly mapped',
      '6: 10.0.0.5 stands twice',
      '7: 2001:db8::6 stands twice',
      '8: 10.0.0.0 is reserved or explicitly mapped',
    ],
  );
  assert.equal(published.size, 1);
  assert.equal(pool.dormantCount, 1);
  assert.equal(give('2001:db8::6'), '10.0.0.6');
  assert.deepEqual(published.get(5), address6('2001:db8::5'), 'of two lines the first counts');
  pool.sweep(T0 + LIFETIME - 100);
  assert.equal(published.has(5), true);
  pool.sweep(T0 + LIFETIME - 100 + 1);
  assert.equal(published.has(5), false, 'the restored map ended when its remaining time was over');
});

test('a time in the future makes every restored map dormant', () => {
  const unix = 1_800_000_000;
  const { pool, published } = setUp('10.0.0.0/24');
  atOnce(
    pool.restore(
      [stored(1, '10.0.0.5', '2001:db8::5', unix), stored(2, '10.0.0.6', '2001:db8::6', unix + 1)],
      T0,
      unix,
    ),
  );
  assert.equal(published.size, 0);
  assert.equal(pool.dormantCount, 2);
});

test('restored maps rest in the order of their last use, not of their lines', () => {
  const unix = 1_800_000_000;
  const { pool, give } = setUp('10.0.0.0/30');
  atOnce(
    pool.restore(
      [
        stored(1, '10.0.0.1', '2001:db8::1', unix - 8000),
        stored(2, '10.0.0.2', '2001:db8::2', unix - 9000),
        stored(3, '10.0.0.3', '2001:db8::3', unix - LIFETIME),
      ],
      T0,
      unix,
    ),
  );
  assert.equal(pool.liveCount, 1, 'a map lives to the last second of its lifetime, restored or not');
  assert.equal(give('2001:db8::9'), '10.0.0.2');
  assert.equal(give('2001:db8::8'), '10.0.0.1');
});

test('addresses that become reserved end their maps and are given to nobody; those that are free again are', () => {
  const { pool, published } = setUp('10.0.0.0/28');
  const index = pool.assign(host(1), T0);
  const address = pool.addressOf(index);
  const dormant = pool.assign(host(2), T0);
  pool.sweep(T0 + 8000);
  assert.equal(pool.assign(host(1), T0 + 8000), index);
  assert.equal(pool.dormantCount, 1);
  pool.setReserved([
    { address, length: 32 },
    { address: pool.addressOf(dormant), length: 32 },
  ]);
  assert.ok(!published.has(index));
  assert.deepEqual(
    [pool.liveCount, pool.dormantCount, pool.lookup(host(1)), pool.lookup(host(2))],
    [0, 0, -1, -1],
  );
  assert.equal(pool.capacity, 13);
  const given = Array.from({ length: 13 }, (_, n) => pool.assign(host(100 + n), T0 + 8000));
  assert.ok(!given.includes(index) && !given.includes(dormant) && !given.includes(-1));
  assert.equal(pool.assign(host(200), T0 + 8000), REFUSED_POOL_FULL);
  pool.setReserved([]);
  assert.equal(pool.capacity, 15);
  assert.ok([index, dormant].includes(pool.assign(host(200), T0 + 8000)));
});

test('evicted hosts lose their maps, live and dormant; others keep theirs', () => {
  const { pool } = setUp('10.0.0.0/24');
  const indexes = [1, 2, 3].map((n) => pool.assign(host(n), T0));
  pool.evictHosts((one) => one[3] !== 2);
  assert.deepEqual(
    [1, 2, 3].map((n) => pool.lookup(host(n))),
    [-1, indexes[1], -1],
  );
  assert.equal(pool.liveCount, 1);
  assert.equal(pool.freeCount, pool.capacity - 1);
});

test('a host that gets an address, anew or again, is written down before it is published', () => {
  const events: string[] = [];
  const { pool } = setUp('10.0.0.0/24', { events });
  const index = pool.assign(host(1), T0);
  pool.assign(host(1), T0);
  assert.deepEqual(events, [`record ${formatAddress4(pool.addressOf(index))} 1`, `publish ${index} 1`]);
  pool.sweep(T0 + 8000);
  pool.assign(host(1), T0 + 8000);
  assert.equal(events.length, 4);
  assert.equal(events[2], events[0]);
});

/** The pool against a model that is slow and obvious: maps in an array, rules read off the specification. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CLOCK_START_SEC } from '#nat64d/control/pool/clock-start.js';
import { DynamicPool, REFUSED_LIMIT_PER_64, REFUSED_POOL_FULL } from '#nat64d/control/pool/dynamic-pool.js';
import { poolHash } from '#nat64d/control/pool/hash.js';
import { atOnce } from '#nat64d/control/slices.js';
import type { Address6 } from '#nat64d/wire/address.js';
import { prefix4 } from '../helpers/harness.js';

const LIFETIME = 60;
const DORMANT = 600;
const BITS = 3;
const SIZE = 2 ** BITS;
const RESERVED = 5;
const HOSTS = 12;
/** Above 2³¹, as half of all addresses are. */
const POOL4 = prefix4('192.168.0.8/29');

/** Twelve hosts in three /64s. */
const hostOf = (n: number): Address6 => [0x20010db8, ~(n % 3), ~n, n];
const hostNumber = (host: Address6) => host[3];

interface ModelMap {
  host: number;
  index: number;
  lastUsed: number;
  live: boolean;
  /** Of dormant maps: who rests longer has the lower rank. Equal where both ended in the same second. */
  rank: number;
}

class Model {
  maps: ModelMap[] = [];
  #rank = 0;
  readonly #maxMapsPer64: number;

  constructor(maxMapsPer64: number) {
    this.#maxMapsPer64 = maxMapsPer64;
  }

  /** The answers that the rules allow: one, but for dormant maps that ended in the same second. */
  allowed(host: number): number[] {
    const mine = this.maps.find((map) => map.host === host);
    if (mine?.live) return [mine.index];
    const inMy64 = this.maps.filter((map) => map.live && map.host % 3 === host % 3);
    if (this.#maxMapsPer64 > 0 && inMy64.length >= this.#maxMapsPer64) return [REFUSED_LIMIT_PER_64];
    if (mine) return [mine.index];
    const hash = poolHash(hostOf(host), BITS);
    for (let i = 0; i < SIZE; i++) {
      const index = (hash + i) % SIZE;
      const isTaken = index === 0 || index === RESERVED || this.maps.some((map) => map.index === index);
      if (!isTaken) return [index];
    }
    const dormant = this.maps.filter((map) => !map.live);
    const lowest = Math.min(...dormant.map((map) => map.rank));
    if (dormant.length === 0) return [REFUSED_POOL_FULL];
    return dormant.filter((map) => map.rank === lowest).map((map) => map.index);
  }

  assigned(host: number, index: number, now: number): void {
    if (index < 0 || this.maps.some((map) => map.live && map.host === host)) return;
    this.maps = this.maps.filter((map) => map.index !== index);
    this.maps.push({ host, index, lastUsed: now, live: true, rank: 0 });
  }

  sweep(now: number): void {
    this.#rest(this.maps.filter((map) => map.live && now - map.lastUsed > LIFETIME));
    this.maps = this.maps.filter((map) => map.live || now - map.lastUsed <= DORMANT);
  }

  /** A new process: `ageSec` of each map is what the wall clock says, negative if the clock was set back. */
  restart(ageSec: (map: ModelMap) => number, now: number): void {
    const ages = new Map(this.maps.map((map) => [map, ageSec(map)]));
    const isClockWrong = [...ages.values()].some((age) => age < 0);
    this.maps = this.maps.filter((map) => isClockWrong || (ages.get(map) as number) <= DORMANT);
    const isLive = (map: ModelMap) => !isClockWrong && (ages.get(map) as number) <= LIFETIME;
    this.#rest(this.maps.filter((map) => !isLive(map)));
    for (const map of this.maps) {
      map.live = isLive(map);
      map.lastUsed = now - (isClockWrong ? LIFETIME + 1 : (ages.get(map) as number));
    }
  }

  #rest(maps: ModelMap[]): void {
    let previous = -1;
    for (const map of maps.sort((a, b) => a.lastUsed - b.lastUsed)) {
      map.live = false;
      map.rank = map.lastUsed === previous ? this.#rank : ++this.#rank;
      previous = map.lastUsed;
    }
  }
}

/** A pool whose publisher checks that a map is published once, and withdrawn only when its time is over. */
function setUp(maxMapsPer64: number) {
  const lastSeen = new Int32Array(new SharedArrayBuffer(SIZE * 4));
  const published = new Map<number, Address6>();
  const clock = { now: CLOCK_START_SEC };
  const pool = new DynamicPool({
    pool4: POOL4,
    reserved: [prefix4(`192.168.0.${8 + RESERVED}/32`)],
    lastSeen,
    lifetimeSec: LIFETIME,
    dormantSec: DORMANT,
    maxMapsPer64,
    publisher: {
      publish(index, host) {
        assert.ok(!published.has(index), 'published twice');
        assert.ok((lastSeen[index] as number) > 0, 'published before it was marked as used');
        published.set(index, host);
      },
      withdraw(index) {
        assert.ok(published.delete(index), 'withdrawn without being published');
        assert.ok(clock.now - (lastSeen[index] as number) > LIFETIME, 'withdrawn before its time');
      },
    },
  });
  return { pool, lastSeen, published, clock };
}

/** Whatever happened: nobody shares an address, nobody has two, and the workers know exactly the live maps. */
function checkInvariants({ pool, published }: ReturnType<typeof setUp>): void {
  const entries = [...pool.entries()];
  assert.equal(new Set(entries.map((entry) => entry.ipv4)).size, entries.length);
  assert.equal(new Set(entries.map((entry) => String(entry.host))).size, entries.length);
  assert.deepEqual(
    [...published].sort(([a], [b]) => a - b),
    entries.filter((entry) => entry.live).map((entry) => [entry.ipv4 - POOL4.address, entry.host]),
  );
  for (const { host, ipv4 } of entries) assert.equal(pool.addressOf(pool.lookup(host)), ipv4);
  assert.equal(pool.liveCount, published.size);
  assert.equal(pool.dormantCount, entries.length - published.size);
  assert.equal(pool.liveCount + pool.dormantCount + pool.freeCount, pool.capacity);
}

/** Without a size, fast-check makes arrays of ten at most, whatever their maximum: too short for a pool to fill. */
const LONG = { maxLength: 150, size: 'max' } as const;
const seconds = fc.oneof(fc.nat(5), fc.nat(70), fc.nat(700));
const assign = { weight: 5, arbitrary: fc.record({ assign: fc.nat(HOSTS - 1) }) };
const touch = { weight: 3, arbitrary: fc.record({ touch: fc.nat(SIZE - 1) }) };
const step = fc.oneof(
  assign,
  touch,
  { weight: 2, arbitrary: fc.record({ advance: seconds }) },
  { weight: 2, arbitrary: fc.record({ jump: seconds }) },
  { weight: 1, arbitrary: fc.record({ restart: fc.integer({ min: -30, max: 700 }) }) },
);

test('any history of hosts, packets, seconds and restarts leaves the maps that the rules say', () => {
  fc.assert(
    fc.property(fc.array(step, LONG), fc.constantFrom(0, 2), (steps, maxMapsPer64) => {
      let current = setUp(maxMapsPer64);
      const model = new Model(maxMapsPer64);
      for (const s of steps) {
        const { pool, lastSeen, clock } = current;
        if ('assign' in s) {
          const allowed = model.allowed(s.assign);
          const index = pool.assign(hostOf(s.assign), clock.now);
          assert.ok(allowed.includes(index), `${index} instead of ${allowed}`);
          model.assigned(s.assign, index, clock.now);
        } else if ('touch' in s) {
          const map = model.maps.find((candidate) => candidate.index === s.touch && candidate.live);
          if (map) map.lastUsed = lastSeen[s.touch] = clock.now;
        } else if ('advance' in s) {
          for (let i = 0; i < s.advance; i++) {
            pool.sweep(++clock.now);
            model.sweep(clock.now);
          }
        } else if ('jump' in s) {
          clock.now += s.jump;
          pool.sweep(clock.now);
          model.sweep(clock.now);
        } else {
          const unixNow = 1_800_000_000;
          const stored = [...pool.entries()].map(({ ipv4, host, lastUsedSec }, line) => ({
            line,
            ipv4,
            host,
            lastUsedUnixSec: unixNow - (clock.now - lastUsedSec),
          }));
          const stoppedAt = clock.now;
          current = setUp(maxMapsPer64);
          const { now } = current.clock;
          assert.deepEqual(atOnce(current.pool.restore(stored, now, unixNow + s.restart)), []);
          model.restart((map) => stoppedAt - map.lastUsed + s.restart, now);
        }
        checkInvariants(current);
        assert.deepEqual(
          [...current.pool.entries()].map(
            (e) => `${e.ipv4 - POOL4.address} ${hostNumber(e.host)} ${e.lastUsedSec} ${e.live}`,
          ),
          model.maps
            .sort((a, b) => a.index - b.index)
            .map((map) => `${map.index} ${map.host} ${map.lastUsed} ${map.live}`),
        );
      }
    }),
    { numRuns: 300 },
  );
});

const lateStep = fc.oneof(
  assign,
  touch,
  { weight: 2, arbitrary: fc.record({ wait: fc.oneof(fc.nat(2), fc.nat(LIFETIME + 2), fc.nat(200)) }) },
  { weight: 4, arbitrary: fc.record({ slice: fc.integer({ min: 1, max: 3 }), wait: fc.nat(1) }) },
);

test('sweeps that come late and in slices end no map early, and end every map once they catch up', () => {
  fc.assert(
    fc.property(fc.array(lateStep, LONG), fc.constantFrom(0, 2), (steps, maxMapsPer64) => {
      const current = setUp(maxMapsPer64);
      const { pool, lastSeen, published, clock } = current;
      for (const s of steps) {
        if ('assign' in s) {
          const index = pool.assign(hostOf(s.assign), clock.now);
          assert.ok(index < 0 || clock.now - (lastSeen[index] as number) <= LIFETIME, 'a dead map was given');
        } else if ('touch' in s) {
          // What a worker does: it marks a published map as used unless its time is over.
          const isUsable = published.has(s.touch) && clock.now - (lastSeen[s.touch] as number) <= LIFETIME;
          if (isUsable) lastSeen[s.touch] = clock.now;
        } else {
          clock.now += s.wait;
          if ('slice' in s) assert.ok(pool.sweep(clock.now, s.slice as number) <= (s.slice as number));
        }
        checkInvariants(current);
      }
      let calls = 0;
      while (pool.sweep(clock.now, 1) > 0) assert.ok(++calls < 1000, 'a sweep that never catches up');
      checkInvariants(current);
      for (const { live, lastUsedSec } of pool.entries()) {
        assert.equal(live, clock.now - lastUsedSec <= LIFETIME);
        assert.ok(clock.now - lastUsedSec <= DORMANT || live);
      }
    }),
    { numRuns: 300 },
  );
});

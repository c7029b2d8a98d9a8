/** The pool against a model that is slow and obvious: maps in an array, rules read off the specification. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { CLOCK_START_SEC } from '#nat64d/control/pool/clock-start.js';
import { DynamicPool } from '#nat64d/control/pool/dynamic-pool.js';
import { poolHash } from '#nat64d/control/pool/hash.js';
import type { Address6 } from '#nat64d/wire/address.js';
import { prefix4 } from '../helpers/harness.js';

const LIFETIME = 60;
const DORMANT = 600;
const BITS = 3;
const SIZE = 2 ** BITS;
const RESERVED = 5;

interface ModelMap {
  host: number;
  index: number;
  lastUsed: number;
  live: boolean;
  restOrder: number;
}

class Model {
  maps: ModelMap[] = [];
  #order = 0;

  assign(host: number, now: number): number {
    const mine = this.maps.find((map) => map.host === host);
    if (mine?.live && now - mine.lastUsed <= LIFETIME) return mine.index;
    if (mine) {
      mine.live = true;
      mine.lastUsed = now;
      return mine.index;
    }
    const taken = new Set([0, RESERVED, ...this.maps.map((map) => map.index)]);
    const hash = poolHash(hostOf(host), BITS);
    for (let i = 0; i < SIZE; i++) {
      const index = (hash + i) % SIZE;
      if (taken.has(index)) continue;
      this.maps.push({ host, index, lastUsed: now, live: true, restOrder: 0 });
      return index;
    }
    const rested = this.maps.filter((map) => !map.live).sort((a, b) => a.restOrder - b.restOrder)[0];
    if (!rested) return -1;
    Object.assign(rested, { host, live: true, lastUsed: now });
    return rested.index;
  }

  sweep(now: number): void {
    const ending = this.maps.filter((map) => map.live && now - map.lastUsed > LIFETIME);
    for (const map of ending.sort((a, b) => a.lastUsed - b.lastUsed)) {
      map.live = false;
      map.restOrder = this.#order++;
    }
    this.maps = this.maps.filter((map) => map.live || now - map.lastUsed <= DORMANT);
  }
}

const hostOf = (n: number): Address6 => [0x20010db8, n * 77, -n, n];

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ assign: fc.nat(12) }) },
  { weight: 3, arbitrary: fc.record({ touch: fc.nat(SIZE - 1) }) },
  { weight: 3, arbitrary: fc.record({ advance: fc.oneof(fc.nat(5), fc.nat(70), fc.nat(700)) }) },
);

test('any history of hosts, packets and seconds leaves the maps that the rules say', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 150 }), (steps) => {
      const lastSeen = new Int32Array(SIZE);
      const published = new Set<number>();
      const pool = new DynamicPool({
        pool4: prefix4('10.0.0.0/29'),
        reserved: [prefix4(`10.0.0.${RESERVED}/32`)],
        lastSeen,
        lifetimeSec: LIFETIME,
        dormantSec: DORMANT,
        maxMapsPer64: 0,
        publisher: { publish: (index) => published.add(index), withdraw: (index) => published.delete(index) },
      });
      const model = new Model();
      let now = CLOCK_START_SEC;
      for (const s of steps) {
        if ('assign' in s) {
          assert.equal(pool.assign(hostOf(s.assign), now), model.assign(s.assign, now));
        } else if ('touch' in s) {
          // Workers only touch what is published and not over.
          const map = model.maps.find((candidate) => candidate.index === s.touch && candidate.live);
          if (!map || now - map.lastUsed > LIFETIME) continue;
          map.lastUsed = now;
          lastSeen[s.touch] = now;
        } else {
          // Seconds pass one at a time here, so that maps come to rest in the order of their last use in both.
          for (let i = 0; i < s.advance; i++) {
            now++;
            pool.sweep(now);
            model.sweep(now);
          }
        }
        const expected = model.maps
          .map((map) => `${map.index} ${hostOf(map.host)} ${map.lastUsed} ${map.live}`)
          .sort();
        const actual = [...pool.entries()]
          .map((entry) => `${entry.ipv4 - 0x0a000000} ${entry.host} ${entry.lastUsedSec} ${entry.live}`)
          .sort();
        assert.deepEqual(actual, expected);
        assert.deepEqual(
          [...published].sort(),
          model.maps
            .filter((m) => m.live)
            .map((m) => m.index)
            .sort(),
        );
        assert.equal(pool.liveCount + pool.dormantCount + pool.freeCount, pool.capacity);
      }
    }),
    { numRuns: 150 },
  );
});

test('a jump of the clock ends what many small steps end', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(5), fc.nat(90)), { maxLength: 12 }),
      fc.nat(2000),
      (arrivals, jump) => {
        const run = (isStepwise: boolean) => {
          const pool = new DynamicPool({
            pool4: prefix4('10.0.0.0/28'),
            reserved: [],
            lastSeen: new Int32Array(16),
            lifetimeSec: LIFETIME,
            dormantSec: DORMANT,
            maxMapsPer64: 0,
            publisher: { publish() {}, withdraw() {} },
          });
          let now = CLOCK_START_SEC;
          for (const [host, seconds] of arrivals) {
            pool.assign(hostOf(host), now);
            now += seconds;
            pool.sweep(now);
          }
          if (isStepwise) for (let i = 1; i < jump; i++) pool.sweep(now + i);
          pool.sweep(now + jump);
          return [...pool.entries()];
        };
        assert.deepEqual(run(false), run(true));
      },
    ),
    { numRuns: 100 },
  );
});

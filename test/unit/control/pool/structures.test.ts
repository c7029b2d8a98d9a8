/** The pool's data structures, each against the obvious one of the language. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FreeMap } from '#nat64d/control/pool/free-map.js';
import { HostIndex } from '#nat64d/control/pool/host-index.js';
import { Per64Counts } from '#nat64d/control/pool/per-64.js';
import { SecretHash } from '#nat64d/control/pool/secret-hash.js';
import type { Address6 } from '#nat64d/wire/address.js';

test('the free map finds what a walk finds', () => {
  for (const size of [2, 8, 32, 64, 4096]) {
    const index = fc.nat(size - 1);
    const step = fc.record({ take: fc.boolean(), from: index, count: fc.nat(size), start: index });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30, size: 'max' }), (steps) => {
        const free = new FreeMap(size);
        const taken = new Set<number>();
        for (const { take, from, count, start } of steps) {
          for (let i = from; i < Math.min(from + count, size); i++) {
            if (take) {
              free.take(i);
              taken.add(i);
            } else {
              free.release(i);
              taken.delete(i);
            }
          }
          let expected = -1;
          for (let i = 0; i < size && expected < 0; i++) {
            if (!taken.has((start + i) % size)) expected = (start + i) % size;
          }
          assert.equal(free.nextFree(start), expected);
          assert.equal(free.freeCount, size - taken.size);
          assert.equal(free.isTaken(start), taken.has(start));
        }
      }),
      { numRuns: 40 },
    );
  }
});

test('one free address in four million is found from anywhere', () => {
  const free = new FreeMap(2 ** 22);
  for (let i = 0; i < 2 ** 22; i++) free.take(i);
  assert.equal(free.nextFree(5), -1);
  free.release(1_234_567);
  for (const start of [0, 1_234_566, 1_234_567, 1_234_568, 2 ** 22 - 1]) {
    assert.equal(free.nextFree(start), 1_234_567);
  }
});

test('the host index knows what a Map knows, full and after any removals', () => {
  const size = 64;
  // Some of these differ in one word only, whichever.
  const hostOf = (n: number): Address6 => [n & 3, (n >> 2) & 3, (n >> 4) & 3, ~(n >> 6)];
  const step = fc.record({ host: fc.nat(90), index: fc.nat(size - 1) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400, size: 'max' }), (steps) => {
      const hosts = new HostIndex(size);
      const byIndex = new Map<number, number>();
      const byHost = new Map<number, number>();
      for (const { host, index } of steps) {
        const occupant = byIndex.get(index);
        if (occupant !== undefined) {
          hosts.remove(index);
          byIndex.delete(index);
          byHost.delete(occupant);
        } else {
          assert.equal(hosts.add(hostOf(host), index), !byHost.has(host), 'a host is added once');
          if (byHost.has(host)) continue;
          byIndex.set(index, host);
          byHost.set(host, index);
          assert.deepEqual(hosts.hostAt(index), hostOf(host));
        }
        for (let n = 0; n <= 90; n++) assert.equal(hosts.find(hostOf(n)), byHost.get(n) ?? -1);
      }
    }),
    { numRuns: 50 },
  );
});

test('addresses picked to cancel out in a multiplicative hash do not collide', () => {
  const hash = new SecretHash();
  const seen = new Set<number>();
  // High bits of one word, and what a shift by 15 makes of them in the next: 65536 hosts, 256 values of such a hash.
  for (let high = 0; high < 256; high++) {
    for (let low = 0; low < 256; low++) {
      const cancel = low << 24;
      seen.add(hash.of([0x20010db8, 0, high << 24, cancel ^ (cancel >>> 15)]));
    }
  }
  assert.ok(seen.size > 65_400, `${seen.size} different hashes of 65536 hosts`);
});

test('every byte of an address counts, and each gateway hashes in its own way', () => {
  const [a, b] = [new SecretHash(), new SecretHash()];
  const zero = a.of([0, 0, 0, 0]);
  const values = new Set([zero]);
  for (let word = 0; word < 4; word++) {
    for (let bit = 0; bit < 32; bit++) {
      const host: [number, number, number, number] = [0, 0, 0, 0];
      host[word] = 1 << bit;
      values.add(a.of(host));
    }
  }
  assert.equal(values.size, 129);
  const samples: Address6[] = [1, 2, 3, 4].map((n) => [0x20010db8, 0, 0, n]);
  assert.notDeepEqual(
    samples.map((host) => a.of(host)),
    samples.map((host) => b.of(host)),
  );
});

test('maps are counted per /64', () => {
  const host = fc.record({ prefix: fc.nat(20), iid: fc.nat() });
  fc.assert(
    fc.property(fc.array(host, { maxLength: 200, size: 'max' }), (hosts) => {
      const counts = new Per64Counts(16);
      const live: { prefix: number; iid: number }[] = [];
      const addressOf = (h: { prefix: number; iid: number }): Address6 => [
        0x20010db8,
        ~h.prefix,
        h.iid,
        h.prefix,
      ];
      for (const h of hosts) {
        // As many maps as places, as in the pool: then the oldest goes first.
        if (live.length === 16) counts.change(addressOf(live.shift() as typeof h), -1);
        live.push(h);
        counts.change(addressOf(h), 1);
        for (let prefix = 0; prefix <= 20; prefix++) {
          const expected = live.filter((other) => other.prefix === prefix).length;
          assert.equal(counts.count(addressOf({ prefix, iid: 1 })), expected);
        }
      }
    }),
    { numRuns: 50 },
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createPrefixTable, PrefixTable } from '#nat64d/shm/prefix-table.js';
import {
  type Address6,
  mask4,
  maskAddress6,
  prefix4Contains,
  prefix6Contains,
} from '#nat64d/wire/address.js';

const ANY4 = { address: 0, length: 0 };
const ANY6 = { address: [0, 0, 0, 0] as Address6, length: 0 };

/** Few distinct bits, so that prefixes nest and share markers. */
const address4 = fc
  .array(fc.nat(3), { minLength: 4, maxLength: 4 })
  .map((octets) => octets.reduce((a, o) => a * 256 + o, 0));
const prefix4 = fc
  .tuple(address4, fc.nat(32))
  .map(([a, length]) => ({ address: (a & mask4(length)) >>> 0, length }));
const word = fc.constantFrom(0, 1, 0x10000, -1, 0x20010db8, -0x80000000);
const address6: fc.Arbitrary<Address6> = fc.tuple(word, word, word, word);
const prefix6 = fc
  .tuple(address6, fc.nat(128))
  .map(([a, length]) => ({ address: maskAddress6(a, length), length }));

/** Position of the value with this number. */
function valueAt(table: PrefixTable, count: number, index: number): number {
  return table.words.length - (count - index) * 7;
}

test('an empty table finds nothing', () => {
  const table = new PrefixTable(createPrefixTable([], 4));
  assert.ok(table.isEmpty);
  assert.equal(table.find4(0x01020304), -1);
});

test('the longest of any set of IPv4 prefixes is found', () => {
  const prefixes = fc.uniqueArray(prefix4, { maxLength: 40, selector: (p) => `${p.address}/${p.length}` });
  fc.assert(
    fc.property(prefixes, fc.array(address4, { minLength: 1, maxLength: 20 }), (list, addresses) => {
      const table = new PrefixTable(
        createPrefixTable(
          list.map((ipv4) => ({ ipv4, ipv6: ANY6 })),
          4,
        ),
      );
      for (const address of addresses) {
        const best = list
          .map((prefix, index) => ({ prefix, index }))
          .filter(({ prefix }) => prefix4Contains(prefix, address))
          .sort((a, b) => b.prefix.length - a.prefix.length)[0];
        const expected = best === undefined ? -1 : valueAt(table, list.length, best.index);
        assert.equal(table.find4(address | 0), expected);
      }
    }),
    { numRuns: 500 },
  );
});

test('the longest of any set of IPv6 prefixes is found', () => {
  const prefixes = fc.uniqueArray(prefix6, { maxLength: 40, selector: (p) => `${p.address}/${p.length}` });
  fc.assert(
    fc.property(prefixes, fc.array(address6, { minLength: 1, maxLength: 20 }), (list, addresses) => {
      const table = new PrefixTable(
        createPrefixTable(
          list.map((ipv6) => ({ ipv4: ANY4, ipv6 })),
          6,
        ),
      );
      for (const address of addresses) {
        const best = list
          .map((prefix, index) => ({ prefix, index }))
          .filter(({ prefix }) => prefix6Contains(prefix, address))
          .sort((a, b) => b.prefix.length - a.prefix.length)[0];
        const expected = best === undefined ? -1 : valueAt(table, list.length, best.index);
        assert.equal(table.find6(...address), expected);
      }
    }),
    { numRuns: 500 },
  );
});

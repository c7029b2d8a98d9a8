import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { poolHash } from '#nat64d/control/pool/hash.js';
import { formatAddress4 } from '#nat64d/wire/address.js';
import { address4, address6 } from '../../../helpers/harness.js';

for (const [host, net, length, expected] of [
  ['2001:db8::69', '192.168.0.0', 24, '192.168.0.80'],
  ['2001:db8::69', '10.9.0.0', 16, '10.9.34.46'],
] as const) {
  test(`${host} is first offered ${expected} of a /${length}, as TAYGA offers it`, () => {
    assert.equal(formatAddress4(address4(net) + poolHash(address6(host), 32 - length)), expected);
  });
}

test('the hash follows its definition, and stays in the pool', () => {
  const word = fc.integer({ min: -0x80000000, max: 0x7fffffff });
  fc.assert(
    fc.property(fc.tuple(word, word, word, word), fc.integer({ min: 1, max: 30 }), (host, bits) => {
      const max = (1n << BigInt(bits)) - 1n;
      const bytes = new DataView(new ArrayBuffer(4));
      let b = 0n;
      for (const w of host) {
        bytes.setInt32(0, w);
        b = (b + BigInt(bytes.getUint32(0, true))) & 0xffffffffn;
        while (b > max) b = (b & max) + (b >> BigInt(bits));
      }
      assert.equal(BigInt(poolHash(host, bits)), b);
    }),
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sipHash24 } from '#nat64d/wire/siphash.js';

const key = Uint8Array.from({ length: 16 }, (_, i) => i);

/** From the authors' table: the hash of the first N of the bytes 0, 1, 2 …, under the key 0, 1 … 15. */
const HASHES: [number, string][] = [
  [0, '310e0edd47db6f72'],
  [1, 'fd67dc93c539f874'],
  [7, '37d1018bf50002ab'],
  [8, '6224939a79f5f593'],
  [15, 'e545be4961ca29a1'],
  [63, '724506eb4c328a95'],
];

for (const [length, expected] of HASHES) {
  test(`of ${length} bytes`, () => {
    const bytes = Uint8Array.from({ length }, (_, i) => i);
    assert.equal(Buffer.from(sipHash24(key, bytes)).toString('hex'), expected);
  });
}

test('every bit of the key counts', () => {
  const hashes = new Set<string>();
  for (let bit = 0; bit < 128; bit++) {
    const changed = Uint8Array.from(key);
    changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
    hashes.add(Buffer.from(sipHash24(changed, key)).toString('hex'));
  }
  assert.equal(hashes.size, 128);
});

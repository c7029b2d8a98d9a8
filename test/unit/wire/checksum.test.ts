import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { adjustChecksum, adjustPartial, fold, sumBytes, sumWord } from '#nat64d/wire/checksum.js';

/** The definition, a word at a time. */
function slowSum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += ((bytes[i] as number) << 8) | (bytes[i + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

const same = (a: number, b: number) => a % 0xffff === b % 0xffff;

test('RFC 1071 section 3: the example sums to ddf2', () => {
  const view = new DataView(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7).buffer);
  assert.equal(fold(sumBytes(view, 0, 8)), 0xddf2);
});

test('a sum over any bytes at any offset equals the definition', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(7), (bytes, offset) => {
      const padded = new Uint8Array(offset + bytes.length);
      padded.set(bytes, offset);
      const sum = fold(sumBytes(new DataView(padded.buffer), offset, bytes.length));
      assert.ok(same(sum, slowSum(bytes)));
    }),
  );
});

test('64 KiB of ones do not overflow', () => {
  const view = new DataView(new Uint8Array(65536).fill(255).buffer);
  assert.equal(fold(sumBytes(view, 0, 65536)), 0xffff);
});

test('RFC 1624 section 4: dd2f, 5555 becomes 3285, gives 0000', () => {
  assert.equal(adjustChecksum(0xdd2f, 0x5555, 0x3285), 0x0000);
});

test('an adjusted checksum is the one that a whole recomputation gives', () => {
  const words = fc.array(fc.nat(0xffff), { minLength: 2, maxLength: 20 });
  fc.assert(
    fc.property(words, fc.nat(0xffff), fc.nat(19), (message, replacement, at) => {
      const index = at % message.length;
      const total = (list: number[]) => list.reduce((a, b) => a + b, 0);
      // A message that is all zeros has no checksum of its own kind.
      fc.pre(total(message) > 0);
      const changed = message.with(index, replacement);
      fc.pre(total(changed) > 0);
      const before = ~fold(total(message)) & 0xffff;
      const after = ~fold(total(changed)) & 0xffff;
      assert.equal(adjustChecksum(before, message[index] as number, replacement), after);
      assert.ok(
        same(adjustPartial(fold(total(message)), message[index] as number, replacement), total(changed)),
      );
    }),
  );
});

test('the halves of a negative word are summed unsigned', () => {
  assert.equal(sumWord(-1), 0x1fffe);
  assert.equal(sumWord(0x80000001 | 0), 0x8001);
});

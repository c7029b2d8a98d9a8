/** RFC 8781: the PREF64 option. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePrefix6 } from '#nat64d/wire/address.js';
import { prefixLengthCode, scaledLifetime } from '#nat64d/wire/router-discovery.js';
import { hex, options } from '../advertisement.js';

const pref64 = (text: string, lifetimeSec: number) =>
  options({ pref64s: [{ of: parsePrefix6(text)!, lifetimeSec }] });

for (const [prefix, code, bytes] of [
  ['64:ff9b::/96', 0, '0064ff9b 00000000 00000000'],
  ['2001:db8:122:344::/64', 1, '20010db8 01220344 00000000'],
  ['2001:db8:122:300::/56', 2, '20010db8 01220300 00000000'],
  ['2001:db8:122::/48', 3, '20010db8 01220000 00000000'],
  ['2001:db8:100::/40', 4, '20010db8 01000000 00000000'],
  ['2001:db8::/32', 5, '20010db8 00000000 00000000'],
  // All 96 bits are in the option.
  ['2001:db8:1:2:3:4::/96', 0, '20010db8 00010002 00030004'],
] as const) {
  test(`RFC 8781 section 4: ${prefix} has prefix length code ${code}, in an option of 16 bytes`, () => {
    assert.equal(prefixLengthCode(Number(prefix.split('/')[1])), code);
    // 1800 s are 225 units.
    const field = ((225 << 3) | code).toString(16).padStart(4, '0');
    assert.equal(pref64(prefix, 1800), hex(`26 02 ${field} ${bytes}`));
  });
}

for (const length of [0, 31, 33, 47, 63, 65, 72, 80, 95, 97, 128]) {
  test(`RFC 8781 section 4: a prefix of length ${length} has no code`, () => {
    assert.throws(() => prefixLengthCode(length), RangeError);
  });
}

for (const [lifetimeSec, units] of [
  [0, 0],
  [1, 1],
  [7, 1],
  [8, 1],
  [9, 2],
  [600, 75],
  [1799, 225],
  [65527, 8191],
  [65528, 8191],
  [65529, 8191],
  [1e9, 8191],
] as const) {
  test(`RFC 8781 section 4.1: a lifetime of ${lifetimeSec} s is ${units} units of 8 s`, () => {
    assert.equal(scaledLifetime(lifetimeSec), units);
    assert.equal(pref64('64:ff9b::/96', lifetimeSec).slice(4, 8), (units << 3).toString(16).padStart(4, '0'));
  });
}

test('RFC 8781 section 5: several prefixes have an option each, in order', () => {
  const told = options({
    pref64s: ['64:ff9b::/96', '2001:db8::/32'].map((text) => ({ of: parsePrefix6(text)!, lifetimeSec: 8 })),
  });
  assert.equal(told, hex('2602 0008 0064ff9b0000000000000000 2602 000d 20010db80000000000000000'));
});

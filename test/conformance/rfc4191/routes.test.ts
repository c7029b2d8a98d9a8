/** RFC 4191 section 2.3: the Route Information option. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePrefix6 } from '#nat64d/wire/address.js';
import { hex, options } from '../advertisement.js';

for (const [route, bytes] of [
  ['64:ff9b:1::/96', '18 03 60 00 00000708 0064ff9b 00010000 00000000 00000000'],
  ['2001:db8:1:2::/64', '18 02 40 00 00000708 20010db8 00010002'],
  ['2001:db8::/32', '18 02 20 00 00000708 20010db8 00000000'],
  ['::/0', '18 01 00 00 00000708'],
] as const) {
  test(`RFC 4191 section 2.3: a route to ${route}, of medium preference`, () => {
    assert.equal(options({ routes: [{ of: parsePrefix6(route)!, lifetimeSec: 1800 }] }), hex(bytes));
  });
}

/** RFC 4861: router advertisements as we send them, and which solicitations are ignored. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePrefix6 } from '#nat64d/wire/address.js';
import { faultOfSolicitation, routerLifetimeOf } from '#nat64d/wire/router-discovery.js';
import { address6 } from '../../helpers/harness.js';
import { advertisement, hex, options } from '../advertisement.js';

test('RFC 4861 section 4.2: hop limit, flags and timers of an advertisement are left to others', () => {
  assert.equal(advertisement({}), hex('86 00 0000 00 00 0000 00000000 00000000'));
  assert.equal(advertisement({ routerLifetimeSec: 1800 }), hex('86 00 0000 00 00 0708 00000000 00000000'));
});

test('RFC 4861 section 4.6.1: the link-layer address, padded to whole units of 8 bytes', () => {
  assert.equal(
    options({ linkLayerAddress: Uint8Array.of(2, 0, 0, 0, 0, 1) }),
    hex('01 01 02 00 00 00 00 01'),
  );
  assert.equal(
    options({ linkLayerAddress: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) }),
    hex('01 02 0102030405060708 000000000000'),
  );
});

test('RFC 4861 section 4.6.2: a prefix is on the link and for addresses (L and A)', () => {
  const prefix = { of: parsePrefix6('2001:db8:1::/64')!, validSec: 86400, preferredSec: 14400 };
  assert.equal(
    options({ prefixes: [prefix] }),
    hex('03 04 40 c0 00015180 00003840 00000000 20010db8 00010000 00000000 00000000'),
  );
});

test('RFC 4861 section 4.6.4: the MTU', () => {
  assert.equal(options({ mtu: 1280 }), hex('05 01 0000 00000500'));
});

test('RFC 4861 section 4.6: every option is a whole number of units, and says how many', () => {
  const of = parsePrefix6('64:ff9b:1::/96')!;
  const bytes = Buffer.from(
    options({
      linkLayerAddress: Uint8Array.of(2, 0, 0, 0, 0, 1),
      mtu: 1500,
      prefixes: [{ of: parsePrefix6('fd00::/64')!, validSec: 1, preferredSec: 1 }],
      routes: [{ of, lifetimeSec: 1 }],
      pref64s: [{ of, lifetimeSec: 1 }],
      dnsServers: [{ of: address6('fd00::1'), lifetimeSec: 1 }],
    }),
    'hex',
  );
  const types = [];
  for (let at = 0; at < bytes.length; at += (bytes[at + 1] as number) * 8) types.push(bytes[at]);
  assert.deepEqual(types, [1, 5, 3, 24, 38, 25]);
});

const fault = (bytes: string, hopLimit = 255, isUnspecified = false) => {
  const message = Buffer.from(hex(bytes), 'hex');
  // Behind its end is what came before it.
  const slot = Buffer.concat([message, Buffer.alloc(64, 1)]);
  return faultOfSolicitation(slot, message.length, hopLimit, isUnspecified);
};
const SOLICITATION = '85 00 0000 00000000';

for (const [what, expected, ...given] of [
  ['the least one', null, SOLICITATION],
  ['one from ::', null, SOLICITATION, 255, true],
  ['one with a link-layer address', null, `${SOLICITATION} 01 01 020000000001`],
  [
    'one with options that nobody knows',
    null,
    `${SOLICITATION} fe 02 000000000000 0000000000000000 0e 01 000000000000`,
  ],
  ['one that has passed a router', 'hop-limit', SOLICITATION, 254],
  ['one of another code', 'code', '85 01 0000 00000000'],
  ['an empty one', 'length', ''],
  ['one that is cut', 'length', '85 00 0000 000000'],
  ['one with an option of length 0', 'option', `${SOLICITATION} 01 00 020000000001`],
  ['one with an option that leads over its end', 'option', `${SOLICITATION} 01 02 020000000001`],
  ['one with half an option header at its end', 'option', `${SOLICITATION} 01 01 020000000001 01`],
  ['one from :: with a link-layer address', 'source', `${SOLICITATION} 01 01 020000000001`, 255, true],
  [
    'one from :: with one behind another option',
    'source',
    `${SOLICITATION} fe 01 000000000000 01 01 020000000001`,
    255,
    true,
  ],
] as const) {
  test(`RFC 4861 section 6.1.1: of solicitations, ${what} is ${expected === null ? 'heard' : `ignored (${expected})`}`, () => {
    assert.equal(fault(...(given as unknown as [string, number?, boolean?])), expected);
  });
}

test('RFC 4861 section 6.1.2: the router lifetime of a sound advertisement', () => {
  const bytes = Buffer.from(advertisement({ routerLifetimeSec: 1800 }), 'hex');
  assert.equal(routerLifetimeOf(bytes, bytes.length, 255), 1800);
  assert.equal(routerLifetimeOf(bytes, bytes.length, 64), null);
  assert.equal(routerLifetimeOf(bytes, 15, 255), null);
  assert.equal(routerLifetimeOf(Buffer.from(hex(SOLICITATION), 'hex'), 8, 255), null);
});

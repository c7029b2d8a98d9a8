/** What an advertisement tells, by the configuration and by where DNS64 answers; and how it is taken back. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from '#nat64d/control/config/index.js';
import type { SocketAddress } from '#nat64d/control/config/types.js';
import type { Link } from '#nat64d/control/kernel-addresses.js';
import { contentsOf, goodbyeTo, withdrawing } from '#nat64d/control/radv/contents.js';
import { formatAddress6, formatPrefix6 } from '#nat64d/wire/address.js';
import { type RouterAdvertisement, writeRouterAdvertisement } from '#nat64d/wire/router-discovery.js';
import { address6 } from '../../../helpers/harness.js';

const LINK: Link = {
  name: 'lan0',
  index: 7,
  linkLocal: address6('fe80::1'),
  addresses: [address6('2001:db8:1::1'), address6('fd00::1')],
  linkLayerAddress: Uint8Array.of(2, 0, 0, 0, 0, 1),
};
const DEVICE = '64:ff9b:1::a40:2';
const on = (...addresses: string[]): SocketAddress[] => addresses.map((address) => ({ address, port: 53 }));
const told = (toml = '', listening = on(DEVICE), link = LINK) =>
  contentsOf(parseConfig(toml, 'f'), link, listening);
const servers = (ra: RouterAdvertisement) => ra.dnsServers.map(({ of }) => formatAddress6(of));
const timed = (list: RouterAdvertisement['routes']) =>
  list.map(({ of, lifetimeSec }) => `${formatPrefix6(of)} ${lifetimeSec}`);

test('by default: pref64, the way to it and DNS64 for three intervals; no default router, prefix or MTU', () => {
  const ra = told();
  assert.deepEqual(timed(ra.pref64s), ['64:ff9b:1::/96 1800']);
  assert.deepEqual(timed(ra.routes), ['64:ff9b:1::/96 1800']);
  assert.deepEqual(ra.dnsServers, [{ of: address6(DEVICE), lifetimeSec: 1800 }]);
  assert.deepEqual([ra.routerLifetimeSec, ra.mtu, ra.prefixes], [0, null, []]);
  assert.deepEqual(ra.linkLayerAddress, LINK.linkLayerAddress);
});

test('every key says what it says', () => {
  const ra = told(
    '[advertise]\ndns-servers = ["2001:db8::53"]\ninterval = 60\nlifetime = 90\nmtu = 1400\nprefix = "2001:db8:1::/64"\nroute = false\nrouter-lifetime = 900\n',
  );
  assert.deepEqual(timed(ra.pref64s), ['64:ff9b:1::/96 90']);
  assert.deepEqual(ra.routes, []);
  assert.deepEqual(ra.dnsServers, [{ of: address6('2001:db8::53'), lifetimeSec: 90 }]);
  assert.deepEqual([ra.routerLifetimeSec, ra.mtu], [900, 1400]);
  assert.deepEqual(
    ra.prefixes.map(({ of, validSec, preferredSec }) => [formatPrefix6(of), validSec, preferredSec]),
    [['2001:db8:1::/64', 86_400, 14_400]],
  );
});

test('without a pref64 there is neither a prefix nor a route to tell', () => {
  const ra = told('pref64 = false\nipv6-address = "2001:db8::1"\n');
  assert.deepEqual([ra.pref64s, ra.routes], [[], []]);
});

for (const [what, listening, expected] of [
  ['those of the interface before all others', on(DEVICE, 'fd00::1', 'fe80::1%lan0'), ['fd00::1']],
  ['all of the interface', on('2001:db8:1::1', 'fd00::1'), ['2001:db8:1::1', 'fd00::1']],
  ['the link-local one before others', on(DEVICE, 'fe80::1%lan0'), ['fe80::1']],
  ['not the link-local one of another link', on('fe80::1%wan0'), []],
  ['every address, which is those of the interface', on('::'), ['2001:db8:1::1', 'fd00::1']],
  [
    'others, three at most',
    on('fd00::a', 'fd00::b', 'fd00::c', 'fd00::d'),
    ['fd00::a', 'fd00::b', 'fd00::c'],
  ],
  ['not loopback, nor IPv4', on('::1', '10.64.0.2', '127.0.0.1'), []],
  ['not another port', [{ address: '2001:db8:1::1', port: 5353 }], []],
  ['none where DNS64 is off', [], []],
] as const) {
  test(`name servers: ${what}`, () => {
    assert.deepEqual(servers(told('', listening as SocketAddress[])), expected);
  });
}

test('name servers: the link-local address where DNS64 listens on all and the interface has no other', () => {
  assert.deepEqual(servers(told('', on('::'), { ...LINK, addresses: [] })), ['fe80::1']);
});

test('dns-servers = [] tells of none', () => {
  assert.deepEqual(servers(told('[advertise]\ndns-servers = []\n')), []);
});

test('what is told no more is told with lifetime 0, and what stays only once', () => {
  const ra = withdrawing(told('pref64 = "2001:db8:64::/96"\n'), told('[advertise]\nprefix = "fd00::/64"\n'));
  assert.deepEqual(timed(ra.pref64s), ['2001:db8:64::/96 1800', '64:ff9b:1::/96 0']);
  assert.deepEqual(timed(ra.routes), ['2001:db8:64::/96 1800', '64:ff9b:1::/96 0']);
  assert.deepEqual(servers(ra), [DEVICE]);
  assert.deepEqual(
    ra.prefixes.map(({ validSec, preferredSec }) => [validSec, preferredSec]),
    [[0, 0]],
  );
});

test('a goodbye has all lifetimes 0, and nothing new', () => {
  const ra = goodbyeTo(told('[advertise]\nprefix = "fd00::/64"\nrouter-lifetime = 900\n'));
  assert.equal(ra.routerLifetimeSec, 0);
  const lifetimes = [...ra.pref64s, ...ra.routes, ...ra.dnsServers].map(({ lifetimeSec }) => lifetimeSec);
  assert.deepEqual(lifetimes, [0, 0, 0]);
  assert.deepEqual(ra.prefixes[0], {
    of: { address: address6('fd00::'), length: 64 },
    validSec: 0,
    preferredSec: 0,
  });
});

test('however much comes and goes, an advertisement is one packet of the smallest MTU (RFC 6980 section 5)', () => {
  const dns = (from: number) =>
    Array.from({ length: 16 }, (_, i) => `"2001:db8:${(from * 16 + i).toString(16)}::53"`).join(', ');
  let ra = told();
  for (let i = 0; i < 50; i++) {
    const digit = i.toString(16);
    const next = told(
      `pref64 = "2001:db8:${digit}:1::/96"\n[advertise]\nmtu = 1280\nprefix = "fd00:${digit}::/64"\ndns-servers = [${dns(i)}]\n`,
    );
    ra = withdrawing(next, ra);
  }
  assert.ok(writeRouterAdvertisement(ra).length <= 1280 - 40);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from '#nat64d/control/config/index.js';
import type { GatewayConfig } from '#nat64d/control/config/types.js';
import { formatInterfaceAddress, netdevSettings } from '#nat64d/control/netdev/settings.js';
import {
  type Address6,
  parseAddress4,
  parseAddress6,
  parsePrefix4,
  parsePrefix6,
} from '#nat64d/wire/address.js';

const address4 = (text: string) => parseAddress4(text) as number;
const address6 = (text: string) => parseAddress6(text) as Address6;
const prefix4 = (text: string) => {
  const prefix = parsePrefix4(text);
  assert.ok(prefix);
  return prefix;
};
const prefix6 = (text: string) => {
  const prefix = parsePrefix6(text);
  assert.ok(prefix);
  return prefix;
};

const CONFIG = parseConfig(
  `pref64 = "64:ff9b::/96"
pool4 = "10.64.0.0/24"
ipv4-address = "10.64.0.1"
ipv6-address = "fd64::2"

[device]
mtu = 1400
addresses = ["192.0.0.8/32", "fd64::1/64"]
masquerade = "eth0"

[dns64]
enabled = false

[[map]]
ipv4 = "198.51.100.7"
ipv6 = "2001:db8::7"
`,
  'nat64d.toml',
);

test('netdevSettings takes the device section over', () => {
  const settings = netdevSettings(CONFIG);
  assert.equal(settings.device, 'nat64');
  assert.equal(settings.mtu, 1400);
  assert.equal(settings.forwarding, true);
  assert.equal(settings.masquerade, 'eth0');
  assert.deepEqual(settings.masqueradeSource, prefix4('10.64.0.0/24'));
  assert.equal(settings.runDir, '/run/nat64d');
  assert.deepEqual(settings.addresses.map(formatInterfaceAddress), ['192.0.0.8/32', 'fd64::1/64']);
});

test('routes: pref64, own IPv6 address, pool, maps; the own IPv4 address is in the pool', () => {
  assert.deepEqual(netdevSettings(CONFIG).routes, [
    { family: 6, prefix: '64:ff9b::/96', key: 'pref64' },
    { family: 6, prefix: 'fd64::2/128', key: 'ipv6-address' },
    { family: 4, prefix: '10.64.0.0/24', key: 'pool4' },
    { family: 4, prefix: '198.51.100.7/32', key: 'map' },
  ]);
});

test('routes: own addresses where nothing else covers them, no pool, no prefix twice', () => {
  const map = { ipv4: prefix4('198.51.100.0/24'), ipv6: prefix6('2001:db8::/120') };
  const config: GatewayConfig = {
    ...CONFIG,
    pref64: prefix6('2001:db8:1::/96'),
    ipv6Address: address6('2001:db8:1::a40:1'),
    ipv4Address: address4('192.0.0.2'),
    pool4: null,
    maps: [map, map],
  };
  assert.deepEqual(netdevSettings(config).routes, [
    { family: 6, prefix: '2001:db8:1::/96', key: 'pref64' },
    { family: 4, prefix: '198.51.100.0/24', key: 'map' },
    { family: 4, prefix: '192.0.0.2/32', key: 'ipv4-address' },
  ]);
});

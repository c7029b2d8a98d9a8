import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type KernelRoute, planRoutes, routeCommand } from '#nat64d/control/netdev/routes.js';
import type { NetdevRoute, NetdevSettings } from '#nat64d/control/netdev/settings.js';

const POOL: NetdevRoute = { family: 4, prefix: '10.64.0.0/24', key: 'pool4' };
const PREF64: NetdevRoute = { family: 6, prefix: '64:ff9b::/96', key: 'pref64' };

interface Case {
  readonly name: string;
  readonly wanted: NetdevRoute;
  readonly existing: KernelRoute;
  /** Whether the route is added. */
  readonly added: boolean;
  /** What the warning says; null: no warning. */
  readonly warning: RegExp | null;
}

const CASES: readonly Case[] = [
  {
    name: 'default route',
    wanted: POOL,
    existing: { dst: 'default', gateway: '192.0.2.1', dev: 'eth0' },
    added: true,
    warning: null,
  },
  {
    name: 'unrelated network',
    wanted: POOL,
    existing: { dst: '10.65.0.0/24', dev: 'eth0', protocol: 'kernel' },
    added: true,
    warning: null,
  },
  {
    name: 'same prefix elsewhere',
    wanted: POOL,
    existing: { dst: '10.64.0.0/24', dev: 'eth0', protocol: 'kernel' },
    added: false,
    warning: /'10\.64\.0\.0\/24 dev eth0'.*change pool4/,
  },
  {
    name: 'same prefix elsewhere, IPv6',
    wanted: PREF64,
    existing: { dst: '64:ff9b::/96', gateway: 'fe80::1', dev: 'eth0', metric: 1024 },
    added: false,
    warning: /'64:ff9b::\/96 via fe80::1 dev eth0 metric 1024'.*change pref64/,
  },
  {
    name: 'same prefix elsewhere, better metric',
    wanted: PREF64,
    existing: { dst: '64:ff9b::/96', dev: 'eth0', metric: 100 },
    added: false,
    warning: /change pref64/,
  },
  {
    name: 'same prefix elsewhere, worse metric',
    wanted: POOL,
    existing: { type: 'blackhole', dst: '10.64.0.0/24', metric: 4000 },
    added: true,
    warning: null,
  },
  {
    name: 'same prefix on the device',
    wanted: POOL,
    existing: { dst: '10.64.0.0/24', dev: 'nat64', protocol: 'kernel' },
    added: false,
    warning: null,
  },
  {
    name: 'more specific elsewhere',
    wanted: POOL,
    existing: { dst: '10.64.0.128/25', dev: 'eth0', protocol: 'kernel' },
    added: true,
    warning: /takes a part of 10\.64\.0\.0\/24 \(pool4\)/,
  },
  {
    name: 'a host elsewhere',
    wanted: POOL,
    existing: { dst: '10.64.0.7', dev: 'wg0' },
    added: true,
    warning: /'10\.64\.0\.7 dev wg0'/,
  },
  {
    name: 'a host elsewhere, IPv6',
    wanted: PREF64,
    existing: { dst: '64:ff9b::808:808', dev: 'wg0', metric: 1024 },
    added: true,
    warning: /takes a part of 64:ff9b::\/96/,
  },
  {
    name: 'more specific on the device',
    wanted: POOL,
    existing: { dst: '10.64.0.7', dev: 'nat64' },
    added: true,
    warning: null,
  },
  {
    name: 'inside the network of a link',
    wanted: POOL,
    existing: { dst: '10.64.0.0/16', dev: 'eth0', protocol: 'kernel' },
    added: true,
    warning: /lies inside the network 10\.64\.0\.0\/16 of eth0.*pool4/,
  },
  {
    name: 'inside a routed prefix',
    wanted: POOL,
    existing: { dst: '10.0.0.0/8', gateway: '192.0.2.1', dev: 'eth0' },
    added: true,
    warning: null,
  },
  {
    name: 'high bit set (signed words)',
    wanted: { family: 4, prefix: '203.0.113.0/24', key: 'map' },
    existing: { dst: '203.0.113.0/25', dev: 'eth0' },
    added: true,
    warning: /203\.0\.113\.0\/24 \(map\)/,
  },
  {
    name: 'a default route of ours',
    wanted: { family: 4, prefix: '0.0.0.0/0', key: 'map' },
    existing: { dst: '10.64.0.0/16', dev: 'eth0', protocol: 'kernel' },
    added: true,
    warning: null,
  },
  {
    name: 'a default route of ours and of another',
    wanted: { family: 4, prefix: '0.0.0.0/0', key: 'map' },
    existing: { dst: 'default', gateway: '192.0.2.1', dev: 'eth0' },
    added: false,
    warning: /'default via 192\.0\.2\.1 dev eth0'/,
  },
  { name: 'what ip lists without a destination', wanted: POOL, existing: {}, added: true, warning: null },
];

for (const { name, wanted, existing, added, warning } of CASES) {
  test(`planRoutes: ${name}`, () => {
    const tables = { 4: [] as KernelRoute[], 6: [] as KernelRoute[] };
    tables[wanted.family].push(existing);
    const plan = planRoutes([wanted], tables, 'nat64');
    assert.deepEqual(plan.add, added ? [wanted] : []);
    if (warning === null) {
      assert.deepEqual(plan.warnings, []);
    } else {
      assert.equal(plan.warnings.length, 1);
      assert.match(plan.warnings[0] as string, warning);
    }
    assert.deepEqual(plan.hopeless, !added && warning !== null ? [wanted] : []);
  });
}

test('planRoutes names a few of many conflicts and counts the rest', () => {
  const existing = Array.from({ length: 10 }, (_, i) => ({ dst: `10.64.0.${i}`, dev: 'eth0' }));
  const { warnings } = planRoutes([POOL], { 4: existing, 6: [] }, 'nat64');
  assert.equal(warnings.length, 4);
  assert.match(warnings[3] as string, /^7 more routes/);
});

test('routeCommand: the source is the device address of the same family', () => {
  const settings: NetdevSettings = {
    device: 'nat64',
    mtu: 1500,
    addresses: [{ family: 6, address: [0xfd640000 | 0, 0, 0, 1], length: 64 }],
    routes: [],
    forwarding: true,
    masquerade: false,
    masqueradeSource: null,
    runDir: '/run/nat64d',
    configure: true,
    up: false,
  };
  assert.equal(routeCommand(PREF64, settings), 'route add 64:ff9b::/96 dev nat64 src fd64::1');
  assert.equal(routeCommand(POOL, settings), 'route add 10.64.0.0/24 dev nat64');
});

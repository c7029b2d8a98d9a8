/** The device set-up on real kernels; see netdev-masquerade.test.ts for the rest. */

import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { until } from '../helpers/until.js';
import {
  addLan,
  addNamespace,
  Child,
  connect,
  GW,
  HOST,
  inside,
  ip,
  setSysctl,
  settings,
  snapshot,
  sysctl,
  TABLE,
  tables,
  useNamespaces,
} from './netdev-lab.js';

useNamespaces();

test('sets up device, addresses, routes, forwarding and masquerade, and leaves no trace of them', async () => {
  addLan('lan.1');
  // What an administrator may have chosen, and the kernel overwrites along with conf/all/forwarding.
  setSysctl(GW, 'ipv6/conf/lan.1/forwarding', '1');
  setSysctl(GW, 'ipv4/conf/lan.1/forwarding', '1');
  setSysctl(GW, 'ipv4/conf/all/accept_redirects', '0');
  const before = snapshot();
  const child = new Child('configure', settings());
  const summary = await child.ready();

  const [link] = JSON.parse(ip(GW, '-j -d link show nat64'));
  assert.equal(link.mtu, 1480);
  assert.ok(link.flags.includes('UP'));
  // No MLD and no router solicitations into the tunnel.
  assert.ok(!link.flags.includes('MULTICAST'));
  assert.equal(link.inet6_addr_gen_mode, 'none');
  const [{ addr_info: addresses }] = JSON.parse(ip(GW, '-j address show nat64'));
  assert.deepEqual(
    addresses.map((a: { local: string; prefixlen: number; tentative?: boolean }) => [
      a.local,
      a.prefixlen,
      a.tentative,
    ]),
    [
      ['192.0.0.8', 32, undefined],
      ['fd64::1', 128, undefined],
    ],
  );
  assert.match(ip(GW, 'route get 10.64.0.9'), /dev nat64 .*src 192\.0\.0\.8/);
  assert.match(ip(GW, 'route get 198.51.100.7'), /dev nat64/);
  assert.match(ip(GW, 'route get 64:ff9b::808:808'), /dev nat64 .*src fd64::1/);
  for (const path of ['ipv4/ip_forward', 'ipv6/conf/all/forwarding', 'ipv4/conf/nat64/forwarding']) {
    assert.equal(sysctl(path), '1', path);
  }
  assert.match(
    inside(GW, 'nft', 'list', 'table', 'inet', TABLE),
    /ip saddr 10\.64\.0\.0\/24 oifname != "nat64" masquerade/,
  );
  for (const part of [
    'MTU 1480',
    '192.0.0.8/32, fd64::1/128',
    '64:ff9b::/96 (pref64), 10.64.0.0/24 (pool4)',
    'net.ipv4.conf.all.forwarding = 1 (was 0)',
    'net.ipv6.conf.all.forwarding = 1 (was 0)',
    'masquerade: 10.64.0.0/24',
  ]) {
    assert.ok(summary.includes(part), `${part} in\n${summary}`);
  }
  assert.deepEqual(child.warnings(), []);

  await child.end('SIGTERM');
  assert.deepEqual(child.warnings(), []);
  assert.deepEqual(snapshot(), before);
  assert.deepEqual(readdirSync(settings().runDir), []);
});

test('what was there before stays: addresses and routes of a persistent device, its state, forwarding', async () => {
  ip(GW, 'link set nat64 up mtu 1400');
  ip(GW, 'address add fd64::1/128 dev nat64 nodad');
  ip(GW, 'address add 10.64.0.1/24 dev nat64');
  for (const path of ['ipv4/conf/all/forwarding', 'ipv6/conf/all/forwarding']) setSysctl(GW, path, '1');
  const before = snapshot();
  const child = new Child('configure', settings());
  const summary = await child.ready();
  assert.doesNotMatch(summary, /forwarding/);
  assert.ok(!existsSync(settings().runDir));
  await child.end('SIGTERM');
  assert.deepEqual(child.warnings(), []);
  assert.deepEqual(snapshot(), before);
});

test('a device that goes away first is no trouble', async () => {
  const child = new Child('configure', settings());
  await child.ready();
  ip(GW, 'link del nat64');
  await child.end('SIGTERM');
  assert.deepEqual(child.warnings(), []);
  assert.equal(sysctl('ipv6/conf/all/forwarding'), '0');
  assert.equal(tables(), '');
});

test('after kill -9 the table is gone, and the next start restores the sysctls', async () => {
  setSysctl(GW, 'ipv6/conf/default/forwarding', '1');
  const { conf } = snapshot();
  const child = new Child('configure', settings());
  await child.ready();
  assert.match(tables(), new RegExp(TABLE));
  await child.end('SIGKILL');
  await until(() => tables() === '', 'the table to go', 30_000);
  assert.equal(sysctl('ipv4/ip_forward'), '1');
  assert.deepEqual(readdirSync(settings().runDir), ['sysctl.json']);

  const recover = new Child('recover', settings());
  await recover.ready();
  assert.equal(snapshot().conf, conf);
  assert.deepEqual(readdirSync(settings().runDir), []);
  assert.match(recover.lines[0]?.message ?? '', /net\.ipv4\.conf\.all\.forwarding = 0/);
});

test('a start right after kill -9 keeps the first originals', async () => {
  const { conf } = snapshot();
  const first = new Child('configure', settings());
  await first.ready();
  await first.end('SIGKILL');
  const second = new Child('configure', settings());
  await second.ready();
  assert.equal(sysctl('ipv4/ip_forward'), '1');
  await second.end('SIGTERM');
  assert.equal(snapshot().conf, conf);
});

test('what the administrator changed since is kept', async () => {
  addLan('lan0');
  addLan('lan1');
  setSysctl(GW, 'ipv4/conf/lan0/forwarding', '1');
  const child = new Child('configure', settings());
  await child.ready();
  setSysctl(GW, 'ipv4/conf/lan0/forwarding', '0');
  setSysctl(GW, 'ipv4/conf/all/accept_redirects', '1');
  setSysctl(GW, 'ipv6/conf/all/forwarding', '0');
  setSysctl(GW, 'ipv6/conf/lan1/forwarding', '1');
  addLan('late0');
  await child.end('SIGTERM');
  const expected = {
    'ipv4/conf/lan0/forwarding': '0',
    'ipv4/conf/late0/forwarding': '0',
    'ipv4/conf/all/accept_redirects': '1',
    'ipv4/ip_forward': '0',
    'ipv6/conf/all/forwarding': '0',
    'ipv6/conf/late0/forwarding': '0',
  };
  for (const [path, value] of Object.entries(expected)) assert.equal(sysctl(path), value, path);
});

/** Has HOST advertise itself as a router, until the gateway has heard it. */
async function advertise(): Promise<void> {
  // RFC 4861 section 4.2: type, code, checksum, hop limit, flags, router lifetime, reachable and retransmission time.
  const packet = '134, 0, 0, 64, 0, 1800, 0, 0';
  const program = `
import socket, struct
s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
s.sendto(struct.pack('!BBHBBHII', ${packet}), ('ff02::1', 0, 0, socket.if_nametoindex('wan')))
`;
  await until(
    () => {
      inside(HOST, 'python3', '-c', program);
      return learned() !== '';
    },
    'a default route from the advertisement',
    30_000,
  );
}

const learned = () => ip(GW, '-6 route show default proto ra');

test('a default route learned by router advertisement outlives forwarding, on and off', async () => {
  addNamespace(HOST);
  connect(GW, 'eth0', HOST, 'wan');
  addLan('lan0');
  setSysctl(GW, 'ipv6/conf/lan0/forwarding', '1');
  setSysctl(GW, 'ipv6/conf/eth0/accept_ra', '1');
  await advertise();
  const { conf } = snapshot();

  const child = new Child('configure', settings());
  assert.match(await child.ready(), /net\.ipv6\.conf\.eth0\.accept_ra = 2 \(was 1\)/);
  assert.match(learned(), /dev eth0/);
  // The route can be renewed: a lost one comes back with the next advertisement.
  ip(GW, '-6 route flush dev eth0 proto ra');
  assert.equal(learned(), '');
  await advertise();

  await child.end('SIGTERM');
  assert.match(learned(), /dev eth0/);
  assert.equal(snapshot().conf, conf);
});

test('a device that is not there is an error, and what was put up is taken down', async () => {
  ip(GW, 'link del nat64');
  const before = snapshot();
  const line = await new Child('configure', settings()).settled();
  assert.equal(line.failed, 'NO_DEVICE');
  assert.match(line.message ?? '', /nat64/);
  assert.deepEqual(snapshot(), before);
});

test('an address the kernel refuses is named with the command', async () => {
  const before = snapshot();
  const addresses = [
    ...settings().addresses,
    { family: 6, address: [-16777216, 0, 0, 1], length: 128 } as const,
  ];
  const line = await new Child('configure', settings({ addresses })).settled();
  assert.equal(line.failed, 'COMMAND_FAILED');
  assert.match(line.message ?? '', /ip address add ff00::1\/128 dev nat64/);
  assert.deepEqual(snapshot(), before);
});

for (const masquerade of [true, false]) {
  test(`without CAP_NET_ADMIN, masquerade = ${masquerade}: an error that says so`, async () => {
    const wrapper = ['setpriv', '--bounding-set', '-net_admin', '--inh-caps', '-net_admin'];
    const line = await new Child('configure', settings({ masquerade }), { wrapper }).settled();
    assert.equal(line.failed, 'NOT_PERMITTED');
    assert.match(line.message ?? '', /CAP_NET_ADMIN/);
  });
}

test('IPv6 disabled is an error that says which sysctl to set', async () => {
  setSysctl(GW, 'ipv6/conf/all/disable_ipv6', '1');
  const line = await new Child('configure', settings()).settled();
  assert.equal(line.failed, 'NO_IPV6');
  assert.match(line.message ?? '', /disable_ipv6/);
});

test('a route that another device has is kept, and the key to change is named', async () => {
  addLan('lan0');
  ip(GW, 'link set lan0 up');
  ip(GW, 'address add 10.64.0.1/24 dev lan0');
  const before = snapshot();
  const child = new Child('configure', settings());
  const summary = await child.ready();
  assert.match(child.warnings().join(), /'10\.64\.0\.0\/24 dev lan0'.*change pool4/);
  assert.doesNotMatch(summary, /\(pool4\)/);
  assert.match(ip(GW, 'route get 10.64.0.9'), /dev lan0/);
  await child.end('SIGTERM');
  assert.deepEqual(snapshot(), before);
});

test('read-only /proc/sys, as in a container, is a warning that says what to set outside', async () => {
  const wrapper = [
    'unshare',
    '-m',
    'sh',
    '-c',
    'mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && exec "$@"',
    'sh',
  ];
  const child = new Child('configure', settings(), { wrapper });
  await child.ready();
  assert.match(child.warnings().join('\n'), /sysctl -w net\.ipv4\.conf\.all\.forwarding=1/);
  assert.match(child.warnings().join('\n'), /sysctl -w net\.ipv6\.conf\.all\.forwarding=1/);
  assert.equal(sysctl('ipv4/ip_forward'), '0');
  await child.end('SIGTERM');
  assert.equal(child.warnings().length, 2);
});

test('thousands of maps, and no forwarding: routes are set, and forwarding that is off is said', async () => {
  const routes = Array.from({ length: 3000 }, (_, i) => ({
    family: 4 as const,
    prefix: `100.64.${i >> 8}.${i & 255}/32`,
    key: 'map',
  }));
  const before = snapshot();
  const child = new Child('configure', settings({ routes, forwarding: false }));
  const summary = await child.ready();
  assert.match(summary, /2992 more/);
  assert.match(
    child.warnings().join(),
    /net\.ipv4\.conf\.all\.forwarding and net\.ipv6\.conf\.all\.forwarding are off/,
  );
  assert.match(ip(GW, 'route get 100.64.11.183'), /dev nat64/);
  await child.end('SIGTERM');
  assert.deepEqual(snapshot(), before);
});

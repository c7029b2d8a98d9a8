/** tayga.conf: every directive and rule of its grammar. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseMapFile } from '#nat64d/control/config/map-file.js';
import { ConfigError } from '#nat64d/control/config/problem.js';
import { parseTayga } from '#nat64d/control/config/tayga.js';
import type { GatewayConfig } from '#nat64d/control/config/types.js';
import { formatAddress4, formatAddress6, formatPrefix4, formatPrefix6 } from '#nat64d/wire/address.js';

const LEAST = 'tun-device nat64\nipv4-addr 192.168.255.1\n';
const WITH_PREFIX = `${LEAST}prefix 2001:db8:1:ffff::/96\n`;
const read = (text: string, stateDirectory?: string) => parseTayga(text, 'f', { stateDirectory });

test('the least file, and what it leaves to defaults', () => {
  const config = read(WITH_PREFIX);
  assert.equal(config.device.name, 'nat64');
  assert.equal(formatAddress4(config.ipv4Address), '192.168.255.1');
  assert.equal(formatAddress6(config.ipv6Address), '2001:db8:1:ffff::c0a8:ff01');
  assert.equal(config.pool4, null);
  assert.equal(config.dataDir, null);
  assert.equal(config.mapFile, null);
  assert.equal(config.wkpfStrict, true);
  assert.equal(config.maxMapsPer64, 0);
  assert.equal(config.mapLifetimeSec, 7440);
  assert.equal(config.workers, 0);
  assert.equal(config.translation.lowestIpv6Mtu, 1280);
  assert.equal(config.translation.udpZeroChecksum, 'drop');
  assert.equal(config.dns64.enabled, false);
  const { configure, up, addresses, routes, masquerade, forwarding, offload } = config.device;
  assert.deepEqual(
    { configure, up, addresses, routes, masquerade, forwarding, offload },
    {
      configure: false,
      up: false,
      addresses: [],
      routes: [],
      masquerade: false,
      forwarding: false,
      offload: true,
    },
  );
  assert.deepEqual(config.warnings, []);
});

/** Lines behind the least file with a prefix, and what they set. */
const VALUES: readonly (readonly [string, (config: GatewayConfig) => unknown, unknown])[] = [
  ['ipv6-addr 2001:db8:1::2', (c) => formatAddress6(c.ipv6Address), '2001:db8:1::2'],
  ['dynamic-pool 192.168.255.0/24', (c) => c.pool4 && formatPrefix4(c.pool4), '192.168.255.0/24'],
  ['dynamic-pool 192.0.2.0/31', (c) => c.pool4 && formatPrefix4(c.pool4), '192.0.2.0/31'],
  ['DYNAMIC-POOL 192.0.2.0/31', (c) => c.pool4 && formatPrefix4(c.pool4), '192.0.2.0/31'],
  ['  wkpf-strict\tno  # why', (c) => c.wkpfStrict, false],
  ['wkpf-strict ON', (c) => c.wkpfStrict, true],
  ['wkpf-strict 0', (c) => c.wkpfStrict, false],
  ['wkpf-strict true', (c) => c.wkpfStrict, true],
  ['data-dir /var/spool/tayga', (c) => c.dataDir, '/var/spool/tayga'],
  ['data-dir /d\nmap-file maps', (c) => c.mapFile, '/d/maps'],
  ['map-file /etc/maps', (c) => c.mapFile, '/etc/maps'],
  ['udp-cksum-mode drop', (c) => c.translation.udpZeroChecksum, 'drop'],
  ['udp-cksum-mode calc', (c) => c.translation.udpZeroChecksum, 'calc'],
  ['udp-cksum-mode fwd', (c) => c.translation.udpZeroChecksum, 'forward'],
  ['udp-cksum-mode Forward', (c) => c.translation.udpZeroChecksum, 'forward'],
  ['udp-cksum-mode forwarding', (c) => c.translation.udpZeroChecksum, 'forward'],
  ['log drop reject', (c) => c.log.packets, ['drop', 'reject']],
  ['log DYN', (c) => c.log.packets, ['dyn']],
  ['log', (c) => c.log.packets, []],
  ['offlink-mtu 1480', (c) => c.translation.lowestIpv6Mtu, 1480],
  ['workers 4', (c) => c.workers, 4],
  ['tun-up up', (c) => c.device.up, true],
  ['tun-up off', (c) => c.device.up, false],
  [
    'tun-ip 192.168.0.1/24\ntun-ip 2001:db8:9::1/64\ntun-ip 192.0.2.1',
    (c) => c.device.addresses.map((a) => a.length),
    [24, 64, 32],
  ],
  [
    'tun-route 192.168.255.0/24\ntun-route 2001:db8::/96',
    (c) => c.device.routes.map((r) => r.length),
    [24, 96],
  ],
  [
    'map 192.0.2.5 2001:db8:9::5',
    (c) => c.maps.map((m) => `${formatPrefix4(m.ipv4)} ${formatPrefix6(m.ipv6)}`),
    ['192.0.2.5/32 2001:db8:9::5/128'],
  ],
  ['map 192.0.2.0/24 2001:db8:9::/120\nmap 192.0.2.5 2001:db8:9:9::', (c) => c.maps.length, 2],
  ['map 240.0.0.5 2001:db8:9::5', (c) => c.maps.length, 1],
];
for (const [lines, get, value] of VALUES) {
  test(`${JSON.stringify(lines)} is understood`, () =>
    assert.deepEqual(get(read(WITH_PREFIX + lines)), value));
}

test('STATE_DIRECTORY is the data-dir where none is given; of a list the first', () => {
  assert.equal(read(WITH_PREFIX, '/var/lib/a:/var/lib/b').dataDir, '/var/lib/a');
  assert.equal(read(`${WITH_PREFIX}map-file m`, '/var/lib/a').mapFile, '/var/lib/a/m');
  assert.equal(read(`${WITH_PREFIX}data-dir /d`, '/var/lib/a').dataDir, '/d');
});

test('the well-known prefix with a private ipv4-addr needs an ipv6-addr, unless it is not strict', () => {
  assert.throws(() => read(`${LEAST}prefix 64:ff9b::/96`), /f:1:1: ipv6-addr: is missing; .*private address/);
  read(`${LEAST}prefix 64:ff9b::/96\nipv6-addr 2001:db8::1`);
  read(`${LEAST}prefix 64:ff9b::/96\nwkpf-strict no`);
  read('tun-device nat64\nipv4-addr 8.8.4.4\nprefix 64:ff9b::/96');
});

test('without a prefix an ipv6-addr must be given, and only maps translate', () => {
  assert.throws(() => read(LEAST), /f:1:1: ipv6-addr: is missing/);
  assert.equal(read(`${LEAST}ipv6-addr 2001:db8::1`).pref64, null);
});

test('ipv4-addr may lie in the pool', () => {
  assert.ok(read(`${WITH_PREFIX}dynamic-pool 192.168.255.0/24`));
});

test('what is allowed but hardly meant is a warning with its place', () => {
  const { warnings } = read(
    'tun-device n\nipv4-addr 169.254.1.1\nprefix 2001:db8::/96\nstrict-frag-hdr on\n',
  );
  assert.deepEqual(
    warnings.map((line) => line.replace(/(f:\d+:\d+: \S+).*/, '$1')),
    ['f:2:11: ipv4-addr', 'f:4:17: strict-frag-hdr'],
  );
});

/** Lines behind the least file with a prefix (line 4 on), and how the message begins. */
const WRONG: readonly (readonly [string, string])[] = [
  ['nonsense 1', 'f:4:1: nonsense: there is no such directive; allowed are tun-device,'],
  ['__proto__ 1', 'f:4:1: __proto__: there is no such directive'],
  ['prefix 2001:db8::/96', 'f:4:1: prefix: stands at line 3 already'],
  ['workers', 'f:4:1: workers: takes 1 argument, not 0'],
  ['workers 1 2', 'f:4:1: workers: takes 1 argument, not 2'],
  ['map 192.0.2.1', 'f:4:1: map: takes 2 arguments, not 1'],
  ['workers 65', 'f:4:9: workers: 65 is not allowed; it must be a whole number from 0 to 64'],
  ['workers -1', 'f:4:9: workers: '],
  ['workers 1e1', 'f:4:9: workers: '],
  ['offlink-mtu 1279', 'f:4:13: offlink-mtu: 1279 is not allowed'],
  ['offlink-mtu 65536', 'f:4:13: offlink-mtu: 65536 is not allowed'],
  ['wkpf-strict maybe', "f:4:13: wkpf-strict: 'maybe' is not allowed"],
  ['wkpf-strict up', "f:4:13: wkpf-strict: 'up' is not allowed"],
  ['udp-cksum-mode ignore', "f:4:16: udp-cksum-mode: 'ignore' is not allowed"],
  ['log drop everything', "f:4:5: log: 'everything' is not allowed"],
  ['data-dir var', "f:4:10: data-dir: 'var' is not allowed; it must be an absolute path"],
  ['map-file maps', "f:1:1: map-file: 'maps' is relative, and there is no data-dir"],
  ['dynamic-pool 192.0.2.0/32', "f:4:14: dynamic-pool: '192.0.2.0/32' is not allowed"],
  ['dynamic-pool 192.0.2.1/24', "f:4:14: dynamic-pool: '192.0.2.1/24' is not allowed"],
  ['ipv6-addr 2001:db8:1:ffff::1', 'f:4:11: ipv6-addr: lies in pref64'],
  ['ipv6-addr 2001:db8:1:ffff::c0a8:ff01', 'f:4:11: ipv6-addr: lies in the prefix'],
  ['ipv6-addr ::1', 'f:4:11: ipv6-addr: ::1 lies in ::/8'],
  ['ipv6-addr fe80::1', 'f:4:11: ipv6-addr: fe80::1 lies in fe80::/10'],
  ['ipv6-addr ff02::1', 'f:4:11: ipv6-addr: ff02::1 lies in ff00::/8'],
  [
    'map 192.0.2.0/24 2001:db8:9::/64',
    'f:4:5: map: 192.0.2.0/24 and 2001:db8:9::/64 have not as many addresses; the IPv6 length must be 120',
  ],
  [
    'map 192.0.2.1 2001:db8:9::1\nmap 192.0.2.1 2001:db8:9::2',
    'f:5:5: map: 192.0.2.1/32 is mapped already, at line 4',
  ],
  [
    'map 192.0.2.1 2001:db8:9::1\nmap 192.0.2.2 2001:db8:9::1',
    'f:5:15: map: 2001:db8:9::1/128 overlaps 2001:db8:9::1/128 at line 4',
  ],
  ['map 192.0.2.1 2001:db8:1:ffff::1', 'f:4:15: map: overlaps pref64'],
  ['map 192.168.255.1 2001:db8:9::1', "f:4:5: map: 192.168.255.1/32 holds the translator's own address"],
  ['map 127.0.0.1 2001:db8:9::1', 'f:4:5: map: 127.0.0.1/32 lies in 127.0.0.0/8'],
  ['map 255.255.255.255 2001:db8:9::1', 'f:4:5: map: 255.255.255.255/32 lies in'],
  ['tun-ip nonsense', "f:4:8: tun-ip: 'nonsense' is not allowed"],
  ['tun-route 192.0.2.1/24', "f:4:11: tun-route: '192.0.2.1/24' is not allowed"],
  [`# ${'x'.repeat(509)}`, 'f:4:1: the line is longer than 510 characters'],
];
for (const [lines, message] of WRONG) {
  test(`${JSON.stringify(lines.slice(0, 60))} is refused at its place`, () => {
    assert.throws(
      () => read(WITH_PREFIX + lines),
      (error) => {
        assert.ok(error instanceof ConfigError);
        assert.equal(error.message.slice(0, message.length), message);
        assert.equal(error.problems.length, 1, error.message);
        return true;
      },
    );
  });
}

for (const address of [
  '0.1.2.3',
  '127.0.0.1',
  '224.0.0.1',
  '239.255.255.255',
  '255.255.255.255',
  '300.1.1.1',
]) {
  test(`ipv4-addr ${address} is refused`, () => {
    assert.throws(
      () => read(`tun-device n\nipv4-addr ${address}\nprefix 2001:db8::/96`),
      /^ConfigError: f:2:11: ipv4-addr: /,
    );
  });
}
for (const prefix of [
  '2001:db8::/95',
  '2001:db8::/33',
  '2001:db8::1/96',
  '2001:db8::',
  'fe80::/96',
  'ff00::/96',
  '::/96',
]) {
  test(`prefix ${prefix} is refused`, () => {
    assert.throws(() => read(`${LEAST}prefix ${prefix}`), /^ConfigError: f:3:8: prefix: /);
  });
}
for (const name of ['sixteen-letters-', 'with/slash', 'with:colon']) {
  test(`tun-device ${name} is refused`, () => {
    assert.throws(
      () => read(`tun-device ${name}\nipv4-addr 192.0.2.1\nprefix 2001:db8::/96`),
      /^ConfigError: f:1:12: tun-device: /,
    );
  });
}

test('all errors of a file are reported, in the order of its lines', () => {
  assert.throws(
    () => read('prefix nonsense\nworkers 99\n\nnonsense\nmap 192.0.2.1 x\n'),
    (error) => {
      assert.ok(error instanceof ConfigError);
      assert.deepEqual(
        error.problems.map(({ line, key }) => `${line} ${key}`),
        ['1 tun-device', '1 ipv4-addr', '1 prefix', '2 workers', '4 nonsense', '5 map'],
      );
      return true;
    },
  );
});

test('any text is read or refused with places', () => {
  const word = fc.oneof(
    fc.string(),
    fc.constantFrom(
      'tun-device',
      'ipv4-addr',
      'prefix',
      'map',
      'dynamic-pool',
      '192.0.2.1',
      '2001:db8::/96',
      '#',
      'log',
      'tun-ip',
    ),
  );
  fc.assert(
    fc.property(fc.array(fc.array(word)), (lines) => {
      try {
        read(lines.map((words) => words.join(' ')).join('\n'));
      } catch (error) {
        assert.ok(error instanceof ConfigError, String(error));
      }
    }),
  );
});

test('a map-file holds map lines only; a bad line is reported and left out', () => {
  const { maps, lines, problems } = parseMapFile(
    'map 192.0.2.1 2001:db8::1 # one\n\nprefix x\nMAP 192.0.2.0/24 2001:db8:1::/120\r\nmap 192.0.2.300 ::1\nmap 192.0.2.9\nmap 192.0.2.1 z\n',
  );
  assert.deepEqual(
    maps.map(({ ipv4 }) => formatPrefix4(ipv4)),
    ['192.0.2.1/32', '192.0.2.0/24'],
  );
  assert.deepEqual(lines, [1, 4]);
  assert.deepEqual(
    problems.map(({ line, col }) => [line, col]),
    [
      [3, 1],
      [5, 5],
      [6, 1],
      [7, 15],
    ],
  );
});

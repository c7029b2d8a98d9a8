/** The keys of [dns64] that say what clients get: read, refused at their places, printed, and compared. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changesBetween } from '#nat64d/control/changes.js';
import { parseConfig } from '#nat64d/control/config/index.js';
import { formatToml } from '#nat64d/control/config/to-toml.js';
import type { Dns64Config } from '#nat64d/control/config/types.js';
import { formatPrefix4, formatPrefix6 } from '#nat64d/wire/address.js';
import { problemsOf } from './problems-of.js';

const read = (lines: string) => parseConfig(`[dns64]\n${lines}\n`, 'f');

const VALUES: readonly (readonly [string, (config: Dns64Config) => unknown, unknown])[] = [
  ['pref64 = "2001:db8::/96"', (c) => c.pref64s.map((one) => formatPrefix6(one.prefix)), ['2001:db8::/96']],
  [
    'pref64 = ["2001:db8::/96", { prefix = "2001:db8::/32", ipv4 = ["10.0.0.0/8", "192.0.2.1"], exclude-aaaa = ["2001:db8::1"] }]',
    (c) =>
      c.pref64s.map(({ prefix, ipv4, excludeAaaa }) => [
        formatPrefix6(prefix),
        ipv4.map(formatPrefix4),
        excludeAaaa.map(formatPrefix6),
      ]),
    [
      ['2001:db8::/96', [], []],
      ['2001:db8::/32', ['10.0.0.0/8', '192.0.2.1/32'], ['2001:db8::1/128']],
    ],
  ],
  [
    '[[dns64.pref64]]\nprefix = "2001:db8:1::/96"\n[[dns64.pref64]]\nprefix = "2001:db8:2::/96"',
    (c) => c.pref64s.map((one) => formatPrefix6(one.prefix)),
    ['2001:db8:1::/96', '2001:db8:2::/96'],
  ],
  ['exclude-names = ["Corp.Example.", "_x.y"]', (c) => c.excludeNames, ['corp.example', '_x.y']],
  [
    'interfaces = ["eth0", "*"]\nport = 5353',
    (c) => [c.interfaces, c.port, c.listen],
    [['eth0', '*'], 5353, []],
  ],
  ['interfaces = ["eth0"]\nlisten = ["::1"]', (c) => c.listen, [{ address: '::1', port: 53 }]],
  [
    '[[dns64.scoped]]\nfrom = "2001:db8:1:2:3::/64"\nto = "fe80::/64"',
    (c) => c.scoped.map(({ from, to }) => [formatPrefix6(from), formatPrefix6(to)]),
    [['2001:db8:1:2::/64', 'fe80::/64']],
  ],
  [
    'reverse = "off"\nbreak-dnssec = false\n[[dns64.policy]]\nclients = ["10.0.0.0/8"]\nreverse = "rewrite"',
    (c) => c.policies.map(({ reverse, breakDnssec, synthesize }) => [reverse, breakDnssec, synthesize]),
    [['rewrite', false, true]],
  ],
];
for (const [lines, get, value] of VALUES) {
  test(`${JSON.stringify(lines)} is understood, and the same when it is printed and read again`, () => {
    const config = read(lines);
    assert.deepEqual(get(config.dns64), value);
    assert.deepEqual(parseConfig(formatToml(config), 'f'), config);
  });
}

test('every key, in [dns64] and in a policy, comes back from TOML', () => {
  const keys = `synthesize = false
pref64 = [{ prefix = "2001:db8:2::/96", ipv4 = ["10.0.0.0/8"] }, "2001:db8:1::/96"]
pref64-choice = "mapped"
exclude-aaaa = ["2001:db8:9::/48"]
exclude-ipv4 = ["192.0.2.0/24"]
exclude-names = ["a.example"]
ignore-aaaa = ["b.example"]
break-dnssec = false
reverse = "off"
`;
  const config = read(`interfaces = ["eth0"]
port = 5300
retry = 60
clients = ["2001:db8::/32", "10.0.0.0/8"]
reverse-6to4 = true
private-zones = "local"
[[dns64.policy]]
clients = ["10.0.0.0/8"]
${keys}
[[dns64.policy]]
clients = ["2001:db8::/32"]
[[dns64.scoped]]
from = "2001:db8:1::/64"
to = "fd00::/64"`);
  assert.deepEqual(parseConfig(formatToml(config), 'f'), config);
  const top = read(keys);
  assert.deepEqual(parseConfig(formatToml(top), 'f'), top);
});

const WRONG: readonly (readonly [string, string])[] = [
  [
    'pref64 = "2001:db8::/95"',
    "f:2:10: dns64.pref64: '2001:db8::/95' is not allowed; it must be an IPv6 prefix",
  ],
  ['pref64 = 5', 'f:2:10: dns64.pref64: 5 is not allowed; it must be an IPv6 prefix'],
  ['pref64 = []', 'f:2:10: dns64.pref64: a list without a prefix is not allowed'],
  [
    'pref64 = ["2001:db8::/96", "x"]',
    "f:2:28: dns64.pref64[2]: 'x' is not allowed; it must be an IPv6 prefix",
  ],
  [
    'pref64 = { ipv4 = ["10.0.0.0/8"] }',
    'f:2:10: dns64.pref64.prefix: is missing; it must be an IPv6 prefix',
  ],
  [
    'pref64 = [{ prefix = "2001:db8::/96", ipv4 = ["10.0.0.1/8"] }]',
    "f:2:47: dns64.pref64[1].ipv4[1]: '10.0.0.1/8' is not allowed; it must be an IPv4 address or a prefix",
  ],
  [
    'pref64 = [{ prefix = "2001:db8::/96", ipv5 = [] }]',
    "f:2:39: dns64.pref64[1].ipv5: there is no such key; did you mean 'ipv4'?",
  ],
  [
    'pref64-choice = "any"',
    "f:2:17: dns64.pref64-choice: 'any' is not allowed; it must be round-robin, mapped, all",
  ],
  [
    'exclude-aaaa = ["10.0.0.0/8"]',
    "f:2:17: dns64.exclude-aaaa[1]: '10.0.0.0/8' is not allowed; it must be an IPv6",
  ],
  ['exclude-ipv4 = ["::1"]', "f:2:17: dns64.exclude-ipv4[1]: '::1' is not allowed; it must be an IPv4"],
  [
    'exclude-names = ["a..b"]',
    "f:2:18: dns64.exclude-names[1]: 'a..b' is not allowed; it must be a name, as in",
  ],
  [
    'ignore-aaaa = ["*.example"]',
    "f:2:16: dns64.ignore-aaaa[1]: '*.example' is not allowed; it must be a name",
  ],
  ['break-dnssec = 1', 'f:2:16: dns64.break-dnssec: 1 is not allowed; it must be true or false'],
  ['reverse = true', 'f:2:11: dns64.reverse: true is not allowed; it must be cname, rewrite, off'],
  [
    'private-zones = "no"',
    "f:2:17: dns64.private-zones: 'no' is not allowed; it must be auto, forward, local",
  ],
  [
    'interfaces = ["a/b"]',
    "f:2:15: dns64.interfaces[1]: 'a/b' is not allowed; it must be '*' or an interface name",
  ],
  ['port = 0', 'f:2:8: dns64.port: 0 is not allowed'],
  ['[[dns64.policy]]\nreverse = "off"', 'f:2:1: dns64.policy[1].clients: is missing; it must be a list'],
  ['[[dns64.policy]]\nclients = []', 'f:3:11: dns64.policy[1].clients: an empty list is not allowed'],
  [
    '[[dns64.policy]]\nclients = ["::1"]\nrevers = "off"',
    "f:4:1: dns64.policy[1].revers: there is no such key; did you mean 'reverse'?",
  ],
  [
    '[[dns64.policy]]\nclients = ["::1"]\nforwarders = []',
    'f:4:1: dns64.policy[1].forwarders: there is no such key; it belongs under [dns64]',
  ],
  [
    '[[dns64.scoped]]\nfrom = "2001:db8::/64"\nto = "fe80::/72"',
    "f:2:1: dns64.scoped[1]: 'from' and 'to' must have the same length",
  ],
  [
    '[[dns64.scoped]]\nfrom = "2001:db8::/63"\nto = "fe80::/63"',
    "f:3:8: dns64.scoped[1].from: '2001:db8::/63' is not allowed",
  ],
  ['from = "2001:db8::/64"', 'f:2:1: dns64.from: there is no such key; it belongs under [[dns64.scoped]]'],
];
for (const [lines, message] of WRONG) {
  test(`${JSON.stringify(lines)} is refused at its place`, () => {
    const problems = problemsOf(`[dns64]\n${lines}\n`);
    assert.ok(
      problems.some((one) => one.startsWith(message)),
      problems.join('\n'),
    );
  });
}

test('a reload names what differs as the file does', () => {
  const after = read(
    'pref64 = "2001:db8::/96"\nretry = 5\nreverse-6to4 = true\nexclude-ipv4 = ["10.0.0.0/8"]\n[[dns64.policy]]\nclients = ["::1"]',
  );
  const { applied, fixed } = changesBetween(parseConfig('', 'f'), after);
  assert.deepEqual(fixed, []);
  assert.deepEqual([...applied].sort(), [
    'dns64.exclude-ipv4',
    'dns64.policy',
    'dns64.pref64',
    'dns64.retry',
    'dns64.reverse-6to4',
  ]);
});

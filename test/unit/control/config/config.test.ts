import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { ConfigError, loadConfig, parseConfig } from '#nat64d/control/config/index.js';
import { keysAt } from '#nat64d/control/config/schema.js';
import { formatAddress4, formatAddress6, formatPrefix4, formatPrefix6 } from '#nat64d/wire/address.js';

const SAMPLE = fileURLToPath(new URL('../../../../../config/nat64d.toml', import.meta.url));

function problemsOf(text: string): string[] {
  try {
    parseConfig(text, 'f');
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error));
    return error.message.split('\n');
  }
  return [];
}

test('an empty file is the default configuration, and so is the sample file', () => {
  const config = parseConfig('', SAMPLE);
  assert.equal(formatPrefix6(config.pref64), '64:ff9b:1::/96');
  assert.equal(config.pool4 && formatPrefix4(config.pool4), '10.64.0.0/16');
  assert.equal(formatAddress4(config.ipv4Address), '10.64.0.1');
  assert.equal(formatAddress6(config.ipv6Address), '64:ff9b:1::a40:1');
  assert.equal(config.mapLifetimeSec, 124 * 60);
  assert.deepEqual(config.dns64.listen, [
    { address: '10.64.0.2', port: 53 },
    { address: '64:ff9b:1::a40:2', port: 53 },
  ]);
  assert.deepEqual(loadConfig(SAMPLE), config);
});

test('the sample file with every comment that shows a key taken away is the default too, but for what it only explains', () => {
  const text = readFileSync(SAMPLE, 'utf8').replace(/^# (?=[a-z0-9-]+ = |\[\[)/gm, '');
  const config = parseConfig(text, SAMPLE);
  const { dns64, translation, maps, ...rest } = config;
  const standard = parseConfig('', SAMPLE);
  const { dns64: _dns64, translation: standardTranslation, maps: _maps, ...standardRest } = standard;
  assert.deepEqual(rest, standardRest);
  assert.deepEqual({ ...translation, ipv6Mtu: null, ipv4Mtu: null }, standardTranslation);
  assert.equal(maps.length, 1);
  assert.deepEqual(dns64.listen, standard.dns64.listen);
});

test('every key of the schema stands in the sample file', () => {
  const text = readFileSync(SAMPLE, 'utf8');
  for (const table of ['', 'device', 'translation', 'dns64', 'log', 'map']) {
    const keys = keysAt(table === '' ? [] : [table]);
    assert.ok(keys.length > 0, table);
    for (const key of keys) {
      const isTable = table === '' && ['device', 'translation', 'dns64', 'log', 'map'].includes(key);
      assert.match(
        text,
        isTable ? new RegExp(`^(# )?\\[+${key}\\]+$`, 'm') : new RegExp(`^(# )?${key} = `, 'm'),
      );
    }
  }
});

const invalid: [string, string, ...string[]][] = [
  ['an unknown key', 'pool = 1', "f:1:1: pool: there is no such key; did you mean 'pool4'?"],
  [
    'an unknown key far from any',
    'zzzzzzzz = 1',
    'f:1:1: zzzzzzzz: there is no such key; allowed here: pref64',
  ],
  [
    'an unknown key in a table',
    '[device]\n nam = "x"',
    "f:2:2: device.nam: there is no such key; did you mean 'name'?",
  ],
  ['an unknown table', '[dns]', "f:1:1: dns: there is no such key; did you mean 'dns64'?"],
  ['a syntax error', 'a = \n', 'f:2:1: no valid TOML: '],
  ['a key twice', 'workers = 1\nworkers = 2', 'f:2:1: no valid TOML: '],
  [
    'a wrong type',
    'workers = "2"',
    "f:1:11: workers: '2' is not allowed; it must be a whole number from 0 to 64",
  ],
  ['a fraction', 'workers = 1.5', 'f:1:11: workers: 1.5 is not allowed; it must be a whole number'],
  ['a number too large', 'workers = 65', 'f:1:11: workers: 65 is not allowed'],
  ['a boolean for a table', 'device = true', 'f:1:10: device: true is not allowed; it must be a table'],
  ['a table for a string', '[pref64]', 'f:1:1: pref64: a table is not allowed; it must be an IPv6 prefix'],
  [
    'a prefix of a wrong length',
    'pref64 = "64:ff9b:1::/80"',
    "f:1:10: pref64: '64:ff9b:1::/80' is not allowed",
  ],
  [
    'a prefix with host bits',
    'pref64 = "64:ff9b:1::1/96"',
    "f:1:10: pref64: '64:ff9b:1::1/96' is not allowed",
  ],
  ['a prefix with a u-octet', 'pref64 = "2001:db8:0:0:ff00::/96"', 'f:1:10: pref64: '],
  ['pool4 = true', 'pool4 = true', 'f:1:9: pool4: true is not allowed; it must be false, or an IPv4 prefix'],
  ['a pool of one', 'pool4 = "10.0.0.1/32"', "f:1:9: pool4: '10.0.0.1/32' is not allowed"],
  ['a pool of loopback', 'pool4 = "127.0.0.0/16"', 'f:1:9: pool4: 127.0.0.0 lies in'],
  ['no pool and no address', 'pool4 = false', 'f:1:1: ipv4-address: is missing'],
  ['a multicast own address', 'ipv4-address = "224.0.0.1"', 'f:1:16: ipv4-address: 224.0.0.1 lies in'],
  ['a link-local own address', 'ipv6-address = "fe80::1"', 'f:1:16: ipv6-address: fe80::1 lies in'],
  [
    'an own address that stands for another',
    'ipv6-address = "64:ff9b:1::9"',
    'f:1:16: ipv6-address: lies in pref64',
  ],
  [
    'the Well-Known Prefix over a private pool',
    'pref64 = "64:ff9b::/96"',
    'f:1:1: ipv6-address: is missing; 64:ff9b::/96 must not represent the private address 10.64.0.1',
    'f:1:1: device.addresses: is missing; 64:ff9b::/96 must not represent the private address 10.64.0.2',
  ],
  [
    'a device name too long',
    '[device]\nname = "abcdefghijklmnop"',
    "f:2:8: device.name: 'abcdefghijklmnop' is not allowed",
  ],
  ['a device name with a slash', '[device]\nname = "a/b"', "f:2:8: device.name: 'a/b' is not allowed"],
  [
    'an MTU below IPv6',
    '[device]\nmtu = 1279',
    'f:2:7: device.mtu: 1279 is not allowed; it must be a whole number from 1280',
  ],
  [
    'a bad address in a list',
    '[device]\naddresses = ["10.0.0.9",\n "x"]',
    "f:3:2: device.addresses[2]: 'x' is not allowed",
  ],
  [
    'an address with too much length',
    '[device]\naddresses = ["10.0.0.9/33"]',
    "f:2:14: device.addresses[1]: '10.0.0.9/33'",
  ],
  [
    "the translator's address on the device",
    '[device]\naddresses = ["10.64.0.1"]',
    "f:2:14: device.addresses[1]: is the translator's own",
  ],
  [
    'a masquerade that is neither',
    '[device]\nmasquerade = 1',
    'f:2:14: device.masquerade: 1 is not allowed; it must be an interface name',
  ],
  [
    'a relative folder',
    'data-dir = "x"',
    "f:1:12: data-dir: 'x' is not allowed; it must be an absolute path",
  ],
  [
    'a choice that is none',
    '[log]\nlevel = "loud"',
    "f:2:9: log.level: 'loud' is not allowed; it must be trace, debug",
  ],
  [
    'a forwarder by name',
    '[dns64]\nforwarders = ["dns.example"]',
    "f:2:15: dns64.forwarders[1]: 'dns.example' is not allowed",
  ],
  ['a port too large', '[dns64]\nlisten = ["10.0.0.1:65536"]', "f:2:11: dns64.listen[1]: '10.0.0.1:65536'"],
  [
    'an IPv6 address with a port without brackets',
    '[dns64]\nlisten = ["2001:db8::1:53:x"]',
    'f:2:11: dns64.listen[1]: ',
  ],
  ['a map without an IPv6 side', '[[map]]\nipv4 = "10.0.0.1"', 'f:1:1: map[1].ipv6: is missing'],
  [
    'a map with too few IPv6 addresses',
    '[[map]]\nipv4 = "10.0.0.0/24"\nipv6 = "2001:db8::/121"',
    'f:3:8: map[1].ipv6: 2001:db8::/121 has fewer addresses than 10.0.0.0/24; its length may be 120 at most',
  ],
  [
    'a map inside pref64',
    '[[map]]\nipv4 = "10.0.0.1"\nipv6 = "64:ff9b:1::5"',
    'f:3:8: map[1].ipv6: overlaps pref64',
  ],
  [
    'an IPv4 prefix mapped twice',
    '[[map]]\nipv4 = "10.0.0.1"\nipv6 = "2001:db8::1"\n[[map]]\nipv4 = "10.0.0.1/32"\nipv6 = "2001:db8::2"',
    'f:5:8: map[2].ipv4: 10.0.0.1/32 is mapped already, at line 2; keep one',
  ],
  [
    'IPv6 prefixes that overlap',
    '[[map]]\nipv4 = "10.0.0.0/24"\nipv6 = "2001:db8::/64"\n[[map]]\nipv4 = "10.0.1.1"\nipv6 = "2001:db8::2"',
    'f:6:8: map[2].ipv6: overlaps the map at line 3',
  ],
];

for (const [name, text, ...expected] of invalid) {
  test(`${name} is refused with its place`, () => {
    const problems = problemsOf(text);
    assert.equal(problems.length, expected.length, problems.join('\n'));
    for (const [i, start] of expected.entries()) {
      assert.ok(problems[i]?.startsWith(start), `expected ${start}\n     got ${problems[i]}`);
    }
  });
}

test('all errors of a file are reported, in the order of the file', () => {
  const problems = problemsOf(
    'workers = -1\npref64 = "x"\nfoo = 1\n[log]\nlevel = 3\n[[map]]\nipv4 = 7\nipv6 = "x"',
  );
  assert.deepEqual(
    problems.map((line) => line.split(': ', 2).join(': ')),
    [
      'f:1:11: workers',
      'f:2:10: pref64',
      'f:3:1: foo',
      'f:5:9: log.level',
      'f:7:8: map[1].ipv4',
      'f:8:8: map[1].ipv6',
    ],
  );
});

test('nested IPv4 prefixes, longer IPv6 suffixes and addresses with ports are fine', () => {
  const config = parseConfig(
    `[[map]]\nipv4 = "198.51.100.0/24"\nipv6 = "2001:db8:a::/64"\n[[map]]\nipv4 = "198.51.100.8"\nipv6 = "2001:db8:b::8"
     [dns64]\nlisten = ["[2001:db8::1]:5353", "192.0.2.1:54", "::1"]\nallow-from = ["2001:db8::/32", "192.0.2.1"]
     [device]\nmasquerade = "eth0"\naddresses = []`.replaceAll(/^ +/gm, ''),
    'f',
  );
  assert.equal(config.maps.length, 2);
  assert.deepEqual(config.dns64.listen, [
    { address: '2001:db8::1', port: 5353 },
    { address: '192.0.2.1', port: 54 },
    { address: '::1', port: 53 },
  ]);
  assert.equal(config.dns64.allowFrom?.length, 2);
  assert.equal(config.device.masquerade, 'eth0');
});

test('files that cannot be read say why', () => {
  for (const [file, word] of [
    ['/nonexistent/nat64d.toml', 'no such file'],
    ['/', 'a folder'],
  ] as const) {
    assert.throws(
      () => loadConfig(file),
      (error) => error instanceof ConfigError && error.message.includes(word),
    );
  }
});

test('no text whatever makes it throw anything but its own error', () => {
  const words = fc.constantFrom(
    'pref64',
    'device',
    '[',
    ']',
    '[[',
    ']]',
    'map',
    '=',
    '.',
    '"',
    '\n',
    '1',
    'true',
    '{',
    '}',
    ',',
    '#',
    'x',
    ' ',
    '2001:db8::/32',
    'ipv4',
  );
  const soup = fc.oneof(
    fc.string(),
    fc.array(words, { maxLength: 40 }).map((list) => list.join('')),
  );
  fc.assert(
    fc.property(soup, (text) => {
      for (const problem of problemsOf(text)) assert.match(problem, /^f:\d+:\d+: /);
    }),
    { numRuns: 2000 },
  );
});

test('no value whatever at any key makes it throw anything but its own error', () => {
  const values = fc.constantFrom(
    '""',
    '"::/0"',
    '"0.0.0.0/0"',
    '-1',
    '1e400',
    'nan',
    '[]',
    '[[]]',
    '{}',
    '{a=1}',
    'true',
    '1979-05-27',
    '"\\u0000"',
    '[1,"x",{}]',
    '"255.255.255.255"',
  );
  const keys = ['', 'device', 'translation', 'dns64', 'log'].flatMap((table) =>
    keysAt(table === '' ? [] : [table]).map((key) => (table === '' ? key : `${table}.${key}`)),
  );
  fc.assert(
    fc.property(fc.constantFrom(...keys), values, (key, value) => {
      problemsOf(`${key} = ${value}`);
    }),
    { numRuns: 1000 },
  );
});

/** What a file without mistakes becomes; the sample file; and that no file whatever makes the reader fail otherwise. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { getStaticTOMLValue, parseTOML } from 'toml-eslint-parser';
import { ConfigError, loadConfig, parseConfig } from '#nat64d/control/config/index.js';
import { keysAt } from '#nat64d/control/config/schema.js';
import { formatInterfaceAddress } from '#nat64d/control/netdev/settings.js';
import {
  formatAddress4,
  formatAddress6,
  parseAddress6,
  parsePrefix4,
  parsePrefix6,
} from '#nat64d/wire/address.js';
import { makeCertificate } from '../../../helpers/certificate.js';
import { problemsOf } from './problems-of.js';

const SAMPLE = fileURLToPath(new URL('../../../../../config/nat64d.toml', import.meta.url));
const FOLDER = mkdtempSync(join(tmpdir(), 'nat64d-config-'));
after(() => rmSync(FOLDER, { recursive: true }));
const CA = join(FOLDER, 'ca.pem');
const { cert, key } = makeCertificate(['ca.example']);
writeFileSync(CA, `An authority of our own\n${cert}`);
const TABLES = [
  'device',
  'translation',
  'advertise',
  'dns64',
  'http',
  'log',
  'map',
  'dns64.policy',
  'dns64.scoped',
];

test('an empty file is the default configuration', () => {
  assert.deepEqual(parseConfig('', 'f'), {
    file: 'f',
    pref64: parsePrefix6('64:ff9b:1::/96'),
    wkpfStrict: true,
    ipv4Address: 0x0a400001,
    ipv6Address: parseAddress6('64:ff9b:1::10.64.0.1'),
    pool4: parsePrefix4('10.64.0.0/16'),
    allowFrom: null,
    maps: [],
    mapFile: null,
    warnings: [],
    mapLifetimeSec: 124 * 60,
    maxMapsPer64: 256,
    workers: 0,
    workerNice: -2,
    dataDir: '/var/lib/nat64d',
    runDir: '/run/nat64d',
    controlSocket: true,
    controlGroup: null,
    user: null,
    group: null,
    device: {
      name: 'nat64',
      mtu: 1500,
      addresses: [
        { family: 4, address: 0x0a400002, length: 32 },
        { family: 6, address: parseAddress6('64:ff9b:1::10.64.0.2'), length: 128 },
      ],
      configure: true,
      forwarding: true,
      masquerade: true,
      offload: true,
      coalesce: true,
      up: false,
      routes: [],
    },
    advertise: {
      interfaces: [],
      dnsServers: null,
      intervalSec: 600,
      lifetimeSec: null,
      mtu: null,
      prefix: null,
      route: true,
      routerLifetimeSec: 0,
    },
    translation: {
      ipv6Mtu: null,
      ipv4Mtu: null,
      lowestIpv6Mtu: 1280,
      udpZeroChecksum: 'drop',
      copyTrafficClass: true,
      mssClamp: 'off',
      icmpFragments: 'drop',
      icmpSourcePool4: null,
      forwardClassE: false,
      clat: false,
      icmpErrorsPerSec: 1000,
      icmpErrorBurst: 50,
    },
    dns64: {
      enabled: true,
      required: false,
      listen: [
        { address: '10.64.0.2', port: 53 },
        { address: '64:ff9b:1::a40:2', port: 53 },
      ],
      interfaces: [],
      port: 53,
      forwarders: [],
      forwardersCa: null,
      retrySec: 300,
      allowFrom: null,
      randomizeCase: false,
      cacheSizeBytes: 67_108_864,
      prefetch: true,
      serveStaleSec: 0,
      cookies: true,
      rateLimit: 0,
      tcpConnections: 1000,
      tcpIdleSec: 10,
      clients: null,
      synthesize: true,
      pref64s: [],
      pref64Choice: 'round-robin',
      excludeAaaa: [parsePrefix6('::ffff:0:0/96'), parsePrefix6('64:ff9b::/96')],
      excludeIpv4: [],
      excludeNames: [],
      ignoreAaaa: [],
      breakDnssec: true,
      reverse: 'cname',
      reverse6to4: false,
      privateZones: 'auto',
      scoped: [],
      policies: [],
    },
    http: { listen: [{ address: '127.0.0.1', port: 6464 }], token: null, names: [] },
    log: {
      level: 'info',
      format: 'auto',
      packets: [],
      packetLevel: 'info',
      assignmentLevel: 'info',
      maps: false,
      destination: 'stdout',
    },
  });
});

test('the sample file is the default configuration', () => {
  assert.deepEqual(loadConfig(SAMPLE), parseConfig('', SAMPLE));
});

/** The sample file with the comment taken from every line that shows a key. */
function sampleWithEveryKey(): string {
  const text = readFileSync(SAMPLE, 'utf8').replace(/^# (?=[a-z0-9-]+ = |\[\[)/gm, '');
  return text.replace('/etc/nat64d/ca.pem', CA);
}

test('the sample file shows every key of the schema in its table, and no other', () => {
  const shown = getStaticTOMLValue(parseTOML(sampleWithEveryKey())) as Record<string, unknown>;
  assert.deepEqual(Object.keys(shown).sort(), [...keysAt([])].sort());
  for (const table of TABLES) {
    const path = table.split('.');
    const value = path.reduce<unknown>((around, key) => (around as Record<string, unknown>)[key], shown);
    const inner = Array.isArray(value) ? value[0] : value;
    assert.deepEqual(Object.keys(inner as object).sort(), [...keysAt(path)].sort(), table);
  }
});

/** Keys of [dns64] whose sample shows something else than their default, and the default. */
const NO_DEFAULT = {
  allowFrom: null,
  clients: null,
  forwardersCa: null,
  pref64s: [],
  listen: parseConfig('', 'f').dns64.listen,
  scoped: [],
  policies: [],
};

test('the values that the sample file shows are the defaults, but where there is none to show', () => {
  const shown = parseConfig(sampleWithEveryKey(), SAMPLE);
  const standard = parseConfig('', SAMPLE);
  assert.deepEqual(
    {
      ...shown,
      maps: [],
      mapFile: null,
      controlGroup: null,
      allowFrom: null,
      user: null,
      group: null,
      http: { ...shown.http, token: null },
      translation: { ...shown.translation, ipv6Mtu: null, ipv4Mtu: null, icmpSourcePool4: null },
      advertise: { ...shown.advertise, dnsServers: null, lifetimeSec: null, mtu: null, prefix: null },
      dns64: { ...shown.dns64, ...NO_DEFAULT },
    },
    standard,
  );
  // These follow from the device's MTU.
  assert.equal(shown.translation.ipv6Mtu, standard.device.mtu);
  assert.equal(shown.translation.ipv4Mtu, standard.device.mtu);
});

const derived: [string, string, { own: string[]; device: string[]; listen: string[] }][] = [
  [
    'another prefix and pool',
    'pref64 = "2001:db8:1:2::/64"\npool4 = "192.0.2.0/24"',
    {
      own: ['192.0.2.1', '2001:db8:1:2:c0:2:100:0'],
      device: ['192.0.2.2/32', '2001:db8:1:2:c0:2:200:0/128'],
      listen: ['192.0.2.2', '2001:db8:1:2:c0:2:200:0'],
    },
  ],
  [
    'the smallest pool that has addresses to spare',
    'pool4 = "10.0.0.0/30"',
    {
      own: ['10.0.0.1', '64:ff9b:1::a00:1'],
      device: ['10.0.0.2/32', '64:ff9b:1::a00:2/128'],
      listen: ['10.0.0.2', '64:ff9b:1::a00:2'],
    },
  ],
  [
    'a pool without addresses to spare',
    'pool4 = "10.0.0.0/31"\nipv4-address = "192.0.2.1"',
    { own: ['192.0.2.1', '64:ff9b:1::c000:201'], device: [], listen: [] },
  ],
  [
    'no pool',
    'pool4 = false\nipv4-address = "192.0.2.1"',
    { own: ['192.0.2.1', '64:ff9b:1::c000:201'], device: [], listen: [] },
  ],
  [
    'an own address outside the pool: the device has the second of it all the same',
    'ipv4-address = "192.0.2.1"',
    {
      own: ['192.0.2.1', '64:ff9b:1::c000:201'],
      device: ['10.64.0.2/32', '64:ff9b:1::a40:2/128'],
      listen: ['10.64.0.2', '64:ff9b:1::a40:2'],
    },
  ],
  [
    'the second address of the pool as own: the device has the first',
    'ipv4-address = "10.64.0.2"',
    {
      own: ['10.64.0.2', '64:ff9b:1::a40:2'],
      device: ['10.64.0.1/32', '64:ff9b:1::a40:1/128'],
      listen: ['10.64.0.1', '64:ff9b:1::a40:1'],
    },
  ],
  [
    'the Well-Known Prefix over a global pool',
    'pref64 = "64:ff9b::/96"\npool4 = "8.8.8.0/24"',
    {
      own: ['8.8.8.1', '64:ff9b::808:801'],
      device: ['8.8.8.2/32', '64:ff9b::808:802/128'],
      listen: ['8.8.8.2', '64:ff9b::808:802'],
    },
  ],
  [
    'the Well-Known Prefix over a private pool, not strict',
    'pref64 = "64:ff9b::/96"\nwkpf-strict = false',
    {
      own: ['10.64.0.1', '64:ff9b::a40:1'],
      device: ['10.64.0.2/32', '64:ff9b::a40:2/128'],
      listen: ['10.64.0.2', '64:ff9b::a40:2'],
    },
  ],
  [
    'the Well-Known Prefix over a private pool, with addresses outside it',
    'pref64 = "64:ff9b::/96"\nipv6-address = "fd64::1"\ndevice.addresses = ["10.64.0.2", "fd64::2"]',
    {
      own: ['10.64.0.1', 'fd64::1'],
      device: ['10.64.0.2/32', 'fd64::2/128'],
      listen: ['10.64.0.2', 'fd64::2'],
    },
  ],
  [
    'an own IPv6 address as it would follow, given',
    'ipv6-address = "64:ff9b:1::10.64.0.1"\ndevice.addresses = []',
    { own: ['10.64.0.1', '64:ff9b:1::a40:1'], device: [], listen: [] },
  ],
  [
    'addresses on the device, of which DNS64 leaves out the link-local one',
    '[device]\naddresses = ["192.0.2.9/24", "fe80::1/64", "2001:db8::9/64"]',
    {
      own: ['10.64.0.1', '64:ff9b:1::a40:1'],
      device: ['192.0.2.9/24', 'fe80::1/64', '2001:db8::9/64'],
      listen: ['192.0.2.9', '2001:db8::9'],
    },
  ],
];

for (const [name, text, { own, device, listen }] of derived) {
  test(`addresses that follow from ${name}`, () => {
    const config = parseConfig(text, 'f');
    assert.deepEqual([formatAddress4(config.ipv4Address), formatAddress6(config.ipv6Address)], own);
    assert.deepEqual(config.device.addresses.map(formatInterfaceAddress), device);
    assert.deepEqual(
      config.dns64.listen,
      listen.map((address) => ({ address, port: 53 })),
    );
  });
}

test('every length of RFC 6052, and the ranges next to the reserved ones, are fine', () => {
  for (const pref64 of [
    '2001:db8::/32',
    '2001:db8:100::/40',
    '2001:db8:122::/48',
    '2001:db8:122:300::/56',
    '2001:db8:122:344::/64',
    '2001:db8:122:344::/96',
    '64:ff9b:2::/48',
    '100::/96',
    'fec0::/64',
    'fdff::/64',
  ]) {
    assert.deepEqual(problemsOf(`pref64 = "${pref64}"`), []);
  }
  for (const pool4 of ['1.0.0.0/8', '126.0.0.0/8', '128.0.0.0/8', '223.0.0.0/8', '169.254.0.0/16']) {
    assert.deepEqual(problemsOf(`pool4 = "${pool4}"`), []);
  }
});

test('tables may be written in every way that TOML has', () => {
  const standard = parseConfig('[device]\nmtu = 1400\n[[map]]\nipv4 = "10.0.0.1"\nipv6 = "2001:db8::1"', 'f');
  for (const text of [
    'device.mtu = 1400\nmap = [{ ipv4 = "10.0.0.1", ipv6 = "2001:db8::1" }]',
    'device = { mtu = 1400 }\n[["map"]]\n"ipv4" = \'10.0.0.1\'\nipv6 = """2001:db8::1"""',
    '\ufeff[device]\r\nmtu = 1_400\r\n[[map]]\r\nipv4 = "10.0.0.1/32"\r\nipv6 = "2001:DB8:0::1/128"\r\n',
  ]) {
    assert.deepEqual(parseConfig(text, 'f'), standard);
  }
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

test('certificates of an authority are read with the file; what holds none is a mistake', () => {
  const of = (file: string) => `[dns64]\nforwarders-ca = "${file}"`;
  assert.deepEqual(parseConfig(of(CA), 'f').dns64.forwardersCa, {
    file: CA,
    text: readFileSync(CA, 'utf8'),
  });
  const other = join(FOLDER, 'other.pem');
  for (const text of ['', key, cert.replace(/[A-Za-z]{9}/, 'AAAAAAAAA')]) {
    writeFileSync(other, text);
    assert.match(problemsOf(of(other)).join(), /^f:2:17: dns64\.forwarders-ca: .* certificates in PEM/);
  }
  for (const file of ['ca.pem', `${CA}.not`, FOLDER]) assert.equal(problemsOf(of(file)).length, 1);
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

/** A value as TOML writes it in one line. */
function toToml(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(toToml).join(', ')}]`;
  if (value instanceof Date) return value.toISOString();
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'number') {
    if (Number.isNaN(value)) return 'nan';
    return Number.isFinite(value) ? value.toExponential() : value > 0 ? 'inf' : '-inf';
  }
  if (typeof value === 'object' && value !== null) {
    return `{ ${Object.entries(value)
      .map(([key, inner]) => `${toToml(key)} = ${toToml(inner)}`)
      .join(', ')} }`;
  }
  // JSON's escapes are TOML's, but for DEL.
  return JSON.stringify(value).replaceAll('\u007f', '\\u007f');
}

const KEYS = ['', ...TABLES].flatMap((table) => [...keysAt(table === '' ? [] : [table])]);

test('no value whatever at any key makes it throw anything but its own error', () => {
  const texts = fc.oneof(
    fc.string({ unit: 'grapheme' }),
    fc.ipV4(),
    fc.ipV4Extended(),
    fc.ipV6(),
    fc
      .tuple(fc.oneof(fc.ipV4(), fc.ipV6()), fc.integer({ min: -1, max: 129 }))
      .map((parts) => parts.join('/')),
    fc.constantFrom('0.0.0.0/0', '::/0', '255.255.255.255', 'nat64', '/', 'info'),
  );
  const keys = fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...KEYS, '__proto__') }, fc.string());
  const values = fc.letrec((self) => ({
    any: fc.oneof(
      { maxDepth: 3 },
      texts,
      fc.boolean(),
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      fc.integer({ min: 0, max: 65535 }).map(BigInt),
      fc.double(),
      fc.date({ min: new Date('0001-01-01'), max: new Date('9999-12-31'), noInvalidDate: true }),
      fc.array(self('any'), { maxLength: 4 }),
      fc.dictionary(keys, self('any'), { maxKeys: 4, noNullPrototype: true }),
    ),
  }));
  let tables = 0;
  let refused = 0;
  fc.assert(
    fc.property(fc.dictionary(keys, values.any, { minKeys: 1, maxKeys: 6 }), (document) => {
      const text = Object.entries(document)
        .map(([key, value]) => `${toToml(key)} = ${toToml(value)}`)
        .join('\n');
      const problems = problemsOf(text);
      for (const problem of problems) {
        assert.match(problem, /^f:\d+:\d+: /);
        assert.doesNotMatch(problem, /no valid TOML/, text);
      }
      tables++;
      if (problems.length > 0) refused++;
    }),
    { numRuns: 2000 },
  );
  assert.ok(refused > tables / 2);
});

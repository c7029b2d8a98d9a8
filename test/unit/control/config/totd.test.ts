/** totd.conf: every keyword of its grammar, and the DNS64 that comes of it. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { plainForwarder } from '#nat64d/control/config/forwarder.js';
import { parseConfig } from '#nat64d/control/config/index.js';
import { ConfigError } from '#nat64d/control/config/problem.js';
import { formatToml } from '#nat64d/control/config/to-toml.js';
import { parseTotd, type TotdConfig, withTotd } from '#nat64d/control/config/totd.js';
import { formatPrefix6, parsePrefix6 } from '#nat64d/wire/address.js';

const FORWARDER = 'forwarder 192.0.2.53\n';

const VALUES: readonly (readonly [string, (config: TotdConfig) => unknown, unknown])[] = [
  ['', (c) => c.forwarders, [{ address: '192.0.2.53', port: 53 }]],
  ['forwarder ::1 port 65053', (c) => c.forwarders[1], { address: '::1', port: 65053 }],
  ['FORWARDER 127.0.0.1 PORT 5353 ; local', (c) => c.forwarders[1], { address: '127.0.0.1', port: 5353 }],
  ['prefix 2001:db8:1:ffff::', (c) => c.prefixes.map(formatPrefix6), ['2001:db8:1:ffff::/96']],
  // As totd takes it, RFC 6052 or not.
  ['prefix 2001:db8:1:ffff:ff00::', (c) => c.prefixes.map(formatPrefix6), ['2001:db8:1:ffff:ff00::/96']],
  ['prefix 2001:db8:1:ffff::1', (c) => c.prefixes.map(formatPrefix6), ['2001:db8:1:ffff::/96']],
  [
    'prefix 2001:db8::/32\nprefix 64:ff9b::',
    (c) => c.prefixes.map(formatPrefix6),
    ['2001:db8::/32', '64:ff9b::/96'],
  ],
  ['port 5300#comment', (c) => c.port, 5300],
  ['retry 60', (c) => c.retrySec, 60],
  ['pidfile /run/totd.pid', (c) => c.pidfile, '/run/totd.pid'],
  ['interfaces eth0 eth1\ninterfaces *', (c) => c.interfaces, ['eth0', 'eth1', '*']],
  ['stf', (c) => c.stf, true],
  ['interfaces eth0\nscoped 2001:db8:: fe80:: 64', (c) => c.scoped.length, 1],
  ['allow 127.0.0.1\nallow ::1', (c) => c.allow, ['127.0.0.1', '::1']],
  ['; all of it\n# a comment', (c) => [c.port, c.retrySec, c.pidfile], [53, 300, '/var/run/totd.pid']],
];
for (const [lines, get, value] of VALUES) {
  test(`${JSON.stringify(lines)} is understood`, () =>
    assert.deepEqual(get(parseTotd(FORWARDER + lines, 'f')), value));
}

const WRONG: readonly (readonly [string, string])[] = [
  ['nonsense', 'f:2:1: nonsense: there is no such keyword; allowed are forwarder,'],
  ['__proto__', 'f:2:1: __proto__: there is no such keyword'],
  ['forwarder', 'f:2:1: forwarder: needs the address'],
  ['forwarder localhost', 'f:2:11: forwarder: needs the address'],
  ['forwarder ::1 5353', "f:2:15: forwarder: takes an address, and 'port'"],
  ['forwarder ::1 port', 'f:2:15: forwarder: needs a number'],
  ['forwarder ::1 port 65536', 'f:2:20: forwarder: needs a number'],
  ['forwarder ::1 port 0', 'f:2:20: forwarder: needs a number'],
  ['prefix 192.0.2.1', 'f:2:8: prefix: needs one IPv6 prefix'],
  ['prefix 2001:db8::/60', 'f:2:8: prefix: needs one IPv6 prefix'],
  ['prefix 2001:db8:1:2:ff00::/96', 'f:2:8: prefix: needs one IPv6 prefix'],
  ['prefix', 'f:2:1: prefix: needs one IPv6 prefix'],
  ['port 0', 'f:2:6: port: needs a number'],
  ['port 53 54', 'f:2:9: port: needs a number'],
  ['retry soon', 'f:2:7: retry: needs a number of seconds'],
  ['interfaces', 'f:2:1: interfaces: needs names'],
  ['interfaces a/b', 'f:2:12: interfaces: needs names'],
  ['stf yes', 'f:2:5: stf: takes no words'],
  ['scoped 2001:db8:: fe80:: 64', "f:1:1: scoped: needs 'interfaces'"],
  ['interfaces a\nscoped 2001:db8:: fe80:: 63', 'f:3:26: scoped: needs a length'],
  ['interfaces a\nscoped 2001:db8:: fe80:: 0', 'f:3:26: scoped: needs a length'],
  ['allow all', 'f:2:7: allow: needs an address'],
];
for (const [lines, message] of WRONG) {
  test(`${JSON.stringify(lines)} is refused at its place`, () => {
    assert.throws(
      () => parseTotd(FORWARDER + lines, 'f'),
      (error) => error instanceof ConfigError && error.message.startsWith(message),
    );
  });
}

test('a file without a forwarder is refused; all errors are reported', () => {
  assert.throws(() => parseTotd('port 53\n', 'f'), /f:1:1: forwarder: is missing/);
  assert.throws(() => parseTotd('port x\nretry x\n', 'f'), /f:1:6: port: .*\nf:2:7: retry: /);
});

test('any text is read or refused with places', () => {
  const word = fc.oneof(
    fc.string(),
    fc.constantFrom('forwarder', 'prefix', '::1', 'port', '53', '#', ';', 'scoped'),
  );
  fc.assert(
    fc.property(fc.array(fc.array(word)), (lines) => {
      try {
        parseTotd(lines.map((words) => words.join(' ')).join('\n'), 'f');
      } catch (error) {
        assert.ok(error instanceof ConfigError, String(error));
      }
    }),
  );
});

const base = parseConfig('', 'nat64d.toml');
const dns64Of = (lines: string) => withTotd(base, parseTotd(FORWARDER + lines, 'f')).dns64;

test('DNS64 listens where totd would, asks its forwarders, and gives addresses under its prefixes', () => {
  const config = withTotd(
    base,
    parseTotd(`${FORWARDER}prefix 2001:db8:64::\nprefix 2001:db8:65::\nport 5300\nretry 60\nstf\n`, 'f'),
  );
  const { dns64 } = config;
  assert.deepEqual([dns64.listen, dns64.interfaces, dns64.port], [[], ['*'], 5300]);
  assert.deepEqual(dns64.forwarders, [plainForwarder({ address: '192.0.2.53', port: 53 })]);
  assert.equal(dns64.enabled, true);
  assert.equal(dns64.retrySec, 60);
  assert.equal(dns64.reverse6to4, true);
  assert.deepEqual(
    dns64.pref64s.map(({ prefix }) => formatPrefix6(prefix)),
    ['2001:db8:64::/96', '2001:db8:65::/96'],
  );
  assert.deepEqual(config.warnings, []);
  assert.deepEqual(parseConfig(formatToml(config), 'nat64d.toml'), config);
});

test('without a prefix it is the well-known one', () => {
  assert.deepEqual(
    dns64Of('').pref64s.map(({ prefix }) => formatPrefix6(prefix)),
    ['64:ff9b::/96'],
  );
});

for (const [lines, interfaces, listen] of [
  ['', ['*'], []],
  ['interfaces all', ['*'], []],
  ['interfaces eth0 ANY', ['*'], []],
  ['interfaces eth0\ninterfaces eth1', ['eth0', 'eth1'], []],
  ['interfaces *', [], ['0.0.0.0', '::']],
] as const) {
  test(`${JSON.stringify(lines)} is where it listens`, () => {
    const dns64 = dns64Of(lines);
    assert.deepEqual(dns64.interfaces, interfaces);
    assert.deepEqual(
      dns64.listen.map(({ address }) => address),
      listen,
    );
  });
}

test('scoped: host bits are dropped, and it comes back from TOML', () => {
  const config = withTotd(
    base,
    parseTotd(`${FORWARDER}interfaces all\nscoped 2001:db8::1 fe80::1 64\n`, 'f'),
  );
  assert.deepEqual(
    config.dns64.scoped.map(({ from, to }) => [formatPrefix6(from), formatPrefix6(to)]),
    [['2001:db8::/64', 'fe80::/64']],
  );
  assert.deepEqual(parseConfig(formatToml(config), 'nat64d.toml'), config);
});

test('prefixes of the command line come before those of the file', () => {
  const first = parsePrefix6('2001:db8:1::/96')!;
  const { prefixes } = parseTotd(`${FORWARDER}prefix 2001:db8:2::\n`, 'f', [first]);
  assert.deepEqual(prefixes.map(formatPrefix6), ['2001:db8:1::/96', '2001:db8:2::/96']);
});

test('what means nothing of a totd.conf is said', () => {
  const { warnings } = withTotd(base, parseTotd(`${FORWARDER}allow ::1\n`, 'f'));
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? '', /^f: allow means nothing/);
});

test('totd.conf as shipped is fine', () => {
  const file = fileURLToPath(new URL('../../../../../config/totd.conf', import.meta.url));
  const text = readFileSync(file, 'utf8');
  assert.equal(parseTotd(text, 'totd.conf').port, 53);
  assert.equal(parseTotd(text.replace(/^;([a-z])/gm, '$1'), 'totd.conf').stf, true);
});

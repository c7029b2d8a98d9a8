/** The reference of the configuration and the manual pages: complete, current, and without a mistake in them. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { readKeys, schemaKeys, TAYGA, TOTD } from '#nat64d/cli/manual/keys.js';
import { configurationReference } from '#nat64d/cli/manual/reference.js';
import { changesBetween } from '#nat64d/control/changes.js';
import { ConfigError, parseConfig } from '#nat64d/control/config/index.js';
import { parseTayga } from '#nat64d/control/config/tayga.js';
import { parseTotd, withTotd } from '#nat64d/control/config/totd.js';
import { fetchPeer } from '../../helpers/peers.js';

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const SAMPLE = read('config/nat64d.toml');
const tables = readKeys(SAMPLE);

test('docs/configuration.md is what the schema and the sample file say (npm run reference)', () => {
  assert.equal(read('docs/configuration.md'), configurationReference(SAMPLE));
});

test('every key of the schema is in the reference, with what it does', () => {
  const described = tables.flatMap((table) =>
    table.groups.flatMap(({ text, keys }) =>
      keys
        .filter(() => text.length > 0 || table.text.length > 0)
        .map((key) => (table.name === '' ? key.name : `${table.name}.${key.name}`)),
    ),
  );
  assert.deepEqual(described.toSorted(), schemaKeys().toSorted());
});

test('defaults, what is allowed, and what needs a restart are told as they are', () => {
  const key = (table: string, name: string) =>
    tables
      .find((one) => one.name === table)
      ?.groups.flatMap(({ keys }) => keys)
      .find((one) => one.name === name);
  assert.deepEqual(key('', 'workers'), {
    name: 'workers',
    allowed: 'a whole number from 0 to 64',
    standard: '0',
    restartReason: null,
    tayga: 'workers',
    totd: null,
  });
  assert.equal(key('', 'data-dir')?.restartReason, 'dynamic.map is open');
  assert.equal(key('', 'map-file')?.standard, 'none');
  assert.equal(key('', 'control-group')?.standard, null, 'its text says it');
  assert.equal(
    key('device', 'routes')?.allowed,
    'a list; each of it an address or a prefix without host bits',
  );
  assert.equal(key('dns64.policy', 'reverse')?.standard, null, 'as under [dns64]');
});

test('the sample file and README name the keys that need a restart, all of them and no other', () => {
  const groups = tables.flatMap(({ name, groups: all }) => all.map((group) => ({ name, ...group })));
  const fixed = groups.flatMap(({ name, text, keys }) => {
    const restarted = keys.filter(({ restartReason }) => restartReason !== null);
    const isSaid = /needs? a restart/i.test(text.join(' '));
    assert.equal(isSaid, restarted.length > 0, `[${name}]: ${keys.map((key) => key.name)}`);
    return restarted.map((key) => (name === '' ? key.name : `${name}.${key.name}`));
  });
  const [, eight = ''] = /The eight are (.*?):\nthey need a restart\./s.exec(read('README.md')) ?? [];
  const named = [...eight.matchAll(/`([a-z.-]+)`/g)].map(([, key]) => key);
  assert.equal(named.length, 8);
  assert.deepEqual(named.sort(), fixed.sort());
});

/** What a reader says that it knows. */
function wordsOf(parse: (text: string) => unknown): string[] {
  try {
    parse('no-such-word\n');
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    const [, words = ''] = /allowed are (.*)$/m.exec(error.message) ?? [];
    return words.split(', ');
  }
  return [];
}

test('each directive of tayga.conf and keyword of totd.conf is named by the key that it sets', () => {
  const shown = (all: Readonly<Record<string, string>>, more: string[]) =>
    [...new Set([...Object.values(all), ...more])].sort();
  assert.deepEqual(wordsOf((text) => parseTayga(text, 'f')).sort(), shown(TAYGA, ['strict-frag-hdr']));
  assert.deepEqual(wordsOf((text) => parseTotd(text, 'f')).sort(), shown(TOTD, ['pidfile', 'allow']));

  const least = 'tun-device a\nipv4-addr 192.0.2.9\nipv6-addr 2001:db8::9\n';
  const directives: Record<string, string> = {
    'data-dir': 'data-dir /srv',
    'tun-ip': 'tun-ip 192.0.2.2',
    'tun-device': '',
    'tun-route': 'tun-route 192.0.2.0/24',
    'tun-up': 'tun-up yes',
    'ipv4-addr': '',
    'ipv6-addr': '',
    log: 'log drop',
    'map-file': 'map-file /srv/map',
    map: 'map 192.0.2.1 2001:db8::1',
    'dynamic-pool': 'dynamic-pool 10.0.0.0/24',
    prefix: 'prefix 2001:db8:1::/96',
    'offlink-mtu': 'offlink-mtu 1400',
    'udp-cksum-mode': 'udp-cksum-mode calc',
    'wkpf-strict': 'wkpf-strict no',
    workers: 'workers 2',
  };
  for (const [key, directive] of Object.entries(TAYGA)) {
    const line = directives[directive];
    assert.ok(line !== undefined, directive);
    const [before, after] = [parseTayga(least, 'f'), parseTayga(`${least}${line}\n`, 'f')];
    // Those that must be there are compared with nat64d's default.
    const { applied, fixed } = changesBetween(line === '' ? parseConfig('', 'f') : before, after);
    const changed = [...applied, ...fixed.map((one) => one.key)];
    if (key === 'map-file') assert.equal(after.mapFile, '/srv/map');
    else assert.ok(changed.includes(key.replace(/^map\..*/, 'map')), `${directive}: ${changed}`);
  }
  const keywords: Record<string, string> = {
    forwarder: 'forwarder 192.0.2.53',
    interfaces: 'interfaces eth7',
    port: 'port 54',
    prefix: 'prefix 2001:db8::',
    retry: 'retry 7',
    stf: 'stf',
    scoped: 'interfaces a\nscoped fe80:: fd00:: 64',
  };
  const base = parseConfig('', 'f');
  for (const [key, keyword] of Object.entries(TOTD)) {
    const totd = parseTotd(`forwarder 192.0.2.1\n${keywords[keyword]}\n`, 'f');
    const { applied } = changesBetween(base, withTotd(base, totd));
    assert.ok(applied.includes(key.replace(/^dns64\.scoped\..*/, 'dns64.scoped')), `${keyword}: ${applied}`);
  }
});

test('package.json names every manual page that the build makes, and they have no mistakes', () => {
  const pages = readdirSync(join(ROOT, 'dist/man')).sort();
  const { man } = JSON.parse(read('package.json')) as { man: string[] };
  assert.deepEqual(
    man.toSorted(),
    pages.map((page) => `./dist/man/${page}`),
  );
  const { root } = fetchPeer('mandoc', ['mandoc']);
  for (const page of pages) {
    const { stdout, error } = spawnSync(
      join(root, 'usr/bin/mandoc'),
      ['-T', 'lint', '-W', 'warning', join('dist/man', page)],
      { cwd: ROOT, encoding: 'utf8' },
    );
    assert.equal(error, undefined);
    // A date would have to be kept.
    assert.deepEqual(
      stdout.split('\n').filter((line) => line !== '' && !line.includes('missing date')),
      [],
    );
  }
});

test('manual pages say what there is to say of options and keys', () => {
  const page = (name: string) => read(`dist/man/${name}`).replaceAll('\\', '');
  assert.match(
    page('nat64d.8'),
    /^\.B -c, --config <file>\nconfiguration file; default \/etc\/nat64d\/nat64d\.toml$/m,
  );
  assert.match(page('nat64d.8'), /^\.SS import \[options\]$/m);
  assert.doesNotMatch(page('nat64d.8'), /test-clock-rate/);
  assert.match(
    page('tayga.8'),
    /^\.B --mktun\nMake the persistent device of the configuration, and exit\.$/m,
  );
  assert.match(page('totd.8'), /^\.B -u USER\n/m);
  for (const { groups } of tables)
    for (const { name } of groups.flatMap(({ keys }) => keys))
      assert.ok(page('nat64d.toml.5').includes(`\n.B ${name}\n`), name);
});

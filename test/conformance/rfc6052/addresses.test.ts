/** RFC 6052: IPv4-embedded IPv6 addresses, through the whole translator. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfigError, parseConfig } from '#nat64d/control/config/index.js';
import { check } from '../../helpers/checker.js';
import { Harness, HOST4, HOST6 } from '../../helpers/harness.js';
import { ipv4, ipv6, udp } from '../../helpers/packet.js';

/** The table of section 2.4. */
const TABLE = [
  ['2001:db8::/32', '2001:db8:c000:221::'],
  ['2001:db8:100::/40', '2001:db8:1c0:2:21::'],
  ['2001:db8:122::/48', '2001:db8:122:c000:2:2100::'],
  ['2001:db8:122:300::/56', '2001:db8:122:3c0:0:221::'],
  ['2001:db8:122:344::/64', '2001:db8:122:344:c0:2:2100:0'],
  ['2001:db8:122:344::/96', '2001:db8:122:344::c000:221'],
] as const;
const SERVER = '192.0.2.33';

/** The host lies outside every prefix of the table. */
const HOST = '2620:0:1::2';
const hosts = [[HOST4, HOST]] as const;

for (const [pref64, address] of TABLE) {
  test(`RFC 6052 section 2.2: under ${pref64} a destination is read as 192.0.2.33 [R7915-62] [R6052-11]`, () => {
    const { frames } = new Harness({ pref64, hosts }).send(ipv6({ src: HOST, dst: address }, udp({}, 'x')));
    check(frames[0]!.bytes, 4, { src: HOST4, dst: SERVER });
  });

  test(`RFC 6052 section 2.2: under ${pref64} a source is written as ${address} [R7915-62] [R6052-1] [R6052-3] [R6052-11]`, () => {
    const { frames } = new Harness({ pref64, hosts }).send(ipv4({ src: SERVER, dst: HOST4 }, udp({}, 'x')));
    check(frames[0]!.bytes, 6, { src: address, dst: HOST });
  });
}

test('RFC 6052 section 2.2: suffix bits and the u-octet are ignored when read [R6052-4] [TAYGA-14]', () => {
  for (const [pref64, address] of [
    ['2001:db8::/32', '2001:db8:c000:221:ff12:3456:789a:bcde'],
    ['2001:db8:100::/40', '2001:db8:1c0:2:ff21:ffff:ffff:ffff'],
    ['2001:db8:122:344::/64', '2001:db8:122:344:ffc0:2:21ff:ffff'],
  ] as const) {
    const { frames } = new Harness({ pref64, hosts }).send(ipv6({ src: HOST, dst: address }, udp({}, 'x')));
    check(frames[0]!.bytes, 4, { dst: SERVER });
  }
});

for (const address of [
  '10.1.2.3',
  '100.64.0.1',
  '172.16.0.1',
  '192.168.1.1',
  '192.0.2.1',
  '198.18.0.1',
  '198.51.100.1',
  '203.0.113.1',
]) {
  test(`RFC 6052 section 3.1: the Well-Known Prefix does not represent ${address} [R6052-5] [R6052-6] [R6052-7]`, () => {
    const settings = { pref64: '64:ff9b::/96', hosts: [[HOST4, HOST]] as const };
    const strict = new Harness(settings);
    const out = ipv6({ src: HOST, dst: `64:ff9b::${address}` }, udp({}, 'x'));
    const back = ipv4({ src: address, dst: HOST4 }, udp({}, 'x'));
    const isInPool = address.startsWith('10.64.');
    assert.equal(strict.send(out).verdict, 'drop-non-global');
    assert.equal(strict.send(back).verdict, isInPool ? 'drop-v4-source-in-pool4' : 'drop-v4-no-map-source');
    const lenient = new Harness({ ...settings, settings: { wkpfStrict: false } });
    assert.equal(lenient.send(out).verdict, 'forward');
    assert.equal(lenient.send(back).verdict, 'forward');
  });
}

test('RFC 8215 section 4: the prefix for local use represents private addresses', () => {
  const { frames } = new Harness().send(ipv6({ src: HOST6, dst: '64:ff9b:1::192.168.1.1' }, udp({}, 'x')));
  check(frames[0]!.bytes, 4, { dst: '192.168.1.1' });
});

test('RFC 6052 section 2.2: a prefix of length 96 whose bits 64 to 71 are not zero is an error of the configuration [R6052-2]', () => {
  assert.throws(() => parseConfig('pref64 = "2001:db8:0:0:ff00::/96"', 'f'), ConfigError);
  parseConfig('pref64 = "2001:db8:0:0:ff:ffff::/96"', 'f');
});

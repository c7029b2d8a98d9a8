/** RFC 8106: the RDNSS option. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { address6 } from '../../helpers/harness.js';
import { hex, options } from '../advertisement.js';

const dns = (...servers: [string, number][]) =>
  options({ dnsServers: servers.map(([text, lifetimeSec]) => ({ of: address6(text), lifetimeSec })) });

const ONE = '20010db8 00000000 00000000 00000053';
const TWO = 'fe800000 00000000 00000000 00000002';

test('RFC 8106 section 5.1: one server takes 24 bytes, each further one 16 more', () => {
  assert.equal(dns(['2001:db8::53', 1800]), hex(`19 03 0000 00000708 ${ONE}`));
  assert.equal(dns(['2001:db8::53', 1800], ['fe80::2', 1800]), hex(`19 05 0000 00000708 ${ONE} ${TWO}`));
});

test('RFC 8106 section 5.1: servers of other lifetimes have an option of their own; 0 ends their use', () => {
  assert.equal(
    dns(['2001:db8::53', 65528], ['fe80::2', 0]),
    hex(`19 03 0000 0000fff8 ${ONE}  19 03 0000 00000000 ${TWO}`),
  );
});

test('RFC 8106 section 5.1: without a server there is no option', () => {
  assert.equal(dns(), '');
});

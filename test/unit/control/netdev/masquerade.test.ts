import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changeText, describeRule, tableName, tableText } from '#nat64d/control/netdev/masquerade.js';

const source = { address: 0x0a400000, length: 24 };

test('true: whatever of the pool leaves by another device; hairpinned packets stay as they are', () => {
  assert.equal(
    tableText({ device: 'nat64', source, outgoing: true }, true),
    'table inet nat64d-nat64 { flags owner; chain postrouting { type nat hook postrouting priority srcnat; policy accept; ip saddr 10.64.0.0/24 oifname != "nat64" masquerade; }; }\n',
  );
});

test('a name: what leaves by that interface; a plain table has no owner', () => {
  assert.equal(
    tableText({ device: 'nat64', source, outgoing: 'eth0.100' }, false),
    'table inet nat64d-nat64 { chain postrouting { type nat hook postrouting priority srcnat; policy accept; ip saddr 10.64.0.0/24 oifname "eth0.100" masquerade; }; }\n',
  );
  assert.match(
    describeRule({ device: 'nat64', source, outgoing: 'eth0.100' }),
    /10\.64\.0\.0\/24.*eth0\.100/,
  );
});

test('an interface name cannot break out of its quotes', () => {
  for (const name of ['a" accept', 'a\nflush ruleset']) {
    assert.throws(() => tableText({ device: 'nat64', source, outgoing: name }, true), RangeError);
    assert.throws(() => tableText({ device: name, source, outgoing: true }, true), RangeError);
  }
});

test('table names hold only what nft takes', () => {
  assert.equal(tableName('tun0.1-a_b'), 'nat64d-tun0.1-a_b');
  assert.equal(tableName('tun@0;'), 'nat64d-tun_0_');
});

test('another rule takes the place of the old one in one line', () => {
  assert.equal(
    changeText({ device: 'nat64', source, outgoing: true }),
    'flush chain inet nat64d-nat64 postrouting; add rule inet nat64d-nat64 postrouting ip saddr 10.64.0.0/24 oifname != "nat64" masquerade\n',
  );
});

/** Which policy a client gets, and where private zones go. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DEFAULT_NAMES, type NamesConfig } from '#nat64d/control/config/synthesis.js';
import { readAddress } from '#nat64d/control/dns64/access.js';
import { LocalZones } from '#nat64d/control/dns64/local-zones.js';
import { foldName, isAtOrBelow, nameOf } from '#nat64d/control/dns64/message.js';
import { NameSet, nearestOf, PolicySet } from '#nat64d/control/dns64/policy.js';
import { prefixesOf } from '#nat64d/control/dns64/synthesize.js';
import { formatPrefix6, parseAddress4, parsePrefix6 } from '#nat64d/wire/address.js';
import { names } from '../../../conformance/rfc6147/names.js';

const set = (config: NamesConfig) =>
  new PolicySet({ names: config, pref64: parsePrefix6('2001:db8:64::/96')!, wkpfStrict: true });

const addressWords = (text: string) => readAddress(text)!.words;

test('the first policy that names a client; then `clients`; then the others', () => {
  const policies = set(
    names(`clients = ["2001:db8::/32", "10.0.0.0/8"]
[[dns64.policy]]
clients = ["2001:db8:1::/64"]
reverse = "off"
[[dns64.policy]]
clients = ["2001:db8:1::/48", "10.1.0.0/16"]
reverse = "rewrite"`),
  );
  const of = (client: string) => {
    const { reverse, synthesize } = policies.policyFor(addressWords(client), null);
    return `${reverse} ${synthesize}`;
  };
  assert.equal(of('2001:db8:1::5'), 'off true');
  assert.equal(of('2001:db8:1:1::5'), 'rewrite true');
  assert.equal(of('10.1.2.3'), 'rewrite true');
  assert.equal(of('2001:db8:2::5'), 'cname true');
  assert.equal(of('10.2.2.3'), 'cname true');
  assert.equal(of('192.0.2.1'), 'cname false');
  assert.equal(of('::1'), 'cname false');
});

test('ids are small, without gaps, and one for each policy', () => {
  const policies = set(
    names(`clients = ["::/0"]
[[dns64.policy]]
clients = ["10.0.0.0/8"]
[[dns64.scoped]]
from = "2001:db8::/64"
to = "fe80::/64"`),
  );
  assert.deepEqual(
    policies.all.map(({ id }) => id),
    policies.all.map((_, i) => i),
  );
  assert.equal(policies.all.length, 6);
  assert.equal(set(DEFAULT_NAMES).all.length, 1);
});

for (const [client, local, isScoped] of [
  ['fe80::2', 'fe80::1', true],
  ['fd00::2', 'fd00:1::1', true],
  ['fec0::2', 'fd00::1', true],
  ['fe80::2', 'fd00::1', false],
  ['fe80::2', '2001:db8::1', false],
  ['2001:db8::2', 'fe80::1', false],
  ['192.168.0.2', '192.168.0.1', false],
] as const) {
  test(`scoped: ${client} asking ${local}: ${isScoped}`, () => {
    const policies = set(names('[[dns64.scoped]]\nfrom = "2001:db8::/64"\nto = "fe80::/64"'));
    const { scoped } = policies.policyFor(addressWords(client), addressWords(local));
    assert.equal(scoped.length > 0, isScoped);
    assert.deepEqual(policies.policyFor(addressWords(client), null).scoped, []);
  });
}

test('a set of names holds what is at or below one of them', () => {
  const label = fc.stringMatching(/^[a-z0-9]{1,3}$/);
  const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'));
  fc.assert(
    fc.property(fc.array(name, { maxLength: 4 }), name, (inSet, asked) => {
      const wire = foldName(nameOf(asked));
      const expected = inSet.some((one) => isAtOrBelow(wire, nameOf(one)));
      assert.equal(new NameSet(inSet).has(wire), expected);
    }),
  );
  assert.equal(nearestOf(new Set(['\0']), nameOf('a.b')), '\0');
  assert.equal(nearestOf(new Set([nameOf('a.b'), nameOf('b')]), nameOf('x.a.b')), nameOf('a.b'));
});

test('prefixes for any addresses: one for all in turn, one or each otherwise, and none outside their ranges', () => {
  const prefixes = ['2001:db8:a::/96', '64:ff9b::/96', '2001:db8:c::/96'];
  const ranges = [['10.0.0.0/8'], [], ['192.0.2.0/24', '10.1.0.0/16']];
  const tables = prefixes.map((prefix, i) => `{ prefix = "${prefix}", ipv4 = ${JSON.stringify(ranges[i])} }`);
  const ipv4 = fc
    .constantFrom('10.0.0.1', '10.1.0.1', '192.0.2.1', '8.8.8.8')
    .map((one) => parseAddress4(one)!);
  const may: Record<string, string[]> = {
    '10.0.0.1': ['2001:db8:a::/96'],
    '10.1.0.1': ['2001:db8:a::/96', '2001:db8:c::/96'],
    '192.0.2.1': ['2001:db8:c::/96'],
    '8.8.8.8': ['64:ff9b::/96'],
  };
  const allowed = new Map(Object.entries(may).map(([text, some]) => [parseAddress4(text), some]));
  for (const choice of ['round-robin', 'mapped', 'all']) {
    const policy = set(names(`pref64-choice = "${choice}"\npref64 = [${tables.join(', ')}]`)).all[0]!;
    fc.assert(
      fc.property(fc.array(ipv4, { minLength: 1 }), fc.nat(), (ipv4s, turn) => {
        const found = prefixesOf(ipv4s, turn, policy).map((some) => some.map(formatPrefix6));
        for (const [i, some] of found.entries()) {
          const expected = allowed.get(ipv4s[i] as number) as string[];
          if (choice === 'all') assert.deepEqual(some, expected);
          else if (choice === 'mapped') assert.deepEqual(some, expected.slice(0, 1));
          else assert.ok(some.every((one) => expected.includes(one)));
        }
        if (choice === 'round-robin') assert.equal(new Set(found.flat()).size, 1);
      }),
    );
  }
});

for (const [address, isOwn] of [
  ['127.0.0.1', true],
  ['10.1.2.3', true],
  ['172.31.0.1', true],
  ['192.168.1.1', true],
  ['100.64.0.1', true],
  ['169.254.1.1', true],
  ['::1', true],
  ['fe80::1%eth0', true],
  ['fd00::53', true],
  ['172.32.0.1', false],
  ['8.8.8.8', false],
  ['2001:db8::53', false],
] as const) {
  test(`private zones are ${isOwn ? 'forwarded to' : 'kept from'} ${address}`, () => {
    const name = nameOf('1.0.0.10.in-addr.arpa');
    const question = Buffer.concat([Buffer.from(name, 'latin1'), Buffer.from([0, 12, 0, 1])]);
    const query = { id: 1, flags: 0x100, question, name, qtype: 12, qclass: 1, edns: null };
    const reply = (addresses: string[]) =>
      new LocalZones('auto', () => addresses.map((one) => ({ address: one }))).private(query);
    assert.equal(reply([address]) === null, isOwn);
    assert.equal(reply(['127.0.0.1', address]) === null, isOwn);
    assert.notEqual(reply([]), null, 'nobody to forward to');
  });
}

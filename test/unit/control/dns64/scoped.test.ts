/** Addresses of another scope, both ways. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import dnsPacket from 'dns-packet';
import type { ScopedConfig } from '#nat64d/control/config/types.js';
import { receiveQuery } from '#nat64d/control/dns64/query.js';
import { rescopedReply, unscopedQuery, withScoped } from '#nat64d/control/dns64/scoped.js';
import { parsePrefix6 } from '#nat64d/wire/address.js';
import { encodeQuery, record, text } from '../../../conformance/rfc6147/harness.js';

const scope = (from: string, to: string): ScopedConfig => ({
  from: parsePrefix6(from)!,
  to: parsePrefix6(to)!,
});
const SCOPED = [scope('2001:db8:1:2::/64', 'fe80::/64')];

function query(name: string, type: string) {
  const received = receiveQuery(encodeQuery({ name, type }));
  assert.equal(received.kind, 'query');
  return (received as { query: Parameters<typeof withScoped>[0] }).query;
}

function reply(name: string, type: string, answers: string[], flags = 0) {
  const questions = [{ name, type } as dnsPacket.Question];
  const body = dnsPacket.encode({ type: 'response', flags, questions, answers: answers.map(record) });
  return { body, rcode: 0, errors: [] };
}

const answersOf = (bytes: Buffer) => (dnsPacket.decode(bytes).answers ?? []).map(text);

test('each AAAA under `from` is followed by one with `to` in its place; others stay alone', () => {
  const made = withScoped(
    query('www.example', 'AAAA'),
    reply('www.example', 'AAAA', [
      'www.example 60 AAAA 2001:db8:1:2:3:4:5:6',
      'www.example 60 RRSIG AAAA',
      'www.example 60 AAAA 2001:db8:9::6',
    ]),
    SCOPED,
  );
  assert.deepEqual(answersOf(made.body), [
    'www.example 60 AAAA 2001:db8:1:2:3:4:5:6',
    'www.example 60 AAAA fe80::3:4:5:6',
    'www.example 60 AAAA 2001:db8:9::6',
  ]);
});

test('the authenticity of what was changed is not claimed (AD)', () => {
  const made = withScoped(
    query('www.example', 'AAAA'),
    reply('www.example', 'AAAA', ['www.example 60 AAAA 2001:db8:1:2::6'], 0x420),
    SCOPED,
  );
  assert.equal(made.body.readUInt16BE(2) & 0x420, 0x400);
});

test('an answer without such an address is the same object', () => {
  const before = reply('www.example', 'AAAA', ['www.example 60 AAAA 2001:db8:9::6']);
  assert.equal(withScoped(query('www.example', 'AAAA'), before, SCOPED), before);
});

test('a prefix of any length of whole octets', () => {
  const made = withScoped(
    query('www.example', 'AAAA'),
    reply('www.example', 'AAAA', ['www.example 60 AAAA 2001:db8:1234::6']),
    [scope('2001:db8::/32', 'fd00:77::/32'), scope('2001:db8:1200::/40', 'fe80:0:ff00::/40')],
  );
  assert.deepEqual(answersOf(made.body).slice(1), [
    'www.example 60 AAAA fd00:77:1234::6',
    'www.example 60 AAAA fe80:0:ff34::6',
  ]);
});

/** The ip6.arpa name of an address given as 32 hex digits. */
const reverse6 = (digits: string) => `${digits.split('').reverse().join('.')}.ip6.arpa`;
const SCOPED_NAME = reverse6('fe800000000000000003000400050006');
const GLOBAL_NAME = reverse6('20010db8000100020003000400050006');

test('a PTR query under `to` is asked under `from`, and its answer is to the name that was asked for', () => {
  const asked = query(SCOPED_NAME.toUpperCase(), 'PTR');
  const unscoped = unscopedQuery(asked, SCOPED);
  assert.ok(unscoped !== null);
  const sent = dnsPacket.decode(
    Buffer.concat([Buffer.from([0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]), unscoped.question]),
  );
  assert.deepEqual(sent.questions?.[0], { name: GLOBAL_NAME, type: 'PTR', class: 'IN' });
  const found = reply(GLOBAL_NAME, 'PTR', [
    `${GLOBAL_NAME} 60 CNAME x.example`,
    `${GLOBAL_NAME} 60 RRSIG CNAME`,
    'x.example 60 PTR host.example',
  ]);
  const made = rescopedReply(asked, unscoped, found);
  assert.equal(dnsPacket.decode(made.body).questions?.[0]?.name, SCOPED_NAME.toUpperCase());
  assert.deepEqual(answersOf(made.body), [
    `${SCOPED_NAME.toUpperCase()} 60 CNAME x.example`,
    'x.example 60 PTR host.example',
  ]);
});

for (const [name, type] of [
  [GLOBAL_NAME, 'PTR'],
  [SCOPED_NAME.slice(2), 'PTR'],
  [SCOPED_NAME, 'TXT'],
  ['www.example', 'PTR'],
] as const) {
  test(`${name} ${type} is not about a scope`, () =>
    assert.equal(unscopedQuery(query(name, type), SCOPED), null));
}

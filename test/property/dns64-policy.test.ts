/** Any answer of a forwarder, well-formed or not: what policies make of it is a message, and never an exception. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseMessage } from '#nat64d/control/dns64/message.js';
import { PolicySet } from '#nat64d/control/dns64/policy.js';
import { receiveQuery } from '#nat64d/control/dns64/query.js';
import { match6to4, matchReverse, reverseReply } from '#nat64d/control/dns64/reverse.js';
import { rescopedReply, unscopedQuery, withScoped } from '#nat64d/control/dns64/scoped.js';
import { withTargetAddresses } from '#nat64d/control/dns64/svcb.js';
import { filterAaaa, judgeAaaa, synthesize } from '#nat64d/control/dns64/synthesize.js';
import { parsePrefix6 } from '#nat64d/wire/address.js';
import { encodeQuery } from '../conformance/rfc6147/harness.js';
import { names } from '../conformance/rfc6147/names.js';

const [policy] = new PolicySet({
  names: names(`pref64 = ["64:ff9b::/96", { prefix = "2001:db8::/32", ipv4 = ["10.0.0.0/8"] }]
pref64-choice = "all"
reverse-6to4 = true
break-dnssec = false`),
  pref64: parsePrefix6('2001:db8:64::/96')!,
  wkpfStrict: true,
}).all;
assert.ok(policy !== undefined);
const SCOPED = [{ from: parsePrefix6('::/8')!, to: parsePrefix6('fe00::/8')! }];

/** Types that something is done about, and two that nothing is. */
const TYPES = [1, 2, 5, 6, 12, 16, 28, 39, 46, 64, 65, 300];
const name = fc.constantFrom(
  '\0',
  '\x01a\0',
  '\x01a\x01b\0',
  '\x01b\0',
  '\xc0\x0c',
  '\xc0\x0e',
  '\x01x\xc0\x0c',
);
const rdata = fc.oneof(
  fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
  name.map((text) => Buffer.from(text, 'latin1')),
  fc.tuple(fc.constantFrom('\0\0', '\0\x01'), name).map(([head, text]) => Buffer.from(head + text, 'latin1')),
  fc.uint8Array({ minLength: 4, maxLength: 4 }).map((bytes) => Buffer.from(bytes)),
  fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes)),
);
const record = fc.record({ name, type: fc.constantFrom(...TYPES), ttl: fc.nat(), rdata }).map((one) => {
  const fixed = Buffer.alloc(10);
  fixed.writeUInt16BE(one.type, 0);
  fixed.writeUInt16BE(1, 2);
  fixed.writeUInt32BE(one.ttl, 4);
  fixed.writeUInt16BE(one.rdata.length, 8);
  return Buffer.concat([Buffer.from(one.name, 'latin1'), fixed, one.rdata]);
});
const section = fc.array(record, { maxLength: 4 });

const STF = `${'2002c000020100000000000000000001'.split('').reverse().join('.')}.ip6.arpa`;
const IN_PREFIX = `${'0064ff9b000000000000000008080808'.split('').reverse().join('.')}.ip6.arpa`;

function queryOf(asked: string, type: string) {
  const received = receiveQuery(encodeQuery({ name: asked, type, edns: 1232, dnssecOk: true }));
  if (received.kind !== 'query') throw new Error('no query');
  return received.query;
}

test('whatever records an answer holds, each step makes a message of it or leaves it', () => {
  let seen = 0;
  fc.assert(
    fc.property(section, section, section, fc.nat(), (answer, authority, additional, turn) => {
      for (const [asked, type] of [
        ['a.b', 'AAAA'],
        ['a.b', 'UNKNOWN_65'],
        [STF, 'PTR'],
        [IN_PREFIX, 'PTR'],
      ] as const) {
        const query = queryOf(asked, type);
        const head = Buffer.alloc(12);
        head.writeUInt16BE(0x8180, 2);
        for (const [i, count] of [1, answer.length, authority.length, additional.length].entries())
          head.writeUInt16BE(count, 4 + 2 * i);
        const message = parseMessage(
          Buffer.concat([head, query.question, ...answer, ...authority, ...additional]),
        );
        if (message === null) return;
        seen++;
        const match = matchReverse(query, policy) ?? match6to4(query, policy);
        const unscoped = unscopedQuery(query, SCOPED);
        const made = [
          judgeAaaa(query, message, policy) === 'filter' ? filterAaaa(query, message, policy) : null,
          synthesize(query, null, message, turn, policy),
          withTargetAddresses(query, message, turn, policy),
          match?.kind === 'ipv4' ? reverseReply(query, match, message, policy) : null,
          match?.kind === 'ipv4'
            ? reverseReply(query, match, message, { ...policy, reverse: 'rewrite' })
            : null,
        ].flatMap((reply) => (reply === null ? [] : [reply]));
        for (const reply of made) {
          made.push(...(made.length < 10 ? [withScoped(query, reply, SCOPED)] : []));
          if (unscoped !== null && made.length < 10) made.push(rescopedReply(query, unscoped, reply));
        }
        for (const { body } of made) {
          const parsed = parseMessage(body);
          assert.ok(parsed !== null, body.toString('hex'));
          assert.equal(parsed.end, body.length);
          assert.deepEqual(body.subarray(12, parsed.questionEnd), query.question);
        }
      }
    }),
    { numRuns: 3000 },
  );
  assert.ok(seen > 1000, `only ${seen} messages were well-formed`);
});

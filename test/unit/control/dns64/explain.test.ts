import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { explainName } from '#nat64d/control/dns64/explain.js';
import { CacheOperations } from '#nat64d/control/dns64/operate.js';
import { nameText, parseName, parseType, typeText } from '#nat64d/control/dns64/text.js';
import { parsePrefix4 } from '#nat64d/wire/address.js';
import { encodeQuery, NXDOMAIN } from '../../../conformance/rfc6147/harness.js';
import { type Rig, rig, type Said } from '../../../helpers/dns-upstream.js';

const NODATA: Said = { authority: ['example 900 SOA 120'] };
const A: Said = { answer: ['www.example 300 A 192.0.2.1'] };
const explain = (one: Rig, name = 'www.example', type = 'AAAA', options = {}) =>
  explainName(one.answerer, one.policy, name, type, options);
const textOf = async (one: Rig, name?: string, type?: string, options = {}) =>
  (await explain(one, name, type, options)).steps.map(({ text, rfc }) => `${text} [${rfc ?? ''}]`).join('\n');

describe('explain', () => {
  it('tells every step to a synthesized answer, and then what the cache had', async () => {
    const one = rig({ 'www.example AAAA': NODATA, 'www.example A': A });
    const { question, steps, rcode, records } = await explain(one);
    assert.equal(question, 'www.example AAAA');
    assert.equal(rcode, 'NOERROR');
    assert.deepEqual(records, ['www.example 120 AAAA 2001:db8:64::c000:201']);
    assert.deepEqual(
      steps.map((step) => step.text),
      [
        'www.example AAAA: not in the cache',
        'www.example AAAA: forwarders are asked',
        'www.example AAAA: NOERROR, 0 records in the answer section, after 0 ms',
        'no AAAA record to use: A is asked',
        'www.example A: not in the cache',
        'www.example A: forwarders are asked',
        'www.example A: NOERROR, 1 record in the answer section, after 0 ms',
        'AAAA records made of 192.0.2.1 under 2001:db8:64::/96, the prefix',
        "TTL 120: the least of the A's 300, the SOA's 900 and its minimum 120",
      ],
    );
    one.clock.nowSec += 20;
    const again = await textOf(one);
    assert.match(again, /www.example AAAA: in the cache, for 100 s more/);
    assert.match(again, /TTL 100: the least of the A's 280, the SOA's 100/);
    assert.ok(!again.includes('asked beside'));
  });

  const WHY: [string, Record<string, Said>, RegExp][] = [
    [
      'an AAAA',
      { 'www.example AAAA': { answer: ['www.example 9 AAAA 2001:db8::1'] } },
      /has AAAA records.*5\.1\.1/,
    ],
    ['NXDOMAIN', { 'www.example AAAA': { rcode: NXDOMAIN } }, /does not exist.*5\.1\.2/],
    [
      'a failed validation',
      { 'www.example AAAA': { rcode: 2, extendedError: 6 } },
      /failed validation.*5\.5/,
    ],
    ['no A either', { 'www.example AAAA': NODATA, 'www.example A': NODATA }, /no A record either.*5\.1\.6/],
    ['A fails', { 'www.example AAAA': NODATA, 'www.example A': { rcode: 2 } }, /A failed with SERVFAIL/],
    [
      'A is silent',
      { 'www.example AAAA': NODATA, 'www.example A': { failure: 'timeout' } },
      /no answer to A \(timeout\)/,
    ],
    [
      'an excluded address',
      { 'www.example AAAA': { answer: ['www.example 9 AAAA ::ffff:192.0.2.1'] }, 'www.example A': A },
      /::ffff:192\.0\.2\.1 lies in ::ffff:0\.0\.0\.0\/96|::ffff:c000:201 lies in ::ffff:0:0\/96/,
    ],
    ['no SOA', { 'www.example AAAA': {}, 'www.example A': A }, /TTL 300: the least of the A's 300 and 600/],
  ];
  for (const [what, script, expected] of WHY) {
    it(`says what came of it: ${what}`, async () => assert.match(await textOf(rig(script)), expected));
  }

  it('says why nothing is synthesized whatever the forwarders say', async () => {
    const one = rig({ 'www.example AAAA': NODATA, 'www.example MX': NODATA });
    assert.match(await textOf(one, 'www.example', 'AAAA', { checkingDisabled: true }), /CD=1.*5\.5/);
    assert.match(await textOf(one, 'www.example', 'mx'), /neither an AAAA query nor/);
    assert.match(await textOf(one, 'ipv4only.arpa', 'AAAA'), /nobody asked.*8880/);
    const wellKnown = rig(
      { 'www.example AAAA': NODATA, 'www.example A': { answer: ['www.example 9 A 10.0.0.1'] } },
      { pref64s: ['64:ff9b::/96'] },
    );
    assert.match(await textOf(wellKnown), /10\.0\.0\.1 must not be represented.*6052/);
    const excluded = rig(
      { 'www.example AAAA': NODATA, 'www.example A': A },
      { names: { excludeIpv4: [parsePrefix4('192.0.2.0/24')!] } },
    );
    assert.match(await textOf(excluded), /192\.0\.2\.1 must not be represented \(exclude-ipv4\) \[\]/);
  });

  const prefixed = (digits: string) =>
    `${(digits + '20010db8'.split('').reverse().join('')).split('').join('.')}.ip6.arpa`;
  for (const [name, type, rfc] of [
    ['ipv4only.arpa', 'AAAA', 'RFC 8880 section 7'],
    ['www.localhost', 'AAAA', 'RFC 6761 section 6.3'],
    ['1.0.0.127.in-addr.arpa', 'PTR', 'RFC 6761 section 6.3'],
    ['www.invalid', 'A', 'RFC 6761 section 6.4'],
    ['www.onion', 'A', 'RFC 7686 section 2'],
    ['_dns.resolver.arpa', 'SVCB', 'RFC 9462 section 6.4'],
    ['1.0.0.10.in-addr.arpa', 'PTR', 'RFC 6303 section 4'],
    ['printer.local', 'AAAA', 'private-zones'],
    [prefixed('1'.padEnd(24, '0')), 'PTR', 'RFC 6052 section 2.2'],
  ] as const) {
    it(`names the reason why nobody was asked: ${name}`, async () => {
      const one = rig({}, { pref64s: ['2001:db8::/32'], names: { privateZones: 'local' } });
      const text = await textOf(one, name, type);
      assert.match(text, /nobody asked/);
      assert.ok(text.includes(rfc), text);
      assert.equal(one.upstream.asked.length, 0);
    });
  }

  it('tells of a reverse name, of failures that are remembered and of answers that are stale', async () => {
    const reversed = rig({
      '1.2.0.192.in-addr.arpa PTR': { answer: ['1.2.0.192.in-addr.arpa 9 PTR www.example'] },
    });
    const name = `${'1.0.2.0.0.0.0.c'.padEnd(39, '.0')}.4.6.0.0.8.b.d.0.1.0.0.2.ip6.arpa`;
    assert.match(await textOf(reversed, name, 'PTR'), /embeds 192\.0\.2\.1/);
    const failing = rig({ 'www.example TXT': { failure: 'timeout' } });
    await explain(failing, 'www.example', 'TXT');
    assert.match(await textOf(failing, 'www.example', 'TXT'), /failed lately; not asked again for 5 s/);
    const stale = rig({ 'www.example TXT': { answer: ['www.example 9 TXT x'] } }, { serveStaleSec: 100 });
    await explain(stale, 'www.example', 'TXT');
    stale.clock.nowSec += 9;
    stale.upstream.script['www.example TXT'] = { failure: 'timeout' };
    assert.match(await textOf(stale, 'www.example', 'TXT'), /its time is over/);
  });

  it('says what is no name and what is no type', async () => {
    await assert.rejects(explain(rig({}), 'a..b'), /'a\.\.b' is not a domain name/);
    await assert.rejects(explain(rig({}), 'a', 'AAAAA'), /'AAAAA' is not a record type/);
  });
});

describe('the cache, for an administrator', () => {
  async function filled() {
    const one = rig({
      'www.example AAAA': NODATA,
      'www.example A': A,
      'a.test TXT': { answer: ['a.test 60 TXT x'] },
      'broken.test TXT': { rcode: 2 },
    });
    for (let i = 0; i < 2; i++) await one.ask({ name: 'www.example', type: 'AAAA' });
    await one.ask({ name: 'A.test', type: 'TXT' });
    await one.ask({ name: 'broken.test', type: 'TXT' });
    return { one, operations: new CacheOperations(2 ** 21, one.resolver, one.fastPath) };
  }

  it('lists what it has, bounded, of a name and below', async () => {
    const { one, operations } = await filled();
    one.clock.nowSec += 3;
    const shown = operations
      .entries()
      .map(({ name, type, kind, ttlSec, hits }) => [name, type, kind, ttlSec, hits]);
    assert.deepEqual(shown, [
      ['www.example', 'AAAA', 'negative', 117, 1],
      ['www.example', 'A', 'positive', 297, 1],
      ['a.test', 'TXT', 'positive', 57, 0],
      ['broken.test', 'TXT', 'failure', 2, 0],
    ]);
    assert.equal(operations.entries(2).length, 2);
    for (let i = 0; i < 5; i++) await one.ask({ name: 'a.test', type: 'TXT' });
    assert.deepEqual(
      operations.entries(1).map(({ name, hits }) => [name, hits]),
      [['a.test', 5]],
    );
    assert.deepEqual(
      operations.entries(9, 'TEST.').map(({ name }) => name),
      ['a.test', 'broken.test'],
    );
    assert.throws(() => operations.entries(9, 'a..b'), /not a domain name/);
  });

  it('counts entries and bytes', async () => {
    const { operations } = await filled();
    const { answers, finished, pending, sizeBytes } = operations.stats();
    assert.deepEqual([answers.entries, finished.entries, pending, sizeBytes], [4, 1, 0, 2 ** 21]);
    assert.ok(answers.usedBytes > 4 * 60 && finished.usedBytes > 60);
    const sizes = operations.entries().map(({ sizeBytes }) => sizeBytes - 4);
    assert.equal(
      sizes.reduce((a, b) => a + b),
      answers.usedBytes,
    );
  });

  it('forgets a name and all below it, finished answers too; or everything', async () => {
    const { one, operations } = await filled();
    const query = encodeQuery({ name: 'www.example', type: 'AAAA' });
    assert.ok(one.fast(query) !== null);
    assert.equal(operations.flush('test'), 2);
    assert.ok(one.fast(query) !== null);
    assert.equal(operations.flush('Example'), 2);
    assert.equal(one.fast(query), null);
    const asked = one.upstream.asked.length;
    await one.ask({ name: 'www.example', type: 'AAAA' });
    assert.equal(one.upstream.asked.length, asked + 2);
    assert.equal(operations.flush(), 2);
    assert.equal(operations.stats().answers.entries, 0);
  });
});

describe('names as text', () => {
  it('are read as they were written, whatever the octets', () => {
    const label = fc.uint8Array({ minLength: 1, maxLength: 63 }).map((bytes) => Buffer.from(bytes));
    const wire = fc
      .array(label, { maxLength: 3 })
      .map(
        (labels) =>
          `${labels.map((one) => String.fromCharCode(one.length) + one.toString('latin1')).join('')}\0`,
      );
    fc.assert(fc.property(wire, (name) => assert.equal(parseName(nameText(name)), name)));
  });

  it('and what is no name is none', () => {
    assert.equal(nameText(parseName('a\\.b.\\000c.')!), 'a\\.b.\\000c');
    for (const bad of [
      '',
      '..',
      'a..b',
      '.a',
      'a'.repeat(64),
      'ä\u0100',
      '\\999',
      Array(130).fill('a').join('.'),
    ])
      assert.equal(parseName(bad), null, bad);
    assert.equal(parseName(Array(127).fill('a').join('.'))?.length, 255);
  });

  it('types have names or numbers', () => {
    assert.deepEqual(
      [parseType('https'), parseType('type65'), parseType('TYPE0'), parseType('x')],
      [65, 65, null, null],
    );
    assert.deepEqual([typeText(65), typeText(9999)], ['HTTPS', 'TYPE9999']);
  });
});

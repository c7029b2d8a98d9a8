/** RFC 2308 and RFC 1035 section 7.4: what is cached, for how long, and what is given again. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { queryOf, rig, type Said } from '../../helpers/dns-upstream.js';
import { AA, AD, type Ask, CD, encodeQuery, NXDOMAIN, RA, RD } from '../rfc6147/harness.js';

const WWW: Ask = { name: 'www.example', type: 'TXT' };
const POSITIVE: Said = {
  answer: ['www.example 300 TXT x'],
  authority: ['example 900 NS ns.example'],
  additional: ['ns.example 500 A 192.0.2.53'],
  flags: AA,
};

/** Asks again after so many seconds: what came, and how often the forwarder was asked. */
async function again(said: Said, afterSec: number, ask: Ask = WWW, second: Ask = ask) {
  const one = rig({ 'www.example TXT': said, 'www.example AAAA': said, 'www.example A': said });
  const first = await one.ask(ask);
  one.clock.nowSec += afterSec;
  const reply = await one.ask(second);
  return { first, reply, asked: one.upstream.asked.length, one };
}

test('RFC 1035 7.4 an answer is given again, each TTL counted down, AA clear', async () => {
  const { first, reply, asked } = await again(POSITIVE, 100);
  assert.equal(asked, 1);
  assert.equal(first.flags, AA | RD | RA);
  assert.equal(reply.flags, RD | RA);
  assert.deepEqual(reply.answer, ['www.example 200 TXT x']);
  assert.deepEqual(reply.authority, ['example 800 NS ns.example']);
  assert.deepEqual(reply.additional, ['ns.example 400 A 192.0.2.53']);
});

for (const { after, asked } of [
  { after: 299, asked: 1 },
  { after: 300, asked: 2 },
]) {
  test(`RFC 1035 7.4 after ${after} s of 300 it was asked for ${asked === 1 ? 'once' : 'again'}`, async () => {
    assert.equal((await again(POSITIVE, after)).asked, asked);
  });
}

test('RFC 2181 5.2 the record that ends first ends the answer', async () => {
  const said = { answer: ['www.example 300 CNAME a.example', 'a.example 30 TXT x'] };
  assert.equal((await again(said, 29)).asked, 1);
  assert.equal((await again(said, 30)).asked, 2);
});

test('RFC 1035 3.2.1 an answer with TTL 0 is not cached', async () => {
  assert.equal((await again({ answer: ['www.example 0 TXT x'] }, 0)).asked, 2);
});

test('RFC 2181 8 a TTL with the highest bit set is 0', async () => {
  assert.equal((await again({ answer: ['www.example 4294967295 TXT x'] }, 0)).asked, 2);
});

for (const { what, said } of [
  { what: 'NXDOMAIN', said: { rcode: NXDOMAIN, authority: ['example 900 SOA 60'] } },
  { what: 'NODATA', said: { authority: ['example 900 SOA 60'] } },
  {
    what: 'a chain that ends without data',
    said: { answer: ['www.example 800 CNAME a.example'], authority: ['example 900 SOA 60'] },
  },
]) {
  test(`RFC 2308 5 ${what} is cached for the least of the SOA's TTL and its minimum`, async () => {
    const { reply, asked } = await again(said, 20);
    assert.equal(asked, 1);
    assert.equal(reply.rcode, said.rcode ?? 0);
    assert.deepEqual(reply.authority, ['example 40 SOA 60']);
    assert.equal((await again(said, 60)).asked, 2);
    const short = { ...said, authority: ['example 30 SOA 60'] };
    assert.deepEqual((await again(short, 20)).reply.authority, ['example 10 SOA 60']);
    assert.equal((await again(short, 30)).asked, 2);
  });

  test(`RFC 2308 5 ${what} without a SOA is not cached`, async () => {
    assert.equal((await again({ ...said, authority: [] }, 0)).asked, 2);
  });

  test(`RFC 2308 5 ${what} is cached for three hours at most`, async () => {
    const long = { ...said, authority: ['example 99999 SOA 99999'], answer: [] };
    assert.equal((await again(long, 10_799)).asked, 1);
    assert.equal((await again(long, 10_800)).asked, 2);
  });
}

test('RFC 2308 7 a negative answer is for its type alone, a referral for none', async () => {
  const one = rig({ 'www.example TXT': { authority: ['example 900 SOA 60'] }, 'www.example MX': POSITIVE });
  await one.ask(WWW);
  await one.ask({ name: 'www.example', type: 'MX' });
  assert.deepEqual(one.upstream.asked, ['www.example TXT', 'www.example MX']);
  assert.equal((await again({ authority: ['example 900 NS ns.example'] }, 0)).asked, 2);
});

test('RFC 4343 4.1 the name is found whatever its letters, and given back as it was asked', async () => {
  const one = rig({ 'www.example TXT': POSITIVE });
  await one.ask(WWW);
  const reply = await one.ask({ name: 'wWw.eXAMPLE', type: 'TXT' });
  assert.equal(reply.question, 'wWw.eXAMPLE TXT');
  assert.equal(one.upstream.asked.length, 1);
});

for (const { what, second } of [
  { what: 'another class', second: { class: 'CH' } },
  { what: 'DO=1', second: { edns: 1232, dnssecOk: true } },
  { what: 'CD=1', second: { flags: RD | CD } },
  { what: 'RD=0', second: { flags: 0 } },
]) {
  test(`RFC 4035 4.7 what was fetched without ${what} does not answer a query with it, nor the other way`, async () => {
    for (const [a, b] of [
      [WWW, { ...WWW, ...second }],
      [{ ...WWW, ...second }, WWW],
    ] as [Ask, Ask][]) {
      const { asked, one } = await again(POSITIVE, 0, a, b);
      assert.equal(asked, 2);
      await one.ask(a);
      await one.ask(b);
      assert.equal(one.upstream.asked.length, 2);
    }
  });
}

test('RFC 4035 3.2.3 AD comes out of the cache for DO=1', async () => {
  const { reply } = await again({ ...POSITIVE, flags: AD }, 1, { ...WWW, edns: 1232, dnssecOk: true });
  assert.equal(reply.flags, RD | RA | AD);
});

test('RFC 6147 5.1.7 the TTL of a synthesized answer counts down, and ends with the negative answer', async () => {
  const one = rig({
    'www.example AAAA': { authority: ['example 900 SOA 60'] },
    'www.example A': { answer: ['www.example 300 A 192.0.2.1'] },
  });
  const ask = { name: 'www.example', type: 'AAAA' };
  assert.deepEqual((await one.ask(ask)).answer, ['www.example 60 AAAA 2001:db8:64::c000:201']);
  one.clock.nowSec += 25;
  assert.deepEqual((await one.ask(ask)).answer, ['www.example 35 AAAA 2001:db8:64::c000:201']);
  assert.deepEqual(one.upstream.asked, ['www.example AAAA', 'www.example A']);
  one.clock.nowSec += 35;
  assert.deepEqual((await one.ask(ask)).answer, ['www.example 60 AAAA 2001:db8:64::c000:201']);
  assert.deepEqual(one.upstream.asked.slice(2), ['www.example AAAA']);
});

test('a question that is being asked is not asked twice, and everybody gets the answer', async () => {
  const one = rig({ 'www.example TXT': { ...POSITIVE, later: true } });
  const asks = ['www.example', 'WWW.example', 'www.EXAMPLE'].map((name) => one.ask({ name, type: 'TXT' }));
  assert.equal(one.upstream.asked.length, 1);
  assert.equal(one.resolver.pending, 1);
  assert.equal(one.stats.shared, 2);
  one.upstream.waiting[0]!();
  assert.deepEqual(
    (await Promise.all(asks)).map((reply) => reply.question),
    ['www.example TXT', 'WWW.example TXT', 'www.EXAMPLE TXT'],
  );
  assert.equal(one.resolver.pending, 0);
});

test('who has less time gives up alone, and the late answer is cached', async () => {
  const one = rig({ 'www.example TXT': { ...POSITIVE, later: true } });
  const patient = one.resolve(WWW);
  const hasty = await one.resolve(WWW, 20);
  assert.deepEqual([hasty.answer, hasty.failure], [null, 'timeout']);
  assert.equal(one.resolver.pending, 1);
  one.upstream.waiting[0]!();
  assert.ok((await patient).answer !== null);
  assert.ok(!(one.resolve(WWW) instanceof Promise));
});

test('without a cache everything is asked, once at a time', async () => {
  const one = rig({ 'www.example TXT': POSITIVE }, { sizeBytes: 0 });
  await one.ask(WWW);
  await one.ask(WWW);
  assert.equal(one.upstream.asked.length, 2);
  assert.equal(one.fastPath.count, 0);
});

test('a popular answer is asked for again in the last tenth of its time, an unpopular or short one is not', async () => {
  for (const { ttl, uses, at, expected } of [
    { ttl: 300, uses: 2, at: 270, expected: 2 },
    { ttl: 300, uses: 2, at: 269, expected: 1 },
    { ttl: 300, uses: 0, at: 270, expected: 1 },
    { ttl: 9, uses: 5, at: 8, expected: 1 },
  ]) {
    const one = rig({ 'www.example TXT': { answer: [`www.example ${ttl} TXT x`] } }, { prefetch: true });
    for (let i = 0; i <= uses; i++) await one.ask(WWW);
    one.clock.nowSec += at;
    const reply = await one.ask(WWW);
    assert.deepEqual(reply.answer, [`www.example ${ttl - at} TXT x`], 'the old answer is given meanwhile');
    assert.equal(one.upstream.asked.length, expected, JSON.stringify({ ttl, uses, at }));
    if (expected === 2) assert.deepEqual((await one.ask(WWW)).answer, [`www.example ${ttl} TXT x`]);
  }
});

test('a forwarded answer is the octets that came, but for question, TTLs and OPT', async () => {
  // Compression that no writer of ours makes, an unknown type, RDATA that is no text, a label with a zero octet.
  const raw = (query: Buffer) => {
    const head = Buffer.from([0, 0, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0]);
    const records = Buffer.from(
      '03002e61c00c0010000100000064000401020304c00cfffa00010000006400020a0b',
      'hex',
    );
    return Buffer.concat([head, query.subarray(12), records]);
  };
  const one = rig({ 'www.example TXT': { raw } });
  const query = encodeQuery({ name: 'WWW.example', type: 'TXT' });
  const first = await one.slow(query);
  one.clock.nowSec += 10;
  const second = await one.slow(query);
  const expected = Buffer.from(raw(query));
  expected.writeUInt16BE(0x1234, 0);
  assert.deepEqual(first, expected);
  const counted = Buffer.from(expected.toString('hex').replaceAll('00000064', '0000005a'), 'hex');
  assert.deepEqual(second, counted);
  assert.equal(queryOf(query).question.length, 17);
});

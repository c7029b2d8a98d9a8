/** The fast path against the ordinary way: what it gives is what that would give, octet for octet, or it gives nothing. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import dnsPacket from 'dns-packet';
import fc from 'fast-check';
import { receiveQuery, udpLimit } from '#nat64d/control/dns64/query.js';
import { AD, CD, decodeReply, encodeQuery, NXDOMAIN, RD } from '../conformance/rfc6147/harness.js';
import { queryOf, type Rig, rig, type Said } from '../helpers/dns-upstream.js';

const NODATA: Said = { authority: ['example 90 SOA 50'] };
const SCRIPT: Record<string, Said> = {
  'six.example AAAA': { answer: ['six.example 40 AAAA 2001:db8:1::1'], flags: AD },
  'www.example AAAA': NODATA,
  'www.example A': {
    answer: ['www.example 70 CNAME a.example', 'a.example 30 A 192.0.2.1'],
    authority: ['example 300 NS ns.example'],
  },
  'many.example AAAA': NODATA,
  'many.example A': { answer: [...Array(30).keys()].map((i) => `many.example 60 A 192.0.2.${i}`) },
  'none.example AAAA': NODATA,
  'none.example A': NODATA,
  'mixed.example AAAA': {
    answer: ['mixed.example 20 AAAA 64:ff9b::1', 'mixed.example 20 AAAA 2001:db8:1::2'],
  },
  'text.example TXT': { answer: ['text.example 25 TXT x'], additional: ['x.example 80 A 192.0.2.9'] },
  'odd.example TXT': { answer: ['odd.example 25 TXT x'], extendedError: 4 },
  'gone.example TXT': { rcode: NXDOMAIN, authority: ['example 90 SOA 35'] },
  'broken.example TXT': { rcode: 2 },
  'zero.example TXT': { answer: ['zero.example 0 TXT x'] },
  '1.2.0.192.in-addr.arpa PTR': { answer: ['1.2.0.192.in-addr.arpa 45 PTR www.example'] },
};
const REVERSE = `1.0.2.0.0.0.0.c.${'0.'.repeat(12)}4.6.0.0.8.b.d.0.1.0.0.2.ip6.arpa`;
const QUESTIONS = [...Object.keys(SCRIPT), `${REVERSE} PTR`, 'nothing.example A'].map((text) =>
  text.split(' '),
);

/** Random letter case, of names that arrive so. */
const spelled = (name: string, bits: number) =>
  [...name].map((letter, i) => ((bits >> (i % 31)) & 1 ? letter.toUpperCase() : letter)).join('');

const client = fc.record({
  which: fc.nat(),
  letters: fc.nat(),
  id: fc.nat(65535),
  flags: fc.constantFrom(RD, RD, RD, RD, RD | CD, 0, RD | AD),
  edns: fc.constantFrom(undefined, 100, 512, 600, 1232, 4096),
  dnssecOk: fc.constantFrom(false, false, false, true),
  waitSec: fc.constantFrom(0, 0, 0, 0, 0, 0, 0, 1, 3, 10, 26),
});

/**
 * A name written as the client's question is a pointer to it; in another spelling it stands there. So where clients spell
 * differently the answers say the same in other octets, letter case aside.
 */
function assertSame(fast: Buffer, slow: Buffer, isSpelled: boolean): void {
  if (!isSpelled) {
    assert.deepEqual(fast, slow);
    return;
  }
  assert.deepEqual(fast.subarray(0, 12), slow.subarray(0, 12));
  const said = (bytes: Buffer) => JSON.stringify(dnsPacket.decode(bytes)).toLowerCase();
  assert.equal(said(fast), said(slow));
  assert.equal(decodeReply(fast).question, decodeReply(slow).question);
}

async function compare(one: Rig, query: Buffer, limit: number, isSpelled = false): Promise<boolean> {
  const { passed, synthesized, reversed, truncated } = one.stats;
  const fast = one.fast(query);
  if (fast === null) return false;
  const counted = [
    one.stats.passed - passed,
    one.stats.synthesized - synthesized,
    one.stats.reversed - reversed,
  ];
  assert.equal(one.stats.truncated - truncated, (fast[2]! & 2) >> 1);
  const before = [one.stats.passed, one.stats.synthesized, one.stats.reversed];
  const asked = one.upstream.asked.length;
  const slow = await one.slow(query, limit);
  assertSame(fast, slow, isSpelled);
  assert.equal(one.upstream.asked.length, asked, 'what the fast path has, the cache has');
  const after = [one.stats.passed, one.stats.synthesized, one.stats.reversed];
  assert.deepEqual(
    counted,
    after.map((value, i) => value - before[i]!),
    'counted as the same',
  );
  return true;
}

describe('the fast path', () => {
  it('gives what the ordinary way gives, for any clients in any order at any time', async () => {
    let hits = 0;
    const run = fc.record({
      isSpelled: fc.boolean(),
      questions: fc.shuffledSubarray(QUESTIONS, { minLength: 1, maxLength: 3 }),
      clients: fc.array(client, { minLength: 20, maxLength: 80 }),
    });
    await fc.assert(
      fc.asyncProperty(run, async ({ isSpelled, questions, clients }) => {
        const one = rig(SCRIPT);
        for (const { which, letters, id, flags, edns, dnssecOk, waitSec } of clients) {
          one.clock.nowSec += waitSec;
          const [name, type] = questions[which % questions.length] as [string, string];
          const asked = spelled(name, isSpelled ? letters : 0);
          const query = encodeQuery({ name: asked, type, flags, dnssecOk, ...(edns ? { edns } : {}) }, id);
          const limit = udpLimit(queryOf(query));
          if (await compare(one, query, limit, isSpelled)) hits++;
          else await one.slow(query, limit);
        }
        assert.equal(one.resolver.pending, 0);
      }),
      { numRuns: 60 },
    );
    assert.ok(hits > 500, `only ${hits} were answered there`);
  });

  it('answers from the third time on, in another spelling, with and without EDNS', async () => {
    for (const [name, type] of QUESTIONS as [string, string][]) {
      const one = rig(SCRIPT);
      const query = encodeQuery({ name, type });
      for (let i = 0; i < 2; i++) {
        assert.equal(one.fast(query), null);
        await one.slow(query, 512);
      }
      const isKept = !/^(broken|zero|nothing)/.test(name);
      assert.equal(
        await compare(one, encodeQuery({ name: spelled(name, -1), type }, 7), 512, true),
        isKept,
        name,
      );
      assert.equal(await compare(one, encodeQuery({ name, type, edns: 1232 }), 1232), isKept, name);
      assert.equal(one.fast(encodeQuery({ name, type, edns: 1232, dnssecOk: true })), null);
      assert.equal(one.fast(encodeQuery({ name, type, flags: RD | CD })), null);
    }
  });

  it('ends with what the answer was made of, to the second', async () => {
    // The negative AAAA answer lives 50 s, the A 30.
    for (const [name, type, life] of [
      ['www.example', 'AAAA', 30],
      ['many.example', 'AAAA', 50],
      ['six.example', 'AAAA', 40],
      ['gone.example', 'TXT', 35],
      [REVERSE, 'PTR', 45],
    ] as [string, string, number][]) {
      for (const made of [0, 7]) {
        const one = rig(SCRIPT);
        const query = encodeQuery({ name, type });
        await one.slow(query);
        one.clock.nowSec += made;
        await one.slow(query);
        one.clock.nowSec += life - made - 1;
        assert.ok(one.fast(query) !== null, `${name} at ${life - 1} s`);
        one.clock.nowSec += 1;
        assert.equal(one.fast(query), null, `${name} at ${life} s`);
      }
    }
  });

  it('tells policies apart', async () => {
    const one = rig(SCRIPT);
    const query = encodeQuery({ name: 'www.example', type: 'AAAA' });
    for (let i = 0; i < 2; i++) await one.slow(query);
    const out = Buffer.alloc(2000);
    assert.ok(one.fastPath.respond(query, query.length, 0, 512, out, 0) > 0);
    for (const id of [1, 2, 8, 2 ** 28 - 1])
      assert.equal(one.fastPath.respond(query, query.length, id, 512, out, 0), 0);
  });

  it('keeps nothing where prefixes take turns', async () => {
    const one = rig(SCRIPT, { pref64s: ['2001:db8:64::/96', '2001:db8:65::/96'] });
    const ask = { name: 'www.example', type: 'AAAA' };
    const answers = [];
    for (let i = 0; i < 4; i++) {
      assert.equal(one.fast(encodeQuery(ask)), null);
      answers.push((await one.ask(ask)).answer.at(-1));
    }
    const [first, second] = ['2001:db8:64::c000:201', '2001:db8:65::c000:201'].map(
      (a) => `a.example 30 AAAA ${a}`,
    );
    assert.deepEqual(answers, [first, second, first, second]);
  });

  it('lets a popular answer go to the ordinary way once near its end, which asks for it again', async () => {
    const one = rig(SCRIPT, { prefetch: true });
    const query = encodeQuery({ name: 'six.example', type: 'AAAA' });
    for (let i = 0; i < 2; i++) await one.slow(query);
    for (let i = 0; i < 3; i++) assert.ok(one.fast(query) !== null);
    one.clock.nowSec += 37;
    assert.equal(one.fast(query), null);
    await one.slow(query);
    assert.equal(one.stats.prefetches, 1);
    // The old one still answers until its end.
    assert.ok(one.fast(query) !== null);
  });

  it('takes no notice of options: a cookie is the affair of who has reserved room for one', async () => {
    const one = rig(SCRIPT);
    const query = encodeQuery({ name: 'six.example', type: 'AAAA', edns: 1232 });
    for (let i = 0; i < 2; i++) await one.slow(query);
    const withOption = (code: number, size: number, data = size) => {
      const bytes = Buffer.concat([query, Buffer.from([0, code, 0, size]), Buffer.alloc(data)]);
      bytes.writeUInt16BE(4 + data, query.length - 2);
      return bytes;
    };
    assert.ok(await compare(one, withOption(10, 8), 1232));
    assert.ok(await compare(one, withOption(3, 0), 1232));
    assert.ok(await compare(one, withOption(12, 20), 1232));
    assert.equal(one.fast(withOption(12, 21, 20)), null);
  });

  it('leaves alone whatever is no plain query: any octet changed, any length', async () => {
    const one = rig(SCRIPT);
    const queries = [undefined, 1232].map((edns) =>
      encodeQuery({ name: 'www.example', type: 'AAAA', ...(edns ? { edns } : {}) }),
    );
    for (const query of queries) for (let i = 0; i < 2; i++) await one.slow(query);
    let answered = 0;
    for (const query of queries) {
      for (let length = 0; length < query.length; length++)
        assert.equal(one.fast(query.subarray(0, length)), null);
      assert.equal(one.fast(Buffer.concat([query, Buffer.alloc(1)])), null);
      for (let at = 0; at < query.length; at++) {
        for (let value = 0; value < 256; value++) {
          const bytes = Buffer.from(query);
          bytes[at] = value;
          const fast = one.fast(bytes);
          if (fast === null) continue;
          answered++;
          const received = receiveQuery(bytes);
          assert.equal(received.kind, 'query', bytes.toString('hex'));
          if (value % 8 === 0) assert.ok(await compare(one, bytes, udpLimit(queryOf(bytes)), true));
        }
      }
    }
    assert.ok(answered > 1000, String(answered));
  });
});

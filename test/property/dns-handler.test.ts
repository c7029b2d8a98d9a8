/** Any octets, from clients and from forwarders: no exception, an answer to each query, and nothing left behind. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import dnsPacket from 'dns-packet';
import fc from 'fast-check';
import { parseMessage } from '#nat64d/control/dns64/message.js';
import { finishReply, receiveQuery, udpLimit } from '#nat64d/control/dns64/query.js';
import { CD, encodeQuery, RD, record } from '../conformance/rfc6147/harness.js';
import { type Rig, rig } from '../helpers/dns-upstream.js';

const octets = (maxLength: number) => fc.uint8Array({ maxLength }).map((bytes) => Buffer.from(bytes));
/** Octets that mean something in a message, so that the walk goes deep. */
const telling = fc.array(
  fc.oneof(fc.constantFrom(0, 1, 2, 5, 6, 12, 28, 39, 41, 46, 0xc0, 12, 13), fc.nat(255)),
  {
    maxLength: 120,
  },
);
const NAMES = ['www.example', 'a.example', 'b.example', 'example'];
const name = fc.constantFrom(...NAMES);
const ttl = fc.constantFrom(0, 1, 300, 2 ** 31 - 1, 2 ** 32 - 1);
const line = fc.oneof(
  fc.tuple(
    name,
    ttl,
    fc.constantFrom('A 192.0.2.1', 'A 10.0.0.1', 'AAAA 2001:db8::1', 'AAAA 64:ff9b::1', 'TXT x'),
  ),
  fc
    .tuple(name, ttl, fc.constantFrom('CNAME', 'DNAME', 'NS', 'PTR'), name)
    .map(([a, b, c, d]) => [a, b, `${c} ${d}`]),
  fc.tuple(
    name,
    ttl,
    fc.constantFrom('SOA 60', 'SOA 4294967295', 'RRSIG AAAA', 'RRSIG A', 'MX 10 a.example'),
  ),
);
const section = fc.array(
  line.map((parts) => record(parts.join(' '))),
  { maxLength: 4 },
);

/** A whole answer; some of its octets changed; its end cut off; or what only looks like one. */
const forwarderSays = fc
  .record({
    rcode: fc.constantFrom(0, 0, 0, 2, 3, 5, 9),
    sections: fc.tuple(section, section, section),
    opt: fc.boolean(),
    changes: fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 3 }),
    cut: fc.option(fc.nat(), { freq: 4 }),
    tail: fc.option(telling, { freq: 4 }),
  })
  .map(({ rcode, sections, opt, changes, cut, tail }) => (query: Buffer) => {
    const [answers, authorities, additionals] = sections;
    const edns = { type: 'OPT', name: '.', udpPayloadSize: 4096, flags: 0, options: [] } as never;
    const { questions = [] } = dnsPacket.decode(query);
    const whole = dnsPacket.encode({
      type: 'response',
      flags: RD | 0x80 | rcode,
      questions,
      answers,
      authorities,
      additionals: opt ? [...additionals, edns] : additionals,
    });
    for (const [at, value] of changes) {
      // The question is what the upstream checks.
      const from = query.length;
      if (whole.length > from) whole[from + (at % (whole.length - from))] = value;
    }
    const bytes =
      cut === null ? whole : whole.subarray(0, query.length + (cut % (whole.length - query.length + 1)));
    return tail === null ? bytes : Buffer.concat([bytes.subarray(0, query.length), Buffer.from(tail)]);
  });

/** As server.ts does. */
async function handle(one: Rig, bytes: Buffer): Promise<void> {
  const fast = one.fast(bytes);
  const received = receiveQuery(bytes);
  if (received.kind !== 'query') {
    assert.equal(fast, null);
    if (received.kind === 'error') assert.ok(parseMessage(received.bytes) !== null);
    return;
  }
  const { query } = received;
  const limit = udpLimit(query);
  const reply = finishReply(query, await one.answerer.answer(query, one.policy), limit);
  const message = parseMessage(reply);
  assert.ok(message !== null, `unreadable: ${reply.toString('hex')}`);
  assert.ok(reply.length <= limit);
  assert.equal(message.end, reply.length);
  assert.equal(message.id, query.id);
  assert.deepEqual(reply.subarray(12, 12 + query.question.length), query.question);
  assert.equal(message.opt !== null, query.edns !== null);
}

describe('any octets', () => {
  it('of a client, answered or not, leave nothing behind', async () => {
    const one = rig({ 'www.example AAAA': { answer: ['www.example 300 AAAA 2001:db8::1'] } });
    // The script reads names as text; what is asked here is anything.
    one.upstream.ask = () => ({ answer: null, failure: 'timeout' });
    const real = encodeQuery({ name: 'www.example', type: 'AAAA', edns: 1232 });
    const changed = fc
      .array(fc.tuple(fc.nat(real.length - 1), fc.nat(255)), { maxLength: 4 })
      .map((changes) => {
        const bytes = Buffer.from(real);
        for (const [at, value] of changes) bytes[at] = value;
        return bytes;
      });
    const headed = telling.map((rest) => Buffer.from([0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, ...rest]));
    await fc.assert(
      fc.asyncProperty(fc.oneof(octets(80), changed, headed), (bytes) => handle(one, bytes)),
      { numRuns: 5000 },
    );
    assert.deepEqual([one.resolver.pending, one.stats.upstreamPending], [0, 0]);
  });

  it('of forwarders, whatever they say to whom, once and again from the cache', async () => {
    const type = fc.constantFrom('AAAA', 'AAAA', 'A', 'TXT', 'PTR', 'ANY');
    const ask = fc.record({
      name,
      type,
      flags: fc.constantFrom(RD, RD, RD | CD),
      edns: fc.constantFrom(512, 1232),
    });
    await fc.assert(
      fc.asyncProperty(
        forwarderSays,
        forwarderSays,
        fc.array(ask, { minLength: 1, maxLength: 4 }),
        async (a, b, asks) => {
          const one = rig({}, { serveStaleSec: 100, prefetch: true });
          let turn = 0;
          one.upstream.ask = ({ question }) => {
            const query = Buffer.concat([Buffer.from([0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]), question]);
            const answer = parseMessage((turn++ % 2 ? a : b)(query));
            const result =
              answer === null ? { answer, failure: 'garbage' as const } : { answer, failure: null };
            return turn % 3 === 0 ? Promise.resolve(result) : result;
          };
          for (let round = 0; round < 3; round++) {
            for (const each of asks) await handle(one, encodeQuery(each));
            one.clock.nowSec += round * 200;
          }
          await new Promise((resolve) => setImmediate(resolve));
          assert.equal(one.resolver.pending, 0);
        },
      ),
      { numRuns: 1500 },
    );
  });

  it('an answer cut off at every length is no answer, and is remembered as none', async () => {
    const whole = dnsPacket.encode({
      type: 'response',
      flags: RD | 0x80,
      questions: [{ name: 'www.example', type: 'TXT' }],
      answers: [record('www.example 300 CNAME a.example'), record('a.example 300 TXT x')],
      authorities: [record('example 300 SOA 60')],
    });
    for (let length = 0; length <= whole.length; length++) {
      const answer = parseMessage(whole.subarray(0, length));
      assert.equal(answer !== null, length === whole.length);
      const one = rig({});
      one.upstream.ask = () => ({ answer, failure: answer === null ? 'garbage' : null });
      await handle(one, encodeQuery({ name: 'www.example', type: 'TXT' }));
      await handle(one, encodeQuery({ name: 'www.example', type: 'TXT' }));
      assert.equal(one.stats.cacheFailures, answer === null ? 1 : 0);
    }
  });
});

/** A million names that nobody asks for twice: the memory is what was configured. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock } from '#nat64d/control/dns64/clock.js';
import { type DnsMessage, nameOf, parseMessage } from '#nat64d/control/dns64/message.js';
import { type Query, type Reply, receiveQuery } from '#nat64d/control/dns64/query.js';
import { rig } from '../../../helpers/dns-upstream.js';

const NAMES = 1_000_000;
const SIZE_BYTES = 8 * 2 ** 20;
/** The engine's own comings and goings. */
const SLACK_BYTES = 64 * 2 ** 20;

test('1,000,000 unique names take no more memory than the cache may have', () => {
  const one = rig({}, { sizeBytes: SIZE_BYTES });
  const clock: Clock = one.clock;
  const record = Buffer.from([
    0xc0,
    12,
    0,
    28,
    0,
    1,
    0,
    0,
    14,
    16,
    0,
    16,
    0x20,
    1,
    13,
    184,
    ...Array(12).fill(1),
  ]);
  one.upstream.ask = ({ question }) => {
    const head = Buffer.from([0, 0, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    return { answer: parseMessage(Buffer.concat([head, question, record])) as DnsMessage, failure: null };
  };
  const queryOf = (i: number): Query => {
    const question = Buffer.from(`${nameOf(`host-${i}.random.example`)}\0\x1c\0\x01`, 'latin1');
    const received = receiveQuery(
      Buffer.concat([Buffer.from([0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]), question]),
    );
    if (received.kind !== 'query') throw new Error('no query');
    return received.query;
  };
  const ask = (i: number) => one.answerer.answer(queryOf(i), one.policy) as Reply;
  for (let i = 0; i < 20_000; i++) ask(-i);
  const before = process.memoryUsage.rss();
  let peak = 0;
  for (let i = 0; i < NAMES; i++) {
    // One name is popular among them all.
    if (i % 1000 === 0) ask(1);
    ask(i + 2);
    if (i % 50_000 === 0) {
      one.clock.nowSec++;
      peak = Math.max(peak, process.memoryUsage.rss());
    }
  }
  assert.ok(clock.sec() > 1000);
  assert.equal(one.stats.cacheMisses, NAMES + 20_000 + 1, 'the popular one was asked for once');
  const { cache } = one.resolver;
  assert.ok(cache !== null && cache.usedBytes <= SIZE_BYTES);
  assert.ok(cache.usedBytes > SIZE_BYTES * 0.8, `${cache.usedBytes} of the memory used`);
  assert.ok(cache.count > SIZE_BYTES / 200 && cache.count < SIZE_BYTES / 100, `${cache.count} names kept`);
  assert.ok(peak - before < 2 * SIZE_BYTES + SLACK_BYTES, `grew by ${(peak - before) >> 20} MiB`);
  assert.equal(one.resolver.pending, 0);
});

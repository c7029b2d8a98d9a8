/** RFC 8767: where nobody answers, what was answered before is better than nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rig, type Said } from '../../helpers/dns-upstream.js';
import { type Ask, NXDOMAIN } from '../rfc6147/harness.js';

const WWW: Ask = { name: 'www.example', type: 'TXT', edns: 1232 };
const GOOD: Said = { answer: ['www.example 300 TXT x'] };

/** An answer whose time was over 10 s ago, and forwarders that say something else since. */
async function stale(now: Said, serveStaleSec = 3600) {
  const one = rig({ 'www.example TXT': GOOD }, { serveStaleSec });
  await one.ask(WWW);
  one.clock.nowSec += 310;
  one.upstream.script['www.example TXT'] = now;
  return one;
}

for (const said of [{ failure: 'timeout' }, { failure: 'network' }, { rcode: 2 }, { rcode: 5 }] as Said[]) {
  test(`RFC 8767 4 after ${JSON.stringify(said)} the old answer is given, TTL 30, extended error 3`, async () => {
    const one = await stale(said);
    const reply = await one.ask(WWW);
    assert.deepEqual(reply.answer, ['www.example 30 TXT x']);
    assert.deepEqual(reply.opt?.errors, [3]);
    assert.equal(one.stats.cacheStale, 1);
    assert.equal(one.upstream.asked.length, 2, 'it was tried');
  });
}

test('RFC 8767 5 after a failed try nobody is asked for 30 s', async () => {
  const one = await stale({ failure: 'timeout' });
  await one.ask(WWW);
  one.clock.nowSec += 29;
  assert.deepEqual((await one.ask(WWW)).answer, ['www.example 30 TXT x']);
  assert.equal(one.upstream.asked.length, 2);
  one.clock.nowSec += 1;
  await one.ask(WWW);
  assert.equal(one.upstream.asked.length, 3);
});

test('RFC 8767 5 a new answer is better, and takes the place of the old one', async () => {
  const one = await stale({ answer: ['www.example 50 TXT y'] });
  for (let i = 0; i < 2; i++) {
    const reply = await one.ask(WWW);
    assert.deepEqual([reply.answer, reply.opt?.errors], [['www.example 50 TXT y'], []]);
  }
});

test('RFC 8767 5 who waits too long gets the old answer, and the new one is kept when it comes', async () => {
  const one = await stale({ answer: ['www.example 50 TXT y'], later: true });
  assert.deepEqual((await one.ask(WWW)).answer, ['www.example 30 TXT x']);
  assert.equal(one.resolver.pending, 1);
  one.upstream.waiting[0]!();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(one.resolver.pending, 0);
  assert.deepEqual((await one.ask(WWW)).answer, ['www.example 50 TXT y']);
});

test('RFC 8767 6 NXDOMAIN is an answer, and ends what was before', async () => {
  const one = await stale({ rcode: NXDOMAIN, authority: ['example 900 SOA 60'] });
  assert.equal((await one.ask(WWW)).rcode, NXDOMAIN);
  assert.equal((await one.ask(WWW)).rcode, NXDOMAIN);
  assert.equal(one.upstream.asked.length, 2);
});

test('RFC 8914 4.20 a stale NXDOMAIN says so: extended error 19', async () => {
  const one = rig({}, { serveStaleSec: 3600 });
  one.upstream.script['www.example TXT'] = { rcode: NXDOMAIN, authority: ['example 900 SOA 60'] };
  await one.ask(WWW);
  one.clock.nowSec += 61;
  one.upstream.script['www.example TXT'] = { failure: 'timeout' };
  const reply = await one.ask(WWW);
  assert.deepEqual([reply.rcode, reply.opt?.errors], [NXDOMAIN, [19]]);
  assert.deepEqual(reply.authority, ['example 30 SOA 60']);
});

test('RFC 8767 5 the oldest that is given is as old as configured; by default nothing stale is', async () => {
  const one = await stale({ failure: 'timeout' }, 20);
  assert.deepEqual((await one.ask(WWW)).answer, ['www.example 30 TXT x']);
  one.clock.nowSec += 10;
  assert.equal((await one.ask(WWW)).rcode, 2);
  assert.equal((await (await stale({ failure: 'timeout' }, 0)).ask(WWW)).rcode, 2);
});

test('a stale answer is never a finished one: the fast path leaves it alone', async () => {
  const one = await stale({ failure: 'timeout' });
  for (let i = 0; i < 3; i++) await one.ask(WWW);
  assert.equal(one.fastPath.count, 0);
});

/** RFC 9520: failures to resolve are remembered, so that what is broken is not asked again and again. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rig, type Said } from '../../helpers/dns-upstream.js';
import type { Ask } from '../rfc6147/harness.js';

const WWW: Ask = { name: 'www.example', type: 'TXT', edns: 1232 };
const FAILURES: [string, Said, number[]][] = [
  ['SERVFAIL', { rcode: 2 }, []],
  ['REFUSED', { rcode: 5 }, []],
  ['a failed validation', { rcode: 2, extendedError: 6 }, [6]],
  ['silence', { failure: 'timeout' }, [22]],
  ['a network error', { failure: 'network' }, [23]],
  ['garbage', { failure: 'garbage' }, [22]],
];

for (const [what, said, errors] of FAILURES) {
  test(`RFC 9520 3.2 ${what} is remembered for 5 s, then asked for again`, async () => {
    const one = rig({ 'www.example TXT': said });
    const first = await one.ask(WWW);
    assert.deepEqual(first.opt?.errors, errors);
    one.clock.nowSec += 4;
    const second = await one.ask(WWW);
    assert.equal(one.upstream.asked.length, 1);
    assert.equal(second.rcode, first.rcode);
    // RFC 8914 4.14.
    assert.deepEqual(second.opt?.errors, [...errors, 13]);
    one.clock.nowSec += 1;
    await one.ask(WWW);
    assert.equal(one.upstream.asked.length, 2);
  });
}

test('RFC 9520 3.2 what goes on failing is left alone for twice as long each time, a minute at most', async () => {
  const one = rig({ 'www.example TXT': { failure: 'timeout' } });
  await one.ask(WWW);
  for (const sec of [5, 10, 20, 40, 60, 60]) {
    const asked = one.upstream.asked.length;
    one.clock.nowSec += sec - 1;
    await one.ask(WWW);
    assert.equal(one.upstream.asked.length, asked, `${sec - 1} s`);
    one.clock.nowSec += 1;
    await one.ask(WWW);
    assert.equal(one.upstream.asked.length, asked + 1, `${sec} s`);
  }
});

test('RFC 9520 3.2 an answer ends the row of failures, and so does a long time', async () => {
  for (const said of [{ answer: ['www.example 1 TXT x'] }, null] as (Said | null)[]) {
    const one = rig({ 'www.example TXT': { rcode: 2 } });
    for (let i = 0; i < 3; i++) {
      await one.ask(WWW);
      one.clock.nowSec += 60;
    }
    if (said !== null) {
      one.upstream.script['www.example TXT'] = said;
      await one.ask(WWW);
      one.upstream.script['www.example TXT'] = { rcode: 2 };
    }
    one.clock.nowSec += 400;
    await one.ask(WWW);
    const asked = one.upstream.asked.length;
    one.clock.nowSec += 5;
    await one.ask(WWW);
    assert.equal(one.upstream.asked.length, asked + 1);
  }
});

for (const failure of ['no-forwarder', 'overload', 'closed'] as const) {
  test(`RFC 9520 3.1 ${failure} is no failure of the name and is not remembered`, async () => {
    const one = rig({ 'www.example TXT': { failure } });
    await one.ask(WWW);
    assert.equal((await one.ask(WWW)).rcode, 2);
    assert.equal(one.upstream.asked.length, 2);
  });
}

test('RFC 9520 3.2 a remembered failure of AAAA leads to A as the failure did (RFC 6147 5.1.2)', async () => {
  const one = rig({
    'www.example AAAA': { rcode: 2 },
    'www.example A': { answer: ['www.example 300 A 192.0.2.1'] },
  });
  const ask: Ask = { name: 'www.example', type: 'AAAA' };
  for (let i = 0; i < 3; i++) {
    assert.deepEqual((await one.ask(ask)).answer, ['www.example 300 AAAA 2001:db8:64::c000:201']);
  }
  assert.deepEqual(one.upstream.asked, ['www.example AAAA', 'www.example A']);
  // The finished answer ends with the failure.
  one.clock.nowSec += 5;
  await one.ask(ask);
  assert.deepEqual(one.upstream.asked.slice(2), ['www.example AAAA']);
});

test('RFC 9520 3.4 those who ask meanwhile wait for the one query', async () => {
  const one = rig({ 'www.example TXT': { failure: 'timeout', later: true } });
  const asks = Array.from({ length: 50 }, () => one.ask(WWW));
  assert.equal(one.upstream.asked.length, 1);
  one.upstream.waiting[0]!();
  assert.ok((await Promise.all(asks)).every((reply) => reply.rcode === 2));
  await one.ask(WWW);
  assert.equal(one.upstream.asked.length, 1);
});

test('a failure to renew an answer that is still good does not touch it', async () => {
  const one = rig({ 'www.example TXT': { answer: ['www.example 100 TXT x'] } }, { prefetch: true });
  for (let i = 0; i < 3; i++) await one.ask(WWW);
  one.upstream.script['www.example TXT'] = { rcode: 2 };
  one.clock.nowSec += 95;
  await one.ask(WWW);
  assert.equal(one.upstream.asked.length, 2);
  assert.deepEqual((await one.ask(WWW)).answer, ['www.example 5 TXT x']);
});

/** The cache behind real sockets: what is known is not asked, over UDP and TCP, and can be looked at and forgotten. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '../../helpers/until.js';
import { type Ask, CACHED, encodeQuery, gateway, type Script, sendTcp } from './harness.js';

const SCRIPT: Script = {
  'www.example AAAA': { authority: ['example 900 SOA 120'], delayMs: 20 },
  'www.example A': { answer: ['www.example 300 A 192.0.2.1'] },
};
const WWW: Ask = { name: 'www.example', type: 'AAAA', edns: 1232 };

test('RFC 6147 5.1.7 a synthesized answer is asked for once and given to all, TTLs counted down', async () => {
  const gate = await gateway(SCRIPT, CACHED);
  try {
    const asks = Array.from({ length: 10 }, () => gate.ask(WWW));
    for (const reply of await Promise.all(asks)) {
      assert.deepEqual(reply.answer, ['www.example 120 AAAA 2001:db8:64::c000:201']);
    }
    for (let i = 0; i < 3; i++) {
      for (const reply of [await gate.ask({ ...WWW, name: 'WWW.Example' }), await gate.askTcp(WWW)]) {
        assert.match(reply.answer[0] ?? '', /^www\.example 1(20|1\d) AAAA 2001:db8:64::c000:201$/i);
        assert.deepEqual(reply.opt?.errors, [29]);
      }
    }
    assert.deepEqual(
      gate.server.asked.map((one) => `${one.name} ${one.type}`),
      ['www.example AAAA', 'www.example A'],
    );
    assert.equal(gate.dns64.stats.synthesized, 16);
    assert.equal(gate.dns64.cacheStats().answers.entries, 2);
    assert.equal(gate.dns64.cacheEntries(1)[0]?.name, 'www.example');
    const { steps } = await gate.dns64.explain('www.example', 'AAAA');
    assert.ok(steps.some(({ text }) => text.startsWith('www.example AAAA: in the cache')));
    assert.equal(gate.dns64.flush('example'), 2);
    await gate.ask(WWW);
    assert.equal(gate.server.asked.length, 4);
  } finally {
    await gate.close();
  }
  assert.deepEqual([gate.dns64.stats.pending, gate.dns64.cacheStats().pending], [0, 0]);
});

test('RFC 6147 5.1.7 without a cache every query is asked for', async () => {
  const gate = await gateway(SCRIPT);
  try {
    for (let i = 0; i < 2; i++) await gate.ask(WWW);
    assert.equal(gate.server.asked.length, 4);
    await assert.rejects(gate.dns64.explain('a..b', 'A'), /not a domain name/);
  } finally {
    await gate.close();
  }
});

test('queries on their way when it closes leave nothing behind', async () => {
  const gate = await gateway({ '*': { silent: true } }, CACHED);
  const queries = Array.from({ length: 20 }, (_, i) =>
    encodeQuery({ name: `n${i % 5}.example`, type: 'AAAA' }, i),
  );
  void sendTcp(gate.port, queries, 20).catch(() => []);
  await until(
    () => gate.dns64.cacheStats().pending >= 5,
    () => `five questions, there are ${gate.dns64.cacheStats().pending}`,
  );
  await gate.close();
  const { pending, upstreamPending } = gate.dns64.stats;
  assert.deepEqual([pending, upstreamPending, gate.dns64.cacheStats().pending], [0, 0, 0]);
});

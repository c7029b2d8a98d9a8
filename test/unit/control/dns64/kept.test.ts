/** What finished answers depend on: none is given to whom another is due, and each is counted once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_NAMES } from '#nat64d/control/config/synthesis.js';
import { readAddress } from '#nat64d/control/dns64/access.js';
import { Answerer } from '#nat64d/control/dns64/answer.js';
import { LocalZones } from '#nat64d/control/dns64/local-zones.js';
import { PolicySet } from '#nat64d/control/dns64/policy.js';
import { finishReply } from '#nat64d/control/dns64/query.js';
import { parsePrefix6 } from '#nat64d/wire/address.js';
import {
  at,
  CACHED,
  decodeReply,
  encodeQuery,
  gateway,
  NXDOMAIN,
  type Script,
  TC,
} from '../../../conformance/rfc6147/harness.js';
import { names } from '../../../conformance/rfc6147/names.js';
import { queryOf, rig, type Said } from '../../../helpers/dns-upstream.js';

const reverse6 = (digits: string) => `${digits.split('').reverse().join('.')}.ip6.arpa`;
const STF = reverse6('2002c000020100000000000000000001');
const SOA = 'example 900 SOA 120';
const HTTPS = '0001000000';
const SCRIPT: Record<string, Said> = {
  'www.example AAAA': { authority: [SOA] },
  'www.example A': { answer: ['www.example 300 A 192.0.2.1'] },
  'six.example AAAA': { answer: ['six.example 300 AAAA 2001:db8:1::6'] },
  [`${STF} PTR`]: { rcode: NXDOMAIN, authority: ['ip6.arpa 900 SOA 120'] },
  '1.2.0.192.in-addr.arpa PTR': { rcode: NXDOMAIN, authority: ['in-addr.arpa 900 SOA 120'] },
  'svc.example UNKNOWN_65': {
    answer: [`svc.example 300 UNKNOWN_65 ${HTTPS}`],
    additional: ['svc.example 300 A 192.0.2.1'],
  },
};

test('several prefixes in turn: nothing is kept, and each answer has the next one', async () => {
  const one = rig(SCRIPT, { pref64s: ['2001:db8:a::/96', '2001:db8:b::/96'] });
  const query = encodeQuery({ name: 'www.example', type: 'AAAA' });
  const given: string[] = [];
  for (let i = 0; i < 4; i++) {
    given.push(...decodeReply(one.fast(query) ?? (await one.slow(query))).answer);
  }
  assert.deepEqual(
    given,
    ['a', 'b', 'a', 'b'].map((prefix) => `www.example 120 AAAA 2001:db8:${prefix}::c000:201`),
  );
  assert.equal(one.fastPath.count, 0);
});

for (const choice of ['mapped', 'all'] as const) {
  test(`several prefixes, ${choice}: kept, and the same every time`, async () => {
    const names = { pref64Choice: choice };
    const one = rig(SCRIPT, { pref64s: ['2001:db8:a::/96', '2001:db8:b::/96'], names });
    const query = encodeQuery({ name: 'www.example', type: 'AAAA' });
    const first = decodeReply(await one.slow(query)).answer;
    await one.slow(query);
    assert.equal(first.length, choice === 'all' ? 2 : 1);
    assert.deepEqual(decodeReply(one.fast(query)!).answer, first);
  });
}

test('AAAA beside HTTPS: kept with one prefix, made anew where prefixes take turns', async () => {
  for (const [pref64s, kept] of [
    [['2001:db8:a::/96'], 1],
    [['2001:db8:a::/96', '2001:db8:b::/96'], 0],
  ] as const) {
    const one = rig(SCRIPT, { pref64s: [...pref64s] });
    const query = encodeQuery({ name: 'svc.example', type: 'UNKNOWN_65' });
    for (let i = 0; i < 2; i++) await one.slow(query);
    assert.deepEqual([one.fastPath.count, one.stats.synthesized, one.stats.passed], [kept, 2, 0]);
  }
});

test('a 6to4 name that is under no IPv4 address either: its own answer, counted once, and not kept', async () => {
  const one = rig(SCRIPT, { names: { reverse6to4: true } });
  const query = encodeQuery({ name: STF, type: 'PTR' });
  for (let i = 0; i < 3; i++) {
    const reply = decodeReply(await one.slow(query));
    assert.match(String(reply.authority), /^ip6\.arpa \d+ SOA 120$/);
    assert.equal(reply.rcode, NXDOMAIN);
    assert.equal(one.fast(query), null);
  }
  assert.deepEqual([one.stats.passed, one.stats.reversed], [3, 0]);
});

test('a 6to4 answer ends with the first of the two that it was made from', async () => {
  const script = {
    ...SCRIPT,
    [`${STF} PTR`]: { rcode: NXDOMAIN, authority: ['ip6.arpa 30 SOA 30'] },
    '1.2.0.192.in-addr.arpa PTR': { answer: ['1.2.0.192.in-addr.arpa 300 PTR six.example'] },
  };
  const one = rig(script, { names: { reverse6to4: true } });
  const query = encodeQuery({ name: STF, type: 'PTR' });
  for (let i = 0; i < 2; i++) await one.slow(query);
  assert.equal(decodeReply(one.fast(query)!).answer.length, 2);
  one.clock.nowSec += 31;
  assert.equal(one.fast(query), null);
});

test('scoped clients: what is kept is what the others get', async () => {
  const scoped = [{ from: parsePrefix6('2001:db8:1::/64')!, to: parsePrefix6('fd00:1::/64')! }];
  const one = rig(SCRIPT);
  const policies = new PolicySet({
    names: { ...DEFAULT_NAMES, scoped },
    pref64: parsePrefix6('2001:db8:64::/96')!,
    wkpfStrict: true,
  });
  const answerer = new Answerer(new LocalZones('forward', () => []), one.resolver, one.fastPath, one.stats);
  const words = (text: string) => readAddress(text)!.words;
  const near = policies.policyFor(words('fd00:1::2'), words('fd00:1::1'));
  const far = policies.policyFor(words('2001:db8:1::2'), words('2001:db8:1::1'));
  const bytes = encodeQuery({ name: 'six.example', type: 'AAAA' });
  const out = Buffer.alloc(1232);
  const fast = (id: number) => one.fastPath.respond(bytes, bytes.length, id, 512, out, 0);
  for (let i = 0; i < 3; i++) {
    const query = queryOf(bytes);
    const reply = decodeReply(finishReply(query, await answerer.answer(query, near), 512));
    assert.deepEqual(reply.answer, ['six.example 300 AAAA 2001:db8:1::6', 'six.example 300 AAAA fd00:1::6']);
    assert.equal(fast(near.id), 0);
  }
  assert.deepEqual(decodeReply(out.subarray(0, fast(far.id))).answer, ['six.example 300 AAAA 2001:db8:1::6']);
  assert.equal(one.stats.passed, 4);
});

const REAL: Script = {
  'www.example AAAA': { authority: [SOA] },
  'www.example A': { answer: ['www.example 300 A 192.0.2.1'] },
  'long.example TXT': {
    answer: Array.from({ length: 12 }, (_, i) => `long.example 300 TXT ${String(i).repeat(40)}`),
  },
};
const WWW = { name: 'www.example', type: 'AAAA' };

test('a cookie with an answer at hand: as without one, cut where both are too long, and counted once', async () => {
  const gate = await gateway(REAL, CACHED);
  try {
    for (const [name, type, size] of [
      ['www.example', 'AAAA', 1232],
      ['long.example', 'TXT', 1232],
      ['long.example', 'TXT', 700],
      ['long.example', 'TXT', 512],
    ] as const) {
      const plain = encodeQuery({ name, type, edns: size });
      const query = Buffer.concat([plain, Buffer.from([0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8])]);
      query.writeUInt16BE(12, plain.length - 2);
      const made = (await gate.send(query))!;
      await gate.send(query);
      const before = { ...gate.dns64.stats, types: { ...gate.dns64.stats.types } };
      const again = (await gate.send(query))!;
      const { stats } = gate.dns64;
      assert.equal(stats.fastHits, before.fastHits + 1, `${name} ${size}`);
      assert.equal(stats.queriesUdp, before.queriesUdp + 1);
      const counted = type === 'AAAA' ? 'aaaa' : 'txt';
      assert.deepEqual(stats.types, { ...before.types, [counted]: before.types[counted] + 1 });
      const [first, last] = [decodeReply(made), decodeReply(again)];
      assert.equal(stats.truncated - before.truncated, (first.flags & TC) !== 0 ? 1 : 0);
      assert.equal(stats.passed + stats.synthesized, before.passed + before.synthesized + 1);
      assert.deepEqual(
        [last.flags, last.rcode, last.opt?.errors],
        [first.flags, first.rcode, first.opt?.errors],
      );
      assert.equal(again.length, made.length);
      assert.ok(again.length <= size);
      assert.ok(again.includes(Buffer.from([0, 10, 0, 24, 1, 2, 3, 4, 5, 6, 7, 8])));
    }
  } finally {
    await gate.close();
  }
});

test('a reload: other prefixes at once; the cache stays with the same forwarders, and goes with others', async () => {
  const [gate, other] = await Promise.all([
    gateway(REAL, CACHED),
    gateway({ ...REAL, 'www.example A': { answer: ['www.example 300 A 192.0.2.9'] } }),
  ]);
  const answer = async () => (await gate.ask(WWW)).answer[0]?.split(' ').at(-1);
  try {
    for (let i = 0; i < 4; i++) assert.equal(await answer(), '2001:db8:64::c000:201');
    assert.ok(gate.dns64.stats.fastHits > 0);
    gate.reload({ pref64: '2001:db8:65::/96' });
    for (let i = 0; i < 4; i++) assert.equal(await answer(), '2001:db8:65::c000:201');
    assert.equal(gate.server.asked.length, 2);
    gate.reload({ pref64: '2001:db8:65::/96', upstreamTimes: { retryMs: 7000 } });
    assert.equal(await answer(), '2001:db8:65::c000:201');
    assert.equal(gate.server.asked.length, 2);
    gate.reload({ forwarders: [at(other.server.port)], cookies: false, rateLimit: 1000 });
    for (let i = 0; i < 4; i++) assert.equal(await answer(), '2001:db8:64::c000:209');
    assert.deepEqual(gate.dns64.forwarders, [at(other.server.port)]);
    gate.reload({ cacheSizeBytes: 0 });
    for (let i = 0; i < 2; i++) assert.equal(await answer(), '2001:db8:64::c000:201');
    assert.equal(gate.server.asked.length, 6);
  } finally {
    await gate.close();
    await other.close();
  }
  assert.deepEqual([gate.dns64.stats.pending, gate.dns64.stats.upstreamPending], [0, 0]);
});

test('explain: for a client with a policy of its own, with the forwarder that was asked', async () => {
  const gate = await gateway(REAL, {
    names: names(
      'exclude-names = ["www.example"]\n[[dns64.policy]]\nclients = ["192.0.2.0/24"]\nexclude-names = []',
    ),
  });
  try {
    const texts = async (client?: string) => {
      const { steps } = await gate.dns64.explain(
        'www.example',
        'AAAA',
        client === undefined ? {} : { client },
      );
      return steps.map(({ text }) => text);
    };
    const plain = await texts();
    assert.ok(plain.includes('the name is one of exclude-names: forwarded'), plain.join('\n'));
    assert.ok(plain.some((text) => text.includes(`NOERROR from 127.0.0.1:${gate.server.port}`)));
    const own = await texts('192.0.2.1');
    assert.ok(
      own.includes('AAAA records made of 192.0.2.1 under 2001:db8:64::/96, the prefix'),
      own.join('\n'),
    );
    await assert.rejects(texts('nobody'), /'nobody' is not an IP address/);
  } finally {
    await gate.close();
  }
});

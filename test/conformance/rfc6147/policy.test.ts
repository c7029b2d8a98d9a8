/** What may be configured of synthesis (RFC 6147 section 5), key by key, from TOML to the answer. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatPrefix6, type Prefix6, parsePrefix6 } from '#nat64d/wire/address.js';
import { type Ask, gateway, RD, type Reply, type Script, SERVFAIL } from './harness.js';
import { names } from './names.js';

const SOA = 'example 900 SOA 120';
const NODATA = { authority: [SOA] };
const SIGNED_NODATA = { authority: [SOA, 'example 900 RRSIG SOA'] };
const WWW: Script = {
  'www.example AAAA': NODATA,
  'www.example A': { answer: ['www.example 60 A 192.0.2.1', 'www.example 60 A 10.0.0.1'] },
};
const BOTH: Script = {
  'www.example AAAA': { answer: ['www.example 60 AAAA 2001:db8:1::1'] },
  'www.example A': { answer: ['www.example 60 A 192.0.2.1'] },
};
const DNSSEC: Partial<Ask> = { edns: 1232, dnssecOk: true };
const A1 = 'www.example 60 AAAA 2001:db8:64::c000:201';
const A10 = 'www.example 60 AAAA 2001:db8:64::a00:1';
const TWO = 'pref64 = ["2001:db8:a::/96", "2001:db8:b::/96"]';

interface Row {
  title: string;
  toml: string;
  script: Script;
  ask?: Partial<Ask>;
  /** The answers to the same question, one after the other. */
  answers: string[][];
  expect?: Partial<Pick<Reply, 'rcode' | 'authority'>>;
  /** Types asked for, in order. */
  asked?: string[];
}

const ROWS: Row[] = [
  {
    title: '5.2 several prefixes: one for each response, each in turn',
    toml: TWO,
    script: WWW,
    answers: ['a', 'b', 'a'].map((x) => [
      `www.example 60 AAAA 2001:db8:${x}::c000:201`,
      `www.example 60 AAAA 2001:db8:${x}::a00:1`,
    ]),
  },
  {
    title: '5.2 in turn: a prefix that represents nothing of the answer leaves its turn to the next',
    toml: 'pref64 = ["64:ff9b::/96", "2001:db8:b::/96"]',
    script: { ...WWW, 'www.example A': { answer: ['www.example 60 A 10.0.0.1'] } },
    answers: [['www.example 60 AAAA 2001:db8:b::a00:1'], ['www.example 60 AAAA 2001:db8:b::a00:1']],
  },
  {
    title: '5.2 mapped: the prefix goes by the IPv4 address',
    toml: 'pref64-choice = "mapped"\npref64 = [{ prefix = "2001:db8:a::/96", ipv4 = ["10.0.0.0/8"] }, "2001:db8:b::/96"]',
    script: WWW,
    answers: [['www.example 60 AAAA 2001:db8:b::c000:201', 'www.example 60 AAAA 2001:db8:a::a00:1']],
  },
  {
    title: '5.2 mapped: an address in no range is not represented',
    toml: 'pref64-choice = "mapped"\npref64 = { prefix = "2001:db8:a::/96", ipv4 = ["10.0.0.0/8", "172.16.0.1"] }',
    script: WWW,
    answers: [['www.example 60 AAAA 2001:db8:a::a00:1']],
  },
  {
    title: '5.2 all: a record under each prefix',
    toml: `${TWO}\npref64-choice = "all"`,
    script: WWW,
    answers: [
      [
        'www.example 60 AAAA 2001:db8:a::c000:201',
        'www.example 60 AAAA 2001:db8:b::c000:201',
        'www.example 60 AAAA 2001:db8:a::a00:1',
        'www.example 60 AAAA 2001:db8:b::a00:1',
      ],
    ],
  },
  {
    title: '5.1.4 exclude-aaaa: what is configured counts as absent',
    toml: 'exclude-aaaa = ["2001:db8:1::/48"]',
    script: BOTH,
    answers: [[A1]],
    asked: ['AAAA', 'A'],
  },
  {
    title: '5.1.4 exclude-aaaa replaces the default',
    toml: 'exclude-aaaa = []',
    script: { 'www.example AAAA': { answer: ['www.example 60 AAAA ::ffff:c000:201'] } },
    answers: [['www.example 60 AAAA ::ffff:c000:201']],
    asked: ['AAAA'],
  },
  {
    title: '5.1.4 exclude-aaaa of a prefix is in force with it',
    toml: 'pref64 = { prefix = "2001:db8:64::/96", exclude-aaaa = ["2001:db8:1::1"] }',
    script: BOTH,
    answers: [[A1]],
  },
  {
    title: '5.1.4 those under each prefix are absent, whatever is configured',
    toml: `${TWO}\nexclude-aaaa = []`,
    script: { ...BOTH, 'www.example AAAA': { answer: ['www.example 60 AAAA 2001:db8:b::1'] } },
    answers: [['www.example 60 AAAA 2001:db8:a::c000:201']],
  },
  {
    title: '5.1.4 exclude-ipv4: no record for it',
    toml: 'exclude-ipv4 = ["10.0.0.0/8"]',
    script: WWW,
    answers: [[A1]],
  },
  {
    title: '5.1.4 exclude-ipv4: where none is left, the original answer',
    toml: 'exclude-ipv4 = ["10.0.0.0/8", "192.0.2.1"]',
    script: WWW,
    answers: [[]],
    expect: { rcode: 0, authority: [SOA] },
    asked: ['AAAA', 'A'],
  },
  {
    title: 'exclude-names: nothing is synthesized for the name, and no A asked',
    toml: 'exclude-names = ["www.example"]',
    script: WWW,
    answers: [[]],
    expect: { authority: [SOA] },
    asked: ['AAAA'],
  },
  {
    title: 'exclude-names holds for all below, in any case',
    toml: 'exclude-names = ["EXAMPLE."]',
    script: WWW,
    ask: { name: 'wWw.eXample' },
    answers: [[]],
    asked: ['AAAA'],
  },
  {
    title: 'exclude-names: a name that only ends in the same letters is another one',
    toml: 'exclude-names = ["ww.example", "ample"]',
    script: WWW,
    answers: [[A1, A10]],
  },
  {
    title: 'ignore-aaaa: synthesized though there is an AAAA',
    toml: 'ignore-aaaa = ["example"]',
    script: BOTH,
    answers: [[A1]],
    asked: ['AAAA', 'A'],
  },
  {
    title: 'ignore-aaaa: without an A the AAAA stands',
    toml: 'ignore-aaaa = ["example"]',
    script: { ...BOTH, 'www.example A': NODATA },
    answers: [['www.example 60 AAAA 2001:db8:1::1']],
  },
  {
    title: 'synthesize = false: the answers of the forwarders',
    toml: 'synthesize = false',
    script: WWW,
    answers: [[]],
    asked: ['AAAA'],
  },
  { title: 'clients: one of them', toml: 'clients = ["127.0.0.0/8"]', script: WWW, answers: [[A1, A10]] },
  {
    title: 'clients: none of them gets the answers of the forwarders',
    toml: 'clients = ["192.0.2.0/24", "::/0"]',
    script: WWW,
    answers: [[]],
    asked: ['AAAA'],
  },
  {
    title: 'a policy says otherwise for its clients, the first that names them',
    toml: `exclude-ipv4 = ["192.0.2.1"]
[[dns64.policy]]
clients = ["192.0.2.0/24"]
synthesize = false
[[dns64.policy]]
clients = ["127.0.0.1"]
pref64 = "2001:db8:c::/96"
[[dns64.policy]]
clients = ["127.0.0.0/8"]
synthesize = false`,
    script: WWW,
    answers: [['www.example 60 AAAA 2001:db8:c::a00:1']],
  },
  {
    title: 'a policy comes before `clients`',
    toml: 'synthesize = false\nclients = ["127.0.0.1"]\n[[dns64.policy]]\nclients = ["127.0.0.1"]\nsynthesize = true',
    script: WWW,
    answers: [[A1, A10]],
  },
  {
    title: '5.5 DO=1, break-dnssec by default: signed data is replaced',
    toml: '',
    script: { ...WWW, 'www.example AAAA': SIGNED_NODATA },
    ask: DNSSEC,
    answers: [[A1, A10]],
  },
  {
    title: '5.5 break-dnssec = false: an answer that is signed stands, no A asked',
    toml: 'break-dnssec = false',
    script: { ...WWW, 'www.example AAAA': SIGNED_NODATA },
    ask: DNSSEC,
    answers: [[]],
    expect: { authority: SIGNED_NODATA.authority },
    asked: ['AAAA'],
  },
  {
    title: '5.5 break-dnssec = false: nor is a signed A used',
    toml: 'break-dnssec = false',
    script: {
      'www.example AAAA': NODATA,
      'www.example A': { answer: ['www.example 60 A 192.0.2.1', 'www.example 60 RRSIG A'] },
    },
    ask: DNSSEC,
    answers: [[]],
    expect: { authority: [SOA] },
  },
  {
    title: '5.5 break-dnssec = false: excluded AAAA that are signed are left',
    toml: 'break-dnssec = false',
    script: {
      'www.example AAAA': { answer: ['www.example 60 AAAA 64:ff9b::1', 'www.example 60 RRSIG AAAA'] },
      'www.example A': { answer: ['www.example 60 A 192.0.2.1'] },
    },
    ask: DNSSEC,
    answers: [['www.example 60 AAAA 64:ff9b::1', 'www.example 60 RRSIG AAAA']],
  },
  {
    title: '5.5 break-dnssec = false: data without signatures is synthesized',
    toml: 'break-dnssec = false',
    script: WWW,
    ask: DNSSEC,
    answers: [[A1, A10]],
  },
  {
    title: '5.5 break-dnssec = false: DO=0 could not check, and is synthesized',
    toml: 'break-dnssec = false',
    script: { ...WWW, 'www.example AAAA': SIGNED_NODATA },
    answers: [[A1, A10]],
  },
  {
    title: '5.1.2 an error for the AAAA of an excluded name is passed on',
    toml: 'exclude-names = ["example"]',
    script: { ...WWW, 'www.example AAAA': { rcode: SERVFAIL } },
    answers: [[]],
    expect: { rcode: SERVFAIL },
    asked: ['AAAA'],
  },
];

for (const row of ROWS) {
  test(`RFC 6147 ${row.title}`, async () => {
    const gate = await gateway(row.script, { names: names(row.toml) });
    try {
      for (const answer of row.answers) {
        const reply = await gate.ask({ name: 'www.example', type: 'AAAA', flags: RD, ...row.ask });
        const lower = reply.answer.map((one) => one.replace(/^\S+/, (name) => name.toLowerCase()));
        assert.deepEqual(lower, answer);
        for (const [key, value] of Object.entries(row.expect ?? {}))
          assert.deepEqual(reply[key as keyof Reply], value, key);
      }
      if (row.asked !== undefined) {
        assert.deepEqual(
          gate.server.asked.map(({ type }) => type),
          row.asked,
        );
      }
    } finally {
      await gate.close();
    }
    assert.equal(gate.dns64.stats.pending, 0);
  });
}

test('another configuration at run time: the socket stays, the next answer is by it', async () => {
  const gate = await gateway(WWW, { names: names('') });
  const { port } = gate;
  try {
    const ask = async () => (await gate.ask({ name: 'www.example', type: 'AAAA' })).answer[0];
    assert.equal(await ask(), A1);
    gate.reload({ names: names('pref64 = "2001:db8:a::/96"') });
    assert.equal(await ask(), 'www.example 60 AAAA 2001:db8:a::c000:201');
    assert.equal(gate.dns64.isAdjusted, false);
    gate.dns64.usePrefixes([parsePrefix6('2001:db8:b::/96') as Prefix6]);
    assert.equal(await ask(), 'www.example 60 AAAA 2001:db8:b::c000:201');
    assert.deepEqual(gate.dns64.prefixes.map(formatPrefix6), ['2001:db8:b::/96']);
    assert.equal(gate.dns64.isAdjusted, true);
    gate.reload({ names: names('pref64 = "2001:db8:a::/96"') });
    assert.equal(await ask(), 'www.example 60 AAAA 2001:db8:a::c000:201', 'a reload has the last word');
    gate.reload({ names: names('synthesize = false') });
    assert.equal(await ask(), undefined);
    assert.equal(gate.dns64.listening[0]?.port, port);
  } finally {
    await gate.close();
  }
});

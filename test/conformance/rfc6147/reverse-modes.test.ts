/** RFC 6147 section 5.3.1: what may be configured of PTR queries, and 6to4 names, which are looked for as totd does. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CD, gateway, NXDOMAIN, RD, type Script, SERVFAIL } from './harness.js';
import { names } from './names.js';

/** The ip6.arpa name of an address given as 32 hex digits. */
const reverse6 = (digits: string) => `${digits.split('').reverse().join('.')}.ip6.arpa`;
const IN_A = reverse6('20010db8000a0000000000000a000001');
const IN_B = reverse6('20010db8000b0000000000000a000001');
/** Under 2002:c000:201::/48, 6to4's for 192.0.2.1. */
const STF = reverse6('2002c000020100000000000000000001');
const IN4 = '1.0.0.10.in-addr.arpa';
const TWO = 'pref64 = ["2001:db8:a::/96", "2001:db8:b::/96"]';

const PTR_10: Script = {
  [`${IN4} PTR`]: {
    answer: [
      `${IN4} 300 CNAME 1.sub.example`,
      '1.sub.example 60 PTR host.example',
      '1.sub.example 60 RRSIG PTR',
    ],
    authority: ['sub.example 300 NS ns.example'],
  },
};
const CHAIN = [
  `${IN4} 300 CNAME 1.sub.example`,
  '1.sub.example 60 PTR host.example',
  '1.sub.example 60 RRSIG PTR',
];
const STF4 = '1.2.0.192.in-addr.arpa';
const PTR_STF: Script = { [`${STF4} PTR`]: { answer: [`${STF4} 300 PTR six.example`] } };

const ROWS: readonly {
  title: string;
  toml: string;
  script: Script;
  name: string;
  flags?: number;
  rcode?: number;
  answer: string[];
  asked: string[];
  budgetMs?: number;
}[] = [
  ...[IN_A, IN_B].map((name) => ({
    title: `any of several prefixes is ours: ${name.slice(46, 50)}`,
    toml: TWO,
    script: PTR_10,
    name,
    answer: [`${name} 300 CNAME ${IN4}`, ...CHAIN],
    asked: [IN4],
  })),
  {
    title: 'rewrite: the PTR under the name that was asked for, with the least TTL of the chain',
    toml: `${TWO}\nreverse = "rewrite"`,
    script: PTR_10,
    name: IN_A.toUpperCase(),
    answer: [`${IN_A.toUpperCase()} 60 PTR host.example`],
    asked: [IN4],
  },
  {
    title: 'rewrite: no PTR there, no answer',
    toml: `${TWO}\nreverse = "rewrite"`,
    script: {},
    name: IN_A,
    rcode: NXDOMAIN,
    answer: [],
    asked: [IN4],
  },
  {
    title: 'off: as any other name',
    toml: `${TWO}\nreverse = "off"`,
    script: { [`${IN_A} PTR`]: { answer: [`${IN_A} 9 PTR own.example`] } },
    name: IN_A,
    answer: [`${IN_A} 9 PTR own.example`],
    asked: [IN_A],
  },
  {
    title: 'a prefix inside another: the longer one counts',
    toml: 'pref64 = ["2001:db8::/32", "2001:db8:a::/96"]',
    script: PTR_10,
    name: IN_A,
    answer: [`${IN_A} 300 CNAME ${IN4}`, ...CHAIN],
    asked: [IN4],
  },
  {
    title: 'exclude-names and `clients` are about addresses: names are found all the same',
    toml: `${TWO}\nexclude-names = ["arpa"]\nclients = ["::1"]`,
    script: PTR_10,
    name: IN_A,
    answer: [`${IN_A} 300 CNAME ${IN4}`, ...CHAIN],
    asked: [IN4],
  },
  {
    title: 'totd stf: a 6to4 name that does not exist is looked for in in-addr.arpa',
    toml: 'reverse-6to4 = true',
    script: PTR_STF,
    name: STF,
    answer: [`${STF} 300 CNAME ${STF4}`, `${STF4} 300 PTR six.example`],
    asked: [STF, STF4],
  },
  {
    title: 'totd stf: nor one that has no PTR',
    toml: 'reverse-6to4 = true\nreverse = "rewrite"',
    script: { ...PTR_STF, [`${STF} PTR`]: { authority: ['example 900 SOA 120'] } },
    name: STF,
    answer: [`${STF} 300 PTR six.example`],
    asked: [STF, STF4],
  },
  {
    title: 'totd stf: what the 6to4 zone knows itself is passed on',
    toml: 'reverse-6to4 = true',
    script: { ...PTR_STF, [`${STF} PTR`]: { answer: [`${STF} 9 PTR own.example`] } },
    name: STF,
    answer: [`${STF} 9 PTR own.example`],
    asked: [STF],
  },
  {
    title: 'totd stf: nothing in either: the first answer',
    toml: 'reverse-6to4 = true',
    script: { [`${STF4} PTR`]: { rcode: SERVFAIL } },
    name: STF,
    rcode: NXDOMAIN,
    answer: [],
    asked: [STF, STF4],
  },
  {
    title: 'totd stf: no PTR in the other zone either: the first answer',
    toml: 'reverse-6to4 = true',
    script: { [`${STF4} PTR`]: { authority: ['example 900 SOA 120'] } },
    name: STF,
    rcode: NXDOMAIN,
    answer: [],
    asked: [STF, STF4],
  },
  {
    title:
      'totd stf: both within the time of one question: the first answer, where the other one comes too late',
    toml: 'reverse-6to4 = true',
    script: {
      [`${STF} PTR`]: { rcode: NXDOMAIN, delayMs: 600 },
      [`${STF4} PTR`]: { ...PTR_STF[`${STF4} PTR`], delayMs: 600 },
    },
    name: STF,
    rcode: NXDOMAIN,
    answer: [],
    asked: [STF, STF4],
    budgetMs: 1000,
  },
  {
    title: 'without stf 6to4 names are as others',
    toml: '',
    script: PTR_STF,
    name: STF,
    rcode: NXDOMAIN,
    answer: [],
    asked: [STF],
  },
  {
    title: 'totd stf: CD=1 is forwarded untouched',
    toml: 'reverse-6to4 = true',
    script: PTR_STF,
    name: STF,
    flags: RD | CD,
    rcode: NXDOMAIN,
    answer: [],
    asked: [STF],
  },
];

for (const row of ROWS) {
  test(`RFC 6147 5.3.1 ${row.title}`, async () => {
    const upstreamTimes = row.budgetMs === undefined ? {} : { budgetMs: row.budgetMs };
    const gate = await gateway(row.script, { names: names(row.toml), upstreamTimes });
    try {
      const reply = await gate.ask({ name: row.name, type: 'PTR', flags: row.flags ?? RD });
      assert.equal(reply.rcode, row.rcode ?? 0);
      assert.deepEqual(reply.answer, row.answer);
      assert.deepEqual(
        gate.server.asked.map(({ name }) => name),
        row.asked,
      );
    } finally {
      await gate.close();
    }
    assert.equal(gate.dns64.stats.pending, 0);
  });
}

/** RFC 6147 section 5: one row a situation. The scripted server's answers, a query, and what the client gets. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  AA,
  AD,
  type Ask,
  CD,
  type GatewayOptions,
  gateway,
  IMPATIENT,
  NXDOMAIN,
  RA,
  RD,
  type Reply,
  type Script,
  SERVFAIL,
} from './harness.js';

interface Row {
  title: string;
  script: Script;
  ask: Partial<Ask>;
  options?: GatewayOptions;
  expect: Partial<Pick<Reply, 'rcode' | 'flags' | 'question' | 'answer' | 'authority' | 'additional'>>;
  /** `name TYPE` of what the server was asked, in order. */
  asked?: string[];
  counts?: Partial<{ synthesized: number; passed: number; local: number; reversed: number }>;
  extendedErrors?: number[];
}

const SOA = 'example 900 SOA 120';
const NODATA = { authority: [SOA] };
const REFUSED = 5;
const BOTH = ['www.example AAAA', 'www.example A'];

const ROWS: Row[] = [
  {
    title: '5.1.1 an AAAA of the name is passed on, all sections, no A asked',
    script: {
      'www.example AAAA': {
        answer: ['www.example 300 AAAA 2001:db8:1::1'],
        authority: ['example 300 NS ns.example'],
        additional: ['ns.example 300 A 192.0.2.53'],
        flags: AA,
      },
    },
    ask: {},
    expect: {
      rcode: 0,
      flags: AA | RD | RA,
      answer: ['www.example 300 AAAA 2001:db8:1::1'],
      authority: ['example 300 NS ns.example'],
      additional: ['ns.example 300 A 192.0.2.53'],
    },
    asked: ['www.example AAAA'],
    counts: { passed: 1, synthesized: 0 },
  },
  {
    title: '5.1.2 NXDOMAIN is passed on without asking for A',
    script: { 'www.example AAAA': { rcode: NXDOMAIN, authority: [SOA] } },
    ask: {},
    expect: { rcode: NXDOMAIN, answer: [], authority: [SOA] },
    asked: ['www.example AAAA'],
  },
  ...[SERVFAIL, REFUSED, 4, 9].map(
    (rcode): Row => ({
      title: `5.1.2 rcode ${rcode} for AAAA is treated as an empty answer`,
      script: { 'www.example AAAA': { rcode }, 'www.example A': { answer: ['www.example 300 A 192.0.2.1'] } },
      ask: {},
      expect: { rcode: 0, answer: ['www.example 300 AAAA 2001:db8:64::c000:201'] },
      asked: BOTH,
    }),
  ),
  {
    title: '5.1.2 SERVFAIL for AAAA and no A: the error of the AAAA query',
    script: { 'www.example AAAA': { rcode: SERVFAIL }, 'www.example A': NODATA },
    ask: {},
    expect: { rcode: SERVFAIL, answer: [] },
    asked: BOTH,
  },
  {
    title: '5.1.2 SERVFAIL for AAAA and another error for A: the error of the AAAA query',
    script: { 'www.example AAAA': { rcode: SERVFAIL }, 'www.example A': { rcode: REFUSED } },
    ask: {},
    expect: { rcode: SERVFAIL },
  },
  ...[1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 25, 27].map(
    (extendedError): Row => ({
      title: `5.5 SERVFAIL that says DNSSEC failed (extended error ${extendedError}) is passed on, no A asked`,
      script: {
        'www.example AAAA': { rcode: SERVFAIL, extendedError },
        'www.example A': { answer: ['www.example 300 A 192.0.2.1'] },
      },
      ask: { edns: 1232 },
      expect: { rcode: SERVFAIL, answer: [] },
      asked: ['www.example AAAA'],
      extendedErrors: [extendedError],
    }),
  ),
  {
    title: '5.1.3 silence for AAAA counts as a server failure: A is asked',
    script: {
      'www.example AAAA': { silent: true },
      'www.example A': { answer: ['www.example 3000 A 192.0.2.1'] },
    },
    options: IMPATIENT,
    ask: {},
    expect: { rcode: 0, answer: ['www.example 600 AAAA 2001:db8:64::c000:201'] },
    counts: { synthesized: 1 },
  },
  {
    title: '5.1.3 an AAAA that comes late, but in time, is preferred to the A asked meanwhile',
    script: {
      'www.example AAAA': { answer: ['www.example 300 AAAA 2001:db8:1::1'], delayMs: 400 },
      'www.example A': { answer: ['www.example 300 A 192.0.2.1'] },
    },
    options: { answerTimes: { askAMs: 50, aaaaMs: 4000 } },
    ask: {},
    expect: { answer: ['www.example 300 AAAA 2001:db8:1::1'] },
    asked: BOTH,
  },
  {
    title: '5.1.3 silence for AAAA and for A: SERVFAIL with extended error 22',
    script: { '*': { silent: true } },
    options: IMPATIENT,
    ask: { edns: 1232 },
    expect: { rcode: SERVFAIL, answer: [] },
    extendedErrors: [22],
  },
  {
    title: '5.1.4 ::ffff:0:0/96 is excluded by default: as if absent',
    script: {
      'www.example AAAA': { answer: ['www.example 300 AAAA ::ffff:192.0.2.9'] },
      'www.example A': { answer: ['www.example 300 A 192.0.2.1'] },
    },
    ask: {},
    expect: { answer: ['www.example 300 AAAA 2001:db8:64::c000:201'] },
    asked: BOTH,
  },
  ...['64:ff9b::c000:209', '2001:db8:64::c000:209'].map(
    (address): Row => ({
      title: `5.1.4 an AAAA under a prefix of ours or the well-known one is absent: ${address}`,
      script: {
        'www.example AAAA': { answer: [`www.example 300 AAAA ${address}`] },
        'www.example A': { answer: ['www.example 300 A 192.0.2.1'] },
      },
      ask: {},
      expect: { answer: ['www.example 300 AAAA 2001:db8:64::c000:201'] },
    }),
  ),
  {
    title: '5.1.4 excluded AAAA and no A: an empty answer',
    script: { 'www.example AAAA': { answer: ['www.example 300 AAAA 64:ff9b::1'] }, 'www.example A': NODATA },
    ask: {},
    expect: { rcode: 0, answer: [] },
  },
  {
    title: '5.1.4 a mix keeps the usable ones; the signature over all of them goes',
    script: {
      'www.example AAAA': {
        answer: [
          'www.example 300 AAAA 64:ff9b::1',
          'www.example 300 AAAA 2001:db8:1::1',
          'www.example 300 RRSIG AAAA',
        ],
        authority: ['example 300 NS ns.example'],
        flags: AD,
      },
    },
    ask: { edns: 1232, dnssecOk: true },
    expect: {
      flags: RD | RA,
      answer: ['www.example 300 AAAA 2001:db8:1::1'],
      authority: ['example 300 NS ns.example'],
    },
    asked: ['www.example AAAA'],
  },
  {
    title: '5.1.5 a CNAME chain is kept in order and the A of its last name synthesized',
    script: {
      'www.example AAAA': {
        answer: ['www.example 60 CNAME a.example', 'a.example 70 CNAME b.example'],
        ...NODATA,
      },
      'www.example A': {
        answer: [
          'www.example 60 CNAME a.example',
          'a.example 70 CNAME b.example',
          'b.example 80 A 192.0.2.1',
          'b.example 80 A 192.0.2.2',
        ],
      },
    },
    ask: {},
    expect: {
      answer: [
        'www.example 60 CNAME a.example',
        'a.example 70 CNAME b.example',
        'b.example 80 AAAA 2001:db8:64::c000:201',
        'b.example 80 AAAA 2001:db8:64::c000:202',
      ],
    },
    asked: BOTH,
  },
  {
    title: '5.1.5 a DNAME is kept, with the CNAME that it implies',
    script: {
      'www.example AAAA': NODATA,
      'www.example A': {
        answer: ['example 60 DNAME test', 'www.example 60 CNAME www.test', 'www.test 80 A 192.0.2.1'],
      },
    },
    ask: {},
    expect: {
      answer: [
        'example 60 DNAME test',
        'www.example 60 CNAME www.test',
        'www.test 80 AAAA 2001:db8:64::c000:201',
      ],
    },
  },
  {
    title: '5.1.5 a DNAME leads on without its CNAME (RFC 2672)',
    script: {
      'www.example AAAA': NODATA,
      'www.example A': { answer: ['example 60 DNAME test', 'www.test 80 A 192.0.2.1'] },
    },
    ask: {},
    expect: { answer: ['example 60 DNAME test', 'www.test 80 AAAA 2001:db8:64::c000:201'] },
  },
  {
    title: '5.1.5 a chain that ends without A is passed on as it was',
    script: {
      'www.example AAAA': { answer: ['www.example 60 CNAME a.example'], ...NODATA },
      'www.example A': { answer: ['www.example 60 CNAME a.example'], ...NODATA },
    },
    ask: {},
    expect: { answer: ['www.example 60 CNAME a.example'], authority: [SOA] },
  },
  {
    title: '5.1.5 a loop of aliases ends',
    script: {
      'www.example AAAA': NODATA,
      'www.example A': {
        answer: [
          'www.example 60 CNAME a.example',
          'a.example 60 CNAME www.example',
          'c.example 9 A 192.0.2.1',
        ],
      },
    },
    ask: {},
    expect: { answer: [], authority: [SOA] },
  },
  {
    title: '5.1.5 an A record beside the chain is not an answer',
    script: {
      'www.example AAAA': NODATA,
      'www.example A': { answer: ['www.example 60 A 192.0.2.1', 'other.example 60 A 192.0.2.2'] },
    },
    ask: {},
    expect: { answer: ['www.example 60 AAAA 2001:db8:64::c000:201'] },
  },
  {
    title: '5.1.6 the A query fails: its error is the answer',
    script: { 'www.example AAAA': NODATA, 'www.example A': { rcode: SERVFAIL } },
    ask: {},
    expect: { rcode: SERVFAIL, question: 'www.example AAAA', answer: [] },
  },
  {
    title: '5.1.6 the A query meets silence: SERVFAIL',
    script: { 'www.example AAAA': NODATA, 'www.example A': { silent: true } },
    options: IMPATIENT,
    ask: { edns: 512 },
    expect: { rcode: SERVFAIL },
    extendedErrors: [22],
  },
  {
    title: '5.1.6 the A query is empty: the AAAA answer as it was, authority and SOA included',
    script: {
      'www.example AAAA': { authority: ['example 900 SOA 77'], additional: ['x.example 5 A 192.0.2.7'] },
      'www.example A': { authority: ['example 900 SOA 88'] },
    },
    ask: {},
    expect: {
      rcode: 0,
      answer: [],
      authority: ['example 900 SOA 77'],
      additional: ['x.example 5 A 192.0.2.7'],
    },
    asked: BOTH,
  },
  ...[
    { a: 300, soa: ['example 900 SOA 120'], ttl: 120, why: 'the SOA minimum' },
    { a: 300, soa: ['example 90 SOA 120'], ttl: 90, why: "the SOA's own TTL" },
    { a: 30, soa: ['example 900 SOA 120'], ttl: 30, why: "the A's TTL" },
    { a: 3000, soa: [], ttl: 600, why: '600 without a SOA' },
    { a: 300, soa: [], ttl: 300, why: "the A's TTL, below 600" },
    { a: 300, soa: ['example 900 SOA 4294967295'], ttl: 0, why: 'a minimum with the highest bit set is 0' },
  ].map(
    ({ a, soa, ttl, why }): Row => ({
      title: `5.1.7 the TTL is the least: ${why}`,
      script: {
        'www.example AAAA': { authority: soa },
        'www.example A': { answer: [`www.example ${a} A 192.0.2.1`] },
      },
      ask: {},
      expect: { answer: [`www.example ${ttl} AAAA 2001:db8:64::c000:201`] },
    }),
  ),
  {
    title: '5.2 the prefix decides where the IPv4 address stands (RFC 6052 section 2.2, /40)',
    script: { 'www.example AAAA': NODATA, 'www.example A': { answer: ['www.example 60 A 192.0.2.33'] } },
    ask: {},
    options: { pref64: '2001:db8:100::/40' },
    expect: { answer: ['www.example 60 AAAA 2001:db8:1c0:2:21::'] },
  },
  {
    title:
      '5.2 the well-known prefix represents no non-global address; the original answer stands (RFC 6052 section 3.1)',
    script: { 'www.example AAAA': NODATA, 'www.example A': { answer: ['www.example 60 A 10.0.0.1'] } },
    ask: {},
    options: { pref64: '64:ff9b::/96' },
    expect: { rcode: 0, answer: [], authority: [SOA] },
  },
  {
    title: '5.2 under the well-known prefix, a mix keeps the global ones',
    script: {
      'www.example AAAA': NODATA,
      'www.example A': { answer: ['www.example 60 A 10.0.0.1', 'www.example 60 A 8.8.8.8'] },
    },
    ask: {},
    options: { pref64: '64:ff9b::/96' },
    expect: { answer: ['www.example 60 AAAA 64:ff9b::808:808'] },
  },
  {
    title: '5.2 wkpf-strict off: the data plane translates them, so they are synthesized',
    script: { 'www.example AAAA': NODATA, 'www.example A': { answer: ['www.example 60 A 10.0.0.1'] } },
    ask: {},
    options: { pref64: '64:ff9b::/96', wkpfStrict: false },
    expect: { answer: ['www.example 60 AAAA 64:ff9b::a00:1'] },
  },
  {
    title: '5.3.2 authority and additional come with the A, without synthesis; AA and AD are clear',
    script: {
      'www.example AAAA': { ...NODATA, flags: AA | AD },
      'www.example A': {
        answer: ['www.example 60 A 192.0.2.1', 'www.example 60 RRSIG A'],
        authority: ['example 300 NS ns.example', 'example 300 RRSIG NS'],
        additional: [
          'ns.example 300 A 192.0.2.53',
          '_s._tcp.example 5 SRV 5060 ns.example',
          'mx.example 5 MX 10 www.example',
        ],
        flags: AA | AD,
      },
    },
    ask: { edns: 1232, dnssecOk: true },
    expect: {
      flags: RD | RA,
      answer: ['www.example 60 AAAA 2001:db8:64::c000:201'],
      authority: ['example 300 NS ns.example', 'example 300 RRSIG NS'],
      additional: [
        'ns.example 300 A 192.0.2.53',
        '_s._tcp.example 5 SRV 5060 ns.example',
        'mx.example 5 MX 10 www.example',
      ],
    },
  },
  ...[false, true].map(
    (dnssecOk): Row => ({
      title: `5.5 CD=1, DO=${Number(dnssecOk)}: never synthesized`,
      script: { 'www.example AAAA': NODATA, 'www.example A': { answer: ['www.example 60 A 192.0.2.1'] } },
      ask: { flags: RD | CD, edns: 1232, dnssecOk },
      expect: { flags: RD | RA | CD, rcode: 0, answer: [], authority: [SOA] },
      asked: ['www.example AAAA'],
    }),
  ),
  {
    title: '5.5 DO=1 keeps the AD of an answer passed on',
    script: {
      'www.example AAAA': {
        answer: ['www.example 3 AAAA 2001:db8:1::1', 'www.example 3 RRSIG AAAA'],
        flags: AD,
      },
    },
    ask: { edns: 1232, dnssecOk: true },
    expect: { flags: RD | RA | AD, answer: ['www.example 3 AAAA 2001:db8:1::1', 'www.example 3 RRSIG AAAA'] },
  },
  {
    title: '5.5 DO=0 never gets AD',
    script: { 'www.example AAAA': { answer: ['www.example 3 AAAA 2001:db8:1::1'], flags: AD } },
    ask: { edns: 1232 },
    expect: { flags: RD | RA },
  },
  {
    title: '5.1 ANY is passed on, never synthesized',
    script: { 'www.example ANY': { answer: ['www.example 60 A 192.0.2.1'] } },
    ask: { type: 'ANY' },
    expect: { answer: ['www.example 60 A 192.0.2.1'] },
    asked: ['www.example ANY'],
  },
  {
    title: '5.1 another class than IN is passed on, never synthesized',
    script: { 'www.example AAAA': { answer: [] } },
    ask: { class: 'CH' },
    expect: { rcode: 0, answer: [] },
    asked: ['www.example AAAA'],
  },
  {
    title: '5.1 another type is passed on',
    script: { 'example MX': { answer: ['example 60 MX 10 www.example'] } },
    ask: { name: 'example', type: 'MX' },
    expect: { answer: ['example 60 MX 10 www.example'] },
    asked: ['example MX'],
  },
];

for (const row of ROWS) {
  test(`RFC 6147 ${row.title}`, async () => {
    const gate = await gateway(row.script, row.options);
    try {
      const reply = await gate.ask({ name: 'www.example', type: 'AAAA', ...row.ask });
      assert.equal(reply.id, 0x1234);
      for (const [key, value] of Object.entries(row.expect)) {
        assert.deepEqual(reply[key as keyof Reply], value, key);
      }
      if (row.asked !== undefined) {
        assert.deepEqual(
          gate.server.asked.map((one) => `${one.name} ${one.type}`),
          row.asked,
        );
      }
      if (row.extendedErrors !== undefined) assert.deepEqual(reply.opt?.errors, row.extendedErrors);
      for (const [key, value] of Object.entries(row.counts ?? {})) {
        assert.equal(gate.dns64.stats[key as 'passed'], value, key);
      }
    } finally {
      await gate.close();
    }
    assert.equal(gate.dns64.stats.pending, 0);
    assert.equal(gate.dns64.stats.upstreamPending, 0);
  });
}

test('RFC 6147 5.4 the question is echoed letter for letter, whatever the server makes of it', async () => {
  const script: Script = {
    'www.example AAAA': NODATA,
    'www.example A': { answer: ['www.example 60 A 192.0.2.1'] },
    'six.example AAAA': { answer: ['six.example 60 AAAA 2001:db8:1::1'] },
  };
  const gate = await gateway(script);
  try {
    assert.equal((await gate.ask({ name: 'wWw.eXAmple', type: 'AAAA' })).question, 'wWw.eXAmple AAAA');
    assert.deepEqual((await gate.ask({ name: 'WWW.example', type: 'AAAA' })).answer, [
      'www.example 60 AAAA 2001:db8:64::c000:201',
    ]);
    assert.equal((await gate.ask({ name: 'SIX.example', type: 'AAAA' })).question, 'SIX.example AAAA');
  } finally {
    await gate.close();
  }
});

test('RFC 6147 5.5 DO, CD and RD go upstream as the client set them', async () => {
  const gate = await gateway({ '*': NODATA });
  try {
    await gate.ask({ name: 'a.example', type: 'TXT', flags: CD, edns: 1232, dnssecOk: true });
    await gate.ask({ name: 'b.example', type: 'TXT', flags: RD });
    assert.deepEqual(gate.server.asked, [
      { name: 'a.example', type: 'TXT', transport: 'udp', flags: CD, dnssecOk: true, edns: true },
      { name: 'b.example', type: 'TXT', transport: 'udp', flags: RD, dnssecOk: false, edns: true },
    ]);
  } finally {
    await gate.close();
  }
});

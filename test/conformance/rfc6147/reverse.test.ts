/** RFC 6147 section 5.3.1: PTR queries for addresses under a prefix. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CD, gateway, NXDOMAIN, RD, type Script, SERVFAIL } from './harness.js';

/** The ip6.arpa name of an address given as 32 hex digits. */
const reverse6 = (digits: string) => `${digits.split('').reverse().join('.')}.ip6.arpa`;
const IN_PREFIX = reverse6('20010db800640000000000000a000001');
const IN_WKP = reverse6('0064ff9b000000000000000008080404');
const IN_48 = reverse6('20010db801220a000000010000000000');

const PTR_10: Script = {
  '1.0.0.10.in-addr.arpa PTR': {
    answer: ['1.0.0.10.in-addr.arpa 300 PTR host.example'],
    authority: ['10.in-addr.arpa 300 NS ns.example'],
  },
};

const ROWS = [
  {
    title: 'a PTR in the prefix is a CNAME to the in-addr.arpa name and the PTR found there',
    script: PTR_10,
    name: IN_PREFIX,
    rcode: 0,
    answer: [`${IN_PREFIX} 300 CNAME 1.0.0.10.in-addr.arpa`, '1.0.0.10.in-addr.arpa 300 PTR host.example'],
    asked: ['1.0.0.10.in-addr.arpa'],
  },
  {
    title: 'letter case does not matter, and comes back as it was',
    script: PTR_10,
    name: IN_PREFIX.toUpperCase(),
    rcode: 0,
    answer: [
      `${IN_PREFIX.toUpperCase()} 300 CNAME 1.0.0.10.in-addr.arpa`,
      '1.0.0.10.in-addr.arpa 300 PTR host.example',
    ],
    asked: ['1.0.0.10.in-addr.arpa'],
  },
  {
    title: 'the well-known prefix is served whatever the prefix; a chain there is kept (RFC 2317)',
    script: {
      '4.4.8.8.in-addr.arpa PTR': {
        answer: [
          '4.4.8.8.in-addr.arpa 60 CNAME 4.sub.8.8.in-addr.arpa',
          '4.sub.8.8.in-addr.arpa 90 PTR dns.example',
        ],
      },
    } as Script,
    name: IN_WKP,
    rcode: 0,
    answer: [
      `${IN_WKP} 60 CNAME 4.4.8.8.in-addr.arpa`,
      '4.4.8.8.in-addr.arpa 60 CNAME 4.sub.8.8.in-addr.arpa',
      '4.sub.8.8.in-addr.arpa 90 PTR dns.example',
    ],
    asked: ['4.4.8.8.in-addr.arpa'],
  },
  {
    title: 'a /48: the u octet is skipped',
    script: PTR_10,
    pref64: '2001:db8:122::/48',
    name: IN_48,
    rcode: 0,
    answer: [`${IN_48} 300 CNAME 1.0.0.10.in-addr.arpa`, '1.0.0.10.in-addr.arpa 300 PTR host.example'],
    asked: ['1.0.0.10.in-addr.arpa'],
  },
  {
    title: 'a suffix that is not zero: NXDOMAIN from us, nobody asked',
    script: PTR_10,
    pref64: '2001:db8:122::/48',
    name: reverse6('20010db801220a000000010000000001'),
    rcode: NXDOMAIN,
    answer: [],
    asked: [],
  },
  {
    title: 'a u octet that is not zero: NXDOMAIN from us, nobody asked',
    script: PTR_10,
    pref64: '2001:db8:122::/48',
    name: reverse6('20010db801220a000100010000000000'),
    rcode: NXDOMAIN,
    answer: [],
    asked: [],
  },
  {
    title: 'no PTR there: its rcode, no CNAME',
    script: {},
    name: IN_PREFIX,
    rcode: NXDOMAIN,
    answer: [],
    asked: ['1.0.0.10.in-addr.arpa'],
  },
  {
    title: 'the query there fails: SERVFAIL',
    script: { '*': { rcode: SERVFAIL } } as Script,
    name: IN_PREFIX,
    rcode: SERVFAIL,
    answer: [],
    asked: ['1.0.0.10.in-addr.arpa'],
  },
  {
    title: 'an address in no prefix is forwarded',
    script: {
      '*': { answer: [`${reverse6('20010db8000000000000000000000001')} 5 PTR six.example`] },
    } as Script,
    name: reverse6('20010db8000000000000000000000001'),
    rcode: 0,
    answer: [`${reverse6('20010db8000000000000000000000001')} 5 PTR six.example`],
    asked: [reverse6('20010db8000000000000000000000001')],
  },
  {
    title: 'a name of fewer labels is forwarded',
    script: {},
    name: IN_PREFIX.slice(2),
    rcode: NXDOMAIN,
    answer: [],
    asked: [IN_PREFIX.slice(2)],
  },
  {
    title: 'CD=1 is forwarded untouched',
    script: {},
    name: IN_PREFIX,
    flags: RD | CD,
    rcode: NXDOMAIN,
    answer: [],
    asked: [IN_PREFIX],
  },
];

for (const row of ROWS) {
  test(`RFC 6147 5.3.1 ${row.title}`, async () => {
    const gate = await gateway(row.script, row.pref64 === undefined ? {} : { pref64: row.pref64 });
    try {
      const reply = await gate.ask({ name: row.name, type: 'PTR', flags: row.flags ?? RD });
      assert.equal(reply.rcode, row.rcode);
      assert.deepEqual(reply.answer, row.answer);
      assert.deepEqual(
        gate.server.asked.map((one) => one.name),
        row.asked,
      );
    } finally {
      await gate.close();
    }
    assert.equal(gate.dns64.stats.pending, 0);
  });
}

test('RFC 2308 3: a negative answer of our own carries the SOA of the prefix', async () => {
  const gate = await gateway({});
  try {
    const reply = await gate.ask({ name: IN_PREFIX, type: 'PTR' });
    assert.deepEqual(reply.authority, [`${IN_PREFIX.slice(16)} 600 SOA 600`]);
  } finally {
    await gate.close();
  }
});

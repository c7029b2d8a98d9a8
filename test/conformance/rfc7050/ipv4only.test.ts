/** RFC 7050 and RFC 8880: ipv4only.arpa is answered by the DNS64 itself. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CD, gateway, NXDOMAIN, RD } from '../rfc6147/harness.js';

const NAME = 'ipv4only.arpa';
const SOA = 'ipv4only.arpa 600 SOA 600';
const A = [`${NAME} 3600 A 192.0.0.170`, `${NAME} 3600 A 192.0.0.171`];
const WKP_REVERSE = `${'0064ff9b0000000000000000c00000aa'.split('').reverse().join('.')}.ip6.arpa`;

const ROWS = [
  {
    title: 'RFC 7050 3: AAAA shows the prefix with both well-known addresses',
    ask: { name: NAME, type: 'AAAA' },
    answer: [`${NAME} 3600 AAAA 2001:db8:64::c000:aa`, `${NAME} 3600 AAAA 2001:db8:64::c000:ab`],
  },
  {
    title: 'RFC 7050 2.2: under the well-known prefix too, strict or not',
    ask: { name: NAME, type: 'AAAA' },
    pref64: '64:ff9b::/96',
    answer: [`${NAME} 3600 AAAA 64:ff9b::c000:aa`, `${NAME} 3600 AAAA 64:ff9b::c000:ab`],
  },
  {
    title: 'RFC 7050 3: CD=1 gets no synthesized AAAA',
    ask: { name: NAME, type: 'AAAA', flags: RD | CD },
    answer: [],
    authority: [SOA],
  },
  {
    title: 'RFC 8880 7.1: A',
    ask: { name: 'IPv4Only.ARPA', type: 'A' },
    answer: A.map((one) => one.replace(NAME, 'IPv4Only.ARPA')),
  },
  {
    title: 'RFC 8880 7.1: another type has no data',
    ask: { name: NAME, type: 'MX' },
    answer: [],
    authority: [SOA],
  },
  {
    title: 'RFC 8880 7.1: names below do not exist',
    ask: { name: `a.${NAME}`, type: 'AAAA' },
    rcode: NXDOMAIN,
    answer: [],
    authority: [SOA],
  },
  {
    title: 'RFC 8880 7.2: the reverse name of 192.0.0.170',
    ask: { name: '170.0.0.192.in-addr.arpa', type: 'PTR' },
    answer: [`170.0.0.192.in-addr.arpa 3600 PTR ${NAME}`],
  },
  {
    title: 'RFC 8880 7.2: the reverse name of 192.0.0.171',
    ask: { name: '171.0.0.192.in-addr.arpa', type: 'PTR' },
    answer: [`171.0.0.192.in-addr.arpa 3600 PTR ${NAME}`],
  },
  {
    title: 'RFC 8880 7.2: the reverse name under a prefix, by way of in-addr.arpa',
    ask: { name: WKP_REVERSE, type: 'PTR' },
    answer: [
      `${WKP_REVERSE} 3600 CNAME 170.0.0.192.in-addr.arpa`,
      `170.0.0.192.in-addr.arpa 3600 PTR ${NAME}`,
    ],
  },
];

for (const row of ROWS) {
  test(row.title, async () => {
    const gate = await gateway({}, row.pref64 === undefined ? {} : { pref64: row.pref64 });
    try {
      const reply = await gate.ask(row.ask);
      assert.equal(reply.rcode, row.rcode ?? 0);
      assert.deepEqual(reply.answer, row.answer);
      assert.deepEqual(reply.authority, row.authority ?? []);
      assert.deepEqual(gate.server.asked, [], 'nobody is asked');
    } finally {
      await gate.close();
    }
  });
}

test('RFC 8880 7.1: DS is forwarded, for it is the parent that knows', async () => {
  const gate = await gateway({ 'ipv4only.arpa DS': { authority: ['arpa 60 SOA 60'] } });
  try {
    assert.deepEqual((await gate.ask({ name: NAME, type: 'DS' })).authority, ['arpa 60 SOA 60']);
    assert.equal(gate.server.asked.length, 1);
  } finally {
    await gate.close();
  }
});

test('RFC 7050: a name that only ends in the same letters is another name', async () => {
  const gate = await gateway({});
  try {
    await gate.ask({ name: 'xipv4only.arpa', type: 'A' });
    assert.equal(gate.server.asked.length, 1);
  } finally {
    await gate.close();
  }
});

/** RFC 6761 (localhost, invalid) and RFC 7686 (onion): names that no name server is asked about. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CD, gateway, NXDOMAIN, RD } from '../rfc6147/harness.js';

const ROWS: readonly {
  name: string;
  type: string;
  rcode?: number;
  answer?: string[];
  zone?: string;
  flags?: number;
}[] = [
  { name: 'localhost', type: 'A', answer: ['localhost 3600 A 127.0.0.1'] },
  { name: 'LocalHost', type: 'AAAA', answer: ['LocalHost 3600 AAAA ::1'] },
  { name: 'localhost', type: 'AAAA', flags: RD | CD, answer: ['localhost 3600 AAAA ::1'] },
  { name: 'db.localhost', type: 'A', answer: ['db.localhost 3600 A 127.0.0.1'] },
  { name: 'localhost', type: 'ANY', answer: ['localhost 3600 A 127.0.0.1', 'localhost 3600 AAAA ::1'] },
  { name: 'localhost', type: 'MX', zone: 'localhost' },
  {
    name: '1.0.0.127.in-addr.arpa',
    type: 'PTR',
    answer: ['1.0.0.127.in-addr.arpa 3600 PTR localhost'],
  },
  {
    name: `1.${'0.'.repeat(31)}ip6.arpa`,
    type: 'PTR',
    answer: [`1.${'0.'.repeat(31)}ip6.arpa 3600 PTR localhost`],
  },
  { name: 'invalid', type: 'A', rcode: NXDOMAIN, zone: 'invalid' },
  { name: 'www.INVALID', type: 'AAAA', rcode: NXDOMAIN, zone: 'invalid' },
  { name: 'abc.onion', type: 'AAAA', rcode: NXDOMAIN, zone: 'onion' },
  { name: 'onion', type: 'SOA', rcode: NXDOMAIN, zone: 'onion' },
];

for (const { name, type, rcode, answer, zone, flags } of ROWS) {
  test(`RFC 6761: ${name} ${type}${flags === undefined ? '' : ' with CD=1'}`, async () => {
    const gate = await gateway({});
    try {
      const reply = await gate.ask({ name, type, ...(flags === undefined ? {} : { flags }) });
      assert.equal(reply.rcode, rcode ?? 0);
      assert.deepEqual(reply.answer, answer ?? []);
      assert.deepEqual(reply.authority, zone === undefined ? [] : [`${zone} 600 SOA 600`]);
      assert.deepEqual(gate.server.asked, []);
    } finally {
      await gate.close();
    }
  });
}

test('RFC 6761: other classes, and names that end in the same letters, are forwarded', async () => {
  const gate = await gateway({});
  try {
    await gate.ask({ name: 'localhost', type: 'A', class: 'CH' });
    await gate.ask({ name: 'xlocalhost', type: 'A' });
    await gate.ask({ name: 'invalid.example', type: 'A' });
    assert.equal(gate.server.asked.length, 3);
  } finally {
    await gate.close();
  }
});

/** RFC 9462 section 6.4: resolver.arpa is answered here and never forwarded. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gateway } from '../rfc6147/harness.js';

for (const [name, type] of [
  ['_dns.resolver.arpa', 'UNKNOWN_64'],
  ['_dns.resolver.arpa', 'AAAA'],
  ['_DNS.Resolver.ARPA', 'A'],
  ['resolver.arpa', 'SOA'],
  ['resolver.arpa', 'DS'],
  ['a.b.resolver.arpa', 'TXT'],
] as const) {
  test(`RFC 9462 6.4: ${name} ${type} is there without data`, async () => {
    const gate = await gateway({ '*': { answer: [`${name.toLowerCase()} 60 A 192.0.2.1`] } });
    try {
      const reply = await gate.ask({ name, type });
      assert.equal(reply.rcode, 0);
      assert.deepEqual(reply.answer, []);
      assert.deepEqual(reply.authority, ['resolver.arpa 600 SOA 600']);
      assert.deepEqual(gate.server.asked, []);
    } finally {
      await gate.close();
    }
  });
}

/** RFC 8880 section 7.1: ipv4only.arpa where there are several prefixes, and clients that get none. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gateway } from '../rfc6147/harness.js';
import { names } from '../rfc6147/names.js';

const NAME = 'ipv4only.arpa';
const under = (prefix: string) => [
  `${NAME} 3600 AAAA ${prefix}c000:aa`,
  `${NAME} 3600 AAAA ${prefix}c000:ab`,
];

const ROWS = [
  {
    title: 'each prefix is shown, whatever one response takes',
    toml: 'pref64 = ["2001:db8:a::/96", "2001:db8:b::/96"]',
    answer: [...under('2001:db8:a::'), ...under('2001:db8:b::')],
  },
  {
    title: 'exclude-ipv4 and non-global ranges do not hold for 192.0.0.170 and .171',
    toml: 'pref64 = "64:ff9b::/96"\nexclude-ipv4 = ["192.0.0.0/24"]',
    answer: under('64:ff9b::'),
  },
  { title: 'nor do exclude-names', toml: 'exclude-names = ["arpa"]', answer: under('2001:db8:64::') },
  { title: 'who gets nothing synthesized gets no prefix either', toml: 'synthesize = false', answer: [] },
  { title: 'nor does who is not of `clients`', toml: 'clients = ["::1"]', answer: [] },
  {
    title: "a policy's clients get its prefix",
    toml: '[[dns64.policy]]\nclients = ["127.0.0.1"]\npref64 = "2001:db8:c::/96"',
    answer: under('2001:db8:c::'),
  },
];

for (const { title, toml, answer } of ROWS) {
  test(`RFC 8880 7.1: ${title}`, async () => {
    const gate = await gateway({}, { names: names(toml) });
    try {
      const reply = await gate.ask({ name: NAME, type: 'AAAA' });
      assert.deepEqual(reply.answer, answer);
      assert.equal(reply.rcode, 0);
      const a = await gate.ask({ name: NAME, type: 'A' });
      assert.deepEqual(a.answer, [`${NAME} 3600 A 192.0.0.170`, `${NAME} 3600 A 192.0.0.171`]);
      assert.deepEqual(gate.server.asked, []);
    } finally {
      await gate.close();
    }
  });
}

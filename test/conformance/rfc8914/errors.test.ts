/** RFC 8914: extended errors, ours and those of forwarders. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rig, type Said } from '../../helpers/dns-upstream.js';
import type { Ask } from '../rfc6147/harness.js';

const ROWS: { what: string; script: Record<string, Said>; type?: string; errors: number[] }[] = [
  {
    what: '4.23 silence is 22, No Reachable Authority',
    script: { 'w A': { failure: 'timeout' } },
    errors: [22],
  },
  { what: '4.23 no forwarder is 22', script: { 'w A': { failure: 'no-forwarder' } }, errors: [22] },
  { what: '4.24 a network error is 23', script: { 'w A': { failure: 'network' } }, errors: [23] },
  {
    what: "2 a forwarder's own is passed on",
    script: { 'w A': { rcode: 2, extendedError: 7 } },
    errors: [7],
  },
  { what: 'an ordinary answer has none', script: { 'w A': { answer: ['w 9 A 192.0.2.1'] } }, errors: [] },
  {
    what: 'registry: a synthesized answer has 29, Synthesized',
    script: { 'w AAAA': { authority: ['. 9 SOA 9'] }, 'w A': { answer: ['w 9 A 192.0.2.1'] } },
    type: 'AAAA',
    errors: [29],
  },
  {
    what: 'registry: an AAAA answer that is passed on has no 29',
    script: { 'w AAAA': { answer: ['w 9 AAAA 2001:db8::1'] } },
    type: 'AAAA',
    errors: [],
  },
];

for (const { what, script, type = 'A', errors } of ROWS) {
  test(`RFC 8914 ${what}`, async () => {
    const ask: Ask = { name: 'w', type, edns: 1232 };
    const one = rig(script);
    assert.deepEqual((await one.ask(ask)).opt?.errors, errors);
    // A client without EDNS gets the answer without them.
    const plain = await rig(script).ask({ name: 'w', type });
    assert.equal(plain.opt, null);
  });
}

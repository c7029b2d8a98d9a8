/** The scenarios of the folder beside this file, and the reading of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { readScenarios, runScenario, testScenarios } from '../../helpers/scenario.js';

// Scenario files are not compiled: they stay with the sources.
testScenarios(fileURLToPath(new URL('../../../../test/conformance/rfc6147/scenarios/', import.meta.url)));

const MISTAKES: [string, RegExp][] = [
  ['query a A', /^Error: f:1: 'query' before the first scenario/],
  ['scenario a\nserver a A\n  says yes', /^Error: f:3: 'says' means nothing here/],
  ['scenario a\nserver a A\n  rcode NONE', /^Error: f:3: no rcode 'NONE'/],
  ['scenario a\nreply NOERROR', /^Error: f:2: 'reply' without a query/],
  ['scenario a\nquery a A', /^Error: f:1: a scenario needs queries/],
];
for (const [text, message] of MISTAKES) {
  test(`a scenario with a mistake: ${message.source}`, () => {
    assert.throws(() => readScenarios(text, 'f'), message);
  });
}

const FALSE_REPLIES = [
  'reply SERVFAIL',
  'reply NOERROR',
  'reply NOERROR\nanswer a.example 5 A 192.0.2.2',
  'reply NOERROR\nanswer a.example 5 A 192.0.2.1\nflags AA RD RA',
  'reply NOERROR\nanswer a.example 5 A 192.0.2.1\nasked nothing',
  'reply NOERROR\nanswer a.example 5 A 192.0.2.1\nasked a.example A tcp',
];
for (const reply of FALSE_REPLIES) {
  test(`a scenario whose reply is another fails: ${JSON.stringify(reply)}`, async () => {
    const server = 'server a.example A\nanswer a.example 5 A 192.0.2.1';
    const [scenario] = readScenarios(`scenario s\n${server}\nquery a.example A\n${reply}`, 'f');
    await assert.rejects(runScenario(scenario!, 'f'), { code: 'ERR_ASSERTION' });
  });
}

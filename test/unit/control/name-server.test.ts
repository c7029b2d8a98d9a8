/** DNS64 by a configuration. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from '#nat64d/control/config/index.js';
import { isSameNameServer } from '#nat64d/control/name-server.js';

const BEFORE = 'pool4 = "10.64.0.0/16"\npref64 = "2001:db8:64::/96"\n[dns64]\nlisten = ["::1"]\n';

for (const [what, toml, isSame] of [
  ['nothing', BEFORE, true],
  ['what DNS64 has nothing to do with', `${BEFORE}[log]\nmaps = true\n`, true],
  ['pool4, whose hosts may ask', BEFORE.replace('10.64', '10.65'), false],
  ['pref64', BEFORE.replace('db8:64', 'db8:65'), false],
  ['wkpf-strict', `wkpf-strict = false\n${BEFORE}`, false],
  ['[dns64]', BEFORE.replace('::1', '::'), false],
] as const) {
  test(`a configuration with another ${what} is ${isSame ? 'the same' : 'another'} for DNS64`, () => {
    assert.equal(isSameNameServer(parseConfig(BEFORE, 'f'), parseConfig(toml, 'f')), isSame);
  });
}

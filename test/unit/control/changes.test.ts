import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changesBetween, withoutFixed } from '#nat64d/control/changes.js';
import { parseConfig } from '#nat64d/control/config/index.js';

const read = (text: string) => parseConfig(text, 'f');
const MAP = '[[map]]\nipv4 = "198.51.100.1"\nipv6 = "2001:db8:9::1"\n';

for (const [before, after, applied, fixed] of [
  ['', '', [], []],
  ['', '# a comment\n', [], []],
  ['', 'pref64 = "2001:db8:64::/96"\n', ['pref64', 'ipv6-address', 'device.addresses', 'dns64.listen'], []],
  ['', MAP, ['map'], []],
  ['', 'map-lifetime = 60\nmax-maps-per-64 = 1\n', ['map-lifetime', 'max-maps-per-64'], []],
  [
    '',
    '[translation]\nlowest-ipv6-mtu = 1400\nmss-clamp = "auto"\n',
    ['translation.lowest-ipv6-mtu', 'translation.mss-clamp'],
    [],
  ],
  [
    '',
    '[dns64]\ncache-size = 0\nserve-stale = 9\nprefetch = false\ncookies = false\nrate-limit = 5\ntcp-idle = 3\nretry = 9\nrandomize-case = true\n',
    [
      ...['cache-size', 'serve-stale', 'prefetch', 'cookies', 'rate-limit', 'tcp-idle', 'retry'],
      'randomize-case',
    ].map((key) => `dns64.${key}`),
    [],
  ],
  ['', '[log]\nlevel = "debug"\n', ['log.level'], []],
  ['', 'control-group = "adm"\n[http]\nlisten = false\n', ['control-group', 'http.listen'], []],
  [
    '',
    'workers = 3\nworker-nice = 0\n[device]\nname = "other"\noffload = false\n',
    [],
    ['workers', 'worker-nice', 'device.name', 'device.offload'],
  ],
  [
    '',
    'data-dir = "/d"\nrun-dir = "/r"\n[log]\nformat = "json"\n',
    [],
    ['data-dir', 'run-dir', 'log.format'],
  ],
  [
    '[log]\nlevel = "warn"\n',
    'wkpf-strict = false\nworkers = 2\n',
    ['wkpf-strict', 'log.level'],
    ['workers'],
  ],
] as const) {
  test(`${JSON.stringify(before)} to ${JSON.stringify(after)}`, () => {
    const changes = changesBetween(read(before), read(after));
    assert.deepEqual([...changes.applied].sort(), [...applied].sort());
    assert.deepEqual(changes.fixed.map(({ key }) => key).sort(), [...fixed].sort());
  });
}

test('what needs a restart stays as it was, the rest is new', () => {
  const before = read('workers = 1\n[device]\nname = "a"\n');
  const after = withoutFixed(before, read('workers = 2\npool4 = "10.9.0.0/24"\n[device]\nname = "b"\n'));
  assert.equal(after.workers, 1);
  assert.equal(after.device.name, 'a');
  assert.equal(after.pool4?.length, 24);
  assert.deepEqual(changesBetween(before, after).fixed, []);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changesBetween, refusalOf } from '#nat64d/control/changes.js';
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
  ['', 'allow-from = ["2001:db8::/32"]\n', ['allow-from'], []],
  [
    '',
    '[advertise]\ninterfaces = ["lan0"]\ninterval = 60\nlifetime = 90\nrouter-lifetime = 60\n',
    ['interfaces', 'interval', 'lifetime', 'router-lifetime'].map((key) => `advertise.${key}`),
    [],
  ],
  ['', 'control-group = "adm"\n[http]\nlisten = false\n', ['control-group', 'http.listen'], []],
  [
    '',
    'workers = 3\nworker-nice = -1\n[device]\nname = "other"\nmtu = 1400\noffload = false\nforwarding = false\nmasquerade = "eth0"\n',
    ['workers', 'device.mtu', 'device.offload', 'device.forwarding', 'device.masquerade'],
    ['worker-nice', 'device.name'],
  ],
  ['', 'data-dir = "/d"\nrun-dir = "/r"\n[log]\nformat = "json"\n', ['log.format'], ['data-dir', 'run-dir']],
  [
    '[log]\nlevel = "warn"\n',
    'wkpf-strict = false\nworkers = 2\n',
    ['wkpf-strict', 'log.level', 'workers'],
    [],
  ],
] as const) {
  test(`${JSON.stringify(before)} to ${JSON.stringify(after)}`, () => {
    const changes = changesBetween(read(before), read(after));
    assert.deepEqual([...changes.applied].sort(), [...applied].sort());
    assert.deepEqual(changes.fixed.map(({ key }) => key).sort(), [...fixed].sort());
  });
}

test('what needs a restart is named, a line each', () => {
  const lines = refusalOf(
    changesBetween(read(''), read('data-dir = "/d"\nworkers = 2\n[device]\nname = "b"\n')),
    'f',
  );
  assert.deepEqual(
    lines.split('\n').map((line) => /^f: (\S+) cannot change while the gateway runs/.exec(line)?.[1]),
    ['data-dir', 'device.name'],
  );
  assert.equal(refusalOf(changesBetween(read(''), read('workers = 2\n')), 'f'), '');
});

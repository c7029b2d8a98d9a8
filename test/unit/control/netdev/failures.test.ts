/** The kernel's side where `ip` fails: what has been set up is remembered, and what is left is taken down. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import type { NetdevSettings } from '#nat64d/control/netdev/index.js';

const folder = mkdtempSync(join(tmpdir(), 'nat64d-netdev-'));
after(() => rmSync(folder, { recursive: true }));

/** An `ip` that knows no routes and no addresses, writes down what it is told, and fails at a line that matches. */
const IP = `#!/bin/sh
case "$*" in
  *-j*) echo '[]'; exit ;;
esac
while read -r line; do
  echo "$line" >> "${folder}/lines"
  if [ -s "${folder}/failing" ] && echo "$line" | grep -q -f "${folder}/failing"; then
    echo "RTNETLINK answers: Out of order" >&2
    status=1
    case "$*" in *-force*) ;; *) exit 1 ;; esac
  fi
done
exit \${status:-0}
`;
writeFileSync(join(folder, 'ip'), IP);
chmodSync(join(folder, 'ip'), 0o755);
// A folder of that name is no program, wherever it stands.
mkdirSync(join(folder, 'first', 'ip'), { recursive: true });
process.env.PATH = `${join(folder, 'first')}:${folder}:${process.env.PATH}`;
// Not before: where its commands are is looked up as it is loaded.
const { configureNetdev } = await import('#nat64d/control/netdev/index.js');

const failAt = (pattern: string) => writeFileSync(join(folder, 'failing'), pattern);
const told = () => readFileSync(join(folder, 'lines'), 'utf8').trim().split('\n');
const forget = () => writeFileSync(join(folder, 'lines'), '');
beforeEach(() => {
  failAt('');
  forget();
});

const warnings: string[] = [];
const nowhere = () => {};
const log = {
  debug: nowhere,
  info: nowhere,
  warn: (text: string) => void warnings.push(text),
  error: nowhere,
};

const route = (prefix: string) => ({ family: 4, prefix, key: 'pool4' }) as const;
const SETTINGS: NetdevSettings = {
  device: 'nat64',
  // With it, this machine's own sysctls would be looked at.
  configure: false,
  up: false,
  mtu: 1500,
  addresses: [{ family: 4, address: 0x0a400001, length: 32 }],
  routes: [route('10.64.0.0/16'), route('198.51.100.7/32')],
  forwarding: false,
  masquerade: false,
  masqueradeSource: null,
  runDir: folder,
};
const REMOVALS = [
  'route del 10.64.0.0/16 dev nat64',
  'route del 198.51.100.7/32 dev nat64',
  'address del 10.64.0.1/32 dev nat64',
];

test('where routes cannot be removed the addresses are all the same', async () => {
  const netdev = await configureNetdev(SETTINGS, log);
  forget();
  failAt('^route del 10');
  await netdev.reduce({ ...SETTINGS, addresses: [], routes: [] }, log);
  assert.deepEqual(told(), REMOVALS);
  assert.equal(warnings.length, 1);
  assert.match(warnings.pop() ?? '', /cannot remove the routes to nat64.*Out of order/);
});

for (const line of ['^address add', '^route add 198']) {
  test(`a set-up that fails again at '${line}' forgets nothing that is to be taken down at the end`, async () => {
    const netdev = await configureNetdev(SETTINGS, log);
    failAt(line);
    await assert.rejects(netdev.setUpAgain(SETTINGS, log), /Out of order/);
    failAt('');
    forget();
    await netdev.setUpAgain(SETTINGS, log);
    assert.deepEqual(told(), [
      'address add 10.64.0.1/32 dev nat64',
      'route add 10.64.0.0/16 dev nat64 src 10.64.0.1',
      'route add 198.51.100.7/32 dev nat64 src 10.64.0.1',
    ]);
    failAt(line);
    await assert.rejects(netdev.setUpAgain(SETTINGS, log), /Out of order/);
    failAt('');
    forget();
    await netdev.restore();
    assert.deepEqual(told(), REMOVALS);
    assert.deepEqual(warnings, []);
  });
}

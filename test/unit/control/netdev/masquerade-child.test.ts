/** The child that holds the masquerade table, where it dies as the rule changes. */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../../../helpers/until.js';

const folder = mkdtempSync(join(tmpdir(), 'nat64d-nft-'));
after(() => rmSync(folder, { recursive: true }));
const table = join(folder, 'table');

/** An `nft` whose one table is a file: the line that it was told last. A table takes its time to appear. */
const NFT = `#!/bin/sh
case "$1" in
  list)
    cat "${table}" 2>/dev/null && exit
    echo "Error: No such file or directory" >&2
    exit 1 ;;
  -i)
    echo $$ > "${folder}/child"
    while read -r line; do
      sleep 0.3
      echo "$line" > "${table}"
    done
    rm -f "${table}" ;;
esac
`;
writeFileSync(join(folder, 'nft'), NFT);
chmodSync(join(folder, 'nft'), 0o755);
process.env.PATH = `${folder}:${process.env.PATH}`;
// Not before: where its commands are is looked up as it is loaded.
const { Masquerade } = await import('#nat64d/control/netdev/masquerade.js');

const child = () => Number(readFileSync(join(folder, 'child'), 'utf8'));
const ruleOf = (address: number) =>
  ({ device: 'nat64', source: { address, length: 24 }, outgoing: true }) as const;

test('a rule that changes while another child makes the table is the one in force', async () => {
  const nowhere = () => {};
  const log = { debug: nowhere, info: nowhere, warn: nowhere, error: nowhere };
  const masquerade = await Masquerade.start(ruleOf(0x0a400000), log);
  try {
    assert.match(readFileSync(table, 'utf8'), /10\.64\.0\.0\/24/);
    const first = child();
    rmSync(table);
    process.kill(first, 'SIGKILL');
    await until(() => child() !== first, `another child than ${first}`, 30_000);
    await masquerade.change(ruleOf(0x0a410000));
    await sleep(500);
    assert.match(readFileSync(table, 'utf8'), /10\.65\.0\.0\/24/);
  } finally {
    await masquerade.stop();
  }
  assert.ok(!existsSync(table));
});

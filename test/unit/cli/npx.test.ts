/** `npx` in the folder of a clone, as the README has it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
const cache = mkdtempSync(join(tmpdir(), 'nat64d-npx-'));
after(() => rmSync(cache, { recursive: true }));

function npx(...args: string[]) {
  const env = { ...process.env, npm_config_cache: cache, npm_config_update_notifier: 'false' };
  return spawnSync('npx', ['--offline', ...args], { cwd: ROOT, env, encoding: 'utf8' });
}

test('it runs what is built here, also where npm has kept a link to where that was before', () => {
  assert.equal(npx('nat64ctl', '--version').status, 0);
  const kept = join(cache, '_npx');
  for (const hash of existsSync(kept) ? readdirSync(kept) : []) {
    const link = join(kept, hash, 'node_modules/.bin/nat64ctl');
    rmSync(link);
    symlinkSync('../nat64d/nowhere.js', link);
  }
  const { status, stdout, stderr } = npx('nat64ctl', '--version');
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^nat64ctl \d/);
});

for (const name of ['nat64d', 'tayga', 'totd']) {
  test(`npx ${name} does too`, () => assert.equal(npx(name, '--help').status, 0));
}

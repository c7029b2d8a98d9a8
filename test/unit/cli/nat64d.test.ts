/** nat64d's own words where it cannot even begin. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const CLI = fileURLToPath(new URL('../../../../dist/bin/nat64d.js', import.meta.url));

test('a log that cannot be opened is a failure with what to do, in one line', () => {
  const folder = mkdtempSync(join(tmpdir(), 'nat64d-cli-'));
  try {
    const file = join(folder, 'nat64d.toml');
    writeFileSync(file, `[log]\ndestination = "file:${folder}/none/log"\n`);
    const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, '--config', file], {
      encoding: 'utf8',
    });
    assert.deepEqual([status, stdout], [1, '']);
    assert.match(
      stderr,
      /^nat64d: the log cannot be opened \(ENOENT: .*\): make its folder, or set another log\.destination\n$/,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

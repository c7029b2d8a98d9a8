/** Folders that are made with all above them. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { makeFolder } from '#nat64d/control/folder.js';

let top: string;
beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), 'nat64d-folder-'));
});
afterEach(() => rmSync(top, { recursive: true, force: true }));

test('a folder is made with what is missing above it; one that is there, or is led to, stays', () => {
  const folder = join(top, 'a', 'b', 'c');
  makeFolder(folder);
  makeFolder(folder);
  assert.ok(statSync(folder).isDirectory());
  symlinkSync(folder, join(top, 'link'));
  makeFolder(join(top, 'link'));
  makeFolder(join(top, 'link', 'd'));
  assert.ok(statSync(join(folder, 'd')).isDirectory());
  makeFolder('/');
});

test('where a file is in the way, or a link that leads nowhere, that is an error', () => {
  writeFileSync(join(top, 'file'), '');
  symlinkSync('/nowhere/at/all', join(top, 'link'));
  for (const [name, code] of [
    ['file', 'EEXIST'],
    ['file/below', 'ENOTDIR'],
    ['link', 'EEXIST'],
  ] as const)
    assert.throws(() => makeFolder(join(top, name)), { code });
});

test('where the root of the process has been removed it is an error, not an endless loop', async () => {
  const root = join(top, 'root');
  mkdirSync(root);
  const script = `
    import native from '#native';
    import { makeFolder } from ${JSON.stringify(import.meta.resolve('#nat64d/control/folder.js'))};
    native.chroot(${JSON.stringify(root)});
    process.chdir('/');
    console.log('inside');
    process.stdin.once('data', () => {
      try {
        makeFolder('/var/lib/nat64d');
      } catch (error) {
        console.log(error.code);
      }
      process.exit();
    });`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const force = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await once(child.stdout, 'data');
  rmdirSync(root);
  child.stdin.write('\n');
  const [word] = (await once(child.stdout, 'data')) as [Buffer];
  clearTimeout(force);
  assert.equal(word.toString(), 'ENOENT\n');
});

/** The file that says which process serves. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Pidfile } from '#nat64d/control/pidfile.js';

const folder = mkdtempSync(join(tmpdir(), 'pidfile-test-'));
const file = join(folder, 'own.pid');
after(() => rmSync(folder, { recursive: true }));

for (const [what, text] of [
  ['of a process that is gone', '4194303\n'],
  ['of no process', 'nonsense'],
  ['of ourselves', `${process.pid}\n`],
  ['that is empty', ''],
] as const) {
  test(`one ${what} is taken over, and gone at the end`, () => {
    writeFileSync(file, text);
    const own = Pidfile.take(file);
    assert.equal(readFileSync(file, 'utf8'), `${process.pid}\n`);
    own.remove();
    assert.ok(!existsSync(file));
  });
}

test('one of a process that lives is left alone', () => {
  writeFileSync(file, '1\n');
  assert.throws(() => Pidfile.take(file), /own\.pid: process 1 lives/);
  assert.equal(readFileSync(file, 'utf8'), '1\n');
});

test("one that is another process's by now stays", () => {
  rmSync(file, { force: true });
  const own = Pidfile.take(file);
  writeFileSync(file, '1\n');
  own.remove();
  assert.equal(readFileSync(file, 'utf8'), '1\n');
});

/** What spares a build: nothing that it depends on has changed, and all that it made is there. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { ROOT, scratchFolder } from '../../helpers/packages.js';

interface Fingerprint {
  readonly INPUTS: readonly string[];
  readonly TEST_INPUTS: readonly string[];
  fingerprint(root: string, inputs: readonly string[]): string;
  isFresh(folder: string, print: string): boolean;
  stamp(folder: string, print: string): void;
  forget(folder: string): void;
  prune(folder: string, sources: readonly (readonly [made: string, source: string])[]): void;
}
const { INPUTS, TEST_INPUTS, fingerprint, isFresh, stamp, forget, prune } = (await import(
  join(ROOT, 'scripts/fingerprint.mjs')
)) as Fingerprint;

const { folder, remove } = scratchFolder('fingerprint');
after(remove);

test('what it depends on is there', () => {
  for (const path of [...INPUTS, ...TEST_INPUTS]) assert.ok(existsSync(join(ROOT, path)), path);
});

test('a changed, another and a moved source make another build necessary; a missing output too, and a failed one', () => {
  const write = (path: string, text: string) => writeFileSync(join(folder, path), text);
  const [src, dist] = [join(folder, 'src'), join(folder, 'dist')];
  mkdirSync(join(src, 'deep'), { recursive: true });
  mkdirSync(join(dist, 'deep'), { recursive: true });
  write('tsconfig.json', '{}');
  write('src/deep/a.ts', 'a');
  write('src/notes.txt', 'nothing that is compiled');
  const print = () => fingerprint(folder, ['src', 'tsconfig.json']);
  assert.ok(!isFresh(dist, print()), 'nothing is built');
  write('dist/deep/a.js', 'a');
  write('dist/.tsbuildinfo', '');
  stamp(dist, print());
  assert.ok(isFresh(dist, print()));
  write('src/notes.txt', 'else');
  assert.ok(isFresh(dist, print()));

  const built = print();
  for (const [path, text] of [
    ['src/deep/a.ts', 'b'],
    ['src/b.ts', ''],
    ['tsconfig.json', '{ }'],
  ] as const) {
    write(path, text);
    assert.ok(!isFresh(dist, print()), path);
    stamp(dist, print());
  }
  rmSync(join(src, 'b.ts'));
  assert.notEqual(print(), built);
  assert.ok(!isFresh(dist, print()), 'a source is gone');

  stamp(dist, print());
  rmSync(join(dist, 'deep/a.js'));
  assert.ok(!isFresh(dist, print()));
  assert.ok(!existsSync(join(dist, '.tsbuildinfo')), 'or the compiler would not write it again');
  write('dist/deep/a.js', 'a');
  assert.ok(isFresh(dist, print()));
  forget(dist);
  assert.ok(!isFresh(dist, print()));
});

test('what was made of a source that is gone is removed, and nothing else', () => {
  const [sources, made] = [join(folder, 'sources'), join(folder, 'made')];
  for (const path of [join(sources, 'deep'), join(made, 'part', 'deep')])
    mkdirSync(path, { recursive: true });
  writeFileSync(join(sources, 'deep', 'here.ts'), '');
  const kept = ['deep/here.js', 'deep/here.js.map', 'deep/here.d.ts', 'page.html', 'whole.cjs'];
  const gone = ['gone.js', 'deep/gone.js', 'deep/gone.js.map', 'deep/gone.d.ts'];
  for (const name of [...kept, ...gone]) writeFileSync(join(made, 'part', name), '');
  prune(made, [
    ['part', sources],
    ['another', sources],
  ]);
  for (const name of kept) assert.ok(existsSync(join(made, 'part', name)), name);
  for (const name of gone) assert.ok(!existsSync(join(made, 'part', name)), name);
});

// What a build depends on, and whether its outputs are those of what is there: nothing is built twice from the same files.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Files and folders that dist is made of, from the root. Of native, the types are compiled against; node_modules is as the lock says. */
export const INPUTS = [
  'config/nat64d.toml',
  'native/index.d.ts',
  'package-lock.json',
  'package.json',
  'scripts/build.mjs',
  'scripts/fingerprint.mjs',
  'src',
  'tsconfig.base.json',
  'tsconfig.json',
];
/** What dist-test is made of beside that. */
export const TEST_INPUTS = ['bench', 'test', 'tsconfig.test.json'];
const SOURCE = /\.(css|html|json|mjs|toml|ts)$/;

function filesOf(root, path) {
  if (!statSync(join(root, path)).isDirectory()) return [path];
  return readdirSync(join(root, path), { recursive: true })
    .map((name) => join(path, name))
    .filter(
      (name) => SOURCE.test(name) && !name.includes('node_modules') && !name.startsWith('bench/results'),
    );
}

/** Of the files' names and contents. */
export function fingerprint(root, inputs) {
  const hash = createHash('sha256');
  for (const name of inputs.flatMap((path) => filesOf(root, path)).sort()) {
    const content = readFileSync(join(root, name));
    hash.update(`${name} ${content.length}\n`).update(content);
  }
  return hash.digest('hex');
}

/** In the folder itself, so that it goes where the folder goes: the fingerprint, and below it the names of all outputs. */
const stampOf = (folder) => join(folder, '.fingerprint');

/** Whether a folder holds what was made of these inputs, all of it. */
export function isFresh(folder, print) {
  if (!existsSync(stampOf(folder))) return false;
  const [made, ...files] = readFileSync(stampOf(folder), 'utf8').trimEnd().split('\n');
  const areAllThere = files.every((name) => existsSync(join(folder, name)));
  // tsc writes what has changed since its last run, and does not look whether the rest is there.
  if (!areAllThere) rmSync(join(folder, '.tsbuildinfo'), { force: true });
  return areAllThere && made === print;
}

/** A build that fails half way must not be taken for the one before it. */
export const forget = (folder) => rmSync(stampOf(folder), { force: true });

/** Removes what was made of a source that is gone: a test would run on, a module be packed. `sources` are the folders that lie in `folder`. */
export function prune(folder, sources) {
  for (const [made, source] of sources) {
    if (!existsSync(join(folder, made))) continue;
    for (const name of readdirSync(join(folder, made), { recursive: true })) {
      const [, stem] = /^(.*)\.(?:js|js\.map|d\.ts)$/.exec(name) ?? [];
      if (stem !== undefined && !existsSync(join(source, `${stem}.ts`))) rmSync(join(folder, made, name));
    }
  }
}

export function stamp(folder, print) {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/\.(map|tsbuildinfo)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
  writeFileSync(stampOf(folder), `${[print, ...files.sort()].join('\n')}\n`);
}

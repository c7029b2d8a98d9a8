/** What comes with a gateway is what docs/dependencies.md says, and none of it runs anything when it is installed. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { ROOT, scratchFolder } from '../../helpers/packages.js';

interface Locked {
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly devOptional?: boolean;
  readonly link?: boolean;
  readonly integrity?: string;
  readonly resolved?: string;
  readonly license?: string;
  readonly hasInstallScript?: boolean;
  readonly dependencies?: Record<string, string>;
}

const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const manifest = JSON.parse(read('package.json'));
const packages: Record<string, Locked> = JSON.parse(read('package-lock.json')).packages;
const direct = Object.keys(manifest.dependencies);

function sizeKb(folder: string): number {
  const bytes = (path: string): number =>
    readdirSync(path, { withFileTypes: true })
      .filter(({ name }) => name !== 'node_modules')
      .map((entry) => join(path, entry.name))
      .reduce((sum, file) => sum + (statSync(file).isDirectory() ? bytes(file) : statSync(file).size), 0);
  return Math.ceil(bytes(join(ROOT, folder)) / 1024);
}

/** The rows of the page's tables that have so many cells, by package. */
function rows(cells: number): Map<string, string[]> {
  const lines = read('docs/dependencies.md').split('\n');
  return new Map(
    lines
      .filter((line) => line.startsWith('| ') && !/^\| (package|---)/.test(line))
      .map((line) => line.split('|').slice(1, -1))
      .map((row) => row.map((cell) => cell.trim()))
      .filter((row) => row.length === cells)
      .map(([name = '', ...rest]) => [name, rest]),
  );
}

test('the page lists every production dependency, with a reason, its licence, size and company', () => {
  const listed = rows(5);
  assert.deepEqual([...listed.keys()], direct);
  for (const [name, [why = '', ...rest]] of listed) {
    const locked = packages[`node_modules/${name}`] as Locked;
    const company = Object.keys(locked.dependencies ?? {}).join(', ') || '–';
    assert.ok(why.length > 20, name);
    assert.deepEqual(
      [name, ...rest],
      [name, locked.license, String(sizeKb(`node_modules/${name}`)), company],
    );
  }
});

test('and what these bring along', () => {
  const listed = rows(4);
  const brought = Object.entries(packages).filter(
    ([path, { dev, optional, devOptional, link }]) =>
      path !== '' && !(dev || optional || devOptional || link) && !direct.includes(path.slice(13)),
  );
  const expected = brought.map(([path, { license }]) => {
    const name = path.slice(path.lastIndexOf('node_modules/') + 13);
    const users = Object.entries(packages)
      .filter(([user, { dev, dependencies }]) => user !== '' && !dev && dependencies?.[name] !== undefined)
      .map(([user]) => user.slice(user.lastIndexOf('node_modules/') + 13));
    return [name, [users.sort().join(', '), license, String(sizeKb(path))]];
  });
  const unique = new Map(expected as [string, string[]][]);
  assert.deepEqual([...listed], [...unique]);
});

test('the sources import no other package, and each of these', () => {
  const sources = readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !path.startsWith('page/'))
    .map((path) => read(join('src', path)));
  const imported = new Set(
    sources.flatMap((text) =>
      [...text.matchAll(/(?:from|require\() ?'([a-z][^':]*)'/g)].map(([, name]) => name),
    ),
  );
  assert.deepEqual([...imported].sort(), direct);
});

test('no package but ours has an install script', () => {
  const withScript = Object.entries(packages).flatMap(([path, { hasInstallScript }]) =>
    hasInstallScript ? [path] : [],
  );
  assert.deepEqual(withScript, [''], "'' is this package, whose script is native/install.js");
});

test('the lock file names each package by its checksum and no place to get it from', () => {
  for (const [path, { integrity, resolved, link }] of Object.entries(packages)) {
    if (path === '' || !path.includes('node_modules/')) continue;
    if (link) assert.equal(resolved, 'scripts/no-extract', path);
    else assert.match(integrity ?? '', /^sha512-/, path);
    if (!link) assert.equal(resolved, undefined, path);
  }
});

/** `npm run audit` where npm answers this. */
function auditWith(answer: string) {
  const { folder, remove } = scratchFolder('audit');
  try {
    writeFileSync(join(folder, 'npm'), `#!/bin/sh\ncat <<'END'\n${answer}\nEND\nexit 1\n`, { mode: 0o755 });
    const env = { ...process.env, PATH: `${folder}:${process.env.PATH}` };
    return spawnSync(process.execPath, [join(ROOT, 'scripts/audit.mjs')], { env, encoding: 'utf8' });
  } finally {
    remove();
  }
}

test('npm run audit: known faults fail it, none pass it, nor does a registry that cannot be asked fail it', () => {
  const fault = { severity: 'high', range: '<2', via: ['pump', { title: 'Reads too far' }] };
  const faulty = auditWith(JSON.stringify({ vulnerabilities: { once: fault } }));
  assert.equal(faulty.status, 1);
  assert.match(faulty.stdout, /^high: once <2: by pump; Reads too far\n.* 1 packages with known faults\n$/);
  assert.equal(auditWith('{"vulnerabilities":{}}').status, 0);
  for (const answer of [
    '{"message":"405 Method Not Allowed"}',
    '{"error":{"summary":"offline"}}',
    '<html>',
    'null',
  ]) {
    const { status, stdout } = auditWith(answer);
    assert.deepEqual([status, /cannot be asked/.test(stdout)], [0, true], answer);
  }
});

test('licences are of the kinds that ask for no more than to be named', () => {
  for (const [path, { license, dev }] of Object.entries(packages)) {
    if (path === '' || path === 'scripts/no-extract' || dev) continue;
    if (path.includes('msgpackr-extract')) continue;
    assert.match(license ?? 'none', /^(MIT|ISC|BSD-[23]-Clause|Apache-2\.0)$/, path);
  }
});

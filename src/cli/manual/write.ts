/**
 * Writes what is made from the program and its sample configuration: `write.js man FOLDER`, the manual pages, at each build;
 * `write.js reference`, docs/configuration.md (npm run reference).
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { configurationPage, STAND_INS, standInPage } from './pages.js';
import { configurationReference } from './reference.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const SAMPLE = readFileSync(join(ROOT, 'config/nat64d.toml'), 'utf8');

function printed(program: string, ...args: string[]): string {
  return execFileSync(process.execPath, [join(ROOT, 'dist/bin', `${program}.js`), ...args], {
    encoding: 'utf8',
  });
}

function writeManPages(folder: string): void {
  mkdirSync(folder, { recursive: true });
  const pages: [string, string][] = [
    ...['nat64ctl', 'nat64d'].map((name): [string, string] => [`${name}.8`, printed(name, 'man')]),
    ...STAND_INS.map((one): [string, string] => [`${one.name}.8`, standInPage(one, printed(one.name, '-h'))]),
    ['nat64d.toml.5', configurationPage(SAMPLE)],
  ];
  for (const [name, text] of pages) writeFileSync(join(folder, name), text);
}

const [what, folder] = process.argv.slice(2);
if (what === 'man' && folder !== undefined) writeManPages(folder);
else if (what === 'reference')
  writeFileSync(join(ROOT, 'docs/configuration.md'), configurationReference(SAMPLE));
else {
  console.error('usage: write.js man FOLDER | reference');
  process.exitCode = 2;
}

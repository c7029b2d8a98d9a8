// The npm packages that a gateway runs with, as they lie in node_modules, less what only their developers need.
import { cpSync, existsSync, lstatSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, extname, join } from 'node:path';

const CODE = new Set(['.cjs', '.js', '.json', '.mjs']);
const DEVELOPERS = new Set([
  ...['.github', 'bench', 'benchmark', 'benchmarks', 'docs', 'example', 'examples', 'node_modules'],
  ...['test', 'tests', '__tests__'],
]);

/**
 * Name, version and licence of each, and its folder from the root. Optional ones are left out: they are addons of others, and
 * everything runs without them.
 */
export function productionModules(root) {
  const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  return Object.entries(packages)
    .filter(
      ([path, { dev, optional, devOptional, link }]) =>
        path !== '' && !(dev || optional || devOptional || link),
    )
    .map(([path, { version, license }]) => {
      if (!existsSync(join(root, path))) throw new Error(`${path} is missing: run npm ci`);
      return { path, name: path.slice(path.lastIndexOf('node_modules/') + 13), version, license };
    });
}

/** Copies one: code and package.json. Licences go into the copyright file. */
export function copyModule(root, { path }, to) {
  const from = join(root, path);
  cpSync(from, join(to, path), {
    recursive: true,
    filter: (source) => {
      if (source === from) return true;
      const name = basename(source);
      // Commands of theirs, at the top: nobody runs them here.
      if (dirname(source) === from && isProgram(source)) return false;
      if (lstatSync(source).isDirectory()) return !DEVELOPERS.has(name);
      return CODE.has(extname(name)) && !/^tsconfig|\.d\.[cm]?ts$/.test(name);
    },
  });
}

const isProgram = (file) => lstatSync(file).isFile() && readFileSync(file, 'latin1').startsWith('#!');

/** The text of its licence: every package must bring one. */
export function licenceText(root, { path }) {
  const folder = join(root, path);
  const file = readdirSync(folder).find((name) => /^licen[cs]e/i.test(name));
  return file === undefined ? null : readFileSync(join(folder, file), 'utf8').replaceAll('\r\n', '\n').trim();
}

// The files of the Debian package, at their places.
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { constants, gzipSync } from 'node:zlib';
import { copyModule } from './modules.mjs';

const LIB = 'usr/lib/nat64d';
const DOC = 'usr/share/doc/nat64d';

/** As gzip -9n makes them: no name and no time inside. */
const gzip = (text) => gzipSync(text, { level: constants.Z_BEST_COMPRESSION });

function put(tree, path, content, mode = 0o644) {
  const file = join(tree, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, content, { mode });
  chmodSync(file, mode);
}

function link(tree, path, target) {
  mkdirSync(dirname(join(tree, path)), { recursive: true });
  symlinkSync(relative(dirname(join('/', path)), join('/', target)), join(tree, path));
}

/** Fills an empty folder. */
export function fillTree(root, tree, { modules, changelog, copyright }) {
  program(root, tree, modules);
  const config = (path) => readFileSync(join(root, 'config', path));
  put(tree, 'etc/nat64d/nat64d.toml', config('nat64d.toml'));
  put(tree, 'lib/systemd/system/nat64d.service', config('systemd/nat64d.service'));
  for (const name of readdirSync(join(root, 'dist', 'man'))) {
    const section = name.slice(name.lastIndexOf('.') + 1);
    put(tree, `usr/share/man/man${section}/${name}.gz`, gzip(readFileSync(join(root, 'dist', 'man', name))));
  }
  put(tree, `${DOC}/copyright`, copyright);
  put(tree, `${DOC}/changelog.Debian.gz`, gzip(changelog));
  put(tree, `${DOC}/changelog.gz`, gzip(readFileSync(join(root, 'CHANGELOG.md'))));
  put(tree, `${DOC}/README.Debian`, config('debian/README.Debian'));
  for (const entry of readdirSync(join(root, 'docs'), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    put(tree, `${DOC}/${relative(join(root, 'docs'), path)}`, readFileSync(path));
  }
  for (const path of ['grafana-dashboard.json', 'tayga.conf', 'totd.conf']) {
    put(tree, `${DOC}/examples/${path}`, config(path));
  }
  for (const name of readdirSync(join(root, 'config', 'systemd'))) {
    if (name !== 'nat64d.service') put(tree, `${DOC}/examples/${name}`, config(`systemd/${name}`));
  }
  put(tree, 'usr/share/lintian/overrides/nat64d', config('debian/lintian-overrides'));
}

function program(root, tree, modules) {
  const lib = join(tree, LIB);
  for (const path of ['dist/bin', 'dist/control/page.html', 'dist/sealed-worker.cjs']) {
    cpSync(join(root, path), join(lib, path), {
      recursive: true,
      filter: (source) => !source.endsWith('.map'),
    });
  }
  put(lib, 'package.json', packageJson(root));
  const prebuilt = 'native/prebuilds';
  if (!existsSync(join(root, prebuilt))) throw new Error('there is no prebuilt addon: run npm run build');
  cpSync(join(root, prebuilt), join(lib, prebuilt), { recursive: true });
  for (const name of ['index.js', 'package.json']) {
    copyFileSync(join(root, 'native', name), join(lib, 'native', name));
  }
  for (const module of modules) copyModule(root, module, lib);
  for (const name of ['nat64ctl', 'nat64d', 'tayga', 'totd']) {
    const file = join(lib, 'dist', 'bin', `${name}.js`);
    // The one that the package depends on, whatever else is in somebody's PATH.
    const text = readFileSync(file, 'utf8').replace(/^#!.*/, '#!/usr/bin/node');
    writeFileSync(file, text, { mode: 0o755 });
  }
  for (const name of ['nat64ctl', 'nat64d']) link(tree, `usr/bin/${name}`, `${LIB}/dist/bin/${name}.js`);
  for (const name of ['tayga', 'totd']) link(tree, `${LIB}/bin/${name}`, `${LIB}/dist/bin/${name}.js`);
  normalizeModes(lib);
}

/** What Node reads of it: no scripts, no dependencies. */
function packageJson(root) {
  const { name, version, license, type, imports } = JSON.parse(
    readFileSync(join(root, 'package.json'), 'utf8'),
  );
  return `${JSON.stringify({ name, version, license, type, imports }, null, 2)}\n`;
}

/** Tarballs of npm come with whatever modes their authors had. */
function normalizeModes(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      chmodSync(path, 0o755);
      normalizeModes(path);
    } else if (entry.isFile()) {
      chmodSync(path, /\/dist\/bin\/[^/]*\.js$/.test(path) && isProgram(path) ? 0o755 : 0o644);
    }
  }
}

const isProgram = (file) => readFileSync(file, 'utf8').startsWith('#!');

/** Writes DEBIAN/md5sums, which the package system checks files by. */
export function md5sums(tree) {
  const lines = readdirSync(tree, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((file) => ({ file, path: relative(tree, file) }))
    .filter(({ path }) => !path.startsWith('DEBIAN/') && !path.startsWith('etc/'))
    .sort((a, b) => (a.path < b.path ? -1 : 1))
    .map(({ file, path }) => `${createHash('md5').update(readFileSync(file)).digest('hex')}  ${path}\n`);
  writeFileSync(join(tree, 'DEBIAN', 'md5sums'), lines.join(''));
}

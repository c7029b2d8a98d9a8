// What Debian wants to know of a package: control, changelog, copyright (Debian Policy, chapters 4, 5 and 12).
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { licenceText } from './modules.mjs';

const MAINTAINER = `${process.env.DEBFULLNAME ?? 'nat64d maintainers'} <${process.env.DEBEMAIL ?? 'maintainers@nat64d.example'}>`;

/** @param version of package.json */
export const debianVersion = (version) => `${version.replace('-', '~')}-1`;

export function debianArchitecture() {
  const name = { x64: 'amd64', arm64: 'arm64' }[process.arch];
  if (name === undefined) throw new Error(`Debian's name of ${process.arch} is not known here`);
  return name;
}

/** @param date seconds of Unix time */
export function changelog(version, date) {
  const at = new Date(date * 1000).toUTCString().replace('GMT', '+0000');
  return `nat64d (${debianVersion(version)}) unstable; urgency=medium

  * Version ${version}: what is new is in changelog.gz.

 -- ${MAINTAINER}  ${at}
`;
}

const isScript = (name) => /^(pre|post)(inst|rm)$/.test(name);

/** Writes DEBIAN/ but for md5sums. */
export function control(root, tree, version) {
  const folder = join(tree, 'DEBIAN');
  mkdirSync(folder);
  const scripts = join(root, 'config', 'debian');
  for (const name of readdirSync(scripts).filter(isScript)) {
    copyFileSync(join(scripts, name), join(folder, name));
    chmodSync(join(folder, name), 0o755);
  }
  writeFileSync(join(folder, 'conffiles'), '/etc/nat64d/nat64d.toml\n');
  writeFileSync(
    join(folder, 'control'),
    `Package: nat64d
Version: ${debianVersion(version)}
Architecture: ${debianArchitecture()}
Maintainer: ${MAINTAINER}
Installed-Size: ${Math.ceil(sizeBytes(tree) / 1024)}
Depends: nodejs (>= 20.19), iproute2, libc6 (>= 2.28)
Recommends: nftables
Section: net
Priority: optional
Description: NAT64/DNS64 gateway
 Hosts that have only IPv6 reach the IPv4 internet through it: it translates
 their packets (RFC 7915), gives each of them an IPv4 address from a pool for as
 long as it is in use, and answers their DNS queries with IPv6 addresses for
 names that have only IPv4 ones (RFC 6147).
 .
 It needs Node.js 20.19 or later. Debian 13 has it; on Debian 12, whose own is
 version 18, add a package source of Node.js 20 or later first (see
 README.Debian).
`,
  );
}

function sizeBytes(folder) {
  return readdirSync(folder, { withFileTypes: true })
    .map((entry) => join(folder, entry.name))
    .reduce((sum, path) => {
      const stat = statSync(path, { throwIfNoEntry: false });
      return sum + (stat?.isDirectory() ? sizeBytes(path) : (stat?.size ?? 0));
    }, 0);
}

/** A paragraph in the manner of a multi-line field. */
const indented = (text) =>
  text
    .split('\n')
    .map((line) => (line.trim() === '' ? ' .' : ` ${line.trimEnd()}`))
    .join('\n');

/** In the machine-readable format: ours, and each module's with the text that it came with. */
export function copyright(root, modules) {
  const own = readFileSync(join(root, 'LICENSE'), 'utf8').trim();
  const parts = [
    'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: nat64d',
    paragraph('*', own, 'Expat'),
    ...modules.map((module) => {
      const text = licenceText(root, module);
      if (text === null) throw new Error(`${module.path} brings no licence`);
      return paragraph(`usr/lib/nat64d/${module.path}/*`, text, shortName(module), author(root, module));
    }),
  ];
  const text = `Made of nat64d (Expat, as above) and of modules, each under the licence that stands with it in this file: ${modules
    .map(({ name }) => name)
    .join(', ')}.`;
  for (const path of ['dist/bin/*', 'dist/sealed-worker.cjs']) {
    parts.push(
      paragraph(
        `usr/lib/nat64d/${path}`,
        text,
        'Expat-and-modules',
        'the authors of nat64d and of these modules',
      ),
    );
  }
  const uplot = { path: 'node_modules/uplot', name: 'uplot', license: 'MIT' };
  // Built into the page.
  parts.push(paragraph('usr/lib/nat64d/dist/control/page.html', licenceText(root, uplot), shortName(uplot)));
  return `${parts.join('\n\n')}\n`;
}

/** As the format names it, and told apart by module where the text has holders of its own. */
function shortName({ name, license }) {
  return license === 'Apache-2.0'
    ? license
    : `${license === 'MIT' ? 'Expat' : license}-${name.replace(/^@/, '').replace('/', '-')}`;
}

/** Debian has the long ones in a place of their own. */
const COMMON = {
  'Apache-2.0': 'On Debian the text of this licence is in /usr/share/common-licenses/Apache-2.0.',
};

const HOLDER = /^\W*(?:[Cc]opyright\W+(?:\([Cc]\)\s*)?(?=[\dA-Z])|©\s*|\([Cc]\)\s*(?=\d))/;

/** Some licences name nobody. */
function author(root, { path }) {
  const { author } = JSON.parse(readFileSync(join(root, path, 'package.json'), 'utf8'));
  return author?.name ?? author ?? 'its authors';
}

function paragraph(files, text, name, author) {
  const holders = text.split('\n').filter((line) => HOLDER.test(line));
  const shown = holders.map((line) => line.replace(HOLDER, '').trim());
  const copyrights = shown.length === 0 ? author : shown.join('\n ');
  return `Files: ${files}\nCopyright: ${copyrights}\nLicense: ${name}\n${indented(COMMON[name] ?? text)}`;
}

/** Packages made of this checkout's build: by npm, and for Debian. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fetchPeer, fetchPeerWithDependencies, type Peer } from './peers.js';

export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

/** A folder of its own, and what removes it. */
export function scratchFolder(name: string): { folder: string; remove(): void } {
  const folder = mkdtempSync(join(tmpdir(), `nat64d-${name}-`));
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** `npm pack`, of what is built: a build here would change files that other tests use. Returns the tarball. */
export function packNpm(folder: string): string {
  const words = ['pack', '--ignore-scripts', '--json', '--pack-destination', folder];
  const [{ filename }] = JSON.parse(execFileSync('npm', words, { cwd: ROOT, encoding: 'utf8' }));
  return join(folder, filename);
}

/** `npm run deb`, of what is built. Returns the package. */
export function buildDeb(folder: string): string {
  const words = [join(ROOT, 'scripts/deb.mjs'), '--out', folder];
  // Whatever is committed meanwhile.
  const env = { ...process.env, SOURCE_DATE_EPOCH: '1700000000' };
  return execFileSync(process.execPath, words, { cwd: ROOT, encoding: 'utf8', env }).trim();
}

/** A folder with nothing of this machine's programs but these. */
export function pathOf(folder: string, programs: readonly string[]): string {
  const bin = join(folder, 'path');
  mkdirSync(bin, { recursive: true });
  for (const program of programs) {
    const file = execFileSync('which', [program], { encoding: 'utf8' }).trim();
    execFileSync('ln', ['-sf', file, join(bin, program)]);
  }
  return bin;
}

/** What lintian says of a package, a tag to a line; `root` is of its peer. */
export function lintian({ root, env }: Peer, deb: string): string[] {
  const libraries = env.LD_LIBRARY_PATH ?? '';
  const perl = [
    join(root, 'usr/share/perl5'),
    ...libraries.split(':').flatMap((folder) => [join(folder, 'perl5/5.36'), join(folder, 'perl-base')]),
  ];
  const { stdout, stderr } = spawnSync(join(root, 'usr/bin/lintian'), ['--allow-root', deb], {
    encoding: 'utf8',
    env: {
      ...process.env,
      PATH: `${join(root, 'usr/bin')}:${process.env.PATH}`,
      PERL5LIB: perl.join(':'),
      LD_LIBRARY_PATH: libraries,
      LC_ALL: 'C.UTF-8',
    },
  });
  // Without its modules it says nothing on standard output, as it does for a package without faults.
  const complaints = stderr.split('\n').filter((line) => line !== '' && !/root privileges/.test(line));
  if (complaints.length > 0) throw new Error(`lintian did not work: ${complaints.join('\n')}`);
  return stdout.split('\n').filter((line) => line !== '');
}

export const fetchLintian = (): Peer => fetchPeerWithDependencies('lintian', ['lintian']);

/** Debian 12 as it is installed, in a folder: its essential packages, and these. */
export function makeDebian12(folder: string, packages: readonly string[]): DebianTree {
  const { root } = fetchPeer('mmdebstrap', ['mmdebstrap']);
  const include = `--include=${packages.join(',')}`;
  execFileSync(
    'perl',
    [join(root, 'usr/bin/mmdebstrap'), '--variant=essential', '--quiet', include, 'bookworm', folder],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  return new DebianTree(folder);
}

export class DebianTree {
  constructor(readonly folder: string) {}

  /** Runs a program in it as root, in a network of its own. Mounts end with the program. */
  run(command: string, args: readonly string[] = []): { status: number; output: string } {
    const inside = 'mount -t proc proc "$0/proc" && mount --bind /dev "$0/dev" && exec chroot "$0" "$@"';
    const { status, stdout, stderr } = spawnSync(
      'unshare',
      ['--mount', '--net', 'sh', '-c', inside, this.folder, command, ...args],
      { encoding: 'utf8', env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8' } },
    );
    return { status: status ?? -1, output: `${stdout}${stderr}` };
  }
}

/**
 * Programs that tests and benchmarks compare with, from Debian's packages: unpacked into an ignored folder, never installed,
 * because installing them would start their services on this machine.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const CACHE = fileURLToPath(new URL('../../../.cache/peers/', import.meta.url));

/** The packages of the peer 'systemd'. */
export const SYSTEMD = [
  'systemd',
  ...[
    'libsystemd-shared',
    'libsystemd0',
    'libcryptsetup12',
    'libfdisk1',
    'libkmod2',
    'libseccomp2',
    'libp11-kit0',
  ],
  ...['libip4tc2', 'libapparmor1', 'libargon2-1', 'libdevmapper1.02.1', 'libjson-c5'],
];

export interface Peer {
  /** Where the packages were unpacked: what would be /. */
  readonly root: string;
  /** Environment under which its programs find their libraries. */
  readonly env: NodeJS.ProcessEnv;
  /** Where this machine has the program itself. */
  readonly program?: string;
}

/** Downloads these packages, and no others, into a folder. */
function downloadThese(packages: readonly string[], folder: string): void {
  execFileSync('apt-get', ['download', '-q', ...packages], {
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
}

/** The same with all that they need and this machine has not. */
function downloadWithDependencies(packages: readonly string[], folder: string): void {
  mkdirSync(join(folder, 'partial'), { recursive: true });
  const options = ['--download-only', '--no-install-recommends', '-o', `Dir::Cache::archives=${folder}`];
  execFileSync('apt-get', ['install', '-y', '-q', ...options, ...packages], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
}

/** The unpacked packages, fetched if they are not there yet. Throws where Debian's packages cannot be reached. */
export function fetchPeer(name: string, packages: readonly string[]): Peer {
  return fetchBy(downloadThese, name, packages);
}

/**
 * For benchmarks: this machine's own program of that name, else the unpacked packages, else undefined, with a notice of what is
 * left out then.
 */
export function installedOrFetched(
  name: string,
  packages: readonly string[],
  leftOut: string,
): Peer | undefined {
  const folders = [...(process.env.PATH ?? '').split(':').filter((path) => path !== ''), '/usr/sbin'];
  const program = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
  if (program !== undefined) return { root: '/', env: {}, program };
  try {
    return fetchPeer(name, packages);
  } catch (error) {
    const [reason] = (error as Error).message.split('\n');
    console.error(`no ${name} on this machine, nor from Debian (${reason}): ${leftOut} left out`);
    return undefined;
  }
}

/** The same as `fetchPeer`, with the packages that these depend on. */
export function fetchPeerWithDependencies(name: string, packages: readonly string[]): Peer {
  return fetchBy(downloadWithDependencies, name, packages);
}

function fetchBy(
  fetch: (packages: readonly string[], folder: string) => void,
  name: string,
  packages: readonly string[],
): Peer {
  const root = join(CACHE, name);
  if (!existsSync(root)) {
    const partial = `${root}.partial`;
    rmSync(partial, { recursive: true, force: true });
    mkdirSync(join(partial, 'debs'), { recursive: true });
    const download = () => fetch(packages, join(partial, 'debs'));
    try {
      download();
    } catch {
      // A fresh machine has no package lists yet.
      execFileSync('apt-get', ['update', '-q'], { stdio: ['ignore', 'ignore', 'pipe'] });
      download();
    }
    const debs = readdirSync(join(partial, 'debs')).filter((file) => file.endsWith('.deb'));
    for (const deb of debs) {
      execFileSync('dpkg', ['-x', join(partial, 'debs', deb), partial]);
    }
    renameSync(partial, root);
  }
  return { root, env: environment(root) };
}

function environment(root: string): NodeJS.ProcessEnv {
  const folders = ['usr/lib', 'lib']
    .map((path) => join(root, path))
    .filter(existsSync)
    .flatMap((path) => readdirSync(path).map((name) => join(path, name)))
    .filter((path) => path.endsWith('-linux-gnu'));
  return { LD_LIBRARY_PATH: folders.join(':') };
}

/**
 * Programs that tests and benchmarks compare with, from Debian's packages: unpacked into an ignored folder, never installed,
 * because installing them would start their services on this machine.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const CACHE = fileURLToPath(new URL('../../../.cache/peers/', import.meta.url));

export interface Peer {
  /** Where the packages were unpacked: what would be /. */
  readonly root: string;
  /** Environment under which its programs find their libraries. */
  readonly env: NodeJS.ProcessEnv;
}

/** The unpacked packages, fetched if they are not there yet. Throws where Debian's packages cannot be reached. */
export function fetchPeer(name: string, packages: readonly string[]): Peer {
  const root = join(CACHE, name);
  if (!existsSync(root)) {
    const partial = `${root}.partial`;
    rmSync(partial, { recursive: true, force: true });
    mkdirSync(join(partial, 'debs'), { recursive: true });
    const download = () =>
      execFileSync('apt-get', ['download', '-q', ...packages], {
        cwd: join(partial, 'debs'),
        stdio: ['ignore', 'ignore', 'pipe'],
      });
    try {
      download();
    } catch {
      // A fresh machine has no package lists yet.
      execFileSync('apt-get', ['update', '-q'], { stdio: ['ignore', 'ignore', 'pipe'] });
      download();
    }
    for (const deb of readdirSync(join(partial, 'debs'))) {
      execFileSync('dpkg', ['-x', join(partial, 'debs', deb), partial]);
    }
    renameSync(partial, root);
  }
  const folders = ['usr/lib', 'lib']
    .map((path) => join(root, path))
    .filter(existsSync)
    .flatMap((path) => readdirSync(path).map((name) => join(path, name)))
    .filter((path) => path.endsWith('-linux-gnu'));
  return { root, env: { LD_LIBRARY_PATH: folders.join(':') } };
}

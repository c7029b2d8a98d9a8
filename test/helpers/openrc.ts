/** OpenRC from Debian's package, in a root of its own. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { InitRoot } from './init-root.js';
import { fetchPeer } from './peers.js';

/** The folders in which OpenRC keeps what it knows of services. */
const STATES = [
  ...['daemons', 'exclusive', 'failed', 'hotplugged', 'inactive', 'options', 'scheduled'],
  ...['started', 'starting', 'stopping', 'tmp', 'wasinactive'],
];

/** Mounts the root as a machine that has booted with OpenRC, and whose network is up. */
export async function bootOpenrc(
  root: InitRoot,
  binds: readonly (readonly [string, string])[] = [],
): Promise<void> {
  const { root: openrc, env } = fetchPeer('openrc', ['openrc', 'librc1', 'libeinfo1', 'insserv']);
  root.write('etc/rc.conf', readFileSync(join(openrc, 'etc/rc.conf'), 'utf8'));
  root.write('etc/insserv.conf', '');
  for (const folder of ['conf.d', 'runlevels/default']) root.write(`etc/${folder}/.keep`, '');
  root.write('etc/init.d/net.lo', '#!/sbin/openrc-run\ndepend() { provide net; }\nstart() { :; }\n', 0o755);
  root.write('run/openrc/softlevel', 'default\n');
  for (const library of ['libeinfo.so.1', 'librc.so.1']) {
    const folder = env.LD_LIBRARY_PATH?.split(':')[0] ?? '';
    root.copy(join(folder, library), `lib/${library}`);
  }
  for (const state of STATES) root.write(`run/openrc/${state}/.keep`, '');
  for (const program of ['openrc-run', 'openrc', 'rc-service', 'rc-update']) {
    root.copy(join(openrc, 'sbin', program), `sbin/${program}`);
  }
  await root.mount([[join(openrc, 'lib/rc'), 'lib/rc'], ...binds]);
}

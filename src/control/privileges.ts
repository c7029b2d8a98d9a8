/** What a gateway gives up once it serves, and what the program that starts one takes away before. */
import { execFileSync } from 'node:child_process';
import native from '#native';

/** Numbers of capabilities (linux/capability.h). */
const CAPABILITY = {
  CHOWN: 0,
  DAC_OVERRIDE: 1,
  FOWNER: 3,
  KILL: 5,
  SETGID: 6,
  SETUID: 7,
  NET_BIND_SERVICE: 10,
  NET_ADMIN: 12,
  SYS_CHROOT: 18,
  SYS_NICE: 23,
} as const;
type Capability = keyof typeof CAPABILITY;

/** The device, its addresses and routes; the workers' niceness; port 53; and files in folders of others, with the owner of the service. */
const ALWAYS: readonly Capability[] = [
  'NET_ADMIN',
  'SYS_NICE',
  'NET_BIND_SERVICE',
  'DAC_OVERRIDE',
  'CHOWN',
  'FOWNER',
  'KILL',
];

export interface Identity {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Who `user` and `group` are, by name or number; null where neither is given. A user without a group brings its own.
 * Throws an Error that says what to do.
 */
export function findIdentity(user: string | undefined, group: string | undefined): Identity | null {
  if (user === undefined && group === undefined) return null;
  const uid = user === undefined ? (process.getuid?.() ?? 0) : idOf('user', user, ['-u', user]);
  const gid = group !== undefined ? groupId(group) : idOf('user', user as string, ['-g', user as string]);
  return { uid, gid };
}

function idOf(kind: string, name: string, args: readonly string[]): number {
  if (/^[0-9]+$/.test(name) && args[0] === '-u') return Number(name);
  try {
    return Number(
      execFileSync('id', [...args.slice(0, 1), '--', name], { stdio: ['ignore', 'pipe', 'ignore'] }),
    );
  } catch {
    throw new Error(`there is no ${kind} '${name}'; make it, or name another`);
  }
}

function groupId(name: string): number {
  if (/^[0-9]+$/.test(name)) return Number(name);
  try {
    const line = execFileSync('getent', ['group', '--', name], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return Number(line.split(':')[2]);
  } catch {
    throw new Error(`there is no group '${name}'; make it, or name another`);
  }
}

/**
 * Takes from this thread, and so from the program it starts or becomes, what no gateway needs: new privileges by programs that
 * have them, and all capabilities but a few. Both belong to a thread, so a program with threads would be too late.
 */
export function limitNextProgram(needs: {
  readonly identity: boolean;
  readonly chroot: boolean;
  /** Default true: it sets up a device. */
  readonly device?: boolean;
}): void {
  const ofDevice = ['NET_ADMIN', 'SYS_NICE'];
  const kept = ALWAYS.filter((name) => needs.device !== false || !ofDevice.includes(name));
  if (needs.identity) kept.push('SETUID', 'SETGID');
  if (needs.chroot) kept.push('SYS_CHROOT');
  native.setNoNewPrivs();
  try {
    native.dropBoundingSet(kept.reduce((sum, name) => sum + 2 ** CAPABILITY[name], 0));
  } catch (error) {
    // Without CAP_SETPCAP somebody else, as systemd, has limited this process already.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') throw error;
  }
}

/** Makes a folder the root of this process. Call `sealWorkers` before. */
export function changeRoot(folder: string): void {
  native.chroot(folder);
  // Node remembers the folder it was in.
  process.chdir('/');
}

/**
 * Becomes another user, in all threads (the C library sees to that), without supplementary groups. From root to another user
 * all capabilities go with it.
 */
export function becomeUser({ uid, gid }: Identity): void {
  process.setgroups?.([gid]);
  process.setgid?.(gid);
  process.setuid?.(uid);
}

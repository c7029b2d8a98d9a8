/** Users and groups of this machine. */
import { execFileSync } from 'node:child_process';

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

/** A group's number, by name or number. Throws an Error that says what to do. */
export function groupId(name: string): number {
  if (/^[0-9]+$/.test(name)) {
    // The last one of 32 bits means none.
    if (Number(name) < 0xffffffff) return Number(name);
    throw new Error(`there is no group '${name}': numbers end at 4294967294`);
  }
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

/**
 * Turns forwarding on in the kernel and back, including what the kernel changes along with it.
 *
 * Writing conf/all/forwarding sets every interface's own value (and `default`'s), and for IPv4 it also sets
 * conf/all/accept_redirects to the opposite. All of these are recorded in the run directory before the first write, so
 * that a start after a kill -9 can restore them. A value that is no longer what we set was changed by someone else and stays.
 */
import {
  closeSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { makeFolder } from '../folder.js';
import { NetdevError, type NetdevLog } from './command.js';

/** A value that we set, or that the kernel set with it. The path is below /proc/sys. */
const change = z.object({ path: z.string().startsWith('net/'), original: z.string(), set: z.string() });
export type SysctlChange = z.infer<typeof change>;

/** `where`: the boot and the network namespace the values belong to; elsewhere they mean nothing. */
const record = z.object({ where: z.string(), changes: z.array(change) });

const PROC_SYS = '/proc/sys';
const FAMILIES = [4, 6] as const;
type Family = (typeof FAMILIES)[number];

const confDir = (family: Family) => `net/ipv${family}/conf`;
const forwardingPath = (family: Family, name: string) => `${confDir(family)}/${name}/forwarding`;
const acceptRaPath = (device: string) => `net/ipv6/conf/${device}/accept_ra`;
const ALL_REDIRECTS4 = 'net/ipv4/conf/all/accept_redirects';

/** The name as sysctl takes it: dotted, but with slashes where an interface's name has dots itself. */
function sysctlName(path: string): string {
  return path.includes('.') ? path : path.replaceAll('/', '.');
}

/** The file that keeps the originals. */
export function sysctlFile(runDir: string): string {
  return join(runDir, 'sysctl.json');
}

/** Which boot and which network namespace this process lives in. */
function whereabouts(): string {
  return `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()} ${readlinkSync('/proc/self/ns/net')}`;
}

/** The kernel's values, below `root` (another directory in tests only). */
class Sysctls {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  /** Null where there is no such value: the interface, or the whole family, does not exist. */
  read(path: string): string | null {
    try {
      return readFileSync(join(this.#root, path), 'utf8').trim();
    } catch {
      return null;
    }
  }

  write(path: string, value: string): void {
    // No O_CREAT: /proc has none, and a test's directory must not grow an interface that has gone.
    writeFileSync(join(this.#root, path), `${value}\n`, { flag: 'r+' });
  }

  /** The interfaces of a family, with `all` and `default`. */
  interfaces(family: Family): string[] {
    try {
      return readdirSync(join(this.#root, confDir(family)));
    } catch {
      return [];
    }
  }
}

/** What to write, in this order, and everything that will have changed then. */
interface Plan {
  readonly writes: readonly SysctlChange[];
  readonly changes: readonly SysctlChange[];
}

function planIpv4(sysctls: Sysctls, device: string): Plan {
  const all = forwardingChanges(sysctls, 4);
  if (all.length === 0) {
    // On already; a new device has its value from `default`, and IPv4 asks the device that a packet came in by.
    const own = changesTo(sysctls, [forwardingPath(4, device)], '1').filter(isChange);
    return { writes: own, changes: own };
  }
  const redirects = changesTo(sysctls, [ALL_REDIRECTS4], '0');
  return { writes: all.slice(0, 1), changes: [...all, ...redirects] };
}

/** IPv6 forwards if `all` says so; an interface's own value only makes it a router to its neighbours (RFC 4861 section 6.2). */
function planIpv6(sysctls: Sysctls, raDevices: readonly string[]): Plan {
  const all = forwardingChanges(sysctls, 6);
  if (all.length === 0) return { writes: [], changes: [] };
  // Forwarding, as it goes on, takes away the default routes learned by router advertisement wherever accept_ra is not 2.
  // Where accept_ra is 0, a daemon learned them, and keeps them.
  const acceptRa = changesTo(sysctls, raDevices.map(acceptRaPath), '2').filter((one) => one.original === '1');
  return { writes: [...acceptRa, ...all.slice(0, 1)], changes: [...acceptRa, ...all] };
}

/**
 * The values that conf/all/forwarding = 1 sets, `all` first; none if it is on already, or without this family.
 * Those that are 1 before are among them: conf/all/forwarding = 0 will clear them.
 */
function forwardingChanges(sysctls: Sysctls, family: Family): SysctlChange[] {
  const all = changesTo(sysctls, [forwardingPath(family, 'all')], '1').filter(isChange);
  if (all.length === 0) return [];
  const others = sysctls.interfaces(family).filter((name) => name !== 'all');
  return [
    ...all,
    ...changesTo(
      sysctls,
      others.map((name) => forwardingPath(family, name)),
      '1',
    ),
  ];
}

/** The step from what is to `set`, for those of the paths that exist. */
function changesTo(sysctls: Sysctls, paths: readonly string[], set: string): SysctlChange[] {
  return paths.flatMap((path) => {
    const original = sysctls.read(path);
    return original === null ? [] : [{ path, original, set }];
  });
}

function isChange({ original, set }: SysctlChange): boolean {
  return original !== set;
}

/** What the files of this process hold: somebody may remove one while it runs. */
const kept = new Map<string, readonly SysctlChange[]>();

/** Writes the originals so that they are whole on the disk, or not there: a new file takes the name only when complete. */
function keepOriginals(runDir: string, changes: readonly SysctlChange[]): void {
  const file = sysctlFile(runDir);
  try {
    makeFolder(runDir);
    const fd = openSync(`${file}.new`, 'w', 0o600);
    try {
      writeFileSync(fd, `${JSON.stringify({ where: whereabouts(), changes }, null, 1)}\n`);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(`${file}.new`, file);
    kept.set(file, changes);
  } catch (error) {
    throw new NetdevError(
      'RUN_DIR',
      `cannot keep the original sysctls in ${file}: ${(error as Error).message}. Make the directory writable, change run-dir, or set forwarding = false in [device] and turn forwarding on yourself.`,
    );
  }
}

/**
 * Turns forwarding on for both families, if it is not, and keeps the originals first.
 * A value that cannot be written (in a container, /proc/sys is often read-only) is a warning with what to set outside.
 *
 * @param raDevices interfaces with routes from router advertisements
 * @returns what was changed, a line each
 * @throws NetdevError where the originals cannot be kept
 */
export function enableForwarding(
  runDir: string,
  device: string,
  raDevices: readonly string[],
  log: NetdevLog,
  root: string = PROC_SYS,
): string[] {
  const sysctls = new Sysctls(root);
  const plans = [planIpv4(sysctls, device), planIpv6(sysctls, raDevices)];
  const changes = plans.flatMap((plan) => plan.changes);
  if (changes.length === 0) return [];
  keepOriginals(runDir, changes);
  const lines: string[] = [];
  for (const { writes } of plans) {
    for (const [index, { path, original, set }] of writes.entries()) {
      try {
        sysctls.write(path, set);
        lines.push(`${sysctlName(path)} = ${set} (was ${original})`);
      } catch (error) {
        const needed = writes.slice(index).map((write) => `${sysctlName(write.path)}=${write.set}`);
        log.warn(
          `cannot set ${sysctlName(path)}: ${(error as Error).message}. Packets are not forwarded until this is set from outside: sysctl -w ${needed.join(' ')}`,
        );
        // The next write relies on this one: forwarding without accept_ra = 2 would lose the default route.
        break;
      }
    }
  }
  return lines;
}

/** The values that each path is to have again; null where there is no such path any more. */
function desiredValues(sysctls: Sysctls, changes: readonly SysctlChange[]): Map<string, string> {
  const desired = new Map<string, string>();
  for (const { path, original, set } of changes) {
    const now = sysctls.read(path);
    if (now !== null) desired.set(path, now === set ? original : now);
  }
  // An interface that came later had its value from `default`, as we had set it.
  for (const family of FAMILIES) {
    const all = changes.find((one) => one.path === forwardingPath(family, 'all'));
    if (all === undefined || desired.get(all.path) !== all.original) continue;
    const fallback = changes.find((one) => one.path === forwardingPath(family, 'default'));
    for (const name of sysctls.interfaces(family)) {
      const path = forwardingPath(family, name);
      const now = sysctls.read(path);
      if (desired.has(path) || now === null || changes.some((one) => one.path === path)) continue;
      const inherited = name !== 'default' && fallback !== undefined && now === fallback.set;
      desired.set(path, inherited ? fallback.original : now);
    }
  }
  return desired;
}

/**
 * `all` first, since it overwrites the others. accept_ra last: while it is 2 no write of a forwarding value takes the
 * advertised default route away, and going back to 1 takes none either.
 */
function restoreRank(path: string): number {
  if (path.endsWith('/all/forwarding')) return 0;
  return path.endsWith('/accept_ra') ? 2 : 1;
}

/**
 * Restores what the file in the run directory records, and removes the file. Does nothing where there has been none.
 * Never throws: what cannot be restored is logged, and the file stays for the next start.
 * @returns the values restored, a line each
 */
export function restoreSysctls(runDir: string, log: NetdevLog, root: string = PROC_SYS): string[] {
  const file = sysctlFile(runDir);
  const lines: string[] = [];
  try {
    const changes = readOriginals(file, log);
    if (changes === null) return lines;
    const sysctls = new Sysctls(root);
    const desired = [...desiredValues(sysctls, changes)];
    let failed = false;
    for (const [path, value] of desired.sort(([a], [b]) => restoreRank(a) - restoreRank(b))) {
      const now = sysctls.read(path);
      if (now === null || now === value) continue;
      try {
        sysctls.write(path, value);
        lines.push(`${sysctlName(path)} = ${value} (was ${now})`);
      } catch (error) {
        failed = true;
        log.warn(`cannot restore ${sysctlName(path)} to ${value}: ${(error as Error).message}`);
      }
    }
    if (failed) return lines;
    kept.delete(file);
    rmSync(file, { force: true });
  } catch (error) {
    log.warn(`cannot restore the sysctls kept in ${file}: ${(error as Error).message}`);
  }
  return lines;
}

/** The changes recorded in the file; null if there has been none, or if they belong to another boot or namespace. */
function readOriginals(file: string, log: NetdevLog): readonly SysctlChange[] | null {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return kept.get(file) ?? null;
    throw error;
  }
  const { where, changes } = record.parse(JSON.parse(text));
  if (where === whereabouts()) return changes;
  log.debug(`${file} is of another boot or network namespace: removed`);
  rmSync(file, { force: true });
  return null;
}

/** The names of the forwarding sysctls that are off. */
export function forwardingOff(root: string = PROC_SYS): string[] {
  const paths = FAMILIES.map((family) => forwardingPath(family, 'all'));
  return changesTo(new Sysctls(root), paths, '1')
    .filter(isChange)
    .map(({ path }) => sysctlName(path));
}

/** Restores the sysctls that a gateway which could not clean up (kill -9, a crash) left changed. Call before a start. */
export async function recoverSysctls(runDir: string, log: NetdevLog): Promise<void> {
  const lines = restoreSysctls(runDir, log);
  if (lines.length > 0) log.info(`restored what an earlier run had left: ${lines.join(', ')}`);
}

/** What a gateway gives up once it serves, and what the program that starts one takes away before. */
import {
  accessSync,
  chownSync,
  closeSync,
  constants,
  fchownSync,
  lchownSync,
  lstatSync,
  openSync,
  readdirSync,
} from 'node:fs';
import { join } from 'node:path';
import native from '#native';
import type { GatewayConfig, LogDestination } from './config/types.js';
import { makeFolder } from './folder.js';
import { findIdentity, type Identity } from './identity.js';

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
  NET_RAW: 13,
  SYS_CHROOT: 18,
  SYS_NICE: 23,
  BPF: 39,
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
  limitTo(kept);
}

const bitsOf = (names: readonly Capability[]) => names.reduce((sum, name) => sum + 2 ** CAPABILITY[name], 0);

function limitTo(kept: readonly Capability[]): void {
  native.setNoNewPrivs();
  try {
    native.dropBoundingSet(bitsOf(kept));
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
 * Becomes another user, in all threads (the C library sees to that), without supplementary groups but these. From root to another
 * user all capabilities go with it.
 */
export function becomeUser({ uid, gid }: Identity, groups: readonly number[] = []): void {
  process.setgroups?.([gid, ...groups]);
  process.setgid?.(gid);
  process.setuid?.(uid);
}

/** Below, a port is for the privileged (net.ipv4.ip_unprivileged_port_start's default). */
export const UNPRIVILEGED_PORT = 1024;

const TUN = '/dev/net/tun';

/**
 * What a gateway needs for as long as it runs: a reload changes addresses and routes, listens anew, and steers to another prefix;
 * the end takes down what was set up.
 */
function capabilitiesOf({ workers, workerNice, dns64, http, advertise }: GatewayConfig): Capability[] {
  const ports = [...http.listen, ...(dns64.enabled ? [...dns64.listen, { port: dns64.port }] : [])];
  const isLow = ports.some(({ port }) => port < UNPRIVILEGED_PORT);
  return [
    'NET_ADMIN',
    ...(isLow ? ['NET_BIND_SERVICE' as const] : []),
    ...(workers !== 1 ? ['BPF' as const] : []),
    ...(workerNice < 0 ? ['SYS_NICE' as const] : []),
    ...(advertise.interfaces.length > 0 ? ['NET_RAW' as const] : []),
  ];
}

/**
 * Becomes the configured user, where this process is not: the same program starts again in this process, from the beginning, as
 * that user. Capabilities and no_new_privs belong to a thread, and this process has threads already that nobody can reach
 * (V8's, libuv's); the new program's threads all inherit from its first one. Returns where there is nothing to do; throws an Error
 * that says what to do.
 */
export function enterUser(config: GatewayConfig): void {
  const identity = findIdentity(config.user ?? undefined, config.group ?? undefined);
  if (identity === null) return;
  const { uid, gid } = identity;
  if (process.getuid?.() === uid && process.getgid?.() === gid) return;
  const name = config.user ?? config.group;
  const instead =
    "root can, and where systemd starts nat64d, the unit: User= and Group= there, and no 'user' here";
  if (process.getuid?.() !== 0) throw new Error(`this process may not become '${name}': ${instead}`);
  const kept = capabilitiesOf(config);
  giveFolder(config.runDir, identity);
  if (config.dataDir !== null) giveFolder(config.dataDir, identity);
  giveLog(config.log.destination, identity);
  const control = config.controlGroup === null ? null : findIdentity(undefined, config.controlGroup);
  limitTo(kept);
  native.keepCapabilities();
  try {
    // A socket's owner may give it to a group that it is in.
    becomeUser(identity, control === null ? [] : [control.gid]);
  } catch (error) {
    throw new Error(`this process may not become '${name}' (${(error as Error).message}): ${instead}`);
  }
  native.setCapabilities(bitsOf(kept));
  const [, program = ''] = process.argv;
  if (!mayUse(program, constants.R_OK))
    throw new Error(`'${name}' cannot read ${program}: install nat64d where every user can`);
  if (!mayUse(TUN, constants.R_OK | constants.W_OK))
    throw new Error(`'${name}' may not open ${TUN}: chmod 0666 ${TUN}, as systems with udev have it`);
  const env = Object.entries(process.env).map(([key, value]) => `${key}=${value}`);
  native.exec(process.execPath, [process.execPath, ...process.execArgv, ...process.argv.slice(1)], env);
}

/** A log file that is not there yet is made, for its folder need not be the user's. */
function giveLog(destination: LogDestination, { uid, gid }: Identity): void {
  if (!destination.startsWith('file:')) return;
  const { O_CREAT, O_EXCL, O_WRONLY } = constants;
  try {
    const fd = openSync(destination.slice('file:'.length), O_CREAT | O_EXCL | O_WRONLY, 0o640);
    fchownSync(fd, uid, gid);
    closeSync(fd);
  } catch {
    // It is there, or cannot be: whoever opens it for writing will be told.
  }
}

function mayUse(file: string, mode: number): boolean {
  try {
    accessSync(file, mode);
    return true;
  } catch {
    return false;
  }
}

/**
 * Makes a folder another user's, with the files that root has left in it. One that was the user's before is left alone: what
 * is in it may be links of theirs to files of others.
 */
function giveFolder(folder: string, { uid, gid }: Identity): void {
  makeFolder(folder);
  const { uid: owner } = lstatSync(folder);
  if (owner === uid) return;
  const entries = readdirSync(folder, { withFileTypes: true });
  if (owner !== 0 || entries.some((entry) => entry.isDirectory()))
    throw new Error(
      `${folder} is not the gateway's alone, and is not given to another user: name a folder of its own, or chown it`,
    );
  for (const { name } of entries) lchownSync(join(folder, name), uid, gid);
  chownSync(folder, uid, gid);
}

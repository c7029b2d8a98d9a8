/** The control socket: a Unix socket in the run-dir, for its owner and one group. */
import { chownSync, linkSync, lstatSync, rmSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { makeFolder } from '../folder.js';
import { groupId } from '../identity.js';
import { RateMeter } from '../inspect/rates.js';
import type { Subject } from '../inspect/subject.js';
import { CONNECTION_LIMITS, Connection, type ConnectionLimits } from './connection.js';
import { encodeMessage } from './protocol.js';
import { RequestQueue } from './queue.js';
import { ReloadGate } from './requests.js';

export const SOCKET_NAME = 'control.sock';
const MAX_CONNECTIONS = 64;
/** Of the kernel: sun_path, with the zero behind it. */
const MAX_PATH_BYTES = 107;
const PROBE_MS = 2000;
/** How long one that is turned away may take to read why, and how many may do so at a time. */
const TURNED_AWAY_MS = 1000;
const MAX_TURNED_AWAY = 64;

export interface ControlSocketOptions {
  readonly path: string;
  /** Name or number; null leaves the group as it is. */
  readonly group: string | null;
  /** Undefined while the gateway starts or ends. */
  readonly subject: () => Subject | undefined;
  /** For tests. */
  readonly limits?: Partial<ConnectionLimits>;
  readonly maxConnections?: number;
}

export class ControlSocket {
  readonly #options: ControlSocketOptions;
  readonly #clients = new Map<Socket, Connection>();
  readonly #turnedAway = new Set<Socket>();
  readonly #queue = new RequestQueue();
  readonly #reloads = new ReloadGate();
  readonly #server: Server;
  /** Device and inode of the socket; undefined until it is there. */
  #id: string | undefined;
  /** Shared by all clients, so that they share its looks. */
  readonly #rates: RateMeter;

  private constructor(options: ControlSocketOptions) {
    this.#options = options;
    this.#rates = new RateMeter(() => options.subject()?.dataplane.counters ?? {});
    this.#server = createServer((socket) => this.#accept(socket));
    // A client that cannot be accepted (no descriptors left) is no reason to end.
    this.#server.on('error', () => {});
  }

  /**
   * Listens. A socket that a dead gateway has left is replaced. Rejects, with what to do, where a live one has it, where the
   * group is unknown, or where the socket cannot be made.
   */
  static async open(options: ControlSocketOptions): Promise<ControlSocket> {
    const { path, group } = options;
    if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
      throw new Error(`${path}: a socket's path has at most ${MAX_PATH_BYTES} bytes; set a shorter run-dir`);
    }
    makeFolder(dirname(path));
    await removeStale(path);
    const control = new ControlSocket(options);
    await control.#listen(path);
    try {
      if (group !== null) control.setGroup(group);
    } catch (error) {
      await control.close();
      throw error;
    }
    return control;
  }

  get path(): string {
    return this.#options.path;
  }

  /** Whether the socket is where it was made. Out of reach, it is taken to be there. */
  get isThere(): boolean {
    const id = idOf(this.path);
    return id === 'unknown' || id === this.#id;
  }

  /** Gives the socket to a group; null: our own. Throws where there is no such group, or it may not be given away. */
  setGroup(group: string | null): void {
    try {
      chownSync(
        this.path,
        process.getuid?.() ?? 0,
        group === null ? (process.getgid?.() ?? 0) : groupId(group),
      );
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`control-group: ${this.path} cannot be given to '${group}': ${reason}`, {
        cause: error,
      });
    }
  }

  /** Removes the socket at once. Clients are let go when they have the replies to what they have asked. */
  retire(): void {
    this.#remove();
    this.#server.close();
    for (const connection of this.#clients.values()) connection.retire();
  }

  /** Cuts all clients off and removes the socket. */
  close(): Promise<void> {
    for (const socket of [...this.#clients.keys(), ...this.#turnedAway]) socket.destroy();
    this.#remove();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  /**
   * Under a name of its own, and then under that by which it is known: at its end libuv removes the name that it was given, whosesoever it is
   * by then.
   */
  async #listen(path: string): Promise<void> {
    // No longer than the other.
    const own = join(dirname(path), `.${process.pid}`);
    try {
      rmSync(own, { force: true });
      await this.#listenAt(own);
      this.#id = idOf(own);
      // Not renamed: what somebody has put there since is not replaced.
      linkSync(own, path);
      unlinkSync(own);
    } catch (error) {
      this.#server.close();
      const { message } = error as Error;
      throw new Error(`the control socket ${path} cannot be made: ${message}`, { cause: error });
    }
  }

  #listenAt(path: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (error: Error) => reject(error);
      this.#server.once('error', fail);
      // The socket is made within this call, and is never there with other rights than these.
      const umask = process.umask(0o117);
      try {
        this.#server.listen(path, () => {
          this.#server.removeListener('error', fail);
          resolve();
        });
      } finally {
        process.umask(umask);
      }
    });
  }

  /** Where it is still ours. */
  #remove(): void {
    if (this.#id === undefined || idOf(this.path) !== this.#id) return;
    try {
      unlinkSync(this.path);
    } catch {
      // The next start replaces what nobody listens on.
    }
  }

  #accept(socket: Socket): void {
    const { subject, limits, maxConnections = MAX_CONNECTIONS } = this.#options;
    if (this.#clients.size >= maxConnections) {
      this.#turnAway(socket, `${maxConnections} clients are connected already; end some of them`);
      return;
    }
    const surroundings = () => {
      const current = subject();
      return current && { subject: current, rates: this.#rates, reloads: this.#reloads };
    };
    const connection = new Connection(socket, surroundings, this.#queue, { ...CONNECTION_LIMITS, ...limits });
    this.#clients.set(socket, connection);
    socket.once('close', () => this.#clients.delete(socket));
  }

  /** One that is cut off while it says hello would be told of a broken pipe, and not of what has been said. */
  #turnAway(socket: Socket, message: string): void {
    socket.on('error', () => socket.destroy());
    socket.end(encodeMessage({ id: null, error: { code: 'busy', message } }));
    if (this.#turnedAway.size >= MAX_TURNED_AWAY) {
      socket.destroy();
      return;
    }
    this.#turnedAway.add(socket);
    const timer = setTimeout(() => socket.destroy(), TURNED_AWAY_MS);
    socket.once('close', () => {
      clearTimeout(timer);
      this.#turnedAway.delete(socket);
    });
    socket.resume();
  }
}

/** Which file has this name: device and inode, 'none', or 'unknown' where that cannot be seen. */
function idOf(path: string): string {
  try {
    const { dev, ino } = lstatSync(path, { bigint: true });
    return `${dev} ${ino}`;
  } catch (error) {
    return ['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '') ? 'none' : 'unknown';
  }
}

/** Removes a socket that nobody listens on. Rejects where somebody does, or where it is something else. */
async function removeStale(path: string): Promise<void> {
  let isSocket: boolean;
  try {
    isSocket = lstatSync(path).isSocket();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  if (!isSocket) throw new Error(`${path} is no socket, and in the way: remove it, or set another run-dir`);
  if (await isAlive(path)) {
    throw new Error(`another nat64d answers at ${path}: stop it, or set another run-dir for this one`);
  }
  unlinkSync(path);
}

function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    const done = (alive: boolean) => {
      socket.destroy();
      resolve(alive);
    };
    socket.setTimeout(PROBE_MS, () => done(true));
    socket.once('connect', () => done(true));
    // A queue that is full is somebody's.
    socket.once('error', ({ code }: NodeJS.ErrnoException) => done(code === 'EAGAIN'));
  });
}

/** Throws, with what to do, where there is no such group. */
export function checkGroup(group: string): void {
  groupId(group);
}

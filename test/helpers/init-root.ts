/**
 * A root of its own for init scripts, in a mount namespace that goes with it: this machine's programs, an /etc and a /run that
 * start empty, and `tayga` and `nat64d` where packages put them.
 */
import type { ChildProcess } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Finished, Lab } from './lab.js';

const CLI = fileURLToPath(new URL('../../../dist/bin/', import.meta.url));
/** Files of /etc that programs look into. */
export const ETC = ['passwd', 'group', 'nsswitch.conf', 'protocols', 'services', 'ld.so.cache'];

export class InitRoot {
  readonly path: string;
  readonly #lab: Lab;
  #holder = 0;

  /** @param namespace whose machine this is */
  constructor(
    lab: Lab,
    readonly namespace = lab.gateway,
  ) {
    this.#lab = lab;
    this.path = join(lab.folder, `${namespace}.root`);
  }

  /** Writes a file below the root. Call before `mount`, for what is not below /etc or /run too. */
  write(path: string, text: string, mode = 0o644): void {
    const file = join(this.path, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
    chmodSync(file, mode);
  }

  /** Copies a file to below the root, with its mode. */
  copy(from: string, path: string): void {
    const file = join(this.path, path);
    mkdirSync(dirname(file), { recursive: true });
    copyFileSync(from, file);
  }

  /** Puts the root together and mounts it, in its namespace. `binds` are further folders: [what, where]. */
  async mount(binds: readonly (readonly [string, string])[] = []): Promise<void> {
    const mounts: string[] = [];
    const bind = (from: string, to: string) => {
      mkdirSync(join(this.path, to), { recursive: true });
      mounts.push(`mount --rbind ${from} ${join(this.path, to)}`);
    };
    for (const name of readdirSync('/')) {
      if (['etc', 'run', 'lib', 'sbin', 'usr', 'var'].includes(name)) continue;
      const path = join('/', name);
      if (lstatSync(path).isSymbolicLink()) symlinkSync(readlinkSync(path), join(this.path, name));
      else if (lstatSync(path).isDirectory()) bind(path, name);
    }
    for (const name of readdirSync('/usr')) if (name !== 'sbin') bind(`/usr/${name}`, `usr/${name}`);
    bind('/usr/sbin', 'host-sbin');
    for (const folder of ['usr/sbin', 'sbin', 'lib', 'run', 'var/log', 'var/lib'])
      mkdirSync(join(this.path, folder), { recursive: true });
    for (const name of readdirSync('/usr/sbin')) this.#link(`/host-sbin/${name}`, `usr/sbin/${name}`);
    for (const name of readdirSync('/usr/sbin')) this.#link(`/host-sbin/${name}`, `sbin/${name}`);
    for (const name of readdirSync('/lib')) this.#link(`/usr/lib/${name}`, `lib/${name}`);
    this.#link('/run', 'var/run');
    mkdirSync(join(this.path, 'etc'), { recursive: true });
    for (const name of ETC)
      if (existsSync(`/etc/${name}`)) copyFileSync(`/etc/${name}`, join(this.path, 'etc', name));
    for (const name of ['alternatives', 'ssl'])
      if (existsSync(`/etc/${name}`)) bind(`/etc/${name}`, `etc/${name}`);
    for (const name of ['nat64ctl', 'nat64d', 'tayga', 'totd']) {
      this.write(`usr/sbin/${name}`, `#!/bin/sh\nexec ${process.execPath} ${CLI}${name}.js "$@"\n`, 0o755);
    }
    for (const [from, to] of binds) bind(from, to);
    const script = `${mounts.join(' && ')} && echo ready && exec sleep 3600`;
    const holder = this.#lab.spawn(this.namespace, 'unshare', ['-m', 'sh', '-c', script]);
    this.#holder = holder.pid as number;
    await new Promise<void>((resolve, reject) => {
      let output = '';
      for (const stream of [holder.stdout, holder.stderr]) {
        stream?.on('data', (data) => {
          output += data;
          if (output.includes('ready')) resolve();
        });
      }
      holder.once('close', () => reject(new Error(`the root cannot be mounted: ${output}`)));
    });
  }

  /** Runs a command inside the root, and in its namespace. */
  run(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Finished> {
    return this.#lab.runWith(env, this.namespace, 'nsenter', this.#words(command, args), 60_000);
  }

  /** Starts a command there. */
  spawn(command: string, args: readonly string[]): ChildProcess {
    return this.#lab.spawn(this.namespace, 'nsenter', this.#words(command, args));
  }

  #words(command: string, args: readonly string[]): string[] {
    return ['--target', String(this.#holder), '--mount', '--net', 'chroot', this.path, command, ...args];
  }

  #link(target: string, path: string): void {
    const link = join(this.path, path);
    if (!existsSync(link)) symlinkSync(target, link);
  }
}

/** Machines on which the sessions of a page are played: namespaces of a lab, each with a root of its own. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Block, matches, type Page, playedSteps, ROOT, type Step } from './documents.js';
import { ETC, InitRoot } from './init-root.js';
import { type Finished, Lab, SERVER4 } from './lab.js';
import { bootOpenrc } from './openrc.js';
import { fetchPeer, SYSTEMD } from './peers.js';

/** How long a gateway in the foreground may take until it serves. */
const START_MS = 80_000;
/**
 * Where an init script starts a gateway in the background, or networkd sets the interfaces up, what only asks is asked again for a
 * while. Everywhere else a gateway serves from its first packet on, and each command is run once.
 */
const UNREADY_LABS = ['openrc', 'systemd-networkd'];
const PROBES = /^(curl|dig|ping|ip (-\S+ )*(addr|link|route) (show|get)|nat64ctl status)\b/;
const PATIENCE_MS = 20_000;

/** Where the repository is on each machine; sessions begin there. */
const CLONE = [join(ROOT, 'config'), 'clone/config'] as const;
const IN_CLONE = 'cd /clone 2> /dev/null';

/** Programs that stay in the foreground, and what they say when they serve. */
const DAEMONS: Readonly<Record<string, string>> = {
  nat64d: 'serving ',
  'systemd-networkd': 'Enumeration completed',
};

interface Daemon {
  readonly child: ChildProcess;
  output: string;
}

type Machine = Pick<InitRoot, 'write' | 'run' | 'spawn'>;

/** A machine that needs no more of its own than /etc. */
class Guest implements Machine {
  readonly #etc: string;

  constructor(
    private readonly lab: Lab,
    private readonly namespace: string,
  ) {
    this.#etc = join(lab.folder, `${namespace}.etc`);
    mkdirSync(this.#etc);
    for (const name of [...ETC, 'alternatives'])
      if (existsSync(`/etc/${name}`))
        cpSync(`/etc/${name}`, join(this.#etc, name), { recursive: true, verbatimSymlinks: true });
    this.write('etc/resolv.conf', `nameserver ${SERVER4}\n`);
  }

  write(path: string, text: string): void {
    assert.match(path, /^etc\/[^/]+$/);
    writeFileSync(join(this.#etc, path.slice('etc/'.length)), text);
  }

  run(command: string, args: readonly string[]): Promise<Finished> {
    return this.lab.run(this.namespace, 'sh', this.#words(command, args));
  }

  spawn(command: string, args: readonly string[]): ChildProcess {
    return this.lab.spawn(this.namespace, 'sh', this.#words(command, args));
  }

  #words(command: string, args: readonly string[]): string[] {
    return ['-c', 'mount --bind "$0" /etc && exec "$@"', this.#etc, command, ...args];
  }
}

export class DocsLab {
  readonly #lab = new Lab();
  readonly #machines = new Map<string, Machine>();
  /** What runs in the foreground of a session, by host and program. */
  readonly #daemons = new Map<string, Daemon>();

  private constructor() {}

  static async open(page: Page): Promise<DocsLab> {
    const lab = new DocsLab();
    try {
      await lab.#start(page);
      return lab;
    } catch (error) {
      await lab.close();
      throw error;
    }
  }

  async #start({ lab: name, text }: Page): Promise<void> {
    const lab = this.#lab;
    const { client, gateway, server } = lab;
    const hosts = name === 'data-centre' ? connectDataCentre(lab) : { client, gateway, server };
    if (/\bcurl\b/.test(text)) await lab.serve(server, 'server');
    if (/\bdig\b|dns explain/.test(text)) await lab.serve(server, 'dns-server', [SERVER4]);
    // A page about a name server of the gateway's own.
    const [, port] = /\bdig @127\.0\.0\.1 -p ([0-9]+)/.exec(text) ?? [];
    if (port !== undefined) await lab.serve(gateway, 'dns-server', [SERVER4, port]);
    const mount = name === 'openrc' ? bootOpenrc : name === 'systemd-networkd' ? mountNetworkd : mountPlain;
    await Promise.all(
      Object.entries(hosts).map(async ([host, namespace]) => {
        if (!host.startsWith('gateway')) {
          this.#machines.set(host, new Guest(lab, namespace));
          return;
        }
        const root = new InitRoot(lab, namespace);
        root.write('etc/resolv.conf', `nameserver ${SERVER4}\n`);
        for (const folder of ['var/lib', 'run', 'etc']) root.write(`${folder}/nat64d/.keep`, '');
        await mount(root, [CLONE]);
        this.#machines.set(host, root);
      }),
    );
  }

  /** Plays all of a page, in order. */
  async play(page: Page): Promise<void> {
    const patienceMs = UNREADY_LABS.includes(page.lab ?? '') ? PATIENCE_MS : 0;
    for (const block of page.blocks) {
      for (const step of playedSteps(block)) await this.#step(page.file, step, patienceMs);
      if (block.path?.includes('/') === true) this.#write(block);
    }
    for (const key of this.#daemons.keys()) await this.#end(page.file, key);
  }

  /** `HOST:PATH`, or a path of the gateway's. */
  #write({ path, text }: Block): void {
    const [, host = 'gateway', file = ''] = /^(?:([a-z0-9]+):)?(\/.*)$/.exec(path ?? '') ?? [];
    this.#machine(host).write(file.slice(1), text);
  }

  #machine(host: string): Machine {
    const machine = this.#machines.get(host);
    assert.ok(machine, `there is no machine '${host}' in this lab`);
    return machine;
  }

  async #step(file: string, step: Step, patienceMs: number): Promise<void> {
    const { host, command, expected, line } = step;
    const where = `${file}:${line}: ${command}`;
    const [, ending] = /^\^C (\S+)$/.exec(command) ?? [];
    if (ending !== undefined) return this.#end(where, `${host} ${ending}`);
    // What a reader ends with Ctrl-C, or finds still running.
    if (/^(nat64d(?! import| .*--(check|help|version))|systemd-networkd)/.test(command))
      return this.#begin(where, step);
    const end = performance.now() + (PROBES.test(command) ? patienceMs : 0);
    for (;;) {
      const { status, stdout, stderr } = await this.#machine(host).run('/bin/sh', [
        '-c',
        `${IN_CLONE}; ${command}`,
      ]);
      const text = `${stdout}${stderr}`;
      if (expected.length === 0 ? status === 0 : matches(expected, text)) return;
      if (performance.now() >= end) {
        const daemons = [...this.#daemons].map(([key, daemon]) => `${key} said:\n${said(daemon)}`);
        const parts = [where, `exit status ${status}, printed:`, text, 'expected:', ...expected, ...daemons];
        assert.fail(parts.join('\n'));
      }
      await sleep(200);
    }
  }

  /** Starts a gateway, and waits until it has said what is expected of it. */
  async #begin(where: string, { host, command, expected }: Step): Promise<void> {
    const [program = ''] = command.split(' ');
    const key = `${host} ${program}`;
    await this.#end(where, key);
    const child = this.#machine(host).spawn('/bin/sh', ['-c', `${IN_CLONE}; exec ${command}`]);
    const daemon = { child, output: '' };
    this.#daemons.set(key, daemon);
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (data) => (daemon.output += data));
    const isEnded = expected.at(-1) === '^C';
    const lines = ['…', ...(isEnded ? expected.slice(0, -1) : expected), '…'];
    const end = performance.now() + START_MS;
    while (!matches(lines, said(daemon)) || !daemon.output.includes(DAEMONS[program] ?? '')) {
      const isOver = child.exitCode !== null || performance.now() > end;
      if (isOver) {
        // One that is shown to fail has ended by itself.
        this.#daemons.delete(key);
        if (child.exitCode !== null && matches(lines, said(daemon))) return;
        assert.fail(`${where}\nsaid:\n${said(daemon)}\nexpected:\n${lines.join('\n')}`);
      }
      await sleep(20);
    }
    if (isEnded) await this.#end(where, key);
  }

  /** As Ctrl-C does. */
  async #end(where: string, key: string): Promise<void> {
    const daemon = this.#daemons.get(key);
    if (daemon === undefined) return;
    this.#daemons.delete(key);
    const ended = once(daemon.child, 'exit');
    daemon.child.kill('SIGINT');
    await ended;
    assert.equal(daemon.child.exitCode, 0, `${where}: '${key}' before it ended badly:\n${said(daemon)}`);
  }

  async close(): Promise<void> {
    for (const machine of this.#machines.values()) {
      if (machine instanceof Guest) continue;
      // Those that an init script has started.
      const { stdout } = await machine.run('/bin/sh', ['-c', 'cat /run/*.pid 2>/dev/null']);
      for (const pid of stdout.split('\n').map(Number)) if (pid > 1) tryKill(pid);
    }
    await this.#lab.close();
  }
}

function tryKill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

type Mount = (root: InitRoot, binds: readonly (readonly [string, string])[]) => Promise<void>;

const mountPlain: Mount = (root, binds) => root.mount(binds);

/**
 * With Debian's systemd-networkd. It waits for no udev where /sys is read-only, and runs as another user, for whom udev
 * would have opened /dev/net/tun.
 */
const mountNetworkd: Mount = async (root, binds) => {
  const { root: systemd, env } = fetchPeer('systemd', SYSTEMD);
  const libraries = (env.LD_LIBRARY_PATH ?? '').split(':').flatMap((path) => [path, join(path, 'systemd')]);
  root.write(
    'usr/sbin/systemd-networkd',
    `#!/bin/sh
mount -o remount,ro,bind /sys
mount -t tmpfs tmpfs /dev/net && mknod -m 666 /dev/net/tun c 10 200
export LD_LIBRARY_PATH=${libraries.join(':')}
exec ${systemd}/lib/systemd/systemd-networkd
`,
    0o755,
  );
  root.write('etc/machine-id', `${'6'.repeat(32)}\n`);
  for (const folder of ['etc/systemd/system', 'run/systemd']) root.write(`${folder}/.keep`, '');
  await root.mount(binds);
};

/** About what a terminal would show. */
function said({ output }: Daemon): string {
  return output
    .split('\n')
    .map((line) =>
      line.startsWith('{') && line.endsWith('}') ? `[time] LEVEL: ${JSON.parse(line).msg}` : line,
    )
    .join('\n');
}

/**
 * client ── router ──┬── gateway1 ──┬── core: the IPv4 side, which routes too
 *                    └── gateway2 ──┘
 */
function connectDataCentre(lab: Lab): Record<string, string> {
  const [router, gateway2] = [lab.addHost('router'), lab.addHost('gateway2')];
  const { client, gateway: gateway1, server: core } = lab;
  lab.ip(client, 'link del up0');
  lab.ip(core, 'link del up0');
  lab.cable(client, 'up0', router, 'lan0');
  lab.ip(client, 'addr add 2001:db8:1::2/64 dev up0');
  lab.ip(client, 'route add default via 2001:db8:1::1');
  lab.ip(router, 'addr add 2001:db8:1::1/64 dev lan0');
  lab.ip(core, `addr add ${SERVER4}/32 dev lo`);
  for (const [i, gateway] of [gateway1, gateway2].entries()) {
    const n = i + 1;
    lab.cable(router, `gw${n}`, gateway, 'lan0');
    lab.ip(router, `addr add 2001:db8:1${n}::1/64 dev gw${n}`);
    lab.ip(gateway, `addr add 2001:db8:1${n}::2/64 dev lan0`);
    lab.ip(gateway, `route add 2001:db8:1::/64 via 2001:db8:1${n}::1`);
    lab.cable(gateway, 'wan0', core, `gw${n}`);
    lab.ip(gateway, `addr add 198.51.100.${4 * n + 2}/30 dev wan0`);
    lab.ip(gateway, `route add default via 198.51.100.${4 * n + 1}`);
    lab.ip(core, `addr add 198.51.100.${4 * n + 1}/30 dev gw${n}`);
  }
  return { client, router, gateway1, gateway2, core };
}

/**
 * A small internet in network namespaces, with the real gateway in the middle:
 *
 *   client (IPv6 only)  2001:db8:1::2 ── 2001:db8:1::1  gateway  203.0.113.1 ── 203.0.113.2  server (IPv4 only)
 *                                                                                8.8.8.8 on its loopback
 *
 * and, where asked for, a router between gateway and server (198.51.100.0/24) with a narrow link behind it. Everything that
 * a lab starts and makes is gone when it is closed, or when the process ends.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export const CLIENT6 = '2001:db8:1::2';
export const SERVER4 = '203.0.113.2';
export const PUBLIC4 = '8.8.8.8';
/** An IPv4 address as clients reach it under the default prefix. */
export const under = (ipv4: string) => `64:ff9b:1::${ipv4}`;

export const MINIMAL_MTU = 1400;

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const CLI = fileURLToPath(new URL('../../../dist/bin/nat64d.js', import.meta.url));

const ENDING_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export interface LabOptions {
  /** MTU of the gateway's end of the client's link. */
  clientLinkMtu?: number;
  /** Puts a router between gateway and server, whose end of the server's link has this MTU. */
  routerMtu?: number;
  /**
   * Puts a router before the server (4) or before the client (6), narrow (MINIMAL_MTU) in that direction, whose ICMP errors
   * quote the least. It has to be started: `startMinimalRouter`.
   */
  minimalRouter?: 4 | 6;
  /** Further addresses of the client, 2001:db8:1::100:1 and on. */
  clientAddresses?: number;
}

export interface Finished {
  status: number | null;
  stdout: string;
  stderr: string;
}

export interface GatewayOptions {
  /** TOML beside data-dir and run-dir; `top` goes before the first table. */
  toml?: string;
  args?: string[];
  /** Do not wait for it to serve. */
  isFailing?: boolean;
  /** Further options of node. */
  nodeOptions?: readonly string[];
  /** Variables for its environment. */
  env?: NodeJS.ProcessEnv;
  /** Shell commands that run before it in its mount namespace, which is its own. */
  setUp?: string;
}

type LogLine = { event?: string; msg: string } & Record<string, unknown>;

let labs = 0;

/** A gateway process, and what it has logged. */
export class GatewayProcess {
  readonly lines: LogLine[] = [];
  readonly output: string[] = [];
  readonly exited: Promise<number | null>;

  constructor(readonly child: ChildProcess) {
    this.exited = new Promise((resolve) => child.once('close', (code) => resolve(code)));
    for (const stream of [child.stdout, child.stderr]) {
      if (stream === null) continue;
      createInterface({ input: stream }).on('line', (line) => {
        this.output.push(line);
        if (line.startsWith('{')) this.lines.push(JSON.parse(line) as LogLine);
      });
    }
  }

  get pid(): number {
    return this.child.pid as number;
  }

  events(name: string): LogLine[] {
    return this.lines.filter((line) => line.event === name);
  }

  /** Waits until an event has been logged `count` times. */
  async waitFor(name: string, count = 1, timeoutMs = 30_000): Promise<LogLine> {
    const end = performance.now() + timeoutMs;
    while (this.events(name).length < count) {
      if (this.child.exitCode !== null && this.events(name).length < count) {
        await this.exited;
        if (this.events(name).length < count)
          throw new Error(`it ended before '${name}':\n${this.output.join('\n')}`);
      }
      if (performance.now() > end) throw new Error(`no '${name}' in time:\n${this.output.join('\n')}`);
      await sleep(10);
    }
    return this.events(name)[count - 1] as LogLine;
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Ends it; resolves with the exit code. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.kill(signal);
    return this.exited;
  }
}

export class Lab {
  readonly client: string;
  readonly gateway: string;
  readonly server: string;
  /** Holds data and run directories; removed at the end. */
  readonly folder = mkdtempSync(join(tmpdir(), 'nat64d-lab-'));
  readonly #prefix = `n64-${process.pid}-${labs++}`;
  readonly #namespaces: string[] = [];
  #router = '';
  readonly #resolvConfs = new Map<string, string>();
  readonly #children = new Set<ChildProcess>();
  readonly #onExit = () => this.#cleanUp();
  /** A signal that nobody handles ends a process without its exit listeners. */
  readonly #onSignal = (signal: NodeJS.Signals) => process.exit(128 + constants.signals[signal]);

  constructor(options: LabOptions = {}) {
    process.once('exit', this.#onExit);
    for (const signal of ENDING_SIGNALS) process.on(signal, this.#onSignal);
    this.client = this.addHost('client');
    this.gateway = this.addHost('gateway');
    this.server = this.addHost('server');

    if (options.minimalRouter === 6) this.#connectClientByRouter(this.addHost('router'));
    else this.#connectClient(options);
    if (options.routerMtu === undefined && options.minimalRouter !== 4) {
      this.cable(this.gateway, 'wan0', this.server, 'up0');
      this.ip(this.gateway, 'addr add 203.0.113.1/24 dev wan0');
      this.ip(this.gateway, `route add ${PUBLIC4}/32 via ${SERVER4}`);
    } else {
      this.#connectServerByRouter(this.addHost('router'), options);
    }
    this.ip(this.server, `addr add ${SERVER4}/24 dev up0`);
    this.ip(this.server, `addr add ${PUBLIC4}/32 dev lo`);
    this.ip(this.server, 'route add default via 203.0.113.1');
  }

  /** Makes a namespace that goes with the lab; returns its name. */
  addHost(role: string): string {
    const name = `${this.#prefix}-${role}`;
    execFileSync('ip', ['netns', 'add', name], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#namespaces.push(name);
    // Without duplicate address detection, addresses serve at once.
    for (const conf of ['all', 'default']) this.#write(name, `ipv6/conf/${conf}/accept_dad`, '0');
    this.ip(name, 'link set lo up');
    return name;
  }

  /** Connects two namespaces. */
  cable(a: string, nameA: string, b: string, nameB: string): void {
    const args = ['link', 'add', nameA, 'netns', a, 'type', 'veth', 'peer', 'name', nameB, 'netns', b];
    execFileSync('ip', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.ip(a, `link set ${nameA} up`);
    this.ip(b, `link set ${nameB} up`);
  }

  /** `ip` inside a namespace; words may hold blanks between them. */
  ip(namespace: string, ...words: string[]): string {
    const args = words.flatMap((part) => part.split(' '));
    return execFileSync('ip', ['-n', namespace, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  /** Runs a command inside a namespace to its end. */
  run(namespace: string, command: string, args: string[] = [], timeoutMs = 30_000): Promise<Finished> {
    return this.runWith({}, namespace, command, args, timeoutMs);
  }

  /** The same, with variables added to its environment. */
  async runWith(
    env: NodeJS.ProcessEnv,
    namespace: string,
    command: string,
    args: string[],
    timeoutMs: number,
  ): Promise<Finished> {
    const child = this.spawn(namespace, command, args, env);
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    let stdout = '';
    let stderr = '';
    child.stdout?.on('data', (data) => {
      stdout += data;
    });
    child.stderr?.on('data', (data) => {
      stderr += data;
    });
    const status = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => resolve(code));
    });
    clearTimeout(timer);
    return { status, stdout, stderr };
  }

  /** Starts a command inside a namespace. `ip netns exec` becomes the command, so its pid is the command's. */
  spawn(namespace: string, command: string, args: string[] = [], env: NodeJS.ProcessEnv = {}): ChildProcess {
    const resolvConf = this.#resolvConfs.get(namespace);
    // `ip netns exec` gives the command mounts of its own, so this one is seen by nobody else.
    const bind = ['sh', '-c', 'mount --bind "$0" /etc/resolv.conf && exec "$@"', resolvConf ?? ''];
    const words = [...(resolvConf === undefined ? [] : bind), command, ...args];
    const child = spawn('ip', ['netns', 'exec', namespace, ...words], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    this.#children.add(child);
    child.once('close', () => this.#children.delete(child));
    return child;
  }

  /** Commands started in a namespace from now on find this name server in /etc/resolv.conf. */
  useNameServer(namespace: string, address: string): void {
    const file = join(this.folder, `${namespace}.resolv.conf`);
    writeFileSync(file, `nameserver ${address}\n`);
    this.#resolvConfs.set(namespace, file);
  }

  /** One ping, of the client's unless another host is named; whether it is answered within the seconds given. */
  async pings(
    address = under(PUBLIC4),
    { from = this.client, source, waitSec = 1 }: { from?: string; source?: string; waitSec?: number } = {},
  ): Promise<boolean> {
    const bound = source === undefined ? [] : ['-I', source];
    const words = ['-c', '1', '-W', String(waitSec), ...bound, address];
    return / 0% packet loss/.test((await this.run(from, 'ping', words)).stdout);
  }

  /** Where `inReach` shows the checkout; the lab's folder must be open to others. */
  get checkout(): string {
    return join(this.folder, 'checkout');
  }

  /**
   * The words of a command that finds the checkout at `checkout`: the checkout itself may lie where no other user comes, as below /root.
   * For hosts of the lab, which have mounts of their own.
   */
  inReach(...command: string[]): string[] {
    const show = 'mkdir -p "$1" && mount --bind "$0" "$1" && shift && exec "$@"';
    return ['sh', '-c', show, ROOT, this.checkout, ...command];
  }

  /** Runs one of the helper programs, `netns-NAME`, to its end. */
  node(namespace: string, name: string, args: string[], timeoutMs = 60_000): Promise<Finished> {
    return this.run(namespace, process.execPath, [program(name), ...args], timeoutMs);
  }

  /** Starts a helper program that prints `ready` when it serves. */
  async serve(namespace: string, name: string, args: string[] = []): Promise<ChildProcess> {
    const child = this.spawn(namespace, process.execPath, [program(name), ...args]);
    let output = '';
    await new Promise<void>((resolve, reject) => {
      child.stderr?.on('data', (data) => {
        output += data;
      });
      child.stdout?.on('data', (data) => {
        output += data;
        if (output.includes('ready')) resolve();
      });
      child.once('close', () => reject(new Error(`${name} ended: ${output}`)));
    });
    return child;
  }

  /** Writes the configuration file of the gateway: this, and what it lacks of data-dir, run-dir and a forwarder. Returns its name. */
  configure(toml = ''): string {
    const file = join(this.folder, 'nat64d.toml');
    const folders = ['data', 'run']
      .filter((name) => !toml.includes(`${name}-dir`))
      .map((name) => `${name}-dir = "${join(this.folder, name)}"\n`)
      .join('');
    const dns64 = toml.includes('[dns64]') ? '' : `\n[dns64]\nforwarders = ["${SERVER4}"]\n`;
    writeFileSync(file, `${folders}${toml}${dns64}`);
    return file;
  }

  /** Starts the gateway in its namespace, and waits until it serves. */
  async startGateway(options: GatewayOptions = {}): Promise<GatewayProcess> {
    const file = this.configure(options.toml);
    const { nodeOptions = [] } = options;
    const args = [...nodeOptions, CLI, '--config', file, ...(options.args ?? [])];
    const [command, ...words] = [
      ...(options.setUp === undefined ? [] : ['sh', '-c', `${options.setUp} && exec "$@"`, 'sh']),
      process.execPath,
      ...args,
    ] as [string, ...string[]];
    const env = { NAT64D_TEST_HOOKS: '1', ...options.env };
    const gateway = new GatewayProcess(this.spawn(this.gateway, command, words, env));
    if (options.isFailing !== true) await gateway.waitFor('ready');
    return gateway;
  }

  /** What a start and a stop must leave as it was: addresses, routes, rules and switches of the gateway's namespace. */
  async snapshot(): Promise<string> {
    const commands = [
      'ip -o addr show | sed "s/valid_lft.*//"',
      'ip -4 route show table all',
      'ip -6 route show table all',
      'nft list ruleset',
      'cd /proc/sys/net && grep -r . ipv4/ip_forward ipv4/conf/*/forwarding ipv6/conf/*/forwarding ipv6/conf/*/accept_ra',
    ];
    const parts = await Promise.all(commands.map((command) => this.run(this.gateway, 'sh', ['-c', command])));
    return parts.map(({ stdout }, i) => `$ ${commands[i]}\n${stdout}`).join('\n');
  }

  async close(): Promise<void> {
    const ends = [...this.#children].map((child) => new Promise((resolve) => child.once('close', resolve)));
    for (const child of this.#children) child.kill('SIGKILL');
    await Promise.all(ends);
    this.#cleanUp();
    process.removeListener('exit', this.#onExit);
    for (const signal of ENDING_SIGNALS) process.removeListener(signal, this.#onSignal);
  }

  #connectClient(options: LabOptions): void {
    this.cable(this.client, 'up0', this.gateway, 'lan0');
    this.ip(this.client, 'addr add', `${CLIENT6}/64`, 'dev up0 nodad');
    // Behind the client by a route, not neighbours on the link: the kernel's table of neighbours ends at 1,024.
    for (let i = 1; i <= (options.clientAddresses ?? 0); i++) {
      this.ip(this.client, 'addr add', `2001:db8:1::100:${i.toString(16)}/128`, 'dev lo nodad');
    }
    this.ip(this.gateway, 'addr add 2001:db8:1::1/64 dev lan0 nodad');
    this.ip(this.gateway, `route add 2001:db8:1::100:0/112 via ${CLIENT6}`);
    this.ip(this.client, 'route add default via 2001:db8:1::1');
    if (options.clientLinkMtu !== undefined)
      this.ip(this.gateway, 'link set lan0 mtu', String(options.clientLinkMtu));
  }

  #connectServerByRouter(router: string, options: LabOptions): void {
    this.cable(this.gateway, 'wan0', router, 'west0');
    this.cable(router, 'east0', this.server, 'up0');
    this.ip(this.gateway, 'addr add 198.51.100.1/24 dev wan0');
    this.ip(router, 'addr add 198.51.100.2/24 dev west0');
    this.ip(router, 'addr add 203.0.113.1/24 dev east0');
    this.#write(router, 'ipv4/ip_forward', '1');
    this.ip(this.gateway, 'route add default via 198.51.100.2');
    this.ip(router, `route add ${PUBLIC4}/32 via ${SERVER4}`);
    if (options.routerMtu !== undefined) {
      this.ip(router, 'link set east0 mtu', String(options.routerMtu));
      return;
    }
    // What is for the server goes through the program first; what comes out of the program is routed by a table of its own.
    this.#makeDetour(router, `${SERVER4}/32`, [
      '203.0.113.0/24 dev east0',
      'default via 198.51.100.1 dev west0',
    ]);
  }

  #connectClientByRouter(router: string): void {
    this.cable(this.client, 'up0', router, 'west0');
    this.cable(router, 'east0', this.gateway, 'lan0');
    this.ip(this.client, 'addr add', `${CLIENT6}/64`, 'dev up0 nodad');
    this.ip(this.client, 'route add default via 2001:db8:1::1');
    this.ip(router, 'addr add 2001:db8:1::1/64 dev west0 nodad');
    this.ip(router, 'addr add 2001:db8:3::2/64 dev east0 nodad');
    this.ip(this.gateway, 'addr add 2001:db8:3::1/64 dev lan0 nodad');
    this.#write(router, 'ipv6/conf/all/forwarding', '1');
    this.ip(router, 'route add default via 2001:db8:3::1');
    this.ip(this.gateway, 'route add 2001:db8:1::/64 via 2001:db8:3::2');
    this.#makeDetour(router, `${CLIENT6}/128`, [
      '2001:db8:1::/64 dev west0',
      'default via 2001:db8:3::1 dev east0',
    ]);
  }

  #makeDetour(router: string, destination: string, onward: string[]): void {
    const family = destination.includes(':') ? '-6' : '-4';
    this.ip(router, 'tuntap add dev narrow0 mode tun vnet_hdr');
    this.ip(router, 'link set narrow0 up');
    for (const conf of ['all', 'narrow0']) this.#write(router, `ipv4/conf/${conf}/rp_filter`, '0');
    this.ip(router, `${family} route add ${destination} dev narrow0 metric 1`);
    this.ip(router, `${family} rule add iif narrow0 lookup 100`);
    for (const route of onward) this.ip(router, `${family} route add ${route} table 100`);
    this.#router = router;
  }

  /** Starts the program of `minimalRouter`. */
  startMinimalRouter(): Promise<ChildProcess> {
    return this.serve(this.#router, 'minimal-router', [
      'narrow0',
      String(MINIMAL_MTU),
      '192.0.2.99',
      '2001:db8:99::1',
    ]);
  }

  #write(namespace: string, sysctl: string, value: string): void {
    execFileSync('ip', ['netns', 'exec', namespace, 'sh', '-c', `echo ${value} > /proc/sys/net/${sysctl}`]);
  }

  #cleanUp(): void {
    for (const child of this.#children) child.kill('SIGKILL');
    for (const name of this.#namespaces.splice(0)) {
      if (existsSync(`/run/netns/${name}`)) execFileSync('ip', ['netns', 'del', name]);
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function program(name: string): string {
  return fileURLToPath(new URL(`netns-${name}.js`, import.meta.url));
}

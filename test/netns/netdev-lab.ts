/** What the tests of the device set-up share: namespaces, and a child that sets up inside one. Needs root. */

import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { NetdevSettings } from '#nat64d/control/netdev/index.js';
import { until } from '../helpers/until.js';

const CHILD = fileURLToPath(new URL('netdev-child.js', import.meta.url));
export const TABLE = 'nat64d-nat64';
/** Namespaces of this run: gateway, and those of the hosts around it. */
export const GW = `nd${process.pid}-gw`;
export const HOST = `nd${process.pid}-host`;
export const SERVER = `nd${process.pid}-server`;

/** A directory of each test's own. */
export let top = '';
let children: Child[] = [];

export function inside(namespace: string, ...command: string[]): string {
  return execFileSync('ip', ['netns', 'exec', namespace, ...command], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

export function ip(namespace: string, words: string): string {
  return execFileSync('ip', ['-n', namespace, ...words.split(' ')], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

export const sysctl = (path: string) => inside(GW, 'cat', `/proc/sys/net/${path}`).trim();
export const setSysctl = (namespace: string, path: string, value: string) =>
  inside(namespace, 'sh', '-c', `echo ${value} > /proc/sys/net/${path}`);

export function addNamespace(name: string): void {
  ipOutside('netns', 'add', name);
  // Without duplicate address detection, addresses serve at once.
  for (const conf of ['all', 'default']) setSysctl(name, `ipv6/conf/${conf}/accept_dad`, '0');
  ip(name, 'link set lo up');
}

export function ipOutside(...words: string[]): void {
  execFileSync('ip', words, { stdio: ['ignore', 'pipe', 'pipe'] });
}

/** A cable between two namespaces. */
export function connect(a: string, nameA: string, b: string, nameB: string): void {
  ipOutside('link', 'add', nameA, 'netns', a, 'type', 'veth', 'peer', 'name', nameB, 'netns', b);
  ip(a, `link set ${nameA} up`);
  ip(b, `link set ${nameB} up`);
}

/** An interface of the gateway with nothing behind it. */
export const addLan = (name: string) => ip(GW, `tuntap add ${name} mode tap`);

export const settings = (more: Partial<NetdevSettings> = {}): NetdevSettings => ({
  device: 'nat64',
  mtu: 1480,
  addresses: [
    { family: 4, address: 0xc0000008, length: 32 },
    { family: 6, address: [0xfd640000 | 0, 0, 0, 1], length: 128 },
  ],
  routes: [
    { family: 6, prefix: '64:ff9b::/96', key: 'pref64' },
    { family: 4, prefix: '10.64.0.0/24', key: 'pool4' },
    { family: 4, prefix: '198.51.100.7/32', key: 'map' },
  ],
  forwarding: true,
  masquerade: true,
  masqueradeSource: { address: 0x0a400000, length: 24 },
  runDir: join(top, 'run', 'nat64d'),
  configure: true,
  up: false,
  ...more,
});

interface Line {
  readonly level?: string;
  readonly message?: string;
  readonly ready?: boolean;
  readonly failed?: string;
  readonly summary?: readonly string[];
}

export class Child {
  readonly lines: Line[] = [];
  readonly process: ChildProcess;
  #stderr = '';

  constructor(
    mode: 'configure' | 'recover',
    config: NetdevSettings,
    { env = process.env, wrapper = [] as string[] } = {},
  ) {
    const file = join(top, `settings-${children.length}.json`);
    writeFileSync(file, JSON.stringify(config));
    const command = [...wrapper, process.execPath, CHILD, mode, file];
    this.process = spawn('ip', ['netns', 'exec', GW, ...command], {
      detached: true,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    createInterface({ input: this.process.stdout! }).on('line', (line) =>
      this.lines.push(JSON.parse(line) as Line),
    );
    this.process.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    children.push(this);
  }

  warnings(): string[] {
    return this.lines.flatMap((line) =>
      line.level === 'warn' || line.level === 'error' ? (line.message ?? '') : [],
    );
  }

  /** Waits until set-up has ended, well or not. */
  async settled(): Promise<Line> {
    const end = () => this.lines.find((line) => line.ready === true || line.failed !== undefined);
    await until(() => end() !== undefined || this.process.exitCode !== null, 'the child to settle', 30_000);
    const line = end();
    assert.ok(line, `the child ended: ${this.#stderr}`);
    return line;
  }

  /** Waits until it is set up. @returns its summary */
  async ready(): Promise<string> {
    const line = await this.settled();
    assert.equal(line.failed, undefined, line.message);
    return (line.summary ?? []).join('\n');
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const exited = once(this.process, 'exit');
    this.process.kill(signal);
    await exited;
    if (signal === 'SIGTERM') assert.equal(this.#stderr, '');
  }
}

export function tables(): string {
  return inside(GW, 'nft', 'list', 'tables');
}

/** All that a gateway may touch, as text to compare. */
export function snapshot() {
  const conf = inside(
    GW,
    'sh',
    '-c',
    'cd /proc/sys/net; grep . ipv4/conf/*/forwarding ipv4/conf/*/accept_redirects ipv6/conf/*/forwarding ipv6/conf/*/accept_ra',
  );
  return {
    conf,
    // Going up for the first time gives a device its queueing discipline.
    addresses: ip(GW, 'address show').replace(/qdisc \S+/g, ''),
    links: ip(GW, '-d link show').replace(/qdisc \S+/g, ''),
    routes4: ip(GW, '-4 route show table all'),
    routes6: ip(GW, '-6 route show table all'),
    ruleset: inside(GW, 'nft', 'list', 'ruleset'),
  };
}

/** Before and after each test of the file that calls it. */
export function useNamespaces(): void {
  beforeEach(() => {
    top = mkdtempSync(join(tmpdir(), 'nat64d-netdev-'));
    children = [];
    addNamespace(GW);
    ipOutside('-n', GW, 'tuntap', 'add', 'nat64', 'mode', 'tun', 'multi_queue');
  });

  afterEach(async () => {
    for (const child of children) await child.end('SIGKILL');
    for (const name of [GW, HOST, SERVER]) spawnSync('ip', ['netns', 'del', name], { stdio: 'ignore' });
    rmSync(top, { recursive: true, force: true });
  });
}

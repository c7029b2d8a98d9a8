/** What a benchmark sends its load through: plain kernel forwarding, TAYGA, and the gateway; each taken up and down in a lab. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { type GatewayProcess, type Lab, SERVER4, under } from '../test/helpers/lab.js';
import { installedOrFetched } from '../test/helpers/peers.js';
import { LOADGEN } from './loads.js';

export const SERVER6 = '2001:db8:2::2';
const TAYGA_PREFIX = '2001:db8:64:ff9b::';
/** The routing table by which frames go into the device that copies. */
const COPY_TABLE = 100;
/** Room for a million hosts. */
export const POOL4 = '10.64.0.0/12';

/** A contender that has been started. */
export interface Running {
  /** The server's address through it. */
  readonly target: string;
  /** Length of the IP header that frames have when they reach the server. */
  readonly ipHeader: number;
  /** The interface through which it gets its frames. */
  readonly device: string;
  /** Its process, where it has one. */
  readonly pid?: number;
  stop(): Promise<unknown>;
}

export interface Contender {
  readonly name: string;
  /** Of those that can be had with one or with several: workers, or threads that copy. */
  readonly threads?: number;
  start(lab: Lab): Promise<Running>;
}

/** Switches the kernel's forwarding in the gateway's namespace. */
async function setForwarding(lab: Lab, value: 0 | 1): Promise<void> {
  const files = '/proc/sys/net/ipv6/conf/all/forwarding /proc/sys/net/ipv4/ip_forward';
  await lab.run(lab.gateway, 'sh', ['-c', `for f in ${files}; do echo ${value} > $f; done`]);
}

/** The kernel forwards IPv6 between client and server: what a translator can come close to. */
export const kernel: Contender = {
  name: 'kernel IPv6',
  async start(lab) {
    lab.ip(lab.gateway, 'addr add 2001:db8:2::1/64 dev wan0 nodad');
    lab.ip(lab.server, `addr add ${SERVER6}/64 dev up0 nodad`);
    lab.ip(lab.server, 'route replace default via 2001:db8:2::1');
    await setForwarding(lab, 1);
    return {
      target: SERVER6,
      device: 'lan0',
      ipHeader: 40,
      stop: async () => {
        lab.ip(lab.gateway, 'addr del 2001:db8:2::1/64 dev wan0');
        lab.ip(lab.server, `addr del ${SERVER6}/64 dev up0`);
        await setForwarding(lab, 0);
      },
    };
  },
};

/**
 * A program in C that does nothing but copy frames out of a TUN device and back into it, one by one, with this many threads, between a
 * client and a server that both have IPv6: what a gateway on a TUN device pays before it has translated anything.
 */
export function copying(queues: number): Contender {
  const rules = ['lan0', 'wan0'].map((from) => `rule add iif ${from} lookup ${COPY_TABLE}`);
  return {
    name: `copying only, ${queues} thread${queues > 1 ? 's' : ''}`,
    threads: queues,
    async start(lab) {
      const forwarding = await kernel.start(lab);
      const child = lab.spawn(lab.gateway, LOADGEN, [
        'copy',
        '--interface',
        'copy0',
        '--queues',
        String(queues),
      ]);
      const ended = new Promise((resolve) => child.once('close', resolve));
      await Promise.race([once(child.stdout as Readable, 'data'), ended]);
      if (child.exitCode !== null || child.pid === undefined) throw new Error('loadgen copy did not start');
      lab.ip(lab.gateway, 'link set copy0 txqueuelen 500 up');
      lab.ip(lab.gateway, `-6 route add default dev copy0 table ${COPY_TABLE}`);
      for (const rule of rules) lab.ip(lab.gateway, `-6 ${rule}`);
      return {
        ...forwarding,
        device: 'copy0',
        pid: child.pid,
        stop: async () => {
          for (const rule of rules) lab.ip(lab.gateway, `-6 ${rule.replace('add', 'del')}`);
          child.kill('SIGTERM');
          await ended;
          await forwarding.stop();
        },
      };
    },
  };
}

export interface OursOptions {
  /** Further keys for the [device] table. */
  readonly device?: string;
  /** Options of node. */
  readonly nodeOptions?: readonly string[];
  /** Keys before the first table. */
  readonly top?: string;
  /** The dynamic pool; POOL4 unless told. */
  readonly pool4?: string;
}

/** Starts the gateway with this many workers. */
export async function startNat64d(
  lab: Lab,
  workers: number,
  options: OursOptions = {},
): Promise<{ gateway: GatewayProcess; running: Running }> {
  const top = `workers = ${workers}\npool4 = "${options.pool4 ?? POOL4}"\nmax-maps-per-64 = 0\n${options.top ?? ''}`;
  const toml = `${top}[device]\nmasquerade = false\n${options.device ?? ''}\n[dns64]\nenabled = false\n`;
  // Its hosts are to be new ones.
  rmSync(join(lab.folder, 'data'), { recursive: true, force: true });
  const gateway = await lab.startGateway({ toml, nodeOptions: options.nodeOptions ?? [] });
  const device = gateway.events('ready')[0]?.device as string;
  const { pid } = gateway;
  return {
    gateway,
    running: { target: under(SERVER4), ipHeader: 20, device, pid, stop: () => gateway.stop() },
  };
}

/** The gateway with this many workers. */
export function nat64d(workers: number, options: OursOptions = {}, name = ''): Contender {
  return {
    name: name || `nat64d, ${workers} worker${workers > 1 ? 's' : ''}`,
    threads: workers,
    start: async (lab) => (await startNat64d(lab, workers, options)).running,
  };
}

/** TAYGA with its own defaults, this machine's or Debian's; undefined, with a notice, where there is none. */
export function tayga(): Contender | undefined {
  const peer = installedOrFetched('tayga', ['tayga'], 'TAYGA is');
  if (peer === undefined) return undefined;
  return {
    name: 'TAYGA',
    async start(lab) {
      const file = join(lab.folder, 'tayga.conf');
      rmSync(join(lab.folder, 'dynamic.map'), { force: true });
      writeFileSync(
        file,
        `tun-device tayga0\nipv4-addr 10.64.0.1\nprefix ${TAYGA_PREFIX}/96\ndynamic-pool ${POOL4}\ndata-dir ${lab.folder}\n`,
      );
      lab.ip(lab.gateway, 'tuntap add dev tayga0 mode tun');
      lab.ip(lab.gateway, 'link set tayga0 up');
      lab.ip(lab.gateway, `route add ${TAYGA_PREFIX}/96 dev tayga0`);
      lab.ip(lab.gateway, `route add ${POOL4} dev tayga0`);
      await setForwarding(lab, 1);
      const program = peer.program ?? join(peer.root, 'usr/sbin/tayga');
      const child = lab.spawn(lab.gateway, program, ['--nodetach', '-c', file], peer.env);
      await sleep(500);
      if (child.exitCode !== null || child.pid === undefined) throw new Error('TAYGA did not start');
      return {
        target: `${TAYGA_PREFIX}${SERVER4}`,
        ipHeader: 20,
        device: 'tayga0',
        pid: child.pid,
        stop: async () => {
          const ended = new Promise((resolve) => child.once('close', resolve));
          child.kill('SIGTERM');
          await ended;
          lab.ip(lab.gateway, 'link del tayga0');
          await setForwarding(lab, 0);
        },
      };
    },
  };
}

/** The CPUs that a process may run on, as `pin` takes them. */
export function affinityOf(pid: number): string {
  const text = execFileSync('taskset', ['-cp', String(pid)], { encoding: 'utf8' });
  return text.slice(text.lastIndexOf(':') + 1).trim();
}

/** Binds all threads of a process to these CPUs ('0', '0-3'). */
export function pin(pid: number, cpus: string): void {
  execFileSync('taskset', ['-acp', cpus, String(pid)], { stdio: ['ignore', 'ignore', 'pipe'] });
}

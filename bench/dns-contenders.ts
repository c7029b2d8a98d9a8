/** Name servers with DNS64 that a benchmark compares: the gateway, unbound and BIND, all in front of the same authority. */
import type { ChildProcess } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Lab } from '../test/helpers/lab.js';
import { fetchBind, fetchUnbound } from '../test/helpers/name-servers.js';
import { pin } from './contenders.js';

/** Where the authority listens, in the gateway's namespace like all others. */
export const AUTHORITY_PORT = 5300;
export const AUTHORITY_CPU = '0';
export const SERVER_CPU = '1';
const PREFIX = '64:ff9b:1::/96';
/** For caches; none of them may fill it. */
const CACHE_MIB = 512;

export interface NameServer {
  readonly port: number;
  readonly pid: number;
  stop(): Promise<unknown>;
}

export interface DnsContender {
  readonly name: string;
  start(lab: Lab): Promise<NameServer>;
}

/** The gateway as it is, NAT64 included. */
export const ours: DnsContender = {
  name: 'nat64d',
  async start(lab) {
    const port = 5301;
    const top = 'workers = 1\npool4 = "10.64.0.0/12"\nmax-maps-per-64 = 0\n[device]\nmasquerade = false\n';
    const dns64 = `[dns64]\nlisten = ["127.0.0.1:${port}"]\nforwarders = ["127.0.0.1:${AUTHORITY_PORT}"]\n`;
    const gateway = await lab.startGateway({ toml: `${top}${dns64}`, nodeOptions: nodeOptions() });
    pin(gateway.pid, SERVER_CPU);
    return { port, pid: gateway.pid, stop: () => gateway.stop() };
  },
};

/** Further options of node, for a profile. */
function nodeOptions(): string[] {
  return (process.env.NAT64D_BENCH_NODE ?? '').split(' ').filter((word) => word !== '');
}

async function startPeer(
  lab: Lab,
  port: number,
  command: string,
  args: string[],
  env: NodeJS.ProcessEnv,
): Promise<NameServer> {
  const child: ChildProcess = lab.spawn(lab.gateway, 'taskset', ['-c', SERVER_CPU, command, ...args], env);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (data) => {
      output += data;
    });
  }
  await sleep(1000);
  if (child.exitCode !== null || child.pid === undefined)
    throw new Error(`${command} did not start:\n${output}`);
  return {
    port,
    pid: child.pid,
    stop: () => {
      const ended = new Promise((resolve) => child.once('close', resolve));
      child.kill('SIGTERM');
      return ended;
    },
  };
}

/** Debian's unbound, one thread. Throws where its packages cannot be fetched. */
export function unbound(): DnsContender {
  const peer = fetchUnbound();
  const port = 5302;
  return {
    name: 'unbound',
    start: (lab) => {
      const file = join(lab.folder, 'unbound.conf');
      writeFileSync(
        file,
        `server:
  interface: 127.0.0.1@${port}
  access-control: 127.0.0.0/8 allow
  num-threads: 1
  module-config: "dns64 iterator"
  dns64-prefix: ${PREFIX}
  do-not-query-localhost: no
  msg-cache-size: ${CACHE_MIB}m
  rrset-cache-size: ${CACHE_MIB}m
  outgoing-range: 8192
  num-queries-per-thread: 4096
  so-rcvbuf: 1m
  do-daemonize: no
  use-syslog: no
  logfile: ""
  username: ""
  chroot: ""
  directory: "${lab.folder}"
  pidfile: ""
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@${AUTHORITY_PORT}
`,
      );
      return startPeer(lab, port, join(peer.root, 'usr/sbin/unbound'), ['-d', '-p', '-c', file], peer.env);
    },
  };
}

/** Debian's BIND, one thread. Throws where its packages cannot be fetched. */
export function bind(): DnsContender {
  const peer = fetchBind();
  const port = 5303;
  return {
    name: 'BIND',
    start: (lab) => {
      const file = join(lab.folder, 'named.conf');
      writeFileSync(
        file,
        `options {
  directory "${lab.folder}";
  pid-file none;
  session-keyfile none;
  listen-on port ${port} { 127.0.0.1; };
  listen-on-v6 { none; };
  recursion yes;
  forward only;
  forwarders port ${AUTHORITY_PORT} { 127.0.0.1; };
  dns64 ${PREFIX} { clients { any; }; };
  dnssec-validation no;
  max-cache-size ${CACHE_MIB}M;
  recursive-clients 10000;
};
controls { };
`,
      );
      const args = ['-f', '-n', '1', '-c', file];
      return startPeer(lab, port, join(peer.root, 'usr/sbin/named'), args, peer.env);
    },
  };
}

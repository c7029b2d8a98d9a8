/** Loads on a name server: dnsperf, queries in batches (dnsperf takes as much CPU as the servers), and new IPv6 hosts of the gateway beside it. */
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { type Lab, SERVER4, under } from '../test/helpers/lab.js';
import { fetchPeer, type Peer } from '../test/helpers/peers.js';
import { AUTHORITY_CPU, type NameServer, SERVER_CPU } from './dns-contenders.js';
import { cpuSeconds, ECHO_PORT, LOADGEN } from './loads.js';

/** Names that are asked again and again. */
export const HOT_NAMES = 1000;
/** No name twice. */
export const ALL_NAMES = 1_000_000_000;
/** More than any server answers in the time. */
const NEW_NAMES_PER_SEC = 120_000;
const OUTSTANDING = 500;
const CLIENTS = 20;
/** New hosts a second, and how many. */
const HOSTS_PER_SEC = 400;
const HOSTS_ROUTE = '2001:db8:1::100:0/112';

export function dnsperf(): Peer {
  return fetchPeer('dnsperf', ['dnsperf', 'libldns3', 'libnghttp2-14']);
}

export interface DnsFigures {
  readonly perSec: number;
  /** Of the server, for each query. */
  readonly cpuUs: number;
  readonly lostPerCent: number;
  /** How busy the core was that the load came from; where that is 100 %, it was the limit and not the server. */
  readonly loadBusyPerCent: number;
}

/** Milliseconds that the load's core has spent, and those of them with something to do. */
function loadCore(): { all: number; busy: number } {
  const times = cpus()[Number(AUTHORITY_CPU)]?.times;
  if (times === undefined) throw new Error(`CPU ${AUTHORITY_CPU} is not there`);
  const all = times.user + times.nice + times.sys + times.irq + times.idle;
  return { all, busy: all - times.idle };
}

/** Takes half of the server's core: a program of the same niceness that never waits. */
export function spin(lab: Lab): { stop(): Promise<void> } {
  const child = lab.spawn(lab.gateway, 'taskset', ['-c', SERVER_CPU, 'sh', '-c', 'while :; do :; done']);
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  return {
    stop() {
      child.kill('SIGKILL');
      return ended;
    },
  };
}

/** Writes a data file of dnsperf. */
function writeNames(lab: Lab, count: number, domain: string): string {
  const file = join(lab.folder, 'names');
  const lines: string[] = [];
  for (let i = 0; i < count; i++) lines.push(`host${i}.${domain}.example.net AAAA`);
  writeFileSync(file, `${lines.join('\n')}\n`);
  return file;
}

export const hotNames = (lab: Lab): string => writeNames(lab, HOT_NAMES, 'hot');

let domains = 0;
export function newNames(lab: Lab, seconds: number): string {
  return writeNames(lab, NEW_NAMES_PER_SEC * seconds, `new${process.pid}-${domains++}`);
}

/** dnsperf with what is in a file, over and over until the time is up; as fast as it goes, or at a rate. */
export async function load(
  lab: Lab,
  peer: Peer,
  server: NameServer,
  names: string,
  seconds: number,
  rate?: number,
): Promise<DnsFigures> {
  const words = ['-s', '127.0.0.1', '-p', server.port, '-d', names, '-l', seconds];
  words.push('-c', CLIENTS, '-T', 1, '-q', OUTSTANDING, '-t', 2);
  if (rate !== undefined) words.push('-Q', Math.round(rate));
  const args = ['-c', AUTHORITY_CPU, join(peer.root, 'usr/bin/dnsperf'), ...words.map(String)];
  const core = loadCore();
  const before = cpuSeconds(server.pid);
  const { stdout, stderr } = await lab.runWith(peer.env, lab.gateway, 'taskset', args, (seconds + 15) * 1000);
  const spent = cpuSeconds(server.pid) - before;
  const { all, busy } = loadCore();
  const figure = (name: string) => {
    const found = new RegExp(`${name}: +([0-9.]+)`).exec(stdout)?.[1];
    if (found === undefined) throw new Error(`dnsperf: ${stdout}${stderr}`);
    return Number(found);
  };
  const completed = figure('Queries completed');
  if (!stdout.includes('NOERROR') || completed === 0) throw new Error(`no answers: ${stdout}`);
  return {
    perSec: figure('Queries per second'),
    cpuUs: (spent / completed) * 1e6,
    lostPerCent: (figure('Queries lost') / figure('Queries sent')) * 100,
    loadBusyPerCent: (100 * (busy - core.busy)) / (all - core.all),
  };
}

export interface QueriesReport {
  readonly perSec: number;
  readonly sent: number;
  readonly received: number;
  readonly failed: number;
  /** Those that were received, with those before it counted. */
  readonly all: number;
  readonly latencyUs: Record<'p50' | 'p90' | 'p99' | 'p99.9' | 'max', number>;
  /** Of the server, for each query. */
  readonly cpuUs: number;
}

export interface Queries {
  readonly names: number;
  readonly seconds: number;
  /** Queries on their way at a time. */
  readonly outstanding?: number;
  /** Queries a second; as many as it takes where absent. */
  readonly rate?: number;
}

/** Queries in batches, for names that nobody has asked for before this call. */
export async function queries(lab: Lab, server: NameServer, load: Queries): Promise<QueriesReport> {
  const words = ['queries', '--target', '127.0.0.1', '--port', server.port, '--flows', CLIENTS];
  words.push(
    '--burst',
    load.outstanding ?? 2 * OUTSTANDING,
    '--hosts',
    load.names,
    '--seconds',
    load.seconds,
  );
  if (load.rate !== undefined) words.push('--rate', Math.round(load.rate));
  const args = ['-c', AUTHORITY_CPU, LOADGEN, ...words.map(String)];
  const before = cpuSeconds(server.pid);
  const { status, stdout, stderr } = await lab.run(lab.gateway, 'taskset', args, (load.seconds + 15) * 1000);
  if (status !== 0) throw new Error(stderr);
  const spent = cpuSeconds(server.pid) - before;
  const report = JSON.parse(stdout) as Omit<QueriesReport, 'cpuUs'>;
  if (report.failed > report.received / 100)
    throw new Error(`${report.failed} of ${report.received} answers were none`);
  return { ...report, cpuUs: (spent / report.all) * 1e6 };
}

export interface HostReport {
  readonly hosts: number;
  readonly answered: number;
  readonly firstUs: Record<'p50' | 'p90' | 'p99' | 'max', number>;
  readonly knownUs: Record<'p50' | 'p90' | 'p99' | 'max', number>;
}

/** Lets the client speak from any of the addresses that the lab routes to it. */
export function openHosts(lab: Lab): void {
  lab.ip(lab.client, `route add local ${HOSTS_ROUTE} dev lo`);
  lab.spawn(lab.server, 'nice', ['-n', '-15', LOADGEN, 'echo', '--port', String(ECHO_PORT)]);
}

/** How often workers' questions for an address were answered within each of these times, since the start. */
export async function assignmentTimes(lab: Lab): Promise<Map<number, number>> {
  const code = `fetch('http://127.0.0.1:6464/metrics').then((r) => r.text()).then(console.log)`;
  const { stdout } = await lab.run(lab.gateway, process.execPath, ['-e', code], 10_000);
  const lines = stdout.matchAll(/^nat64d_map_assignment_seconds_bucket\{le="([^"]+)"\} (\d+)$/gm);
  return new Map(
    [...lines].map(([, bound, count]) => [Number(bound?.replace('+Inf', 'Infinity')), Number(count)]),
  );
}

/** The least bound, in seconds, within which so many of the answers came that were counted between two looks. */
export function boundOf(before: Map<number, number>, after: Map<number, number>, share: number): number {
  const since = (bound: number) => (after.get(bound) ?? 0) - (before.get(bound) ?? 0);
  const all = since(Number.POSITIVE_INFINITY);
  return [...after.keys()].find((bound) => since(bound) >= share * all) ?? Number.NaN;
}

let hosts = 1;
/** First datagrams of new hosts through the gateway, from going out to coming back. */
export async function measureHosts(lab: Lab, seconds: number): Promise<HostReport> {
  const count = HOSTS_PER_SEC * seconds;
  const source = `2001:db8:1::100:${hosts.toString(16)}`;
  hosts += count;
  const words = ['hosts', '--target', under(SERVER4), '--port', ECHO_PORT, '--source', source];
  words.push('--hosts', count, '--rate', HOSTS_PER_SEC);
  const args = ['-n', '-15', 'taskset', '-c', AUTHORITY_CPU, LOADGEN, ...words.map(String)];
  const { status, stdout, stderr } = await lab.run(lab.client, 'nice', args, (seconds + 20) * 1000);
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as HostReport;
}

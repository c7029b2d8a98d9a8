/** Loads that a benchmark puts on whatever stands between a lab's client and its server, and what they measure. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Lab } from '../test/helpers/lab.js';
import { installedOrFetched, type Peer } from '../test/helpers/peers.js';
import type { Running } from './contenders.js';

/** The program of native/bench. */
export const LOADGEN = fileURLToPath(new URL('../../native/build/Release/loadgen', import.meta.url));
/** Datagrams to this port vanish at the server, counted by its interface. */
export const SINK_PORT = 6400;
export const ECHO_PORT = 6401;
/** First source of `loadgen raw`; the lab routes the addresses behind it to the client. */
const FIRST_SOURCE = '2001:db8:1::100:0';
const ETHERNET_HEADER = 14;
const UDP_HEADER = 8;
const SETTLE_MS = 700;

interface Interface {
  address: string;
  stats64: { rx: { bytes: number; packets: number } };
}

function readInterface(lab: Lab, namespace: string, name: string): Interface {
  const [found] = JSON.parse(lab.ip(namespace, `-j -s link show ${name}`)) as Interface[];
  return found as Interface;
}

/** Makes the server drop what comes to the sink, before it costs anything. */
export async function openSink(lab: Lab): Promise<void> {
  const rules = `table inet sink { chain in { type filter hook prerouting priority raw; udp dport ${SINK_PORT} drop; }; }`;
  const { status, stderr } = await lab.run(lab.server, 'nft', [rules]);
  if (status !== 0) throw new Error(`nft: ${stderr}`);
}

export interface Flood {
  /** Bytes of a datagram's payload. */
  readonly size: number;
  readonly flows?: number;
  /** Sources, consecutive addresses. */
  readonly hosts?: number;
  /** Datagrams of a flow in a row. */
  readonly burst?: number;
  /** From one socket with UDP_SEGMENT. */
  readonly gso?: boolean;
  /** Datagrams a second; as fast as it goes where absent. */
  readonly rate?: number;
  /** Over the client's link, not right into the contender's device. */
  readonly isFromClient?: boolean;
}

/** CPU of the sender, and of what is measured, where a figure is for one core of the gateway. */
export const SENDER_CPU = '0';
export const GATEWAY_CPU = '1';

function floodArgs(lab: Lab, { target, device }: Running, load: Flood, seconds: number): string[] {
  const words = ['--target', target, '--port', SINK_PORT, '--size', load.size, '--seconds', seconds];
  if (load.gso !== true) {
    if (load.isFromClient === true) {
      words.push('--interface', 'up0', '--mac', readInterface(lab, lab.gateway, 'lan0').address);
    } else words.push('--interface', device);
    words.push('--source', FIRST_SOURCE);
    words.push('--flows', load.flows ?? 1, '--hosts', load.hosts ?? 1, '--burst', load.burst ?? 1);
    if (load.rate !== undefined) words.push('--rate', load.rate);
  }
  return [load.gso === true ? 'gso' : 'raw', ...words.map(String)];
}

/**
 * Starts a flood on the sender's CPU; it ends by itself. Frames made one by one are put right into the contender's device: on
 * the way there from the client they would cost more than in the gateway. Cut by the kernel, they come from the client.
 */
export function startFlood(lab: Lab, running: Running, load: Flood, seconds: number) {
  const words = ['-c', SENDER_CPU, LOADGEN, ...floodArgs(lab, running, load, seconds)];
  const isAtClient = load.gso === true || load.isFromClient === true;
  return lab.spawn(isAtClient ? lab.client : lab.gateway, 'taskset', words);
}

/** Datagrams per second that reach the server during a flood. */
export async function measureFlood(
  lab: Lab,
  running: Running,
  load: Flood,
  seconds: number,
): Promise<number> {
  const child = startFlood(lab, running, load, seconds + 1.5);
  let errors = '';
  child.stderr?.on('data', (data) => {
    errors += data;
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  await sleep(SETTLE_MS);
  const before = readInterface(lab, lab.server, 'up0').stats64.rx;
  const start = performance.now();
  await sleep(seconds * 1000);
  const after = readInterface(lab, lab.server, 'up0').stats64.rx;
  const took = (performance.now() - start) / 1000;
  if ((await ended) !== 0) throw new Error(`loadgen: ${errors}`);
  // A super-frame counts as one packet, with one set of headers.
  const headers = ETHERNET_HEADER + running.ipHeader + UDP_HEADER;
  const payload = after.bytes - before.bytes - (after.packets - before.packets) * headers;
  return payload / load.size / took;
}

/** What iperf3 reports at the end of a run. */
interface IperfReport {
  end: { sum_received: { bits_per_second: number } };
  error?: string;
}

export interface TcpLoad {
  readonly streams: number;
  readonly isFromServer: boolean;
  /** Congestion control of the sender, as Linux calls it; CUBIC, which Linux has unless told, whatever this machine is set to. */
  readonly congestion?: string | undefined;
}

const iperfProgram = ({ program, root }: Peer) => program ?? join(root, 'usr/bin/iperf3');

/** Bits per second of TCP, as the receiver counts them. */
export async function measureTcp(
  lab: Lab,
  running: Running,
  iperf: Peer,
  { streams, isFromServer, congestion = 'cubic' }: TcpLoad,
  seconds: number,
): Promise<number> {
  const program = iperfProgram(iperf);
  const args = ['-6', '-c', running.target, '-t', String(seconds), '-O', '1', '-J', '-P', String(streams)];
  args.push('-C', congestion, ...(isFromServer ? ['-R'] : []));
  const { stdout, stderr } = await lab.runWith(iperf.env, lab.client, program, args, (seconds + 8) * 1000);
  if (stdout === '') throw new Error(`iperf3 did not finish in time ${stderr}`);
  const report = JSON.parse(stdout) as IperfReport;
  if (report.error !== undefined) throw new Error(`iperf3: ${report.error}`);
  return report.end.sum_received.bits_per_second;
}

/** This machine's iperf3, or Debian's; undefined, with a notice, where there is none. */
export function findIperf(): Peer | undefined {
  return installedOrFetched('iperf3', ['iperf3', 'libiperf0', 'libsctp1'], 'rows with TCP are');
}

/** Has iperf3 listen at the server. It tells of each second of each stream, and waits for ever where nobody reads that. */
export function openIperf(lab: Lab, iperf: Peer): void {
  lab.spawn(lab.server, iperfProgram(iperf), ['-s'], iperf.env).stdout?.resume();
}

export interface LoadReport {
  seconds: number;
  sent: number;
  received: number;
  /** Of `sent`, what the sending machine's own kernel did not take. */
  refused: number;
  /** Came back, but to the socket of another flow. */
  misdelivered: number;
  latencyUs?: Record<'p50' | 'p90' | 'p99' | 'p99.9' | 'max', number>;
}

/** Round trips of datagrams at a rate, with the program that answers them at the server. */
export async function measureEcho(
  lab: Lab,
  running: Running,
  load: { flows: number; size: number; rate: number },
  seconds: number,
): Promise<LoadReport> {
  const { flows, size, rate } = load;
  const words = ['load', '--target', running.target, '--port', ECHO_PORT, '--flows', flows, '--size', size];
  const args = [...words, '--rate', rate, '--seconds', seconds].map(String);
  const { status, stdout, stderr } = await lab.run(lab.client, LOADGEN, args, (seconds + 10) * 1000);
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout.trim().split('\n').at(-1) as string) as LoadReport;
}

/** The median round trip of pings one after another, in microseconds. */
export async function measurePing(lab: Lab, running: Running, count: number): Promise<number> {
  const args = ['-c', String(count), '-i', '0.004', '-s', '56', running.target];
  const { stdout } = await lab.run(lab.client, 'ping', args, count * 20 + 5000);
  const times = [...stdout.matchAll(/time=([\d.]+) ms/g)].map(([, ms]) => Number(ms) * 1000);
  if (times.length < count * 0.9) throw new Error(`ping: ${times.length} of ${count} answers`);
  return times.sort((a, b) => a - b)[times.length >> 1] as number;
}

/** User and system time of a process so far, in seconds. */
export function cpuSeconds(pid: number): number {
  const text = execFileSync('cat', [`/proc/${pid}/stat`], { encoding: 'utf8' });
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

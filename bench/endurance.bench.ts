/**
 * Does it last: `npm run soak -- --minutes N`. At full load, hosts come and go, the configuration is read again every ten seconds,
 * and workers are killed. Every datagram of the measured flows says whose it is; at the end every frame must be accounted for.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type GatewayProcess, Lab, SERVER4, under } from '../test/helpers/lab.js';
import { drawLine } from './chart.js';
import { ECHO_PORT, LOADGEN, type LoadReport, openSink, SENDER_CPU, SINK_PORT } from './loads.js';
import { printTable, writeResults, writeText } from './report.js';
import { slope } from './statistics.js';

/** A round: one reload, one wave of hosts, one death at a random moment of it. */
const ROUND_SEC = 10;
const FLOWS = 256;
const RATE = 5000;
const HOSTS = 20_000;
const SAMPLE_MS = 1000;
/** Maps end so soon that each wave finds the one before it gone. */
const LIFETIME_SEC = 15;
/** In less time memory is still finding its level. */
const LEAST_MINUTES_FOR_SLOPE = 30;
const MOST_MIB_PER_MINUTE = 0.5;

const residentMiB = (pid: number) =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
const descriptors = (pid: number) => readdirSync(`/proc/${pid}/fd`).length;

function tomlOf(round: number): string {
  const top = `workers = 2\nmax-maps-per-64 = 0\nmap-lifetime = ${LIFETIME_SEC}\npool4 = "10.64.0.0/16"\n`;
  // One address more or less: each reload changes something that workers must take over.
  const map = round % 2 === 0 ? '' : '[[map]]\nipv4 = "198.51.100.9"\nipv6 = "2001:db8:1::9"\n';
  return `${top}[device]\nmasquerade = false\n[translation]\nicmp-error-burst = ${50 + (round % 7)}\n[http]\nlisten = false\n${map}`;
}

/** Runs a task of the load generator; resolves with the last thing that it says. */
async function task<T>(lab: Lab, namespace: string, words: readonly (string | number)[]): Promise<T> {
  const args = ['-c', SENDER_CPU, LOADGEN, ...words.map(String)];
  const { stdout, stderr } = await lab.run(namespace, 'taskset', args, (ROUND_SEC + 30) * 1000);
  const line = stdout.trim().split('\n').at(-1) ?? '';
  if (!line.startsWith('{')) throw new Error(`loadgen ${words[0]}: ${stderr}`);
  return JSON.parse(line) as T;
}

interface Sums {
  sent: number;
  received: number;
  foreign: number;
  misdelivered: number;
  flood: number;
}

async function round(lab: Lab, gateway: GatewayProcess, number: number, sums: Sums): Promise<void> {
  const toServer = ['--target', under(SERVER4), '--seconds', ROUND_SEC];
  const source = `2001:db8:1::${(0x100 + number).toString(16)}:0`;
  const flows = task<LoadReport & { foreign: number }>(lab, lab.client, [
    ...['load', ...toServer, '--port', ECHO_PORT, '--flows', FLOWS, '--size', 200, '--rate', RATE],
  ]);
  const wave = task<{ sent: number }>(lab, lab.gateway, [
    ...['raw', '--interface', 'nat64', ...toServer, '--port', SINK_PORT, '--source', source],
    ...['--hosts', HOSTS, '--flows', HOSTS],
  ]);
  const death = (async () => {
    await sleep(1000 * (1 + Math.random() * (ROUND_SEC - 2)));
    gateway.kill(Math.random() < 0.5 ? 'SIGUSR2' : 'SIGALRM');
  })();
  lab.configure(tomlOf(number));
  gateway.kill('SIGHUP');
  const [echo, raw] = await Promise.all([flows, wave, death]);
  sums.sent += echo.sent - echo.refused;
  sums.received += echo.received;
  sums.foreign += echo.foreign;
  sums.misdelivered += echo.misdelivered;
  sums.flood += raw.sent;
}

interface Link {
  readonly stats64: { readonly tx: { readonly packets: number; readonly dropped: number } };
}

export async function run({ minutes }: { minutes: number }): Promise<void> {
  const lab = new Lab();
  const rows: { what: string; value: string; target: string }[] = [];
  const add = (what: string, value: number | string, target = '') =>
    rows.push({ what, value: typeof value === 'number' ? value.toLocaleString('en') : value, target });
  try {
    lab.ip(lab.server, 'route add 10.64.0.0/16 via 203.0.113.1');
    await openSink(lab);
    lab.spawn(lab.server, LOADGEN, ['echo', '--port', String(ECHO_PORT)]);
    const gateway = await lab.startGateway({ toml: tomlOf(0) });
    const { pid } = gateway;
    const sums: Sums = { sent: 0, received: 0, foreign: 0, misdelivered: 0, flood: 0 };
    await round(lab, gateway, 0, sums);
    const atStart = descriptors(pid);
    const samples: [seconds: number, mib: number][] = [];
    const startMs = performance.now();
    const elapsedSec = () => (performance.now() - startMs) / 1000;
    const sampling = setInterval(() => samples.push([elapsedSec(), residentMiB(pid)]), SAMPLE_MS);
    let rounds = 1;
    for (; elapsedSec() < minutes * 60; rounds++) await round(lab, gateway, rounds, sums);
    clearInterval(sampling);
    // What is held, and who is being replaced.
    await sleep(6000);
    const atEnd = descriptors(pid);
    const [link] = JSON.parse(lab.ip(lab.gateway, '-j -s link show nat64')) as Link[];
    const code = await gateway.stop();
    const counters = gateway.events('stopped')[0]?.counters as Record<string, number>;
    const sum = (names: readonly string[]) => names.reduce((total, name) => total + (counters[name] ?? 0), 0);
    const seen = sum(['frames-in-v6', 'frames-in-v4']);
    const drops = Object.keys(counters).filter((name) => name.startsWith('drop-'));
    const ended = sum(['translated-v6-to-v4', 'translated-v4-to-v6', 'self-answered', ...drops]);
    const second = samples.slice(samples.length >> 1);
    const tx = link?.stats64.tx;
    add('minutes', minutes);
    add('reloads', gateway.events('reloaded').length, `${rounds}`);
    add('workers killed and replaced', gateway.events('worker-replaced').length);
    add('datagrams of measured flows sent', sums.sent);
    add('of which came back', `${((sums.received / sums.sent) * 100).toFixed(2)} %`);
    add('of which came to another flow', sums.misdelivered, '0');
    add('of which came twice, or changed', sums.foreign, '0');
    add('frames offered beside them', sums.flood);
    add('frames that the device gave to workers', tx?.packets ?? 0);
    add('frames counted by workers', seen, `${tx?.packets.toLocaleString('en')}`);
    add('ends of frames counted', ended, `${seen.toLocaleString('en')}`);
    add('resident, least, MiB', Math.round(Math.min(...samples.map(([, mib]) => mib))));
    add('resident, most, MiB', Math.round(Math.max(...samples.map(([, mib]) => mib))));
    const slopePerMinute = Number((slope(second) * 60).toFixed(2));
    add('its slope in the second half, MiB/min', slopePerMinute, '0');
    add('descriptors opened and not closed', atEnd - atStart, '0');
    add('exit code', String(code), '0');
    printTable(rows);
    const chart = drawLine(
      'nat64d: memory under load, reloads and deaths',
      'seconds',
      'MiB resident',
      samples,
    );
    console.log(`\n${writeResults('endurance', rows)}\n${writeText('endurance.svg', chart)}`);
    const failed = [
      ['datagrams to another flow', sums.misdelivered > 0],
      ['datagrams twice, or changed', sums.foreign > 0],
      ['a reload without effect', gateway.events('reloaded').length !== rounds],
      ['frames that nobody counted', seen !== tx?.packets],
      // What a dying worker holds for new hosts has no end.
      ['more ends than frames', ended > seen],
      ['descriptors left open', atEnd > atStart],
      ['memory that grows', minutes >= LEAST_MINUTES_FOR_SLOPE && slopePerMinute > MOST_MIB_PER_MINUTE],
      ['the end', code !== 0],
    ].filter(([, isSo]) => isSo);
    for (const [what] of failed) console.error(`FAILED: ${what}`);
    if (failed.length > 0) process.exitCode = 1;
  } finally {
    await lab.close();
  }
}

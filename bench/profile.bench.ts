/**
 * Where the gateway's time goes: `npm run bench -- profile`. Samples the process with perf while a load passes, and prints what
 * CPU a frame takes and what share of it each part has, with ratios to bursts; loads take turns. Writes a flame graph of each load,
 * of all its runs, into bench/results.
 */
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Lab } from '../test/helpers/lab.js';
import type { Peer } from '../test/helpers/peers.js';
import { nat64d, pin, type Running } from './contenders.js';
import { drawFlames, type Flame } from './flame.js';
import {
  cpuSeconds,
  findIperf,
  GATEWAY_CPU,
  measureFlood,
  measureTcp,
  openIperf,
  openSink,
} from './loads.js';
import { barsOf, gather, type Measurement, report, rowsOf, type Series, writeText } from './report.js';
import { median } from './statistics.js';

const SECONDS = 4;
const FREQUENCY_HZ = 4000;

interface ProfiledLoad {
  readonly name: string;
  readonly file: string;
  readonly needsIperf?: boolean;
  run(lab: Lab, running: Running, iperf: Peer | undefined): Promise<unknown>;
}

const tcp = (name: string, file: string, streams: number): ProfiledLoad => ({
  name,
  file,
  needsIperf: true,
  run: (lab, running, iperf) =>
    measureTcp(lab, running, iperf as Peer, { streams, isFromServer: false }, SECONDS),
});

const LOADS: readonly ProfiledLoad[] = [
  {
    name: 'UDP 64 B, bursts of 16 of a flow',
    file: 'profile-udp-64-bursts',
    run: (lab, running) => measureFlood(lab, running, { size: 64, flows: 16, burst: 16 }, SECONDS),
  },
  {
    name: 'UDP 64 B, each of another flow',
    file: 'profile-udp-64-flows',
    run: (lab, running) => measureFlood(lab, running, { size: 64, flows: 60_000 }, SECONDS),
  },
  tcp('1 TCP stream, to the server', 'profile-tcp-1', 1),
  tcp('8 TCP streams, to the server', 'profile-tcp-8', 8),
  {
    name: 'UDP 1200 B, a sender with GSO',
    file: 'profile-udp-gso',
    run: (lab, running) => measureFlood(lab, running, { size: 1200, gso: true }, SECONDS),
  },
];

/** Parts of the work, by the first function of a stack, from the innermost out, that tells. */
const PARTS: readonly [part: string, innermost: boolean, pattern: RegExp][] = [
  ['copying between kernel and ring', true, /^(_?copy_(to|from)_iter|copy_user|rep_movs)/],
  ['forwarding what was written (kernel)', false, /^(netif_receive_skb|netif_rx|__netif_receive_skb)/],
  [
    'writing to the device',
    false,
    /^(tun_chr_write_iter|ksys_write|do_writev|__x64_sys_writev?|writev?|__GI___libc_write)$/,
  ],
  ['reading from the device', false, /^(tun_chr_read_iter|ksys_read|__x64_sys_read|read)$/],
  ['waiting for frames', false, /poll|sched_yield|wait_awake|wait_readable/],
  ['other system calls', false, /^(do_syscall_64|entry_SYSCALL)/],
  ['verifying checksums', false, /^sum_ranges/],
  ['joining frames (JavaScript)', false, /coalesce\.ts/],
  [
    'translation (JavaScript)',
    false,
    /dataplane\/(translate|resolve|emit|headers|icmp|mss|extension)[^/]*\.ts/,
  ],
  ['the loop (JavaScript)', false, /dataplane\/.*\.ts/],
  ['the native addon', false, /^(read_burst|write_burst)/],
];

function partOf(stack: readonly string[]): string {
  const [inner] = stack;
  for (const [part, innermost, pattern] of PARTS) {
    if (innermost ? pattern.test(inner ?? '') : stack.some((frame) => pattern.test(frame))) return part;
  }
  return 'the rest: interrupts, the event loop';
}

const WORKER = new URL('../../dist/bin/worker.js', import.meta.url);
const sources = new SourceMap(JSON.parse(readFileSync(new URL(`${WORKER.href}.map`), 'utf8')));

/** A function of the worker's one file, by the source that it comes from. */
function bySource(frame: string): string {
  return frame.replace(/file:\S*\/bin\/worker\.js:(\d+):(\d+)/, (position, line, column) => {
    const entry = sources.findEntry(Number(line) - 1, Number(column) - 1);
    if (!('originalSource' in entry)) return position;
    return `${entry.originalSource.replace(/.*\/src\//, '')}:${entry.originalLine + 1}`;
  });
}

/** Stacks of `perf script`, innermost first, idle ones left out. */
function parseStacks(text: string): string[][] {
  return text
    .split('\n\n')
    .map((block) =>
      block
        .split('\n')
        .filter((line) => /^\s+[0-9a-f]+ /.test(line))
        .map((line) =>
          line
            .trim()
            .replace(/^[0-9a-f]+ /, '')
            .replace(/ \([^()]*\)$/, '')
            .replace(/\+0x[0-9a-f]+$/, ''),
        )
        .map(bySource),
    )
    .filter((stack) => stack.length > 0);
}

async function record(pid: number, file: string, work: () => Promise<unknown>): Promise<string[][]> {
  const args = ['record', '-q', '-e', 'cpu-clock', '-F', FREQUENCY_HZ, '-g', '-p', pid, '-o', file].map(
    String,
  );
  const perf = spawn('perf', args, { stdio: 'ignore' });
  const ended = new Promise((resolve, reject) => {
    perf.once('error', () => reject(new Error("perf is needed: 'apt-get install linux-perf'.")));
    perf.once('close', resolve);
  });
  // A load says nothing about its beginning, and its end is quiet.
  const working = work();
  await Promise.race([ended, sleep(SECONDS * 1000)]);
  perf.kill('SIGINT');
  await Promise.all([working, ended]);
  return parseStacks(
    execFileSync('perf', ['script', '-i', file, '-F', 'ip,sym,dso'], {
      encoding: 'utf8',
      maxBuffer: 2 ** 30,
      stdio: ['ignore', 'pipe', 'ignore'],
    }),
  );
}

function fold(stacks: readonly string[][]): Flame {
  const root: Flame = { name: 'all', samples: 0, children: new Map() };
  for (const stack of stacks) {
    let at = root;
    at.samples++;
    for (const name of [...stack].reverse()) {
      const next: Flame = at.children.get(name) ?? { name, samples: 0, children: new Map() };
      next.samples++;
      at.children.set(name, next);
      at = next;
    }
  }
  return root;
}

interface Profile {
  readonly stacks: string[][];
  /** Of one CPU, for each frame that the gateway got, with perf and with waiting. */
  readonly frameUs: number;
}

/** Frames that workers have read from the device so far. */
function framesRead(lab: Lab, device: string): number {
  const [link] = JSON.parse(lab.ip(lab.gateway, `-j -s link show ${device}`)) as {
    stats64: { tx: { packets: number } };
  }[];
  return link?.stats64.tx.packets ?? 0;
}

async function profile(lab: Lab, iperf: Peer | undefined, load: ProfiledLoad): Promise<Profile> {
  const nodeOptions = ['--perf-basic-prof', '--no-logfile-per-isolate', '--logfile=/dev/null'];
  const running = await nat64d(1, { nodeOptions }).start(lab);
  const pid = running.pid as number;
  pin(pid, GATEWAY_CPU);
  const before = framesRead(lab, running.device);
  const beforeSec = cpuSeconds(pid);
  const stacks = await record(pid, join(lab.folder, 'perf.data'), () => load.run(lab, running, iperf));
  const tookSec = cpuSeconds(pid) - beforeSec;
  // The device counts them: V8 writes its log between the lines of ours, where the gateway would tell.
  const frames = framesRead(lab, running.device) - before;
  await running.stop();
  await sleep(500);
  return { stacks, frameUs: (tookSec * 1e6) / frames };
}

const CPU = 'CPU of a frame';

function measurementsOf(load: string, { stacks, frameUs }: Profile): Measurement[] {
  const byPart = new Map<string, number>();
  for (const stack of stacks) byPart.set(partOf(stack), (byPart.get(partOf(stack)) ?? 0) + 1);
  return [
    { group: CPU, what: load, unit: 'µs', value: frameUs },
    ...[...byPart].map(([part, samples]) => ({
      group: load,
      what: part,
      unit: '%',
      value: (samples / stacks.length) * 100,
    })),
  ];
}

/** What a series has its ratio to: what bursts, the first load, have in its place. */
function atBursts({ group, what }: Series, all: readonly Series[]): Series | undefined {
  const bursts = (LOADS[0] as ProfiledLoad).name;
  return all.find((other) =>
    group === CPU
      ? other.group === CPU && other.what === bursts
      : other.group === bursts && other.what === what,
  );
}

export async function run({ runs }: { runs: number }): Promise<void> {
  const iperf = findIperf();
  const loads = LOADS.filter(({ needsIperf }) => iperf !== undefined || needsIperf !== true);
  const lab = new Lab({ clientAddresses: 1 });
  const measured: Measurement[] = [];
  const stacks = new Map<ProfiledLoad, string[][]>(loads.map((load) => [load, []]));
  try {
    lab.ip(lab.server, 'route add 10.64.0.0/12 via 203.0.113.1');
    await openSink(lab);
    if (iperf !== undefined) openIperf(lab, iperf);
    for (let i = 1; i <= runs; i++) {
      for (const load of loads) {
        console.error(`run ${i}/${runs}  ${load.name}`);
        const profiled = await profile(lab, iperf, load);
        measured.push(...measurementsOf(load.name, profiled));
        for (const stack of profiled.stacks) stacks.get(load)?.push(stack);
      }
    }
  } finally {
    await lab.close();
  }
  for (const [{ name, file }, all] of stacks) {
    console.error(writeText(`${file}.svg`, drawFlames(`nat64d, 1 worker: ${name}`, fold(all))));
  }
  const groups = [CPU, ...loads.map(({ name }) => name)];
  const place = ({ group }: Series) => groups.indexOf(group);
  const series = gather(measured).sort(
    (a, b) => place(a) - place(b) || (a.group === CPU ? 0 : median(b.samples) - median(a.samples)),
  );
  report(
    'profile',
    'nat64d, 1 worker: where the time goes',
    rowsOf(series, 'x bursts', atBursts),
    barsOf(series),
  );
}

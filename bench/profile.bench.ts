/**
 * Where the gateway's time goes: `npm run bench -- profile`. Samples the process with perf while a load passes, and prints what
 * share each part has; writes a flame graph of each load into bench/results.
 */
import { execFileSync, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Lab } from '../test/helpers/lab.js';
import { fetchPeer, type Peer } from '../test/helpers/peers.js';
import { nat64d, pin, type Running } from './contenders.js';
import { drawFlames, type Flame } from './flame.js';
import { GATEWAY_CPU, measureFlood, measureTcp, openIperf, openSink } from './loads.js';
import { printTable, writeResults, writeText } from './report.js';

const SECONDS = 4;
const FREQUENCY_HZ = 4000;

interface ProfiledLoad {
  readonly name: string;
  readonly file: string;
  run(lab: Lab, running: Running, iperf: Peer): Promise<unknown>;
}

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
  {
    name: '1 TCP stream, to the server',
    file: 'profile-tcp-1',
    run: (lab, running, iperf) =>
      measureTcp(lab, running, iperf, { streams: 1, isFromServer: false }, SECONDS),
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

export async function run(): Promise<void> {
  const iperf = fetchPeer('iperf3', ['iperf3', 'libiperf0', 'libsctp1']);
  const lab = new Lab({ clientAddresses: 1 });
  const shares: Record<string, string>[] = [];
  try {
    lab.ip(lab.server, 'route add 10.64.0.0/12 via 203.0.113.1');
    await openSink(lab);
    openIperf(lab, iperf);
    for (const load of LOADS) {
      const nodeOptions = ['--perf-basic-prof', '--no-logfile-per-isolate', '--logfile=/dev/null'];
      const running = await nat64d(1, { nodeOptions }).start(lab);
      const pid = running.pid as number;
      pin(pid, GATEWAY_CPU);
      const stacks = await record(pid, join(lab.folder, 'perf.data'), () => load.run(lab, running, iperf));
      const byPart = new Map<string, number>();
      for (const stack of stacks) byPart.set(partOf(stack), (byPart.get(partOf(stack)) ?? 0) + 1);
      for (const [part, samples] of [...byPart].sort(([, a], [, b]) => b - a)) {
        shares.push({ load: load.name, part, share: `${((samples / stacks.length) * 100).toFixed(1)} %` });
      }
      const chart = drawFlames(`nat64d, 1 worker: ${load.name}`, fold(stacks));
      console.error(writeText(`${load.file}.svg`, chart));
      await running.stop();
      await sleep(500);
    }
  } finally {
    await lab.close();
  }
  printTable(shares);
  console.log(`\n${writeResults('profile', shares)}`);
}

/**
 * What the gateway needs over time: `npm run bench -- soak --minutes N`. Memory, descriptors and CPU when idle, with 65,536 maps and
 * under load; the slope of memory over the second half of the load says whether it grows. One life of one process and not several
 * in turn: what grows does so with its age. Least, median and most are of samples over that life; the ratio is the median's.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Lab } from '../test/helpers/lab.js';
import { drawLine } from './chart.js';
import { nat64d } from './contenders.js';
import { cpuSeconds, ECHO_PORT, LOADGEN, measureEcho, measureFlood, openSink, startFlood } from './loads.js';
import { printTable, type Row, rounded, writeResults, writeText } from './report.js';
import { slope, spread } from './statistics.js';

const HOSTS = 65_536;
/** Twice as many addresses. */
const POOL4 = '10.64.0.0/15';
/** That many new hosts a second are let in without loss. */
const HOSTS_PER_SEC = 20_000;
/** After that, what the start needed has been given back. */
const SETTLE_MS = 12_000;
const IDLE_WINDOWS = 5;
const IDLE_SEC = 10;
const IDLE_TARGET_PERCENT = 0.5;
/** 150 MB. */
const RESIDENT_TARGET_MIB = 150e6 / 2 ** 20;
const SAMPLE_SEC = 5;
const ECHO_LOAD = { flows: 64, size: 200, rate: 2000 };

const residentMiB = (pid: number) =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
const descriptors = (pid: number) => readdirSync(`/proc/${pid}/fd`).length;

/** What an idle process needs: memory, and per cent of one CPU, over some windows in which nothing is sent. */
async function measureIdle(pid: number): Promise<{ mib: number[]; percent: number[] }> {
  const [mib, percent] = [[residentMiB(pid)], [] as number[]];
  for (let i = 0; i < IDLE_WINDOWS; i++) {
    const before = cpuSeconds(pid);
    await sleep(IDLE_SEC * 1000);
    percent.push(((cpuSeconds(pid) - before) / IDLE_SEC) * 100);
    mib.push(residentMiB(pid));
  }
  return { mib, percent };
}

export async function run({ minutes }: { minutes: number }): Promise<void> {
  const lab = new Lab({ clientAddresses: 1 });
  const rows: Row[] = [];
  const add = (what: string, samples: readonly number[], unit: string, target?: number) => {
    const { least, middle, most } = spread(samples);
    rows.push({
      what,
      min: rounded(least),
      median: rounded(middle),
      max: rounded(most),
      unit,
      target: target === undefined ? '–' : rounded(target),
      // To nothing there is no ratio.
      'x target': target === undefined || target === 0 ? '–' : (middle / target).toFixed(2),
    });
  };
  try {
    lab.ip(lab.server, `route add ${POOL4} via 203.0.113.1`);
    await openSink(lab);
    lab.spawn(lab.server, LOADGEN, ['echo', '--port', String(ECHO_PORT)]);
    const running = await nat64d(2, { pool4: POOL4 }).start(lab);
    const pid = running.pid as number;
    await sleep(SETTLE_MS);
    const started = await measureIdle(pid);
    add('resident, after the start', started.mib, 'MiB');
    add('CPU when idle', started.percent, '%', IDLE_TARGET_PERCENT);

    const seconds = HOSTS / HOSTS_PER_SEC + 1;
    await measureFlood(lab, running, { size: 64, flows: HOSTS, hosts: HOSTS, rate: HOSTS_PER_SEC }, seconds);
    const mapped = await measureIdle(pid);
    add(`resident, with ${HOSTS} maps`, mapped.mib, 'MiB', RESIDENT_TARGET_MIB);
    add('CPU when idle, with these maps', mapped.percent, '%', IDLE_TARGET_PERCENT);

    const atStart = descriptors(pid);
    const flood = startFlood(lab, running, { size: 64, flows: HOSTS, hosts: HOSTS }, minutes * 60);
    const samples: [seconds: number, mib: number][] = [];
    const startMs = performance.now();
    const elapsed = () => (performance.now() - startMs) / 1000;
    while (elapsed() < minutes * 60 - SAMPLE_SEC) {
      samples.push([elapsed(), residentMiB(pid)]);
      if (process.stderr.isTTY) process.stderr.write(`\r${Math.round(elapsed())} s of ${minutes * 60} `);
      await sleep(SAMPLE_SEC * 1000);
    }
    if (process.stderr.isTTY) process.stderr.write('\n');
    if (flood.exitCode === null) await new Promise((resolve) => flood.once('close', resolve));
    const second = samples.slice(samples.length >> 1);
    const underLoad = samples.map(([, mib]) => mib);
    add(`resident under load for ${minutes} min`, underLoad, 'MiB', RESIDENT_TARGET_MIB);
    add('growth in the second half', [slope(second) * 60], 'MiB/min', 0);
    add('descriptors opened and not closed', [descriptors(pid) - atStart], '', 0);
    const echo = await measureEcho(lab, running, ECHO_LOAD, 5);
    const lost = echo.sent - echo.received - echo.refused;
    add('lost of 10,000 round trips afterwards', [lost], '', 0);
    await running.stop();
    printTable(rows);
    const chart = drawLine(`nat64d: memory under load`, 'seconds', 'MiB resident', samples);
    console.log(`\n${writeResults('soak', rows)}\n${writeText('soak.svg', chart)}`);
  } finally {
    await lab.close();
  }
}

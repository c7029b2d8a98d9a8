/**
 * What floods cost those who were there before: `npm run bench -- floods`. Beside each, 64 established flows and one client of
 * the name server go on at a modest rate: how much of it comes back, and how much memory the gateway needs.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { type GatewayProcess, Lab, SERVER4, under } from '../test/helpers/lab.js';
import type { Bar } from './chart.js';
import type { Running } from './contenders.js';
import { ECHO_PORT, LOADGEN, measureEcho, openSink, SENDER_CPU, SINK_PORT } from './loads.js';
import { type Row, report } from './report.js';

const FLOWS = { flows: 64, size: 200, rate: 5000 };
const BASE_SEC = 3;
const WARM_MS = 2500;
/** Until a flood is at its height. */
const SETTLE_MS = 1000;
const SAMPLE_MS = 100;
const ASK_MS = 10;
/** The gateway's own addresses: the translator's, and the name server's. */
const TRANSLATOR = under('10.64.0.1');
const NAME_SERVER = under('10.64.0.2');
const FORGED = ['--source', '2001:db8:1::100:0'];
const MILLION = '1000000';

interface Flood {
  readonly name: string;
  /** What it takes of the configuration. */
  readonly toml?: { top?: string; translation?: string };
  /** Begins; it ends after so many seconds. */
  start(lab: Lab, running: Running & { gateway: GatewayProcess }, seconds: number): void;
}

/** A task of the load generator that puts frames right into the gateway's device. */
const frames = (name: string, task: string, words: readonly string[], toml: Flood['toml'] = {}): Flood => ({
  name,
  toml,
  start: (lab, { device }, seconds) => {
    const all = [task, '--interface', device, ...FORGED, ...words, '--seconds', String(seconds)];
    lab.spawn(lab.gateway, 'taskset', ['-c', SENDER_CPU, LOADGEN, ...all]);
  },
});

const sources = (name: string, top: string): Flood => {
  const words = ['--target', under(SERVER4), '--port', String(SINK_PORT), '--size', '64'];
  return frames(
    `${name}, 100,000/s`,
    'raw',
    [...words, '--hosts', MILLION, '--flows', MILLION, '--rate', '100000'],
    { top },
  );
};

const FLOODS: readonly Flood[] = [
  { name: 'none', start: () => {} },
  {
    name: 'main thread blocked for 3 s',
    start: (_, { gateway }) => gateway.kill('SIGURG'),
  },
  sources('1,000,000 forged sources of one /64', ''),
  sources('1,000,000 forged sources, a pool of 65,536', 'max-maps-per-64 = 0\n'),
  sources('1,000,000 forged sources, a pool for all', 'max-maps-per-64 = 0\npool4 = "10.64.0.0/12"\n'),
  frames('pings to the gateway, 100,000/s', 'pings', ['--target', TRANSLATOR, '--rate', '100000']),
  frames('ICMP errors with forged quotes, 100,000/s', 'errors', [
    ...['--target', under(SERVER4), '--hosts', MILLION, '--rate', '100000'],
  ]),
  frames(
    'first fragments of pings, held, 100,000/s',
    'fragments',
    ['--target', under(SERVER4), '--rate', '100000'],
    { translation: 'icmp-fragments = "hold"\n' },
  ),
  {
    name: 'DNS: random names, 20,000/s',
    start: (lab, _, seconds) => {
      const words = ['queries', '--target', NAME_SERVER, '--port', '53', '--flows', '20', '--burst', '5000'];
      words.push('--hosts', '1000000000', '--rate', '20000', '--seconds', String(seconds));
      lab.spawn(lab.client, 'taskset', ['-c', SENDER_CPU, LOADGEN, ...words]);
    },
  },
  {
    name: 'DNS: 10,000 idle TCP clients',
    start: (lab, _, seconds) => {
      void lab.node(lab.client, 'client', ['idle', NAME_SERVER, '53', '10000', String(seconds)]);
    },
  },
];

const residentMiB = (pid: number) =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;

interface Service {
  /** Of what was sent, what came back. */
  readonly flows: number;
  readonly names: number;
  readonly p99Us: number;
}

/** The service that those who were there before get for a while. */
async function measureService(lab: Lab, running: Running, seconds: number): Promise<Service> {
  const count = (seconds * 1000) / ASK_MS;
  const asking = lab.node(lab.client, 'client', [
    'ask',
    NAME_SERVER,
    'www.hot.example',
    String(count),
    String(ASK_MS),
  ]);
  const echo = await measureEcho(lab, running, FLOWS, seconds);
  const asked = JSON.parse((await asking).stdout) as { answered: number };
  return {
    flows: echo.received / echo.sent,
    names: asked.answered / count,
    p99Us: echo.latencyUs?.p99 ?? Number.NaN,
  };
}

async function measure(lab: Lab, flood: Flood, seconds: number): Promise<{ row: Row; bars: Bar[] }> {
  const { top = '', translation = '' } = flood.toml ?? {};
  const toml = `workers = 2\n${top}[device]\nmasquerade = false\n[translation]\n${translation}[http]\nlisten = false\n`;
  const gateway = await lab.startGateway({ toml });
  const device = gateway.events('ready')[0]?.device as string;
  const { pid } = gateway;
  const running = { target: under(SERVER4), ipHeader: 20, device, pid, gateway, stop: () => gateway.stop() };
  // A worker has compiled its code by then.
  await sleep(WARM_MS);
  const before = await measureService(lab, running, BASE_SEC);
  const beforeMiB = residentMiB(pid);
  let mostMiB = beforeMiB;
  const sampling = setInterval(() => {
    mostMiB = Math.max(mostMiB, residentMiB(pid));
  }, SAMPLE_MS);
  const floodSec = seconds + SETTLE_MS / 1000 + 1;
  const startMs = performance.now();
  flood.start(lab, running, floodSec);
  await sleep(SETTLE_MS);
  const during = await measureService(lab, running, seconds);
  await sleep(Math.max(0, floodSec * 1000 + 500 - (performance.now() - startMs)));
  clearInterval(sampling);
  await gateway.stop();
  const counters = gateway.events('stopped')[0]?.counters as Record<string, number>;
  const frames = (counters['frames-in-v6'] ?? 0) + (counters['frames-in-v4'] ?? 0);
  const percent = (part: number) => `${(part * 100).toFixed(1)} %`;
  const bar = (group: string, [least, middle, most]: readonly [number, number, number]): Bar => ({
    group,
    label: flood.name,
    least,
    middle,
    most,
  });
  const keep = (during.flows / before.flows) * 100;
  const names = during.names * 100;
  const row = {
    flood: flood.name,
    'flows keep': percent(during.flows / before.flows),
    'their p99, µs': `${Math.round(before.p99Us)} -> ${Math.round(during.p99Us)}`,
    'names answered': percent(during.names),
    'frames seen': frames,
    'MiB before': Math.round(beforeMiB),
    'MiB at most': Math.round(mostMiB),
  };
  const bars = [
    bar('established flows keep (%)', [keep, keep, keep]),
    bar('names answered (%)', [names, names, names]),
    bar('resident at most, from before (MiB)', [beforeMiB, mostMiB, mostMiB]),
  ];
  return { row, bars };
}

export interface FloodOptions {
  readonly seconds: number;
  /** Only floods whose name has this in it. */
  readonly only: string;
}

export async function run({ seconds, only }: FloodOptions): Promise<void> {
  const rows: Row[] = [];
  const bars: Bar[] = [];
  for (const flood of FLOODS.filter(({ name }) => name.includes(only))) {
    const lab = new Lab();
    try {
      lab.ip(lab.server, 'route add 10.64.0.0/12 via 203.0.113.1');
      await openSink(lab);
      lab.spawn(lab.server, LOADGEN, ['echo', '--port', String(ECHO_PORT)]);
      lab.spawn(lab.server, LOADGEN, ['authority', '--port', '53']);
      const measured = await measure(lab, flood, seconds);
      rows.push(measured.row);
      bars.push(...measured.bars);
      console.error(JSON.stringify(measured.row));
    } finally {
      await lab.close();
    }
  }
  report(only === '' ? 'floods' : 'floods-part', 'nat64d: what floods cost', rows, bars);
}

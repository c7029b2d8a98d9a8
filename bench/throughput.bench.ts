/**
 * What passes through the gateway, beside TAYGA, plain kernel IPv6 forwarding and a program that only copies, in the same namespaces and
 * the same run:
 * `npm run bench -- throughput`. Contenders take turns; the median of the runs counts, and the ratios are of medians.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Lab } from '../test/helpers/lab.js';
import type { Peer } from '../test/helpers/peers.js';
import { type Bar, drawBars } from './chart.js';
import {
  affinityOf,
  type Contender,
  copying,
  kernel,
  nat64d,
  pin,
  type Running,
  tayga,
} from './contenders.js';
import {
  ECHO_PORT,
  type Flood,
  findIperf,
  GATEWAY_CPU,
  LOADGEN,
  type LoadReport,
  measureEcho,
  measureFlood,
  measurePing,
  measureTcp,
  openIperf,
  openSink,
  type TcpLoad,
} from './loads.js';
import { printTable, writeResults, writeText } from './report.js';
import { median, quantile } from './statistics.js';

interface Place {
  readonly lab: Lab;
  /** Undefined where there is none: then there are no TCP rows. */
  readonly iperf: Peer | undefined;
  readonly seconds: number;
}

interface Load {
  readonly name: string;
  readonly unit: string;
  /** Target of this load, as ratios to TAYGA and to the kernel, or as a difference to TAYGA. */
  readonly target?: string;
  /** Of contenders that can be had with several threads, only the one with this many. */
  readonly threads?: 1 | 2;
  readonly needsIperf?: boolean;
  /** Contenders that it says nothing about. */
  readonly skip?: readonly string[];
  measure(place: Place, running: Running): Promise<number>;
}

const tcp = (load: TcpLoad, target: string): Load => ({
  name: [
    load.streams > 1 ? `${load.streams} TCP streams` : '1 TCP stream',
    load.isFromServer ? 'from the server' : 'to the server',
    ...(load.congestion === undefined ? [] : [load.congestion.toUpperCase()]),
  ].join(', '),
  unit: 'Gb/s',
  needsIperf: true,
  target,
  measure: async ({ lab, iperf, seconds }, running) =>
    (await measureTcp(lab, running, iperf as Peer, load, seconds)) / 1e9,
});

/** Both ways with CUBIC, which fills queues, and where the kernel has it loaded with BBR, which paces by the round trips it sees. */
const tcpLoads = (): Load[] =>
  [1, 8].flatMap((streams) =>
    [undefined, ...(hasCongestionControl('bbr') ? ['bbr'] : [])].flatMap((congestion) =>
      [false, true].map((isFromServer) =>
        tcp(
          { streams, isFromServer, congestion },
          streams === 1 ? '4 x TAYGA, 0.6 x kernel' : '7 x TAYGA, 0.8 x kernel',
        ),
      ),
    ),
  );

function hasCongestionControl(name: string): boolean {
  const available = readFileSync('/proc/sys/net/ipv4/tcp_available_congestion_control', 'latin1');
  return available.trim().split(' ').includes(name);
}

/** UDP with all threads of the contender on one CPU and the sender on the other. */
const udp = (name: string, load: Flood, target?: string): Load => ({
  name,
  unit: 'Mframes/s',
  threads: 1,
  ...(load.gso === true ? {} : { skip: [kernel.name] }),
  ...(target === undefined ? {} : { target }),
  measure: async ({ lab, seconds }, running) => {
    const { pid } = running;
    if (pid === undefined) return (await measureFlood(lab, running, load, seconds)) / 1e6;
    const before = affinityOf(pid);
    pin(pid, GATEWAY_CPU);
    const rate = await measureFlood(lab, running, load, seconds);
    pin(pid, before);
    return rate / 1e6;
  },
});

/** Latencies at a rate that a contender may be unable to take: percentiles are of what came back, and the loss stands beside them. */
const UNDER_LOAD = { flows: 64, size: 200, rate: 40_000 };
/** One measurement for all percentiles of a run. */
const reports = new WeakMap<Running, ReturnType<typeof measureEcho>>();
const echoed = (figure: string, unit: string, of: (report: LoadReport) => number): Load => ({
  name: `round trip at ${UNDER_LOAD.rate / 1000},000 datagrams/s, ${figure}`,
  unit,
  measure: async ({ lab, seconds }, running) => {
    const report = reports.get(running) ?? measureEcho(lab, running, UNDER_LOAD, seconds);
    reports.set(running, report);
    return of(await report);
  },
});
const latency = (percentile: 'p50' | 'p99' | 'p99.9'): Load =>
  echoed(percentile, 'µs', ({ latencyUs }) => {
    if (latencyUs === undefined) throw new Error('round trips: not one datagram came back');
    return latencyUs[percentile];
  });
/** Of what was sent, in per cent; what the sender's own kernel refused is no loss of the contender's. */
const loss = echoed('loss', '%', ({ sent, refused, received }) => 100 * (1 - received / (sent - refused)));

const LOADS: readonly Load[] = [
  ...tcpLoads(),
  udp('UDP 64 B, bursts of 16 of a flow', { size: 64, flows: 16, burst: 16 }, '2.5 x TAYGA'),
  udp('UDP 64 B, each of another flow', { size: 64, flows: 60_000 }, '1.2 x TAYGA'),
  udp('UDP 512 B, bursts of 16 of a flow', { size: 512, flows: 16, burst: 16 }),
  udp('UDP 1400 B, bursts of 16 of a flow', { size: 1400, flows: 16, burst: 16 }),
  udp('UDP 1200 B, a sender with GSO', { size: 1200, gso: true }, '5 x TAYGA'),
  {
    name: 'new hosts, each with one datagram (100,000/s offered)',
    unit: 'Mhosts/s',
    threads: 1,
    skip: [kernel.name, copying(1).name],
    measure: async ({ lab }, running) => {
      const load = { size: 64, flows: 60_000, hosts: 1_000_000, rate: 100_000 };
      return (await measureFlood(lab, running, load, 2)) / 1e6;
    },
  },
  {
    name: 'ping round trip, idle',
    unit: 'µs',
    target: 'TAYGA + 20 µs',
    measure: ({ lab }, running) => measurePing(lab, running, 300),
  },
  latency('p50'),
  latency('p99'),
  latency('p99.9'),
  loss,
];

export interface ThroughputOptions {
  readonly runs: number;
  readonly seconds: number;
  /** Only loads whose name has this in it. */
  readonly only: string;
}

/** Loads that a contender is measured with. */
function loadsOf(contender: Contender, only: string, hasIperf: boolean): Load[] {
  return LOADS.filter(({ name, threads, skip, needsIperf }) => {
    if (needsIperf && !hasIperf) return false;
    if (threads !== undefined && (contender.threads ?? threads) !== threads) return false;
    return name.includes(only) && !(skip ?? []).includes(contender.name);
  });
}

type Samples = Map<Load, Map<Contender, number[]>>;

async function measureAll(
  contenders: readonly Contender[],
  { runs, seconds, only }: ThroughputOptions,
): Promise<Samples> {
  const samples: Samples = new Map();
  const iperf = findIperf();
  const lab = new Lab({ clientAddresses: 1 });
  try {
    lab.ip(lab.server, 'route add 10.64.0.0/12 via 203.0.113.1');
    await openSink(lab);
    if (iperf !== undefined) openIperf(lab, iperf);
    lab.spawn(lab.server, LOADGEN, ['echo', '--port', String(ECHO_PORT)]);
    await sleep(300);
    for (let i = 1; i <= runs; i++) {
      for (const contender of contenders) {
        const loads = loadsOf(contender, only, iperf !== undefined);
        if (loads.length === 0) continue;
        const running = await contender.start(lab);
        for (const load of loads) {
          const figure = await load.measure({ lab, iperf, seconds }, running);
          if (Number.isNaN(figure)) throw new Error(`${contender.name}, ${load.name}: no figure`);
          const byContender = samples.get(load) ?? new Map<Contender, number[]>();
          byContender.set(contender, [...(byContender.get(contender) ?? []), figure]);
          samples.set(load, byContender);
          console.error(
            `run ${i}/${runs}  ${contender.name}  ${load.name}: ${figure.toPrecision(3)} ${load.unit}`,
          );
        }
        // Let iperf3's server hear the end of the last test before the way to it goes.
        await sleep(1000);
        await running.stop();
      }
    }
  } finally {
    await lab.close();
  }
  return samples;
}

export async function run(options: ThroughputOptions): Promise<void> {
  const peer = tayga();
  const bounds = [copying(1), copying(2)];
  const contenders = [kernel, ...(peer === undefined ? [] : [peer]), ...bounds, nat64d(1), nat64d(2)];
  const samples = await measureAll(contenders, options);
  const bars: Bar[] = [];
  const rows = [...samples].flatMap(([load, byContender]) => {
    const ofPeer = median((peer && byContender.get(peer)) ?? []);
    const ofKernel = median(byContender.get(kernel) ?? []);
    return [...byContender].map(([{ name, threads }, figures]) => {
      const bound = bounds.find((one) => one.threads === threads && one.name !== name);
      const ofBound = median((bound && byContender.get(bound)) ?? []);
      const [least, middle, most] = [quantile(figures, 0), median(figures), quantile(figures, 1)];
      bars.push({ group: `${load.name} (${load.unit})`, label: name, least, middle, most });
      const ratio = (to: number) => (Number.isNaN(to) || to === 0 ? '–' : (middle / to).toFixed(2));
      return {
        load: load.name,
        through: name,
        min: least.toPrecision(3),
        median: middle.toPrecision(3),
        max: most.toPrecision(3),
        unit: load.unit,
        'x TAYGA': ratio(ofPeer),
        'x kernel': ratio(ofKernel),
        'x copying': ratio(ofBound),
        target: name.startsWith('nat64d') ? (load.target ?? '') : '',
      };
    });
  });
  printTable(rows);
  const file = options.only === '' ? 'throughput' : 'throughput-part';
  console.log(
    `\n${writeResults(file, rows)}\n${writeText(`${file}.svg`, drawBars('nat64d: throughput', bars))}`,
  );
}

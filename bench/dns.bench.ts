/**
 * DNS64 beside unbound and BIND, each on one core, in front of the same authority, with the authority and the load on the other
 * core: `npm run bench -- dns`. The load is dnsperf, and where that takes as much CPU as the servers a program that takes less.
 * Contenders take turns; the median of the runs counts, and the ratios are of medians.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Lab } from '../test/helpers/lab.js';
import type { Peer } from '../test/helpers/peers.js';
import { type Bar, drawBars } from './chart.js';
import { AUTHORITY_CPU, AUTHORITY_PORT, bind, type DnsContender, ours, unbound } from './dns-contenders.js';
import {
  ALL_NAMES,
  assignmentTimes,
  boundOf,
  dnsperf,
  HOT_NAMES,
  hotNames,
  load,
  measureHosts,
  newNames,
  openHosts,
  queries,
  spin,
} from './dns-loads.js';
import { LOADGEN } from './loads.js';
import { printTable, writeResults, writeText } from './report.js';
import { median, quantile } from './statistics.js';

export interface DnsOptions {
  readonly runs: number;
  readonly seconds: number;
  /** 'rates', 'latency' or 'hosts'; all where empty. */
  readonly only: string;
}

interface Figure {
  readonly name: string;
  readonly unit: string;
  readonly target?: string;
}

const HOT: Figure = { name: 'cache-hot, dnsperf', unit: 'queries/s' };
const HOT_CPU_DNSPERF: Figure = { name: 'cache-hot, dnsperf, CPU of a query', unit: 'µs' };
const HOT_LOAD: Figure = { name: "cache-hot, dnsperf's own core", unit: '% busy' };
const HOT_HALF: Figure = {
  name: 'cache-hot, dnsperf, half of the core',
  unit: 'queries/s',
  target: '1.3 x unbound',
};
const HOT_HALF_LOAD: Figure = {
  name: "cache-hot, dnsperf, half of the core, dnsperf's own core",
  unit: '% busy',
};
const HOT_MOST: Figure = { name: 'cache-hot', unit: 'queries/s', target: '1.3 x unbound' };
const HOT_CPU: Figure = { name: 'cache-hot, CPU of a query', unit: 'µs' };
const NEW: Figure = { name: 'every name new, dnsperf', unit: 'queries/s' };
const NEW_CPU_DNSPERF: Figure = { name: 'every name new, dnsperf, CPU of a query', unit: 'µs' };
const NEW_MOST: Figure = { name: 'every name new', unit: 'queries/s', target: '1.5 x unbound' };
const NEW_CPU: Figure = { name: 'every name new, CPU of a query', unit: 'µs' };
const P50: Figure = { name: 'latency at half of what unbound does, p50', unit: 'µs' };
const P99: Figure = { name: 'latency at half of what unbound does, p99', unit: 'µs', target: '1 x unbound' };
const hostFigures = (load: string) => [
  { name: `a new IPv6 host's first datagram, ${load}, p50`, unit: 'ms' },
  { name: `a new IPv6 host's first datagram, ${load}, p99`, unit: 'ms' },
  { name: `from the question to the assignment, ${load}, p99 at most`, unit: 'ms', target: '5 ms' },
];
const IDLE = hostFigures('no DNS');
const BUSY = hostFigures('DNS at 80 %');
const BUSY_NEW = hostFigures('DNS of new names at 80 %');

class Samples {
  readonly byFigure = new Map<Figure, Map<string, number[]>>();

  add(figure: Figure, { name }: DnsContender, value: number): void {
    const byName = this.byFigure.get(figure) ?? new Map<string, number[]>();
    byName.set(name, [...(byName.get(name) ?? []), value]);
    this.byFigure.set(figure, byName);
    console.error(`${name}  ${figure.name}: ${value.toPrecision(3)} ${figure.unit}`);
  }

  median(figure: Figure, { name }: DnsContender): number {
    return median(this.byFigure.get(figure)?.get(name) ?? []);
  }
}

interface Place {
  readonly lab: Lab;
  readonly peer: Peer;
  readonly seconds: number;
  readonly samples: Samples;
}

/** As many queries as it answers. */
async function measureRates({ lab, peer, seconds, samples }: Place, contender: DnsContender): Promise<void> {
  const server = await contender.start(lab);
  const names = hotNames(lab);
  await load(lab, peer, server, names, 1);
  const hot = await load(lab, peer, server, names, seconds);
  samples.add(HOT, contender, hot.perSec);
  samples.add(HOT_CPU_DNSPERF, contender, hot.cpuUs);
  samples.add(HOT_LOAD, contender, hot.loadBusyPerCent);
  // With a whole core a server can be faster than dnsperf. Where half of it goes to somebody else, the server is the limit.
  const spinning = spin(lab);
  const half = await load(lab, peer, server, names, seconds).finally(() => spinning.stop());
  samples.add(HOT_HALF, contender, half.perSec);
  samples.add(HOT_HALF_LOAD, contender, half.loadBusyPerCent);
  const most = await queries(lab, server, { names: HOT_NAMES, seconds });
  samples.add(HOT_MOST, contender, most.perSec);
  samples.add(HOT_CPU, contender, most.cpuUs);
  const fresh = await load(lab, peer, server, newNames(lab, seconds), seconds);
  samples.add(NEW, contender, fresh.perSec);
  samples.add(NEW_CPU_DNSPERF, contender, fresh.cpuUs);
  const mostFresh = await queries(lab, server, { names: ALL_NAMES, seconds, outstanding: 500 });
  samples.add(NEW_MOST, contender, mostFresh.perSec);
  samples.add(NEW_CPU, contender, mostFresh.cpuUs);
  const lost = [hot, half, fresh].map(({ lostPerCent }) => lostPerCent);
  if (Math.max(...lost) > 1) console.error(`${contender.name} lost ${lost.join(', ')} %`);
  await server.stop();
}

async function measureLatency(place: Place, contender: DnsContender, rate: number): Promise<void> {
  const { lab, seconds, samples } = place;
  const server = await contender.start(lab);
  // For what a compiler wants to see first: each of the names to come is new once, and batches are smaller than at full load.
  await queries(lab, server, { names: ALL_NAMES, seconds: 2, outstanding: 500 });
  await queries(lab, server, { names: HOT_NAMES, seconds: 2, rate });
  const { latencyUs } = await queries(lab, server, { names: HOT_NAMES, seconds, rate });
  samples.add(P50, contender, latencyUs.p50);
  samples.add(P99, contender, latencyUs.p99);
  await server.stop();
}

/** How long new hosts wait for their addresses, alone and beside DNS. */
async function measureAssignment({ lab, seconds, samples }: Place): Promise<void> {
  const server = await ours.start(lab);
  const note = async (figures: readonly Figure[]) => {
    const before = await assignmentTimes(lab);
    const { firstUs, answered, hosts } = await measureHosts(lab, seconds);
    if (answered < hosts) console.error(`${hosts - answered} of ${hosts} first datagrams were lost`);
    const after = await assignmentTimes(lab);
    samples.add(figures[0] as Figure, ours, firstUs.p50 / 1000);
    samples.add(figures[1] as Figure, ours, firstUs.p99 / 1000);
    samples.add(figures[2] as Figure, ours, 1000 * boundOf(before, after, 0.99));
  };
  await note(IDLE);
  for (const [figures, rateOf, names] of [
    [BUSY, HOT_MOST, HOT_NAMES],
    [BUSY_NEW, NEW_MOST, ALL_NAMES],
  ] as const) {
    // For what a compiler wants to see first.
    await queries(lab, server, { names, seconds: 2, outstanding: 500 });
    const rate = 0.8 * samples.median(rateOf, ours);
    const loading = queries(lab, server, { names, seconds: seconds + 3, rate });
    await sleep(1000);
    await note(figures);
    const { perSec } = await loading;
    console.error(`meanwhile ${Math.round(perSec)} of ${Math.round(rate)} queries/s`);
  }
  await server.stop();
}

async function measureAll({ runs, seconds, only }: DnsOptions): Promise<Samples> {
  const samples = new Samples();
  const peer = dnsperf();
  const rival = unbound();
  const contenders = [rival, bind(), ours];
  const lab = new Lab();
  const place: Place = { lab, peer, seconds, samples };
  try {
    // As if it were another machine: the load, which it shares a core with, does not keep it from answering.
    const words = ['-n', '-10', 'taskset', '-c', AUTHORITY_CPU, LOADGEN, 'authority'];
    lab.spawn(lab.gateway, 'nice', [...words, '--port', String(AUTHORITY_PORT)]);
    openHosts(lab);
    await sleep(300);
    // Of what is not asked for, only what the rest needs.
    const rated = only === 'latency' ? [rival] : only === 'hosts' ? [ours] : contenders;
    const rounds = only === '' || only === 'rates' ? runs : 1;
    for (let i = 0; i < rounds; i++) for (const contender of rated) await measureRates(place, contender);
    const half = samples.median(HOT_MOST, rival) / 2;
    if (only === '' || only === 'latency') {
      for (let i = 0; i < runs; i++) {
        for (const contender of contenders) await measureLatency(place, contender, half);
      }
    }
    if (only === '' || only === 'hosts') for (let i = 0; i < runs; i++) await measureAssignment(place);
  } finally {
    await lab.close();
  }
  return samples;
}

export async function run(options: DnsOptions): Promise<void> {
  const { byFigure } = await measureAll(options);
  const bars: Bar[] = [];
  const rows = [...byFigure].flatMap(([figure, byName]) =>
    [...byName].map(([name, values]) => {
      const [least, middle, most] = [quantile(values, 0), median(values), quantile(values, 1)];
      bars.push({ group: `${figure.name} (${figure.unit})`, label: name, least, middle, most });
      const ratio = (to: string) => {
        const other = median(byName.get(to) ?? []);
        return Number.isNaN(other) ? '–' : (middle / other).toFixed(2);
      };
      return {
        figure: figure.name,
        of: name,
        min: least.toPrecision(3),
        median: middle.toPrecision(3),
        max: most.toPrecision(3),
        unit: figure.unit,
        'x unbound': ratio('unbound'),
        'x BIND': ratio('BIND'),
        target: name === ours.name ? (figure.target ?? '') : '',
      };
    }),
  );
  printTable(rows);
  const file = options.only === '' ? 'dns' : 'dns-part';
  console.log(`\n${writeResults(file, rows)}\n${writeText(`${file}.svg`, drawBars('nat64d: DNS64', bars))}`);
}

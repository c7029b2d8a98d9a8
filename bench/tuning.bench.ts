/**
 * What each piece of tuning advice is worth: `npm run bench -- tuning`. The gateway as shipped beside itself with one thing changed,
 * in turn; and with frames as a network card delivers them, with and without the card's GRO. Variants take turns; the ratio is of
 * medians, to the first. TCP's sender has CUBIC unless told, whatever the machine is set to.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Lab } from '../test/helpers/lab.js';
import type { Peer } from '../test/helpers/peers.js';
import { type OursOptions, type Running, startNat64d } from './contenders.js';
import { findIperf, measureFlood, measureTcp, openIperf, openSink } from './loads.js';
import { barsOf, gather, type Measurement, report, rowsOf } from './report.js';

interface Variant {
  readonly name: string;
  readonly workers?: number;
  readonly options?: OursOptions;
  /** MTU of all links and of the device. */
  readonly mtu?: number;
  /** Once it serves, on the device. */
  prepare?(lab: Lab, device: string): Promise<void>;
}

interface Place {
  readonly lab: Lab;
  /** Undefined where there is none: then there are no TCP rows. */
  readonly iperf: Peer | undefined;
  readonly seconds: number;
  readonly congestion: string;
}

interface Load {
  readonly name: string;
  readonly unit: string;
  readonly needsIperf?: boolean;
  measure(place: Place, running: Running): Promise<number>;
}

const tcp = (streams: number): Load => ({
  name: `${streams} TCP stream${streams > 1 ? 's' : ''}`,
  unit: 'Gb/s',
  needsIperf: true,
  measure: async ({ lab, iperf, seconds, congestion }, running) =>
    (await measureTcp(lab, running, iperf as Peer, { streams, isFromServer: false, congestion }, seconds)) /
    1e9,
});

const udp = (name: string, load: Parameters<typeof measureFlood>[2]): Load => ({
  name,
  unit: 'Mframes/s',
  measure: async ({ lab, seconds }, running) => (await measureFlood(lab, running, load, seconds)) / 1e6,
});

async function ethtool(lab: Lab, namespace: string, name: string, ...features: string[]): Promise<void> {
  const { status, stderr } = await lab.run(namespace, 'ethtool', ['-K', name, ...features]);
  if (status !== 0) throw new Error(`ethtool -K ${name} ${features.join(' ')}: ${stderr}`);
}

const queue = (frames: number): Variant => ({
  name: `txqueuelen ${frames} (500)`,
  prepare: async (lab, device) => {
    lab.ip(lab.gateway, `link set ${device} txqueuelen ${frames}`);
  },
});

/** The gateway's own ports get frame by frame what the client's kernel would have left in one piece. */
const card = (name: string, gro: 'on' | 'off', udpForwarding: 'on' | 'off'): Variant => ({
  name,
  prepare: async (lab) => {
    await ethtool(lab, lab.client, 'up0', 'tso', 'off', 'gso', 'off');
    await ethtool(lab, lab.gateway, 'lan0', 'gro', gro, 'rx-udp-gro-forwarding', udpForwarding);
  },
});

interface Comparison {
  readonly name: string;
  readonly variants: readonly Variant[];
  readonly loads: readonly Load[];
}

const COMPARISONS: readonly Comparison[] = [
  {
    name: 'settings',
    variants: [
      { name: 'as shipped, 2 workers' },
      { name: 'workers = 1', workers: 1 },
      { name: 'offload = false', options: { device: 'offload = false' } },
      { name: 'coalesce = false', options: { device: 'coalesce = false' } },
      queue(100),
      queue(5000),
      { name: 'MTU 9000', mtu: 9000 },
    ],
    loads: [
      tcp(1),
      tcp(8),
      udp('UDP 64 B, bursts of 16', { size: 64, flows: 16, burst: 16 }),
      udp('UDP 64 B, 60,000 flows', { size: 64, flows: 60_000 }),
    ],
  },
  {
    name: 'network card',
    variants: [
      card('GRO off', 'off', 'off'),
      card('GRO on', 'on', 'off'),
      card('GRO and rx-udp-gro-forwarding on', 'on', 'on'),
    ],
    loads: [
      tcp(1),
      udp('UDP 512 B from the client, bursts of 64', { size: 512, flows: 4, burst: 64, isFromClient: true }),
    ],
  },
];

function setMtu(lab: Lab, mtu: number): void {
  for (const [namespace, name] of [
    [lab.client, 'up0'],
    [lab.gateway, 'lan0'],
    [lab.gateway, 'wan0'],
    [lab.server, 'up0'],
  ] as const) {
    lab.ip(namespace, `link set ${name} mtu ${mtu}`);
  }
}

async function measureVariant(place: Place, { mtu = 1500, ...variant }: Variant, loads: readonly Load[]) {
  const { lab } = place;
  setMtu(lab, mtu);
  const device = `${variant.options?.device ?? ''}\nmtu = ${mtu}`;
  const { running } = await startNat64d(lab, variant.workers ?? 2, { ...variant.options, device });
  await variant.prepare?.(lab, running.device);
  const figures: number[] = [];
  for (const load of loads) figures.push(await load.measure(place, running));
  // Let iperf3's server hear the end of the last test before the way to it goes.
  await sleep(1000);
  await running.stop();
  return figures;
}

export interface TuningOptions {
  readonly runs: number;
  readonly seconds: number;
  /** Of TCP's sender, as Linux calls it. */
  readonly congestion: string;
}

export async function run({ runs, seconds, congestion }: TuningOptions): Promise<void> {
  const iperf = findIperf();
  const measured: Measurement[] = [];
  for (const { name, variants, loads: all } of COMPARISONS) {
    const loads = all.filter(({ needsIperf }) => iperf !== undefined || needsIperf !== true);
    const lab = new Lab({ clientAddresses: 1 });
    try {
      lab.ip(lab.server, 'route add 10.64.0.0/12 via 203.0.113.1');
      await openSink(lab);
      if (iperf !== undefined) openIperf(lab, iperf);
      for (let i = 1; i <= runs; i++) {
        for (const variant of variants) {
          const figures = await measureVariant({ lab, iperf, seconds, congestion }, variant, loads);
          for (const [l, value] of figures.entries()) {
            const load = loads[l] as Load;
            measured.push({ group: `${name}: ${load.name}`, what: variant.name, unit: load.unit, value });
          }
          console.error(
            `run ${i}/${runs}  ${variant.name}: ${figures.map((f) => f.toPrecision(3)).join('  ')}`,
          );
        }
      }
    } finally {
      await lab.close();
    }
  }
  const series = gather(measured);
  report('tuning', `nat64d: tuning, TCP with ${congestion}`, rowsOf(series), barsOf(series));
}

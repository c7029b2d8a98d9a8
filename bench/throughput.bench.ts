/**
 * What passes through the gateway, beside TAYGA and plain kernel IPv6 forwarding, in the same namespaces and the same run:
 * `npm run bench -- throughput [runs]`. Contenders take turns, and the median of the runs counts.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Lab, SERVER4, under } from '../test/helpers/lab.js';
import { fetchPeer, type Peer } from '../test/helpers/peers.js';
import { printTable, writeResults } from './report.js';

const SECONDS = 4;
const SERVER6 = '2001:db8:2::2';
const TAYGA_PREFIX = '2001:db8:64:ff9b::';

interface Contender {
  name: string;
  /** Makes it ready; returns what takes it down. */
  start(lab: Lab): Promise<() => Promise<unknown>>;
  /** The server's address through it. */
  target: string;
}

const plain: Contender = {
  name: 'kernel IPv6',
  target: SERVER6,
  async start(lab) {
    lab.ip(lab.gateway, 'addr add 2001:db8:2::1/64 dev wan0 nodad');
    lab.ip(lab.server, `addr add ${SERVER6}/64 dev up0 nodad`);
    lab.ip(lab.server, 'route replace default via 2001:db8:2::1');
    await lab.run(lab.gateway, 'sh', ['-c', 'echo 1 > /proc/sys/net/ipv6/conf/all/forwarding']);
    return async () => {
      lab.ip(lab.gateway, 'addr del 2001:db8:2::1/64 dev wan0');
      lab.ip(lab.server, `addr del ${SERVER6}/64 dev up0`);
      await lab.run(lab.gateway, 'sh', ['-c', 'echo 0 > /proc/sys/net/ipv6/conf/all/forwarding']);
    };
  },
};

function ours(workers: number): Contender {
  return {
    name: `nat64d, ${workers} worker${workers > 1 ? 's' : ''}`,
    target: under(SERVER4),
    async start(lab) {
      const toml = `workers = ${workers}\n[device]\nmasquerade = false\n[dns64]\nenabled = false\n`;
      const gateway = await lab.startGateway({ toml });
      return () => gateway.stop();
    },
  };
}

function tayga(peer: Peer): Contender {
  return {
    name: 'TAYGA',
    target: `${TAYGA_PREFIX}${SERVER4}`,
    async start(lab) {
      const file = join(lab.folder, 'tayga.conf');
      const pool = '10.64.0.0/16';
      writeFileSync(
        file,
        `tun-device tayga0\nipv4-addr 10.64.0.1\nprefix ${TAYGA_PREFIX}/96\ndynamic-pool ${pool}\ndata-dir ${lab.folder}\n`,
      );
      const program = join(peer.root, 'usr/sbin/tayga');
      lab.ip(lab.gateway, 'tuntap add dev tayga0 mode tun');
      lab.ip(lab.gateway, 'link set tayga0 up');
      lab.ip(lab.gateway, `route add ${TAYGA_PREFIX}/96 dev tayga0`);
      lab.ip(lab.gateway, `route add ${pool} dev tayga0`);
      const forward =
        'echo 1 > /proc/sys/net/ipv6/conf/all/forwarding; echo 1 > /proc/sys/net/ipv4/ip_forward';
      await lab.run(lab.gateway, 'sh', ['-c', forward]);
      const child = lab.spawn(lab.gateway, program, ['--nodetach', '-c', file], peer.env);
      await sleep(500);
      return async () => {
        const ended = new Promise((resolve) => child.once('close', resolve));
        child.kill('SIGTERM');
        await ended;
        lab.ip(lab.gateway, 'link del tayga0');
        await lab.run(lab.gateway, 'sh', ['-c', forward.replaceAll('echo 1', 'echo 0')]);
      };
    },
  };
}

/** What iperf3 reports at the end of a run. */
interface IperfReport {
  end: {
    sum_received: { bits_per_second: number; packets?: number; lost_packets?: number; seconds: number };
  };
  error?: string;
}

interface Load {
  name: string;
  unit: string;
  args: string[];
  figure(report: IperfReport): number;
}

const gigabits = (report: IperfReport) => report.end.sum_received.bits_per_second / 1e9;
/** Datagrams that arrived, per microsecond. */
const megaframes = ({ end: { sum_received: sum } }: IperfReport) =>
  ((sum.packets ?? 0) - (sum.lost_packets ?? 0)) / sum.seconds / 1e6;

const LOADS: Load[] = [
  { name: '1 TCP stream, to the server', unit: 'Gb/s', args: [], figure: gigabits },
  { name: '1 TCP stream, from the server', unit: 'Gb/s', args: ['-R'], figure: gigabits },
  { name: '8 TCP streams, to the server', unit: 'Gb/s', args: ['-P', '8'], figure: gigabits },
  { name: '8 TCP streams, from the server', unit: 'Gb/s', args: ['-P', '8', '-R'], figure: gigabits },
  { name: 'UDP 64 B, one flow', unit: 'Mframes/s', args: ['-u', '-b', '0', '-l', '64'], figure: megaframes },
];

async function measure(lab: Lab, iperf: Peer, contender: Contender, load: Load): Promise<number> {
  const program = join(iperf.root, 'usr/bin/iperf3');
  const args = ['-6', '-c', contender.target, '-t', String(SECONDS), '-O', '1', '-J', ...load.args];
  const { stdout } = await lab.runWith(iperf.env, lab.client, program, args, (SECONDS + 15) * 1000);
  if (stdout === '') throw new Error(`${contender.name}, ${load.name}: iperf3 did not finish in time`);
  const report = JSON.parse(stdout) as IperfReport;
  if (report.error !== undefined) throw new Error(`${contender.name}, ${load.name}: ${report.error}`);
  return load.figure(report);
}

export async function run([runsText = '3']: string[]): Promise<void> {
  const runs = Number(runsText);
  const iperf = fetchPeer('iperf3', ['iperf3', 'libiperf0', 'libsctp1']);
  const contenders = [plain, tayga(fetchPeer('tayga', ['tayga'])), ours(1), ours(2)];
  const samples = new Map<string, number[]>();
  const lab = new Lab();
  try {
    lab.ip(lab.server, 'route add 10.64.0.0/16 via 203.0.113.1');
    lab.spawn(lab.server, join(iperf.root, 'usr/bin/iperf3'), ['-s'], iperf.env);
    await sleep(300);
    for (let i = 1; i <= runs; i++) {
      for (const contender of contenders) {
        const stop = await contender.start(lab);
        for (const load of LOADS) {
          const figure = await measure(lab, iperf, contender, load);
          const key = `${load.name}|${contender.name}`;
          samples.set(key, [...(samples.get(key) ?? []), figure]);
          console.error(
            `run ${i}/${runs}  ${contender.name}  ${load.name}: ${figure.toFixed(2)} ${load.unit}`,
          );
        }
        // Let iperf3's server hear the end of the last test before the way to it goes.
        await sleep(1000);
        await stop();
      }
    }
  } finally {
    await lab.close();
  }

  const median = (load: Load, contender: Contender) => {
    const sorted = (samples.get(`${load.name}|${contender.name}`) ?? []).sort((a, b) => a - b);
    return sorted[sorted.length >> 1] as number;
  };
  const rows = LOADS.flatMap((load) =>
    contenders.map((contender) => {
      const sorted = (samples.get(`${load.name}|${contender.name}`) ?? []).sort((a, b) => a - b);
      const value = median(load, contender);
      return {
        load: load.name,
        through: contender.name,
        min: (sorted[0] as number).toFixed(2),
        median: value.toFixed(2),
        max: (sorted.at(-1) as number).toFixed(2),
        unit: load.unit,
        'x TAYGA': (value / median(load, contenders[1] as Contender)).toFixed(2),
        'x kernel': (value / median(load, plain)).toFixed(2),
      };
    }),
  );
  printTable(rows);
  console.log(`\n${writeResults('throughput', rows)}`);
}

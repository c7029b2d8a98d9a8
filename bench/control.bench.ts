/**
 * How soon the control plane is heard while the data plane is under full load: `npm run bench -- control`. A reload from SIGHUP to
 * the log line that says it is in force in every worker; a stop from SIGTERM to the end of the process.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type GatewayProcess, Lab } from '../test/helpers/lab.js';
import { type Running, startNat64d } from './contenders.js';
import { openSink, startFlood } from './loads.js';
import { printTable, writeResults } from './report.js';
import { quantile } from './statistics.js';

const TIMES = 20;
const FLOOD = { size: 64, flows: 60_000 };
const FLOOD_SEC = 3600;
/** A pause in which the flood is at its full rate again. */
const PAUSE_MS = 150;

async function reloadMs(gateway: GatewayProcess, count: number): Promise<number> {
  const startMs = performance.now();
  gateway.kill('SIGHUP');
  await gateway.waitFor('reloaded', count);
  return performance.now() - startMs;
}

async function measure(lab: Lab, isLoaded: boolean): Promise<{ reload: number[]; stop: number[] }> {
  const reload: number[] = [];
  const stop: number[] = [];
  const flooded = async (running: Running, work: () => Promise<void>) => {
    const flood = isLoaded ? startFlood(lab, running, FLOOD, FLOOD_SEC) : undefined;
    await sleep(PAUSE_MS * 3);
    await work();
    flood?.kill('SIGTERM');
    if (flood?.exitCode === null) await new Promise((resolve) => flood.once('close', resolve));
  };
  for (let i = 0; i < TIMES; i++) {
    const { gateway, running } = await startNat64d(lab, 2);
    await flooded(running, async () => {
      // All reloads in one life of the gateway, the first.
      for (let n = 1; i === 0 && n <= TIMES; n++) {
        reload.push(await reloadMs(gateway, n));
        await sleep(PAUSE_MS);
      }
      const startMs = performance.now();
      await running.stop();
      stop.push(performance.now() - startMs);
    });
  }
  return { reload, stop };
}

export async function run(): Promise<void> {
  const lab = new Lab({ clientAddresses: 1 });
  try {
    lab.ip(lab.server, 'route add 10.64.0.0/12 via 203.0.113.1');
    await openSink(lab);
    const rows: Record<string, string | number>[] = [];
    for (const isLoaded of [false, true]) {
      const { reload, stop } = await measure(lab, isLoaded);
      const load = isLoaded ? 'full load' : 'idle';
      for (const [what, ms] of [
        ['SIGHUP until it is in force', reload],
        ['SIGTERM until the process has ended', stop],
      ] as const) {
        const [p50, p99] = [quantile(ms, 0.5), quantile(ms, 0.99)].map(Math.round);
        rows.push({ what, load, times: ms.length, 'p50 ms': p50 as number, 'p99 ms': p99 as number });
      }
    }
    printTable(rows);
    console.log(`\n${writeResults('control', rows)}`);
  } finally {
    await lab.close();
  }
}

/**
 * How soon the control plane is heard while the data plane is under full load: `npm run bench -- control`. A reload from SIGHUP to
 * the log line that says it is in force in every worker, also with another number of workers; a stop from SIGTERM to the end of the
 * process; the death of a worker to the moment from which another serves its queue; how soon a gateway that was killed serves again. And
 * how long a reload with a large map-file takes, and for how long it keeps DNS and new hosts waiting.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type GatewayProcess, Lab } from '../test/helpers/lab.js';
import type { Bar } from './chart.js';
import { POOL4, type Running, startNat64d } from './contenders.js';
import { measureFlood, openSink, startFlood } from './loads.js';
import { printTable, type Row, writeReport } from './report.js';
import { median, quantile } from './statistics.js';

const TIMES = 20;
const TOML = `workers = 2\npool4 = "${POOL4}"\nmax-maps-per-64 = 0\n[device]\nmasquerade = false\n[dns64]\nenabled = false\n`;
const FLOOD = { size: 64, flows: 60_000 };
const FLOOD_SEC = 3600;
/** A pause in which the flood is at its full rate again. */
const PAUSE_MS = 150;
const WAIT_MS = 60_000;

async function msUntil(gateway: GatewayProcess, signal: NodeJS.Signals, event: string, count: number) {
  const startMs = performance.now();
  gateway.kill(signal);
  await gateway.waitFor(event, count, WAIT_MS);
  return performance.now() - startMs;
}

interface Measured {
  readonly reload: number[];
  readonly resize: number[];
  readonly replace: number[];
  readonly stop: number[];
}

/** The same configuration with another number of workers. */
function setWorkers(lab: Lab, workers: number): void {
  const file = join(lab.folder, 'nat64d.toml');
  writeFileSync(file, readFileSync(file, 'utf8').replace(/^workers = .*$/m, `workers = ${workers}`));
}

async function measure(lab: Lab, isLoaded: boolean): Promise<Measured> {
  const measured: Measured = { reload: [], resize: [], replace: [], stop: [] };
  const { reload, resize, replace, stop } = measured;
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
        reload.push(await msUntil(gateway, 'SIGHUP', 'reloaded', n));
        await sleep(PAUSE_MS);
      }
      for (let n = 1; i === 0 && n <= TIMES; n++) {
        setWorkers(lab, 1 + ((n + 1) % 2));
        resize.push(await msUntil(gateway, 'SIGHUP', 'reloaded', TIMES + n));
        await sleep(PAUSE_MS);
      }
      // A life each: a worker that dies again soon is given time.
      replace.push(await msUntil(gateway, i % 2 === 0 ? 'SIGUSR2' : 'SIGALRM', 'worker-replaced', 1));
      await sleep(PAUSE_MS);
      const startMs = performance.now();
      await running.stop();
      stop.push(performance.now() - startMs);
    });
  }
  return measured;
}

/** Says at SIGURG for how long the event loop of the main thread has been without a turn, at most, since the last time. */
const PROBE = `data:text/javascript,${encodeURIComponent(`
  import { monitorEventLoopDelay } from 'node:perf_hooks';
  import { isMainThread } from 'node:worker_threads';
  if (isMainThread) {
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    process.on('SIGURG', () => {
      console.log(JSON.stringify({ event: 'event-loop', ms: delay.max / 1e6 }));
      delay.reset();
    });
  }
`)}`;

const MAP_LINES = 100_000;

function mapLines(count: number, from: number): string {
  const octets = (n: number) => `100.${64 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`;
  return Array.from(
    { length: count },
    (_, n) => `map ${octets(n)} 2001:db8:77::${(n + from).toString(16)}\n`,
  ).join('');
}

/** Reloads with a large map-file: how long they take, and the longest time in which the event loop had no turn. */
async function measureMaps(lab: Lab): Promise<{ rows: Row[]; bars: Bar[] }> {
  const file = join(lab.folder, 'maps');
  writeFileSync(file, '');
  const { gateway, running } = await startNat64d(lab, 2, {
    top: `map-file = "${file}"\n`,
    nodeOptions: ['--import', PROBE],
  });
  let asked = 0;
  const longestMs = async () => {
    gateway.kill('SIGURG');
    return (await gateway.waitFor('event-loop', ++asked)).ms as number;
  };
  const rows: Row[] = [];
  const bars: Bar[] = [];
  const steps = [
    ['none to', mapLines(MAP_LINES, 0)],
    ['the same', mapLines(MAP_LINES, 0)],
    ['one more than', mapLines(MAP_LINES + 1, 0)],
    ['others in the place of', mapLines(MAP_LINES, 1_000_000)],
    ['none again after', ''],
  ] as const;
  for (const [index, [what, text]] of steps.entries()) {
    writeFileSync(file, text);
    await longestMs();
    const ms = await msUntil(gateway, 'SIGHUP', 'reloaded', index + 1);
    const blockMs = await longestMs();
    rows.push({
      what: `reload: ${what} ${MAP_LINES} maps`,
      ms: Math.round(ms),
      'longest block ms': Math.round(blockMs),
    });
    bars.push({
      group: `reload, ${MAP_LINES} maps: longest without a turn of the event loop (ms)`,
      label: what,
      ...{ least: blockMs, middle: blockMs, most: blockMs },
    });
  }
  await running.stop();
  return { rows, bars };
}

const RESTARTS = 10;
const RESTART_MAPS = 60_000;
const ECHO_SEC = 0.005;

/** From the start of the process after a kill -9, with so many maps to remember. */
interface Restarts {
  /** Until a host that had a map before has an answer from behind the gateway again. */
  readonly forwards: number[];
  /** Until all is set up. */
  readonly serves: number[];
}

async function measureRestarts(lab: Lab): Promise<Restarts> {
  const { gateway, running } = await startNat64d(lab, 2);
  await measureFlood(lab, running, { size: 64, flows: RESTART_MAPS, hosts: RESTART_MAPS, rate: 20_000 }, 2);
  const ping = lab.spawn(lab.client, 'ping', ['-6', '-n', '-i', String(ECHO_SEC), running.target]);
  const nextReply = () =>
    new Promise<void>((resolve, reject) => {
      const onData = (said: Buffer) => {
        if (!said.includes(' bytes from ')) return;
        ping.stdout?.off('data', onData);
        resolve();
      };
      ping.stdout?.on('data', onData);
      setTimeout(reject, WAIT_MS, new Error('no reply to a ping through the gateway')).unref();
    });
  await nextReply();
  const restarts: Restarts = { forwards: [], serves: [] };
  for (let killed = gateway; restarts.serves.length < RESTARTS; ) {
    await killed.stop('SIGKILL');
    const startMs = performance.now();
    const forwarding = nextReply().then(() => restarts.forwards.push(performance.now() - startMs));
    killed = await lab.startGateway({ toml: TOML });
    restarts.serves.push(performance.now() - startMs);
    await forwarding;
    if (restarts.serves.length === RESTARTS) await killed.stop();
  }
  ping.kill();
  return restarts;
}

interface Timed {
  readonly what: string;
  readonly load: string;
  readonly ms: readonly number[];
}

/** With the ratio of the median to that of the same when idle. */
function rowOf({ what, load, ms }: Timed, all: readonly Timed[]): Row {
  const at = (share: number) => Math.round(quantile(ms, share));
  const idle = median(all.find((other) => other.what === what)?.ms ?? []);
  return {
    what,
    load,
    times: ms.length,
    'min ms': at(0),
    'p50 ms': at(0.5),
    'p99 ms': at(0.99),
    'x idle': (median(ms) / idle).toFixed(2),
  };
}

const barOf = ({ what, load, ms }: Timed): Bar => ({
  group: `${what} (ms: least, p50, p99)`,
  label: load,
  least: quantile(ms, 0),
  middle: median(ms),
  most: quantile(ms, 0.99),
});

export async function run(): Promise<void> {
  const lab = new Lab({ clientAddresses: 1 });
  try {
    lab.ip(lab.server, 'route add 10.64.0.0/12 via 203.0.113.1');
    await openSink(lab);
    const timed: Timed[] = [];
    for (const isLoaded of [false, true]) {
      const { reload, resize, replace, stop } = await measure(lab, isLoaded);
      const load = isLoaded ? 'full load' : 'idle';
      timed.push(
        { what: 'SIGHUP until it is in force', load, ms: reload },
        { what: 'SIGHUP until another number of workers serves', load, ms: resize },
        { what: 'death of a worker until another serves', load, ms: replace },
        { what: 'SIGTERM until the process has ended', load, ms: stop },
      );
    }
    const { forwards, serves } = await measureRestarts(lab);
    for (const [until, ms] of [
      ['it forwards', forwards],
      ['all is set up', serves],
    ] as const) {
      timed.push({ what: `start after kill -9 until ${until}, ${RESTART_MAPS} maps`, load: 'idle', ms });
    }
    const rows = timed.map((one) => rowOf(one, timed));
    printTable(rows);
    const maps = await measureMaps(lab);
    const bars = [...timed.map(barOf), ...maps.bars];
    printTable(maps.rows);
    writeReport('control', 'nat64d: how soon the control plane is heard', [...rows, ...maps.rows], bars);
  } finally {
    await lab.close();
  }
}

/**
 * Load on a gateway anywhere: `npm run bench -- load --target ADDRESS`. UDP round trips to a machine behind it on which
 * `npm run bench -- echo` runs; loss, rate and latency.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { LOADGEN, type LoadReport } from './loads.js';
import { printTable, writeResults } from './report.js';

export interface LoadOptions {
  readonly target: string;
  readonly port: number;
  readonly flows: number;
  readonly size: number;
  /** Datagrams a second; as fast as it goes where absent. */
  readonly rate?: number;
  readonly seconds: number;
}

const BAR_WIDTH = 30;

function bar(report: LoadReport, seconds: number): string {
  const done = Math.min(1, report.seconds / seconds);
  const filled = Math.round(done * BAR_WIDTH);
  const rate = Math.round(report.received / Math.max(report.seconds, 1e-9)).toLocaleString('en');
  const blocks = '█'.repeat(filled) + '░'.repeat(BAR_WIDTH - filled);
  return `${blocks} ${Math.round(done * 100)} %  ${rate} answers/s`;
}

/** Runs a task of the load generator; resolves with its exit code. */
function runTask(words: readonly (string | number)[], onLine?: (line: string) => void): Promise<number> {
  const child = spawn(LOADGEN, words.map(String), {
    stdio: ['ignore', onLine === undefined ? 'inherit' : 'pipe', 'inherit'],
  });
  // The terminal's Ctrl-C reaches it too, and it ends with what it has.
  process.on('SIGINT', () => {});
  if (onLine !== undefined && child.stdout !== null)
    createInterface({ input: child.stdout }).on('line', onLine);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? 1));
  });
}

export async function run({ target, port, flows, size, rate, seconds }: LoadOptions): Promise<void> {
  let last: LoadReport | undefined;
  const words = ['load', '--target', target, '--port', port, '--flows', flows, '--size', size];
  if (rate !== undefined) words.push('--rate', rate);
  const status = await runTask([...words, '--seconds', seconds], (line) => {
    last = JSON.parse(line) as LoadReport;
    if (process.stderr.isTTY) process.stderr.write(`\r${bar(last, seconds)}\u001b[K`);
  });
  if (process.stderr.isTTY) process.stderr.write('\r\u001b[K');
  if (status !== 0 || last === undefined) {
    process.exitCode = status || 1;
    return;
  }
  const { sent, received, refused, latencyUs } = last;
  const tried = sent - refused;
  const share = (part: number, whole: number) =>
    whole === 0 ? '–' : `${((part / whole) * 100).toFixed(3)} %`;
  const rows = [
    { figure: 'sent', value: sent.toLocaleString('en') },
    { figure: 'not taken by this machine', value: refused.toLocaleString('en') },
    { figure: 'answered', value: received.toLocaleString('en') },
    { figure: 'lost on the way', value: share(tried - received, tried) },
    { figure: 'answers per second', value: Math.round(received / last.seconds).toLocaleString('en') },
    ...Object.entries(latencyUs ?? {}).map(([name, us]) => ({
      figure: `round trip, ${name}`,
      value: `${us} µs`,
    })),
  ];
  printTable(rows);
  if (received === 0) {
    console.error(
      `\nNothing came back from ${target} port ${port}. Run there: npm run bench -- echo --port ${port}`,
    );
    process.exitCode = 1;
  }
  console.log(`\n${writeResults('load', rows)}`);
}

/** Answers the datagrams of `run` until it is interrupted. */
export async function echo(port: number): Promise<void> {
  process.exitCode = await runTask(['echo', '--port', port]);
}

/** Floods, as far as they can be asserted without a clock: what is bounded, that each frame is accounted for, that service goes on. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CLIENT6, Lab, PUBLIC4, SERVER4, under } from '../helpers/lab.js';

const LOADGEN = fileURLToPath(new URL('../../../native/build/Release/loadgen', import.meta.url));
/** Of the default configuration. */
const MAX_MAPS_PER_64 = 256;
/** More than any of these floods has to cost, less than what a map or a fragment kept for each frame would. */
const GROWTH_MIB = 64;
const QUERIES = 20;
const PINGS = 10;

let lab: Lab;
afterEach(() => lab.close());

const residentMiB = (pid: number) =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;

test('forged sources, pings, forged quotes, endless fragments, random names: bounded, counted, and others are served', async () => {
  lab = new Lab();
  lab.spawn(lab.server, LOADGEN, ['authority', '--port', '53']);
  const gateway = await lab.startGateway({ toml: '[translation]\nicmp-fragments = "hold"\n' });
  const loadgen = async (namespace: string, task: string, ...words: string[]): Promise<number> => {
    const { stdout, stderr } = await lab.run(namespace, LOADGEN, [task, '--seconds', '1', ...words]);
    const line = stdout.trim().split('\n').at(-1) ?? '';
    assert.match(line, /^\{.*\}$/, stderr);
    return JSON.parse(line).sent as number;
  };
  const flood = (task: string, target: string, ...words: string[]) => {
    const where = ['--interface', 'nat64', '--source', '2001:db8:1::100:0', '--target', target];
    return loadgen(lab.gateway, task, ...where, '--rate', '40000', ...words);
  };
  const ask = async () => {
    const words = ['ask', under('10.64.0.2'), 'www.example.com', String(QUERIES), '50'];
    return JSON.parse((await lab.node(lab.client, 'client', words)).stdout).answered as number;
  };
  /** How many of the pings of a host that was there before are answered. */
  const ping = async () => {
    const words = ['-c', String(PINGS), '-i', '0.1', '-W', '2', under(PUBLIC4)];
    const { stdout } = await lab.run(lab.client, 'ping', words);
    return Number(/ ([0-9]+) received/.exec(stdout)?.[1]);
  };
  const served = async () => ({ pings: await ping(), queries: await ask() });
  const all = { pings: PINGS, queries: QUERIES };
  /** Of a flood how many frames were sent; what others ask for meanwhile is slower, but not nothing. */
  const endure = async (name: string, flooding: Promise<number>) => {
    const [sent, pings, queries] = await Promise.all([flooding, ping(), ask()]);
    assert.ok(pings > 0, `${name}: no ping is answered meanwhile`);
    assert.ok(queries > 0, `${name}: no name that is known is answered meanwhile`);
    return sent;
  };

  assert.deepEqual(await served(), all);
  const before = residentMiB(gateway.pid);
  const hosts = ['--hosts', '1000000', '--flows', '1000000'];
  let sent = await endure('forged sources', flood('raw', under(SERVER4), ...hosts));
  sent += await endure('pings', flood('pings', under('10.64.0.1')));
  sent += await endure('forged quotes', flood('errors', under(SERVER4), '--hosts', '1000000'));
  sent += await endure('fragments', flood('fragments', under(SERVER4)));
  const names = ['--target', under('10.64.0.2'), '--port', '53', '--hosts', '1000000000', '--rate', '5000'];
  await endure('random names', loadgen(lab.client, 'queries', ...names));
  assert.deepEqual(await served(), all, 'once they are over, nothing is lost');
  const growth = residentMiB(gateway.pid) - before;
  assert.ok(growth < GROWTH_MIB, `${growth} MiB more`);

  assert.equal(await gateway.stop(), 0);
  const counters = gateway.events('stopped')[0]?.counters as Record<string, number>;
  const of = (name: string) => counters[name] ?? 0;
  const seen = of('frames-in-v6') + of('frames-in-v4');
  const drops = Object.keys(counters).filter((name) => name.startsWith('drop-'));
  const ended = ['translated-v6-to-v4', 'translated-v4-to-v6', 'self-answered', ...drops]
    .map(of)
    .reduce((sum, count) => sum + count, 0);
  assert.ok(seen > sent / 4, `${seen} frames seen of ${sent}`);
  assert.equal(ended, seen, JSON.stringify(counters));
  const maps = readFileSync(join(lab.folder, 'data', 'dynamic.map'), 'utf8').match(/^[0-9]/gm) ?? [];
  assert.ok(maps.length <= MAX_MAPS_PER_64, `${maps.length} maps`);
  assert.ok(readFileSync(join(lab.folder, 'data', 'dynamic.map'), 'utf8').includes(`\t${CLIENT6}\t`));
});

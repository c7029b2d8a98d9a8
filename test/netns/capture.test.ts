/** Captures of the real gateway, read by those who will read them: tshark, capinfos, tcpdump. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ControlClient } from '#nat64d/control/control-socket/client.js';
import type { Status } from '#nat64d/control/inspect/status.js';
import { CLIENT6, Lab, PUBLIC4, under } from '../helpers/lab.js';
import { fetchPeerWithDependencies } from '../helpers/peers.js';
import { until } from '../helpers/until.js';

const CTL = fileURLToPath(new URL('../../../dist/bin/nat64ctl.js', import.meta.url));

let lab: Lab;
beforeEach(() => {
  lab = new Lab();
});
afterEach(() => lab.close());

const socket = () => join(lab.folder, 'run', 'control.sock');
const ctlArgs = (...args: string[]) => [CTL, '--socket', socket(), ...args];

async function captures(): Promise<number> {
  const client = await ControlClient.connect(socket());
  const { captures: count } = (await client.request('status')) as Status;
  client.close();
  return count;
}

/** Waits, ten seconds or so at most. */
async function untilCaptures(count: number): Promise<void> {
  for (let tries = 0; (await captures()) !== count; tries++) assert.ok(tries < 20, `${await captures()}`);
}

/** Begins a capture into a file; it takes frames when this resolves. */
async function capture(file: string, ...args: string[]) {
  const child = lab.spawn(lab.gateway, process.execPath, ctlArgs('capture', '-w', file, ...args));
  let stderr = '';
  child.stderr?.on('data', (data) => {
    stderr += data;
  });
  // The first part of the file comes after the workers were told.
  await until(
    () => existsSync(file) && statSync(file).size > 0,
    () => `the beginning of ${file}: ${stderr}`,
    30_000,
  );
  return {
    child,
    end: async (signal: NodeJS.Signals) => {
      child.kill(signal);
      const [code] = await once(child, 'close');
      return { code, stderr };
    },
  };
}

const ping = (address: string, ...args: string[]) =>
  lab.run(lab.client, 'ping', ['-c', '1', '-W', '1', ...args, address]);

test('tshark, capinfos and tcpdump read both sides of each translation, drops with their reason', async () => {
  const { root, env } = fetchPeerWithDependencies('tshark', ['tshark']);
  const tcpdump = fetchPeerWithDependencies('tcpdump', ['tcpdump']);
  await lab.startGateway();
  const [file, v4] = [join(lab.folder, 'both.pcapng'), join(lab.folder, 'v4.pcapng')];
  const [oneSide, running] = [await capture(v4, '--side', 'v4'), await capture(file)];
  assert.equal(await captures(), 2);
  await ping(under(PUBLIC4));
  await ping(under('224.0.0.1'));
  const { code, stderr } = await running.end('SIGINT');
  assert.equal(code, 0);
  assert.match((await oneSide.end('SIGINT')).stderr, /^2 frames captured, 0 lost/);
  assert.match(stderr, /^5 frames captured, 0 lost/);
  await untilCaptures(0);

  const read = async (peer: { root: string; env: NodeJS.ProcessEnv }, name: string, ...args: string[]) => {
    const result = await lab.runWith(peer.env, lab.gateway, join(peer.root, 'usr/bin', name), args, 60_000);
    assert.equal(result.status, 0, result.stderr);
    return result.stdout;
  };
  const fields = [
    ...['frame.interface_name', 'frame.packet_id', 'frame.comment', 'ip.src', 'ip.dst', 'ipv6.src'],
    '_ws.malformed',
  ];
  const rows = await read(
    { root, env },
    'tshark',
    ...['-r', file, '-n', '-T', 'fields', '-E', 'separator=;', ...fields.flatMap((field) => ['-e', field])],
  );
  const lines = rows.trimEnd().split('\n');
  const address = lines[1]?.split(';')[3];
  assert.match(address ?? '', /^10\.64\.\d+\.\d+$/);
  const idOf = (line: string | undefined) => line?.split(';')[1];
  assert.deepEqual(
    lines.map((line) => line.split(';').toSpliced(1, 1).join(';')),
    [
      `nat64-v6;held until its host has a map;;;${CLIENT6};`,
      `nat64-v4;;${address};${PUBLIC4};;`,
      `nat64-v4;;${PUBLIC4};${address};;`,
      'nat64-v6;;;;64:ff9b:1::808:808;',
      `nat64-v6;dropped: v4-address;;;${CLIENT6};`,
    ],
  );
  assert.equal(idOf(lines[2]), idOf(lines[3]), 'both sides of one translation');
  const info = await read({ root, env }, 'capinfos', '-M', file);
  assert.match(info, /Number of interfaces in file: +2/);
  assert.match(info, /Time precision = nanoseconds \(9\)/);
  assert.match(info, /Raw IP/);
  assert.match(info, /Number of stat entries = 1/);
  const printed = await read(tcpdump, 'tcpdump', '-Z', 'root', '-nr', v4);
  assert.match(printed, new RegExp(`IP ${address} > ${PUBLIC4}: ICMP echo request`));
  assert.match(printed, new RegExp(`IP ${PUBLIC4} > ${address}: ICMP echo reply`));
});

test('however the client goes, the capture is over; frames pass meanwhile, and while it is stopped', async () => {
  const gateway = await lab.startGateway();
  assert.match((await ping(under(PUBLIC4))).stdout, / 0% packet loss/);
  for (const signal of ['SIGKILL', 'SIGTERM', 'SIGHUP'] as const) {
    const running = await capture(join(lab.folder, `${signal}.pcapng`));
    assert.equal(await captures(), 1);
    assert.match((await ping(under(PUBLIC4))).stdout, / 0% packet loss/);
    const { code } = await running.end(signal);
    assert.equal(code, signal === 'SIGKILL' ? null : 0);
    await untilCaptures(0);
  }
  // One that is stopped reads nothing: the rings run full, and nothing else.
  const stopped = await capture(join(lab.folder, 'stopped.pcapng'));
  stopped.child.kill('SIGSTOP');
  const many = await ping(under(PUBLIC4), '-c', '2000', '-i', '0.001', '-s', '1400', '-q');
  assert.match(many.stdout, / 0% packet loss/);
  stopped.child.kill('SIGCONT');
  const { code, stderr } = await stopped.end('SIGINT');
  assert.equal(code, 0);
  assert.match(stderr, /^[\d,]+ frames captured, [1-9][\d,]* lost/);
  await untilCaptures(0);

  // A worker that dies is replaced by one that captures on.
  const file = join(lab.folder, 'replaced.pcapng');
  const running = await capture(file);
  gateway.kill('SIGUSR2');
  await gateway.waitFor('worker-replaced');
  assert.match((await ping(under(PUBLIC4))).stdout, / 0% packet loss/);
  const end = await running.end('SIGINT');
  assert.match(end.stderr, /^4 frames captured, 0 lost/);
  assert.equal(await gateway.stop(), 0);
});

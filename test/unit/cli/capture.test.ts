/** nat64ctl capture against a control socket: files, lines, ends of every kind. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { KIND_OUT, SIDE_V4 } from '#nat64d/shm/capture-ring.js';
import { counter } from '#nat64d/shm/counters.js';
import { CapturedWorker } from '../../helpers/captured-worker.js';
import { bytes, fragments, icmp, ipv4, ipv6, tcp, udp } from '../../helpers/packet.js';
import { readPcapng } from '../../helpers/pcapng.js';
import { SocketLab } from '../../helpers/socket-lab.js';
import { TestSubject } from '../../helpers/subject.js';
import { until } from '../../helpers/until.js';

const CLI = fileURLToPath(new URL('../../../../dist/bin/nat64ctl.js', import.meta.url));
const ENDS = { src: '2001:db8:1::2', dst: '64:ff9b:1::808:808' };

let lab: SocketLab;
let subject: TestSubject;
beforeEach(async () => {
  lab = new SocketLab();
  subject = new TestSubject();
  await lab.open(subject);
});
afterEach(() => lab.close());

interface Run {
  child: ChildProcess;
  worker: CapturedWorker;
  /** Exit code, and what was printed. */
  ended: Promise<{ status: number | null; stdout: Buffer; stderr: string }>;
}

async function start(...args: string[]): Promise<Run> {
  const child = spawn(process.execPath, [CLI, '--socket', lab.path, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [stdout, stderr]: Buffer[][] = [[], []];
  child.stdout.on('data', (data: Buffer) => stdout?.push(data));
  child.stderr.on('data', (data: Buffer) => stderr?.push(data));
  const ended = new Promise<Awaited<Run['ended']>>((resolve) => {
    child.once('close', (status) =>
      resolve({
        status,
        stdout: Buffer.concat(stdout ?? []),
        stderr: Buffer.concat(stderr ?? []).toString(),
      }),
    );
  });
  while (subject.dataplane.captures.count === 0) {
    if (child.exitCode !== null) throw new Error((await ended).stderr);
    await sleep(10);
  }
  return { child, worker: new CapturedWorker(subject.sent), ended };
}

test('Ctrl-C ends the file as it should end', async () => {
  const file = join(lab.folder, 'a.pcapng');
  writeFileSync(file, 'old and longer than what comes');
  const { child, worker, ended } = await start('capture', '-w', file, '--side', 'v6', '--snaplen', '64');
  assert.deepEqual([worker.task.side, worker.task.snapLength], ['v6', 64]);
  for (let i = 0; i < 3; i++) worker.put(Buffer.alloc(40, i));
  await until(() => readFileSync(file).length >= 300, `300 bytes in ${file}`, 30_000);
  child.kill('SIGINT');
  const { status, stdout, stderr } = await ended;
  assert.deepEqual([status, String(stdout)], [0, '']);
  assert.equal(stderr, '3 frames captured, 0 lost for want of room\n');
  assert.deepEqual(
    readPcapng(readFileSync(file)).map(({ type }) => type),
    [0x0a0d0d0a, 1, 6, 6, 6, 5],
  );
  assert.equal(subject.dataplane.captures.count, 0);
});

test('a new file is readable by its owner only; it ends after as many frames as are wanted', async () => {
  const file = join(lab.folder, 'b.pcapng');
  const { worker, ended } = await start('capture', '-w', file, '--count', '5', '--host', '10.64.0.0/24');
  assert.equal(worker.task.host?.family, 4);
  for (let i = 0; i < 50; i++) worker.put(Buffer.alloc(40, i));
  const { status, stderr } = await ended;
  assert.equal(status, 0);
  assert.match(stderr, /^5 frames captured/);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  const packets = readPcapng(readFileSync(file)).filter(({ type }) => type === 6);
  assert.deepEqual(
    packets.map(({ data }) => data[0]),
    [0, 1, 2, 3, 4],
  );
});

test('standard output is a file like others', async () => {
  const { worker, ended } = await start('capture', '-w', '-', '-n', '1');
  worker.put(Buffer.from('frame'));
  const { status, stdout } = await ended;
  assert.equal(status, 0);
  const blocks = readPcapng(stdout);
  assert.equal(String(blocks.find(({ type }) => type === 6)?.data), 'frame');
  assert.equal(blocks.at(-1)?.type, 5);
});

test('without a file there is a line for each frame, or an object', async () => {
  const first = fragments(ipv6(ENDS, udp({}, bytes(3000))), 1280);
  const frames: [Uint8Array, number, number | undefined][] = [
    [ipv6(ENDS, udp({ sport: 4000, dport: 53 }, 'x')), counter('drop-ttl'), undefined],
    [ipv4({ src: '10.64.0.9', dst: '8.8.8.8' }, tcp({ sport: 1, dport: 80 })), 0, KIND_OUT | SIDE_V4],
    [ipv6(ENDS, icmp({ type: 128 }, 'ping')), -1, undefined],
    [first[1] as Uint8Array, 0, undefined],
    [Uint8Array.of(0x60, 0), 0, undefined],
  ];
  const text = await start('capture', '-n', '5');
  for (const [packet, verdict, kind] of frames) text.worker.put(packet, verdict, kind);
  const { status, stdout } = await text.ended;
  assert.equal(status, 0);
  const ends = '2001:db8:1::2 > 64:ff9b:1::808:808';
  assert.deepEqual(
    String(stdout)
      .trimEnd()
      .split('\n')
      .map((line) => line.replace(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z /, '')),
    [
      `v6 in  ${ends}: UDP 4000 > 53, 49 bytes  (dropped: ttl)`,
      'v4 out 10.64.0.9 > 8.8.8.8: TCP 1 > 80, 40 bytes',
      `v6 in  ${ends}: ICMPv6 type 128 code 0, 52 bytes  (held until its host has a map)`,
      `v6 in  ${ends}: UDP, a later fragment, ${first[1]?.length} bytes`,
      'v6 in  ? > ?: no IP, 2 bytes',
    ],
  );
  const json = await start('--json', 'capture', '-n', '1');
  json.worker.put(frames[1]?.[0] as Uint8Array, 0, KIND_OUT | SIDE_V4);
  const { time, ...rest } = JSON.parse(String((await json.ended).stdout)) as Record<string, unknown>;
  assert.match(String(time), /\.\d{9}Z$/);
  assert.deepEqual(rest, {
    side: 'v4',
    direction: 'out',
    source: '10.64.0.9',
    destination: '8.8.8.8',
    upper: 'TCP 1 > 80',
    length: 40,
    comment: null,
  });
});

test('a gateway that goes away leaves a file of whole blocks, and that is a failure', async () => {
  const file = join(lab.folder, 'c.pcapng');
  const { worker, ended } = await start('capture', '-w', file);
  worker.put(Buffer.alloc(40));
  await until(() => readFileSync(file).length >= 300, `300 bytes in ${file}`, 30_000);
  await lab.close();
  const { status, stderr } = await ended;
  assert.equal(status, 1);
  assert.match(stderr, /closed the connection; 1 frames captured/);
});

for (const [what, file, message] of [
  ['a file that cannot be written', () => lab.folder, /cannot be written: EISDIR/],
  ['a disk that is full', () => '/dev/full', /ENOSPC/],
] as const) {
  test(`${what} is said`, async () => {
    const child = spawn(process.execPath, [CLI, '--socket', lab.path, 'capture', '-w', file()]);
    let stderr = '';
    child.stderr.on('data', (data) => {
      stderr += data;
    });
    assert.equal(await new Promise((resolve) => child.once('close', resolve)), 1);
    assert.match(stderr, message);
    await until(() => subject.dataplane.captures.count === 0, 'the end of the capture');
  });
}

/**
 * What the lab's client does, one task a run; prints a line of JSON.
 *
 *   get HOST BYTES            downloads; prints the SHA-256
 *   put HOST BYTES [SECONDS]  uploads, over so long a time; prints the SHA-256 that the server computed
 *   udp HOST SIZE…            one datagram of each size at a time; prints the sizes that came back whole
 *   hosts HOST COUNT [MSEC [TRIES [FIRST]]]  a datagram from each of COUNT addresses, FIRST and on, 250 at once, and again from those
 *                             without an answer; prints which IPv4 address each had (within 5 s)
 *   burst HOST COUNT SIZE     datagrams one right after the other; prints how many came back whole, and how many out of their order
 *   stream HOST SECONDS [FLOWS [FILE]]  a numbered datagram each millisecond, of each flow in turn, until the file is gone at the
 *                             latest; prints how many were sent, came back, and did not come in their flow's order, or came twice
 *   ask HOST NAME COUNT MSEC  a DNS query for AAAA every so often; prints how many were answered with an address within a second
 *   idle HOST PORT COUNT SECONDS  TCP connections that say nothing; prints how many were made, and how many were there at the end
 */
import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { decode, encode } from 'dns-packet';
import { patternBytes } from './pattern.js';

const [task = '', host = '', ...rest] = process.argv.slice(2);

async function upload(socket: Socket, bytes: Uint8Array, seconds: number): Promise<void> {
  const parts = Math.max(seconds * 50, 1);
  for (let part = 0; part < parts; part++) {
    const at = (share: number) => Math.floor((bytes.length * share) / parts);
    socket.write(bytes.subarray(at(part), at(part + 1)));
    if (seconds > 0) await sleep(20);
  }
}

async function transfer(verb: 'GET' | 'PUT', bytes: number, seconds = 0): Promise<string> {
  const socket = connect(5001, host);
  const hash = createHash('sha256');
  let text = '';
  socket.on('data', (data) => {
    if (verb === 'GET') hash.update(data);
    else text += data;
  });
  // The answer may be here before the upload's last pause is over.
  const ended = once(socket, 'end');
  socket.write(`${verb} ${bytes}\n`);
  if (verb === 'PUT') await upload(socket, patternBytes(bytes), seconds);
  await ended;
  socket.destroy();
  return verb === 'GET' ? hash.digest('hex') : text;
}

/** Sends until the echo comes, three times at most. Of 16 bytes and more the first 16 are the server's to fill. */
async function echo(size: number): Promise<boolean> {
  const socket = createSocket('udp6');
  const sent = patternBytes(size);
  const from = size < 16 ? 0 : 16;
  let isWhole = false;
  socket.on('message', (data) => {
    isWhole = data.length === size && data.subarray(from).equals(sent.subarray(from));
  });
  for (let i = 0; i < 3 && !isWhole; i++) {
    socket.send(sent, 5002, host);
    for (let waited = 0; waited < 500 && !isWhole; waited += 5) await sleep(5);
  }
  socket.close();
  return isWhole;
}

/** One datagram from each address, by default never repeated: a lost first packet is seen. */
async function hosts(
  count: number,
  waitMs: number,
  tries: number,
  first: number,
): Promise<Record<string, string>> {
  const seen: Record<string, string> = {};
  const addresses = Array.from({ length: count }, (_, i) => `2001:db8:1::100:${(first + i).toString(16)}`);
  const sockets = addresses.map((address) => {
    const socket = createSocket('udp6');
    socket.on('message', (data) => {
      seen[address] = data.subarray(0, 16).toString().trim();
    });
    socket.bind(0, address);
    return socket;
  });
  await Promise.all(sockets.map((socket) => once(socket, 'listening')));
  for (let left = tries; left > 0 && Object.keys(seen).length < count; left--) {
    for (const [i, socket] of sockets.entries()) {
      // The server's socket holds some 500 datagrams.
      if (i % 250 === 249) await sleep(50);
      if (seen[addresses[i] as string] === undefined) socket.send(Buffer.alloc(32), 5002, host);
    }
    for (let waited = 0; waited < waitMs / tries && Object.keys(seen).length < count; waited += 10)
      await sleep(10);
  }
  for (const socket of sockets) socket.close();
  return seen;
}

async function stream(seconds: number, flows: number, file: string) {
  const sums = { sent: 0, received: 0, disordered: 0 };
  const sockets = Array.from({ length: flows }, () => {
    const socket = createSocket('udp6');
    let last = -1;
    socket.on('message', (data) => {
      const number = data.readUInt32BE(16);
      if (number <= last) sums.disordered++;
      last = number;
      sums.received++;
    });
    return socket;
  });
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end && (file === '' || existsSync(file))) {
    const data = Buffer.alloc(64);
    data.writeUInt32BE(sums.sent, 16);
    sockets[sums.sent++ % flows]?.send(data, 5002, host);
    await sleep(1);
  }
  await sleep(500);
  for (const socket of sockets) socket.close();
  return sums;
}

async function burst(count: number, size: number) {
  const socket = createSocket('udp6');
  const pattern = patternBytes(size);
  let whole = 0;
  let disordered = 0;
  let last = -1;
  socket.on('message', (data) => {
    const number = data.readUInt32BE(16);
    if (number <= last) disordered++;
    last = number;
    if (data.length === size && data.subarray(20).equals(pattern.subarray(20))) whole++;
  });
  for (let i = 0; i < count; i++) {
    const data = Buffer.from(pattern);
    data.writeUInt32BE(i, 16);
    socket.send(data, 5002, host);
  }
  for (let waited = 0; waited < 3000 && whole < count; waited += 10) await sleep(10);
  socket.close();
  return { whole, disordered };
}

async function ask(name: string, count: number, everyMs: number) {
  const socket = createSocket('udp6');
  const answered = new Set<number>();
  socket.on('message', (data) => {
    const { id, answers } = decode(data);
    if (answers?.some(({ type }) => type === 'AAAA')) answered.add(id as number);
  });
  for (let id = 0; id < count; id++) {
    const query = encode({ type: 'query', id, flags: 1 << 8, questions: [{ type: 'AAAA', name }] });
    socket.send(query, 53, host);
    await sleep(everyMs);
  }
  for (let waited = 0; waited < 1000 && answered.size < count; waited += 10) await sleep(10);
  socket.close();
  return { answered: answered.size };
}

async function idle(port: number, count: number, seconds: number) {
  const open = new Set<Socket>();
  let made = 0;
  for (let i = 0; i < count; i++) {
    const socket = connect(port, host, () => {
      made++;
      open.add(socket);
    });
    socket.on('error', () => {});
    socket.on('close', () => open.delete(socket));
    // A queue of connections to be accepted is shorter.
    if (i % 100 === 99) await sleep(5);
  }
  await sleep(seconds * 1000);
  const atEnd = open.size;
  for (const socket of open) socket.destroy();
  return { made, atEnd };
}

async function run(): Promise<unknown> {
  switch (task) {
    case 'get':
      return transfer('GET', Number(rest[0]));
    case 'put':
      return transfer('PUT', Number(rest[0]), Number(rest[1] ?? 0));
    case 'udp': {
      const whole: number[] = [];
      for (const size of rest.map(Number)) if (await echo(size)) whole.push(size);
      return whole;
    }
    case 'hosts':
      return hosts(Number(rest[0]), Number(rest[1] ?? 5000), Number(rest[2] ?? 1), Number(rest[3] ?? 1));
    case 'burst':
      return burst(Number(rest[0]), Number(rest[1]));
    case 'stream':
      return stream(Number(rest[0]), Number(rest[1] ?? 1), rest[2] ?? '');
    case 'ask':
      return ask(rest[0] as string, Number(rest[1]), Number(rest[2]));
    case 'idle':
      return idle(Number(rest[0]), Number(rest[1]), Number(rest[2]));
    default:
      throw new Error(`no such task: ${task}`);
  }
}

console.log(JSON.stringify(await run()));

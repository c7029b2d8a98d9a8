/**
 * What clients send down a TCP connection: the records are the pieces in which it comes. The connection ends, its queries are
 * answered or it is cut off, and nothing waits afterwards. All of it happens within the process; some of it over loopback too.
 */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { connect, type Server, type Socket } from 'node:net';
import { FrameReader } from '#nat64d/control/dns64/framing.js';
import { errorReply } from '#nat64d/control/dns64/query.js';
import type { Listener } from '#nat64d/control/dns64/server.js';
import { QueryHandler } from '#nat64d/control/dns64/server.js';
import { newStats } from '#nat64d/control/dns64/stats.js';
import { ConnectionCount, listenTcp } from '#nat64d/control/dns64/tcp-server.js';
import { prefixed, QUIET, unusedPort } from '../conformance/rfc6147/harness.js';
import { rig } from '../helpers/dns-upstream.js';
import { query } from './dns-messages.js';
import type { Case, Runner, Target } from './driver.js';
import { FakeSocket, within } from './fake-socket.js';
import { mutate } from './mutate.js';
import type { Random } from './random.js';

/** One case in so many goes over loopback. */
const OVER_LOOPBACK = 32;

class TcpClients implements Runner {
  readonly #stats = newStats();
  readonly #count = new ConnectionCount();
  #port = 0;
  #listener!: Listener;
  #server!: Server;
  #runs = 0;

  async start(): Promise<this> {
    const { policy } = rig({});
    const handler = new QueryHandler({
      answerer: {
        answer: (asked) =>
          asked.qtype === 28 ? Promise.resolve(errorReply(asked, 3)) : errorReply(asked, 3),
      },
      policies: { policyFor: () => policy },
      mayAsk: () => true,
      stats: this.#stats,
      log: QUIET,
    });
    this.#port = await unusedPort();
    this.#listener = await listenTcp({ address: '127.0.0.1', port: this.#port }, handler, this.#count, QUIET);
    // Its server takes connections within the process too, once it is known.
    const note = (message: unknown) => {
      this.#server = (message as { socket: { server: Server } }).socket.server;
    };
    subscribe('net.server.socket', note);
    await this.#overLoopback([]);
    unsubscribe('net.server.socket', note);
    return this;
  }

  async run(records: Case): Promise<void> {
    checkReader(records);
    const most = framesOf(Buffer.concat(records)).length;
    await this.#check(await this.#within(records), most);
    if (this.#runs++ % OVER_LOOPBACK === 0) await this.#check(await this.#overLoopback(records), most);
  }

  /** Returns what comes back. */
  async #within(records: Case): Promise<Buffer> {
    const socket = new FakeSocket();
    this.#server.emit('connection', socket as unknown as Socket);
    for (const record of records) socket.push(record);
    socket.push(null);
    assert.ok(await within(100, () => socket.closed), 'the connection stays');
    return Buffer.concat(socket.written);
  }

  async #overLoopback(records: Case): Promise<Buffer> {
    const socket = connect(this.#port, '127.0.0.1');
    socket.setNoDelay(true);
    socket.on('error', () => {});
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    for (const record of records) socket.write(record);
    socket.end();
    await once(socket, 'close');
    return Buffer.concat(chunks);
  }

  async #check(answers: Buffer, most: number): Promise<void> {
    while (this.#count.open > 0) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual([this.#stats.pending, this.#count.unsentBytes], [0, 0]);
    assert.ok(framesOf(answers).length <= most, 'more answers than messages');
  }

  async close(): Promise<void> {
    this.#listener.close();
  }
}

function framesOf(stream: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at + 2 <= stream.length; ) {
    const end = at + 2 + stream.readUInt16BE(at);
    if (end > stream.length) break;
    frames.push(stream.subarray(at + 2, end));
    at = end;
  }
  return frames;
}

/** However it is cut into pieces. */
function checkReader(pieces: Case): void {
  const reader = new FrameReader();
  const frames = pieces.flatMap((piece) => reader.push(piece));
  const expected = framesOf(Buffer.concat(pieces));
  assert.equal(frames.length, expected.length);
  for (const [i, frame] of frames.entries()) assert.ok(frame.equals(expected[i] as Buffer));
}

function make(random: Random): Case {
  const messages = Array.from({ length: random.between(1, 4) }, () =>
    prefixed(query(random).subarray(0, 65535)),
  );
  let stream: Buffer = Buffer.concat(messages);
  if (random.oneIn(3)) stream = mutate(random, stream);
  const pieces: Buffer[] = [];
  for (let at = 0; at < stream.length; ) {
    const end = at + random.pick([1, 2, 3, 20, 200, 70_000]);
    pieces.push(stream.subarray(at, end));
    at = end;
  }
  return pieces;
}

export const dnsTcp: Target = {
  name: 'dns-tcp',
  about: 'streams of DNS clients, some of them over loopback',
  wholeCount: 1_000_000,
  shortCount: 5000,
  make,
  open: () => new TcpClients().start(),
};

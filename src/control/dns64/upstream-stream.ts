/**
 * Streams to one forwarder, TCP or TLS: a connection is kept for the queries to come, many of them under way at once, answered
 * in any order (RFC 7766 sections 6.2 and 7).
 */
import { connect, type Socket } from 'node:net';
import { get16, set16 } from '../../wire/bytes.js';
import type { SocketAddress } from '../config/types.js';
import { FrameReader, frame } from './framing.js';
import type { Dns64Stats } from './stats.js';
import { Numbered } from './under-way.js';
import { type Exchange, random16, type Transport } from './upstream-transport.js';

export interface StreamTimes {
  /** Until a connection stands, with TLS's handshake. */
  readonly connectMs: number;
  /** A connection without queries is closed after this long (RFC 7766 section 6.2.3). */
  readonly idleMs: number;
  /** A connection on which queries found only silence for this long is given up: its other end may be gone. */
  readonly stallMs: number;
}
export const STREAM_TIMES: StreamTimes = { connectMs: 4000, idleMs: 10_000, stallMs: 2000 };

/** Queries under way on one connection before another is opened, and the most connections. */
const QUERIES_PER_CONNECTION = 100;
const CONNECTIONS = 4;

interface Waiting {
  readonly query: Buffer;
  readonly exchange: Exchange;
  /** Its connection; null where it is ended. */
  connection: Connection | null;
  id: number;
  /** The first connection closed without an answer. */
  isAgain: boolean;
}

class Connection {
  readonly waiting = new Numbered<Waiting>();
  isReady = false;
  readonly #reader = new FrameReader();
  #timer: NodeJS.Timeout;
  #usedMs = performance.now();
  /** Since when queries have been without any answer; null: none is missing. */
  #silentSinceMs: number | null = null;
  #hasServed = false;
  #isOver = false;

  constructor(
    private readonly owner: StreamTransport,
    private readonly socket: Socket,
    readyEvent: string,
  ) {
    const { times, stats } = owner;
    this.#timer = setTimeout(() => this.over(new Error('no connection in time')), times.connectMs);
    socket.setNoDelay(true);
    socket.on(readyEvent, () => {
      this.isReady = true;
      this.#idleAfter(times.idleMs);
    });
    socket.on('data', (chunk: Buffer) => {
      this.#silentSinceMs = null;
      for (const message of this.#reader.push(chunk)) {
        const found = message.length >= 2 ? this.waiting.get(get16(message, 0)) : undefined;
        if (found?.exchange.onMessage(message) === true) this.#hasServed = true;
        else stats.upstreamMismatches++;
      }
    });
    const closed = () => this.over(new Error('connection closed before the answer'));
    socket.on('error', (error) => this.over(error));
    socket.on('end', closed);
    socket.on('close', closed);
  }

  write(one: Waiting): void {
    this.#usedMs = performance.now();
    this.#silentSinceMs ??= this.#usedMs;
    let id = random16();
    while (this.waiting.has(id)) id = random16();
    this.waiting.add(id, one);
    one.connection = this;
    one.id = id;
    set16(one.query, 0, id);
    this.socket.write(frame(one.query));
  }

  isStalled(nowMs: number): boolean {
    return this.#silentSinceMs !== null && nowMs - this.#silentSinceMs > this.owner.times.stallMs;
  }

  /** Closes it. What waits on a connection that had served gets another one, once: the server may close one at any time. */
  over(error: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.owner.forget(this);
    this.socket.destroy();
    for (const one of this.waiting.all()) {
      // One that has ended meanwhile, with another of the same question.
      if (one.connection !== this) continue;
      if (this.#hasServed && !one.isAgain) {
        one.isAgain = true;
        this.owner.write(one);
      } else one.exchange.onError(error);
    }
  }

  #idleAfter(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const leftMs = this.#usedMs + this.owner.times.idleMs - performance.now();
      if (this.waiting.size === 0 && leftMs <= 0) this.over(new Error('idle'));
      else this.#idleAfter(leftMs > 0 ? leftMs : this.owner.times.idleMs);
    }, ms);
  }
}

/** Queries over connections that a subclass opens. */
export abstract class StreamTransport implements Transport {
  abstract readonly padded: boolean;
  #connections: Connection[] = [];
  #isClosed = false;

  constructor(
    readonly address: SocketAddress,
    readonly stats: Dns64Stats,
    readonly times: StreamTimes = STREAM_TIMES,
  ) {}

  /** Opens a connection, and says which event tells that it stands. */
  protected abstract open(): { socket: Socket; readyEvent: string };

  get isReady(): boolean {
    return this.#connections.some((connection) => connection.isReady);
  }

  send(query: Buffer, exchange: Exchange): () => void {
    const one: Waiting = { query, exchange, connection: null, id: 0, isAgain: false };
    this.write(one);
    return () => {
      one.connection?.waiting.delete(one.id);
      one.connection = null;
    };
  }

  close(): void {
    this.#isClosed = true;
    for (const connection of this.#connections) {
      connection.waiting.clear();
      connection.over(new Error('closed'));
    }
  }

  /** For Connection. */
  write(one: Waiting): void {
    if (!this.#isClosed) this.#connection().write(one);
  }

  /** For Connection: it takes no more queries. */
  forget(connection: Connection): void {
    this.#connections = this.#connections.filter((other) => other !== connection);
  }

  #connection(): Connection {
    const nowMs = performance.now();
    for (const connection of this.#connections) {
      if (connection.isStalled(nowMs)) connection.over(new Error('connection silent for too long'));
    }
    const [first, ...others] = this.#connections;
    const leastBusy = others.reduce(
      (best, one) => (best !== undefined && best.waiting.size <= one.waiting.size ? best : one),
      first,
    );
    const isFull = (leastBusy?.waiting.size ?? 0) >= QUERIES_PER_CONNECTION;
    if (leastBusy !== undefined && !(isFull && this.#connections.length < CONNECTIONS)) return leastBusy;
    const { socket, readyEvent } = this.open();
    const connection = new Connection(this, socket, readyEvent);
    this.#connections.push(connection);
    return connection;
  }
}

/** For answers that came with TC=1. */
export class TcpTransport extends StreamTransport {
  readonly padded = false;

  protected open(): { socket: Socket; readyEvent: string } {
    const { address, port } = this.address;
    return { socket: connect({ host: address, port }), readyEvent: 'connect' };
  }
}

/** A TCP listener on one address (RFC 7766): queries in a pipeline, answers as they come. */
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { type Address6, UNSPECIFIED6 } from '../../wire/address.js';
import type { SocketAddress } from '../config/types.js';
import { type ClientAddress, readAddress } from './access.js';
import { FrameReader, frame } from './framing.js';
import type { Listener, QueryHandler } from './server.js';
import type { Log } from './upstream.js';

export interface TcpLimits {
  /** Connections over all listeners. */
  readonly connections: number;
  readonly queriesPerConnection: number;
  /** Without a whole query, one that waits for its answer, or an answer taken, a connection ends after this long (RFC 7766 section 6.2.3). */
  readonly idleMs: number;
}
export const TCP_LIMITS: TcpLimits = { connections: 1000, queriesPerConnection: 100, idleMs: 10_000 };

/** Answers that a client has not read yet; beyond, no more of its queries are read. */
const MAX_UNSENT_BYTES = 65536;
/** Answers to the queries it has in flight come on top; beyond this, of one connection and of all, it is ended. */
const END_UNSENT_BYTES = 1 << 20;
const END_UNSENT_BYTES_OF_ALL = 64 << 20;

/** One client's connection. */
class Connection {
  readonly #reader = new FrameReader();
  readonly #client: ClientAddress;
  readonly #local: Address6 | null;
  readonly #idle: NodeJS.Timeout;
  /** Messages read and not begun, because too many are being answered. At most what one read brought. */
  #waiting: Buffer[] = [];
  #pending = 0;
  #unsent = 0;
  #ended = false;

  constructor(
    private readonly socket: Socket,
    private readonly handler: QueryHandler,
    private readonly limits: TcpLimits,
    private readonly count: ConnectionCount,
  ) {
    const client = readAddress(socket.remoteAddress ?? '');
    // Without an address it has been closed already.
    this.#client = { words: UNSPECIFIED6, scope: 0, ...client, port: socket.remotePort ?? 0 };
    this.#local = readAddress(socket.localAddress ?? '')?.words ?? null;
    this.#idle = setTimeout(() => {
      // RFC 7766 section 3: idle is who waits for no answer. One comes for every query, or a failure.
      if (this.#pending > 0) this.#idle.refresh();
      else socket.destroy();
    }, limits.idleMs);
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => {
      this.#waiting.push(...this.#reader.push(chunk));
      this.#work();
    });
    socket.on('drain', () => this.#work());
    socket.on('end', () => {
      this.#ended = true;
      this.#work();
    });
    // A reset by the client: 'close' follows.
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(this.#idle);
      this.#note(0);
    });
  }

  #work(): void {
    const mayBegin = () =>
      !this.socket.destroyed &&
      this.#pending < this.limits.queriesPerConnection &&
      this.socket.writableLength < MAX_UNSENT_BYTES;
    let begun = 0;
    while (begun < this.#waiting.length && mayBegin()) this.#begin(this.#waiting[begun++] as Buffer);
    if (begun > 0) this.#waiting = this.#waiting.slice(begun);
    if (!mayBegin()) this.socket.pause();
    else this.socket.resume();
    // The client will ask no more: what it asked is still answered.
    if (this.#ended && this.#pending === 0 && this.#waiting.length === 0) this.socket.end();
  }

  /** Keeps the sum over all connections. */
  #note(unsent: number): void {
    this.count.unsentBytes += unsent - this.#unsent;
    this.#unsent = unsent;
  }

  #begin(query: Buffer): void {
    this.#pending++;
    this.#idle.refresh();
    let now = true;
    this.handler.handle(query, this.#client, this.#local, 'tcp', (answer) => {
      this.#pending--;
      if (this.socket.destroyed) return;
      if (answer === null) {
        // Nothing that a DNS client sends: RFC 7766 leaves nothing to say.
        this.socket.destroy();
        return;
      }
      this.socket.write(frame(answer), () => {
        if (this.socket.destroyed) return;
        this.#idle.refresh();
        this.#note(this.socket.writableLength);
      });
      this.#note(this.socket.writableLength);
      if (this.#unsent > END_UNSENT_BYTES || this.count.unsentBytes > END_UNSENT_BYTES_OF_ALL) {
        this.handler.stats.dropped.slow++;
        this.socket.destroy();
        return;
      }
      if (!now) this.#work();
    });
    now = false;
  }
}

/** Open connections over all listeners, and the bytes that wait in them. */
export class ConnectionCount {
  open = 0;
  unsentBytes = 0;
}

/** Binds and serves. Rejects with the system's error where the address cannot be bound. */
export async function listenTcp(
  address: SocketAddress,
  handler: QueryHandler,
  count: ConnectionCount,
  log: Log,
  limits: TcpLimits = TCP_LIMITS,
): Promise<Listener> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    if (count.open >= limits.connections) {
      handler.stats.dropped.connections++;
      socket.on('error', () => {});
      socket.destroy();
      return;
    }
    count.open++;
    sockets.add(socket);
    socket.on('close', () => {
      count.open--;
      sockets.delete(socket);
    });
    new Connection(socket, handler, limits, count);
  });
  const listening = once(server, 'listening');
  server.listen({ port: address.port, host: address.address, ipv6Only: true, exclusive: true });
  await listening;
  server.on('error', (error) => log.error({ address, error: error.message }, 'DNS64: TCP listener failed'));
  return {
    address,
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

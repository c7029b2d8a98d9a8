/**
 * UDP to one forwarder, hard to forge (RFC 5452): many connected sockets, each on a port the kernel chose at random, and a random id
 * on each query. The kernel lets only datagrams from the forwarder's address and port into a connected socket. A new socket
 * per query would halve throughput, so a socket serves some dozens and then makes way for one on another port.
 */
import { createSocket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { get16, set16 } from '../../wire/bytes.js';
import type { SocketAddress } from '../config/types.js';
import type { Dns64Stats } from './stats.js';
import { Numbered } from './under-way.js';
import { type Exchange, literalLookup, random16, type Transport } from './upstream-transport.js';

const SOCKETS = 256;
const QUERIES_PER_SOCKET = 64;
const SOCKET_LIFETIME_MS = 30_000;
/**
 * Queries in a row that one socket sends in one call, if they come at once: a call costs more than a query. Who forges an answer has
 * the port and the id of each to guess, as ever.
 */
const BURST = 16;
const NOBODY = () => {};

/** A socket connected to the forwarder. */
export interface ConnectedSocket {
  /** Sends: soon, with what else is sent before the running callback ends, or as soon as it is connected. A failure that is this datagram's alone goes to `onUnsent`. */
  send(bytes: Buffer): void;
  close(): void;
}

/** Hears of one connected socket; never from inside the call that opens it. */
export interface SocketListener {
  onDatagram(bytes: Buffer): void;
  onUnsent(bytes: Buffer, error: Error): void;
  /** An error of the whole socket, such as an ICMP port unreachable. */
  onError(error: Error): void;
}

export type OpenSocket = (to: SocketAddress, listener: SocketListener) => ConnectedSocket;

/** By Node's dgram. */
export const openDgram: OpenSocket = ({ address, port }, listener) => {
  const socket = createSocket({ type: isIPv6(address) ? 'udp6' : 'udp4', lookup: literalLookup as never });
  /** What waits until the socket is connected; null when it is. */
  let unsent: Buffer[] | null = [];
  const transmit = (bytes: Buffer) =>
    socket.send(bytes, (error) => {
      if (error !== null) listener.onUnsent(bytes, error);
    });
  socket.on('message', (bytes) => listener.onDatagram(bytes));
  // Without a descriptor left, the error comes from inside `connect`.
  socket.on('error', (error) => process.nextTick(() => listener.onError(error)));
  socket.connect(port, address, (error?: Error) => {
    if (error) {
      listener.onError(error);
      return;
    }
    const waiting = unsent ?? [];
    unsent = null;
    for (const bytes of waiting) transmit(bytes);
  });
  return {
    send: (bytes) => {
      if (unsent === null) transmit(bytes);
      else unsent.push(bytes);
    },
    close: () => {
      unsent = [];
      socket.close();
    },
  };
};

class Channel implements SocketListener {
  readonly waiting = new Numbered<Exchange>();
  readonly socket: ConnectedSocket;
  uses = 0;
  retired = false;

  constructor(
    private readonly owner: UdpTransport,
    readonly slot: number,
    readonly bornMs: number,
    open: OpenSocket,
  ) {
    this.socket = open(owner.address, this);
  }

  onDatagram(bytes: Buffer): void {
    this.owner.giveWay();
    const exchange = bytes.length >= 2 ? this.waiting.get(get16(bytes, 0)) : undefined;
    if (exchange?.onMessage(bytes) !== true) this.owner.stats.upstreamMismatches++;
  }

  onUnsent(bytes: Buffer, error: Error): void {
    this.waiting.get(get16(bytes, 0))?.onError(error);
  }

  /** All that wait on it may go elsewhere. */
  onError(error: Error): void {
    this.owner.retire(this);
    for (const exchange of this.waiting.all()) exchange.onError(error);
  }
}

export class UdpTransport implements Transport {
  readonly padded = false;
  readonly isReady = true;
  readonly #channels = new Array<Channel | undefined>(SOCKETS);
  readonly #all = new Set<Channel>();
  /** That of the queries sent just now, and how many more it takes of them. */
  #burst: Channel | null = null;
  #left = 0;
  readonly #endBurst = () => {
    this.#burst = null;
  };

  constructor(
    readonly address: SocketAddress,
    readonly stats: Dns64Stats,
    private readonly open: OpenSocket,
    /** See Dns64Options. */
    readonly giveWay: () => void = NOBODY,
  ) {}

  send(bytes: Buffer, exchange: Exchange): () => void {
    const channel = this.#burstChannel();
    const { waiting } = channel;
    let id = random16();
    while (waiting.has(id)) id = random16();
    waiting.add(id, exchange);
    channel.uses++;
    set16(bytes, 0, id);
    channel.socket.send(bytes);
    return () => {
      waiting.delete(id);
      if (channel.retired && waiting.size === 0) this.#close(channel);
    };
  }

  close(): void {
    for (const channel of this.#all) this.#close(channel);
  }

  /** It takes no more queries, and closes when none waits on it. For Channel. */
  retire(channel: Channel): void {
    channel.retired = true;
    if (this.#channels[channel.slot] === channel) this.#channels[channel.slot] = undefined;
    if (channel.waiting.size === 0) this.#close(channel);
  }

  #burstChannel(): Channel {
    if (this.#burst === null) process.nextTick(this.#endBurst);
    else if (this.#left > 0 && !this.#burst.retired) {
      this.#left--;
      return this.#burst;
    }
    this.#burst = this.#channel();
    this.#left = BURST - 1;
    return this.#burst;
  }

  #channel(): Channel {
    const slot = random16() % SOCKETS;
    const current = this.#channels[slot];
    const nowMs = performance.now();
    if (current !== undefined) {
      if (current.uses < QUERIES_PER_SOCKET && nowMs - current.bornMs < SOCKET_LIFETIME_MS) return current;
      this.retire(current);
    }
    const channel = new Channel(this, slot, nowMs, this.open);
    this.#channels[slot] = channel;
    this.#all.add(channel);
    return channel;
  }

  #close(channel: Channel): void {
    if (!this.#all.delete(channel)) return;
    if (this.#channels[channel.slot] === channel) this.#channels[channel.slot] = undefined;
    channel.socket.close();
  }
}

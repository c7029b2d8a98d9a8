/**
 * UDP to one forwarder, hard to forge (RFC 5452): many connected sockets, each on a port the kernel chose at random, and a random id
 * on each query. The kernel lets only datagrams from the forwarder's address and port into a connected socket. A new socket
 * per query would halve throughput, so a socket serves some dozens and then makes way for one on another port.
 */
import { randomFillSync } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { get16, set16 } from '../../wire/bytes.js';
import type { SocketAddress } from '../config/types.js';
import type { Dns64Stats } from './stats.js';

const SOCKETS = 256;
const QUERIES_PER_SOCKET = 64;
const SOCKET_LIFETIME_MS = 30_000;

const randomPool = new Uint16Array(2048);
let randomNext = randomPool.length;

/** 16 random bits from the operating system's generator, fetched in bulk. */
export function random16(): number {
  if (randomNext === randomPool.length) {
    randomFillSync(randomPool);
    randomNext = 0;
  }
  return randomPool[randomNext++] as number;
}

/**
 * One datagram sent and not yet given up. `onDatagram` says whether the datagram is the answer; what is not is counted and the wait goes on.
 */
export interface UdpListener {
  onDatagram(bytes: Buffer): boolean;
  /** The socket reports an error: port unreachable, no route. */
  onError(error: Error): void;
}

interface Channel {
  readonly socket: Socket;
  readonly waiting: Map<number, UdpListener>;
  readonly bornMs: number;
  /** Datagrams to send once the socket is connected; null when it is. */
  unsent: Buffer[] | null;
  uses: number;
  retired: boolean;
}

/** The address as it is: dgram's default would go through getaddrinfo's machinery. */
export function literalLookup(
  address: string,
  family: number,
  callback: (error: null, address: string, family: number) => void,
): void {
  callback(null, address, family);
}

export class UdpForwarder {
  readonly #channels = new Array<Channel | undefined>(SOCKETS);
  readonly #all = new Set<Channel>();

  constructor(
    readonly address: SocketAddress,
    private readonly stats: Dns64Stats,
  ) {}

  /**
   * Sends a query whose id it chooses and writes into `bytes`.
   * @returns ends the wait; to be called once, also after an answer.
   */
  send(bytes: Buffer, listener: UdpListener): () => void {
    const channel = this.#channel();
    let id = random16();
    while (channel.waiting.has(id)) id = random16();
    channel.waiting.set(id, listener);
    channel.uses++;
    set16(bytes, 0, id);
    if (channel.unsent !== null) channel.unsent.push(bytes);
    else this.#transmit(channel, bytes);
    return () => {
      channel.waiting.delete(id);
      if (channel.retired && channel.waiting.size === 0) this.#close(channel);
    };
  }

  close(): void {
    for (const channel of this.#all) this.#close(channel);
  }

  #channel(): Channel {
    const slot = random16() % SOCKETS;
    const current = this.#channels[slot];
    if (
      current !== undefined &&
      current.uses < QUERIES_PER_SOCKET &&
      Date.now() - current.bornMs < SOCKET_LIFETIME_MS
    ) {
      return current;
    }
    if (current !== undefined) this.#retire(current);
    const channel = this.#open();
    this.#channels[slot] = channel;
    return channel;
  }

  #open(): Channel {
    const { address, port } = this.address;
    const socket = createSocket({
      type: isIPv6(address) ? 'udp6' : 'udp4',
      lookup: literalLookup as never,
    });
    const channel: Channel = {
      socket,
      waiting: new Map(),
      bornMs: Date.now(),
      unsent: [],
      uses: 0,
      retired: false,
    };
    this.#all.add(channel);
    socket.on('message', (bytes) => this.#receive(channel, bytes));
    socket.on('error', (error) => this.#fail(channel, error));
    socket.connect(port, address, (error?: Error) => {
      if (error) {
        this.#fail(channel, error);
        return;
      }
      const unsent = channel.unsent ?? [];
      channel.unsent = null;
      for (const bytes of unsent) this.#transmit(channel, bytes);
    });
    return channel;
  }

  #transmit(channel: Channel, bytes: Buffer): void {
    channel.socket.send(bytes, (error) => {
      if (error !== null) channel.waiting.get(get16(bytes, 0))?.onError(error);
    });
  }

  #receive(channel: Channel, bytes: Buffer): void {
    const listener = bytes.length >= 2 ? channel.waiting.get(get16(bytes, 0)) : undefined;
    if (listener?.onDatagram(bytes) !== true) this.stats.upstreamMismatches++;
  }

  /** An error of the whole socket, such as an ICMP port unreachable: all that wait on it may go elsewhere. */
  #fail(channel: Channel, error: Error): void {
    this.#retire(channel);
    for (const listener of [...channel.waiting.values()]) listener.onError(error);
  }

  #retire(channel: Channel): void {
    channel.retired = true;
    const slot = this.#channels.indexOf(channel);
    if (slot >= 0) this.#channels[slot] = undefined;
    if (channel.waiting.size === 0) this.#close(channel);
  }

  #close(channel: Channel): void {
    if (!this.#all.delete(channel)) return;
    channel.unsent = null;
    channel.socket.close();
  }
}

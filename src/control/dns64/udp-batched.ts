/**
 * A UDP listener over the addon. One call receives up to 64 datagrams; what is answered at once goes out in one call when all of
 * them have been looked at, and what is answered later is gathered until the turn of the event loop ends.
 *
 * A turn takes one batch, and of those who must be asked for no more than 16, so that whoever shares the thread (new IPv6 hosts
 * wait for their addresses) has his turn soon. The rest of the batch waits for the next one.
 */
import type native from '#native';
import type { Poller } from '#native';
import type { Address6 } from '../../wire/address.js';
import type { SocketAddress } from '../config/types.js';
import { isUnspecified, readAddress } from './access.js';
import { DNS_HEADER } from './message.js';
import { type Listener, NOT_AT_ONCE, type QueryHandler, RESPOND_ROOM } from './server.js';
import type { Log } from './upstream.js';

const BATCH = 64;
/** Queries of a turn that are not answered at once: each costs as much as a dozen that are. */
const SLOW_PER_TURN = 16;
/** More than any query needs. No power of two: else the beginnings of all slots would fall on the same few cache lines. */
const SLOT_BYTES = 1472;
const OUT_BYTES = 2 * BATCH * RESPOND_ROOM;
/** Datagrams that wait here while a batch is under way. */
const RECEIVE_BYTES = 1 << 20;
const SEND_BYTES = 1 << 20;

// Words of a datagram's fields (native/index.d.ts).
const OFFSET = 0;
const LENGTH = 1;
const FAMILY = 2;
const PORT = 3;
const SCOPE = 4;
const ADDRESS = 5;
const LOCAL = 9;

/** Where an answer goes, and from where. */
interface Way {
  readonly words: Address6;
  readonly port: number;
  readonly scope: number;
  readonly family: number;
  readonly local: Address6 | null;
}

/** `last` if the four words at `at` are the same, which they mostly are, or a new address. */
function wordsAt(fields: Int32Array, at: number, last: Address6 | null): Address6 {
  const w0 = fields[at] as number;
  const w1 = fields[at + 1] as number;
  const w2 = fields[at + 2] as number;
  const w3 = fields[at + 3] as number;
  if (last !== null && last[3] === w3 && last[2] === w2 && last[1] === w1 && last[0] === w0) return last;
  return [w0, w1, w2, w3];
}

class BatchedSocket {
  readonly #poller: Poller;
  readonly #ring = Buffer.alloc(BATCH * SLOT_BYTES);
  readonly #slots = [...Array(BATCH).keys()].map((i) =>
    this.#ring.subarray(i * SLOT_BYTES, (i + 1) * SLOT_BYTES),
  );
  readonly #fields: Int32Array;
  readonly #mishaps = new Int32Array(2);
  /** Answers one behind another, and their fields. */
  readonly #out = Buffer.alloc(OUT_BYTES);
  readonly #list: Int32Array;
  readonly #stride: number;
  #used = 0;
  #count = 0;
  #client: Address6 | null = null;
  /** The address that was asked last; of a socket with an address of its own that one. */
  #local: Address6 | null;
  readonly #isWildcard: boolean;
  /** Of the batch received last: the first datagram that waits, how many there are, and those of this turn that took long. */
  #next = 0;
  #got = 0;
  #slow = 0;
  #rest: NodeJS.Immediate | null = null;
  #isReceiving = false;
  #sending: NodeJS.Immediate | null = null;
  #isClosed = false;

  constructor(
    private readonly addon: typeof native,
    private readonly fd: number,
    own: Address6,
    private readonly address: SocketAddress,
    private readonly handler: QueryHandler,
    private readonly log: Log,
  ) {
    this.#stride = addon.UDP_FIELDS;
    this.#fields = new Int32Array(BATCH * this.#stride);
    this.#list = new Int32Array(2 * BATCH * this.#stride);
    this.#isWildcard = isUnspecified(own);
    this.#local = this.#isWildcard ? null : own;
    this.#poller = new addon.Poller(fd, (errno) => this.#receive(errno));
  }

  close(): void {
    this.#isClosed = true;
    this.#poller.stop();
    for (const waiting of [this.#sending, this.#rest]) if (waiting !== null) clearImmediate(waiting);
    this.addon.closeUdp(this.fd);
  }

  #receive(errno: number): void {
    if (errno !== 0) {
      this.log.error({ address: this.address, errno }, 'DNS64: UDP socket failed');
      return;
    }
    if (this.#next === this.#got) {
      this.#next = 0;
      this.#got = this.addon.receiveBatch(
        this.fd,
        this.#ring,
        SLOT_BYTES,
        this.#fields,
        BATCH,
        this.#mishaps,
      );
    }
    this.#slow = 0;
    this.#isReceiving = true;
    this.handler.giveWay();
    while (this.#next < this.#got && this.#slow < SLOW_PER_TURN) {
      const before = this.#slow;
      this.#serve(this.#next++);
      if (this.#slow !== before) this.handler.giveWay();
    }
    this.#isReceiving = false;
    this.#send();
    if (this.#next < this.#got) this.#rest ??= setImmediate(() => this.#goOn());
  }

  /** What is left of a batch; nobody else may tell us of it. */
  #goOn(): void {
    this.#rest = null;
    if (this.#next < this.#got) this.#receive(0);
  }

  #serve(i: number): void {
    const fields = this.#fields;
    const at = i * this.#stride;
    // Port 0 cannot be answered to.
    if (fields[at + PORT] === 0) {
      this.handler.stats.dropped.send++;
      return;
    }
    const client = wordsAt(fields, at + ADDRESS, this.#client);
    this.#client = client;
    if (this.#isWildcard) this.#local = wordsAt(fields, at + LOCAL, this.#local);
    const local = this.#local;
    const slot = this.#slots[i] as Buffer;
    let length = fields[at + LENGTH] as number;
    // Cut off, it is no query: a header alone says so.
    if (length > SLOT_BYTES) length = DNS_HEADER;
    if (!this.#hasRoom(RESPOND_ROOM)) this.#send();
    const written = this.handler.respond(slot, length, client, local, this.#out, this.#used);
    if (written > 0) {
      const to = this.#count * this.#stride;
      for (let word = FAMILY; word < LOCAL; word++) this.#list[to + word] = fields[at + word] as number;
      this.#add(written, local);
    } else if (written === NOT_AT_ONCE) this.#handle(slot, length, at, client, local);
  }

  #handle(slot: Buffer, length: number, at: number, words: Address6, local: Address6 | null): void {
    const way: Way = {
      words,
      port: this.#fields[at + PORT] as number,
      scope: this.#fields[at + SCOPE] as number,
      family: this.#fields[at + FAMILY] as number,
      local,
    };
    this.#slow++;
    // The slot is used again.
    const bytes = Buffer.from(slot.subarray(0, length));
    this.handler.handle(bytes, way, local, 'udp', (answer) => {
      if (answer !== null && !this.#isClosed) this.#queue(answer, way);
    });
  }

  #queue(answer: Buffer, way: Way): void {
    if (!this.#hasRoom(answer.length)) this.#send();
    this.#out.set(answer, this.#used);
    const to = this.#count * this.#stride;
    const list = this.#list;
    list[to + FAMILY] = way.family;
    list[to + PORT] = way.port;
    list[to + SCOPE] = way.scope;
    for (let word = 0; word < 4; word++) list[to + ADDRESS + word] = way.words[word] as number;
    this.#add(answer.length, way.local);
    if (!this.#isReceiving && this.#sending === null) this.#sending = setImmediate(() => this.#send());
  }

  #hasRoom(bytes: number): boolean {
    return this.#used + bytes <= OUT_BYTES && this.#count < 2 * BATCH;
  }

  /** Completes an entry of the list: offset, length and source. The interface stays 0: the way back is the routes' affair. */
  #add(length: number, local: Address6 | null): void {
    const list = this.#list;
    const to = this.#count++ * this.#stride;
    list[to + OFFSET] = this.#used;
    list[to + LENGTH] = length;
    if (this.#isWildcard && local !== null) {
      for (let word = 0; word < 4; word++) list[to + LOCAL + word] = local[word] as number;
    }
    this.#used += length;
  }

  #send(): void {
    if (this.#sending !== null) {
      clearImmediate(this.#sending);
      this.#sending = null;
    }
    if (this.#count === 0) return;
    const sent = this.addon.sendBatch(this.fd, this.#out, this.#list, this.#count, this.#mishaps);
    this.handler.stats.dropped.send += this.#count - sent;
    this.#count = 0;
    this.#used = 0;
  }
}

/** Binds and serves. Throws the system's error where the address cannot be bound. */
export function listenUdpBatched(
  addon: typeof native,
  address: SocketAddress,
  handler: QueryHandler,
  log: Log,
): Listener {
  const own = readAddress(address.address);
  if (own === null) throw new Error(`${address.address} is not an IP address`);
  const { fd, port } = addon.openUdp({
    address: Int32Array.from(own.words),
    port: address.port,
    scope: own.scope,
    packetInfo: isUnspecified(own.words),
    receiveBytes: RECEIVE_BYTES,
    sendBytes: SEND_BYTES,
  });
  const socket = new BatchedSocket(addon, fd, own.words, address, handler, log);
  return { address: { address: address.address, port }, close: () => socket.close() };
}

/** One client of the control socket. Whatever it sends or does not read, it costs a bounded amount and holds nobody up. */
import type { Socket } from 'node:net';
import * as z from 'zod';
import { VERSION } from '../version.js';
import {
  clientHello,
  clientRequest,
  encodeMessage,
  MAX_REPLY,
  MAX_REQUEST,
  MessageReader,
  PROTOCOL_VERSION,
  RequestError,
  type ServerMessage,
} from './protocol.js';
import type { RequestQueue } from './queue.js';
import { checkedArguments, runRequest, type Surroundings } from './requests.js';
import { type Outlet, type Subscription, startSubscription } from './subscriptions.js';

/** Output that a client has not read yet, beyond which it is cut off. One reply is always let out. */
const MAX_BACKLOG = 1024 * 1024;
const MAX_IN_FLIGHT = 8;
const MAX_SUBSCRIPTIONS = 4;
const HELLO_MS = 5000;

const unsubscribeArguments = z.strictObject({ subscription: z.number() });

export interface ConnectionLimits {
  readonly backlogBytes: number;
  readonly helloMs: number;
}

export const CONNECTION_LIMITS: ConnectionLimits = { backlogBytes: MAX_BACKLOG, helloMs: HELLO_MS };

export class Connection {
  readonly #socket: Socket;
  readonly #limits: ConnectionLimits;
  /** Undefined while the gateway starts or ends. */
  readonly #surroundings: () => Surroundings | undefined;
  readonly #reader = new MessageReader(MAX_REQUEST);
  readonly #subscriptions = new Map<number, Subscription>();
  #nextSubscription = 1;
  #inFlight = 0;
  #isGreeted = false;
  #isRetired = false;
  /** Shared by all clients. */
  readonly #queue: RequestQueue;

  constructor(
    socket: Socket,
    surroundings: () => Surroundings | undefined,
    queue: RequestQueue,
    limits: ConnectionLimits,
  ) {
    this.#socket = socket;
    this.#queue = queue;
    this.#surroundings = surroundings;
    this.#limits = limits;
    const timer = setTimeout(() => this.#refuse(null, 'protocol', 'no hello came in time'), limits.helloMs);
    socket.on('data', (chunk: Buffer) => {
      this.#read(chunk);
      if (this.#isGreeted) clearTimeout(timer);
    });
    socket.on('error', () => socket.destroy());
    // Nothing is sent to who says no more, though it may yet read what it has asked for.
    socket.once('end', () => this.#endSubscriptions());
    socket.once('close', () => {
      clearTimeout(timer);
      this.#endSubscriptions();
    });
  }

  /** Takes no more requests; ends once those under way are answered. */
  retire(): void {
    this.#isRetired = true;
    this.#endSubscriptions();
    this.#stopReading();
    if (this.#inFlight === 0) this.#end();
  }

  #endSubscriptions(): void {
    for (const subscription of this.#subscriptions.values()) subscription.close();
    this.#subscriptions.clear();
  }

  /** What it still sends is not looked at. */
  #stopReading(): void {
    this.#socket.removeAllListeners('data');
    this.#socket.resume();
  }

  #end(): void {
    this.#socket.end();
    // A client that does not close is not waited for.
    setTimeout(() => this.#socket.destroy(), 1000).unref();
  }

  #read(chunk: Buffer): void {
    try {
      for (const message of this.#reader.read(chunk)) {
        if (this.#isRetired || this.#socket.destroyed || this.#socket.writableEnded) return;
        this.#take(message);
      }
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#refuse(null, 'bad-message', message);
    }
  }

  #take(message: unknown): void {
    if (message instanceof Error) {
      this.#send(errorReply(null, new RequestError('bad-message', `no MessagePack: ${message.message}`)));
    } else if (!this.#isGreeted) {
      this.#greet(message);
    } else {
      const parsed = clientRequest.safeParse(message);
      if (!parsed.success) {
        const text = 'a request is a map of id (a whole number), request (a name) and arguments (a map)';
        this.#send(errorReply(idOf(message), new RequestError('bad-message', text)));
        return;
      }
      const { id, request, arguments: given } = parsed.data;
      if (this.#inFlight >= MAX_IN_FLIGHT) {
        const text = `${MAX_IN_FLIGHT} requests are under way already; wait for a reply`;
        this.#send(errorReply(id, new RequestError('busy', text)));
        return;
      }
      this.#inFlight++;
      const isWanted = () => !this.#socket.destroyed;
      void this.#queue
        .run(() => this.#answer(request, given), isWanted)
        .then(
          (result) => this.#finish({ id, result }),
          (error: unknown) => this.#finish(errorReply(id, error)),
        );
    }
  }

  #finish(reply: ServerMessage): void {
    this.#inFlight--;
    this.#send(reply);
    if (this.#isRetired && this.#inFlight === 0) this.#end();
  }

  #greet(message: unknown): void {
    const parsed = clientHello.safeParse(message);
    if (!parsed.success) {
      this.#refuse(idOf(message), 'protocol', 'the first message is { hello: NAME, protocol: VERSION }');
    } else if (parsed.data.protocol !== PROTOCOL_VERSION) {
      const text = `this gateway (nat64d ${VERSION}) speaks version ${PROTOCOL_VERSION} of the protocol, not ${parsed.data.protocol}: use the nat64ctl that came with it`;
      this.#refuse(null, 'protocol', text);
    } else {
      this.#isGreeted = true;
      this.#send({ hello: 'nat64d', protocol: PROTOCOL_VERSION, version: VERSION, pid: process.pid });
    }
  }

  async #answer(request: string, given: unknown): Promise<unknown> {
    const surroundings = this.#surroundings();
    if (surroundings === undefined) {
      throw new RequestError('unavailable', 'the gateway is starting or stopping; ask again in a moment');
    }
    // Its end has ended them all.
    if (request === 'subscribe' && (this.#isRetired || this.#socket.writableEnded))
      throw new RequestError('unavailable', 'this socket is closed');
    if (request === 'subscribe') return this.#subscribe(given, surroundings);
    if (request === 'unsubscribe') return this.#unsubscribe(given);
    return runRequest(request, given, surroundings);
  }

  #subscribe(given: unknown, surroundings: Surroundings): { subscription: number } {
    if (this.#subscriptions.size >= MAX_SUBSCRIPTIONS) {
      throw new RequestError('busy', `a connection has at most ${MAX_SUBSCRIPTIONS} subscriptions`);
    }
    const subscription = this.#nextSubscription++;
    const socket = this.#socket;
    const outlet: Outlet = {
      surroundings: this.#surroundings,
      send: (event) => this.#send({ subscription, event }),
      get isFull() {
        return socket.writableNeedDrain;
      },
      onceRead: (then) => {
        socket.once('drain', then);
        return () => void socket.off('drain', then);
      },
    };
    this.#subscriptions.set(subscription, startSubscription(given, surroundings, outlet));
    return { subscription };
  }

  #unsubscribe(given: unknown): object {
    const { subscription } = checkedArguments(unsubscribeArguments, given);
    const found = this.#subscriptions.get(subscription);
    if (found === undefined) throw new RequestError('not-found', `there is no subscription ${subscription}`);
    this.#subscriptions.delete(subscription);
    return found.finish();
  }

  #refuse(id: number | null, code: 'protocol' | 'bad-message', message: string): void {
    if (this.#socket.writableEnded) return;
    this.#stopReading();
    this.#send(errorReply(id, new RequestError(code, message)));
    this.#end();
  }

  #send(message: ServerMessage): void {
    const socket = this.#socket;
    if (socket.destroyed || socket.writableEnded) return;
    if (socket.writableLength > this.#limits.backlogBytes) {
      socket.destroy();
      return;
    }
    socket.write(encodeReply(message));
  }
}

/** In place of what cannot be told, an error that can. */
function encodeReply(message: ServerMessage): Buffer {
  const id = 'id' in message ? message.id : null;
  try {
    const bytes = encodeMessage(message);
    if (bytes.length <= MAX_REPLY) return bytes;
    return encodeMessage(errorReply(id, new RequestError('failed', 'the reply is too long')));
  } catch (error) {
    return encodeMessage(errorReply(id, error));
  }
}

function errorReply(id: number | null, error: unknown): ServerMessage & { id: number | null } {
  const isOurs = error instanceof RequestError;
  const message = error instanceof Error ? error.message : String(error);
  return { id, error: { code: isOurs ? error.code : 'failed', message } };
}

function idOf(message: unknown): number | null {
  const id: unknown = typeof message === 'object' && message !== null ? Reflect.get(message, 'id') : null;
  return Number.isSafeInteger(id) ? (id as number) : null;
}

/** The other end of the control socket, for nat64ctl and tests. */
import { connect, type Socket } from 'node:net';
import {
  clientHello,
  type ErrorBody,
  encodeMessage,
  type Hello,
  MAX_REPLY,
  MessageReader,
  PROTOCOL_VERSION,
} from './protocol.js';

const HELLO_MS = 5000;

/** The gateway answered with an error. */
export class ReplyError extends Error {
  readonly code: ErrorBody['code'];

  constructor({ code, message }: ErrorBody) {
    super(message);
    this.code = code;
  }
}

interface Waiting {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class ControlClient {
  readonly #socket: Socket;
  readonly #reader = new MessageReader(MAX_REPLY);
  readonly #waiting = new Map<number, Waiting>();
  readonly #listeners = new Map<number, (event: unknown) => void>();
  #nextId = 1;
  #greet: Waiting | undefined;
  #end: Error | undefined;
  /** Resolves with the reason when the connection is over. */
  readonly closed: Promise<Error>;
  #onClosed: (error: Error) => void = () => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.closed = new Promise((resolve) => {
      this.#onClosed = resolve;
    });
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const message of this.#reader.read(chunk)) this.#take(message);
      } catch (error) {
        this.#finish(error as Error);
      }
    });
    socket.on('error', (error) => this.#finish(error));
    socket.once('close', () => this.#finish(new Error('the gateway has closed the connection')));
  }

  /** Connects and says hello. Rejects with the socket's error, with a ReplyError, or where no hello comes back in time. */
  static async connect(path: string, helloMs = HELLO_MS): Promise<ControlClient> {
    const client = new ControlClient(connect(path));
    const silence = `what listens there says nothing, not within ${helloMs / 1000} s: it hangs, or is no nat64d`;
    const timer = setTimeout(() => client.#finish(new Error(silence)), helloMs);
    try {
      await new Promise<unknown>((resolve, reject) => {
        client.#greet = { resolve, reject };
        client.#socket.write(encodeMessage({ hello: 'nat64ctl', protocol: PROTOCOL_VERSION }));
      });
    } catch (error) {
      client.close();
      throw error;
    } finally {
      clearTimeout(timer);
    }
    return client;
  }

  /** Rejects with a ReplyError, or with an Error where the connection ends. */
  request(request: string, arguments_: object = {}): Promise<unknown> {
    return this.#ask(request, arguments_, (result) => result);
  }

  /** @param take is given the result before any message behind it is read */
  #ask<T>(request: string, arguments_: object, take: (result: unknown) => T): Promise<T> {
    if (this.#end !== undefined) return Promise.reject(this.#end);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve: (result) => resolve(take(result)), reject });
      this.#socket.write(encodeMessage({ id, request, arguments: arguments_ }));
    });
  }

  /** Calls back with each event, until the connection is closed. The number of the subscription. */
  subscribe(topic: string, arguments_: object, onEvent: (event: unknown) => void): Promise<number> {
    return this.#ask('subscribe', { topic, ...arguments_ }, (result) => {
      const { subscription } = result as { subscription: number };
      this.#listeners.set(subscription, onEvent);
      return subscription;
    });
  }

  close(): void {
    this.#socket.end();
    this.#socket.destroy();
  }

  #take(message: unknown): void {
    if (message instanceof Error || typeof message !== 'object' || message === null) {
      throw new Error('what answers is no nat64d');
    }
    const { id, result, error, subscription, event } = message as Record<string, unknown>;
    if (this.#greet !== undefined) {
      if (error !== undefined) this.#greet.reject(new ReplyError(error as ErrorBody));
      else if (clientHello.safeParse(message).success) this.#greet.resolve(message as Hello);
      else this.#greet.reject(new Error('what answers is no nat64d'));
      this.#greet = undefined;
    } else if (typeof subscription === 'number') {
      this.#listeners.get(subscription)?.(event);
    } else if (id === null && error !== undefined) {
      this.#finish(new ReplyError(error as ErrorBody));
    } else {
      const waiting = this.#waiting.get(id as number);
      this.#waiting.delete(id as number);
      if (error !== undefined) waiting?.reject(new ReplyError(error as ErrorBody));
      else waiting?.resolve(result);
    }
  }

  #finish(error: Error): void {
    if (this.#end !== undefined) return;
    this.#end = error;
    this.#greet?.reject(error);
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
    this.#socket.destroy();
    this.#onClosed(error);
  }
}

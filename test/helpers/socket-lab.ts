/** A control socket in a folder of its own, and clients that are as rude as a test wants. */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ControlClient } from '#nat64d/control/control-socket/client.js';
import { encodeMessage, MAX_REPLY, MessageReader } from '#nat64d/control/control-socket/protocol.js';
import { ControlSocket, type ControlSocketOptions } from '#nat64d/control/control-socket/server.js';
import type { TestSubject } from './subject.js';

export const HELLO = encodeMessage({ hello: 'test', protocol: 1 });

export class SocketLab {
  readonly folder = mkdtempSync(join(tmpdir(), 'nat64d-ctl-'));
  readonly path = join(this.folder, 'run', 'control.sock');
  readonly #closing: (() => unknown)[] = [];

  async open(
    subject: TestSubject | undefined,
    options: Partial<ControlSocketOptions> = {},
  ): Promise<ControlSocket> {
    const control = await ControlSocket.open({
      path: this.path,
      group: null,
      subject: () => subject,
      ...options,
    });
    this.#closing.push(() => control.close());
    return control;
  }

  async client(): Promise<ControlClient> {
    const client = await ControlClient.connect(this.path);
    this.#closing.push(() => client.close());
    return client;
  }

  async raw(...bytes: Uint8Array[]): Promise<Raw> {
    const raw = new Raw(connect(this.path));
    this.#closing.push(() => raw.socket.destroy());
    await once(raw.socket, 'connect');
    for (const chunk of bytes) raw.socket.write(chunk);
    return raw;
  }

  /** Ends what was opened first. */
  async closeFirst(): Promise<void> {
    await this.#closing.shift()?.();
  }

  async close(): Promise<void> {
    for (const close of this.#closing.reverse()) await close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

type Message = Record<string, unknown> & { error?: { code: string; message: string } };

/** A connection whose messages are made by hand. */
export class Raw {
  readonly messages: Message[] = [];
  readonly closed: Promise<unknown>;
  #wake = () => {};

  constructor(readonly socket: Socket) {
    const reader = new MessageReader(MAX_REPLY);
    this.closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      for (const message of reader.read(chunk)) this.messages.push(message as Message);
      this.#wake();
    });
  }

  /** The message with this number, from 0. */
  async message(index: number): Promise<Message> {
    while (this.messages.length <= index) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.messages[index] as Message;
  }
}

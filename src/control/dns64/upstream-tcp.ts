/** One question to one forwarder over TCP (RFC 7766), for answers that came with TC=1. */
import { connect } from 'node:net';
import { set16 } from '../../wire/bytes.js';
import type { SocketAddress } from '../config/types.js';
import { FrameReader, frame } from './framing.js';
import { random16 } from './upstream-udp.js';

export interface TcpListener {
  /** Says whether the message is the answer. */
  onMessage(bytes: Buffer): boolean;
  onError(error: Error): void;
}

/**
 * Asks and ends the connection after the answer. The id is chosen here.
 * @returns ends the connection; may be called at any time, any number of times.
 */
export function askOverTcp(address: SocketAddress, query: Buffer, listener: TcpListener): () => void {
  set16(query, 0, random16());
  const reader = new FrameReader();
  let done = false;
  const socket = connect({ host: address.address, port: address.port, noDelay: true });
  const end = () => {
    done = true;
    socket.destroy();
  };
  const fail = (error: Error) => {
    if (done) return;
    end();
    listener.onError(error);
  };
  socket.on('connect', () => socket.write(frame(query)));
  socket.on('data', (chunk: Buffer) => {
    for (const message of reader.push(chunk)) {
      if (!done && listener.onMessage(message)) end();
    }
  });
  socket.on('error', fail);
  socket.on('close', () => fail(new Error('connection closed before the answer')));
  return end;
}

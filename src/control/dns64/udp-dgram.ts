/** A UDP listener over Node's own sockets. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';
import type { Address6 } from '../../wire/address.js';
import type { SocketAddress } from '../config/types.js';
import { isUnspecified, readAddress } from './access.js';
import { type Listener, NOT_AT_ONCE, type QueryHandler, RESPOND_ROOM } from './server.js';
import type { Log } from './upstream.js';
import { literalLookup } from './upstream-transport.js';

/** Binds and serves. Rejects with the system's error where the address cannot be bound. */
export async function listenUdpDgram(
  address: SocketAddress,
  handler: QueryHandler,
  log: Log,
): Promise<Listener> {
  const ipv6 = isIPv6(address.address);
  const socket: Socket = createSocket({
    type: ipv6 ? 'udp6' : 'udp4',
    // The IPv4 wildcard is another listener's.
    ipv6Only: ipv6,
    lookup: literalLookup as never,
  });
  const own = readAddress(address.address)?.words ?? null;
  const local: Address6 | null = own === null || isUnspecified(own) ? null : own;
  let closed = false;
  const countRefused = (error: Error | null) => {
    if (error !== null) handler.stats.dropped.send++;
  };
  const answer = (bytes: Buffer | null, to: RemoteInfo) => {
    if (bytes !== null && !closed) socket.send(bytes, to.port, to.address, countRefused);
  };
  socket.on('message', (bytes, from) => {
    const client = readAddress(from.address);
    // Port 0 cannot be answered to.
    if (client === null || from.port === 0) {
      handler.stats.dropped.send++;
      return;
    }
    const out = Buffer.allocUnsafe(RESPOND_ROOM);
    const length = handler.respond(bytes, bytes.length, client.words, local, out, 0);
    if (length > 0) answer(out.subarray(0, length), from);
    else if (length === NOT_AT_ONCE)
      handler.handle(bytes, { ...client, port: from.port }, local, 'udp', (reply) => answer(reply, from));
  });
  const listening = once(socket, 'listening');
  try {
    socket.bind({ port: address.port, address: address.address, exclusive: true });
    await listening;
  } catch (error) {
    socket.close();
    throw error;
  }
  socket.on('error', (error) => log.error({ address, error: error.message }, 'DNS64: UDP socket failed'));
  return {
    address: { address: address.address, port: socket.address().port },
    close: () => {
      closed = true;
      socket.close();
    },
  };
}

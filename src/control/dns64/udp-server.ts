/** A UDP listener on one address. */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv6 } from 'node:net';
import type { SocketAddress } from '../config/types.js';
import type { QueryHandler } from './server.js';
import type { Log } from './upstream.js';
import { literalLookup } from './upstream-udp.js';

export interface Listener {
  readonly address: SocketAddress;
  close(): void;
}

/** Binds and serves. Rejects with the system's error where the address cannot be bound. */
export async function listenUdp(address: SocketAddress, handler: QueryHandler, log: Log): Promise<Listener> {
  const ipv6 = isIPv6(address.address);
  const socket: Socket = createSocket({
    type: ipv6 ? 'udp6' : 'udp4',
    // The IPv4 wildcard is another listener's.
    ipv6Only: ipv6,
    lookup: literalLookup as never,
  });
  const drop = (error: Error | null) => {
    if (error !== null) handler.stats.dropped.send++;
  };
  let closed = false;
  socket.on('message', (bytes, client) => {
    handler.handle(bytes, client.address, 'udp', (answer) => {
      // Port 0 cannot be answered to.
      if (answer !== null && !closed && client.port !== 0)
        socket.send(answer, client.port, client.address, drop);
    });
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

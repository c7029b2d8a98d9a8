/**
 * A UDP listener on one address: over the addon, or over Node's own sockets where it is absent. The addon moves many datagrams a
 * call, and answers from the address that was asked; Node's sockets leave that to the kernel on a socket of all addresses.
 */
import type { SocketAddress } from '../config/types.js';
import { udpAddon } from './native-udp.js';
import type { Listener, QueryHandler } from './server.js';
import { listenUdpBatched } from './udp-batched.js';
import { listenUdpDgram } from './udp-dgram.js';
import type { Log } from './upstream.js';

/** Binds and serves. Rejects with the system's error where the address cannot be bound. */
export async function listenUdp(
  address: SocketAddress,
  handler: QueryHandler,
  log: Log,
  addon = udpAddon,
): Promise<Listener> {
  return addon === null
    ? listenUdpDgram(address, handler, log)
    : listenUdpBatched(addon, address, handler, log);
}

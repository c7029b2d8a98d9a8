/** Listening on an address over UDP and TCP, with patience, and with words for what is in the way. */
import { setTimeout as sleep } from 'node:timers/promises';
import { showSocketAddress as show } from '../config/socket-address.js';
import type { SocketAddress } from '../config/types.js';
import { portHolder } from './port-holder.js';
import type { Listener, QueryHandler } from './server.js';
import { type ConnectionCount, listenTcp, type TcpLimits } from './tcp-server.js';
import { listenUdp } from './udp-server.js';
import type { Log } from './upstream.js';

/** What of the configuration could not be done: an address not listened on, a forwarder refused. */
export interface Dns64Failure {
  readonly address: SocketAddress;
  /** The message says what to do. */
  readonly error: Error;
}

const BIND_PAUSE_MS = 100;

/** An error with what an administrator needs to mend it. */
function listenError(address: SocketAddress, cause: NodeJS.ErrnoException): Error {
  const transport = cause.syscall === 'listen' ? 'TCP' : 'UDP';
  const key = 'Or change the key "listen" of [dns64].';
  const where = `DNS64 cannot listen on ${show(address)} (${transport})`;
  const holder =
    cause.code === 'EADDRINUSE' ? portHolder(transport === 'TCP' ? 'tcp' : 'udp', address) : null;
  const advice: Record<string, string> = {
    EADDRINUSE:
      holder === null
        ? `the port is taken. To see who holds it, as root: ss -ln${transport === 'TCP' ? 't' : 'u'}p sport = :${address.port}. ${key}`
        : `the port is taken by ${holder}. Stop it, or give it another port or address. ${key}`,
    EACCES: `no permission for this port. Run as root, or with CAP_NET_BIND_SERVICE. ${key}`,
    EADDRNOTAVAIL: `no interface has this address. To see those there are: ip addr. ${key}`,
  };
  return new Error(`${where}: ${advice[cause.code ?? ''] ?? `${cause.message}. ${key}`}`, { cause });
}

/** Its error is made when somebody reads it: to find who holds a port, all processes are looked through. */
class ListenFailure implements Dns64Failure {
  #error: Error | undefined;

  constructor(
    readonly address: SocketAddress,
    private readonly cause: Error,
  ) {}

  get error(): Error {
    this.#error ??= listenError(this.address, this.cause);
    return this.#error;
  }
}

/** UDP and TCP on one address, or neither. */
export async function listenBoth(
  address: SocketAddress,
  handler: QueryHandler,
  count: ConnectionCount,
  limits: TcpLimits,
  log: Log,
): Promise<Listener[]> {
  const udp = await listenUdp(address, handler, log);
  try {
    // Port 0 became a number.
    return [udp, await listenTcp(udp.address, handler, count, log, limits)];
  } catch (error) {
    udp.close();
    throw error;
  }
}

/** An address may not be there yet: an IPv6 one is tentative for a second or two (RFC 4862 section 5.4). */
export async function listenPatiently(
  address: SocketAddress,
  retryMs: number,
  listen: () => Promise<Listener[]>,
): Promise<Listener[] | Dns64Failure> {
  const deadlineMs = performance.now() + retryMs;
  for (;;) {
    try {
      return await listen();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const mayPass = code === 'EADDRNOTAVAIL' || (code === 'EADDRINUSE' && address.port === 0);
      if (!mayPass || performance.now() >= deadlineMs) return new ListenFailure(address, error as Error);
      await sleep(BIND_PAUSE_MS);
    }
  }
}

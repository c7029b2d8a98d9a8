/** DNS64: a forwarding name server that gives IPv6-only clients AAAA records for hosts that have only A (RFC 6147). */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Prefix4, Prefix6 } from '../../wire/address.js';
import type { SocketAddress } from '../config/types.js';
import { clientFilter } from './access.js';
import { ANSWER_TIMES, Answerer, type AnswerTimes } from './answer.js';
import { readResolvConf, withoutOurselves } from './resolvers.js';
import { QueryHandler } from './server.js';
import { type Dns64Stats, newStats } from './stats.js';
import { defaultExclusions } from './synthesize.js';
import { ConnectionCount, listenTcp, TCP_LIMITS, type TcpLimits } from './tcp-server.js';
import { type Listener, listenUdp } from './udp-server.js';
import { type Log, UPSTREAM_TIMES, Upstream, type UpstreamTimes } from './upstream.js';

export type { Dns64Stats } from './stats.js';

export interface Dns64Options {
  readonly listen: readonly SocketAddress[];
  /** In order of preference. Empty: those of resolv.conf, but for ourselves. */
  readonly forwarders: readonly SocketAddress[];
  readonly pref64: Prefix6;
  /** The Well-Known Prefix represents no non-global IPv4 address, as in the data plane. */
  readonly wkpfStrict: boolean;
  /** Clients that may ask. Null: loopback, link-local, unique-local and private ranges and `ownNetworks`. */
  readonly allowFrom: readonly (Prefix4 | Prefix6)[] | null;
  /** What these networks are now: asked again when a client is in none of them. */
  readonly ownNetworks: () => readonly (Prefix4 | Prefix6)[];
  readonly log: Log;
  /** Default /etc/resolv.conf. */
  readonly resolvConf?: string;
  /** For tests; defaults are UPSTREAM_TIMES, ANSWER_TIMES, TCP_LIMITS, and 3 s of tries to bind. */
  readonly upstreamTimes?: Partial<UpstreamTimes>;
  readonly answerTimes?: Partial<AnswerTimes>;
  readonly tcpLimits?: Partial<TcpLimits>;
  readonly bindRetryMs?: number;
  readonly maxPending?: number;
}

/** What of the configuration could not be done: an address not listened on, a forwarder refused. */
export interface Dns64Failure {
  readonly address: SocketAddress;
  /** The message says what to do. */
  readonly error: Error;
}

export interface Dns64 {
  /** Addresses served over UDP and TCP, with the port in use. */
  readonly listening: readonly SocketAddress[];
  readonly forwarders: readonly SocketAddress[];
  readonly failures: readonly Dns64Failure[];
  readonly stats: Dns64Stats;
  /** Closes all sockets; queries in flight go without an answer. */
  close(): Promise<void>;
}

const BIND_RETRY_MS = 3000;
const BIND_PAUSE_MS = 100;

const show = ({ address, port }: SocketAddress) =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

/** An error with what an administrator needs to mend it. */
function listenError(address: SocketAddress, cause: NodeJS.ErrnoException): Error {
  const transport = cause.syscall === 'listen' ? 'TCP' : 'UDP';
  const key = 'Or change the key "listen" of [dns64].';
  const where = `DNS64 cannot listen on ${show(address)} (${transport})`;
  const advice: Record<string, string> = {
    EADDRINUSE: `the port is taken. To see who holds it: ss -ln${transport === 'TCP' ? 't' : 'u'}p sport = :${address.port}. ${key}`,
    EACCES: `no permission for this port. Run as root, or with CAP_NET_BIND_SERVICE. ${key}`,
    EADDRNOTAVAIL: `no interface has this address. To see those there are: ip addr. ${key}`,
  };
  return new Error(`${where}: ${advice[cause.code ?? ''] ?? `${cause.message}. ${key}`}`, { cause });
}

/** UDP and TCP on one address, or neither. */
async function listenBoth(
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
async function listenPatiently(
  address: SocketAddress,
  retryMs: number,
  listen: () => Promise<Listener[]>,
): Promise<Listener[] | Dns64Failure> {
  const deadline = Date.now() + retryMs;
  for (;;) {
    try {
      return await listen();
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const mayPass = code === 'EADDRNOTAVAIL' || (code === 'EADDRINUSE' && address.port === 0);
      if (!mayPass || Date.now() >= deadline) return { address, error: listenError(address, error as Error) };
      await sleep(BIND_PAUSE_MS);
    }
  }
}

function chooseForwarders(options: Dns64Options, failures: Dns64Failure[]): readonly SocketAddress[] {
  const { log, listen } = options;
  const path = options.resolvConf ?? '/etc/resolv.conf';
  const fromSystem = options.forwarders.length === 0;
  const { forwarders, ourselves } = withoutOurselves(
    fromSystem ? readResolvConf(path) : options.forwarders,
    listen,
  );
  for (const address of ourselves) {
    if (fromSystem) log.debug({ address }, `${path} names this gateway as name server; not forwarded to`);
    else {
      const text = `DNS64 listens on ${show(address)} itself and cannot forward to it. Change the key "forwarders" of [dns64].`;
      failures.push({ address, error: new Error(text) });
    }
  }
  if (forwarders.length === 0) {
    const source = fromSystem ? `${path} names none` : 'all configured ones are this gateway';
    log.warn({}, `DNS64 has no name server to ask: ${source}. Set the key "forwarders" of [dns64].`);
  }
  return forwarders;
}

/** Starts what can be started; the rest is in `failures`. Does not reject for an address or a forwarder. */
export async function startDns64(options: Dns64Options): Promise<Dns64> {
  const { log } = options;
  const stats = newStats();
  const failures: Dns64Failure[] = [];
  const forwarders = chooseForwarders(options, failures);
  const upstream = new Upstream(forwarders, stats, log, { ...UPSTREAM_TIMES, ...options.upstreamTimes });
  const pref64s = [options.pref64];
  const policy = { pref64s, excludedAaaa: defaultExclusions(pref64s), wkpfStrict: options.wkpfStrict };
  const answerer = new Answerer(policy, upstream, stats, { ...ANSWER_TIMES, ...options.answerTimes });
  const mayAsk = clientFilter(options.allowFrom, options.ownNetworks);
  const handler = new QueryHandler(answerer, mayAsk, stats, log, options.maxPending);
  const count = new ConnectionCount();
  const limits = { ...TCP_LIMITS, ...options.tcpLimits };
  const results = await Promise.all(
    options.listen.map((address) =>
      listenPatiently(address, options.bindRetryMs ?? BIND_RETRY_MS, () =>
        listenBoth(address, handler, count, limits, log),
      ),
    ),
  );
  const listeners: Listener[] = [];
  const listening: SocketAddress[] = [];
  for (const result of results) {
    if (Array.isArray(result)) {
      listeners.push(...result);
      listening.push((result[0] as Listener).address);
    } else failures.push(result);
  }
  return {
    listening,
    forwarders,
    failures,
    stats,
    close: async () => {
      for (const listener of listeners) listener.close();
      upstream.close();
      // The answers to queries in flight are settled in microtasks; counters are at rest when this resolves.
      while (stats.pending > 0) await sleep(1);
    },
  };
}

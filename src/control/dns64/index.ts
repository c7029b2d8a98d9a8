/** DNS64: a forwarding name server that gives IPv6-only clients AAAA records for hosts that have only A (RFC 6147). */
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Prefix4, Prefix6 } from '../../wire/address.js';
import { showForwarder } from '../config/forwarder.js';
import { DEFAULT_NAMES, type NamesConfig } from '../config/synthesis.js';
import type { ForwarderConfig, SocketAddress } from '../config/types.js';
import { ListenerSet, type Ready } from '../listener-set.js';
import { clientFilter, readAddress } from './access.js';
import { ANSWER_TIMES, Answerer, type AnswerTimes } from './answer.js';
import { CoarseClock } from './clock.js';
import { ServerCookies } from './cookies.js';
import { type ExplainOptions, type Explanation, explainName } from './explain.js';
import { FastPath } from './fast-path.js';
import { FollowedListeners } from './followed-listeners.js';
import { type Dns64Failure, listenBoth, listenPatiently } from './listening.js';
import { LocalZones } from './local-zones.js';
import { CacheOperations, type CacheStats, type ShownEntry } from './operate.js';
import { type Policy, PolicySet } from './policy.js';
import { RateLimit } from './rate-limit.js';
import { Resolver } from './resolve.js';
import { followResolvConf, readResolvConf, withoutOurselves } from './resolvers.js';
import { type HandlerParts, type Listener, QueryHandler } from './server.js';
import { type Dns64Stats, newStats } from './stats.js';
import { ConnectionCount, TCP_LIMITS, type TcpLimits } from './tcp-server.js';
import { type ForwarderState, type Log, Upstream, type UpstreamTimes } from './upstream.js';

export type { ExplainOptions, Explanation } from './explain.js';
export type { Dns64Failure } from './listening.js';
export type { CacheStats, ShownEntry } from './operate.js';
export type { Dns64Stats } from './stats.js';
export type { ForwarderState } from './upstream.js';

export interface Dns64Options {
  readonly listen: readonly SocketAddress[];
  /** In order of preference. Empty: those of resolv.conf, but for ourselves. */
  readonly forwarders: readonly ForwarderConfig[];
  /** The translator's prefix: where `names` has none. */
  readonly pref64: Prefix6;
  /** The Well-Known Prefix represents no non-global IPv4 address, as in the data plane. */
  readonly wkpfStrict: boolean;
  /** What clients get; default: DEFAULT_NAMES. */
  readonly names?: Partial<NamesConfig>;
  /** Clients that may ask. Null: loopback, link-local, unique-local and private ranges and `ownNetworks`. */
  readonly allowFrom: readonly (Prefix4 | Prefix6)[] | null;
  /** What these networks are now: asked again when a client is in none of them. */
  readonly ownNetworks: () => readonly (Prefix4 | Prefix6)[];
  /** Addresses to listen on beside `listen`, as they are now: asked again each second, for they come and go. */
  readonly followed?: () => readonly SocketAddress[];
  /** Memory for the cache; default CACHE_SIZE_BYTES, 0: none. */
  readonly cacheSizeBytes?: number;
  /** How long after its time an answer may be given where there is no other (RFC 8767); default 0: not. */
  readonly serveStaleSec?: number;
  /** Whether popular names are asked for again before their answers end; default true. */
  readonly prefetch?: boolean;
  /** UDP answers a second for a client prefix; 0 or left out: no limit. */
  readonly rateLimit?: number;
  /** Answer DNS cookies (RFC 7873); left out: yes. */
  readonly cookies?: boolean;
  readonly log: Log;
  /**
   * Called between two pieces of work, many times in a turn of the event loop: whoever shares the thread does what cannot wait for
   * its end.
   */
  readonly giveWay?: () => void;
  /** Default /etc/resolv.conf. */
  readonly resolvConf?: string;
  /** Default false. */
  readonly randomizeCase?: boolean;
  /** Certificates to trust for TLS and HTTPS instead of the well-known ones, PEM. */
  readonly ca?: string;
  /** Ask the forwarders once at start, to warn if none answers. Default true. */
  readonly checkForwarders?: boolean;
  /** Defaults are UPSTREAM_TIMES, ANSWER_TIMES, TCP_LIMITS, 2 s between looks at resolv.conf, and 3 s of tries to bind. */
  readonly followMs?: number;
  readonly upstreamTimes?: Partial<UpstreamTimes>;
  readonly answerTimes?: Partial<AnswerTimes>;
  readonly tcpLimits?: Partial<TcpLimits>;
  readonly bindRetryMs?: number;
  readonly maxPending?: number;
}

export interface Dns64 {
  /** Addresses served over UDP and TCP, with the port in use. */
  readonly listening: readonly SocketAddress[];
  readonly forwarders: readonly ForwarderConfig[];
  /** How each of them does. */
  readonly forwarderStates: readonly ForwarderState[];
  readonly failures: readonly Dns64Failure[];
  readonly stats: Dns64Stats;
  /** How full the cache is. */
  cacheStats(): CacheStats;
  /** What forwarders said, of `name` and below or of all, the most used first. Throws where `name` is none. */
  cacheEntries(limit?: number, name?: string): readonly ShownEntry[];
  /** Forgets `name` and below, or all; how many answers of forwarders that were. Throws where `name` is none. */
  flush(name?: string): number;
  /** Answers a query and tells how. Rejects where name, type or client are none. */
  explain(name: string, type: string, options?: ExplainOptions): Promise<Explanation>;
  /** The prefixes of [dns64] that answers are made under, in order. */
  readonly prefixes: readonly Prefix6[];
  /** Others from the next query on, at least one, until the next `reload`. Those that stay keep what was said of them. */
  usePrefixes(prefixes: readonly Prefix6[]): void;
  /** Whether `usePrefixes` has made something else of it than its options say. */
  readonly isAdjusted: boolean;
  /** Tries again where of `listen` it could not be listened; says what succeeds. */
  listenAgain(): Promise<void>;
  /**
   * Listens where other options say, too; rejects where that, or another part of them, cannot be done. The sockets before stay open until
   * `commit`, which must be followed by `reload`.
   */
  prepare(options: Dns64Options): Promise<Ready>;
  /** Brings other options into force, but for `listen`. The sockets stay open, and queries in flight are answered. */
  reload(options: Dns64Options): void;
  /** Closes all sockets; queries in flight go without an answer. */
  close(): Promise<void>;
}

export const CACHE_SIZE_BYTES = 64 * 2 ** 20;
const NOBODY = () => {};
const RESOLV_CONF = '/etc/resolv.conf';
const BIND_RETRY_MS = 3000;

/** What is listened on, as it is now. */
const listeningOn = ({ listen, followed }: Dns64Options) => [...listen, ...(followed?.() ?? [])];

/** Those of the configured forwarders that are ourselves. */
function forwardersRefused(options: Dns64Options): Dns64Failure[] {
  return withoutOurselves(options.forwarders, listeningOn(options)).ourselves.map((address) => {
    const text = `DNS64 listens on ${showForwarder(address)} itself and cannot forward to it. Change the key "forwarders" of [dns64].`;
    return { address, error: new Error(text) };
  });
}

/** @param named what resolv.conf names; null: the forwarders are configured */
function chooseForwarders(
  options: Dns64Options,
  named: readonly ForwarderConfig[] | null,
  failures: Dns64Failure[],
): readonly ForwarderConfig[] {
  const { log } = options;
  const path = options.resolvConf ?? RESOLV_CONF;
  const { forwarders, ourselves } = withoutOurselves(named ?? options.forwarders, listeningOn(options));
  if (named === null) failures.push(...forwardersRefused(options));
  else {
    for (const address of ourselves)
      log.debug({ address }, `${path} names this gateway as name server; not forwarded to`);
  }
  if (forwarders.length === 0) {
    const source = named !== null ? `${path} names none` : 'all configured ones are this gateway';
    log.warn({}, `DNS64 has no name server to ask: ${source}. Set the key "forwarders" of [dns64].`);
  }
  return forwarders;
}

/** What answers, without the sockets that clients ask at. Other options replace as little of it as they can. */
class Core {
  readonly failures: Dns64Failure[] = [];
  isAdjusted = false;
  readonly handler: QueryHandler;
  upstream: Upstream;
  cache: CacheOperations;
  #policies: PolicySet;
  #answerer: Answerer;
  #resolver: Resolver;
  #fastPath: FastPath;
  readonly #clock = new CoarseClock();
  /** Those before a reload, until what they were asked is answered. */
  readonly #retired = new Map<Upstream, NodeJS.Timeout>();
  #unfollow = () => {};

  constructor(
    private options: Dns64Options,
    readonly stats: Dns64Stats,
  ) {
    const forwarders = this.#forwarders();
    this.upstream = this.#newUpstream(forwarders);
    [this.#resolver, this.#fastPath, this.cache] = this.#newCache();
    this.#policies = this.#newPolicies();
    this.#answerer = this.#newAnswerer();
    const { log, maxPending } = options;
    this.handler = new QueryHandler({ ...this.#parts(null), stats, log, maxPending });
  }

  /** From the next query on. */
  use(options: Dns64Options): void {
    const before = this.options;
    this.options = options;
    this.isAdjusted = false;
    this.failures.length = 0;
    const asks = ({ upstreamTimes, randomizeCase, ca }: Dns64Options) => ({
      upstreamTimes,
      randomizeCase,
      ca,
    });
    const forwarders = this.#forwarders();
    if (isDeepStrictEqual(asks(before), asks(options))) this.#setForwarders(forwarders);
    else this.#replaceUpstream(forwarders);
    const keeps = ({ cacheSizeBytes, serveStaleSec, prefetch }: Dns64Options) => ({
      cacheSizeBytes,
      serveStaleSec,
      prefetch,
    });
    if (!isDeepStrictEqual(keeps(before), keeps(options))) {
      [this.#resolver, this.#fastPath, this.cache] = this.#newCache();
    }
    // The ids of policies begin anew. An answer kept is made at one go, of what is in the cache: none for an old one comes later.
    this.#fastPath.flush(null);
    this.#policies = this.#newPolicies();
    this.#answerer = this.#newAnswerer();
    this.handler.use(this.#parts(before));
  }

  get prefixes(): readonly Prefix6[] {
    return this.#policyOf(undefined).pref64s.map(({ prefix }) => prefix);
  }

  usePrefixes(prefixes: readonly Prefix6[]): void {
    const { pref64s } = this.#policyOf(undefined);
    const others = prefixes.map(
      (prefix) =>
        pref64s.find((one) => isDeepStrictEqual(one.prefix, prefix)) ?? { prefix, ipv4: [], excludeAaaa: [] },
    );
    this.use({ ...this.options, names: { ...this.options.names, pref64s: others } });
    this.isAdjusted = true;
  }

  explain(name: string, type: string, options: ExplainOptions = {}): Promise<Explanation> {
    return explainName(this.#answerer, this.#policyOf(options.client), name, type, options);
  }

  close(): void {
    this.#unfollow();
    for (const [upstream, timer] of this.#retired) {
      clearTimeout(timer);
      upstream.close();
    }
    this.upstream.close();
  }

  /** Without a client: that of [dns64] itself. */
  #policyOf(client: string | undefined): Policy {
    if (client === undefined) return this.#policies.all[0] as Policy;
    const address = readAddress(client);
    if (address === null) throw new Error(`'${client}' is not an IP address`);
    return this.#policies.policyFor(address.words, null);
  }

  /** Those to ask; where they are the system's, they are followed from now on. */
  #forwarders(): readonly ForwarderConfig[] {
    const { options } = this;
    this.#unfollow();
    this.#unfollow = () => {};
    if (options.forwarders.length > 0) return chooseForwarders(options, null, this.failures);
    const { log, followMs } = options;
    const path = options.resolvConf ?? RESOLV_CONF;
    const named = readResolvConf(path);
    const take = (servers: readonly ForwarderConfig[]) => {
      const { forwarders } = withoutOurselves(servers, listeningOn(options));
      const names = forwarders.map(showForwarder);
      const text = `${path} has changed; asking ${names.join(', ') || 'nobody'}`;
      log.info({ event: 'dns64-forwarders', forwarders: names }, text);
      this.#setForwarders(forwarders);
    };
    this.#unfollow = followResolvConf(path, named, take, followMs);
    return chooseForwarders(options, named, this.failures);
  }

  /** Others may say other things: what is known is known of those before. */
  #setForwarders(forwarders: readonly ForwarderConfig[]): void {
    if (isDeepStrictEqual(forwarders, this.upstream.forwarders)) return;
    this.upstream.setForwarders(forwarders);
    this.cache.flush();
  }

  #newUpstream(forwarders: readonly ForwarderConfig[]): Upstream {
    const { upstreamTimes = {}, randomizeCase = false, ca, log } = this.options;
    const giveWay = () => this.options.giveWay?.();
    return new Upstream(forwarders, this.stats, log, { times: upstreamTimes, randomizeCase, ca, giveWay });
  }

  #replaceUpstream(forwarders: readonly ForwarderConfig[]): void {
    const old = this.upstream;
    const isSame = isDeepStrictEqual(forwarders, old.forwarders);
    this.upstream = this.#newUpstream(forwarders);
    this.#resolver.use(this.upstream);
    if (!isSame) this.cache.flush();
    const retire = () => {
      this.#retired.delete(old);
      old.close();
    };
    this.#retired.set(old, setTimeout(retire, old.times.budgetMs).unref());
  }

  /** Half for what forwarders said, half for finished answers. */
  #newCache(): [Resolver, FastPath, CacheOperations] {
    const { cacheSizeBytes = CACHE_SIZE_BYTES, serveStaleSec = 0, prefetch = true } = this.options;
    const sizeBytes = Math.floor(cacheSizeBytes / 2);
    const keeping = { sizeBytes, serveStaleSec, prefetch };
    const resolver = new Resolver(this.upstream, this.stats, keeping, this.#clock);
    const fastPath = new FastPath(sizeBytes, this.#clock, this.stats);
    return [resolver, fastPath, new CacheOperations(cacheSizeBytes, resolver, fastPath)];
  }

  #newPolicies(): PolicySet {
    const { pref64, wkpfStrict } = this.options;
    return new PolicySet({ names: { ...DEFAULT_NAMES, ...this.options.names }, pref64, wkpfStrict });
  }

  #newAnswerer(): Answerer {
    const { privateZones } = { ...DEFAULT_NAMES, ...this.options.names };
    const zones = new LocalZones(privateZones, () => this.upstream.forwarders);
    const times = { ...ANSWER_TIMES, ...this.options.answerTimes };
    return new Answerer(zones, this.#resolver, this.#fastPath, this.stats, times);
  }

  /** What clients have had of cookies and rates stays theirs, where it may. */
  #parts(before: Dns64Options | null): Omit<HandlerParts, 'stats' | 'log'> {
    const { allowFrom, ownNetworks, rateLimit = 0, cookies = true, giveWay = NOBODY } = this.options;
    return {
      answerer: this.#answerer,
      policies: this.#policies,
      fastPath: this.#fastPath,
      giveWay,
      mayAsk: clientFilter(allowFrom, ownNetworks),
      isOwnQuery: (id, question) =>
        [this.upstream, ...this.#retired.keys()].some((one) => one.isOwnQuery(id, question)),
      ...(before !== null && (before.rateLimit ?? 0) === rateLimit
        ? {}
        : { rateLimit: rateLimit > 0 ? new RateLimit(rateLimit) : undefined }),
      ...(before !== null && (before.cookies ?? true) === cookies
        ? {}
        : { cookies: cookies ? new ServerCookies() : undefined }),
    };
  }
}

/** Starts what can be started; the rest is in `failures`. Does not reject for an address or a forwarder. */
export async function startDns64(options: Dns64Options): Promise<Dns64> {
  const { log } = options;
  const stats = newStats();
  const core = new Core(options, stats);
  const { handler } = core;
  const count = new ConnectionCount();
  const limits = { ...TCP_LIMITS, ...options.tcpLimits };
  const listen = (address: SocketAddress, retryMs: number) =>
    listenPatiently(address, retryMs, () => listenBoth(address, handler, count, limits, log));
  const listeners = new ListenerSet<readonly Listener[]>(
    (address) => listen(address, options.bindRetryMs ?? BIND_RETRY_MS),
    (both) => {
      for (const listener of both) listener.close();
    },
  );
  await listeners.start(options.listen);
  const followed = new FollowedListeners(options.followed ?? (() => []), log, (address) =>
    listen(address, 0),
  );
  await followed.start();
  if (options.checkForwarders !== false) void core.upstream.checkReachable();
  return {
    get listening() {
      return [...listeners.listeners.map(([udp]) => (udp as Listener).address), ...followed.listening];
    },
    get forwarders() {
      return core.upstream.forwarders;
    },
    get forwarderStates() {
      return core.upstream.forwarderStates;
    },
    get failures() {
      return [...core.failures, ...listeners.failures, ...followed.failures];
    },
    stats,
    get prefixes() {
      return core.prefixes;
    },
    get isAdjusted() {
      return core.isAdjusted;
    },
    usePrefixes: (prefixes) => core.usePrefixes(prefixes),
    cacheStats: () => core.cache.stats(),
    cacheEntries: (limit, name) => core.cache.entries(limit, name),
    flush: (name) => core.cache.flush(name),
    explain: async (name, type, how) => core.explain(name, type, how),
    listenAgain: async () => {
      for (const address of await listeners.retry())
        log.info(
          { event: 'dns64-listening', address },
          `DNS64: listening on ${address.address} port ${address.port}`,
        );
    },
    prepare: async (changed) => {
      const refused = forwardersRefused(changed);
      if (refused.length > 0) throw new Error(refused.map(({ error }) => error.message).join('\n'));
      return listeners.prepare(changed.listen);
    },
    reload: (changed) => {
      core.use(changed);
      followed.use(changed.followed ?? (() => []));
      Object.assign(limits, TCP_LIMITS, changed.tcpLimits);
    },
    close: async () => {
      await followed.close();
      await listeners.close();
      core.close();
      // The answers to queries in flight are settled in microtasks; counters are at rest when this resolves.
      while (stats.pending > 0) await sleep(1);
    },
  };
}

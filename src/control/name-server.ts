/** DNS64 by a configuration: beside a gateway, or alone. */
import { isDeepStrictEqual } from 'node:util';
import { DEFAULT_NAMES, type NamesConfig } from './config/synthesis.js';
import type { GatewayConfig, SocketAddress } from './config/types.js';
import { type Dns64, type Dns64Options, startDns64 } from './dns64/index.js';
import { connectedNetworks, interfaceSockets } from './kernel-addresses.js';
import type { Ready } from './listener-set.js';
import { type Log, silent } from './log.js';

/** What of a configuration DNS64 depends on. */
export type NameServerConfig = Pick<GatewayConfig, 'dns64' | 'pref64' | 'wkpfStrict' | 'pool4'> & {
  /** Of the interfaces' addresses, those to listen on. Default: all. */
  readonly families?: { readonly ipv4: boolean; readonly ipv6: boolean };
  /** Beside `listen`, these and no others, whatever the interfaces have: for who may not open a socket any more. */
  readonly frozen?: readonly SocketAddress[];
};

/** Whether two configurations differ in nothing that DNS64 depends on. */
export function isSameNameServer(a: NameServerConfig, b: NameServerConfig): boolean {
  const of = ({ dns64, pref64, wkpfStrict, pool4 }: NameServerConfig) => ({
    dns64,
    pref64,
    wkpfStrict,
    pool4,
  });
  return isDeepStrictEqual(of(a), of(b));
}

/** The part of it that says what names and clients get. */
export function namesOf({ dns64 }: Pick<NameServerConfig, 'dns64'>): NamesConfig {
  const keys = Object.keys(DEFAULT_NAMES) as (keyof NamesConfig)[];
  return Object.fromEntries(keys.map((key) => [key, dns64[key]])) as unknown as NamesConfig;
}

/** What DNS64 is started with; null where the configuration has none. */
function optionsOf(config: NameServerConfig, log: Log, giveWay = () => {}): Dns64Options | null {
  const { dns64, wkpfStrict, pool4 } = config;
  const prefixes = dns64.pref64s.map(({ prefix }) => prefix);
  const pref64 = config.pref64 ?? prefixes[0];
  if (!dns64.enabled || pref64 === undefined) return null;
  const { ipv4, ipv6 } = config.families ?? { ipv4: true, ipv6: true };
  const own = [...prefixes, ...(config.pref64 === null ? [] : [config.pref64])];
  return {
    listen: dns64.listen,
    followed: () =>
      config.frozen ??
      interfaceSockets(dns64.interfaces, dns64.port).filter(({ address }) =>
        address.includes(':') ? ipv6 : ipv4,
      ),
    forwarders: dns64.forwarders,
    ...(dns64.forwardersCa === null ? {} : { ca: dns64.forwardersCa.text }),
    pref64,
    wkpfStrict,
    names: namesOf(config),
    allowFrom: dns64.allowFrom,
    ownNetworks: () => [...own, ...(pool4 === null ? [] : [pool4]), ...connectedNetworks()],
    cacheSizeBytes: dns64.cacheSizeBytes,
    prefetch: dns64.prefetch,
    serveStaleSec: dns64.serveStaleSec,
    cookies: dns64.cookies,
    rateLimit: dns64.rateLimit,
    tcpLimits: { connections: dns64.tcpConnections, idleMs: dns64.tcpIdleSec * 1000 },
    randomizeCase: dns64.randomizeCase,
    upstreamTimes: { retryMs: dns64.retrySec * 1000 },
    log,
    giveWay,
  };
}

/**
 * Starts DNS64 if the configuration has it: what could not be done of it is in `failures`.
 * @param giveWay see Dns64Options
 */
export async function startNameServer(
  config: NameServerConfig,
  log: Log,
  giveWay?: () => void,
): Promise<Dns64 | undefined> {
  const options = optionsOf(config, log, giveWay);
  if (options === null) return undefined;
  for (const name of config.dns64.interfaces) {
    if (name === '*' || interfaceSockets([name], config.dns64.port).length > 0) continue;
    log.warn(
      { event: 'no-address', interface: name },
      `there is no interface ${name} with an address now: DNS64 listens there once there is one`,
    );
  }
  return startDns64(options);
}

/** Where DNS64 listens now and would not any more. */
export function leftAddresses(before: NameServerConfig, after: NameServerConfig): readonly SocketAddress[] {
  if (optionsOf(before, silent) === null) return [];
  const stays = optionsOf(after, silent) === null ? [] : after.dns64.listen;
  const has = ({ address, port }: SocketAddress) =>
    stays.some((one) => one.address === address && one.port === port);
  return before.dns64.listen.filter((address) => !has(address));
}

/**
 * Prepares another configuration: listens where it says beside where it listens now. Rejects, with every reason, where that cannot be
 * done. Listeners stay open where their addresses stay the same.
 */
export async function prepareNameServer(
  running: Dns64 | undefined,
  after: NameServerConfig,
  log: Log,
  giveWay?: () => void,
): Promise<Ready<Dns64 | undefined>> {
  const options = optionsOf(after, log, giveWay);
  if (options === null) {
    return {
      undo: () => {},
      commit: async () => {
        await running?.close();
        return undefined;
      },
    };
  }
  if (running === undefined) {
    const started = await startDns64(options);
    if (started.failures.length > 0) {
      const message = started.failures.map(({ error }) => error.message).join('\n');
      await started.close();
      throw new Error(message);
    }
    return { undo: () => started.close(), commit: () => started };
  }
  const listeners = await running.prepare(options);
  return {
    undo: () => listeners.undo(),
    commit: async () => {
      running.reload(options);
      await listeners.commit();
      return running;
    },
  };
}

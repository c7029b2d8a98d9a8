/** What of a configuration concerns the kernel's side of the device. */
import { isDeepStrictEqual } from 'node:util';
import {
  formatAddress4,
  formatAddress6,
  formatPrefix4,
  formatPrefix6,
  type Prefix4,
  type Prefix6,
  prefix4Contains,
  prefix6Contains,
} from '../../wire/address.js';
import type { GatewayConfig, InterfaceAddress } from '../config/types.js';
import { atOnce, type Sliced } from '../slices.js';

/** A prefix whose packets the kernel hands to the device. */
export interface NetdevRoute {
  readonly family: 4 | 6;
  /** Text, always with a length. */
  readonly prefix: string;
  /** The configuration key it comes from, for messages. */
  readonly key: string;
}

export interface NetdevSettings {
  readonly device: string;
  /** Without it, only `up`, `addresses` and `routes` are set. */
  readonly configure: boolean;
  readonly up: boolean;
  readonly mtu: number;
  readonly addresses: readonly InterfaceAddress[];
  readonly routes: readonly NetdevRoute[];
  /** Whether to turn forwarding on in the kernel. */
  readonly forwarding: boolean;
  readonly masquerade: boolean | string;
  /** The source addresses to masquerade. */
  readonly masqueradeSource: Prefix4 | null;
  readonly runDir: string;
}

/** The address with its length, as `ip address` writes it. */
export function formatInterfaceAddress(address: InterfaceAddress): string {
  const text = address.family === 4 ? formatAddress4(address.address) : formatAddress6(address.address);
  return `${text}/${address.length}`;
}

/** The prefixes that `routes` under [device] names. */
function listedRoutes({ device }: GatewayConfig): NetdevRoute[] {
  return device.routes.map((route) =>
    typeof route.address === 'number'
      ? { family: 4, prefix: formatPrefix4(route as Prefix4), key: 'routes' }
      : { family: 6, prefix: formatPrefix6(route as Prefix6), key: 'routes' },
  );
}

/** Every prefix that must reach the translator: pref64, the pool, the maps' IPv4 side, and its own two addresses. */
function* routesOf(config: GatewayConfig): Sliced<NetdevRoute[]> {
  const { pref64, pool4, maps, ipv4Address, ipv6Address } = config;
  const prefixes4 = [...(pool4 === null ? [] : [pool4]), ...maps.map((map) => map.ipv4)];
  const routes = new Map<string, NetdevRoute>();
  const add = (route: NetdevRoute) => {
    if (!routes.has(route.prefix)) routes.set(route.prefix, route);
  };
  if (pref64 !== null) add({ family: 6, prefix: formatPrefix6(pref64), key: 'pref64' });
  if (pref64 === null || !prefix6Contains(pref64, ipv6Address)) {
    add({ family: 6, prefix: `${formatAddress6(ipv6Address)}/128`, key: 'ipv6-address' });
  }
  for (const prefix of prefixes4) {
    yield;
    add({ family: 4, prefix: formatPrefix4(prefix), key: prefix === pool4 ? 'pool4' : 'map' });
  }
  if (!prefixes4.some((prefix) => prefix4Contains(prefix, ipv4Address))) {
    add({ family: 4, prefix: `${formatAddress4(ipv4Address)}/32`, key: 'ipv4-address' });
  }
  for (const route of listedRoutes(config)) add(route);
  return [...routes.values()];
}

/** The settings of the device that a configuration asks for. */
export function netdevSettings(config: GatewayConfig): NetdevSettings {
  return atOnce(buildNetdevSettings(config));
}

/** The same in slices. */
export function* buildNetdevSettings(config: GatewayConfig): Sliced<NetdevSettings> {
  const { name, configure, up, mtu, addresses, forwarding, masquerade } = config.device;
  return {
    device: name,
    configure,
    up,
    mtu,
    addresses,
    routes: configure ? yield* routesOf(config) : listedRoutes(config),
    forwarding,
    masquerade,
    masqueradeSource: config.pool4,
    runDir: config.runDir,
  };
}

/** Whether two settings ask for the same. */
export function areSameSettings(a: NetdevSettings, b: NetdevSettings): boolean {
  const isSame = (route: NetdevRoute, index: number) => route.prefix === b.routes[index]?.prefix;
  if (a.routes.length !== b.routes.length || !a.routes.every(isSame)) return false;
  return isDeepStrictEqual({ ...a, routes: [] }, { ...b, routes: [] });
}

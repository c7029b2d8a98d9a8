/** What an interface's router advertisement tells, and how it takes back what one before it has told. */
import { isDeepStrictEqual } from 'node:util';
import { type Address6, parseAddress6 } from '../../wire/address.js';
import type { RouterAdvertisement, Timed } from '../../wire/router-discovery.js';
import type { AdvertiseConfig, GatewayConfig, SocketAddress } from '../config/types.js';
import type { Link } from '../kernel-addresses.js';

/** RFC 8106 section 5.3.1: hosts need keep no more than three. */
const DNS_SERVERS = 3;
/** No key for these: long enough for a weekend's outage of ours, short enough for a network that is renumbered. */
const VALID_SEC = 86_400;
const PREFERRED_SEC = 14_400;
/** Of each kind: an advertisement must never be fragmented (RFC 6980 section 5), whatever comes and goes. */
const MAX_ENDED = 8;

/** What of a configuration the advertisements depend on. */
export type AdvertisedConfig = Pick<GatewayConfig, 'advertise' | 'pref64'>;

/** How long hosts believe what they are told: by default three of the longest intervals (RFC 8781 section 4.1, RFC 8106 section 5.1). */
export function lifetimeSec({ lifetimeSec: given, intervalSec }: AdvertiseConfig): number {
  return given ?? 3 * intervalSec;
}

/** @param listening where DNS64 answers */
export function contentsOf(
  { advertise, pref64 }: AdvertisedConfig,
  link: Link,
  listening: readonly SocketAddress[],
): RouterAdvertisement {
  const timed = <T>(of: T): Timed<T> => ({ of, lifetimeSec: lifetimeSec(advertise) });
  const pref64s = pref64 === null ? [] : [timed(pref64)];
  return {
    routerLifetimeSec: advertise.routerLifetimeSec,
    linkLayerAddress: link.linkLayerAddress,
    mtu: advertise.mtu,
    prefixes:
      advertise.prefix === null
        ? []
        : [{ of: advertise.prefix, validSec: VALID_SEC, preferredSec: PREFERRED_SEC }],
    routes: advertise.route ? pref64s : [],
    pref64s,
    dnsServers: (advertise.dnsServers ?? reachableServers(link, listening)).map(timed),
  };
}

/**
 * The addresses that hosts of the link can ask, the best kind that there is: those of the interface itself, its link-local one, or
 * others of this machine, which need a route. An option cannot say another port than 53.
 */
function reachableServers(link: Link, listening: readonly SocketAddress[]): Address6[] {
  const texts = listening.filter(({ port }) => port === 53).map(({ address }) => address);
  const here = texts.includes('::') ? link.addresses : link.addresses.filter((own) => includes(texts, own));
  const isLinkLocalServed = texts.some((text) => text === '::' || text.endsWith(`%${link.name}`));
  const others = texts
    .map(parseAddress6)
    .filter((address): address is Address6 => address !== null && !isOnlyForItself(address));
  if (here.length > 0) return here.slice(0, DNS_SERVERS);
  return isLinkLocalServed ? [link.linkLocal] : others.slice(0, DNS_SERVERS);
}

function includes(texts: readonly string[], address: Address6): boolean {
  return texts.some((text) => isDeepStrictEqual(parseAddress6(text), address));
}

/** :: and ::1. */
function isOnlyForItself([w0, w1, w2, w3]: Address6): boolean {
  return w0 === 0 && w1 === 0 && w2 === 0 && (w3 === 0 || w3 === 1);
}

/** The next advertisement with what the one before had told and this does not, at an end: of lifetime 0. */
export function withdrawing(next: RouterAdvertisement, before: RouterAdvertisement): RouterAdvertisement {
  return {
    ...next,
    prefixes: [
      ...next.prefixes,
      ...missing(before.prefixes, next.prefixes).map((one) => ({ ...one, validSec: 0, preferredSec: 0 })),
    ],
    routes: [...next.routes, ...ended(before.routes, next.routes)],
    pref64s: [...next.pref64s, ...ended(before.pref64s, next.pref64s)],
    dnsServers: [...next.dnsServers, ...ended(before.dnsServers, next.dnsServers)],
  };
}

/** What tells hosts that nothing of it holds any more (RFC 4861 section 6.2.5). */
export function goodbyeTo(before: RouterAdvertisement): RouterAdvertisement {
  const nothing = { prefixes: [], routes: [], pref64s: [], dnsServers: [] };
  return withdrawing({ ...before, ...nothing, routerLifetimeSec: 0 }, before);
}

function missing<T extends { readonly of: unknown }>(before: readonly T[], next: readonly T[]): T[] {
  return before.filter(({ of }) => !next.some((one) => isDeepStrictEqual(one.of, of))).slice(0, MAX_ENDED);
}

function ended<T>(before: readonly Timed<T>[], next: readonly Timed<T>[]): Timed<T>[] {
  return missing(before, next).map(({ of }) => ({ of, lifetimeSec: 0 }));
}

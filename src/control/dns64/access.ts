/** Clients: their addresses, and who of them may ask. */
import {
  type Address6,
  equalAddress6,
  maskAddress6,
  type Prefix4,
  type Prefix6,
  parseAddress4,
  parseAddress6,
  parsePrefix4,
  parsePrefix6,
  UNSPECIFIED6,
} from '../../wire/address.js';
import { interfaces } from '../kernel-addresses.js';

type Prefix = Prefix4 | Prefix6;

/** Where a query came from. */
export interface ClientAddress {
  /** IPv4 as ::ffff:a.b.c.d. */
  readonly words: Address6;
  readonly port: number;
  /** Index of the interface where the address is link-local; else 0. */
  readonly scope: number;
}

/** Third word of an IPv4 address that is written as an IPv6 one (RFC 4291 section 2.5.5.2). */
const MAPPED = 0xffff;
const MAPPED_LENGTH = 96;

export const mappedAddress = (ipv4: number): Address6 => [0, 0, MAPPED, ipv4 | 0];

export const isMapped = (words: Address6): boolean => words[0] === 0 && words[1] === 0 && words[2] === MAPPED;

/** 0.0.0.0 or `::`. */
export const isUnspecified = (words: Address6): boolean =>
  equalAddress6(words, UNSPECIFIED6) || equalAddress6(words, mappedAddress(0));

/** The index of an interface by its name, or by itself; 0 where there is none. */
function scopeOf(zone: string): number {
  if (/^[0-9]+$/.test(zone)) return Number(zone);
  const addresses = interfaces()[zone] ?? [];
  for (const one of addresses) if (one.family === 'IPv6' && one.scopeid !== 0) return one.scopeid;
  return 0;
}

/** Reads an address in text as Node gives it, IPv4 or IPv6, a zone such as `%eth0` allowed. Null if it is none. */
export function readAddress(text: string): { words: Address6; scope: number } | null {
  const ipv4 = parseAddress4(text);
  if (ipv4 !== null) return { words: mappedAddress(ipv4), scope: 0 };
  const zone = text.indexOf('%');
  const words = parseAddress6(zone < 0 ? text : text.slice(0, zone));
  return words === null ? null : { words, scope: zone < 0 ? 0 : scopeOf(text.slice(zone + 1)) };
}

/** Loopback, link-local, unique-local and private ranges: never an open resolver by default. */
const DEFAULT_CLIENTS: readonly Prefix[] = [
  ...['127.0.0.0/8', '169.254.0.0/16', '10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'].map(
    (text) => parsePrefix4(text) as Prefix4,
  ),
  ...['::1/128', 'fe80::/10', 'fc00::/7'].map((text) => parsePrefix6(text) as Prefix6),
];

/** The networks are asked for again where they do not hold a client, but not more often than this. */
const REFRESH_MS = 5000;

/** An address and its mask, both as words. */
interface Network {
  readonly address: Address6;
  readonly mask: Address6;
}

const ALL_ONES: Address6 = [-1, -1, -1, -1];

const isPrefix4 = (prefix: Prefix): prefix is Prefix4 => typeof prefix.address === 'number';

function networkOf(prefix: Prefix): Network {
  return isPrefix4(prefix)
    ? { address: mappedAddress(prefix.address), mask: maskAddress6(ALL_ONES, MAPPED_LENGTH + prefix.length) }
    : { address: prefix.address, mask: maskAddress6(ALL_ONES, prefix.length) };
}

const holds = ({ address, mask }: Network, words: Address6): boolean =>
  ((words[3] ^ address[3]) & mask[3]) === 0 &&
  ((words[2] ^ address[2]) & mask[2]) === 0 &&
  ((words[1] ^ address[1]) & mask[1]) === 0 &&
  ((words[0] ^ address[0]) & mask[0]) === 0;

/**
 * Makes the test for clients' addresses.
 * @param allowFrom null: the default ranges and the gateway's own networks
 * @param ownNetworks what these are now; interfaces come and go, and change their addresses
 */
export function clientFilter(
  allowFrom: readonly Prefix[] | null,
  ownNetworks: () => readonly Prefix[],
): (words: Address6) => boolean {
  let isListed = prefixFilter(allowFrom ?? [...DEFAULT_CLIENTS, ...ownNetworks()]);
  let readMs = performance.now();
  /** The client that was let in last: it is mostly the next one too. */
  let last: Address6 | null = null;
  return (words) => {
    if (last !== null && equalAddress6(words, last)) return true;
    let isAllowed = isListed(words);
    if (!isAllowed && allowFrom === null && performance.now() - readMs >= REFRESH_MS) {
      readMs = performance.now();
      isListed = prefixFilter([...DEFAULT_CLIENTS, ...ownNetworks()]);
      isAllowed = isListed(words);
    }
    if (isAllowed) last = words;
    return isAllowed;
  };
}

function prefixFilter(prefixes: readonly Prefix[]): (words: Address6) => boolean {
  // `::/0` means IPv6 only, although it holds ::ffff:0:0/96.
  const networks4 = prefixes.filter(isPrefix4).map(networkOf);
  const networks6 = prefixes.filter((prefix) => !isPrefix4(prefix)).map(networkOf);
  return (words) => {
    const networks = isMapped(words) ? networks4 : networks6;
    for (let i = 0; i < networks.length; i++) if (holds(networks[i] as Network, words)) return true;
    return false;
  };
}

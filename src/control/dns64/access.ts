/** Who may ask. */
import {
  type Prefix4,
  type Prefix6,
  parseAddress4,
  parseAddress6,
  parsePrefix4,
  parsePrefix6,
  prefix4Contains,
  prefix6Contains,
} from '../../wire/address.js';

type Prefix = Prefix4 | Prefix6;

/** Loopback, link-local, unique-local and private ranges: never an open resolver by default. */
const DEFAULT_CLIENTS: readonly Prefix[] = [
  ...['127.0.0.0/8', '169.254.0.0/16', '10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'].map(
    (text) => parsePrefix4(text) as Prefix4,
  ),
  ...['::1/128', 'fe80::/10', 'fc00::/7'].map((text) => parsePrefix6(text) as Prefix6),
];

const isPrefix4 = (prefix: Prefix): prefix is Prefix4 => typeof prefix.address === 'number';

/** The networks are asked for again where they do not hold a client, but not more often than this. */
const REFRESH_MS = 5000;

/**
 * Makes the test for client addresses (text as Node gives it, a zone such as `%eth0` allowed).
 * @param allowFrom null: the default ranges and the gateway's own networks
 * @param ownNetworks what these are now; interfaces come and go, and change their addresses
 */
export function clientFilter(
  allowFrom: readonly Prefix[] | null,
  ownNetworks: () => readonly Prefix[],
): (address: string) => boolean {
  let isAllowed = prefixFilter(allowFrom ?? [...DEFAULT_CLIENTS, ...ownNetworks()]);
  let readMs = performance.now();
  return (text) => {
    if (isAllowed(text)) return true;
    if (allowFrom !== null || performance.now() - readMs < REFRESH_MS) return false;
    readMs = performance.now();
    isAllowed = prefixFilter([...DEFAULT_CLIENTS, ...ownNetworks()]);
    return isAllowed(text);
  };
}

function prefixFilter(prefixes: readonly Prefix[]): (address: string) => boolean {
  const allowed4 = prefixes.filter(isPrefix4);
  const allowed6 = prefixes.filter((prefix): prefix is Prefix6 => !isPrefix4(prefix));
  return (text) => {
    const ipv4 = parseAddress4(text);
    if (ipv4 !== null) return allowed4.some((prefix) => prefix4Contains(prefix, ipv4));
    const zone = text.indexOf('%');
    const ipv6 = parseAddress6(zone < 0 ? text : text.slice(0, zone));
    return ipv6 !== null && allowed6.some((prefix) => prefix6Contains(prefix, ipv6));
  };
}

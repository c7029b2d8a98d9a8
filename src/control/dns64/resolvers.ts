/** Which name servers to forward to. */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { equalAddress6, parseAddress6, UNSPECIFIED6 } from '../../wire/address.js';
import type { SocketAddress } from '../config/types.js';

const DNS_PORT = 53;

/** The `nameserver` lines of a resolv.conf(5). Empty if the file cannot be read. */
export function readResolvConf(path: string): SocketAddress[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return [];
  }
  const servers: SocketAddress[] = [];
  for (const line of text.split('\n')) {
    const address = /^\s*nameserver\s+([^\s#;]+)/.exec(line)?.[1];
    if (address !== undefined && isIP(address) !== 0) servers.push({ address, port: DNS_PORT });
  }
  return servers;
}

export interface Forwarders {
  readonly forwarders: readonly SocketAddress[];
  /** Addresses that are our own: forwarding there would go round for ever. */
  readonly ourselves: readonly SocketAddress[];
}

/** One spelling of an address: IPv6 without the freedom of RFC 4291, zones kept. */
function canonical(address: string): string {
  const [plain, zone] = address.split('%') as [string, string?];
  const ipv6 = parseAddress6(plain);
  return ipv6 === null ? address : `${ipv6.join()}%${zone ?? ''}`;
}

function isWildcard(address: string): boolean {
  const ipv6 = parseAddress6(address);
  return address === '0.0.0.0' || (ipv6 !== null && equalAddress6(ipv6, UNSPECIFIED6));
}

/** Whether a query to `to` would arrive at one of our own sockets. */
function isOurs(
  to: SocketAddress,
  listen: readonly SocketAddress[],
  localAddresses: ReadonlySet<string>,
): boolean {
  return listen.some((own) => {
    if (own.port !== to.port) return false;
    if (canonical(own.address) === canonical(to.address)) return true;
    if (!isWildcard(own.address) || isIP(own.address) !== isIP(to.address)) return false;
    return (
      localAddresses.has(canonical(to.address)) || to.address.startsWith('127.') || isWildcard(to.address)
    );
  });
}

/** Sorts out forwarders that are ourselves. */
export function withoutOurselves(
  candidates: readonly SocketAddress[],
  listen: readonly SocketAddress[],
): Forwarders {
  const interfaces = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const local = new Set(interfaces.map((one) => canonical(one.address)));
  return {
    forwarders: candidates.filter((one) => !isOurs(one, listen, local)),
    ourselves: candidates.filter((one) => isOurs(one, listen, local)),
  };
}

/** Which name servers to forward to. */
import { readFileSync, statSync } from 'node:fs';
import { isIP } from 'node:net';
import { equalAddress6, parseAddress6, UNSPECIFIED6 } from '../../wire/address.js';
import { plainForwarder } from '../config/forwarder.js';
import type { ForwarderConfig, SocketAddress } from '../config/types.js';
import { interfaces } from '../kernel-addresses.js';

const DNS_PORT = 53;
/** How often resolv.conf is read again: programs write it in place, rename another one to it, or to what it is a link to. */
const FOLLOW_MS = 2000;

function nameServers(text: string): ForwarderConfig[] {
  const servers: ForwarderConfig[] = [];
  for (const line of text.split('\n')) {
    const address = /^\s*nameserver\s+([^\s#;]+)/.exec(line)?.[1];
    if (address !== undefined && isIP(address) !== 0)
      servers.push(plainForwarder({ address, port: DNS_PORT }));
  }
  return servers;
}

/** The `nameserver` lines of a resolv.conf(5). Empty if the file cannot be read. */
export function readResolvConf(path: string): ForwarderConfig[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return [];
  }
  return nameServers(text);
}

/** Another one after each change of the file, or of what its path leads to. */
function versionOf(path: string): string {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    return `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`;
  } catch {
    return '';
  }
}

/**
 * Tells of the name servers of a resolv.conf whenever they have changed. One that is missing or names none, as while it is
 * written, changes nothing.
 * @param last what it named
 * @returns ends that
 */
export function followResolvConf(
  path: string,
  last: readonly ForwarderConfig[],
  onChange: (servers: readonly ForwarderConfig[]) => void,
  everyMs = FOLLOW_MS,
): () => void {
  const textOf = (servers: readonly ForwarderConfig[]) => servers.map(({ address }) => address).join();
  let known = textOf(last);
  let version = '';
  const timer = setInterval(() => {
    const now = versionOf(path);
    if (now === version) return;
    version = now;
    const servers = readResolvConf(path);
    if (servers.length === 0 || textOf(servers) === known) return;
    known = textOf(servers);
    onChange(servers);
  }, everyMs);
  timer.unref();
  return () => clearInterval(timer);
}

export interface Forwarders {
  readonly forwarders: readonly ForwarderConfig[];
  /** Addresses that are our own: forwarding there would go round for ever. */
  readonly ourselves: readonly ForwarderConfig[];
}

/** One spelling of an address: IPv6 without the freedom of RFC 4291, zones kept; IPv4-mapped is IPv4; the wildcard reaches this host. */
function canonical(address: string): string {
  const [plain, zone] = address.split('%') as [string, string?];
  const ipv6 = parseAddress6(plain);
  if (ipv6 === null) return address === '0.0.0.0' ? '127.0.0.1' : address;
  if (ipv6[0] === 0 && ipv6[1] === 0 && ipv6[2] === 0xffff) {
    const word = ipv6[3] >>> 0;
    return [24, 16, 8, 0].map((shift) => (word >>> shift) & 0xff).join('.');
  }
  return equalAddress6(ipv6, UNSPECIFIED6) ? '0,0,0,1%' : `${ipv6.join()}%${zone ?? ''}`;
}

/** Whether a socket bound to this address has all of its family. */
export function isWildcard(address: string): boolean {
  const ipv6 = parseAddress6(address);
  return address === '0.0.0.0' || (ipv6 !== null && equalAddress6(ipv6, UNSPECIFIED6));
}

/** Whether a query to `to` would arrive at one of our own sockets. */
function isOurs(
  to: SocketAddress,
  listen: readonly SocketAddress[],
  localAddresses: ReadonlySet<string>,
): boolean {
  const target = canonical(to.address);
  const isIpv6 = target.includes(',');
  return listen.some((own) => {
    if (own.port !== to.port) return false;
    if (!isWildcard(own.address)) return canonical(own.address) === target;
    if ((isIP(own.address) === 6) !== isIpv6) return false;
    return localAddresses.has(target) || target.startsWith('127.') || target === '0,0,0,1%';
  });
}

/** Sorts out forwarders that are ourselves. */
export function withoutOurselves(
  candidates: readonly ForwarderConfig[],
  listen: readonly SocketAddress[],
): Forwarders {
  const addresses = Object.values(interfaces()).flatMap((some) => some ?? []);
  const local = new Set(addresses.map((one) => canonical(one.address)));
  return {
    forwarders: candidates.filter((one) => !isOurs(one, listen, local)),
    ourselves: candidates.filter((one) => isOurs(one, listen, local)),
  };
}

/**
 * How a forwarder is written:
 *
 *   192.0.2.1    192.0.2.1:5353    [2001:db8::1]:53             UDP, and TCP for what is truncated
 *   tls://192.0.2.1    tls://192.0.2.1:853#dns.example          DNS over TLS (RFC 7858)
 *   https://192.0.2.1/dns-query#dns.example                     DNS over HTTPS (RFC 8484)
 *
 * Behind `#` is the name that the server's certificate must have; without it, the certificate must have the address.
 */
import { isIP } from 'node:net';
import { readSocketAddress, showSocketAddress } from './socket-address.js';
import type { ForwarderConfig, SocketAddress } from './types.js';

const DEFAULT_PORTS = { udp: 53, tls: 853, https: 443 } as const;
/** The path that RFC 8484's examples use, and servers with them. */
const DEFAULT_PATH = '/dns-query';

export const FORWARDER_ALLOWED =
  "it must be an address as in '192.0.2.1', '192.0.2.1:53' or '[2001:db8::1]:53', or 'tls://ADDRESS#NAME' or 'https://ADDRESS/dns-query#NAME' with the name in the server's certificate";

/** Reads a forwarder; null if it is none. */
export function readForwarder(value: string): ForwarderConfig | null {
  const match = /^(?:(tls|https):\/\/)?([^/#]+)(\/[!"$-~]*)?(?:#(.*))?$/s.exec(value);
  if (match === null) return null;
  const transport = (match[1] ?? 'udp') as ForwarderConfig['transport'];
  const at = readSocketAddress(match[2] as string, DEFAULT_PORTS[transport]);
  const serverName = match[4] ?? null;
  if (at === null || (transport !== 'https' && match[3] !== undefined)) return null;
  if (serverName !== null && (transport === 'udp' || !isHostName(serverName))) return null;
  return { transport, ...at, serverName, path: transport === 'https' ? (match[3] ?? DEFAULT_PATH) : null };
}

function isHostName(text: string): boolean {
  if (text.length > 253 || isIP(text) !== 0) return false;
  return text.split('.').every((label) => /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/i.test(label));
}

/** The text that `readForwarder` reads back. */
export function showForwarder(forwarder: ForwarderConfig): string {
  const { transport, serverName, path } = forwarder;
  const scheme = transport === 'udp' ? '' : `${transport}://`;
  return `${scheme}${showSocketAddress(forwarder)}${path ?? ''}${serverName === null ? '' : `#${serverName}`}`;
}

/** A name server that is an address and a port and nothing more. */
export function plainForwarder({ address, port }: SocketAddress): ForwarderConfig {
  return { transport: 'udp', address, port, serverName: null, path: null };
}

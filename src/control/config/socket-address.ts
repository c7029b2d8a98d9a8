/** Address and port as they are written in configuration files. */
import { isIP } from 'node:net';
import { formatAddress6, parseAddress6 } from '../../wire/address.js';
import type { SocketAddress } from './types.js';

/** One text for each address, so that the same socket is recognized however it is written. */
function canonical(text: string): string {
  const address = parseAddress6(text);
  return address === null ? text : formatAddress6(address);
}

/** `192.0.2.1`, `192.0.2.1:53`, `2001:db8::1`, `[2001:db8::1]:53`; null: neither. */
export function readSocketAddress(value: string, defaultPort = 53): SocketAddress | null {
  if (isIP(value) !== 0) return { address: canonical(value), port: defaultPort };
  const match = /^(?:\[([^[\]]+)\]|([^:]+))(?::([0-9]{1,5}))?$/.exec(value);
  if (match === null) return null;
  const address = match[1] ?? match[2] ?? '';
  const port = match[3] === undefined ? defaultPort : Number(match[3]);
  const isRight = isIP(address) === (match[1] === undefined ? 4 : 6);
  return isRight && port >= 1 && port <= 65535 ? { address: canonical(address), port } : null;
}

/** `192.0.2.1:53`, `[2001:db8::1]:53`. */
export function showSocketAddress({ address, port }: SocketAddress): string {
  return `${address.includes(':') ? `[${address}]` : address}:${port}`;
}

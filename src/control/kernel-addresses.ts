/** The addresses that this machine's interfaces have, as the kernel tells now. */
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os';
import {
  mask4,
  maskAddress6,
  type Prefix4,
  type Prefix6,
  parseAddress4,
  parseAddress6,
} from '../wire/address.js';
import type { InterfaceAddress, SocketAddress } from './config/types.js';

function read({ cidr }: NetworkInterfaceInfo): InterfaceAddress[] {
  const [text = '', lengthText = ''] = (cidr ?? '').split('/');
  const length = Number(lengthText);
  const ipv4 = parseAddress4(text);
  if (ipv4 !== null) return [{ family: 4, address: ipv4, length }];
  const ipv6 = parseAddress6(text);
  return ipv6 === null ? [] : [{ family: 6, address: ipv6, length }];
}

/** The addresses of one interface; none while it is down. */
export function interfaceAddresses(name: string): InterfaceAddress[] {
  return (networkInterfaces()[name] ?? []).flatMap(read);
}

/** Every address of these interfaces that a server can listen on now, link-local ones with their zone. '*' is every interface. */
export function interfaceSockets(names: readonly string[], port: number): SocketAddress[] {
  return Object.entries(networkInterfaces())
    .filter(([name]) => names.includes('*') || names.includes(name))
    .flatMap(([name, addresses]) =>
      (addresses ?? []).map(({ address }) => ({
        address: /^fe[89ab]/i.test(address) ? `${address}%${name}` : address,
        port,
      })),
    );
}

/** The networks that this machine's interfaces are on. */
export function connectedNetworks(): (Prefix4 | Prefix6)[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .flatMap(read)
    .map((on) =>
      on.family === 4
        ? { address: (on.address & mask4(on.length)) >>> 0, length: on.length }
        : { address: maskAddress6(on.address, on.length), length: on.length },
    );
}

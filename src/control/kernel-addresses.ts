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
import type { InterfaceAddress } from './config/types.js';

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

export type InterfaceAddresses = readonly { readonly name: string; readonly address: string }[];

/** Every address of this machine that a server can listen on without a zone, with its interface. */
export function listenableAddresses(): InterfaceAddresses {
  return Object.entries(networkInterfaces()).flatMap(([name, addresses]) =>
    (addresses ?? [])
      .filter(({ address }) => !/^fe[89ab]/i.test(address))
      .map(({ address }) => ({ name, address })),
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

/** The addresses that this machine's interfaces have, as the kernel tells now. */
import { networkInterfaces } from 'node:os';
import native from '#native';
import {
  type Address6,
  mask4,
  maskAddress6,
  type Prefix4,
  type Prefix6,
  parseAddress4,
  parseAddress6,
} from '../wire/address.js';
import type { InterfaceAddress, SocketAddress } from './config/types.js';

/** What the kernel said last. */
let last: ReturnType<typeof networkInterfaces> = {};

/** All interfaces with their addresses. Never throws: while the kernel does not tell, what it said last. */
export function interfaces(): typeof last {
  try {
    last = networkInterfaces();
  } catch {
    // Out of descriptors or of memory, which passes: no reason to take anybody's addresses for gone.
  }
  return last;
}

/** @param cidr address/length */
function read(cidr: string): InterfaceAddress[] {
  const [text = '', lengthText = ''] = cidr.split('/');
  const length = Number(lengthText);
  const ipv4 = parseAddress4(text);
  if (ipv4 !== null) return [{ family: 4, address: ipv4, length }];
  const ipv6 = parseAddress6(text);
  return ipv6 === null ? [] : [{ family: 6, address: ipv6, length }];
}

/**
 * The addresses of one interface, whatever its state: its own packets may come before the kernel has found that it runs.
 * @param known what they were, for when the kernel does not tell
 */
export function interfaceAddresses(
  name: string,
  known: readonly InterfaceAddress[],
): readonly InterfaceAddress[] {
  try {
    return native.interfaceAddresses(name).flatMap(read);
  } catch {
    return known;
  }
}

/** An interface that is up, as its neighbours see it. */
export interface Link {
  readonly name: string;
  readonly index: number;
  readonly linkLocal: Address6;
  /** The others. */
  readonly addresses: readonly Address6[];
  /** Null where it has none, as a tunnel. */
  readonly linkLayerAddress: Uint8Array | null;
}

/** An interface with a link-local address; null where there is none of this name, or it is down. */
export function linkOf(name: string): Link | null {
  const all = (interfaces()[name] ?? []).flatMap((one) => {
    const address = one.family === 'IPv6' ? parseAddress6(one.address) : null;
    return address === null ? [] : [{ address, index: one.scopeid ?? 0, mac: one.mac }];
  });
  const own = all.find(({ index }) => index !== 0);
  if (own === undefined) return null;
  const octets = Uint8Array.from(own.mac.split(':'), (octet) => Number.parseInt(octet, 16));
  return {
    name,
    index: own.index,
    linkLocal: own.address,
    addresses: all.filter(({ index }) => index === 0).map(({ address }) => address),
    linkLayerAddress: octets.some((octet) => octet !== 0) ? octets : null,
  };
}

/** Every address of these interfaces that a server can listen on now, link-local ones with their zone. '*' is every interface. */
export function interfaceSockets(names: readonly string[], port: number): SocketAddress[] {
  return Object.entries(interfaces())
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
  return Object.values(interfaces())
    .flatMap((addresses) => addresses ?? [])
    .flatMap(({ cidr }) => read(cidr ?? ''))
    .map((on) =>
      on.family === 4
        ? { address: (on.address & mask4(on.length)) >>> 0, length: on.length }
        : { address: maskAddress6(on.address, on.length), length: on.length },
    );
}

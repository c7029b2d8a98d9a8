/** Router solicitations and advertisements (RFC 4861 section 4), with the options that tell of PREF64, DNS servers and routes. */
import type { Address6, Prefix6 } from './address.js';
import { get16, set16 } from './bytes.js';
import { PREF64_LENGTHS } from './rfc6052.js';

export const ROUTER_SOLICITATION = 133;
export const ROUTER_ADVERTISEMENT = 134;

/** RFC 4861 section 6.1: what has passed a router has another, and is not of this link. */
const HOP_LIMIT_OF_LINK = 255;

const OPTION_SOURCE_LINK_LAYER = 1;
const OPTION_PREFIX = 3;
const OPTION_MTU = 5;
const OPTION_ROUTE = 24;
const OPTION_RDNSS = 25;
const OPTION_PREF64 = 38;

const SOLICITATION_BYTES = 8;
const ADVERTISEMENT_BYTES = 16;
/** Options come in units of so many bytes. */
const UNIT = 8;

const ON_LINK_AND_AUTONOMOUS = 0xc0;

/** The largest lifetime that a PREF64 option holds: 13 bits of 8 seconds. */
export const PREF64_MAX_LIFETIME_SEC = 8191 * 8;

export interface RouterAdvertisement {
  /** How long hosts may take the sender for a default router; 0: not at all. */
  readonly routerLifetimeSec: number;
  /** The sender's link-layer address; null leaves the option out. */
  readonly linkLayerAddress: Uint8Array | null;
  /** Of the link; null leaves the option out. */
  readonly mtu: number | null;
  readonly prefixes: readonly AdvertisedPrefix[];
  readonly routes: readonly Timed<Prefix6>[];
  readonly pref64s: readonly Timed<Prefix6>[];
  readonly dnsServers: readonly Timed<Address6>[];
}

/** Something that hosts forget after this many seconds; at once where it is 0. */
export interface Timed<T> {
  readonly of: T;
  readonly lifetimeSec: number;
}

/** A prefix of the link, for hosts to make addresses under (RFC 4862). */
export interface AdvertisedPrefix {
  readonly of: Prefix6;
  readonly validSec: number;
  readonly preferredSec: number;
}

/** Why a solicitation is to be ignored (RFC 4861 section 6.1.1). */
export type SolicitationFault = 'hop-limit' | 'code' | 'length' | 'option' | 'source';

/**
 * What is wrong with the router solicitation of `length` bytes at the start of `message`, or null. Its checksum has been checked.
 * @param isUnspecified its source is ::
 */
export function faultOfSolicitation(
  message: Uint8Array,
  length: number,
  hopLimit: number,
  isUnspecified: boolean,
): SolicitationFault | null {
  if (hopLimit !== HOP_LIMIT_OF_LINK) return 'hop-limit';
  if (length < SOLICITATION_BYTES) return 'length';
  if (message[1] !== 0) return 'code';
  for (let at = SOLICITATION_BYTES; at < length; ) {
    const size = at + 2 <= length ? (message[at + 1] as number) * UNIT : 0;
    if (size === 0 || at + size > length) return 'option';
    if (isUnspecified && message[at] === OPTION_SOURCE_LINK_LAYER) return 'source';
    at += size;
  }
  return null;
}

/** The router lifetime of the router advertisement of `length` bytes at the start of `message`; null where it is none. */
export function routerLifetimeOf(message: Uint8Array, length: number, hopLimit: number): number | null {
  const isSound = hopLimit === HOP_LIMIT_OF_LINK && length >= ADVERTISEMENT_BYTES && message[1] === 0;
  return isSound && message[0] === ROUTER_ADVERTISEMENT ? get16(message, 6) : null;
}

/*
 * RFC 4861 section 4.2
 *   |     Type      |     Code      |          Checksum             |
 *   | Cur Hop Limit |M|O|  Reserved |       Router Lifetime         |
 *   |                         Reachable Time                        |
 *   |                          Retrans Timer                        |
 *   |   Options ...
 */
/** The ICMPv6 message, its checksum 0. Hop limit, reachable time and retransmission timer are left to hosts and other routers. */
export function writeRouterAdvertisement(ra: RouterAdvertisement): Uint8Array {
  const head = new Uint8Array(ADVERTISEMENT_BYTES);
  head[0] = ROUTER_ADVERTISEMENT;
  set16(head, 6, ra.routerLifetimeSec);
  const options = [
    ...(ra.linkLayerAddress === null ? [] : [linkLayerOption(ra.linkLayerAddress)]),
    ...(ra.mtu === null ? [] : [mtuOption(ra.mtu)]),
    ...ra.prefixes.map(prefixOption),
    ...ra.routes.map(routeOption),
    ...ra.pref64s.map(pref64Option),
    ...dnsOptions(ra.dnsServers),
  ];
  const message = new Uint8Array([head, ...options].reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of [head, ...options]) {
    message.set(part, at);
    at += part.length;
  }
  return message;
}

/** An option of so many units, its type and length written. */
function option(type: number, units: number): { bytes: Uint8Array; dv: DataView } {
  const bytes = new Uint8Array(units * UNIT);
  bytes[0] = type;
  bytes[1] = units;
  return { bytes, dv: new DataView(bytes.buffer) };
}

/** Words of an address, as many as the option has room for from `at` on. */
function writeAddress(dv: DataView, at: number, address: Address6): void {
  for (const [i, word] of address.entries()) if (at + 4 * i < dv.byteLength) dv.setInt32(at + 4 * i, word);
}

/** RFC 4861 section 4.6.1, padded with zeros. */
function linkLayerOption(address: Uint8Array): Uint8Array {
  const { bytes } = option(OPTION_SOURCE_LINK_LAYER, Math.ceil((2 + address.length) / UNIT));
  bytes.set(address, 2);
  return bytes;
}

/** RFC 4861 section 4.6.4. */
function mtuOption(mtu: number): Uint8Array {
  const { bytes, dv } = option(OPTION_MTU, 1);
  dv.setUint32(4, mtu);
  return bytes;
}

/*
 * RFC 4861 section 4.6.2
 *   |     Type      |    Length     | Prefix Length |L|A| Reserved1 |
 *   |                         Valid Lifetime                        |
 *   |                       Preferred Lifetime                      |
 *   |                           Reserved2                           |
 *   |                       Prefix (16 bytes)                       |
 */
function prefixOption({ of, validSec, preferredSec }: AdvertisedPrefix): Uint8Array {
  const { bytes, dv } = option(OPTION_PREFIX, 4);
  bytes[2] = of.length;
  bytes[3] = ON_LINK_AND_AUTONOMOUS;
  dv.setUint32(4, validSec);
  dv.setUint32(8, preferredSec);
  writeAddress(dv, 16, of.address);
  return bytes;
}

/*
 * RFC 4191 section 2.3, of medium preference; as much of the prefix as its length asks for.
 *   |     Type      |    Length     | Prefix Length |Resvd|Prf|Resvd|
 *   |                        Route Lifetime                         |
 *   |                   Prefix (0, 8 or 16 bytes)                   |
 */
function routeOption({ of, lifetimeSec }: Timed<Prefix6>): Uint8Array {
  const { bytes, dv } = option(OPTION_ROUTE, 1 + Math.ceil(of.length / 64));
  bytes[2] = of.length;
  dv.setUint32(4, lifetimeSec);
  writeAddress(dv, 8, of.address);
  return bytes;
}

/**
 * A lifetime as PREF64 has it, in units of 8 seconds: rounded up, so that none but 0 becomes 0, and at most what 13 bits hold
 * (RFC 8781 section 4.1).
 */
export function scaledLifetime(lifetimeSec: number): number {
  return Math.min(Math.ceil(lifetimeSec / 8), PREF64_MAX_LIFETIME_SEC / 8);
}

/** The code of a prefix length (RFC 8781 section 4): 0 for 96, then 64, 56, 48, 40 and 32. Throws RangeError for any other. */
export function prefixLengthCode(length: number): number {
  const code = [...PREF64_LENGTHS].sort((a, b) => b - a).indexOf(length);
  if (code < 0) throw new RangeError(`a PREF64 option has no code for a prefix of length ${length}`);
  return code;
}

/*
 * RFC 8781 section 4
 *   |     Type      |    Length     |     Scaled Lifetime     | PLC |
 *   |            Highest 96 bits of the prefix (12 bytes)           |
 */
function pref64Option({ of, lifetimeSec }: Timed<Prefix6>): Uint8Array {
  const { bytes, dv } = option(OPTION_PREF64, 2);
  set16(bytes, 2, (scaledLifetime(lifetimeSec) << 3) | prefixLengthCode(of.length));
  writeAddress(dv, 4, of.address);
  return bytes;
}

/*
 * RFC 8106 section 5.1; one option for all servers of one lifetime.
 *   |     Type      |    Length     |           Reserved            |
 *   |                           Lifetime                            |
 *   |                Addresses (16 bytes each) ...
 */
function dnsOptions(servers: readonly Timed<Address6>[]): Uint8Array[] {
  const lifetimes = [...new Set(servers.map(({ lifetimeSec }) => lifetimeSec))];
  return lifetimes.map((lifetimeSec) => {
    const alike = servers.filter((server) => server.lifetimeSec === lifetimeSec);
    const { bytes, dv } = option(OPTION_RDNSS, 1 + 2 * alike.length);
    dv.setUint32(4, lifetimeSec);
    for (const [i, { of }] of alike.entries()) writeAddress(dv, 8 + 16 * i, of);
    return bytes;
  });
}

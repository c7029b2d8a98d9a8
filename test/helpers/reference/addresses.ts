/** Addresses as bigint: RFC 6052 by bit positions, RFC 7757 by a list, and the lists of what is never forwarded. */
import type { TranslatorSettings } from '#nat64d/shm/worker-task.js';
import {
  type Address6,
  type Prefix4,
  parseAddress4,
  parsePrefix4,
  parsePrefix6,
} from '#nat64d/wire/address.js';

export interface Prefix {
  readonly address: bigint;
  readonly length: number;
  /** 32 or 128. */
  readonly width: number;
}

export const bigint6 = (address: Address6): bigint =>
  address.reduce((value, word) => (value << 32n) | BigInt(word >>> 0), 0n);

export function prefix(text: string): Prefix {
  const prefix4 = parsePrefix4(text);
  if (prefix4) return { address: BigInt(prefix4.address), length: prefix4.length, width: 32 };
  const prefix6 = parsePrefix6(text);
  if (prefix6) return { address: bigint6(prefix6.address), length: prefix6.length, width: 128 };
  throw new Error(`not a prefix: ${text}`);
}

export function contains(outer: Prefix, address: bigint): boolean {
  const rest = BigInt(outer.width - outer.length);
  return address >> rest === outer.address >> rest;
}

/** RFC 6052 section 2.2: the first bit of each byte of the IPv4 address, by prefix length; bits 64 to 71 are skipped. */
const RFC6052_BYTES: Readonly<Record<number, readonly number[]>> = {
  32: [4, 5, 6, 7],
  40: [5, 6, 7, 9],
  48: [6, 7, 9, 10],
  56: [7, 9, 10, 11],
  64: [9, 10, 11, 12],
  96: [12, 13, 14, 15],
};

export function embed(pref64: Prefix, ipv4: bigint): bigint {
  let result = pref64.address;
  for (const [i, position] of RFC6052_BYTES[pref64.length]!.entries()) {
    const byte = (ipv4 >> BigInt(24 - 8 * i)) & 255n;
    result |= byte << BigInt(120 - 8 * position);
  }
  return result;
}

export function extract(pref64: Prefix, ipv6: bigint): bigint {
  return RFC6052_BYTES[pref64.length]!.reduce(
    (value, position) => (value << 8n) | ((ipv6 >> BigInt(120 - 8 * position)) & 255n),
    0n,
  );
}

const NEVER_4 = ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/4', '255.255.255.255/32'].map(
  prefix,
);
const CLASS_E = prefix('240.0.0.0/4');
const ROUTERS_6 = ['2000::/3', 'fc00::/7'].map(prefix);
const NEVER_6 = ['::/128', '::1/128', 'fe80::/10', 'ff00::/8'].map(prefix);
/** What `wkpf-strict` refuses under 64:ff9b::/96 (RFC 6052 section 3.1). */
const NON_GLOBAL_4 = [
  '10.0.0.0/8',
  '100.64.0.0/10',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '192.0.2.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
].map(prefix);
const WELL_KNOWN = prefix('64:ff9b::/96');

/** RFC 1122 section 3.2.2: no error about a packet whose source (or destination) does not name one host. */
const NO_HOST_4 = ['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/3'].map(prefix);
const NO_HOST_6 = ['::/128', '::1/128', 'ff00::/8'].map(prefix);

const isIn = (list: readonly Prefix[], address: bigint) => list.some((entry) => contains(entry, address));
export const isNever6 = (address: bigint): boolean => isIn(NEVER_6, address);
export const isNoHost4 = (address: bigint): boolean => isIn(NO_HOST_4, address);
export const isNoHost6 = (address: bigint): boolean => isIn(NO_HOST_6, address);

interface ExplicitMap {
  readonly ipv4: Prefix;
  readonly ipv6: Prefix;
}

/** All that the gateway knows about addresses. */
export class Addresses {
  readonly own4: bigint;
  readonly own6: bigint;
  readonly pref64: Prefix | null;
  readonly pool4: Prefix | null;
  readonly #device4: bigint[];
  readonly #device6: bigint[];
  readonly #isStrict: boolean;
  readonly #isClassEForwarded: boolean;
  readonly isClat: boolean;
  readonly #errorSources: Prefix | null;
  readonly #allowed: readonly Prefix[];
  readonly #maps: ExplicitMap[];
  readonly #hosts: { readonly ipv4: bigint; readonly ipv6: bigint }[] = [];

  constructor(settings: TranslatorSettings, maps: readonly (readonly [string, string])[]) {
    this.own4 = BigInt(settings.ipv4Address);
    this.own6 = bigint6(settings.ipv6Address);
    const { pref64 } = settings;
    this.pref64 = pref64 && { address: bigint6(pref64.address), length: pref64.length, width: 128 };
    this.pool4 = prefixOf4(settings.pool4);
    this.#device4 = settings.deviceAddresses4.map(BigInt);
    this.#device6 = settings.deviceAddresses6.map(bigint6);
    this.#isStrict =
      settings.wkpfStrict && this.pref64?.length === 96 && this.pref64.address === WELL_KNOWN.address;
    this.#isClassEForwarded = settings.forwardClassE;
    this.isClat = settings.clat;
    this.#errorSources = prefixOf4(settings.icmpSourcePool4);
    this.#allowed = settings.allowFrom.map(({ address, length }) => ({
      address: bigint6(address),
      length,
      width: 128,
    }));
    this.#maps = maps.map(([ipv4, ipv6]) => ({ ipv4: prefix(ipv4), ipv6: prefix(ipv6) }));
  }

  addHost(ipv4: string, ipv6: string): void {
    this.#hosts.push({ ipv4: BigInt(parseAddress4(ipv4) as number), ipv6: prefix(`${ipv6}/128`).address });
  }

  isNever4 = (ipv4: bigint): boolean =>
    isIn(NEVER_4, ipv4) || (!this.#isClassEForwarded && contains(CLASS_E, ipv4));
  isInPref64 = (ipv6: bigint): boolean => this.pref64 !== null && contains(this.pref64, ipv6);
  isInPool = (ipv4: bigint): boolean => this.pool4 !== null && contains(this.pool4, ipv4);
  isDevice4 = (ipv4: bigint): boolean => this.#device4.includes(ipv4);
  isDevice6 = (ipv6: bigint): boolean => this.#device6.includes(ipv6);
  isRefusedByWellKnown = (ipv4: bigint): boolean => this.#isStrict && isIn(NON_GLOBAL_4, ipv4);

  /** RFC 7757 section 3.3.1: the longest IPv4 prefix that matches; its suffix bits go left-aligned behind the IPv6 one. */
  explicit6(ipv4: bigint): bigint | null {
    const map = longest(
      this.#maps.map((pair) => ({ key: pair.ipv4, value: pair.ipv6 })),
      ipv4,
    );
    if (map === null) return null;
    const suffixBits = BigInt(32 - map.key.length);
    const suffix = ipv4 & ((1n << suffixBits) - 1n);
    return map.value.address | (suffix << (BigInt(128 - map.value.length) - suffixBits));
  }

  /** RFC 7757 section 3.3.2: the reverse; further suffix bits are ignored. */
  explicit4(ipv6: bigint): bigint | null {
    const map = longest(
      this.#maps.map((pair) => ({ key: pair.ipv6, value: pair.ipv4 })),
      ipv6,
    );
    if (map === null) return null;
    const wanted = 32 - map.value.length;
    const suffix = ipv6 & ((1n << BigInt(128 - map.key.length)) - 1n);
    return map.value.address | (suffix >> BigInt(128 - map.key.length - wanted));
  }

  /** RFC 6791: the source of errors of a router without a map; each router keeps to one of the pool. */
  errorSource4(router: bigint): bigint {
    if (this.#errorSources === null) return this.own4;
    const words = [96n, 64n, 32n, 0n].map((shift) => (router >> shift) & 0xffffffffn);
    const size = 1n << BigInt(32 - this.#errorSources.length);
    return this.#errorSources.address + (words.reduce((a, b) => a ^ b) % size);
  }

  /** The address under pref64 (RFC 6052). */
  under = (ipv4: bigint): bigint => embed(this.pref64 as Prefix, ipv4);

  embedded = (ipv6: bigint): bigint => extract(this.pref64 as Prefix, ipv6);

  /** Why an IPv4 address may not stand under pref64. */
  whyNotRepresentable(ipv4: bigint) {
    if (this.isNever4(ipv4)) return 'drop-v4-address';
    return this.pref64 === null || this.isRefusedByWellKnown(ipv4) ? 'drop-non-global' : null;
  }

  /** Why no IPv6 host may be sent packets from an IPv4 address without an explicit map. */
  whyNoSource4(ipv4: bigint) {
    if (ipv4 === this.own4) return 'drop-loop';
    if (this.isForgedPool(ipv4)) return 'drop-v4-source-in-pool4';
    return this.whyNotRepresentable(ipv4);
  }

  /** Whether a CLAT takes a packet from one IPv4 address to another, neither of a dynamic map: RFC 6877. */
  isByClat(source4: bigint, destination4: bigint): boolean {
    return (
      this.isClat &&
      this.explicit6(source4) !== null &&
      !this.isInPool(destination4) &&
      this.whyNotRepresentable(destination4) === null
    );
  }

  /** Why no IPv6 host may send from an address. */
  whyNoHost6(ipv6: bigint) {
    if (this.explicit4(ipv6) !== null || this.isDevice6(ipv6)) return null;
    if (this.isInPref64(ipv6)) return this.isClat ? null : 'drop-v6-source-in-pref64';
    return isIn(this.#allowed, ipv6) ? null : 'drop-v6-source-not-allowed';
  }

  /** The same of the source of an ICMP error. */
  whyNoRouter6 = (ipv6: bigint) => (isIn(ROUTERS_6, ipv6) ? null : this.whyNoHost6(ipv6));

  /** Whether an IPv4 source claims to be of a host behind us. */
  isForgedPool = (ipv4: bigint): boolean =>
    this.isInPool(ipv4) && !this.isDevice4(ipv4) && !(this.isClat && this.explicit6(ipv4) !== null);

  /** The IPv6 host that an IPv4 address stands for: an explicit map or a dynamic one. */
  host6(ipv4: bigint): bigint | null {
    return this.explicit6(ipv4) ?? this.#hosts.find((host) => host.ipv4 === ipv4)?.ipv6 ?? null;
  }

  /** The IPv4 address that stands for an IPv6 host. */
  host4(ipv6: bigint): bigint | null {
    return this.explicit4(ipv6) ?? this.#hosts.find((host) => host.ipv6 === ipv6)?.ipv4 ?? null;
  }
}

const prefixOf4 = (prefix4: Prefix4 | null): Prefix | null =>
  prefix4 && { address: BigInt(prefix4.address), length: prefix4.length, width: 32 };

function longest(entries: { key: Prefix; value: Prefix }[], address: bigint) {
  const matches = entries.filter((entry) => contains(entry.key, address));
  return matches.reduce<(typeof matches)[number] | null>(
    (best, entry) => (best === null || entry.key.length > best.key.length ? entry : best),
    null,
  );
}

/** Addresses across the translator by control's own tables: the answers that workers give (dataplane/resolve.ts), one at a time. */
import { VALUE_IPV4, VALUE_IPV4_LENGTH, VALUE_IPV6, VALUE_IPV6_LENGTH } from '../../shm/prefix-table.js';
import { type Address6, equalAddress6, mask4, type Prefix6, prefix6Contains } from '../../wire/address.js';
import { embedAddress, extractAddress, isNonGlobal4, WELL_KNOWN_PREFIX } from '../../wire/rfc6052.js';
import type { PoolEntry } from '../pool/dynamic-pool.js';
import { allowedSources } from '../settings.js';
import type { Subject } from './subject.js';

export class Addressing {
  readonly #subject: Subject;
  readonly pref64: Prefix6 | null;
  readonly #maps4;
  readonly #maps6;

  constructor(subject: Subject) {
    this.#subject = subject;
    this.pref64 = subject.config.pref64;
    const { maps4, maps6 } = subject.dataplane.explicitMaps;
    this.#maps4 = maps4;
    this.#maps6 = maps6;
  }

  get hasClat(): boolean {
    return this.#subject.config.translation.clat;
  }

  isOwn4(address: number): boolean {
    return address === (this.#subject.config.ipv4Address | 0);
  }

  isOwn6(address: Address6): boolean {
    return equalAddress6(address, this.#subject.config.ipv6Address);
  }

  /** One of the kernel's on the device. */
  isDevice4(address: number): boolean {
    return this.#subject.config.deviceAddresses.some((on) => on.family === 4 && (on.address | 0) === address);
  }

  isDevice6(address: Address6): boolean {
    return this.#subject.config.deviceAddresses.some(
      (on) => on.family === 6 && equalAddress6(on.address, address),
    );
  }

  isForbidden4(address: number): boolean {
    const top = address >>> 24;
    if (top >= 240 && address !== -1) return !this.#subject.config.translation.forwardClassE;
    return top === 0 || top === 127 || top >= 224 || address >>> 16 === 0xa9fe;
  }

  /** Whether hosts that no explicit map names may send from it. */
  isAllowed6(address: Address6): boolean {
    return allowedSources(this.#subject.config).some((prefix) => prefix6Contains(prefix, address));
  }

  /** ::, ::1, fe80::/10, ff00::/8. */
  isForbidden6([w0, w1, w2, w3]: Address6): boolean {
    if (w0 >>> 24 === 0xff || w0 >>> 22 === 0x3fa) return true;
    return w0 === 0 && w1 === 0 && w2 === 0 && w3 >>> 1 === 0;
  }

  isInPref64(address: Address6): boolean {
    return this.pref64 !== null && prefix6Contains(this.pref64, address);
  }

  isInPool(address: number): boolean {
    return (this.#subject.dataplane.keeper?.pool.indexOf(address) ?? -1) >= 0;
  }

  /** The IPv4 address in an address under pref64. */
  extract(address: Address6): number {
    return this.pref64 === null ? 0 : extractAddress(this.pref64.length, address) | 0;
  }

  embed(address: number): Address6 | null {
    return this.pref64 && embedAddress(this.pref64, address);
  }

  /** The drop counter of an address that no map names and pref64 may not represent; null where it may. */
  whyNotRepresentable(address: number): 'drop-v4-address' | 'drop-non-global' | null {
    if (this.isForbidden4(address)) return 'drop-v4-address';
    if (this.pref64 === null) return 'drop-non-global';
    const { wkpfStrict } = this.#subject.config;
    const isWellKnown =
      this.pref64.length === WELL_KNOWN_PREFIX.length &&
      equalAddress6(this.pref64.address, WELL_KNOWN_PREFIX.address);
    return wkpfStrict && isWellKnown && isNonGlobal4(address) ? 'drop-non-global' : null;
  }

  /** RFC 7757 section 3.3.2: the IPv4 suffix is the leftmost part of the IPv6 suffix. */
  explicit4(address: Address6): number | null {
    const at = this.#maps6.find6(...address);
    if (at < 0) return null;
    const { words } = this.#maps6;
    const length = words[at + VALUE_IPV4_LENGTH] as number;
    const from = words[at + VALUE_IPV6_LENGTH] as number;
    let ipv4 = words[at + VALUE_IPV4] as number;
    for (let i = length; i < 32; i++) ipv4 |= bitOf(address, from + i - length) << (31 - i);
    return ipv4 | 0;
  }

  /** RFC 7757 section 3.3.1. */
  explicit6(address: number): Address6 | null {
    const at = this.#maps4.find4(address);
    if (at < 0) return null;
    const { words } = this.#maps4;
    const length = words[at + VALUE_IPV4_LENGTH] as number;
    const from = words[at + VALUE_IPV6_LENGTH] as number;
    const ipv6 = [...words.subarray(at + VALUE_IPV6, at + VALUE_IPV6 + 4)];
    const suffix = address & ~mask4(length);
    for (let i = length; i < 32; i++) {
      const to = from + i - length;
      const bit = (suffix >>> (31 - i)) & 1;
      ipv6[to >>> 5] = (ipv6[to >>> 5] as number) | (bit << (31 - (to & 31)));
    }
    const [w0 = 0, w1 = 0, w2 = 0, w3 = 0] = ipv6;
    return [w0, w1, w2, w3];
  }

  /** The dynamic map of a host, live or dormant. */
  dynamicOf6(host: Address6): PoolEntry | null {
    const pool = this.#subject.dataplane.keeper?.pool;
    return pool?.entry(pool.lookup(host)) ?? null;
  }

  dynamicOf4(address: number): PoolEntry | null {
    const pool = this.#subject.dataplane.keeper?.pool;
    return pool?.entry(pool.indexOf(address)) ?? null;
  }

  /** A map, if workers would use it now: a sweep may not have come by yet. */
  inUse(entry: PoolEntry | null): PoolEntry | null {
    const { dataplane } = this.#subject;
    if (entry?.live !== true || dataplane.keeper === undefined) return null;
    return dataplane.nowSec() - entry.lastUsedSec <= dataplane.keeper.lifetimeSec ? entry : null;
  }

  /** The IPv6 host that has this IPv4 address. */
  hostOf4(address: number): Address6 | null {
    const explicit = this.explicit6(address);
    if (explicit !== null) return explicit;
    return this.inUse(this.dynamicOf4(address))?.host ?? null;
  }

  /** The IPv4 address that this IPv6 host has. */
  hostOf6(host: Address6): number | null {
    const entry = this.inUse(this.dynamicOf6(host));
    return entry === null ? this.explicit4(host) : entry.ipv4 | 0;
  }
}

function bitOf(address: Address6, position: number): number {
  return ((address[position >>> 5] ?? 0) >>> (31 - (position & 31))) & 1;
}

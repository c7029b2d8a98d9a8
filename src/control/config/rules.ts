/** Rules between keys, and defaults that follow from other keys: from what the file says to the configuration in force. */
import {
  type Address6,
  equalAddress6,
  formatAddress4,
  formatAddress6,
  formatPrefix4,
  formatPrefix6,
  prefix4Contains,
  prefix6Contains,
  prefixes6Overlap,
} from '../../wire/address.js';
import { embedAddress, isNonGlobal4, WELL_KNOWN_PREFIX } from '../../wire/rfc6052.js';
import type { FileConfig } from './schema.js';
import type { GatewayConfig, InterfaceAddress, SocketAddress } from './types.js';

/** Reports what is wrong with the value at a path. */
export type Report = (path: readonly PropertyKey[], message: string) => void;

/** Checks the whole and fills in what follows. Null where something was reported. */
export function complete(
  input: FileConfig,
  file: string,
  placeOf: (path: PropertyKey[]) => string,
  report: Report,
): GatewayConfig | null {
  let isFine = true;
  const wrong: Report = (path, message) => {
    isFine = false;
    report(path, message);
  };
  const { pref64 } = input;
  const pool4 = input.pool4 === false ? null : input.pool4;
  const isWellKnown =
    equalAddress6(pref64.address, WELL_KNOWN_PREFIX.address) && pref64.length === WELL_KNOWN_PREFIX.length;
  const isStrict = isWellKnown && input['wkpf-strict'];

  if (pool4 !== null) checkIpv4(pool4.address, ['pool4'], wrong);
  const ipv4Address = ownIpv4(input, wrong);
  const ipv6Address = ownIpv6(input, ipv4Address, isStrict, wrong);
  const addresses = deviceAddresses(input, ipv4Address, ipv6Address, isStrict, wrong);
  checkMaps(input, placeOf, wrong);
  if (!isFine || ipv4Address === null || ipv6Address === null) return null;

  return {
    file,
    pref64,
    wkpfStrict: input['wkpf-strict'],
    ipv4Address,
    ipv6Address,
    pool4,
    maps: input.map,
    mapLifetimeSec: input['map-lifetime'],
    maxMapsPer64: input['max-maps-per-64'],
    workers: input.workers,
    dataDir: input['data-dir'],
    runDir: input['run-dir'],
    device: { ...input.device, addresses },
    translation: {
      ipv6Mtu: input.translation['ipv6-mtu'] ?? null,
      ipv4Mtu: input.translation['ipv4-mtu'] ?? null,
      lowestIpv6Mtu: input.translation['lowest-ipv6-mtu'],
      udpZeroChecksum: input.translation['udp-zero-checksum'],
      copyTrafficClass: input.translation['copy-traffic-class'],
      mssClamp: input.translation['mss-clamp'],
      icmpErrorsPerSec: input.translation['icmp-errors-per-sec'],
      icmpErrorBurst: input.translation['icmp-error-burst'],
    },
    dns64: {
      enabled: input.dns64.enabled,
      required: input.dns64.required,
      listen: input.dns64.listen ?? addresses.map(listenOn),
      forwarders: input.dns64.forwarders,
      allowFrom: input.dns64['allow-from'] ?? null,
    },
    log: input.log,
  };
}

function listenOn(on: InterfaceAddress): SocketAddress {
  const address = on.family === 4 ? formatAddress4(on.address) : formatAddress6(on.address);
  return { address, port: 53 };
}

/** Address ranges that no gateway has (the list of TAYGA's contract). */
function checkIpv4(address: number, path: PropertyKey[], wrong: Report): void {
  const top = address >>> 24;
  if (top === 0 || top === 127 || top >= 224) {
    wrong(
      path,
      `${formatAddress4(address)} lies in 0/8, 127/8, 224/4 or 240/4, which are no hosts' addresses; use another`,
    );
  }
}

function checkIpv6(address: Address6, path: PropertyKey[], wrong: Report): void {
  const isReserved = address[0] >>> 24 === 0 && address[0] >>> 0 !== 0x0064ff9b;
  if (isReserved || address[0] >>> 24 === 0xff || address[0] >>> 22 === 0x3fa) {
    wrong(
      path,
      `${formatAddress6(address)} lies in ::/8, fe80::/10 or ff00::/8, which are no gateway's addresses; use another`,
    );
  }
}

function ownIpv4(input: FileConfig, wrong: Report): number | null {
  const path = ['ipv4-address'];
  const given = input['ipv4-address'];
  if (given !== undefined) {
    checkIpv4(given, path, wrong);
    return given;
  }
  if (input.pool4 !== false && input.pool4.length <= 30) return input.pool4.address + 1;
  wrong(
    path,
    'is missing; without a pool4 of length 30 or less it must be given, as an IPv4 address that no host has',
  );
  return null;
}

function ownIpv6(input: FileConfig, ipv4: number | null, isStrict: boolean, wrong: Report): Address6 | null {
  const path = ['ipv6-address'];
  const given = input['ipv6-address'];
  if (given !== undefined) {
    checkIpv6(given, path, wrong);
    if (
      prefix6Contains(input.pref64, given) &&
      (ipv4 === null || !equalAddress6(given, embedAddress(input.pref64, ipv4)))
    ) {
      wrong(
        path,
        `lies in pref64 (${formatPrefix6(input.pref64)}), where it would stand for an IPv4 host; use one outside, or leave it out`,
      );
    }
    return given;
  }
  if (ipv4 === null) return null;
  if (isStrict && isNonGlobal4(ipv4)) {
    wrong(
      path,
      `is missing; 64:ff9b::/96 must not represent the private address ${formatAddress4(ipv4)} (RFC 6052 section 3.1): give an IPv6 address outside the prefix, or another pref64, or wkpf-strict = false`,
    );
    return null;
  }
  return embedAddress(input.pref64, ipv4);
}

/** The kernel's addresses on the device: those given, or the second of the pool and its representation. */
function deviceAddresses(
  input: FileConfig,
  ownIpv4: number | null,
  ownIpv6: Address6 | null,
  isStrict: boolean,
  wrong: Report,
): readonly InterfaceAddress[] {
  const given = input.device.addresses;
  if (given === undefined) return defaultDeviceAddresses(input, ownIpv4, isStrict, wrong);
  for (const [index, on] of given.entries()) {
    const path = ['device', 'addresses', index];
    if (on.family === 4) checkIpv4(on.address, path, wrong);
    else checkIpv6(on.address, path, wrong);
    const isOwn =
      on.family === 4 ? on.address === ownIpv4 : ownIpv6 !== null && equalAddress6(on.address, ownIpv6);
    if (isOwn)
      wrong(path, "is the translator's own address (ipv4-address, ipv6-address); the kernel needs another");
  }
  return given;
}

function defaultDeviceAddresses(
  input: FileConfig,
  ownIpv4: number | null,
  isStrict: boolean,
  wrong: Report,
): readonly InterfaceAddress[] {
  // A pool of two or none has no address to spare: the device then has only what the file gives it.
  if (input.pool4 === false || input.pool4.length > 29) return [];
  const first = input.pool4.address + 1;
  const address = first === ownIpv4 ? first + 1 : first;
  if (isStrict && isNonGlobal4(address)) {
    wrong(
      ['device', 'addresses'],
      `is missing; 64:ff9b::/96 must not represent the private address ${formatAddress4(address)} (RFC 6052 section 3.1): give the device's addresses, as in ["${formatAddress4(address)}", "fd64::2"], or [] for none`,
    );
    return [];
  }
  return [
    { family: 4, address, length: 32 },
    { family: 6, address: embedAddress(input.pref64, address), length: 128 },
  ];
}

function checkMaps(input: FileConfig, placeOf: (path: PropertyKey[]) => string, wrong: Report): void {
  const { map: maps, pref64 } = input;
  const byIpv4 = new Map<string, number>();
  for (const [index, { ipv4, ipv6 }] of maps.entries()) {
    // RFC 7757 section 3.2: the IPv6 suffix must have room for the IPv4 one.
    if (32 - ipv4.length > 128 - ipv6.length) {
      wrong(
        ['map', index, 'ipv6'],
        `${formatPrefix6(ipv6)} has fewer addresses than ${formatPrefix4(ipv4)}; its length may be ${96 + ipv4.length} at most`,
      );
    }
    checkIpv4(ipv4.address, ['map', index, 'ipv4'], wrong);
    if (prefixes6Overlap(ipv6, pref64)) {
      wrong(['map', index, 'ipv6'], `overlaps pref64 (${formatPrefix6(pref64)}); map addresses outside it`);
    }
    const earlier = byIpv4.get(formatPrefix4(ipv4));
    if (earlier !== undefined) {
      wrong(
        ['map', index, 'ipv4'],
        `${formatPrefix4(ipv4)} is mapped already, at ${placeOf(['map', earlier, 'ipv4'])}; keep one`,
      );
    } else {
      byIpv4.set(formatPrefix4(ipv4), index);
    }
  }
  // Sorted by address, an overlap is one with the nearest prefix before that reaches so far.
  const order = [...maps.keys()].sort(
    (a, b) =>
      compare6((maps[a] as (typeof maps)[0]).ipv6.address, (maps[b] as (typeof maps)[0]).ipv6.address) ||
      (maps[a] as (typeof maps)[0]).ipv6.length - (maps[b] as (typeof maps)[0]).ipv6.length,
  );
  let widest: number | undefined;
  for (const index of order) {
    const { ipv6 } = maps[index] as (typeof maps)[0];
    if (widest !== undefined && prefixes6Overlap((maps[widest] as (typeof maps)[0]).ipv6, ipv6)) {
      const [first, second] = [Math.min(widest, index), Math.max(widest, index)];
      wrong(
        ['map', second, 'ipv6'],
        `overlaps the map at ${placeOf(['map', first, 'ipv6'])}; an IPv6 address can have one map only`,
      );
    } else {
      widest = index;
    }
  }
  const own = input['ipv4-address'];
  if (own === undefined) return;
  for (const [index, { ipv4 }] of maps.entries()) {
    if (prefix4Contains(ipv4, own)) {
      wrong(
        ['map', index, 'ipv4'],
        `holds ipv4-address ${formatAddress4(own)}; the translator's own address cannot be mapped`,
      );
    }
  }
}

function compare6(a: Address6, b: Address6): number {
  for (let i = 0; i < 4; i++) {
    const difference = ((a[i] as number) >>> 0) - ((b[i] as number) >>> 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

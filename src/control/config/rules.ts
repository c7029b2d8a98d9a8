/** Rules between keys, and defaults that follow from other keys. The rules of maps are in map-rules.ts. */
import {
  type Address6,
  equalAddress6,
  formatAddress4,
  formatAddress6,
  formatPrefix4,
  formatPrefix6,
  prefix6Contains,
} from '../../wire/address.js';
import { embedAddress, extractAddress, isNonGlobal4, WELL_KNOWN_PREFIX } from '../../wire/rfc6052.js';
import { findIdentity } from '../identity.js';
import { atOnce } from '../slices.js';
import type { Given } from './given.js';
import { checkMaps } from './map-rules.js';
import type { PlaceOf, Report } from './problem.js';
import { isLinkLocal6, reserved4, reserved6 } from './ranges.js';
import type { FileConfig, FileSynthesis } from './schema.js';
import { DEFAULT_SYNTHESIS } from './synthesis.js';
import type { GatewayConfig, InterfaceAddress, SocketAddress, SynthesisConfig } from './types.js';

/** What is given or follows from what is given; null where that is wrong. */
export interface Addresses {
  readonly ipv4Address: number | null;
  readonly ipv6Address: Address6 | null;
  readonly device: readonly InterfaceAddress[] | null;
}

/** Checks what is known, and works out the addresses that are not given. */
export function checkRules(given: Given, placeOf: PlaceOf, wrong: Report): Addresses {
  const { pref64, pool4, allowsClassE } = given;
  if (pref64) {
    const reserved = reserved6(pref64, 'translator');
    if (reserved !== null) wrong(['pref64'], `${formatPrefix6(pref64)} ${reserved}`);
  }
  if (pool4 !== null && pool4 !== false) {
    const reserved = reserved4(pool4, allowsClassE);
    if (reserved !== null) wrong(['pool4'], `${formatPrefix4(pool4)} ${reserved}`);
  }
  const ipv4Address = ownIpv4(given, wrong);
  const ipv6Address = ownIpv6(given, ipv4Address, wrong);
  const device = deviceAddresses(given, ipv4Address, ipv6Address, wrong);
  atOnce(checkMaps(given, { ipv4Address, ipv6Address }, placeOf, wrong));
  checkIdentity(given, wrong);
  return { ipv4Address, ipv6Address, device };
}

function checkIdentity({ user, group }: Given, wrong: Report): void {
  try {
    if (user) findIdentity(user, undefined);
  } catch (error) {
    wrong(['user'], (error as Error).message);
  }
  try {
    if (group) findIdentity(undefined, group);
  } catch (error) {
    wrong(['group'], (error as Error).message);
  }
}

function synthesisOf(input: FileSynthesis, base: SynthesisConfig): SynthesisConfig {
  return {
    synthesize: input.synthesize ?? base.synthesize,
    pref64s: input.pref64 ?? base.pref64s,
    pref64Choice: input['pref64-choice'] ?? base.pref64Choice,
    excludeAaaa: input['exclude-aaaa'] ?? base.excludeAaaa,
    excludeIpv4: input['exclude-ipv4'] ?? base.excludeIpv4,
    excludeNames: input['exclude-names'] ?? base.excludeNames,
    ignoreAaaa: input['ignore-aaaa'] ?? base.ignoreAaaa,
    breakDnssec: input['break-dnssec'] ?? base.breakDnssec,
    reverse: input.reverse ?? base.reverse,
  };
}

/** The configuration in force, of a file without mistakes. */
export function complete(
  input: FileConfig,
  file: string,
  own: { [K in keyof Addresses]: NonNullable<Addresses[K]> },
): GatewayConfig {
  const { advertise, translation, dns64, log } = input;
  const synthesis = synthesisOf(dns64, DEFAULT_SYNTHESIS);
  return {
    file,
    warnings:
      input.pref64 === false && dns64.pref64 === undefined && dns64.enabled
        ? [`${file}: DNS64 is off, because pref64 is false`]
        : [],
    pref64: input.pref64 || null,
    wkpfStrict: input['wkpf-strict'],
    ipv4Address: own.ipv4Address,
    ipv6Address: own.ipv6Address,
    pool4: input.pool4 === false ? null : input.pool4,
    allowFrom: input['allow-from'] ?? null,
    maps: input.map,
    mapFile: input['map-file'] ?? null,
    mapLifetimeSec: input['map-lifetime'],
    maxMapsPer64: input['max-maps-per-64'],
    workers: input.workers,
    workerNice: input['worker-nice'],
    dataDir: input['data-dir'] || null,
    runDir: input['run-dir'],
    controlGroup: input['control-group'] ?? null,
    user: input.user ?? null,
    group: input.group ?? null,
    controlSocket: input['control-socket'],
    // Those that follow from the pool are for a device that we set up; without, the administrator chose others.
    device: {
      ...input.device,
      addresses: input.device.configure ? own.device : (input.device.addresses ?? []),
    },
    translation: {
      ipv6Mtu: translation['ipv6-mtu'] ?? null,
      ipv4Mtu: translation['ipv4-mtu'] ?? null,
      lowestIpv6Mtu: translation['lowest-ipv6-mtu'],
      udpZeroChecksum: translation['udp-zero-checksum'],
      copyTrafficClass: translation['copy-traffic-class'],
      mssClamp: translation['mss-clamp'],
      icmpFragments: translation['icmp-fragments'],
      icmpSourcePool4: translation['icmp-source-pool4'] ?? null,
      forwardClassE: translation['forward-class-e'],
      clat: translation.clat,
      icmpErrorsPerSec: translation['icmp-errors-per-sec'],
      icmpErrorBurst: translation['icmp-error-burst'],
    },
    advertise: {
      interfaces: [...new Set(advertise.interfaces)],
      dnsServers: advertise['dns-servers'] ?? null,
      intervalSec: advertise.interval,
      lifetimeSec: advertise.lifetime ?? null,
      mtu: advertise.mtu ?? null,
      prefix: advertise.prefix ?? null,
      route: advertise.route,
      routerLifetimeSec: advertise['router-lifetime'],
    },
    dns64: {
      enabled: dns64.enabled && (input.pref64 !== false || dns64.pref64 !== undefined),
      required: dns64.required,
      listen: dns64.listen ?? (dns64.interfaces.length > 0 ? [] : own.device.flatMap(listenOn)),
      interfaces: dns64.interfaces,
      port: dns64.port,
      forwarders: dns64.forwarders,
      forwardersCa: dns64['forwarders-ca'] ?? null,
      retrySec: dns64.retry,
      allowFrom: dns64['allow-from'] ?? null,
      randomizeCase: dns64['randomize-case'],
      cacheSizeBytes: dns64['cache-size'],
      prefetch: dns64.prefetch,
      serveStaleSec: dns64['serve-stale'],
      cookies: dns64.cookies,
      rateLimit: dns64['rate-limit'],
      tcpConnections: dns64['tcp-connections'],
      tcpIdleSec: dns64['tcp-idle'],
      ...synthesis,
      clients: dns64.clients ?? null,
      policies: dns64.policy.map((one) => ({ clients: one.clients, ...synthesisOf(one, synthesis) })),
      reverse6to4: dns64['reverse-6to4'],
      scoped: dns64.scoped,
      privateZones: dns64['private-zones'],
    },
    http: {
      listen: input.http.listen,
      token: input.http.token ?? null,
      names: input.http.names,
    },
    log: {
      level: log.level,
      format: log.format,
      packets: log.packets,
      packetLevel: log['packet-level'],
      assignmentLevel: log['assignment-level'],
      maps: log.maps,
      destination: log.destination,
    },
  };
}

/** A link-local address needs a zone to be bound, and no host behind the gateway could ask there. */
function listenOn(on: InterfaceAddress): SocketAddress[] {
  if (on.family === 4) return [{ address: formatAddress4(on.address), port: 53 }];
  if (isLinkLocal6({ address: on.address, length: 128 })) return [];
  return [{ address: formatAddress6(on.address), port: 53 }];
}

/** RFC 6052 section 3.1: whether pref64 may not represent this IPv4 address. */
function isRefused({ pref64, wkpfStrict }: Given, ipv4: number): boolean {
  const isWellKnown =
    pref64 &&
    pref64.length === WELL_KNOWN_PREFIX.length &&
    equalAddress6(pref64.address, WELL_KNOWN_PREFIX.address);
  return isWellKnown === true && wkpfStrict === true && isNonGlobal4(ipv4);
}

function refusal(ipv4: number): string {
  return `64:ff9b::/96 must not represent the private address ${formatAddress4(ipv4)} (RFC 6052 section 3.1)`;
}

function ownIpv4({ ipv4Address, pool4, allowsClassE }: Given, wrong: Report): number | null {
  const path = ['ipv4-address'];
  if (typeof ipv4Address === 'number') {
    const reserved = reserved4({ address: ipv4Address, length: 32 }, allowsClassE);
    if (reserved !== null) wrong(path, `${formatAddress4(ipv4Address)} ${reserved}`);
    return ipv4Address;
  }
  if (ipv4Address === null || pool4 === null) return null;
  if (pool4 !== false && pool4.length <= 30) return pool4.address + 1;
  wrong(
    path,
    'is missing; without a pool4 of length 30 or less it must be given, as an IPv4 address that no host has',
  );
  return null;
}

function ownIpv6(given: Given, ipv4: number | null, wrong: Report): Address6 | null {
  const path = ['ipv6-address'];
  const { pref64, ipv6Address } = given;
  if (ipv6Address === null) return null;
  if (ipv6Address === undefined) {
    if (ipv4 === null || pref64 === null) return null;
    if (pref64 === false) {
      wrong(path, 'is missing; without a pref64 it must be given, as an IPv6 address that no host has');
      return null;
    }
    if (!isRefused(given, ipv4)) return embedAddress(pref64, ipv4);
    wrong(
      path,
      `is missing; ${refusal(ipv4)}: give an IPv6 address outside the prefix, or another pref64, or wkpf-strict = false`,
    );
    return null;
  }
  const reserved = reserved6({ address: ipv6Address, length: 128 }, 'translator');
  if (reserved !== null) wrong(path, `${formatAddress6(ipv6Address)} ${reserved}`);
  if (pref64 && ipv4 !== null && prefix6Contains(pref64, ipv6Address)) {
    if (!equalAddress6(ipv6Address, embedAddress(pref64, ipv4))) {
      wrong(
        path,
        `lies in pref64 (${formatPrefix6(pref64)}), where it would stand for an IPv4 host; use one outside, or leave it out`,
      );
    } else if (isRefused(given, ipv4)) {
      wrong(path, `${refusal(ipv4)}; give an IPv6 address outside the prefix`);
    }
  }
  return ipv6Address;
}

/** The kernel's addresses on the device: those given, or the second of the pool and its representation. */
function deviceAddresses(
  given: Given,
  ownIpv4: number | null,
  ownIpv6: Address6 | null,
  wrong: Report,
): readonly InterfaceAddress[] | null {
  if (given.deviceAddresses === undefined) return defaultDeviceAddresses(given, ownIpv4, wrong);
  for (const [index, on] of given.deviceAddresses?.entries() ?? []) {
    const message = on === null ? null : wrongOnDevice(on, given, ownIpv4, ownIpv6);
    if (message !== null) wrong(['device', 'addresses', index], message);
  }
  return given.deviceAddresses?.filter((on) => on !== null) ?? null;
}

function wrongOnDevice(
  on: InterfaceAddress,
  given: Given,
  ownIpv4: number | null,
  ownIpv6: Address6 | null,
): string | null {
  const isOwn =
    on.family === 4 ? on.address === ownIpv4 : ownIpv6 !== null && equalAddress6(on.address, ownIpv6);
  if (isOwn) return "is the translator's own address (ipv4-address, ipv6-address); the kernel needs another";
  if (on.family === 4) {
    const reserved = reserved4({ address: on.address, length: 32 }, given.allowsClassE);
    return reserved && `${formatAddress4(on.address)} ${reserved}`;
  }
  const { pref64 } = given;
  if (pref64 && prefix6Contains(pref64, on.address)) {
    const ipv4 = extractAddress(pref64.length, on.address);
    if (isRefused(given, ipv4)) return `${refusal(ipv4)}; give an IPv6 address outside the prefix`;
  }
  const reserved = reserved6({ address: on.address, length: 128 }, 'interface');
  return reserved && `${formatAddress6(on.address)} ${reserved}`;
}

function defaultDeviceAddresses(
  given: Given,
  ownIpv4: number | null,
  wrong: Report,
): readonly InterfaceAddress[] | null {
  const { pref64, pool4 } = given;
  if (pref64 === null || pool4 === null || ownIpv4 === null) return null;
  // A pool of two or none has no address to spare: the device then has only what the file gives it.
  if (pool4 === false || pool4.length > 30) return [];
  const second = pool4.address + 2;
  const address = second === ownIpv4 ? pool4.address + 1 : second;
  if (isRefused(given, address)) {
    wrong(
      ['device', 'addresses'],
      `is missing; ${refusal(address)}: give the device's addresses, as in ["${formatAddress4(address)}", "fd64::2"], or [] for none`,
    );
    return null;
  }
  return [
    { family: 4, address, length: 32 },
    ...(pref64 === false
      ? []
      : [{ family: 6 as const, address: embedAddress(pref64, address), length: 128 }]),
  ];
}

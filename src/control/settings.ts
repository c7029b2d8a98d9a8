/** What of a configuration concerns the workers and the pool. */
import { availableParallelism } from 'node:os';
import { createPrefixSet, PrefixTable } from '../shm/prefix-table.js';
import type { TranslatorSettings } from '../shm/worker-task.js';
import {
  type Address6,
  equalAddress6,
  GLOBAL_AND_UNIQUE_LOCAL,
  type Prefix4,
  type Prefix6,
  prefix6Contains,
} from '../wire/address.js';
import type { ExplicitMap, GatewayConfig, InterfaceAddress } from './config/types.js';

/** A configuration with what the file system and the kernel add to it. */
export interface EffectiveConfig extends GatewayConfig {
  /** Those of the configuration and those of its map-file. */
  readonly maps: readonly ExplicitMap[];
  /** The kernel's addresses on the device, whoever set them. */
  readonly deviceAddresses: readonly InterfaceAddress[];
  /** The device's MTU, whoever set it. */
  readonly deviceMtu: number;
  /** Names of the offloads that the device has. */
  readonly offloads: readonly string[];
}

/** How many workers a configuration asks for: with 0 one for each CPU that this process may run on (affinity, cpuset). */
export function workerCountOf({ workers }: Pick<GatewayConfig, 'workers'>): number {
  return workers || availableParallelism();
}

/** What can be joined: a kernel that does not cut super-frames of UDP for us does not take any from us either. */
export function coalescing({ device, offloads }: EffectiveConfig): TranslatorSettings['coalesce'] {
  if (!device.coalesce || !offloads.includes('TSO4')) return 'none';
  return offloads.includes('USO4') ? 'all' : 'tcp';
}

/** Where hosts may send from, if no explicit map names them. */
export function allowedSources({ allowFrom }: Pick<GatewayConfig, 'allowFrom'>): readonly Prefix6[] {
  return allowFrom ?? GLOBAL_AND_UNIQUE_LOCAL;
}

/**
 * Whether a host may have a dynamic map, as the translator judges one that has none (`checkHost6`). The kernel's own addresses on the
 * device are its hosts, too.
 */
export function allowedHosts(
  config: Pick<EffectiveConfig, 'allowFrom' | 'pref64' | 'deviceAddresses'>,
): (host: Address6) => boolean {
  const { pref64, deviceAddresses } = config;
  const allowed = new PrefixTable(createPrefixSet(allowedSources(config)));
  const onDevice = deviceAddresses.flatMap((on) => (on.family === 6 ? [on] : []));
  return (host) => {
    if (onDevice.some(({ address }) => equalAddress6(address, host))) return true;
    return (pref64 === null || !prefix6Contains(pref64, host)) && allowed.find6(...host) >= 0;
  };
}

/** The device's MTU within what the translators can work with. One below has no IPv6, and nothing to translate. */
export function usableMtu({ deviceMtu }: EffectiveConfig): number {
  return Math.min(Math.max(deviceMtu, 1280), 65_535);
}

/** The part of the configuration that the translators need. */
export function translatorSettings(config: EffectiveConfig): TranslatorSettings {
  const { translation, deviceAddresses } = config;
  const mtu = usableMtu(config);
  return {
    pref64: config.pref64,
    wkpfStrict: config.wkpfStrict,
    ipv4Address: config.ipv4Address,
    ipv6Address: config.ipv6Address,
    pool4: config.pool4,
    allowFrom: allowedSources(config),
    deviceAddresses4: deviceAddresses.flatMap((a) => (a.family === 4 ? [a.address] : [])),
    deviceAddresses6: deviceAddresses.flatMap((a) => (a.family === 6 ? [a.address] : ([] as Address6[]))),
    ipv6Mtu: translation.ipv6Mtu ?? mtu,
    ipv4Mtu: translation.ipv4Mtu ?? mtu,
    lowestIpv6Mtu: translation.lowestIpv6Mtu,
    udpZeroChecksum: translation.udpZeroChecksum,
    copyTrafficClass: translation.copyTrafficClass,
    mssClamp: translation.mssClamp,
    icmpFragments: translation.icmpFragments,
    icmpSourcePool4: translation.icmpSourcePool4,
    forwardClassE: translation.forwardClassE,
    clat: translation.clat,
    icmpErrorsPerSec: translation.icmpErrorsPerSec,
    icmpErrorBurst: translation.icmpErrorBurst,
    coalesce: coalescing(config),
    logPackets: config.log.packets.filter((event) => event !== 'dyn'),
  };
}

/** What the pool never hands out: the translator's own address, the kernel's, and what explicit maps name. */
export function reservedAddresses(config: EffectiveConfig): Prefix4[] {
  const own = { address: config.ipv4Address, length: 32 };
  const kernel = config.deviceAddresses.flatMap((a) =>
    a.family === 4 ? [{ address: a.address, length: 32 }] : [],
  );
  return [own, ...kernel, ...config.maps.map((map) => map.ipv4)];
}

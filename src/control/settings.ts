/** What of a configuration concerns the workers and the pool. */
import { cpus } from 'node:os';
import type { TranslatorSettings } from '../shm/worker-task.js';
import type { Address6, Prefix4 } from '../wire/address.js';
import type { ExplicitMap, GatewayConfig, InterfaceAddress } from './config/types.js';

/** A configuration with what the file system and the kernel add to it. */
export interface EffectiveConfig extends GatewayConfig {
  /** Those of the configuration and those of its map-file. */
  readonly maps: readonly ExplicitMap[];
  /** The kernel's addresses on the device, whoever set them. */
  readonly deviceAddresses: readonly InterfaceAddress[];
  /** Names of the offloads that the device has. */
  readonly offloads: readonly string[];
}

/** How many workers a configuration asks for. */
export function workerCountOf({ workers }: Pick<GatewayConfig, 'workers'>): number {
  return workers || cpus().length;
}

/** What can be joined: a kernel that does not cut super-frames of UDP for us does not take any from us either. */
export function coalescing({ device, offloads }: EffectiveConfig): TranslatorSettings['coalesce'] {
  if (!device.coalesce || !offloads.includes('TSO4')) return 'none';
  return offloads.includes('USO4') ? 'all' : 'tcp';
}

/** The part of the configuration that the translators need. */
export function translatorSettings(config: EffectiveConfig): TranslatorSettings {
  const { translation, device, deviceAddresses } = config;
  return {
    pref64: config.pref64,
    wkpfStrict: config.wkpfStrict,
    ipv4Address: config.ipv4Address,
    ipv6Address: config.ipv6Address,
    pool4: config.pool4,
    deviceAddresses4: deviceAddresses.flatMap((a) => (a.family === 4 ? [a.address] : [])),
    deviceAddresses6: deviceAddresses.flatMap((a) => (a.family === 6 ? [a.address] : ([] as Address6[]))),
    ipv6Mtu: translation.ipv6Mtu ?? device.mtu,
    ipv4Mtu: translation.ipv4Mtu ?? device.mtu,
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

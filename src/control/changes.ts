/** What differs between two configurations, by the names that the file uses. */
import { isDeepStrictEqual } from 'node:util';
import type { GatewayConfig } from './config/types.js';

/** Keys that need a restart, and why. */
const FIXED: ReadonlyMap<string, string> = new Map([
  ['device.name', 'the device is open'],
  ['device.mtu', 'the device is set up'],
  ['device.offload', 'the queues are open'],
  ['device.configure', 'the device is set up'],
  ['device.forwarding', 'the device is set up'],
  ['device.masquerade', 'the device is set up'],
  ['workers', 'the queues are open'],
  ['worker-nice', 'the workers have started'],
  ['data-dir', 'dynamic.map is open'],
  ['run-dir', 'it is in use'],
  ['log.format', 'the log is open'],
]);

/** What a file calls a key otherwise than our own code does. */
const NAMES: Readonly<Record<string, string>> = {
  'map-lifetime-sec': 'map-lifetime',
  'max-maps-per64': 'max-maps-per-64',
  maps: 'map',
  pref64s: 'pref64',
  policies: 'policy',
  'retry-sec': 'retry',
  'cache-size-bytes': 'cache-size',
  'serve-stale-sec': 'serve-stale',
  'tcp-idle-sec': 'tcp-idle',
  reverse6to4: 'reverse-6to4',
};

export interface Changes {
  /** Dotted keys that a reload applies. */
  readonly applied: readonly string[];
  /** Those that need a restart, each with the reason. */
  readonly fixed: readonly { readonly key: string; readonly reason: string }[];
}

/** Compares two configurations key by key. */
export function changesBetween(before: GatewayConfig, after: GatewayConfig): Changes {
  const keys = differingKeys(before, after, '').filter(
    // The maps of a map-file are compared themselves.
    (key) => !['file', 'warnings', 'map-file'].includes(key),
  );
  return {
    applied: keys.filter((key) => !FIXED.has(key)),
    fixed: keys.flatMap((key) => {
      const reason = FIXED.get(key);
      return reason === undefined ? [] : [{ key, reason }];
    }),
  };
}

/** The configuration that a reload can bring into force: the new one, with what needs a restart as it was. */
export function withoutFixed(before: GatewayConfig, after: GatewayConfig): GatewayConfig {
  const { name, mtu, offload, configure, forwarding, masquerade } = before.device;
  return {
    ...after,
    workers: before.workers,
    workerNice: before.workerNice,
    dataDir: before.dataDir,
    runDir: before.runDir,
    device: { ...after.device, name, mtu, offload, configure, forwarding, masquerade },
    log: { ...after.log, format: before.log.format },
  };
}

function differingKeys(before: object, after: object, path: string): string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].flatMap((name) => {
    const a: unknown = Reflect.get(before, name);
    const b: unknown = Reflect.get(after, name);
    if (isDeepStrictEqual(a, b)) return [];
    const kebab = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    const key = `${path}${NAMES[kebab] ?? kebab}`;
    // Tables are looked into; what else is an object (an address, a prefix, a list) is one value.
    const isTable = ['device', 'translation', 'dns64', 'http', 'log'].includes(name);
    return isTable ? differingKeys(a as object, b as object, `${key}.`) : [key];
  });
}

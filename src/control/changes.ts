/** What differs between two configurations, by the names that the file uses. */
import { isDeepStrictEqual } from 'node:util';
import type { GatewayConfig } from './config/types.js';
import { areSame } from './explicit-maps.js';

type Maps = GatewayConfig['maps'];

/** Keys that need a restart, and why. */
const FIXED: ReadonlyMap<string, string> = new Map([
  ['device.name', 'the device is open'],
  ['device.configure', 'the device is set up'],
  ['worker-nice', 'the workers have started'],
  ['data-dir', 'dynamic.map is open'],
  ['run-dir', 'it is in use'],
  ['user', 'it is another already'],
  ['group', 'it is another already'],
  ['log.destination', 'the log is open'],
]);

/** Why a change of a key (dotted) needs a restart; null where a reload brings it into force. */
export function restartReason(key: string): string | null {
  return FIXED.get(key) ?? null;
}

/** What a file calls a key otherwise than our own code does. */
const NAMES: Readonly<Record<string, string>> = {
  'map-lifetime-sec': 'map-lifetime',
  'interval-sec': 'interval',
  'lifetime-sec': 'lifetime',
  'router-lifetime-sec': 'router-lifetime',
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
  /** Those that need a restart, each with the reason: a reload with one of them is refused. */
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

/** Why a reload cannot bring this configuration into force, a line each; '' where it can. */
export function refusalOf({ fixed }: Changes, file: string): string {
  return fixed
    .map(
      ({ key, reason }) =>
        `${file}: ${key} cannot change while the gateway runs (${reason}): restart to apply it, or take the change back`,
    )
    .join('\n');
}

function differingKeys(before: object, after: object, path: string): string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].flatMap((name) => {
    const a: unknown = Reflect.get(before, name);
    const b: unknown = Reflect.get(after, name);
    if (name === 'maps' ? areSame(a as Maps, b as Maps) : isDeepStrictEqual(a, b)) return [];
    const kebab = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    const key = `${path}${NAMES[kebab] ?? kebab}`;
    // Tables are looked into; what else is an object (an address, a prefix, a list) is one value.
    const isTable = ['advertise', 'device', 'translation', 'dns64', 'http', 'log'].includes(name);
    return isTable ? differingKeys(a as object, b as object, `${key}.`) : [key];
  });
}

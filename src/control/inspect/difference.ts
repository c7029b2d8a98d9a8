/** What a reload would change, and whom it would interrupt: found out without changing anything. */
import { isDeepStrictEqual } from 'node:util';
import { createPrefixTable, PrefixTable } from '../../shm/prefix-table.js';
import { formatPrefix4, formatPrefix6, prefix4Contains } from '../../wire/address.js';
import { type Changes, changesBetween, withoutFixed } from '../changes.js';
import { formatToml } from '../config/to-toml.js';
import type { ExplicitMap, GatewayConfig } from '../config/types.js';
import type { Subject } from './subject.js';

export interface KeyChange {
  readonly key: string;
  /** As TOML; null is the default, or not there. */
  readonly before: string | null;
  readonly after: string | null;
  /** Why only a restart applies it; null where a reload does. */
  readonly needsRestart: string | null;
}

export interface Difference {
  readonly file: string;
  readonly warnings: readonly string[];
  readonly keys: readonly KeyChange[];
  readonly mapsAdded: readonly string[];
  readonly mapsRemoved: readonly string[];
  /** What would be interrupted, a line each. */
  readonly interrupts: readonly string[];
}

/** Keys whose values are nobody's business. */
const SECRET = ['http.token'];

export function differenceTo(subject: Subject, after: GatewayConfig): Difference {
  // What the kernel has added is in no file.
  const { deviceAddresses, offloads, ...before } = subject.config;
  const changes = changesBetween(before, after);
  return {
    file: after.file,
    warnings: after.warnings,
    keys: keyChanges(before, after, changes),
    mapsAdded: without(after.maps, before.maps),
    mapsRemoved: without(before.maps, after.maps),
    interrupts: interruptions(subject, withoutFixed(before, after), changes),
  };
}

function keyChanges(before: GatewayConfig, after: GatewayConfig, changes: Changes): KeyChange[] {
  const [old, next] = [tomlValues(before), tomlValues(after)];
  const reasons = new Map(changes.fixed.map(({ key, reason }) => [key, reason]));
  return [...changes.applied, ...reasons.keys()]
    .filter((key) => key !== 'map')
    .map((key) => {
      const isSecret = SECRET.includes(key);
      const show = (value: string | undefined) =>
        value === undefined ? null : isSecret ? '(secret)' : value;
      return {
        key,
        before: show(old.get(key)),
        after: show(next.get(key)),
        needsRestart: reasons.get(key) ?? null,
      };
    });
}

/** What a file would say to give this configuration, by dotted key. */
function tomlValues(config: GatewayConfig): Map<string, string> {
  const values = new Map<string, string>();
  let table = '';
  for (const line of formatToml({ ...config, maps: [] }).split('\n')) {
    const heading = /^\[([^[\]]+)\]$/.exec(line)?.[1];
    if (heading !== undefined) table = `${heading}.`;
    const [, key, value] = /^([a-z0-9-]+) = (.*)$/.exec(line) ?? [];
    if (key !== undefined && value !== undefined) values.set(`${table}${key}`, value);
  }
  return values;
}

function without(maps: readonly ExplicitMap[], others: readonly ExplicitMap[]): string[] {
  const text = ({ ipv4, ipv6 }: ExplicitMap) => `${formatPrefix4(ipv4)} ${formatPrefix6(ipv6)}`;
  const known = new Set(others.map(text));
  return maps.map(text).filter((map) => !known.has(map));
}

function interruptions(subject: Subject, after: GatewayConfig, changes: Changes): string[] {
  const before = subject.config;
  const lines: string[] = [];
  if (!isDeepStrictEqual(before.pref64, after.pref64) && before.pref64 !== null) {
    lines.push(
      `every flow to an address under ${formatPrefix6(before.pref64)}: that prefix is served no more`,
    );
  }
  const ending = endingMaps(subject, after);
  if (ending > 0) {
    lines.push(
      `${ending} dynamic ${ending === 1 ? 'map ends' : 'maps end'}: those hosts get another address with their next packet, and their flows break`,
    );
  }
  const removed = without(before.maps, after.maps).length;
  if (removed > 0)
    lines.push(
      `flows of ${removed} explicit ${removed === 1 ? 'map that goes' : 'maps that go'} away or change`,
    );
  if (
    changes.applied.some((key) => key.startsWith('dns64.')) ||
    !isDeepStrictEqual(before.pref64, after.pref64)
  ) {
    if (subject.dns64 !== undefined)
      lines.push('DNS queries in flight: DNS64 starts anew, with an empty cache');
  }
  if (changes.applied.some((key) => key.startsWith('http.')))
    lines.push('HTTP connections (metrics): its listener starts anew');
  return lines;
}

/** Live maps that have no place in the next configuration. */
function endingMaps({ config, dataplane }: Subject, after: GatewayConfig): number {
  const { keeper } = dataplane;
  if (keeper === undefined) return 0;
  const { pool4 } = after;
  const onDevice = after.device.configure ? after.device.addresses : config.deviceAddresses;
  const own = new Set([
    after.ipv4Address | 0,
    ...onDevice.map((on) => (on.family === 4 ? on.address | 0 : 0)),
  ]);
  const maps4 = new PrefixTable(createPrefixTable(after.maps, 4));
  const maps6 = new PrefixTable(createPrefixTable(after.maps, 6));
  const nowSec = dataplane.nowSec();
  let count = 0;
  for (const { ipv4, host, lastUsedSec, live } of keeper.pool.entries()) {
    if (!live) continue;
    const stays =
      pool4 !== null &&
      prefix4Contains(pool4, ipv4) &&
      nowSec - lastUsedSec <= after.mapLifetimeSec &&
      !own.has(ipv4 | 0) &&
      (maps4.isEmpty || (maps4.find4(ipv4) < 0 && maps6.find6(...host) < 0));
    if (!stays) count++;
  }
  return count;
}

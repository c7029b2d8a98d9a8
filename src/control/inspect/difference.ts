/** What a reload would change, and whom it would interrupt: found out without changing anything. */
import { setImmediate } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { buildPrefixTable, PrefixTable } from '../../shm/prefix-table.js';
import { formatPrefix4, formatPrefix6, prefix4Contains } from '../../wire/address.js';
import { type Changes, changesBetween } from '../changes.js';
import { showSocketAddress } from '../config/socket-address.js';
import { formatToml } from '../config/to-toml.js';
import type { ExplicitMap, GatewayConfig } from '../config/types.js';
import { areSame } from '../explicit-maps.js';
import { leftAddresses } from '../name-server.js';
import { formatInterfaceAddress } from '../netdev/index.js';
import { allowedHosts, workerCountOf } from '../settings.js';
import { inSlices, type Sliced } from '../slices.js';
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
  /** What would be interrupted, a line each; nothing where a key needs a restart, for then nothing changes. */
  readonly interrupts: readonly string[];
}

/** Keys whose values are nobody's business. */
const SECRET = ['http.token'];
const LOG_LEVEL = 'log.level';
/** Maps looked at in one go. */
const SLICE = 10_000;

/** Walks a large pool in slices, so that DNS is served in between. */
export async function differenceTo(subject: Subject, after: GatewayConfig): Promise<Difference> {
  // What the kernel has added is in no file.
  const { deviceAddresses, deviceMtu, offloads, ...before } = subject.config;
  const changes = changesBetween(before, after);
  const mapsRemoved = await inSlices(without(before.maps, after.maps));
  return {
    file: after.file,
    warnings: after.warnings,
    keys: keyChanges(before, after, changes, subject.logLevel),
    mapsAdded: await inSlices(without(after.maps, before.maps)),
    mapsRemoved,
    interrupts: changes.fixed.length > 0 ? [] : await interruptions(subject, after, mapsRemoved.length),
  };
}

function keyChanges(
  before: GatewayConfig,
  after: GatewayConfig,
  changes: Changes,
  logLevel: Subject['logLevel'],
): KeyChange[] {
  const [old, next] = [tomlValues(before), tomlValues(after)];
  const reasons = new Map(changes.fixed.map(({ key, reason }) => [key, reason]));
  // A reload takes back what was set by hand.
  if (logLevel !== before.log.level) old.set(LOG_LEVEL, `"${logLevel}", set by hand`);
  const isReset = logLevel !== before.log.level && logLevel !== after.log.level;
  const keys = new Set([...changes.applied, ...(isReset ? [LOG_LEVEL] : []), ...reasons.keys()]);
  return [...keys]
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

function* without(maps: readonly ExplicitMap[], others: readonly ExplicitMap[]): Sliced<string[]> {
  const text = ({ ipv4, ipv6 }: ExplicitMap) => `${formatPrefix4(ipv4)} ${formatPrefix6(ipv6)}`;
  const left: string[] = [];
  if (maps === others) return left;
  const known = new Set<string>();
  for (const map of others) {
    known.add(text(map));
    yield;
  }
  for (const map of maps) {
    if (!known.has(text(map))) left.push(text(map));
    yield;
  }
  return left;
}

async function interruptions(subject: Subject, after: GatewayConfig, removed: number): Promise<string[]> {
  const before = subject.config;
  const lines: string[] = [];
  if (!isDeepStrictEqual(before.pref64, after.pref64) && before.pref64 !== null) {
    lines.push(
      `every flow to an address under ${formatPrefix6(before.pref64)}: that prefix is served no more`,
    );
  }
  const { ending, resting } = await endingMaps(subject, after);
  if (ending > 0) {
    lines.push(
      `${ending} dynamic ${ending === 1 ? 'map ends' : 'maps end'}: those hosts get another address with their next packet, and their flows break`,
    );
  }
  if (resting > 0) {
    lines.push(
      `${resting} dynamic ${resting === 1 ? 'map comes' : 'maps come'} to rest: those hosts get the same address again with their next packet, unless others have needed it; nothing reaches them before`,
    );
  }
  if (removed > 0)
    lines.push(
      `flows of ${removed} explicit ${removed === 1 ? 'map that goes' : 'maps that go'} away or change`,
    );
  const [workers, workersAfter] = [workerCountOf(before), workerCountOf(after)];
  if (workers !== workersAfter && workers > 1 && subject.steering === 'kernel')
    lines.push(
      'a few frames of any flow: the kernel chooses their queues, and what waits in one that is closed is lost',
    );
  lines.push(...deviceInterruptions(before, after));
  const dns = subject.dns64 === undefined ? [] : leftAddresses(before, after);
  if (dns.length > 0)
    lines.push(
      `DNS queries in flight and TCP connections for DNS at ${dns.map(showSocketAddress).join(', ')}`,
    );
  const stays = after.http.listen.map(showSocketAddress);
  const http = before.http.listen.map(showSocketAddress).filter((address) => !stays.includes(address));
  if (http.length > 0) lines.push(`HTTP connections (metrics, page) at ${http.join(', ')}`);
  if (before.controlSocket && !after.controlSocket)
    lines.push('clients of the control socket, once they have their replies');
  return lines;
}

function deviceInterruptions(before: GatewayConfig, after: GatewayConfig): string[] {
  const lines: string[] = [];
  const [old, next] = [before.device, after.device];
  const kept = next.addresses.map(formatInterfaceAddress);
  const gone = old.addresses.map(formatInterfaceAddress).filter((address) => !kept.includes(address));
  if (gone.length > 0) lines.push(`connections of this machine itself from ${gone.join(', ')}`);
  if (!old.configure) return lines;
  if (
    old.masquerade !== false &&
    before.pool4 !== null &&
    (next.masquerade === false || after.pool4 === null)
  )
    lines.push("flows that leave with this machine's own IPv4 address: masquerading ends");
  if (old.forwarding && !next.forwarding)
    lines.push('every flow, where it was the gateway that turned forwarding on: it turns it off');
  return lines;
}

/** Live maps that have no place in the next configuration, and those that are only too old for its lifetime. */
async function endingMaps(
  { config, dataplane }: Subject,
  after: GatewayConfig,
): Promise<{ ending: number; resting: number }> {
  const { keeper } = dataplane;
  const { pool4 } = after;
  const onDevice = after.device.configure ? after.device.addresses : config.deviceAddresses;
  const concerns = ({ mapLifetimeSec, ipv4Address, allowFrom, pref64 }: GatewayConfig) => ({
    mapLifetimeSec,
    ipv4Address,
    allowFrom,
    pref64,
  });
  let [ending, resting] = [0, 0];
  if (
    keeper === undefined ||
    (isDeepStrictEqual(config.pool4, pool4) &&
      areSame(config.maps, after.maps) &&
      isDeepStrictEqual(concerns(config), concerns(after)) &&
      isDeepStrictEqual(config.deviceAddresses, onDevice))
  ) {
    return { ending, resting };
  }
  const own = new Set([
    after.ipv4Address | 0,
    ...onDevice.map((on) => (on.family === 4 ? on.address | 0 : 0)),
  ]);
  const maps4 = new PrefixTable(await inSlices(buildPrefixTable(after.maps, 4)));
  const maps6 = new PrefixTable(await inSlices(buildPrefixTable(after.maps, 6)));
  const { pool } = keeper;
  const isAllowed = allowedHosts({ ...after, deviceAddresses: onDevice });
  for (let from = 0; from < pool.size; from += SLICE) {
    const nowSec = dataplane.nowSec();
    for (const { ipv4, host, lastUsedSec, live } of pool.entries(from, Math.min(from + SLICE, pool.size))) {
      if (!live) continue;
      const hasPlace =
        pool4 !== null &&
        prefix4Contains(pool4, ipv4) &&
        !own.has(ipv4 | 0) &&
        isAllowed(host) &&
        (maps4.isEmpty || (maps4.find4(ipv4) < 0 && maps6.find6(...host) < 0));
      if (!hasPlace) ending++;
      else if (nowSec - lastUsedSec > after.mapLifetimeSec && !keeper.isPinned(pool.indexOf(ipv4))) resting++;
    }
    await setImmediate();
  }
  return { ending, resting };
}

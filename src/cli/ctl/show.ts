/** What the gateway answers, as people read it. */
import type { Difference } from '../../control/inspect/difference.js';
import type { MapView } from '../../control/inspect/maps.js';
import type { Status, Throughput } from '../../control/inspect/status.js';
import type { WorkerView } from '../../control/inspect/subject.js';
import type { Trace } from '../../control/inspect/trace.js';
import { formatCount, formatDuration, formatPairs, formatRate, formatTable } from './format.js';

export function showStatus(status: Status): string {
  const { pool, dns64, workers, throughput } = status;
  const joined = { none: 'off', tcp: 'TCP', all: 'TCP and UDP' }[status.coalescing];
  const busy =
    workers.running < workers.count ? `${workers.running} of ${workers.count}` : String(workers.count);
  return formatPairs([
    ['version', `${status.version} (Node.js ${status.node}), pid ${status.pid}`],
    ['up', formatDuration(status.uptimeSec)],
    ['configuration', status.configFile],
    ['device', status.device],
    ...(status.deviceProblem === null ? [] : [['', status.deviceProblem] as const]),
    ['workers', `${busy}${workers.restarts === 0 ? '' : `, ${workers.restarts} replaced since the start`}`],
    ['offloads', status.offloads.join(' ') || 'none'],
    ['coalescing', joined],
    ['steering', status.steering === 'program' ? 'by flow, both directions to one worker' : "the kernel's"],
    ['pref64', status.pref64 ?? 'none'],
    ['own addresses', `${status.ipv4Address}, ${status.ipv6Address}`],
    ['pool', pool === null ? 'none' : showPool(pool)],
    ['explicit maps', formatCount(status.explicitMaps)],
    ['dns64', dns64 === null ? 'off' : `on ${dns64.listening.join(', ') || 'no address'}`],
    ...(dns64 === null ? [] : [['', `asks ${dns64.forwarders.join(', ') || 'nobody'}`] as const]),
    ...(dns64?.failures ?? []).map((failure) => ['', failure] as const),
    ...status.advertise.map((one) => ['advertising', showAdvertised(one)] as const),
    ['log level', status.logLevel],
    ...(status.captures === 0 ? [] : [['captures', formatCount(status.captures)] as const]),
    ['v6-to-v4', showThroughput(throughput.v6ToV4)],
    ['v4-to-v6', showThroughput(throughput.v4ToV6)],
    ['dropped', formatRate(throughput.dropsPerSec, 'frames/s')],
  ]);
}

function showPool({ pool4, capacity, free, live, dormant, pinned }: NonNullable<Status['pool']>): string {
  const percent = capacity === 0 ? 0 : (100 * live) / capacity;
  const pins = pinned === 0 ? '' : ` (${formatCount(pinned)} pinned)`;
  return `${pool4}: ${formatCount(live)} live${pins} of ${formatCount(capacity)} (${percent.toFixed(1)} %), ${formatCount(dormant)} at rest, ${formatCount(free)} free`;
}

function showAdvertised(on: Status['advertise'][number]): string {
  if (on.trouble !== null) return `not on ${on.interface}: ${on.trouble}`;
  const told = [
    `pref64 ${on.pref64 ?? 'none'}`,
    `DNS ${on.dns.join(' ') || 'none'}`,
    ...(on.prefix === null ? [] : [`prefix ${on.prefix}`]),
    ...(on.routerLifetimeSec === 0 ? [] : [`default router for ${on.routerLifetimeSec} s`]),
  ];
  return `on ${on.interface}: ${told.join(', ')}`;
}

export function showThroughput({ framesPerSec, bitsPerSec }: Throughput): string {
  return `${formatRate(bitsPerSec, 'b/s')}, ${formatRate(framesPerSec, 'frames/s')}`;
}

export function showMaps(maps: readonly MapView[]): string {
  if (maps.length === 0) return 'no maps\n';
  return formatTable(
    ['IPv4', 'IPv6', 'state', 'last used', 'ends in'],
    maps.map(({ ipv4, ipv6, kind, idleSec, endsInSec, isPinned }) => [
      ipv4,
      ipv6,
      isPinned ? 'pinned' : kind === 'dormant' ? 'at rest' : kind,
      idleSec === null ? '-' : `${formatDuration(idleSec)} ago`,
      endsInSec === null ? '-' : formatDuration(endsInSec),
    ]),
  );
}

export const SORTS = ['ipv4', 'ipv6', 'used', 'ends'] as const;
export type Sort = (typeof SORTS)[number];

/** In place. Explicit maps, which have no times, come last by those. */
export function sortMaps(maps: MapView[], by: Sort): MapView[] {
  const late = Number.MAX_SAFE_INTEGER;
  const order: Record<Sort, (a: MapView, b: MapView) => number> = {
    ipv4: (a, b) => ipv4Key(a.ipv4) - ipv4Key(b.ipv4),
    ipv6: (a, b) => (ipv6Key(a.ipv6) < ipv6Key(b.ipv6) ? -1 : 1),
    used: (a, b) => (a.idleSec ?? late) - (b.idleSec ?? late),
    ends: (a, b) => (a.endsInSec ?? late) - (b.endsInSec ?? late),
  };
  return maps.sort(order[by]);
}

function ipv4Key(text: string): number {
  return text.split(/[./]/, 4).reduce((sum, part) => sum * 256 + Number(part), 0);
}

/** All groups written out, so that text sorts as addresses do. */
function ipv6Key(text: string): string {
  const [address = ''] = text.split('/');
  const [head = '', tail] = address.split('::');
  const groups = (part = '') => (part === '' ? [] : part.split(':'));
  const [first, last] = [groups(head), groups(tail)];
  const zeros = tail === undefined ? 0 : 8 - first.length - last.length;
  return [...first, ...Array.from({ length: zeros }, () => '0'), ...last]
    .map((group) => group.padStart(4, '0'))
    .join('');
}

export function showWorkers(workers: readonly WorkerView[]): string {
  return formatTable(
    ['worker', 'state', 'since', 'restarts', 'frames in', 'bytes in', 'frames out', 'dropped', 'bursts'],
    workers.map(({ worker, isRunning, aliveSec, restarts, counters: c }) => [
      String(worker),
      isRunning ? 'runs' : 'is being replaced',
      formatDuration(aliveSec),
      String(restarts),
      formatCount((c['frames-in-v6'] ?? 0) + (c['frames-in-v4'] ?? 0)),
      formatCount((c['bytes-in-v6'] ?? 0) + (c['bytes-in-v4'] ?? 0)),
      formatCount(c['frames-out'] ?? 0),
      formatCount(sumOfDrops(c)),
      formatCount(c.bursts ?? 0),
    ]),
  );
}

export function sumOfDrops(counters: Readonly<Record<string, number>>): number {
  return Object.entries(counters).reduce(
    (sum, [name, value]) => sum + (name.startsWith('drop-') ? value : 0),
    0,
  );
}

export function showCounters(counters: Readonly<Record<string, number>>, isAll: boolean): string {
  const rows = Object.entries(counters).filter(([, value]) => isAll || value !== 0);
  if (rows.length === 0) return 'nothing has been counted yet\n';
  return formatTable(
    ['counter', 'value'],
    rows.map(([name, value]) => [name, formatCount(value)]),
  );
}

/** What has been counted since the last look. */
export function showCounterRates(
  before: Readonly<Record<string, number>>,
  after: Readonly<Record<string, number>>,
  sec: number,
): string {
  const rows = Object.entries(after)
    .filter(([name, value]) => value !== (before[name] ?? 0))
    .map(([name, value]) => [
      name,
      formatCount(value),
      formatRate(Math.max(value - (before[name] ?? 0), 0) / sec, '/s'),
    ]);
  return rows.length === 0 ? 'nothing counted\n' : formatTable(['counter', 'value', 'rate'], rows);
}

export function showDifference(difference: Difference, isDryRun: boolean): string {
  const { file, warnings, keys, mapsAdded, mapsRemoved, interrupts } = difference;
  const value = (text: string | null) => text ?? '(default)';
  const change = ({ key, before, after }: Difference['keys'][number]) =>
    `${key}: ${value(before)} -> ${value(after)}`;
  const applied = keys.filter(({ needsRestart }) => needsRestart === null);
  const fixed = keys.filter(({ needsRestart }) => needsRestart !== null);
  const lines = [
    ...warnings.map((warning) => `warning: ${warning}`),
    ...applied.map((key) => `  ${change(key)}`),
    ...shortened(mapsAdded).map((map) => `  + map ${map}`),
    ...shortened(mapsRemoved).map((map) => `  - map ${map}`),
    ...fixed.map((key) => `  ${change(key)}  (needs a restart: ${key.needsRestart})`),
  ];
  const isSame = applied.length + mapsAdded.length + mapsRemoved.length === 0;
  if (fixed.length > 0) {
    const end = 'Nothing would change: restart to apply all of it, or take back what needs a restart.';
    return [`${file} would be refused:`, ...lines, end, ''].join('\n');
  }
  const heading = isSame
    ? `${file}: nothing differs from what is in force`
    : isDryRun
      ? `${file} would change:`
      : `${file} is in force; changed:`;
  const verb = isDryRun ? 'would interrupt' : 'interrupted';
  const effects = interrupts.map((line) => `  ${line}`);
  return [
    heading,
    ...lines,
    ...(effects.length > 0 ? [`This ${verb}:`, ...effects] : isSame ? [] : [`This ${verb} nothing.`]),
    '',
  ].join('\n');
}

function shortened(list: readonly string[], most = 20): string[] {
  return list.length <= most ? [...list] : [...list.slice(0, most), `… and ${list.length - most} more`];
}

export function showTraces(traces: readonly (Trace & { what: string })[]): string {
  return traces
    .map(({ what, steps, verdict, reason, source, destination }) => {
      const ends = [source === null ? '' : `from ${source}`, destination === null ? '' : `to ${destination}`]
        .filter((end) => end !== '')
        .join(' ');
      const became = ends === '' ? '' : `: ${ends}`;
      const words: Record<Trace['verdict'], string> = {
        translated: `translated${became}`,
        hairpin: `hairpin${became}`,
        answered: 'answered by the translator itself',
        held: 'held until its host has a map, then translated',
        dropped: `dropped, counted as ${reason}`,
        pass: `nothing stands in the way${became}`,
      };
      return [`A packet ${what}:`, ...steps.map((step) => `  ${step}`), `  => ${words[verdict]}`, ''].join(
        '\n',
      );
    })
    .join('');
}

/** What Prometheus is told, in its manner: base units, `_total` for what only grows, a label where one thing is counted by kinds. */
import type { LevelName } from '../../shm/counters.js';
import { HOLD_BYTES, HOLD_FRAMES, HOLD_HOSTS } from '../../shm/frame-ring.js';
import type { Subject } from '../inspect/subject.js';
import type { Advertiser } from '../radv/index.js';
import { VERSION } from '../version.js';
import { dnsMetrics } from './dns-metrics.js';
import type { Delay } from './event-loop.js';
import type { Family, Sample } from './exposition.js';
import { counter, gauge, gauges, histogram, type Labels, snake } from './names.js';

const V6_TO_V4: Labels = { direction: 'v6-to-v4' };
const V4_TO_V6: Labels = { direction: 'v4-to-v6' };

/** Families of the data plane's counters; the sample's counter by labels. What is not listed here gets a family of its own name. */
const COUNTERS: readonly { name: string; help: string; from: readonly (readonly [string, Labels])[] }[] = [
  {
    name: 'frames_received_total',
    help: 'Frames read from the device; a super-frame is one. By direction of translation.',
    from: [
      ['frames-in-v6', V6_TO_V4],
      ['frames-in-v4', V4_TO_V6],
    ],
  },
  {
    name: 'received_bytes_total',
    help: 'Bytes of the frames read from the device. By direction of translation.',
    from: [
      ['bytes-in-v6', V6_TO_V4],
      ['bytes-in-v4', V4_TO_V6],
    ],
  },
  {
    name: 'frames_translated_total',
    help: 'Frames translated, by direction; a hairpinned one counts in both.',
    from: [
      ['translated-v6-to-v4', V6_TO_V4],
      ['translated-v4-to-v6', V4_TO_V6],
    ],
  },
  { name: 'frames_sent_total', help: 'Frames written to the device.', from: [['frames-out', {}]] },
  { name: 'sent_bytes_total', help: 'Bytes of the frames written to the device.', from: [['bytes-out', {}]] },
  {
    name: 'frames_hairpinned_total',
    help: 'Frames from one mapped host to another, translated twice.',
    from: [['hairpinned', {}]],
  },
  {
    name: 'super_frames_received_total',
    help: 'Super-frames (TSO, USO) read from the device.',
    from: [['super-frames-in', {}]],
  },
  {
    name: 'super_frames_made_total',
    help: 'Super-frames made by joining frames of one flow.',
    from: [['super-frames-made', {}]],
  },
  {
    name: 'frames_coalesced_total',
    help: 'Frames that were joined into super-frames.',
    from: [['frames-coalesced', {}]],
  },
  {
    name: 'segments_made_total',
    help: 'Packets cut from super-frames that could not pass whole.',
    from: [['segments-made', {}]],
  },
  {
    name: 'fragments_made_total',
    help: 'IPv6 fragments made of IPv4 packets that allow it.',
    from: [['fragments-made', {}]],
  },
  { name: 'bursts_total', help: 'Reads from the device that gave frames.', from: [['bursts', {}]] },
  {
    name: 'self_answered_total',
    help: "Pings of the translator's own addresses, answered.",
    from: [['self-answered', {}]],
  },
  {
    name: 'icmp_errors_sent_total',
    help: 'ICMP errors made by the translator.',
    from: [['icmp-errors-sent', {}]],
  },
  {
    name: 'icmp_errors_suppressed_total',
    help: 'ICMP errors not made, to keep to the limit of their rate.',
    from: [['icmp-errors-suppressed', {}]],
  },
  { name: 'frames_held_total', help: 'Frames held until their host had a map.', from: [['held', {}]] },
  {
    name: 'icmp_fragments_held_total',
    help: 'Fragments of pings held until the last one came.',
    from: [['held-icmp-fragments', {}]],
  },
  {
    name: 'hosts_asked_total',
    help: 'Questions of workers for the map of a new host.',
    from: [['hosts-asked', {}]],
  },
  {
    name: 'write_refused_total',
    help: 'Frames that the device would not take.',
    from: [['write-refused', {}]],
  },
];

/** Reasons of frames of one direction only; the others are told by direction. */
const DROP_DIRECTIONS: ReadonlyMap<string, Labels> = new Map([
  ...[
    'v6-malformed',
    'v6-source-in-pref64',
    'v6-source-not-allowed',
    'v6-no-map-destination',
    'v6-no-map-source',
    'routing-header',
    'extension-header',
    'hold-full',
    'hold-timeout',
    'refused',
  ].map((reason) => [reason, V6_TO_V4] as const),
  ...[
    'v4-malformed',
    'v4-checksum',
    'v4-source-in-pool4',
    'v4-no-map-destination',
    'v4-no-map-source',
    'source-route',
  ].map((reason) => [reason, V4_TO_V6] as const),
]);

const LISTED = new Set(COUNTERS.flatMap(({ from }) => from.map(([counter]) => counter)));

export function collectMetrics(subject: Subject, delay: Delay): Family[] {
  return [
    ...processMetrics(subject),
    ...dataplaneMetrics(subject),
    ...mapMetrics(subject),
    gauge(
      'event_loop_delay_mean_seconds',
      'How late the control thread is on average, since the last scrape.',
      delay.meanSec,
    ),
    gauge(
      'event_loop_delay_p99_seconds',
      'How late the control thread is in the worst 1 % of cases, since the last scrape.',
      delay.p99Sec,
    ),
    gauge(
      'event_loop_delay_max_seconds',
      'How late the control thread was at most, since the last scrape.',
      delay.maxSec,
    ),
    ...dnsMetrics(subject.dns64),
    ...advertiseMetrics(subject),
  ];
}

function processMetrics(subject: Subject): Family[] {
  const { user, system } = process.cpuUsage();
  const startedSec = (performance.timeOrigin + subject.startedMs) / 1000;
  const { done, failed } = subject.reloads;
  return [
    gauge('build_info', 'The version that runs; always 1.', 1, { version: VERSION, node: process.version }),
    {
      name: 'process_start_time_seconds',
      type: 'gauge',
      help: 'When the gateway was started, since the epoch.',
      samples: [{ value: startedSec }],
    },
    {
      name: 'process_cpu_seconds_total',
      type: 'counter',
      help: 'CPU time of all threads, user and system.',
      samples: [{ value: (user + system) / 1e6 }],
    },
    {
      name: 'process_resident_memory_bytes',
      type: 'gauge',
      help: 'Memory in use.',
      samples: [{ value: process.memoryUsage.rss() }],
    },
    {
      name: 'nat64d_config_reloads_total',
      type: 'counter',
      help: 'Reloads of the configuration, by what came of them.',
      samples: [
        { labels: { result: 'done' }, value: done },
        { labels: { result: 'failed' }, value: failed },
      ],
    },
  ];
}

function dataplaneMetrics({ dataplane }: Subject): Family[] {
  const { counters, dropsFromV4, workers } = dataplane;
  const known = COUNTERS.map(({ name, help, from }) => ({
    name: `nat64d_${name}`,
    type: 'counter' as const,
    help,
    samples: from.map(([counter, labels]) => ({ labels, value: counters[counter] ?? 0 })),
  }));
  const others = Object.entries(counters)
    .filter(([name]) => !LISTED.has(name) && !name.startsWith('drop-'))
    .map(([name, value]) =>
      counter(`${snake(name)}_total`, `The data plane's counter ${name}.`, [{ value }]),
    );
  const drops = Object.entries(counters)
    .filter(([name]) => name.startsWith('drop-'))
    .flatMap(([name, value]) => dropSamples(name.slice('drop-'.length), value, dropsFromV4[name] ?? 0));
  return [
    ...known,
    ...others,
    counter('drops_total', 'Frames dropped, by reason and direction of translation.', drops),
    ...holdMetrics(dataplane.levels, workers.length),
    gauge('captures', "Captures of frames under way ('nat64ctl capture').", dataplane.captures.count),
    gauge('workers', 'Worker threads, one for each queue of the device.', workers.length),
    gauge(
      'workers_running',
      'Worker threads that are not being replaced.',
      workers.filter(({ isRunning }) => isRunning).length,
    ),
    counter('worker_restarts_total', 'Workers that died and were replaced.', [
      { value: dataplane.workersReplaced },
    ]),
  ];
}

function dropSamples(reason: string, value: number, fromV4: number): Sample[] {
  const only = DROP_DIRECTIONS.get(reason);
  if (only !== undefined) return [{ labels: { reason, ...only }, value }];
  return [
    { labels: { reason, ...V6_TO_V4 }, value: value - fromV4 },
    { labels: { reason, ...V4_TO_V6 }, value: fromV4 },
  ];
}

/** Where frames of new hosts wait for their maps. */
function holdMetrics(levels: Readonly<Record<LevelName, number>>, workerCount: number): Family[] {
  return [
    gauge('hold_hosts', 'Hosts that wait for a map.', levels['hold-hosts']),
    gauge('hold_frames', 'Frames that wait for the map of their host.', levels['hold-frames']),
    gauge('hold_bytes', 'Memory of the frames that wait.', levels['hold-bytes']),
    gauges('hold_limit', 'How much of each may wait, all workers together.', [
      { labels: { of: 'hosts' }, value: HOLD_HOSTS * workerCount },
      { labels: { of: 'frames' }, value: HOLD_FRAMES * workerCount },
      { labels: { of: 'bytes' }, value: HOLD_BYTES * workerCount },
    ]),
  ];
}

/** Nothing where none are asked for. */
function advertiseMetrics({ advertisers }: Subject): Family[] {
  if (advertisers.length === 0) return [];
  const family = (name: string, help: string, value: (one: Advertiser) => number) =>
    counter(
      name,
      help,
      advertisers.map((one) => ({ labels: { interface: one.name }, value: value(one) })),
    );
  const invalid = advertisers.flatMap(({ name, counts }) =>
    Object.entries(counts.invalid).map(([reason, value]) => ({
      labels: { interface: name, reason },
      value,
    })),
  );
  return [
    family('router_advertisements_sent_total', 'Router advertisements sent.', ({ counts }) => counts.sent),
    family(
      'router_advertisements_refused_total',
      'Router advertisements that the kernel would not send.',
      ({ counts }) => counts.refused,
    ),
    family(
      'router_solicitations_total',
      'Router solicitations received, invalid ones included.',
      ({ counts }) => counts.solicitations,
    ),
    counter(
      'router_solicitations_invalid_total',
      'Router solicitations ignored (RFC 4861 section 6.1.1), by what was wrong.',
      invalid,
    ),
  ];
}

function mapMetrics({ config, dataplane }: Subject): Family[] {
  const { keeper, assignments } = dataplane;
  const pool = keeper?.pool;
  const state = (name: string, value: number) => ({ labels: { state: name }, value });
  return [
    {
      name: 'nat64d_maps',
      type: 'gauge',
      help: 'Maps of IPv6 hosts to IPv4 addresses: explicit ones, and dynamic ones in use and at rest.',
      samples: [
        state('explicit', config.maps.length),
        state('live', pool?.liveCount ?? 0),
        state('dormant', pool?.dormantCount ?? 0),
      ],
    },
    gauge('maps_pinned', 'Dynamic maps that do not run out.', keeper?.pinnedCount ?? 0),
    gauge('pool_addresses', 'Addresses of pool4 that can be handed out.', pool?.capacity ?? 0),
    gauge('pool_free_addresses', 'Addresses of pool4 without a map, live or at rest.', pool?.freeCount ?? 0),
    counter('map_assignments_total', 'Hosts that were given an address, anew or again.', [
      { value: assignments.assigned },
    ]),
    counter('map_refusals_total', 'Hosts that were refused an address.', [{ value: assignments.refused }]),
    histogram(
      'map_assignment_seconds',
      "From a worker's question for a map until its answer could be read.",
      [{ histogram: assignments.times }],
    ),
  ];
}

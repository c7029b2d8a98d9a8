/** DNS64's counters for Prometheus. Those that are not known here get a name of their own. */
import type { CacheStats, Dns64 } from '../dns64/index.js';
import type { Family, Sample } from './exposition.js';
import { counter, gauge, gauges, histogram, snake } from './names.js';

/** Counters of DNS64 that are one family with a label. */
const FAMILIES: readonly {
  name: string;
  help: string;
  label: string;
  from: Readonly<Record<string, string>>;
}[] = [
  {
    name: 'dns_queries_total',
    help: 'Queries of clients, by transport.',
    label: 'transport',
    from: { queriesUdp: 'udp', queriesTcp: 'tcp' },
  },
  {
    name: 'dns_answers_total',
    help: 'Answers to clients: with AAAA made from A, passed on, known here, PTR by way of in-addr.arpa, and errors.',
    label: 'kind',
    from: {
      synthesized: 'synthesized',
      passed: 'passed',
      local: 'local',
      reversed: 'reversed',
      errors: 'error',
    },
  },
];

const SINGLE: Readonly<Record<string, readonly [string, string]>> = {
  truncated: ['dns_truncated_total', 'Answers cut to TC=1.'],
  upstreamQueries: ['dns_upstream_queries_total', 'Questions to forwarders.'],
  upstreamStreams: ['dns_upstream_stream_queries_total', 'Questions to forwarders over TCP, TLS and HTTPS.'],
  upstreamTimeouts: ['dns_upstream_timeouts_total', 'Questions that a forwarder did not answer in time.'],
  upstreamMismatches: [
    'dns_upstream_mismatches_total',
    'Datagrams that match no question of ours: late, or forged.',
  ],
};

const GAUGES: Readonly<Record<string, readonly [string, string]>> = {
  pending: ['dns_pending_queries', 'Queries of clients being answered.'],
  upstreamPending: ['dns_upstream_pending_queries', 'Questions in flight to forwarders.'],
};

/** The counters by type of record, of DNS64's. */
const TYPES = 'types';

export function dnsMetrics(dns64: Dns64 | undefined): Family[] {
  if (dns64 === undefined) return [gauge('dns_listening_addresses', 'Addresses that DNS64 answers on.', 0)];
  const stats: Record<string, unknown> = { ...dns64.stats };
  const known = new Set([
    ...FAMILIES.flatMap(({ from }) => Object.keys(from)),
    ...Object.keys(SINGLE),
    ...Object.keys(GAUGES),
    TYPES,
  ]);
  const { forwarderStates } = dns64;
  return [
    gauge('dns_listening_addresses', 'Addresses that DNS64 answers on.', dns64.listening.length),
    ...FAMILIES.map(({ name, help, label, from }) =>
      counter(
        name,
        help,
        Object.entries(from).map(([key, value]) => ({
          labels: { [label]: value },
          value: Number(stats[key] ?? 0),
        })),
      ),
    ),
    counter(
      'dns_query_types_total',
      'Queries of clients whose question could be read, by the type of record that they ask for.',
      Object.entries(dns64.stats[TYPES]).map(([type, value]) => ({
        labels: { type: type === 'other' ? type : type.toUpperCase() },
        value,
      })),
    ),
    histogram(
      'dns_upstream_seconds',
      'From a query to a forwarder until its answer, connections that had to be made included.',
      forwarderStates.map(({ name, latency }) => ({ labels: { forwarder: name }, histogram: latency })),
    ),
    gauges(
      'dns_forwarder_up',
      '1 where a forwarder is believed to answer, 0 where it is left alone for a while.',
      forwarderStates.map(({ name, isDown }) => ({ labels: { forwarder: name }, value: isDown ? 0 : 1 })),
    ),
    ...cacheMetrics(dns64.cacheStats()),
    ...Object.entries(SINGLE).map(([key, [name, help]]) =>
      counter(name, help, [{ value: Number(stats[key] ?? 0) }]),
    ),
    ...Object.entries(GAUGES).map(([key, [name, help]]) => gauge(name, help, Number(stats[key] ?? 0))),
    ...Object.entries(stats).flatMap(([key, value]) => (known.has(key) ? [] : unlisted(key, value))),
  ];
}

function cacheMetrics({ answers, finished, sizeBytes }: CacheStats): Family[] {
  const both = (what: 'entries' | 'usedBytes') => [
    { labels: { cache: 'answers' }, value: answers[what] },
    { labels: { cache: 'finished' }, value: finished[what] },
  ];
  return [
    gauges(
      'dns_cache_entries',
      'What forwarders said, and finished answers, that are kept.',
      both('entries'),
    ),
    gauges('dns_cache_used_bytes', 'Memory of them.', both('usedBytes')),
    gauge('dns_cache_limit_bytes', 'Memory that they may have together.', sizeBytes),
  ];
}

function unlisted(key: string, value: unknown): Family[] {
  const name = `dns_${snake(key)}`;
  if (typeof value === 'number') {
    const isLevel = /(pending|entries|bytes|connections|size)$/i.test(key);
    return [
      isLevel
        ? gauge(name, `DNS64's ${key}.`, value)
        : counter(`${name}_total`, `DNS64's counter ${key}.`, [{ value }]),
    ];
  }
  if (typeof value !== 'object' || value === null) return [];
  const samples: Sample[] = Object.entries(value).flatMap(([reason, count]) =>
    typeof count === 'number'
      ? [{ labels: { reason: snake(reason).replaceAll('_', '-') }, value: count }]
      : [],
  );
  return samples.length === 0
    ? []
    : [counter(`${name}_total`, `DNS64's counters ${key}, by reason.`, samples)];
}

/** DNS64's counters for Prometheus. Those that are not known here get a name of their own. */
import type { Dns64 } from '../dns64/index.js';
import type { Family, Sample } from './exposition.js';
import { counter, gauge, snake } from './names.js';

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
  upstreamTcp: ['dns_upstream_tcp_queries_total', 'Questions to forwarders over TCP.'],
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

export function dnsMetrics(dns64: Dns64 | undefined): Family[] {
  if (dns64 === undefined) return [gauge('dns_listening_addresses', 'Addresses that DNS64 answers on.', 0)];
  const stats: Record<string, unknown> = { ...dns64.stats };
  const known = new Set([
    ...FAMILIES.flatMap(({ from }) => Object.keys(from)),
    ...Object.keys(SINGLE),
    ...Object.keys(GAUGES),
  ]);
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
    ...Object.entries(SINGLE).map(([key, [name, help]]) =>
      counter(name, help, [{ value: Number(stats[key] ?? 0) }]),
    ),
    ...Object.entries(GAUGES).map(([key, [name, help]]) => gauge(name, help, Number(stats[key] ?? 0))),
    ...Object.entries(stats).flatMap(([key, value]) => (known.has(key) ? [] : unlisted(key, value))),
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

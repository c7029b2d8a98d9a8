/** Families in Prometheus' spelling, each under our own prefix. */
import type { Histogram } from '../inspect/histogram.js';
import type { Family, Sample } from './exposition.js';

export type Labels = Readonly<Record<string, string>>;

export function histogram(
  name: string,
  help: string,
  { boundsSec, cumulative, sumSec, count }: Histogram,
): Family {
  const buckets = boundsSec.map((bound, i) => ({
    suffix: '_bucket',
    labels: { le: String(bound) },
    value: cumulative[i] as number,
  }));
  return {
    name: `nat64d_${name}`,
    type: 'histogram',
    help,
    samples: [
      ...buckets,
      { suffix: '_bucket', labels: { le: '+Inf' }, value: count },
      { suffix: '_sum', value: sumSec },
      { suffix: '_count', value: count },
    ],
  };
}

export function counter(name: string, help: string, samples: readonly Sample[]): Family {
  return { name: `nat64d_${name}`, type: 'counter', help, samples };
}

export function gauge(name: string, help: string, value: number, labels: Labels = {}): Family {
  return { name: `nat64d_${name}`, type: 'gauge', help, samples: [{ labels, value }] };
}

/** `frames-in` and `queriesUdp` as Prometheus writes names. */
export function snake(name: string): string {
  return name
    .replaceAll('-', '_')
    .replace(/(?<=[a-z0-9])[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
    .toLowerCase();
}

/** Families in Prometheus' spelling, each under our own prefix. */
import type { Histogram } from '../inspect/histogram.js';
import type { Family, Sample } from './exposition.js';

export type Labels = Readonly<Record<string, string>>;

export function histogram(name: string, help: string, all: readonly HistogramSeries[]): Family {
  return { name: `nat64d_${name}`, type: 'histogram', help, samples: all.flatMap(histogramSamples) };
}

export interface HistogramSeries {
  readonly labels?: Labels;
  readonly histogram: Histogram;
}

function histogramSamples({ labels = {}, histogram }: HistogramSeries): Sample[] {
  const { boundsSec, cumulative, sumSec, count } = histogram;
  const bucket = (le: string, value: number) => ({ suffix: '_bucket', labels: { ...labels, le }, value });
  return [
    ...boundsSec.map((bound, i) => bucket(String(bound), cumulative[i] as number)),
    bucket('+Inf', count),
    { suffix: '_sum', labels, value: sumSec },
    { suffix: '_count', labels, value: count },
  ];
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

/** A gauge by one label. */
export function gauges(name: string, help: string, samples: readonly Sample[]): Family {
  return { name: `nat64d_${name}`, type: 'gauge', help, samples };
}

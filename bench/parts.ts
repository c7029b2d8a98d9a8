/** Parts of the gateway by themselves, timed with tinybench. */
import { Bench } from 'tinybench';
import type { Measurement } from './report.js';

export interface Part {
  readonly name: string;
  /** Things that one run does. */
  readonly count: number;
  run(): unknown;
  beforeEach?(): void;
}

/** Times parts one after another: nanoseconds for each of their things, the median of what fits into the time. */
export async function timeParts(group: string, parts: readonly Part[]): Promise<Measurement[]> {
  const bench = new Bench({ time: 200, warmupTime: 100 });
  for (const { name, run, beforeEach } of parts) {
    bench.add(name, run, beforeEach === undefined ? {} : { beforeEach });
  }
  await bench.run();
  return bench.tasks.map(({ name, result }, i) => {
    if (!('latency' in result)) throw new Error(`${name} did not run`);
    return { group, what: name, unit: 'ns', value: (result.latency.p50 * 1e6) / (parts[i] as Part).count };
  });
}

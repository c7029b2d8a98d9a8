/** Longest-prefix match over explicit maps: `npm run bench -- lookup`. Nanoseconds a lookup, and the time to build the table. */
import { setFlagsFromString } from 'node:v8';
import { Bench } from 'tinybench';
import { createPrefixTable, PrefixTable } from '#nat64d/shm/prefix-table.js';
import { V8_FLAGS } from '#nat64d/shm/v8-flags.js';
import type { Address6 } from '#nat64d/wire/address.js';
import { printTable, writeResults } from './report.js';

const LOOKUPS = 1024;

/** Host maps and networks of several sizes, nested as an operator's would be. */
function makePairs(count: number) {
  return Array.from({ length: count }, (_, i) => {
    const length = i % 16 === 0 ? 24 : i % 4 === 0 ? 28 : 32;
    const size = 2 ** (32 - length);
    return {
      ipv4: { address: (0x0b000000 + i * 256 - ((i * 256) % size)) >>> 0, length },
      ipv6: { address: [0x20010db8, i, 0, 0] as Address6, length: 64 + length },
    };
  });
}

export async function run(): Promise<void> {
  setFlagsFromString(V8_FLAGS);
  const bench = new Bench({ time: 300 });
  const built = new Map<string, string>();
  for (const count of [10, 1000, 100_000]) {
    const pairs = makePairs(count);
    for (const family of [4, 6] as const) {
      const name = `${count} maps, IPv${family}`;
      const startMs = performance.now();
      const table = new PrefixTable(createPrefixTable(pairs, family));
      built.set(name, (performance.now() - startMs).toFixed(1));
      const order = Array.from({ length: LOOKUPS }, (_, i) => pairs[(i * 7919) % count] as (typeof pairs)[0]);
      const addresses4 = Int32Array.from(order, ({ ipv4 }) => ipv4.address | 0);
      const words = order.map(({ ipv6 }) => ipv6.address[1]);
      let found = 0;
      bench.add(name, () => {
        if (family === 4) for (const address of addresses4) found += table.find4(address);
        else for (const word of words) found += table.find6(0x20010db8, word, 0, 0);
      });
      if (found < 0) throw new Error('nothing was found');
    }
  }
  await bench.run();
  const rows = bench.tasks.map(({ name, result }) => {
    if (!('latency' in result)) throw new Error(`${name} did not run`);
    const perLookup = (ms: number) => Math.round((ms * 1e7) / LOOKUPS) / 10;
    return {
      table: name,
      'ns median': perLookup(result.latency.p50),
      'ns p75': perLookup(result.latency.p75),
      'built in ms': built.get(name) as string,
    };
  });
  printTable(rows);
  writeResults('lookup', rows);
}

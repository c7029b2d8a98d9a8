/**
 * The host table, and longest-prefix match over explicit maps: `npm run bench -- micro --only tables`. Nanoseconds a lookup, and
 * the time to build the table.
 */
import { setFlagsFromString } from 'node:v8';
import { createPrefixTable, PrefixTable } from '#nat64d/shm/prefix-table.js';
import { V8_FLAGS } from '#nat64d/shm/v8-flags.js';
import type { Address6 } from '#nat64d/wire/address.js';
import { Harness, NOW_SEC } from '../test/helpers/harness.js';
import { type Part, timeParts } from './parts.js';
import type { Measurement } from './report.js';

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

/** Of the dynamic maps, one host's. */
function hostTablePart(): Part {
  const { ctx } = new Harness();
  let found = 0;
  return {
    name: 'dynamic map, IPv6',
    count: LOOKUPS,
    run: () => {
      for (let i = 0; i < LOOKUPS; i++) found += ctx.hosts.find(0x20010db8, 0x10000, 0, 2, 2, NOW_SEC);
      if (found < 0) throw new Error('nothing was found');
    },
  };
}

export async function measure(): Promise<Measurement[]> {
  setFlagsFromString(V8_FLAGS);
  const parts = [hostTablePart()];
  const built: Measurement[] = [];
  for (const count of [10, 1000, 100_000]) {
    const pairs = makePairs(count);
    for (const family of [4, 6] as const) {
      const name = `${count} explicit maps, IPv${family}`;
      const startMs = performance.now();
      const table = new PrefixTable(createPrefixTable(pairs, family));
      built.push({ group: 'tables, built', what: name, unit: 'ms', value: performance.now() - startMs });
      const order = Array.from({ length: LOOKUPS }, (_, i) => pairs[(i * 7919) % count] as (typeof pairs)[0]);
      const addresses4 = Int32Array.from(order, ({ ipv4 }) => ipv4.address | 0);
      const words = order.map(({ ipv6 }) => ipv6.address[1]);
      let found = 0;
      const run = () => {
        if (family === 4) for (const address of addresses4) found += table.find4(address);
        else for (const word of words) found += table.find6(0x20010db8, word, 0, 0);
        if (found < 0) throw new Error('nothing was found');
      };
      parts.push({ name, count: LOOKUPS, run });
    }
  }
  return [...(await timeParts('tables, a lookup', parts)), ...built];
}

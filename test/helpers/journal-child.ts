/** Assigns addresses for ever, in memory and on disk, and says each once it is written down; to be killed at any moment. */
import { writeSync } from 'node:fs';
import { DynamicMapStore } from '#nat64d/control/pool/dynamic-map-store.js';
import type { PoolEntry } from '#nat64d/control/pool/dynamic-pool.js';
import { atOnce } from '#nat64d/control/slices.js';
import { formatAddress4, formatAddress6 } from '#nat64d/wire/address.js';

const [file = '', first = '0'] = process.argv.slice(2);
const store = new DynamicMapStore(file);
const entries = new Map<number, PoolEntry>();
for (const { ipv4, host } of atOnce(store.read()).entries) {
  entries.set(ipv4, { ipv4, host, lastUsedSec: 1, live: true });
}
let isCompacting = false;
for (let n = Number(first); ; n++) {
  // A small pool, so that addresses pass from host to host.
  const ipv4 = 0x0a000000 + (Math.imul(n, 7919) & 255);
  const host = [0x20010db8, 0, 0, n] as const;
  store.record(ipv4, host, 1_800_000_000 + n);
  entries.set(ipv4, { ipv4, host, lastUsedSec: n, live: true });
  writeSync(1, `${formatAddress4(ipv4)} ${formatAddress6(host)}\n`);
  if (n % 50 === 0 && !isCompacting) {
    isCompacting = true;
    void store.compact(entries.values(), 0, 1_800_000_000).then(() => {
      isCompacting = false;
    });
  }
  if (n % 10 === 0) await new Promise((resolve) => setImmediate(resolve));
}

/**
 * Counters in shared memory. Each worker owns one block of doubles (exact up to 2⁵³, no wrap, no BigInt) and is the
 * only one to write it; control reads. What a dead worker counted is added to the archive before its block is used again.
 *
 *   block 0: archive | block 1: worker 0 | block 2: worker 1 | …      each block a whole number of 64-byte lines
 */

/**
 * Every counter by name; the position is the index. `drop-` ones are verdicts, and stand at the end: each frame dropped counts in
 * exactly one; one that came from the IPv4 side counts once more, DROPS_FROM_V4 behind it.
 */
export const COUNTER_NAMES = [
  'frames-in-v6',
  'frames-in-v4',
  'bytes-in-v6',
  'bytes-in-v4',
  'translated-v6-to-v4',
  'translated-v4-to-v6',
  'hairpinned',
  'super-frames-in',
  'frames-out',
  'bytes-out',
  'bursts',
  'self-answered',
  'icmp-errors-sent',
  'icmp-errors-suppressed',
  'held',
  'held-icmp-fragments',
  'hosts-asked',
  'fragments-made',
  'segments-made',
  'super-frames-made',
  'frames-coalesced',
  'write-refused',
  'drop-not-ip',
  'drop-v4-malformed',
  'drop-v4-checksum',
  'drop-v6-malformed',
  'drop-v4-address',
  'drop-v6-address',
  'drop-v6-source-in-pref64',
  'drop-v6-source-not-allowed',
  'drop-v4-source-in-pool4',
  'drop-loop',
  'drop-non-global',
  'drop-v4-no-map-destination',
  'drop-v4-no-map-source',
  'drop-v6-no-map-destination',
  'drop-v6-no-map-source',
  'drop-ttl',
  'drop-too-big',
  'drop-source-route',
  'drop-routing-header',
  'drop-extension-header',
  'drop-protocol',
  'drop-self',
  'drop-fragment-malformed',
  'drop-icmp-fragment',
  'drop-icmp-checksum',
  'drop-icmp-type',
  'drop-icmp-quote',
  'drop-icmp-quote-mismatch',
  'drop-udp-zero-checksum',
  'drop-upper-layer-truncated',
  'drop-super-frame',
  'drop-hold-full',
  'drop-hold-timeout',
  'drop-refused',
] as const;

export type CounterName = (typeof COUNTER_NAMES)[number];

const FIRST_DROP = COUNTER_NAMES.findIndex((name) => name.startsWith('drop-'));
/** From the index of a drop counter to that of its frames from IPv4. */
export const DROPS_FROM_V4 = COUNTER_NAMES.length - FIRST_DROP;

/** What stands behind the counters: not what has been, but what is. */
export const LEVEL_NAMES = ['hold-hosts', 'hold-frames', 'hold-bytes'] as const;
export type LevelName = (typeof LEVEL_NAMES)[number];
const FIRST_LEVEL = COUNTER_NAMES.length + DROPS_FROM_V4;

const indexByName = new Map<string, number>(COUNTER_NAMES.map((name, index) => [name, index]));

/** The index of a counter inside a block; for constants resolved once at load. */
export function counter(name: CounterName): number {
  return indexByName.get(name) as number;
}

/** The index of a level inside a block. */
export function level(name: LevelName): number {
  return FIRST_LEVEL + LEVEL_NAMES.indexOf(name);
}

const BLOCK = Math.ceil((FIRST_LEVEL + LEVEL_NAMES.length) / 8) * 8;

/** Shared memory for an archive and `workers` blocks. */
export function createCounters(workers: number): SharedArrayBuffer {
  return new SharedArrayBuffer((workers + 1) * BLOCK * 8);
}

/** The block that worker `worker` writes. */
export function workerCounters(buffer: SharedArrayBuffer, worker: number): Float64Array {
  return new Float64Array(buffer, (worker + 1) * BLOCK * 8, BLOCK);
}

/** Moves what a worker counted that is no more to the archive. Only while no thread writes that block. */
export function archiveCounters(buffer: SharedArrayBuffer, worker: number): void {
  const archive = new Float64Array(buffer, 0, BLOCK);
  const block = workerCounters(buffer, worker);
  for (let i = 0; i < BLOCK; i++) {
    if (i < FIRST_LEVEL) archive[i] = (archive[i] as number) + (block[i] as number);
    block[i] = 0;
  }
}

/** What one worker has counted since its last start, by name. */
export function readWorkerCounters(buffer: SharedArrayBuffer, worker: number): Record<CounterName, number> {
  const block = workerCounters(buffer, worker);
  return Object.fromEntries(COUNTER_NAMES.map((name, index) => [name, block[index]])) as Record<
    CounterName,
    number
  >;
}

/** Sums over the archive and all workers, by name. */
export function readCounters(buffer: SharedArrayBuffer): Record<CounterName, number> {
  return sums(buffer, COUNTER_NAMES, 0);
}

/** Of each `drop-` counter, the frames that came from the IPv4 side. */
export function readDropsFromV4(buffer: SharedArrayBuffer): Record<string, number> {
  return sums(buffer, COUNTER_NAMES.slice(FIRST_DROP), COUNTER_NAMES.length);
}

/** Sums of levels over all workers, by name. */
export function readLevels(buffer: SharedArrayBuffer): Record<LevelName, number> {
  return sums(buffer, LEVEL_NAMES, FIRST_LEVEL);
}

/** Over all blocks, of these from index `first` on. */
function sums<Name extends string>(
  buffer: SharedArrayBuffer,
  names: readonly Name[],
  first: number,
): Record<Name, number> {
  const words = new Float64Array(buffer);
  const result: Partial<Record<Name, number>> = {};
  for (const [i, name] of names.entries()) {
    let sum = 0;
    for (let at = first + i; at < words.length; at += BLOCK) sum += words[at] as number;
    result[name] = sum;
  }
  return result as Record<Name, number>;
}

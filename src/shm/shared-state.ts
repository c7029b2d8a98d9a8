/**
 * Words that all threads see, each on a cache line of its own.
 *
 *   line 0  CLOCK        seconds of the gateway's clock; control writes, once a second
 *   line 1  GENERATION   counts changes of the map table; control writes
 *   line 2  POOL_FULL    1 while the pool can give no address; control writes
 *   line 3… EPOCH        one per worker: 0 outside a burst, else the generation it works with (BUSY while it reads it);
 *                        and, beside it, BEAT: counts the seconds in which its event loop has got its turn
 */
const LINE = 16;

export const CLOCK = 0;
export const GENERATION = LINE;
export const POOL_FULL = 2 * LINE;
/** A worker's epoch word while it has not yet read the generation. */
export const EPOCH_BUSY = -1;

/** Index of a worker's epoch word. */
export function epochWord(worker: number): number {
  return (3 + worker) * LINE;
}

/** Index of the word that a worker counts up once a second. */
export function beatWord(worker: number): number {
  return epochWord(worker) + 1;
}

/** @param workers how many there may be */
export function createSharedState(workers: number): Int32Array {
  const words = new Int32Array(new SharedArrayBuffer((3 + workers) * LINE * 4));
  words[GENERATION] = 1;
  return words;
}

/** Long work in slices: DNS and new hosts are served on the same thread, and wait for no more than one. */
import { setImmediate } from 'node:timers/promises';

/** Work that yields wherever it may be interrupted, some hundred times in a millisecond at most. */
export type Sliced<T> = Generator<void, T>;

const SLICE_MS = 5;
/** Steps between two looks at the clock. */
const STEPS = 32;

/** Does the work, with a turn of the event loop after each slice. */
export async function inSlices<T>(work: Sliced<T>): Promise<T> {
  for (let endMs = performance.now() + SLICE_MS; ; ) {
    for (let i = 0; i < STEPS; i++) {
      const step = work.next();
      if (step.done === true) return step.value;
    }
    if (performance.now() < endMs) continue;
    await setImmediate();
    endMs = performance.now() + SLICE_MS;
  }
}

/** Does the work at one go. */
export function atOnce<T>(work: Sliced<T>): T {
  for (;;) {
    const step = work.next();
    if (step.done === true) return step.value;
  }
}

/** Sorts in place of `sort`: stable, and into a new array. */
export function* sorted<T>(elements: readonly T[], compare: (a: T, b: T) => number): Sliced<T[]> {
  const CHUNK = 64;
  let from: T[] = [];
  for (let at = 0; at < elements.length; at += CHUNK) {
    for (const one of elements.slice(at, at + CHUNK).sort(compare)) from.push(one);
    yield;
  }
  for (let width = CHUNK; width < from.length; width *= 2) {
    const to: T[] = [];
    for (let low = 0; low < from.length; low += 2 * width) {
      const middle = Math.min(low + width, from.length);
      const high = Math.min(low + 2 * width, from.length);
      for (let left = low, right = middle; left < middle || right < high; ) {
        const isLeft = right >= high || (left < middle && compare(from[left] as T, from[right] as T) <= 0);
        to.push(from[isLeft ? left++ : right++] as T);
        if ((to.length & 15) === 0) yield;
      }
    }
    from = to;
  }
  return from;
}

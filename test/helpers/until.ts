/** Waiting for what other processes, threads and callbacks bring about, and saying so where it does not come. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Waits until something is so, looking every few milliseconds; rejects with what did not come about after `withinMs`. */
export async function until(
  isSo: () => boolean | Promise<boolean>,
  what: string | (() => string),
  withinMs = 10_000,
  everyMs = 5,
): Promise<void> {
  const endMs = performance.now() + withinMs;
  for (;;) {
    // Before the look: a process that was held up past the end looks once more.
    const isLast = performance.now() >= endMs;
    if (await isSo()) return;
    if (isLast) {
      throw new Error(`waited ${withinMs} ms in vain for ${typeof what === 'string' ? what : what()}`);
    }
    await sleep(everyMs);
  }
}

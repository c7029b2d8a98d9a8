/** The threads on which V8 compiles hot functions and collects garbage, beside those that have work of their own. */
import { opendirSync } from 'node:fs';
import { constants, getPriority, setPriority } from 'node:os';

/** How many Node makes where nobody says otherwise. */
const COUNT = 4;
/** Where they are among the process's threads, which the kernel lists as they were made: after the main thread and the one with the timers. */
const FIRST = 2;
const LOWER_BY = 5;

function listThreads(): string[] {
  // Unlike readdir, which sorts names: ids of threads start again from the lowest ones at some time.
  const folder = opendirSync('/proc/self/task');
  try {
    const names: string[] = [];
    for (let entry = folder.readSync(); entry !== null; entry = folder.readSync()) names.push(entry.name);
    return names;
  } finally {
    folder.closeSync();
  }
}

/**
 * Lets the thread that calls this go before V8's helpers, where they have a core together: with four of them at its own niceness it
 * would have a fifth of the core for as long as they compile what it does, which is a second for DNS64. Not lower, so that they still
 * get on where others keep the core busy. Does nothing where there is no /proc, or where Node was told how many helpers to make.
 */
export function goBeforeHelpers(): void {
  const options = [...process.execArgv, process.env.NODE_OPTIONS ?? ''].join(' ');
  if (options.includes('v8-pool-size')) return;
  try {
    const nice = Math.min(getPriority() + LOWER_BY, constants.priority.PRIORITY_LOW);
    for (const id of listThreads().slice(FIRST, FIRST + COUNT)) setPriority(Number(id), nice);
  } catch {}
}

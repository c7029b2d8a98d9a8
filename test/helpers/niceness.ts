import { readdirSync } from 'node:fs';
import { getPriority } from 'node:os';

/** How many of a process's threads have stepped back behind its main thread: V8's four. */
export function lowerThreads(pid: number): number {
  const lower = getPriority(pid) + 5;
  return readdirSync(`/proc/${pid}/task`).filter((id) => getPriority(Number(id)) === lower).length;
}

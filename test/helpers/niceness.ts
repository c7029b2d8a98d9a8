import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { getPriority } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

const DEADLINE_MS = 10_000;

/** Waits until V8's four threads have stepped back behind a program's main thread: they do once it has said that it serves. */
export async function helpersStepBack(pid: number): Promise<void> {
  const lower = getPriority(pid) + 5;
  const count = () =>
    readdirSync(`/proc/${pid}/task`).filter((id) => getPriority(Number(id)) === lower).length;
  for (const startMs = performance.now(); count() !== 4 && performance.now() - startMs < DEADLINE_MS; )
    await sleep(20);
  assert.equal(count(), 4, "V8's threads go behind the main thread");
}

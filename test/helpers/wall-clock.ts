/**
 * Preloaded into a gateway (`node --import`): a wall clock that a test sets. WALL_CLOCK_DAYS is what it is ahead by at the start;
 * SIGIO sets it a day forward, SIGPWR a day back.
 */
import { isMainThread } from 'node:worker_threads';

const DAY_MS = 86_400_000;
const now = Date.now;
let aheadMs = Number(process.env.WALL_CLOCK_DAYS ?? 0) * DAY_MS;

Date.now = () => now() + aheadMs;
if (isMainThread) {
  process.on('SIGIO', () => {
    aheadMs += DAY_MS;
  });
  process.on('SIGPWR', () => {
    aheadMs -= DAY_MS;
  });
}

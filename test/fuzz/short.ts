/** What `npm test` runs of each target: what is kept, and new cases for some seconds. The long runs are `npm run fuzz`. */
import { test } from 'node:test';
import { fuzz, type Limits, type Target } from './driver.js';

/** Five seconds with one seed, and as many cases as the target asks for, however long they take. */
export function shortLimits({ shortCount }: Target): Limits {
  return { seed: 1, least: shortCount, seconds: 5 };
}

/** A test of each target. */
export function testTargets(targets: readonly Target[]): void {
  for (const target of targets) {
    test(`${target.name}: ${target.about}`, async () => {
      await fuzz(target, shortLimits(target));
    });
  }
}

/** What `npm test` runs of each target: what is kept, and some thousand cases. The long runs are `npm run fuzz`. */
import { test } from 'node:test';
import { fuzz, type Target } from './driver.js';

export function testTargets(targets: readonly Target[]): void {
  for (const target of targets) {
    test(`${target.name}: ${target.about}`, async () => {
      await fuzz(target, { seed: 1, count: target.shortCount });
    });
  }
}

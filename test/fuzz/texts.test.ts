/** Some thousand files of each kind; the long runs are `npm run fuzz`. */
import { test } from 'node:test';
import { fuzz } from './driver.js';
import { texts } from './texts.js';

for (const target of texts) {
  test(`${target.name}: ${target.about}`, async () => {
    await fuzz(target, { seed: 1, count: 250 });
  });
}

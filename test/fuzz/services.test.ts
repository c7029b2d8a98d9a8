/** Some hundred cases for each service of the control plane; the long runs are `npm run fuzz`. */
import { test } from 'node:test';
import { control } from './control.js';
import { fuzz } from './driver.js';
import { http } from './http.js';

for (const target of [control, http]) {
  test(`${target.name}: ${target.about}`, async () => {
    await fuzz(target, { seed: 1, count: 800 });
  });
}

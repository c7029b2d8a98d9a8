/** Some thousand cases for each side of DNS64; the long runs are `npm run fuzz`. */
import { test } from 'node:test';
import { dnsAnswers } from './dns-answers.js';
import { dnsQueries } from './dns-queries.js';
import { dnsTcp } from './dns-tcp.js';
import { fuzz } from './driver.js';

for (const [target, count] of [
  [dnsQueries, 3000],
  [dnsAnswers, 1000],
  [dnsTcp, 500],
] as const) {
  test(`${target.name}: ${target.about}`, async () => {
    await fuzz(target, { seed: 1, count });
  });
}

/** What has become of hosts' questions for an address. Outlives the pool that answered them. */
import { Histogram } from './histogram.js';

/** From 2 µs (a look into the pool) to the seconds after which a held frame is given up. */
const BOUNDS_SEC = [
  2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.025, 0.1, 0.5, 3,
];

export class Assignments {
  assigned = 0;
  refused = 0;
  /** From a worker's question until its answer can be read: waiting for its turn, choosing, writing down, publishing. */
  readonly times = new Histogram(BOUNDS_SEC);
}

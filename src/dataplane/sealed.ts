/**
 * Entry of the bundle that a gateway in a chroot starts its workers from: piscina's own worker, and the task that it asks for
 * by name, in one text (see control/sealed-workers.ts).
 */
import serveQueue from './worker.js';

/** What `require` answers for the task's name. */
export const task = serveQueue;

/**
 * The files that this program brings along. The build makes one file of each program and all that it imports, in dist/bin: this file
 * must lie as deep below dist as those do, for these addresses are relative to whichever it is part of.
 */

const at = (path: string) => new URL(path, import.meta.url);

export const PACKAGE_FILE = at('../../package.json');
/** The status page. */
export const PAGE_FILE = at('../control/page.html');
/** All of a worker thread; see sealed-workers.ts. */
export const SEALED_WORKER_FILE = at('../sealed-worker.cjs');
export const WATCH_THREAD_FILE = at('../bin/watch-thread.js');
export const WORKER_FILE = at('../bin/worker.js');

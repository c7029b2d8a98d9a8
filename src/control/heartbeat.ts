/**
 * Notices when the main thread does not get round to its work: something keeps it busy, or a call blocks.
 *
 *   main thread ──counts a shared word up──► watch thread ──WATCHDOG=1 while it moves, STATUS= while it does not──► systemd
 *
 * The main thread says itself how long it was, once it is over; the watch thread, where a service manager listens, can say so meanwhile.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { WATCH_THREAD_FILE } from './files.js';
import type { Log } from './log.js';
import type { Notifier } from './notify.js';

/** How often the main thread counts. */
const BEAT_MS = 500;
/** What is worth a line. */
export const HELD_UP_MS = 1000;

/** What the watch thread is given. */
export interface WatchTask {
  /** One word, counted up by the main thread; 0 as long as nothing is expected of it. */
  readonly beats: SharedArrayBuffer;
  /** Of the service manager's socket. */
  readonly notifyFd: number;
  /** How long the service manager waits for a sign of life; null: it does not. */
  readonly watchdogMs: number | null;
}

export class Heartbeat {
  readonly #log: Log;
  #timer: NodeJS.Timeout | undefined;
  /** Null where nobody listens: a thread costs megabytes. */
  readonly #watch: Worker | null;
  readonly #beats = new Int32Array(new SharedArrayBuffer(4));
  #lastMs = 0;

  /**
   * Resolves when the watch thread runs, and needs no file any more.
   * @param watchdogMs see `watchdogMs` of notify.ts
   */
  static async start(log: Log, notifier: Notifier, watchdogMs: number | null): Promise<Heartbeat> {
    const heartbeat = new Heartbeat(log, notifier, watchdogMs);
    // A thread that fails is logged, and keeps nobody from serving.
    if (heartbeat.#watch !== null) await once(heartbeat.#watch, 'message').catch(() => {});
    heartbeat.#watch?.unref();
    return heartbeat;
  }

  private constructor(log: Log, { fd }: Notifier, watchdogMs: number | null) {
    this.#log = log;
    const workerData: WatchTask = {
      beats: this.#beats.buffer as SharedArrayBuffer,
      notifyFd: fd,
      watchdogMs,
    };
    this.#watch = fd < 0 ? null : startWatch(workerData, log);
  }

  /** From here on the main thread is expected to get round to its work: a start is one long piece of it. */
  begin(): void {
    this.#lastMs = performance.now();
    this.#timer = setInterval(() => this.#beat(), BEAT_MS).unref();
    Atomics.add(this.#beats, 0, 1);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#watch?.terminate();
  }

  #beat(): void {
    Atomics.add(this.#beats, 0, 1);
    const nowMs = performance.now();
    const lateMs = nowMs - this.#lastMs - BEAT_MS;
    this.#lastMs = nowMs;
    if (lateMs < HELD_UP_MS) return;
    const sec = Math.round(lateMs / 100) / 10;
    this.#log.warn(
      { event: 'main-thread-held-up', sec },
      `the main thread was held up for ${sec} s: new hosts and DNS had to wait; established flows had not`,
    );
  }
}

/** Null where no thread can be made: that is logged, and no reason not to serve. */
function startWatch(workerData: WatchTask, log: Log): Worker | null {
  const fail = (error: Error) =>
    log.error({ event: 'watch-failed', err: error }, `the watch thread has ended: ${error.message}`);
  try {
    const watch = new Worker(WATCH_THREAD_FILE, {
      workerData,
      resourceLimits: { maxYoungGenerationSizeMb: 1 },
    });
    return watch.on('error', fail);
  } catch (error) {
    fail(error as Error);
    return null;
  }
}

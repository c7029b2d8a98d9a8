/**
 * The worker threads: piscina runs one endless task per queue. A worker that dies is replaced on the same queue; its
 * questions' hosts ask again by their next packet.
 */
import { setFlagsFromString } from 'node:v8';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import { Piscina } from 'piscina';
import { archiveCounters } from '../shm/counters.js';
import { createFrameRing } from '../shm/frame-ring.js';
import { createHostRing, HostRing } from '../shm/host-ring.js';
import { epochWord } from '../shm/shared-state.js';
import { V8_FLAGS } from '../shm/v8-flags.js';
import type { FromWorker, PacketNote, Tables, ToWorker, WorkerTask } from '../shm/worker-task.js';
import type { Log } from './log.js';

const RING_RECORDS = 2048;
/** The first death is followed by a start at once, each quick one after it by one that waits twice as long. */
const RESTART_STEP_MS = 50;
const RESTART_MAX_MS = 5000;
/** A worker that has lived so long is given a quick restart again. */
const STEADY_MS = 10_000;

/** The parts of a task that all workers share. */
export type SharedTask = Omit<WorkerTask, 'worker' | 'fd' | 'ring' | 'questions' | 'answers' | 'port'>;

export interface WorkersOptions {
  readonly fds: readonly number[];
  readonly shared: SharedTask;
  readonly log: Log;
  /** Questions wait in the ring of this worker. */
  readonly onQuestions: (worker: number) => void;
  /** A worker tells of packets that are to be logged, and of how many it does not tell. */
  readonly onPackets: (notes: readonly PacketNote[], left: number) => void;
  /** A worker's device has gone: nothing to replace the worker for. */
  readonly onDeviceLost: (message: string) => void;
}

interface Running {
  readonly fd: number;
  readonly ring: SharedArrayBuffer;
  questions: HostRing;
  answers: HostRing;
  port: MessagePort | undefined;
  task: Promise<void>;
  startedMs: number;
  restartDelayMs: number;
  restarts: number;
  onReloaded: () => void;
}

export interface WorkerState {
  readonly worker: number;
  /** False between a death and the start that follows. */
  readonly isRunning: boolean;
  /** Since its last start. */
  readonly aliveSec: number;
  readonly restarts: number;
}

/** A worker allocates next to nothing; V8 would let it collect 48 MiB of that before it looked. */
const YOUNG_MIB = 6;

export class Workers {
  readonly #options: WorkersOptions;
  readonly #piscina: Piscina;
  readonly #running: Running[] = [];
  #isStopping = false;
  #shared: SharedTask;
  /** How many have been replaced. */
  replaced = 0;

  constructor(options: WorkersOptions) {
    this.#options = options;
    this.#shared = options.shared;
    const count = options.fds.length;
    setFlagsFromString(V8_FLAGS);
    this.#piscina = new Piscina({
      filename: new URL('../dataplane/worker.js', import.meta.url).href,
      minThreads: count,
      maxThreads: count,
      concurrentTasksPerWorker: 1,
      idleTimeout: Number.POSITIVE_INFINITY,
      // The tasks never end, so there is no next one to wait for; waiting on a futex would only block the event loop.
      atomics: 'disabled',
      recordTiming: false,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB },
    });
    // A task's own promise tells of its end; an error without a task is logged, never thrown.
    this.#piscina.on('error', (error: unknown) => {
      options.log.error(
        { event: 'worker-error', err: error },
        `a worker failed outside its task: ${String(error)}`,
      );
    });
  }

  get count(): number {
    return this.#running.length;
  }

  /** What each queue's worker is doing. */
  get states(): WorkerState[] {
    return this.#running.map(({ port, startedMs, restarts }, worker) => ({
      worker,
      isRunning: port !== undefined,
      aliveSec: (performance.now() - startedMs) / 1000,
      restarts,
    }));
  }

  /** Resolves when every queue is served. */
  async start(): Promise<void> {
    const serving = this.#options.fds.map((fd, worker) => {
      const empty = new HostRing(createHostRing(RING_RECORDS));
      this.#running[worker] = {
        fd,
        ring: createFrameRing(),
        questions: empty,
        answers: empty,
        port: undefined,
        task: Promise.resolve(),
        startedMs: 0,
        restartDelayMs: 0,
        restarts: 0,
        onReloaded: () => {},
      };
      return this.#launch(worker);
    });
    await Promise.all(serving);
  }

  /** The ring of questions of a worker, and the one for answers. */
  rings(worker: number): { questions: HostRing; answers: HostRing } {
    return this.#running[worker] as Running;
  }

  send(worker: number, message: ToWorker): void {
    this.#running[worker]?.port?.postMessage(message);
  }

  /**
   * Hands all workers other tables, those that are started later too. Resolves when none uses those before them any more.
   * One reload at a time.
   */
  async reload(tables: Tables): Promise<void> {
    this.#shared = { ...this.#shared, ...tables };
    const done = this.#running.map((running, worker) => {
      if (running.port === undefined) return undefined;
      const reloaded = new Promise<void>((resolve) => {
        running.onReloaded = resolve;
      });
      this.send(worker, { type: 'reload', tables });
      // A worker that dies meanwhile uses no table any more, and the next one begins with these.
      return Promise.race([reloaded, running.task]);
    });
    await Promise.all(done);
  }

  /** Ends all tasks and threads. Descriptors stay open. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    for (const worker of this.#running.keys()) this.send(worker, { type: 'stop' });
    await Promise.all(this.#running.map((running) => running.task));
    await this.#piscina.destroy();
  }

  /** Starts the task of a queue; resolves when it serves, or has died trying. */
  #launch(worker: number): Promise<void> {
    const running = this.#running[worker] as Running;
    const { port1, port2 } = new MessageChannel();
    const questions = createHostRing(RING_RECORDS);
    const answers = createHostRing(RING_RECORDS);
    running.questions = new HostRing(questions);
    running.answers = new HostRing(answers);
    running.port = port1;
    running.startedMs = performance.now();
    const task: WorkerTask = {
      ...this.#shared,
      worker,
      fd: running.fd,
      ring: running.ring,
      questions,
      answers,
      port: port2,
    };
    return new Promise((serving) => {
      port1.on('message', (message: FromWorker) => {
        if (message.type === 'serving') serving();
        else if (message.type === 'questions') this.#options.onQuestions(worker);
        else if (message.type === 'packets') this.#options.onPackets(message.notes, message.left);
        else running.onReloaded();
      });
      running.task = this.#piscina.run(task, { transferList: [port2] }).then(
        (end: { reason: string; message: string }) => {
          if (end.reason === 'device' && !this.#isStopping) this.#options.onDeviceLost(end.message);
        },
        (error: unknown) => this.#bury(worker, error),
      );
      void running.task.finally(() => {
        port1.close();
        serving();
      });
    });
  }

  /** After a worker's death: its counters are kept, its place in the epoch given up, and another one started. */
  #bury(worker: number, error: unknown): void {
    if (this.#isStopping) return;
    const running = this.#running[worker] as Running;
    const { shared, log } = this.#options;
    running.port = undefined;
    archiveCounters(shared.counters, worker);
    Atomics.store(new Int32Array(shared.state), epochWord(worker), 0);
    this.replaced++;
    running.restarts++;
    const livedMs = performance.now() - running.startedMs;
    const delayMs = livedMs > STEADY_MS ? 0 : running.restartDelayMs;
    running.restartDelayMs = Math.min(Math.max(delayMs * 2, RESTART_STEP_MS), RESTART_MAX_MS);
    const reason = error instanceof Error ? error.message : String(error);
    const restart = () => {
      if (this.#isStopping) return;
      void this.#launch(worker).then(() => {
        const fields = { event: 'worker-replaced', worker, reason, livedMs: Math.round(livedMs), delayMs };
        log.error(fields, `worker ${worker} died (${reason}) and was replaced on its queue`);
      });
    };
    if (delayMs === 0) restart();
    else setTimeout(restart, delayMs).unref();
  }
}

/**
 * The worker threads: piscina runs one endless task per queue. A worker that dies is replaced on the same queue; its
 * questions' hosts ask again by their next packet. Their number changes while they serve, and no flow loses a frame or its order:
 *
 *   more are started ──frames go to other queues──► all serve their old ones to the end ──► each has a new one; who has none retires
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import type { Piscina } from 'piscina';
import { archiveCounters } from '../shm/counters.js';
import { createFrameRing } from '../shm/frame-ring.js';
import { createHostRing, HostRing } from '../shm/host-ring.js';
import { beatWord, epochWord } from '../shm/shared-state.js';
import { V8_FLAGS } from '../shm/v8-flags.js';
import type { FromWorker, PacketNote, Tables, ToWorker, WorkerTask } from '../shm/worker-task.js';
import type { Log } from './log.js';
import type { QueueChange } from './queues.js';
import { failureOf, openThread } from './worker-thread.js';

const RING_RECORDS = 2048;
/** The first death is followed by a start at once, each quick one after it by one that waits twice as long. */
const RESTART_STEP_MS = 50;
const RESTART_MAX_MS = 5000;
/** A worker that has lived so long is given a quick restart again. */
const STEADY_MS = 10_000;
/** A frame that was being given to a queue when another program came into force is there by then: the kernel does it with interrupts off. */
const SETTLE_MS = 2;
/** A worker whose event loop has not got its turn for so many looks, a second apart, never will. */
const SILENT_LOOKS = 5;
/** For so long a worker's end is waited for. */
const STOP_MS = 5000;

/** The parts of a task that all workers share. */
export type SharedTask = Omit<
  WorkerTask,
  | keyof Tables
  | 'worker'
  | 'fd'
  | 'isWaiting'
  | 'ring'
  | 'questions'
  | 'answers'
  | 'captures'
  | 'samples'
  | 'port'
>;

export interface WorkersOptions {
  readonly fds: readonly number[];
  /** Threads that have been opened ahead; they are taken from here. */
  readonly threads: Piscina[];
  readonly shared: SharedTask;
  readonly log: Log;
  /** What somebody looks at now, of the frames of this worker. */
  readonly watched: (worker: number) => Pick<WorkerTask, 'captures' | 'samples'>;
  /** Questions wait in the ring of this worker. */
  readonly onQuestions: (worker: number) => void;
  /** A worker tells of packets that are to be logged, and of how many it does not tell. */
  readonly onPackets: (notes: readonly PacketNote[], left: number) => void;
  /** A worker's device has gone: nothing to replace the worker for. */
  readonly onDeviceLost: (message: string) => void;
}

interface Running {
  /** With one thread: that of this worker. */
  piscina: Piscina;
  fd: number;
  /** Frames come to its queue that it must not serve yet. */
  isWaiting: boolean;
  /** It is not to be replaced. */
  isRetiring: boolean;
  readonly ring: SharedArrayBuffer;
  questions: HostRing;
  answers: HostRing;
  port: MessagePort | undefined;
  task: Promise<void>;
  startedMs: number;
  restartDelayMs: number;
  restarts: number;
  isServing: boolean;
  /** Why it has died last. */
  lastDeath: string;
  /** Its BEAT (shm/shared-state.ts) at the last look, and how many looks have found the same. */
  beat: number;
  silentLooks: number;
  onReloaded: () => void;
  onDrained: () => void;
}

export interface WorkerState {
  readonly worker: number;
  /** False between a death and the start that follows. */
  readonly isRunning: boolean;
  /** Since its last start. */
  readonly aliveSec: number;
  readonly restarts: number;
}

export class Workers {
  readonly #options: WorkersOptions;
  readonly #running: Running[] = [];
  #isStopping = false;
  readonly #shared: SharedTask;
  /** In force, from the start on. */
  #tables!: Tables;
  /** How many have been replaced. */
  replaced = 0;

  constructor(options: WorkersOptions) {
    this.#options = options;
    this.#shared = options.shared;
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

  /** Resolves when every queue is served, or its worker will be tried again. Rejects where no worker could begin: none would later. */
  async start(tables: Tables): Promise<void> {
    this.#tables = tables;
    setFlagsFromString(V8_FLAGS);
    await Promise.all(this.#options.fds.map((fd) => this.#add(fd, false)));
    if (this.#running.every(({ isServing }) => !isServing))
      throw new Error(`no worker can be started: ${this.#running[0]?.lastDeath}`);
  }

  /** Resolves when the new worker serves, or waits. */
  #add(fd: number, isWaiting: boolean): Promise<void> {
    const piscina = this.#options.threads.pop() ?? openThread(this.#options.log);
    const empty = new HostRing(createHostRing(RING_RECORDS));
    const worker = this.#running.push({
      piscina,
      fd,
      isWaiting,
      isRetiring: false,
      ring: createFrameRing(),
      questions: empty,
      answers: empty,
      port: undefined,
      task: Promise.resolve(),
      startedMs: 0,
      restartDelayMs: 0,
      restarts: 0,
      isServing: false,
      lastDeath: '',
      beat: 0,
      silentLooks: 0,
      onReloaded: () => {},
      onDrained: () => {},
    });
    return this.#launch(worker - 1);
  }

  /** The ring of questions of a worker, and the one for answers; undefined where it has retired. */
  rings(worker: number): { questions: HostRing; answers: HostRing } | undefined {
    return this.#running[worker];
  }

  send(worker: number, message: ToWorker): void {
    this.#running[worker]?.port?.postMessage(message);
  }

  /** Has questions in the ring of a worker answered, by whoever answers them now. */
  noteQuestions(worker: number): void {
    this.#options.onQuestions(worker);
  }

  /** Once a second: ends a worker that does not come round any more, so that another takes its place. */
  look(): void {
    const state = new Int32Array(this.#shared.state);
    for (const [worker, running] of this.#running.entries()) {
      const beat = Atomics.load(state, beatWord(worker));
      const isSilent = running.isServing && beat === running.beat;
      running.silentLooks = isSilent ? running.silentLooks + 1 : 0;
      running.beat = beat;
      if (running.silentLooks < SILENT_LOOKS) continue;
      running.silentLooks = 0;
      this.#options.log.error(
        { event: 'worker-stuck', worker },
        `worker ${worker} has not come round for ${SILENT_LOOKS} s and is ended; please report this`,
      );
      terminate(running);
    }
  }

  /**
   * Hands all workers other tables, those that are started later too. Resolves when none uses those before them any more.
   * One reload at a time.
   */
  async reload(tables: Tables): Promise<void> {
    this.#tables = tables;
    await Promise.all(
      this.#running.map((_, worker) => this.#ask(worker, { type: 'reload', tables }, 'onReloaded')),
    );
  }

  /** Has as many workers as there are queues in a change, which is brought about. Where it rejects, nothing has changed. */
  async resize(change: QueueChange): Promise<void> {
    const { fds, isDisjoint } = change;
    const old = this.#running.length;
    try {
      // Where the kernel chooses, frames come to a new queue at once.
      for (const fd of fds.slice(old)) await this.#add(fd, isDisjoint);
      change.take();
    } catch (error) {
      await this.#retire(old);
      throw error;
    }
    if (isDisjoint) {
      await sleep(SETTLE_MS);
      // Of one that dies meanwhile, what is left in its queue is lost.
      const asked = Array.from({ length: old }, (_, i) => this.#ask(i, { type: 'drain' }, 'onDrained'));
      await Promise.all(asked);
      for (const [worker, fd] of fds.entries()) {
        const running = this.#running[worker] as Running;
        running.fd = fd;
        running.isWaiting = false;
        this.send(worker, { type: 'queue', fd });
      }
    }
    // Where the kernel chooses, what is in a queue that is given up is lost: frames come to it until it is closed.
    await this.#retire(fds.length);
    change.finish();
  }

  /** Lets all workers from this one on go. */
  async #retire(from: number): Promise<void> {
    const leaving = this.#running.slice(from);
    for (const [index, running] of leaving.entries()) {
      running.isRetiring = true;
      this.send(from + index, { type: 'retire' });
    }
    await Promise.all(leaving.map(({ task }) => task));
    this.#running.length = Math.min(from, this.#running.length);
    for (const index of leaving.keys()) this.#settle(from + index);
    await Promise.all(leaving.map(({ piscina }) => piscina.destroy()));
  }

  /** Sends a worker something and waits until it has said that it is done, or has died. */
  async #ask(worker: number, message: ToWorker, answer: 'onReloaded' | 'onDrained'): Promise<void> {
    const running = this.#running[worker] as Running;
    if (running.port === undefined) return;
    const answered = new Promise<void>((resolve) => {
      running[answer] = resolve;
    });
    this.send(worker, message);
    // A worker that dies meanwhile uses no table and serves no queue any more, and the next one begins with what is in force then.
    await Promise.race([answered, running.task]);
  }

  /** Ends all tasks and threads. Descriptors stay open. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    for (const worker of this.#running.keys()) this.send(worker, { type: 'stop' });
    // One that does not come round any more does not hear it.
    const patience = setTimeout(() => this.#running.forEach(terminate), STOP_MS);
    await Promise.all(this.#running.map((running) => running.task));
    clearTimeout(patience);
    await Promise.all(this.#running.map(({ piscina }) => piscina.destroy()));
  }

  /** Starts the task of a queue; resolves when it serves, or has died trying. */
  #launch(worker: number): Promise<void> {
    const running = this.#running[worker] as Running;
    if (failureOf(running.piscina) !== undefined) running.piscina = openThread(this.#options.log);
    const { port1, port2 } = new MessageChannel();
    const questions = createHostRing(RING_RECORDS);
    const answers = createHostRing(RING_RECORDS);
    running.questions = new HostRing(questions);
    running.answers = new HostRing(answers);
    running.port = port1;
    running.startedMs = performance.now();
    const task: WorkerTask = {
      ...this.#shared,
      ...this.#tables,
      ...this.#options.watched(worker),
      worker,
      fd: running.fd,
      isWaiting: running.isWaiting,
      ring: running.ring,
      questions,
      answers,
      port: port2,
    };
    return new Promise((serving) => {
      port1.on('message', (message: FromWorker) => {
        if (message.type === 'serving') {
          running.isServing = true;
          serving();
        } else if (message.type === 'questions') this.noteQuestions(worker);
        else if (message.type === 'packets') this.#options.onPackets(message.notes, message.left);
        else if (message.type === 'drained') running.onDrained();
        else running.onReloaded();
      });
      running.task = running.piscina.run(task, { transferList: [port2] }).then(
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

  /** After a worker's death another one is started. */
  #bury(worker: number, rejection: unknown): void {
    if (this.#isStopping) return;
    const running = this.#running[worker] as Running;
    const error = failureOf(running.piscina) ?? rejection;
    const { log } = this.#options;
    const reason = error instanceof Error ? error.message : String(error);
    running.port = undefined;
    running.isServing = false;
    running.lastDeath = reason;
    this.#settle(worker);
    if (running.isRetiring) return;
    this.replaced++;
    running.restarts++;
    const livedMs = performance.now() - running.startedMs;
    const delayMs = livedMs > STEADY_MS ? 0 : running.restartDelayMs;
    running.restartDelayMs = Math.min(Math.max(delayMs * 2, RESTART_STEP_MS), RESTART_MAX_MS);
    const restart = () => {
      if (this.#isStopping || running.isRetiring) return;
      void this.#launch(worker).then(() => {
        const fields = { event: 'worker-replaced', worker, reason, livedMs: Math.round(livedMs), delayMs };
        log.error(fields, `worker ${worker} died (${reason}) and was replaced on its queue`);
      });
    };
    if (delayMs === 0) restart();
    else setTimeout(restart, delayMs).unref();
  }

  /** What a worker that is no more leaves: its counters are kept, its place in the epoch is given up. */
  #settle(worker: number): void {
    const { counters, state } = this.#options.shared;
    archiveCounters(counters, worker);
    Atomics.store(new Int32Array(state), epochWord(worker), 0);
  }
}

/** Ends a thread whatever it does: its task rejects. */
function terminate({ piscina }: Running): void {
  for (const thread of piscina.threads) void thread.terminate();
}

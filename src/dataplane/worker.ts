/** The piscina task of one worker: it ends when control says so, or when the device has gone. */
import { setPriority } from 'node:os';
import native from '#native';
import type { FromWorker, ToWorker, WorkerTask } from '../shm/worker-task.js';
import { Loop } from './loop.js';
import { rehearse } from './rehearsal.js';

/** Frames that are held are waited for before a queue is left, so that none overtakes them by another; but others wait meanwhile. */
const HOLD_WAIT_MS = 50;
const HOLD_LOOK_MS = 1;

/** How a task ended. */
export interface WorkerEnd {
  readonly reason: 'stopped' | 'device';
  readonly message: string;
}

/** Frames wait for nobody who is merely busy. Linux keeps a niceness for each thread, and without CAP_SYS_NICE it stays as it is. */
function setNiceness(nice: number): void {
  try {
    setPriority(nice);
  } catch {}
}

export default function serveQueue(task: WorkerTask): Promise<WorkerEnd> {
  return new Promise((resolve) => {
    const { port } = task;
    setNiceness(task.nice);
    const send = (message: FromWorker) => port.postMessage(message);
    const loop = new Loop(task, send);
    let poller: native.Poller | undefined;

    const end = (reason: WorkerEnd['reason'], message: string) => {
      poller?.stop();
      clearInterval(ticker);
      loop.end();
      port.close();
      resolve({ reason, message });
    };
    const guarded = (serve: () => void) => {
      try {
        serve();
      } catch (error) {
        // Only the device throws system errors; anything else is a defect, and this worker's end.
        if (!(error instanceof Error && 'syscall' in error)) throw error;
        end('device', error.message);
      }
    };
    const poll = (fd: number) => {
      poller?.stop();
      loop.useQueue(fd);
      poller = new native.Poller(fd, (errno) => {
        if (errno !== 0) end('device', `polling failed with errno ${errno}`);
        else guarded(() => loop.serve());
      });
    };
    const drain = (holdUntilMs: number) =>
      guarded(() => {
        if (!loop.drain()) setImmediate(drain, holdUntilMs);
        else if (loop.isHolding && performance.now() < holdUntilMs)
          setTimeout(drain, HOLD_LOOK_MS, holdUntilMs);
        else {
          poller?.stop();
          send({ type: 'drained' });
        }
      });
    const retire = () => {
      poller?.stop();
      if (loop.isHolding) setTimeout(retire, HOLD_LOOK_MS);
      else end('stopped', '');
    };
    const ticker = setInterval(() => loop.tick(), 1000);
    port.on('message', (message: ToWorker) => {
      if (message.type === 'answers') guarded(() => loop.serveAnswers());
      else if (message.type === 'reload') {
        loop.reload(message.tables);
        send({ type: 'reloaded' });
      } else if (message.type === 'drain') setImmediate(drain, performance.now() + HOLD_WAIT_MS);
      else if (message.type === 'queue') poll(message.fd);
      else if (message.type === 'retire') retire();
      else if (message.type === 'capture') loop.capture(message.capture);
      else if (message.type === 'capture-end') loop.endCapture(message.id);
      else if (message.type === 'sample') loop.sample(message.samples);
      else if (message.type === 'stop') end('stopped', '');
      else if (message.how === 'exit') process.exit(3);
      else if (message.how === 'spin') for (;;);
      else {
        // Not inside the port's handler, which might swallow it.
        setImmediate(() => {
          throw new Error('test hook: this worker was told to throw');
        });
      }
    });
    if (!task.isWaiting) poll(task.fd);
    send({ type: 'serving' });
    if (process.env.NAT64D_TEST_NO_REHEARSAL !== '1') rehearse(task, () => loop.isBusy);
  });
}

/** The piscina task of one queue: it ends when control says so, or when the device has gone. */
import { setPriority } from 'node:os';
import native from '#native';
import type { FromWorker, ToWorker, WorkerTask } from '../shm/worker-task.js';
import { Loop } from './loop.js';
import { rehearse } from './rehearsal.js';

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

    const end = (reason: WorkerEnd['reason'], message: string) => {
      poller.stop();
      clearInterval(ticker);
      port.close();
      resolve({ reason, message });
    };
    const poller = new native.Poller(task.fd, (errno) => {
      if (errno !== 0) return end('device', `polling failed with errno ${errno}`);
      try {
        loop.serve();
      } catch (error) {
        // Only the device throws system errors; anything else is a defect, and this worker's end.
        if (!(error instanceof Error && 'syscall' in error)) throw error;
        end('device', error.message);
      }
    });
    const ticker = setInterval(() => loop.tick(), 1000);
    port.on('message', (message: ToWorker) => {
      if (message.type === 'answers') loop.serveAnswers();
      else if (message.type === 'reload') {
        loop.reload(message.tables);
        send({ type: 'reloaded' });
      } else if (message.type === 'stop') end('stopped', '');
      else if (message.how === 'exit') process.exit(3);
      else {
        // Not inside the port's handler, which might swallow it.
        setImmediate(() => {
          throw new Error('test hook: this worker was told to throw');
        });
      }
    });
    send({ type: 'serving' });
    rehearse(task, () => loop.isBusy);
  });
}

/** A thread that polls a queue and ends in the way it is told. Posts 'ready' when it polls, then what it read each time. */
import { parentPort, workerData } from 'node:worker_threads';
import native from '#native';

export type Ending =
  | 'serve'
  | 'exit'
  | 'exit-at-once'
  | 'throw'
  | 'survive'
  | 'stop'
  | 'stop-at-once'
  | 'spin';

const { fd, ending } = workerData as { fd: number; ending: Ending };
const port = parentPort!;
const ring = new Uint8Array(new SharedArrayBuffer(1 << 20));
const frames = new Int32Array(512);

if (ending === 'survive') {
  process.on('uncaughtException', (error) => port.postMessage(`caught: ${error.message}`));
}

const poller = new native.Poller(fd, (errno) => {
  const count = native.read(fd, ring, 0, ring.length, 80, frames, 256);
  const texts = Array.from({ length: count }, (_, i) =>
    Buffer.from(
      ring.slice((frames[2 * i] as number) + 28, (frames[2 * i] as number) + (frames[2 * i + 1] as number)),
    ).toString('latin1'),
  );
  port.postMessage(errno === 0 ? texts.join() : `errno ${errno}`);
  if (ending === 'exit') process.exit(3);
  if (ending === 'throw' || ending === 'survive') throw new Error('from onReadable');
  if (ending === 'stop') poller.stop();
  while (ending === 'spin') {}
});
port.postMessage('ready');
if (ending === 'exit-at-once') process.exit(3);
if (ending === 'stop-at-once') poller.stop();

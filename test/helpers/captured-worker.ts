/** Plays the worker of a TestSubject whose frames are captured. */
import { CaptureWriter, KIND_IN, SIDE_V6 } from '#nat64d/shm/capture-ring.js';
import type { CaptureTask, ToWorker } from '#nat64d/shm/worker-task.js';

export class CapturedWorker {
  readonly task: CaptureTask;
  readonly #writer: CaptureWriter;

  /** @param sent what the worker was sent: the last capture in it is served */
  constructor(sent: readonly ToWorker[]) {
    const message = sent.findLast(({ type }) => type === 'capture');
    if (message?.type !== 'capture') throw new Error('nobody captures');
    this.task = message.capture;
    this.#writer = new CaptureWriter(message.capture.ring);
  }

  /** Puts a frame; whether there was room. */
  put(bytes: Uint8Array, verdict = 0, kind = KIND_IN | SIDE_V6): boolean {
    const record = this.#writer.open(kind, bytes.length, bytes.length, 1, 0);
    if (record >= 0) {
      this.#writer.u8.set(bytes, this.#writer.bytesOf(record));
      this.#writer.setVerdict(record, verdict);
    }
    this.#writer.publish();
    return record >= 0;
  }
}

/**
 * Control's pen for the host table: publishes and withdraws dynamic maps so that no reader ever sees half of one.
 *
 * An entry is written again only when every worker has passed a burst since it was withdrawn. That is nearly always so
 * (the pool takes free and long-dormant addresses first); where it is not, publishing waits for a millisecond.
 */
import { type HostTableBuffers, HostTableWriter } from '../shm/host-table.js';
import { EPOCH_BUSY, epochWord, GENERATION } from '../shm/shared-state.js';
import type { Address6 } from '../wire/address.js';

const RETRY_MS = 1;

interface Pending {
  readonly host: Address6;
  readonly whenPublished: (() => void)[];
}

export class MapPublisher {
  readonly #writer: HostTableWriter;
  readonly #state: Int32Array;
  readonly #workerCount: number;
  /** By entry: the generation of its withdrawal. */
  readonly #withdrawnAt: Int32Array;
  readonly #pending = new Map<number, Pending>();
  #timer: NodeJS.Timeout | undefined;

  constructor(buffers: HostTableBuffers, state: Int32Array, workerCount: number) {
    this.#writer = new HostTableWriter(buffers);
    this.#state = state;
    this.#workerCount = workerCount;
    this.#withdrawnAt = new Int32Array(Math.max(this.#writer.table.size, 1));
  }

  publish(index: number, host: Address6): void {
    if (this.#haveAllPassed(this.#withdrawnAt[index] as number)) {
      this.#write(index, host);
    } else {
      this.#pending.set(index, { host, whenPublished: [] });
      this.#timer ??= setTimeout(() => this.#retry(), RETRY_MS);
    }
  }

  withdraw(index: number): void {
    const pending = this.#pending.get(index);
    if (pending !== undefined) {
      // Who waits is called back: its question may be asked again.
      this.#pending.delete(index);
      for (const callback of pending.whenPublished) callback();
      return;
    }
    this.#writer.withdraw(index);
    this.#withdrawnAt[index] = this.#raiseGeneration();
  }

  /** Calls back once the map of entry `index` can be read: at once, unless it is still pending. */
  whenPublished(index: number, callback: () => void): void {
    const pending = this.#pending.get(index);
    if (pending === undefined) callback();
    else pending.whenPublished.push(callback);
  }

  /** Publishes nothing any more. Who waits is called back: its question may be asked again. */
  close(): void {
    clearTimeout(this.#timer);
    for (const { whenPublished } of this.#pending.values()) for (const callback of whenPublished) callback();
    this.#pending.clear();
  }

  #write(index: number, host: Address6): void {
    this.#writer.publish(index, host, (this.#state[GENERATION] as number) + 1);
    this.#raiseGeneration();
  }

  #raiseGeneration(): number {
    const generation = (this.#state[GENERATION] as number) + 1;
    Atomics.store(this.#state, GENERATION, generation);
    return generation;
  }

  #haveAllPassed(generation: number): boolean {
    if (generation === 0) return true;
    for (let worker = 0; worker < this.#workerCount; worker++) {
      const epoch = Atomics.load(this.#state, epochWord(worker));
      if (epoch === EPOCH_BUSY || (epoch !== 0 && epoch < generation)) return false;
    }
    return true;
  }

  #retry(): void {
    this.#timer = undefined;
    for (const [index, { host, whenPublished }] of [...this.#pending]) {
      if (!this.#haveAllPassed(this.#withdrawnAt[index] as number)) continue;
      this.#pending.delete(index);
      this.#write(index, host);
      for (const callback of whenPublished) callback();
    }
    if (this.#pending.size > 0) this.#timer = setTimeout(() => this.#retry(), RETRY_MS);
  }
}

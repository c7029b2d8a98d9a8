/** Which queue of the device a frame goes to, where a program of ours may choose it: one that both directions of a flow have in common. */
import { randomBytes } from 'node:crypto';
import native from '#native';
import type { Prefix6 } from '../wire/address.js';
import type { Log } from './log.js';

/** For each length of pref64, where an address under it has the first bits of the IPv4 address in one piece (RFC 6052 section 2.2). */
const REMOTE: Readonly<Record<number, readonly [byte: number, bits: number]>> = {
  32: [4, 32],
  40: [5, 24],
  48: [6, 16],
  56: [7, 8],
  64: [9, 32],
  96: [12, 32],
};
/** With explicit maps alone, the two directions of a flow have only its ports in common. */
const PORTS_ALONE = [0, 0] as const;

export class Steering {
  readonly #fd: number;
  readonly #log: Log;
  /** The same for good: with another one, flows would move from queue to queue. */
  readonly #secret = randomBytes(4).readUInt32BE();
  #pref64: Prefix6 | null;
  #isTold = false;
  /** The queues that are chosen from; null where the kernel chooses. */
  #range: readonly [first: number, count: number] | null = null;

  /** @param fd any queue of the device, which stays open */
  constructor(fd: number, pref64: Prefix6 | null, log: Log) {
    this.#fd = fd;
    this.#pref64 = pref64;
    this.#log = log;
    // A persistent device may have that of another.
    native.clearSteering(fd);
  }

  /** Whether a program of ours chooses. */
  get isProgram(): boolean {
    return this.#range !== null;
  }

  /** Has frames go to `count` queues from `first` on, in one step. False where the kernel does not let us: then all is as before. */
  choose(first: number, count: number): boolean {
    const [at, bits] = (this.#pref64 === null ? undefined : REMOTE[this.#pref64.length]) ?? PORTS_ALONE;
    try {
      if (!native.setSteering(this.#fd, at, bits, this.#secret, first, count)) {
        this.#tellRefusal();
        return false;
      }
    } catch (error) {
      // A gateway serves without it.
      this.#log.warn(
        { event: 'no-steering', err: error },
        `frames are not steered by flow: ${String(error)}`,
      );
      return false;
    }
    this.#range = [first, count];
    return true;
  }

  #tellRefusal(): void {
    if (this.#isTold) return;
    this.#isTold = true;
    this.#log.info(
      { event: 'no-steering' },
      'the kernel chooses the queue of a frame, as it takes no program of ours (that takes CAP_BPF): the two directions of a flow may meet different workers, and another number of workers costs the frames of those that leave',
    );
  }

  /** Goes by another prefix. */
  use(pref64: Prefix6 | null): void {
    this.#pref64 = pref64;
    if (this.#range !== null) this.choose(...this.#range);
  }
}

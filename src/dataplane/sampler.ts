/**
 * Tells control the hosts of some frames while somebody looks at the busiest hosts. Whole bursts are sampled: all of them while
 * there are few frames, and the more there are the fewer.
 */
import type { HostRing } from '../shm/host-ring.js';
import { hostSample, MAX_SAMPLE_SHIFT } from '../shm/host-sample.js';
import { IPV4_DESTINATION, IPV4_HEADER, IPV6_HEADER, IPV6_SOURCE } from '../wire/ip.js';
import type { Context } from './context.js';
import { hostOf4 } from './resolve.js';

/** Frames sampled in a second by all workers, more or less. */
const SAMPLES_PER_SEC = 2000;

export class Sampler {
  readonly #ctx: Context;
  readonly #ring: HostRing;
  /** Samples after which they become half as many, within a second. */
  readonly #limit: number;
  /** One burst in 2^shift is sampled from the next one on. */
  #shift = 0;
  /** The same for the burst that is sampled now, and for the one whose turn has been drawn. */
  #shiftNow = 0;
  #shiftDrawn = 0;
  #untilNext = 0;
  #taken = 0;

  constructor(ctx: Context, ring: HostRing, workerCount: number) {
    this.#ctx = ctx;
    this.#ring = ring;
    this.#limit = Math.ceil(SAMPLES_PER_SEC / workerCount);
  }

  /** Called for each burst: whether its frames are to be taken. */
  isDue(): boolean {
    if (this.#untilNext-- > 0) return false;
    this.#shiftNow = this.#shiftDrawn;
    // By chance, so that no rhythm of the traffic keeps step with it.
    this.#untilNext = Math.floor(Math.random() * (2 ** (this.#shift + 1) - 1));
    this.#shiftDrawn = this.#shift;
    if (this.#taken >= this.#limit && this.#shift < MAX_SAMPLE_SHIFT) {
      this.#shift++;
      this.#taken = 0;
    }
    return true;
  }

  /** A frame that was not translated yet. */
  take(offset: number, length: number): void {
    const ctx = this.#ctx;
    const { dv } = ctx;
    const version = length < IPV4_HEADER ? 0 : (ctx.u8[offset] as number) >>> 4;
    if (version === 6 && length >= IPV6_HEADER) {
      const at = offset + IPV6_SOURCE;
      this.#tell(
        dv.getInt32(at),
        dv.getInt32(at + 4),
        dv.getInt32(at + 8),
        dv.getInt32(at + 12),
        true,
        length,
      );
    } else if (version === 4 && hostOf4(ctx, dv.getInt32(offset + IPV4_DESTINATION))) {
      this.#tell(ctx.found0, ctx.found1, ctx.found2, ctx.found3, false, length);
    }
  }

  /** Once a second. */
  tick(): void {
    if (this.#shift > 0 && this.#taken < this.#limit / 4) this.#shift--;
    this.#taken = 0;
  }

  /** What there is no room for is left out: a look that comes late sees less. */
  #tell(w0: number, w1: number, w2: number, w3: number, isFromV6: boolean, length: number): void {
    this.#taken++;
    this.#ring.push(w0, w1, w2, w3, hostSample(isFromV6, this.#shiftNow, length));
  }
}

/** Captures under way: each has a ring with every worker, and somebody who reads them as pcapng. */
import { CaptureReader, createCaptureRing, SIDE_V4, SIDE_V6 } from '../../shm/capture-ring.js';
import { COUNTER_NAMES } from '../../shm/counters.js';
import type { CaptureTask, ToWorker } from '../../shm/worker-task.js';
import { VERSION } from '../version.js';
import { enhancedPacket, interfaceDescription, interfaceStatistics, sectionHeader } from './pcapng.js';

/** More than any frame has. */
export const MAX_SNAP_LENGTH = 262_144;
/** Each costs the workers a copy of every frame that it wants. */
const MAX_CAPTURES = 4;
/** A worker's ring, frames of a few milliseconds under full load; and all workers' rings of a capture together, or the least there is. */
const RING_BYTES = 4 << 20;
const ALL_RINGS_BYTES = 64 << 20;
const LEAST_RING_BYTES = 256 << 10;
/** Told in one turn of the event loop: a millisecond's work or so. */
const READ_BYTES = 64 << 10;
/** What is left in the rings at the end is told up to so much, and the rest counted as lost. */
const LAST_BYTES = 256 << 10;
const HELD = -1;
/** The sides that a capture may have, as the ring numbers them. */
const SIDES = { v6: [SIDE_V6], v4: [SIDE_V4], both: [SIDE_V6, SIDE_V4] } as const;
const DESCRIPTIONS = ['the IPv6 side of the translator', 'the IPv4 side of the translator'] as const;

export type CaptureOptions = Omit<CaptureTask, 'id' | 'ring'>;

/** Another one is too many. */
export class TooManyCapturesError extends Error {}

/** A part of the file; all of them in a row are a whole one. */
export interface CaptureChunk {
  readonly pcapng: Uint8Array;
  /** So far: frames that are in the file, and frames that there was no room for. */
  readonly frames: number;
  readonly lost: number;
}

export interface Capture {
  /** What there is to tell; null where that is nothing. */
  read(): CaptureChunk | null;
  /** Ends it. The last part of the file. */
  end(): CaptureChunk;
  /** Ends it, and nobody wants the rest. */
  close(): void;
}

interface Running {
  readonly options: CaptureOptions;
  readonly sizeBytes: number;
  /** One for each worker. */
  readonly rings: SharedArrayBuffer[];
  readonly capture: RunningCapture;
}

export class Captures {
  readonly #workerCount: () => number;
  readonly #send: (worker: number, message: ToWorker) => void;
  readonly #running = new Map<number, Running>();
  #nextId = 1;

  constructor(workerCount: () => number, send: (worker: number, message: ToWorker) => void) {
    this.#workerCount = workerCount;
    this.#send = send;
  }

  get count(): number {
    return this.#running.size;
  }

  /** What a worker that is started now has to copy. */
  tasksOf(worker: number): CaptureTask[] {
    return [...this.#running].map(([id, running]) => ({
      ...running.options,
      id,
      ring: running.rings[worker] ?? addRing(running, worker),
    }));
  }

  /** Begins one. Throws TooManyCapturesError. */
  open(device: string, options: CaptureOptions): Capture {
    if (this.#running.size >= MAX_CAPTURES) {
      throw new TooManyCapturesError(
        `${MAX_CAPTURES} captures are under way already; end one of them ('nat64ctl capture' elsewhere)`,
      );
    }
    const id = this.#nextId++;
    const workerCount = this.#workerCount();
    let sizeBytes = RING_BYTES;
    while (sizeBytes > LEAST_RING_BYTES && sizeBytes * workerCount > ALL_RINGS_BYTES) sizeBytes /= 2;
    const rings = Array.from({ length: workerCount }, () => createCaptureRing(sizeBytes));
    const close = () => {
      if (!this.#running.delete(id)) return;
      for (const worker of rings.keys()) this.#send(worker, { type: 'capture-end', id });
    };
    const capture = new RunningCapture(device, options, rings, close);
    this.#running.set(id, { options, sizeBytes, rings, capture });
    for (const [worker, ring] of rings.entries())
      this.#send(worker, { type: 'capture', capture: { ...options, id, ring } });
    return capture;
  }
}

/** Of a worker that has come while the capture runs. */
function addRing({ rings, sizeBytes, capture }: Running, worker: number): SharedArrayBuffer {
  const ring = createCaptureRing(sizeBytes);
  rings[worker] = ring;
  capture.readToo(worker, ring);
  return ring;
}

class RunningCapture implements Capture {
  readonly #readers: CaptureReader[];
  readonly close: () => void;
  /** Each is an interface of the file, in this order. */
  readonly #sides: readonly (0 | 1)[];
  readonly #offsetNs = wallClockOffsetNs();
  readonly #startNs = process.hrtime.bigint() + this.#offsetNs;
  #header: Buffer | null;
  /** Frames told, by side. */
  readonly #told: [number, number] = [0, 0];

  constructor(
    device: string,
    { side: wanted, snapLength }: CaptureOptions,
    rings: readonly SharedArrayBuffer[],
    close: () => void,
  ) {
    this.#readers = rings.map((ring) => new CaptureReader(ring));
    this.close = close;
    this.#sides = SIDES[wanted];
    this.#header = Buffer.concat([
      sectionHeader(`nat64d ${VERSION}`),
      ...this.#sides.map((side) =>
        interfaceDescription(`${device}-${side === SIDE_V6 ? 'v6' : 'v4'}`, DESCRIPTIONS[side], snapLength),
      ),
    ]);
  }

  /** Reads what one more worker copies. */
  readToo(worker: number, ring: SharedArrayBuffer): void {
    this.#readers[worker] = new CaptureReader(ring);
  }

  read(): CaptureChunk | null {
    const blocks = this.#blocks(READ_BYTES);
    const lost = this.#sides.reduce<number>((sum, side) => sum + this.#sum('lost', side), 0);
    return blocks.length === 0 ? null : this.#chunk(blocks, lost);
  }

  end(): CaptureChunk {
    this.close();
    const blocks = this.#blocks(LAST_BYTES);
    const endNs = process.hrtime.bigint() + this.#offsetNs;
    let allLost = 0;
    for (const [interfaceId, side] of this.#sides.entries()) {
      // What is still in the rings is lost too.
      const wanted = this.#sum('wanted', side);
      const lost = Math.max(wanted - this.#told[side], 0);
      blocks.push(interfaceStatistics(interfaceId, { startNs: this.#startNs, endNs, wanted, lost }));
      allLost += lost;
    }
    return this.#chunk(blocks, allLost);
  }

  #chunk(blocks: readonly Buffer[], lost: number): CaptureChunk {
    const [v6, v4] = this.#told;
    return { pcapng: Buffer.concat(blocks), frames: v6 + v4, lost };
  }

  #sum(what: 'wanted' | 'lost', side: 0 | 1): number {
    return this.#readers.reduce((sum, { totals }) => sum + totals[what][side], 0);
  }

  /** The beginning of the file, where nobody has it yet, and the oldest frames of all workers, in order. */
  #blocks(maxBytes: number): Buffer[] {
    const blocks: Buffer[] = [];
    let size = 0;
    if (this.#header !== null) {
      blocks.push(this.#header);
      this.#header = null;
    }
    while (size < maxBytes) {
      const reader = this.#oldest();
      if (reader === null) break;
      const bytes = this.#packet(reader, this.#readers.indexOf(reader));
      this.#told[reader.side]++;
      reader.take();
      size += bytes.length;
      blocks.push(bytes);
    }
    return blocks;
  }

  #oldest(): CaptureReader | null {
    let oldest: CaptureReader | null = null;
    for (const reader of this.#readers) {
      if (!reader.next()) continue;
      if (
        oldest === null ||
        reader.sec < oldest.sec ||
        (reader.sec === oldest.sec && reader.nsec < oldest.nsec)
      )
        oldest = reader;
    }
    return oldest;
  }

  #packet(reader: CaptureReader, worker: number): Buffer {
    return enhancedPacket({
      interfaceId: this.#sides.indexOf(reader.side),
      ns: BigInt(reader.sec) * 1_000_000_000n + BigInt(reader.nsec) + this.#offsetNs,
      bytes: reader.bytes,
      length: reader.length,
      isOutbound: reader.isOutbound,
      lostBefore: reader.lostBefore,
      id: (BigInt(worker) << 32n) | BigInt(reader.number),
      queue: worker,
      comment: commentOn(reader.verdict),
    });
  }
}

/** What became of a frame, where it is not seen on the other side. */
function commentOn(verdict: number): string | null {
  if (verdict > 0) return `dropped: ${COUNTER_NAMES[verdict]?.slice('drop-'.length)}`;
  return verdict === HELD ? 'held until its host has a map' : null;
}

/** From process.hrtime() to the time of day, as it is now: a step of the wall clock during a capture does not show in it. */
function wallClockOffsetNs(): bigint {
  // Finer than Date, but not where the wall clock has been set since the start.
  const fineMs = performance.timeOrigin + performance.now();
  const coarseMs = Date.now();
  const nowMs = Math.abs(fineMs - coarseMs) < 2 ? fineMs : coarseMs;
  const wholeMs = Math.floor(nowMs);
  const ns = BigInt(wholeMs) * 1_000_000n + BigInt(Math.round((nowMs - wholeMs) * 1e6));
  return ns - process.hrtime.bigint();
}

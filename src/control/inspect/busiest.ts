/** Which hosts have the most traffic, from samples that workers take. They take none until somebody asks, and none when nobody asks any more. */
import { createHostRing, HostRing } from '../../shm/host-ring.js';
import { isSampleFromV6, sampleLength, sampleWeight } from '../../shm/host-sample.js';
import type { ToWorker } from '../../shm/worker-task.js';
import { type Address6, formatAddress4, formatAddress6 } from '../../wire/address.js';
import { Addressing } from './addressing.js';
import type { Throughput } from './status.js';
import type { Subject } from './subject.js';

/** More than two looks' worth of what workers take under a steady load. */
const RING_RECORDS = 2048;
const LOOK_MS = 1000;
/** Nobody has asked for so long: nobody asks. */
const PATIENCE_MS = 10_000;
const LISTED = 20;

interface Traffic {
  readonly host: Address6;
  readonly v6ToV4: Throughput;
  readonly v4ToV6: Throughput;
}

interface Sum {
  readonly host: Address6;
  framesFromV6: number;
  bytesFromV6: number;
  framesFromV4: number;
  bytesFromV4: number;
}

export class BusiestHosts {
  readonly #workerCount: () => number;
  readonly #send: (worker: number, message: ToWorker) => void;
  #rings: SharedArrayBuffer[] = [];
  #readers: HostRing[] = [];
  #timer: NodeJS.Timeout | undefined;
  #askedMs = 0;
  #lookedMs = 0;
  #busiest: readonly Traffic[] = [];

  constructor(workerCount: () => number, send: (worker: number, message: ToWorker) => void) {
    this.#workerCount = workerCount;
    this.#send = send;
  }

  /** Where a worker is to put its samples; null while nobody asks. */
  ringOf(worker: number): SharedArrayBuffer | null {
    if (!this.isOn) return null;
    return this.#rings[worker] ?? this.#addRing(worker);
  }

  get isOn(): boolean {
    return this.#timer !== undefined;
  }

  /** Those of the last second, by bytes; nothing yet when this is first called. */
  ask(): readonly Traffic[] {
    this.#askedMs = performance.now();
    if (!this.isOn) this.#begin();
    return this.#busiest;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    for (const worker of this.#rings.keys()) this.#send(worker, { type: 'sample', samples: null });
    this.#rings = [];
    this.#readers = [];
    this.#busiest = [];
  }

  #begin(): void {
    const workerCount = this.#workerCount();
    for (let worker = 0; worker < workerCount; worker++) this.#addRing(worker);
    for (const [worker, samples] of this.#rings.entries()) this.#send(worker, { type: 'sample', samples });
    this.#lookedMs = performance.now();
    this.#timer = setInterval(() => this.look(), LOOK_MS).unref();
  }

  #addRing(worker: number): SharedArrayBuffer {
    const ring = createHostRing(RING_RECORDS);
    this.#rings[worker] = ring;
    this.#readers[worker] = new HostRing(ring);
    return ring;
  }

  /** Takes what workers have sampled since the last look. Called once a second; public for tests. */
  look(): void {
    const nowMs = performance.now();
    if (nowMs - this.#askedMs > PATIENCE_MS) {
      this.close();
      return;
    }
    const sec = Math.max((nowMs - this.#lookedMs) / 1000, 1e-3);
    this.#lookedMs = nowMs;
    const sums = new Map<string, Sum>();
    for (const reader of this.#readers) reader.drain(RING_RECORDS, (host, value) => add(sums, host, value));
    const bytes = (sum: Sum) => sum.bytesFromV6 + sum.bytesFromV4;
    const rate = (frames: number, length: number) => ({
      framesPerSec: frames / sec,
      bitsPerSec: (8 * length) / sec,
    });
    this.#busiest = [...sums.values()]
      .sort((a, b) => bytes(b) - bytes(a))
      .slice(0, LISTED)
      .map(({ host, framesFromV6, bytesFromV6, framesFromV4, bytesFromV4 }) => ({
        host,
        v6ToV4: rate(framesFromV6, bytesFromV6),
        v4ToV6: rate(framesFromV4, bytesFromV4),
      }));
  }
}

function add(sums: Map<string, Sum>, host: Address6, value: number): void {
  const key = host.join();
  let sum = sums.get(key);
  if (sum === undefined) {
    sum = { host, framesFromV6: 0, bytesFromV6: 0, framesFromV4: 0, bytesFromV4: 0 };
    sums.set(key, sum);
  }
  const weight = sampleWeight(value);
  const bytes = weight * sampleLength(value);
  if (isSampleFromV6(value)) {
    sum.framesFromV6 += weight;
    sum.bytesFromV6 += bytes;
  } else {
    sum.framesFromV4 += weight;
    sum.bytesFromV4 += bytes;
  }
}

export interface BusyHost {
  readonly ipv6: string;
  /** Null where it has none now. */
  readonly ipv4: string | null;
  readonly v6ToV4: Throughput;
  readonly v4ToV6: Throughput;
}

/** The busiest hosts of the last second, by bytes of both directions; estimated from samples under load. */
export function busiestHosts(subject: Subject): BusyHost[] {
  const at = new Addressing(subject);
  return subject.dataplane.busiest.ask().map(({ host, v6ToV4, v4ToV6 }) => {
    const ipv4 = at.hostOf6(host);
    return { ipv6: formatAddress6(host), ipv4: ipv4 === null ? null : formatAddress4(ipv4), v6ToV4, v4ToV6 };
  });
}

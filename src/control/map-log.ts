/**
 * Records of which host had which address from when to when, for those who must keep them (RFC 6888 section 4): one line as a map
 * comes to life, one as it ends. Stands between the pool and the workers' table, which learn of both.
 */
import { type Address6, formatAddress4, formatAddress6 } from '../wire/address.js';
import type { Clock } from './clock.js';
import type { Log } from './log.js';
import type { DynamicPool, MapPublisher, PoolEntry } from './pool/dynamic-pool.js';
import type { Sliced } from './slices.js';

export interface MapLogSurroundings {
  readonly publisher: MapPublisher;
  readonly pool: () => DynamicPool;
  readonly clock: Clock;
  readonly log: Log;
}

export class MapLog implements MapPublisher {
  readonly #on: MapLogSurroundings;
  isOn = false;
  /** Of the maps that lived when it was turned on, those from this index on have not been told of, */
  #next = Number.POSITIVE_INFINITY;
  /** but for these, which have started, or ended, meanwhile. */
  readonly #told = new Set<number>();

  constructor(surroundings: MapLogSurroundings) {
    this.#on = surroundings;
  }

  publish(index: number, host: Address6): void {
    this.#on.publisher.publish(index, host);
    if (!this.isOn) return;
    if (index >= this.#next) this.#told.add(index);
    const fields = shown({ host, ipv4: this.#on.pool().addressOf(index) });
    this.#on.log.info({ event: 'map-started', ...fields }, `map started: ${fields.host} has ${fields.ipv4}`);
  }

  withdraw(index: number): void {
    const entry = this.isOn ? this.#on.pool().entry(index) : null;
    if (entry !== null) {
      if (index >= this.#next && !this.#told.has(index)) {
        this.#told.add(index);
        this.#tellResumed(entry);
      }
      this.end(entry);
    }
    this.#on.publisher.withdraw(index);
  }

  /** Turns it on or off. `resume` is to follow. */
  turn(isOn: boolean): void {
    if (isOn && !this.isOn) this.#next = 0;
    this.isOn = isOn;
  }

  /** Tells of the maps that live as it is turned on. From these lines on, the record is complete. */
  *resume(): Sliced<void> {
    const pool = this.#on.pool();
    while (this.isOn && this.#next < pool.size) {
      const index = this.#next;
      const entry = pool.entry(index);
      if (entry?.live && !this.#told.has(index)) this.#tellResumed(entry);
      this.#next++;
      yield;
    }
    this.#next = Number.POSITIVE_INFINITY;
    this.#told.clear();
  }

  #tellResumed(entry: PoolEntry): void {
    const fields = shown(entry);
    const message = `map resumed: ${fields.host} has ${fields.ipv4}`;
    this.#on.log.info({ event: 'map-resumed', ...fields, lastUsed: this.#timeOf(entry) }, message);
  }

  /** The line of a map that ends. */
  end(entry: PoolEntry): void {
    const fields = shown(entry);
    const lastUsed = this.#timeOf(entry);
    this.#on.log.info(
      { event: 'map-ended', ...fields, lastUsed },
      `map ended: ${fields.host} had ${fields.ipv4}, last used ${lastUsed}`,
    );
  }

  /** By the wall clock, as it is now. */
  #timeOf({ lastUsedSec }: PoolEntry): string {
    const agoSec = this.#on.clock.nowSec() - lastUsedSec;
    return `${new Date(Date.now() - agoSec * 1000).toISOString().slice(0, 19)}Z`;
  }
}

function shown({ host, ipv4 }: Pick<PoolEntry, 'host' | 'ipv4'>): { host: string; ipv4: string } {
  return { host: formatAddress6(host), ipv4: formatAddress4(ipv4) };
}

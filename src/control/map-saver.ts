/** When dynamic.map is written, and what is said where it cannot be. The gateway serves on where the disk does not. */
import { join } from 'node:path';
import type { Address6 } from '../wire/address.js';
import type { Clock } from './clock.js';
import type { Log } from './log.js';
import { DynamicMapStore, type StoreContent } from './pool/dynamic-map-store.js';
import type { PoolEntry } from './pool/dynamic-pool.js';
import { inSlices } from './slices.js';

const FILE = 'dynamic.map';
/** How often dynamic.map is written while maps are in use: after a crash, times of last use are no older. */
const SAVE_SEC = 600;
/** And how often once that has failed; so often it is also seen whether the files are still there. */
const RETRY_SEC = 10;
/** How often it is said that it fails. */
const REMIND_SEC = 60;
/** The wall clock has been set where it moves so much against the monotonic one between two looks. */
const CLOCK_STEP_MS = 60_000;

export interface MapSaverOptions {
  readonly dataDir: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Every map there is. */
  readonly entries: () => Iterable<PoolEntry>;
}

export class MapSaver {
  readonly #options: MapSaverOptions;
  readonly #store: DynamicMapStore;
  #folder: string;
  #savedSec: number;
  #lookedSec: number;
  /** When a failure was said last; undefined while nothing fails. */
  #saidSec: number | undefined;
  #wallOffsetMs = wallOffsetMs();

  constructor(options: MapSaverOptions) {
    this.#options = options;
    this.#folder = options.dataDir;
    this.#store = new DynamicMapStore(join(options.dataDir, FILE));
    this.#savedSec = this.#lookedSec = options.clock.nowSec();
  }

  /** Reads all there is, while nothing is to be saved. Rejects where a file cannot be read. */
  async read(): Promise<StoreContent> {
    await this.#store.whenIdle();
    return inSlices(this.#store.read());
  }

  /** Writes down that a host gets an address. Never throws: what is not written down now is with the next save. */
  record(ipv4: number, host: Address6): void {
    try {
      this.#store.record(ipv4, host, unixNow());
    } catch (error) {
      this.#noteFailure(error);
    }
  }

  /** Writes dynamic.map anew. Rejects where it cannot; nothing is lost then. */
  async save(): Promise<void> {
    const { clock, log, entries } = this.#options;
    const nowSec = clock.nowSec();
    this.#savedSec = nowSec;
    await this.#store.compact(entries(), nowSec, unixNow());
    if (this.#saidSec === undefined) return;
    this.#saidSec = undefined;
    log.info({ event: 'dynamic-map-recovered' }, `dynamic maps are written down in ${this.#folder} again`);
  }

  /** Looks whether it is time to save. @param mapCount how many there are to save */
  tick(nowSec: number, mapCount: number): void {
    const isFailing = this.#saidSec !== undefined;
    const isDue =
      nowSec - this.#savedSec >= (isFailing ? RETRY_SEC : SAVE_SEC) ||
      (!isFailing && (this.#store.isLong || this.#isFileGone(nowSec, mapCount)));
    if ((this.#isClockSet(mapCount) || isDue) && mapCount > 0) {
      this.save().catch((error: unknown) => this.#noteFailure(error));
    }
  }

  /** The data-dir has another name from now on: the root has changed. */
  moveTo(dataDir: string): void {
    this.#folder = dataDir;
    this.#store.moveTo(join(dataDir, FILE));
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  /** A file that was removed takes what is written to it, and keeps nothing of it. */
  #isFileGone(nowSec: number, mapCount: number): boolean {
    if (nowSec - this.#lookedSec < RETRY_SEC) return false;
    this.#lookedSec = nowSec;
    try {
      if (!this.#store.leaveLostJournal()) return false;
    } catch (error) {
      this.#noteFailure(error);
      return false;
    }
    this.#options.log.error(
      { event: 'dynamic-map-gone' },
      `somebody has removed or replaced the files in ${this.#folder}: ${mapCount > 0 ? 'dynamic.map is written anew' : 'they are made anew with the next map'}`,
    );
    return true;
  }

  /** All times in the files are to be by the same clock. */
  #isClockSet(mapCount: number): boolean {
    const offsetMs = wallOffsetMs();
    const stepMs = offsetMs - this.#wallOffsetMs;
    this.#wallOffsetMs = offsetMs;
    if (Math.abs(stepMs) < CLOCK_STEP_MS || mapCount === 0) return false;
    this.#options.log.warn(
      { event: 'clock-set', stepSec: Math.round(stepMs / 1000) },
      `the wall clock was set by ${Math.round(stepMs / 1000)} seconds: maps live on as they are, and dynamic.map is written anew`,
    );
    return true;
  }

  #noteFailure(error: unknown): void {
    const { clock, log } = this.#options;
    const nowSec = clock.nowSec();
    if (this.#saidSec !== undefined && nowSec - this.#saidSec < REMIND_SEC) return;
    this.#saidSec = nowSec;
    const reason = error instanceof Error ? error.message : String(error);
    log.error(
      { event: 'dynamic-map-failed', err: error },
      `dynamic maps cannot be written down (${reason}): a crash now would lose the latest; it is tried again every ${RETRY_SEC} seconds`,
    );
  }
}

/** By how much the wall clock is ahead of the monotonic one. */
function wallOffsetMs(): number {
  return Date.now() - performance.now();
}

/** Whole seconds since 1970. */
export function unixNow(): number {
  return Math.floor(Date.now() / 1000);
}

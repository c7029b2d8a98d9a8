/**
 * Keeps the dynamic maps on disk, so that a crash at any moment loses none that a packet was sent with.
 *
 *   dynamic.map              every map at the last compaction, in TAYGA's format
 *   dynamic.map.journal.old  what was assigned from then until the compaction under way
 *   dynamic.map.journal      what has been assigned since; a line is written before its map is published
 *
 * A line of a later file, or further down, counts before an earlier one about the same address or host. A compaction sets the
 * journal aside, writes dynamic.map.new, renames it over dynamic.map, and deletes what it had set aside: after each of
 * these steps all three files together tell the same. A crash of the machine may lose what was written since the last
 * compaction, but leaves no half of a file.
 */
import {
  appendFileSync,
  closeSync,
  existsSync,
  fchmodSync,
  fstatSync,
  fsync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type Address6, formatAddress4, formatAddress6 } from '../../wire/address.js';
import { makeFolder } from '../folder.js';
import type { Sliced } from '../slices.js';
import { formatEntries, parseEntries } from './dynamic-map-file.js';
import type { LineProblem, PoolEntry } from './dynamic-pool.js';
import { HostIndex } from './host-index.js';
import { STEP_ENTRIES, StoredEntries } from './stored-entries.js';

/** A journal shorter than this is not worth a compaction, nor is one shorter than half of dynamic.map. */
const LONG_JOURNAL_BYTES = 1 << 20;
/** Read at a time. */
const BLOCK_BYTES = 1 << 16;
/** Of a map: `0.0.0.0 :: 0` and the end of the line. */
const LEAST_LINE_BYTES = 13;
/** That room is made for before they are read. */
const MOST_LINES = 1 << 20;
const HASH = 0x23;
const QUESTION_MARK = 0x3f;
/** Makes what was written of a line before it none of three words, and so none. */
const TORN = '\t?\n';

export interface StoreContent {
  readonly entries: StoredEntries;
  /** Lines that could not be read, each with its file. */
  readonly problems: readonly (LineProblem & { readonly file: string })[];
}

export class DynamicMapStore {
  #file: string;
  #journal = -1;
  #journalBytes = 0;
  /** The journal ends in the middle of a line. */
  #isTorn = false;
  #mapBytes = 0;
  #compacting: Promise<void> | undefined;
  /** Under way, or waiting for that. */
  #compactions = 0;

  /** @param file dynamic.map; its folder is made where it is missing */
  constructor(file: string) {
    this.#file = file;
  }

  /** Resolves when no compaction is under way. */
  async whenIdle(): Promise<void> {
    await this.#compacting?.catch(() => {});
  }

  /** See `readMaps`. No compaction may be under way or begin: it takes files away. */
  read(): Sliced<StoreContent> {
    return readMaps(this.#file);
  }

  /** Writes down that a host has got an address. Throws where that cannot be done; the next record is tried all the same. */
  record(ipv4: number, host: Address6, unixSec: number): void {
    if (this.#journal < 0) this.#openJournal();
    const line = `${this.#isTorn ? TORN : ''}${formatAddress4(ipv4)}\t${formatAddress6(host)}\t${unixSec}\n`;
    // What goes wrong half-way must not become a part of the next line. All of it is ASCII: bytes are characters.
    this.#isTorn = true;
    const written = writeSync(this.#journal, line);
    this.#journalBytes += written;
    if (written < line.length) throw new Error(`the disk of ${this.#journalFile} is full`);
    this.#isTorn = false;
  }

  /**
   * Lets go of a journal that is not where it should be any more, because somebody has removed or replaced the file or its folder.
   * The next record makes another one. Returns whether it was so.
   */
  leaveLostJournal(): boolean {
    if (this.#journal < 0) return false;
    const open = fstatSync(this.#journal);
    const there = statSync(this.#journalFile, { throwIfNoEntry: false });
    if (there?.ino === open.ino && there.dev === open.dev) return false;
    closeSync(this.#journal);
    this.#journal = -1;
    return true;
  }

  /** Whether the journal is worth a compaction, and none is under way. */
  get isLong(): boolean {
    return this.#compactions === 0 && this.#journalBytes > Math.max(LONG_JOURNAL_BYTES, this.#mapBytes / 2);
  }

  /**
   * Writes dynamic.map anew and empties the journal, a slice of the entries at a time; maps may be recorded meanwhile.
   * Throws where it cannot; nothing is lost then.
   * @param nowSec the gateway's clock, in which entries say when they were used
   * @param unixNowSec the same moment as unix time
   */
  compact(entries: Iterable<PoolEntry>, nowSec: number, unixNowSec: number): Promise<void> {
    const before = this.#compacting?.catch(() => {}) ?? Promise.resolve();
    this.#compactions++;
    this.#compacting = before
      .then(() => this.#compact(entries, unixNowSec - nowSec))
      .finally(() => {
        this.#compactions--;
      });
    return this.#compacting;
  }

  /** The file has another name from now on: the root of the process has changed. */
  moveTo(file: string): void {
    this.#file = file;
  }

  /** Waits for a compaction under way. Records no more. */
  async close(): Promise<void> {
    await this.whenIdle();
    if (this.#journal >= 0) closeSync(this.#journal);
    this.#journal = -1;
  }

  get #journalFile(): string {
    return journalOf(this.#file);
  }

  get #old(): string {
    return oldOf(this.#file);
  }

  #openJournal(): void {
    makeFolder(dirname(this.#file));
    const content = readFile(this.#journalFile);
    this.#mapBytes = statSync(this.#file, { throwIfNoEntry: false })?.size ?? 0;
    this.#journal = openSync(this.#journalFile, 'a', 0o644);
    this.#journalBytes = content.length;
    this.#isTorn = content !== '' && !content.endsWith('\n');
  }

  async #compact(entries: Iterable<PoolEntry>, clockOffsetSec: number): Promise<void> {
    const folder = dirname(this.#file);
    makeFolder(folder);
    this.#setJournalAside();
    const temporary = `${this.#file}.new`;
    try {
      const descriptor = openSync(temporary, 'w');
      try {
        // Whatever the umask: other programs read this file.
        fchmodSync(descriptor, 0o644);
        for (const block of formatEntries(entries, clockOffsetSec)) {
          writeFileSync(descriptor, block);
          await setImmediate();
        }
        // Megabytes on their way to a disk: not while others wait.
        await promisify(fsync)(descriptor);
        this.#mapBytes = fstatSync(descriptor).size;
      } finally {
        closeSync(descriptor);
      }
      renameSync(temporary, this.#file);
    } catch (error) {
      rmSync(temporary, { force: true });
      throw error;
    }
    // The rename itself is safe only once the folder is.
    const descriptor = openSync(folder, 'r');
    try {
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    rmSync(this.#old, { force: true });
  }

  /** What the journal holds goes to the end of the old one, where a compaction before this one has left one. */
  #setJournalAside(): void {
    if (!existsSync(this.#journalFile)) return;
    if (existsSync(this.#old)) {
      if (this.#journal < 0) this.#openJournal();
      // First whole, then nowhere twice: a line that stands in both says the same.
      const torn = readFile(this.#old).endsWith('\n') ? '' : TORN;
      appendFileSync(this.#old, `${torn}${wholeLines(readFile(this.#journalFile))}`);
      ftruncateSync(this.#journal, 0);
    } else {
      renameSync(this.#journalFile, this.#old);
      if (this.#journal >= 0) closeSync(this.#journal);
      this.#journal = -1;
    }
    this.#journalBytes = 0;
    this.#isTorn = false;
  }
}

const journalOf = (file: string) => `${file}.journal`;
const oldOf = (file: string) => `${file}.journal.old`;

/** Reads all there is of a dynamic.map and its journals. Missing files are empty ones. Throws where one cannot be read. */
function* readMaps(file: string): Sliced<StoreContent> {
  const problems: (LineProblem & { file: string })[] = [];
  const journals = [oldOf(file), journalOf(file)];
  const entries = new StoredEntries(mostLines(file, ...journals));
  yield* readLines(file, entries, problems);
  const later = new StoredEntries(mostLines(...journals));
  for (const journal of journals) yield* readLines(journal, later, problems, { isJournal: true });
  yield* override(entries, later);
  return { entries, problems };
}

/** More than these files can have, and no more than is worth the room. */
function mostLines(...files: string[]): number {
  const sizes = files.map((file) => statSync(file, { throwIfNoEntry: false })?.size ?? 0);
  const sum = sizes.reduce((total, size) => total + size, 0);
  return Math.min(Math.ceil(sum / LEAST_LINE_BYTES), MOST_LINES);
}

/** Adds what the lines of a file say. A last line of a journal that was never finished does not count: its map was never published. */
function* readLines(
  file: string,
  entries: StoredEntries,
  problems: (LineProblem & { file: string })[],
  { isJournal = false } = {},
): Sliced<void> {
  const found: LineProblem[] = [];
  let line = 1;
  for (const { text, isWhole } of blocksOf(file)) {
    if (isWhole || !isJournal) line = yield* parseEntries(text, entries, found, line);
  }
  for (const problem of found) problems.push({ ...problem, file });
}

function readFile(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

/**
 * The text of a file in blocks of whole lines, and what stands behind the last of them. There is none where the file is missing. A block
 * is overwritten with the next one.
 */
function* blocksOf(file: string): Generator<{ text: Buffer; isWhole: boolean }> {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  try {
    const bytes = Buffer.allocUnsafeSlow(BLOCK_BYTES);
    let used = 0;
    for (;;) {
      const n = readSync(descriptor, bytes, used, bytes.length - used, null);
      if (n === 0) break;
      used += n;
      const whole = bytes.subarray(0, used).lastIndexOf('\n') + 1;
      if (whole > 0) yield { text: bytes.subarray(0, whole), isWhole: true };
      bytes.copyWithin(0, whole, used);
      used -= whole;
      if (used < bytes.length) continue;
      // Longer than any good line: it is one that is none, or a comment.
      if (bytes[0] !== HASH) bytes[0] = QUESTION_MARK;
      used = 1;
    }
    if (used > 0) yield { text: bytes.subarray(0, used), isWhole: false };
  } finally {
    closeSync(descriptor);
  }
}

/** Without a last line that was never finished. */
function wholeLines(text: string): string {
  return text.slice(0, text.lastIndexOf('\n') + 1);
}

/** Adds `later`: what it says of an address or a host takes the place of all before it about either. */
function* override(entries: StoredEntries, later: StoredEntries): Sliced<void> {
  if (later.length === 0) return;
  const size = 2 ** Math.ceil(Math.log2(later.length));
  const addresses = new HostIndex(size);
  const hosts = new HostIndex(size);
  const isLast = new Uint8Array(later.length);
  for (let i = later.length - 1; i >= 0; i--) {
    const isNewAddress = addresses.add(keyOf(later.ipv4At(i)), i);
    const isNewHost = hosts.add(later.hostAt(i), i);
    if (isNewAddress && isNewHost) isLast[i] = 1;
    if (i % STEP_ENTRIES === 0) yield;
  }
  yield* entries.keep(
    (i) => addresses.find(keyOf(entries.ipv4At(i))) < 0 && hosts.find(entries.hostAt(i)) < 0,
  );
  for (let i = 0; i < later.length; i++) {
    if (isLast[i] === 1) entries.pushFrom(later, i);
    if (i % STEP_ENTRIES === 0) yield;
  }
}

/** An IPv4 address as an index of hosts takes it. */
function keyOf(ipv4: number): Address6 {
  return [0, 0, 0, ipv4 | 0];
}

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
import { formatEntries, parseEntries } from './dynamic-map-file.js';
import type { LineProblem, PoolEntry } from './dynamic-pool.js';
import { HostIndex } from './host-index.js';
import { StoredEntries } from './stored-entries.js';

/** A journal shorter than this is not worth a compaction, nor is one shorter than half of dynamic.map. */
const LONG_JOURNAL_BYTES = 1 << 20;
/** Read at a time: no more than the file has, which is little on most gateways. */
const BLOCK_BYTES = 1 << 22;
const LEAST_BYTES = 1 << 12;
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

  /** See `readMaps`. */
  read(): StoreContent {
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
    await this.#compacting?.catch(() => {});
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
export function readMaps(file: string): StoreContent {
  const old = readFile(oldOf(file));
  const journal = readFile(journalOf(file));
  const problems: (LineProblem & { file: string })[] = [];
  const note = (found: readonly LineProblem[], where: string) => {
    for (const problem of found) problems.push({ ...problem, file: where });
  };
  const base = new StoredEntries();
  const found: LineProblem[] = [];
  let line = 1;
  let rest = '';
  for (const block of blocksOf(file)) {
    const text = rest + block;
    const whole = wholeLines(text);
    line = parseEntries(whole, base, found, line);
    rest = text.slice(whole.length);
  }
  parseEntries(rest, base, found, line);
  note(found, file);
  const later = new StoredEntries();
  for (const [text, where] of [
    [old, oldOf(file)],
    [journal, journalOf(file)],
  ] as const) {
    const problemsThere: LineProblem[] = [];
    parseEntries(wholeLines(text), later, problemsThere);
    note(problemsThere, where);
  }
  return { entries: override(base, later), problems };
}

function readFile(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
}

/** The text of a file in pieces, for it may be longer than any text; none where it is missing. */
function* blocksOf(file: string): Generator<string> {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  try {
    const bytes = Buffer.allocUnsafe(
      Math.min(BLOCK_BYTES, Math.max(fstatSync(descriptor).size, LEAST_BYTES)),
    );
    for (let n = readSync(descriptor, bytes); n > 0; n = readSync(descriptor, bytes)) {
      yield bytes.toString('latin1', 0, n);
    }
  } finally {
    closeSync(descriptor);
  }
}

/** Without a last line that was never finished: its map was never published. */
function wholeLines(text: string): string {
  return text.slice(0, text.lastIndexOf('\n') + 1);
}

/** What `later` says of an address or a host takes the place of all before it about either. */
function override(base: StoredEntries, later: StoredEntries): StoredEntries {
  if (later.length === 0) return base;
  const addresses = new Set<number>();
  const hosts = new HostIndex(2 ** Math.ceil(Math.log2(later.length)));
  const isLast: boolean[] = [];
  for (let i = later.length - 1; i >= 0; i--) {
    const ipv4 = later.ipv4At(i);
    const host = later.hostAt(i);
    const isNewHost = hosts.find(host) < 0;
    isLast.push(isNewHost && !addresses.has(ipv4));
    addresses.add(ipv4);
    if (isNewHost) hosts.add(host, i);
  }
  const entries = new StoredEntries();
  for (let i = 0; i < base.length; i++) {
    if (!addresses.has(base.ipv4At(i)) && hosts.find(base.hostAt(i)) < 0) entries.pushFrom(base, i);
  }
  for (let i = 0; i < later.length; i++) if (isLast[later.length - 1 - i]) entries.pushFrom(later, i);
  return entries;
}

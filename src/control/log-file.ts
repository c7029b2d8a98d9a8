/** The file that a log is written to: line by line at once, opened anew on request, and no reason to end where it fails. */
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { Seldom } from './seldom.js';

const { O_APPEND, O_CREAT, O_WRONLY } = constants;
const STDERR_FD = 2;

export interface LogFileOptions {
  readonly path: string;
  /** It can be written to again; so many lines are not in it. Logs that. */
  readonly onRecovered: (left: number) => void;
}

export class LogFile {
  readonly #options: LogFileOptions;
  #fd: number;
  #left = 0;
  /** The last write got a part of its line out. */
  #isTorn = false;
  readonly #tellings = new Seldom();

  /** Throws an Error that says what to do where it cannot be opened. */
  constructor(options: LogFileOptions) {
    this.#options = options;
    this.#fd = this.#open();
  }

  #open(): number {
    const { path } = this.#options;
    try {
      return openSync(path, O_APPEND | O_CREAT | O_WRONLY, 0o640);
    } catch (error) {
      const { message } = error as Error;
      throw new Error(
        `the log cannot be opened (${message}): make its folder, or set another log.destination`,
      );
    }
  }

  /** Goes on in a file of this name, whatever has become of the one so far. Throws, and goes on in that one, where it cannot. */
  reopen(): void {
    const before = this.#fd;
    this.#fd = this.#open();
    this.#isTorn = false;
    closeSync(before);
  }

  /** Writes a line with its end; never throws. */
  write(line: string): void {
    const left = this.#left;
    try {
      this.#writeWhole(Buffer.from(this.#isTorn ? `\n${line}` : line));
    } catch (error) {
      this.#left++;
      this.#tell((error as Error).message);
      return;
    }
    if (left === 0) return;
    this.#left = 0;
    this.#options.onRecovered(left);
  }

  #writeWhole(bytes: Buffer): void {
    for (let at = 0; at < bytes.length; ) {
      at += writeSync(this.#fd, bytes, at);
      this.#isTorn = at < bytes.length;
    }
  }

  #tell(reason: string): void {
    if (this.#tellings.due() === null) return;
    try {
      const { path } = this.#options;
      writeSync(
        STDERR_FD,
        `nat64d: ${path} cannot be written to (${reason}): lines are left out until it can\n`,
      );
    } catch {
      // Nobody is left to be told.
    }
  }
}

/** The last lines of the log, for those who look in later. */
import type { LogConfig } from '../config/types.js';
import type { Log } from '../log.js';

const KEPT = 100;

export interface RecentEvent {
  readonly atMs: number;
  readonly level: 'info' | 'warn' | 'error';
  readonly message: string;
}

/** A log that writes to another one, and remembers what that one wrote. */
export class RememberingLog implements Log {
  readonly #log: Log;
  readonly #events: RecentEvent[] = [];
  /** How many there have been. */
  total = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  /** The latest first. */
  get events(): readonly RecentEvent[] {
    return this.#events.toReversed();
  }

  get level(): string {
    return this.#log.level;
  }

  set level(level: string) {
    this.#log.level = level;
  }

  set format(format: LogConfig['format']) {
    if (this.#log.format !== undefined) this.#log.format = format;
  }

  debug(fields: object, message: string): void {
    this.#log.debug(fields, message);
  }

  info(fields: object, message: string): void {
    this.#log.info(fields, message);
    // What it would not write is not worth remembering either.
    if (['trace', 'debug', 'info'].includes(this.level)) this.#remember('info', message);
  }

  warn(fields: object, message: string): void {
    this.#log.warn(fields, message);
    this.#remember('warn', message);
  }

  error(fields: object, message: string): void {
    this.#log.error(fields, message);
    this.#remember('error', message);
  }

  #remember(level: RecentEvent['level'], message: string): void {
    this.total++;
    this.#events.push({ atMs: Date.now(), level, message });
    if (this.#events.length > KEPT) this.#events.shift();
  }
}

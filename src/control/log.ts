/** The gateway's log: one event a line, each with a stable `event` name. */
import { createRequire } from 'node:module';
import { pino } from 'pino';
import native from '#native';
import type { LogConfig } from './config/types.js';
import { LogFile } from './log-file.js';

const require = createRequire(import.meta.url);

const WAITING_BYTES = 1 << 20;

/** What modules log through: pino's shape, so that tests can hand in their own. */
export interface Log {
  /** The least level that is written. */
  level: string;
  /** How it is written; undefined where that does not change: to a system log. */
  format?: LogConfig['format'];
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

const nowhere = () => {};

/** Takes everything, keeps nothing. */
export const silent: Log = { level: 'silent', debug: nowhere, info: nowhere, warn: nowhere, error: nowhere };

/** Where TAYGA's options send the log: bare lines, lines with a priority for systemd's journal, or syslog. */
export type LogTarget = 'plain' | 'journal' | 'syslog';

/** A logger that writes only the message of each event, for people and for system logs. Synchronous. */
export function createPlainLog(
  level: LogConfig['level'],
  target: LogTarget,
  name: string,
  syslogSocket = '/dev/log',
): Log {
  const output = standardOutput();
  const send =
    target === 'syslog' ? syslogSender(name, syslogSocket) : (text: string) => output.write(`${text}\n`);
  const stream = {
    write: (line: string) => {
      const event = JSON.parse(line) as { level: number; msg: string };
      const severity = severityOf(event.level);
      send(target === 'journal' ? `<${severity}>${event.msg}` : event.msg, severity);
    },
  };
  return pino<never>({ level, base: null }, stream);
}

/**
 * Standard output or error, synchronous. A gateway serves on where nothing can be written there, a full disk for one: lines wait until it
 * can, and those beyond what may wait are lost.
 */
function standardOutput(fd = 1) {
  const output = pino.destination({ fd, sync: true, maxLength: WAITING_BYTES });
  output.on('error', () => {});
  return output;
}

/** Severity of syslog (RFC 5424 section 6.2.1) for pino's levels. */
function severityOf(level: number): number {
  if (level >= 60) return 2;
  if (level >= 50) return 3;
  if (level >= 40) return 4;
  return level >= 30 ? 6 : 7;
}

const FACILITY_DAEMON = 3;

/** Opened at once, for after a change of root there is no /dev/log to open. A system without syslog gets no lines. */
function syslogSender(name: string, socket: string): (text: string, severity: number) => void {
  const open = () => {
    try {
      return native.openDatagram(socket);
    } catch {
      return -1;
    }
  };
  let fd = open();
  return (text, severity) => {
    const line = Buffer.from(`<${FACILITY_DAEMON * 8 + severity}>${name}[${process.pid}]: ${text}`);
    if (fd >= 0 && native.sendDatagram(fd, line)) return;
    // syslogd may have been started anew, or be busy: the line is worth one more try.
    if (fd >= 0) native.closeQueue(fd);
    fd = open();
    if (fd >= 0) native.sendDatagram(fd, line);
  };
}

/** A log that may have a file to open anew. */
export type OpenedLog = Log & {
  /** Goes on in a file of the same name: the one so far has been moved away. Throws where it cannot. */
  readonly reopen?: () => void;
};

/**
 * The log that a configuration asks for, under this name: pretty on a terminal, JSON otherwise; to the journal and to syslog the
 * messages alone. Synchronous, so that last words are not lost. Throws an Error that says what to do where it cannot be opened.
 */
export function createLog(config: LogConfig, name = 'nat64d'): OpenedLog {
  const { destination, level } = config;
  if (destination === 'journal' || destination === 'syslog') return createPlainLog(level, destination, name);
  if (destination === 'stdout' || destination === 'stderr') {
    const [fd, { isTTY }] = destination === 'stdout' ? [1, process.stdout] : [2, process.stderr];
    return formattedLog(config, standardOutput(fd), isTTY === true);
  }
  const file = new LogFile({
    path: destination.slice('file:'.length),
    onRecovered: (left) =>
      log.warn({ event: 'log-lines-left', left }, `${left} lines before this one could not be written`),
  });
  const log = formattedLog(config, file, false);
  return Object.assign(log, { reopen: () => file.reopen() });
}

/** One whose format may change. */
function formattedLog(
  { level, format: first }: LogConfig,
  output: { write(text: string): unknown },
  isTerminal: boolean,
): Log {
  // Not before it is needed: a service never does, and reading it takes as long as reading all of the configuration.
  let toPretty: ((line: string) => string) | undefined;
  const pretty = (line: string) => {
    toPretty ??= (require('pino-pretty') as typeof import('pino-pretty')).prettyFactory({
      ...PRETTY,
      colorize: isTerminal,
    });
    return toPretty(line);
  };
  let format = first;
  const write = (line: string) => {
    const isPretty = format === 'pretty' || (format === 'auto' && isTerminal);
    output.write(isPretty ? pretty(line) : line);
  };
  return Object.defineProperty(pino<never>({ level, base: null }, { write }) as Log, 'format', {
    get: () => format,
    set: (next: LogConfig['format']) => {
      format = next;
    },
  });
}

const PRETTY = {
  translateTime: 'SYS:HH:MM:ss',
  ignore: 'pid,hostname,event',
  hideObject: true,
};

/** The same log for modules whose lines are about one thing and carry no fields. */
export function plainLog(log: Log): Record<'debug' | 'info' | 'warn' | 'error', (message: string) => void> {
  const fields = { event: 'netdev' };
  return {
    debug: (message) => log.debug(fields, message),
    info: (message) => log.info(fields, message),
    warn: (message) => log.warn(fields, message),
    error: (message) => log.error(fields, message),
  };
}

/** The gateway's log: one event a line, each with a stable `event` name. */
import { pino } from 'pino';
import pretty from 'pino-pretty';
import type { LogConfig } from './config/types.js';

/** What modules log through: pino's shape, so that tests can hand in their own. */
export interface Log {
  /** The least level that is written. */
  level: string;
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** A logger on standard output: pretty on a terminal, JSON otherwise. Synchronous, so that last words are not lost. */
export function createLog(config: LogConfig): Log {
  const isPretty = config.format === 'pretty' || (config.format === 'auto' && process.stdout.isTTY === true);
  if (!isPretty) {
    return pino({ level: config.level, base: null }, pino.destination({ fd: 1, sync: true }));
  }
  const stream = pretty({
    colorize: process.stdout.isTTY === true,
    translateTime: 'SYS:HH:MM:ss',
    ignore: 'pid,hostname,event',
    hideObject: true,
    sync: true,
  });
  return pino({ level: config.level, base: null }, stream);
}

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

/** The text of a configuration file. */
import { readFileSync } from 'node:fs';
import { ConfigError } from './problem.js';

const READ_ERRORS: Record<string, string> = {
  ENOENT: 'there is no such file; name one with --config',
  EACCES: 'it may not be read; check its mode, or run as root',
  EISDIR: 'it is a folder; name a file',
};

/** Throws ConfigError. */
export function readConfigFile(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    throw new ConfigError(file, [
      { line: 1, col: 1, key: '', message: `cannot be read: ${READ_ERRORS[code] ?? message}` },
    ]);
  }
}

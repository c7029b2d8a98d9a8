/** What is wrong with a configuration: all of it at once, each with its place. */

export interface Problem {
  /** From 1. */
  readonly line: number;
  readonly col: number;
  /** Dotted key, or '' for the file as a whole. */
  readonly key: string;
  /** What is wrong, and what is allowed. */
  readonly message: string;
}

export class ConfigError extends Error {
  readonly code = 'CONFIG';

  constructor(
    readonly file: string,
    readonly problems: readonly Problem[],
  ) {
    const lines = problems.map(
      ({ line, col, key, message }) => `${file}:${line}:${col}: ${key && `${key}: `}${message}`,
    );
    super(lines.join('\n'));
    this.name = 'ConfigError';
  }
}

/** What is wrong with a configuration: all of it at once, each with its place. */

export interface Problem {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  readonly col: number;
  /** Dotted key, or '' for the file as a whole. Elements of a list count from 1: `map[2].ipv6`. */
  readonly key: string;
  /** What is wrong, and what is allowed. */
  readonly message: string;
}

/** Reports what is wrong with the value at a path. */
export type Report = (path: readonly PropertyKey[], message: string) => void;

/** Where the value at a path stands, for a message about another: 'line 3'. */
export type PlaceOf = (path: readonly PropertyKey[]) => string;

/** Text of a file may hold line breaks and terminal controls as TOML escapes; a message is one plain line. */
function oneLine(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Zl}\p{Zp}]/gu,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** `message` has a line `file:line:col: key: what is wrong; what is allowed` for each problem. */
export class ConfigError extends Error {
  readonly code = 'CONFIG';
  readonly problems: readonly Problem[];

  constructor(
    readonly file: string,
    problems: readonly Omit<Problem, 'file'>[],
  ) {
    const all = problems.map((problem) => ({
      ...problem,
      file,
      key: oneLine(problem.key),
      message: oneLine(problem.message),
    }));
    super(
      all
        .map(({ line, col, key, message }) => `${file}:${line}:${col}: ${key && `${key}: `}${message}`)
        .join('\n'),
    );
    this.name = 'ConfigError';
    this.problems = all;
  }
}

/** Lines of words, as tayga.conf and its map-file have them. */

export interface Word {
  readonly text: string;
  /** Both from 1. */
  readonly line: number;
  readonly col: number;
}

const MAX_LINE = 510;

/** The words of a line; one that begins with '#' ends it. */
export function splitLine(raw: string, line: number): { words: readonly Word[]; problem: string | null } {
  if (raw.replace(/\r$/, '').length > MAX_LINE) {
    return { words: [], problem: `the line is longer than ${MAX_LINE} characters; break it up` };
  }
  const words: Word[] = [];
  for (const match of raw.matchAll(/\S+/g)) {
    if (match[0].startsWith('#')) break;
    words.push({ text: match[0], line, col: match.index + 1 });
  }
  return { words, problem: null };
}

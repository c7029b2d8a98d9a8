/** A map-file: lines of `map IPV4[/n] IPV6[/m]`, in the grammar of tayga.conf. */
import { atOnce, type Sliced } from '../slices.js';
import { readMap4, readMap6 } from './schema.js';
import type { ExplicitMap } from './types.js';
import { splitLine } from './words.js';

export interface MapFile {
  readonly maps: readonly ExplicitMap[];
  /** The line of each map. */
  readonly lines: readonly number[];
  readonly problems: readonly { readonly line: number; readonly col: number; readonly message: string }[];
}

/** Reads the text of a map-file. A bad line is reported and left out. */
export function parseMapFile(text: string): MapFile {
  return atOnce(readMapLines(text));
}

/** The same in slices. */
export function* readMapLines(text: string): Sliced<MapFile> {
  const maps: ExplicitMap[] = [];
  const lines: number[] = [];
  const problems: { line: number; col: number; message: string }[] = [];
  for (let line = 1, from = 0; from <= text.length; line++) {
    yield;
    const newline = text.indexOf('\n', from);
    const end = newline < 0 ? text.length : newline;
    const raw = text.slice(from, end);
    from = end + 1;
    const { words, problem } = splitLine(raw, line);
    if (problem !== null) problems.push({ line, col: 1, message: problem });
    if (words.length === 0) continue;
    const [keyword, v4, v6] = words;
    const ipv4 = readMap4(v4?.text ?? '');
    const ipv6 = readMap6(v6?.text ?? '');
    if (keyword?.text.toLowerCase() !== 'map' || words.length !== 3) {
      problems.push({ line, col: 1, message: "a line is 'map', an IPv4 and an IPv6 address or prefix" });
    } else if (ipv4 === null) {
      problems.push({
        line,
        col: v4?.col ?? 1,
        message: `'${v4?.text}' is no IPv4 address or prefix without host bits`,
      });
    } else if (ipv6 === null) {
      problems.push({
        line,
        col: v6?.col ?? 1,
        message: `'${v6?.text}' is no IPv6 address or prefix without host bits`,
      });
    } else {
      maps.push({ ipv4, ipv6 });
      lines.push(line);
    }
  }
  return { maps, lines, problems };
}

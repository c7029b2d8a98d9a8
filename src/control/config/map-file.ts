/** A map-file: lines of `map IPV4[/n] IPV6[/m]`, in the grammar of tayga.conf. */
import { readMap4, readMap6 } from './schema.js';
import type { ExplicitMap } from './types.js';

export interface MapFile {
  readonly maps: readonly ExplicitMap[];
  /** The line of each map. */
  readonly lines: readonly number[];
  readonly problems: readonly { readonly line: number; readonly col: number; readonly message: string }[];
}

/** Reads the text of a map-file. A bad line is reported and left out. */
export function parseMapFile(text: string): MapFile {
  const maps: ExplicitMap[] = [];
  const lines: number[] = [];
  const problems: { line: number; col: number; message: string }[] = [];
  for (const [index, raw] of text.split('\n').entries()) {
    const line = index + 1;
    const words = raw.split(/\s+/).filter((word) => word !== '');
    const comment = words.findIndex((word) => word.startsWith('#'));
    if (comment >= 0) words.splice(comment);
    if (words.length === 0) continue;
    const [keyword = '', v4 = '', v6 = ''] = words;
    const ipv4 = readMap4(v4);
    const ipv6 = readMap6(v6);
    if (keyword.toLowerCase() !== 'map' || words.length !== 3 || ipv4 === null || ipv6 === null) {
      problems.push({
        line,
        col: 1,
        message: "not 'map', an IPv4 address or prefix and an IPv6 address or prefix",
      });
    } else {
      maps.push({ ipv4, ipv6 });
      lines.push(line);
    }
  }
  return { maps, lines, problems };
}

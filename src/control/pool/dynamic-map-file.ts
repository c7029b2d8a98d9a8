/** The format of dynamic.map, which is TAYGA's: a map a line. */
import { formatAddress4, formatAddress6, parseAddress4, parseAddress6 } from '../../wire/address.js';
import type { LineProblem, PoolEntry, StoredEntry } from './dynamic-pool.js';

const BLOCK_CHARS = 1 << 16;

/**
 * Reads comment lines, and lines of IPv4 address, IPv6 address and unix seconds of last use, split by blanks. A damaged line is
 * reported, and the good ones are used.
 * @param firstLine the number of the text's first line
 */
export function parseEntries(
  text: string,
  firstLine = 1,
): { entries: StoredEntry[]; problems: LineProblem[] } {
  const entries: StoredEntry[] = [];
  const problems: LineProblem[] = [];
  for (let start = 0, line = firstLine; start < text.length; line++) {
    const newline = text.indexOf('\n', start);
    const end = newline < 0 ? text.length : newline;
    const raw = text.slice(start, end);
    start = end + 1;
    // As it is written; another program may have written it otherwise.
    const entry = readEntry(raw.split('\t'), line) ?? readEntry(wordsOf(raw), line);
    if (entry !== null) entries.push(entry);
    else if (wordsOf(raw).length > 0) {
      problems.push({ line, message: 'not an IPv4 address, an IPv6 address and a time in seconds' });
    }
  }
  return { entries, problems };
}

function wordsOf(raw: string): string[] {
  return raw.split('#', 1)[0]?.match(/\S+/g) ?? [];
}

function readEntry(words: readonly string[], line: number): StoredEntry | null {
  if (words.length !== 3) return null;
  const [v4 = '', v6 = '', seconds = ''] = words;
  const ipv4 = parseAddress4(v4);
  const host = parseAddress6(v6);
  if (ipv4 === null || host === null || !/^[0-9]{1,12}$/.test(seconds)) return null;
  return { line, ipv4, host, lastUsedUnixSec: Number(seconds) };
}

/** The text of a file, in pieces of about 64 KiB. @param clockOffsetSec unix time less the gateway's clock */
export function* formatEntries(entries: Iterable<PoolEntry>, clockOffsetSec: number): Generator<string> {
  let block =
    '# IPv4 address, IPv6 host, unix time of its last packet. Written by nat64d; do not edit while it runs.\n';
  for (const { ipv4, host, lastUsedSec } of entries) {
    block += `${formatAddress4(ipv4)}\t${formatAddress6(host)}\t${lastUsedSec + clockOffsetSec}\n`;
    if (block.length < BLOCK_CHARS) continue;
    yield block;
    block = '';
  }
  yield block;
}

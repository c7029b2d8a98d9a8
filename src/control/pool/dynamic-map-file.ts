/** The format of dynamic.map, which is TAYGA's: a map a line. */
import { formatAddress4, formatAddress6, parseAddress4, parseAddress6 } from '../../wire/address.js';
import type { LineProblem, PoolEntry } from './dynamic-pool.js';
import type { StoredEntries } from './stored-entries.js';

const BLOCK_CHARS = 1 << 16;

/**
 * Reads comment lines, and lines of IPv4 address, IPv6 address and unix seconds of last use, split by blanks. A damaged line is
 * reported, and the good ones are added to `entries`.
 * @param firstLine the number of the text's first line
 * @returns the number of the line behind the text's last one
 */
export function parseEntries(
  text: string,
  entries: StoredEntries,
  problems: LineProblem[],
  firstLine = 1,
): number {
  let line = firstLine;
  for (let start = 0; start < text.length; line++) {
    const newline = text.indexOf('\n', start);
    const end = newline < 0 ? text.length : newline;
    const raw = text.slice(start, end);
    start = end + 1;
    // As it is written; another program may have written it otherwise.
    if (readWritten(raw, line, entries) || readWords(wordsOf(raw), line, entries)) continue;
    if (wordsOf(raw).length > 0)
      problems.push({ line, message: 'not an IPv4 address, an IPv6 address and a time in seconds' });
  }
  return line;
}

function wordsOf(raw: string): string[] {
  return raw.split('#', 1)[0]?.match(/\S+/g) ?? [];
}

/** A line of `formatEntries`, without a list of its words: there may be a million. */
function readWritten(raw: string, line: number, entries: StoredEntries): boolean {
  const first = raw.indexOf('\t');
  const second = raw.indexOf('\t', first + 1);
  if (first < 0 || second < 0) return false;
  return readEntry(raw.slice(0, first), raw.slice(first + 1, second), raw.slice(second + 1), line, entries);
}

function readWords(words: readonly string[], line: number, entries: StoredEntries): boolean {
  const [v4, v6, seconds] = words;
  if (v4 === undefined || v6 === undefined || seconds === undefined || words.length > 3) return false;
  return readEntry(v4, v6, seconds, line, entries);
}

function readEntry(v4: string, v6: string, seconds: string, line: number, entries: StoredEntries): boolean {
  const ipv4 = parseAddress4(v4);
  const host = parseAddress6(v6);
  if (ipv4 === null || host === null || !/^[0-9]{1,12}$/.test(seconds)) return false;
  entries.push(line, ipv4, host, Number(seconds));
  return true;
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

/** The format of dynamic.map, which is TAYGA's: a map a line. */
import { formatAddress4, formatAddress6, readAddress4, readAddress6 } from '../../wire/address.js';
import type { Sliced } from '../slices.js';
import type { LineProblem, PoolEntry } from './dynamic-pool.js';
import type { StoredEntries } from './stored-entries.js';

const BLOCK_CHARS = 1 << 16;
/** Lines that are read at one go. */
const STEP_LINES = 32;
const TAB = 0x09;
const NEWLINE = 0x0a;
const ZERO = 0x30;
/** Of a time in seconds. */
const MAX_DIGITS = 12;

const host = new Int32Array(4);

/**
 * Reads comment lines, and lines of IPv4 address, IPv6 address and unix seconds of last use, split by blanks. A damaged line is
 * reported, and the good ones are added to `entries`.
 * @param text Latin-1
 * @param firstLine the number of the text's first line
 * @returns the number of the line behind the text's last one
 */
export function* parseEntries(
  text: Buffer,
  entries: StoredEntries,
  problems: LineProblem[],
  firstLine: number,
): Sliced<number> {
  let line = firstLine;
  for (let start = 0; start < text.length; line++) {
    const newline = text.indexOf(NEWLINE, start);
    const end = newline < 0 ? text.length : newline;
    // As it is written; another program may have written it otherwise.
    if (!readWritten(text, start, end, line, entries)) {
      const words = text.toString('latin1', start, end).split('#', 1)[0]?.match(/\S+/g) ?? [];
      const plain = Buffer.from(words.join('\t'), 'latin1');
      if (words.length > 0 && !readWritten(plain, 0, plain.length, line, entries))
        problems.push({ line, message: 'not an IPv4 address, an IPv6 address and a time in seconds' });
    }
    start = end + 1;
    if (line % STEP_LINES === 0) yield;
  }
  return line;
}

/** A line of `formatEntries`, without garbage: there may be a million. */
function readWritten(
  text: Buffer,
  start: number,
  end: number,
  line: number,
  entries: StoredEntries,
): boolean {
  const first = tabIn(text, start, end);
  const second = tabIn(text, first + 1, end);
  const ipv4 = readAddress4(text, start, first);
  if (ipv4 < 0 || !readAddress6(text, first + 1, second, host)) return false;
  const digits = end - second - 1;
  if (digits < 1 || digits > MAX_DIGITS) return false;
  let seconds = 0;
  for (let at = second + 1; at < end; at++) {
    const digit = (text[at] as number) - ZERO;
    if (digit < 0 || digit > 9) return false;
    seconds = seconds * 10 + digit;
  }
  entries.push(line, ipv4, host, seconds);
  return true;
}

/** Where the next tab is; `end` where there is none. */
function tabIn(text: Buffer, start: number, end: number): number {
  let at = start;
  while (at < end && text[at] !== TAB) at++;
  return at;
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

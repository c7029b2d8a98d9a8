/** dynamic.map: what the pool remembers across restarts, in TAYGA's format. */
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { formatAddress4, formatAddress6, parseAddress4, parseAddress6 } from '../../wire/address.js';
import type { LineProblem, PoolEntry, StoredEntry } from './dynamic-pool.js';

/**
 * Reads the file: comment lines, and lines of IPv4 address, IPv6 address and unix seconds of last use, split by blanks. A
 * missing file is an empty one; a damaged line is reported and the good ones are used. Throws where the file cannot be read.
 */
export function readDynamicMap(file: string): { entries: StoredEntry[]; problems: LineProblem[] } {
  let text: string;
  try {
    text = readFileSync(file, 'latin1');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return { entries: [], problems: [] };
    throw error;
  }
  const entries: StoredEntry[] = [];
  const problems: LineProblem[] = [];
  for (const [index, raw] of text.split('\n').entries()) {
    const line = index + 1;
    const words = raw.split('#', 1)[0]?.trim().split(/\s+/) ?? [];
    if (words.length === 1 && words[0] === '') continue;
    const [v4 = '', v6 = '', seconds = ''] = words;
    const ipv4 = parseAddress4(v4);
    const host = parseAddress6(v6);
    if (ipv4 === null || host === null || words.length !== 3 || !/^[0-9]{1,12}$/.test(seconds)) {
      problems.push({ line, message: 'not an IPv4 address, an IPv6 address and a time in seconds' });
    } else {
      entries.push({ line, ipv4, host, lastUsedUnixSec: Number(seconds) });
    }
  }
  return { entries, problems };
}

/**
 * Writes the file whole, or not at all: a temporary file beside it, synced, then renamed over it. Makes the folder.
 * @param nowSec the gateway's clock, in which entries say when they were used
 * @param unixNowSec the same moment as unix time
 */
export function writeDynamicMap(
  file: string,
  entries: Iterable<PoolEntry>,
  nowSec: number,
  unixNowSec: number,
): void {
  const folder = dirname(file);
  mkdirSync(folder, { recursive: true });
  const temporary = `${file}.new`;
  const descriptor = openSync(temporary, 'w', 0o644);
  try {
    let block =
      '# IPv4 address, IPv6 host, unix time of its last packet. Written by nat64d; do not edit while it runs.\n';
    for (const { ipv4, host, lastUsedSec } of entries) {
      block += `${formatAddress4(ipv4)}\t${formatAddress6(host)}\t${unixNowSec - (nowSec - lastUsedSec)}\n`;
      if (block.length > 1 << 16) {
        writeSync(descriptor, block);
        block = '';
      }
    }
    writeSync(descriptor, block);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(temporary, file);
  // The rename itself is safe only once the folder is.
  const folderDescriptor = openSync(folder, 'r');
  try {
    fsyncSync(folderDescriptor);
  } finally {
    closeSync(folderDescriptor);
  }
}

/** dynamic.map: what the pool remembers across restarts, in TAYGA's format. */
import {
  closeSync,
  fchmodSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
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
 * Writes the file whole, or not at all: a temporary file beside it, synced, then renamed over it. Makes the folder. Throws
 * where it cannot; the old file is then as it was.
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
  try {
    withDescriptor(temporary, 'w', (descriptor) => {
      // Whatever the umask: other programs read this file.
      fchmodSync(descriptor, 0o644);
      for (const block of blocksOf(entries, nowSec - unixNowSec)) writeFileSync(descriptor, block);
      fsyncSync(descriptor);
    });
    renameSync(temporary, file);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  // The rename itself is safe only once the folder is.
  withDescriptor(folder, 'r', fsyncSync);
}

/**
 * The text of the file in pieces of about 64 KiB. Each goes through writeFileSync, which goes on where the kernel took only a
 * part; writeSync returns then, as it does on a disk that fills up, and the file would be cut short without an error.
 */
function* blocksOf(entries: Iterable<PoolEntry>, clockOffsetSec: number): Generator<string> {
  let block =
    '# IPv4 address, IPv6 host, unix time of its last packet. Written by nat64d; do not edit while it runs.\n';
  for (const { ipv4, host, lastUsedSec } of entries) {
    block += `${formatAddress4(ipv4)}\t${formatAddress6(host)}\t${lastUsedSec - clockOffsetSec}\n`;
    if (block.length < 1 << 16) continue;
    yield block;
    block = '';
  }
  yield block;
}

function withDescriptor(path: string, flags: 'r' | 'w', use: (descriptor: number) => void): void {
  const descriptor = openSync(path, flags);
  try {
    use(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

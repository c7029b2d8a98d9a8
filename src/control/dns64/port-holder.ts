/** Who holds a port that is taken: from /proc, as far as this process may look. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { endianness } from 'node:os';
import { type Address6, equalAddress6 } from '../../wire/address.js';
import type { SocketAddress } from '../config/types.js';
import { isUnspecified, mappedAddress, readAddress } from './access.js';

const LISTENING = '0A';

interface BoundSocket {
  readonly words: Address6;
  readonly inode: string;
}

/** A word of an address in /proc/net: hexadecimal, in the machine's own byte order. */
function readWord(hex: string): number {
  const word = Number.parseInt(hex, 16);
  if (endianness() === 'BE') return word | 0;
  return (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);
}

function readWords(hex: string): Address6 {
  if (hex.length === 8) return mappedAddress(readWord(hex));
  return [0, 8, 16, 24].map((at) => readWord(hex.slice(at, at + 8))) as unknown as Address6;
}

/** The sockets on a port, as a table of /proc/net has them. */
function socketsOn(port: number, table: string): BoundSocket[] {
  let text: string;
  try {
    text = readFileSync(`/proc/net/${table}`, 'latin1');
  } catch {
    return [];
  }
  return text.split('\n').flatMap((line) => {
    const words = line.trim().split(/\s+/);
    const [address, portHex] = (words[1] ?? '').split(':') as [string, string?];
    if (portHex === undefined || Number.parseInt(portHex, 16) !== port) return [];
    if (table.startsWith('tcp') && words[3] !== LISTENING) return [];
    return [{ words: readWords(address), inode: words[9] ?? '' }];
  });
}

/** `name (pid N)` of a process that has a socket open. */
function ownerOf(inode: string): string | null {
  for (const pid of readdirSync('/proc')) {
    if (!/^[0-9]+$/.test(pid)) continue;
    try {
      const isOwner = readdirSync(`/proc/${pid}/fd`).some((fd) => {
        try {
          return readlinkSync(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`;
        } catch {
          return false; // closed since
        }
      });
      if (isOwner) return `${readFileSync(`/proc/${pid}/comm`, 'utf8').trim()} (pid ${pid})`;
    } catch {
      // Another user's process, or one that has ended.
    }
  }
  return null;
}

/** Who holds a port against us, as `name (pid N)`; null where that cannot be seen. */
export function portHolder(transport: 'udp' | 'tcp', { address, port }: SocketAddress): string | null {
  const words = readAddress(address)?.words;
  if (words === undefined) return null;
  for (const table of [transport, `${transport}6`]) {
    for (const held of socketsOn(port, table)) {
      const isInTheWay =
        equalAddress6(held.words, words) || isUnspecified(held.words) || isUnspecified(words);
      const owner = isInTheWay ? ownerOf(held.inode) : null;
      if (owner !== null) return owner;
    }
  }
  return null;
}

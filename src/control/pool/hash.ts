/** The address that TAYGA's dynamic pool gives a host first, so that hosts keep theirs when the gateway changes. */
import type { Address6 } from '../../wire/address.js';

/** A word as a little-endian machine loads its four bytes, unsigned. */
function swap(word: number): number {
  return (((word & 0xff) << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)) >>> 0;
}

/** Offset into a pool of 2^hostBits addresses (1 to 31) at which the search for a host's address begins. */
export function poolHash(host: Address6, hostBits: number): number {
  const size = 2 ** hostBits;
  let hash = 0;
  for (const word of host) {
    hash = (hash + swap(word)) % 0x1_0000_0000;
    while (hash >= size) hash = (hash % size) + Math.floor(hash / size);
  }
  return hash;
}

/**
 * Tabulation hashing of IPv6 addresses (Zobrist 1970): each byte picks a random word from a table of its own, and the words
 * are XORed. Senders choose addresses; a seed in a multiplicative hash does not help, because differences in high bits cancel
 * whatever the seed. Here two addresses collide with probability 2^-32 over tables that nobody outside sees.
 */

/** Random words that the hash needs: 256 for each of 16 bytes. */
export const TABULATION_WORDS = 4096;

/** A signed 32-bit hash, all of its bits equally good. The loads do not wait for each other. `at`: where the tables begin. */
export function tabulationHash(
  words: Int32Array,
  at: number,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
): number {
  return (
    hashWord(words, at, w0) ^
    hashWord(words, at + 1024, w1) ^
    hashWord(words, at + 2048, w2) ^
    hashWord(words, at + 3072, w3)
  );
}

function hashWord(words: Int32Array, at: number, word: number): number {
  return (
    (words[at + (word & 255)] as number) ^
    (words[at + 256 + ((word >>> 8) & 255)] as number) ^
    (words[at + 512 + ((word >>> 16) & 255)] as number) ^
    (words[at + 768 + (word >>> 24)] as number)
  );
}

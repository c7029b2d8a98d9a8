/**
 * A question as a key: its octets folded (RFC 4343) into 32-bit words, and a hash of them. Clients choose names, so the hash is
 * keyed: HalfSipHash-1-3 (Aumasson and Bernstein) over the words, whose collisions nobody finds who does not know the key. One
 * object serves every question after the other, and nothing is allocated for one.
 */
import { randomFillSync } from 'node:crypto';

/** A name of 255 octets, type and class. */
const MAX_WORDS = 65;

/** What each octet of a name folds to. */
const FOLD = Uint8Array.from({ length: 256 }, (_, octet) =>
  octet >= 0x41 && octet <= 0x5a ? octet | 0x20 : octet,
);

export class QuestionKey {
  /** The folded question, four octets a word (the first in the lowest bits), zeros behind its end. */
  readonly words = new Int32Array(MAX_WORDS);
  /** Words in use. */
  length = 0;
  /** 32 bits, signed. */
  hash = 0;
  readonly #key = randomFillSync(new Int32Array(2));

  /**
   * Reads a question of `size` octets at `at`: a checked name without compression, type and class.
   * @param extra what else tells answers apart: a small integer
   */
  read(bytes: Uint8Array, at: number, size: number, extra: number): void {
    const { words } = this;
    const nameEnd = at + size - 4;
    const end = at + size;
    const k0 = this.#key[0] as number;
    const k1 = this.#key[1] as number;
    let v0 = k0;
    let v1 = k1;
    let v2 = 0x6c796765 ^ k0;
    let v3 = 0x74656462 ^ k1;
    let count = 0;
    let word = 0;
    // One turn for each word, and one for `extra` and the size.
    for (let i = at; ; i += 4) {
      if (i + 4 <= nameEnd) {
        word =
          (FOLD[bytes[i] as number] as number) |
          ((FOLD[bytes[i + 1] as number] as number) << 8) |
          ((FOLD[bytes[i + 2] as number] as number) << 16) |
          ((FOLD[bytes[i + 3] as number] as number) << 24);
        words[count++] = word;
      } else if (i < end) {
        // The octets of type and class have no case.
        word = 0;
        for (let j = i, shift = 0; j < end && shift < 32; j++, shift += 8) {
          const octet = bytes[j] as number;
          word |= (j < nameEnd ? (FOLD[octet] as number) : octet) << shift;
        }
        words[count++] = word;
      } else {
        word = extra ^ (size << 24);
      }
      v3 ^= word;
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
      v0 ^= word;
      if (i >= end) break;
    }
    v2 ^= 0xff;
    for (let round = 0; round < 3; round++) {
      v0 = (v0 + v1) | 0;
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
      v0 = (v0 << 16) | (v0 >>> 16);
      v2 = (v2 + v3) | 0;
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
      v0 = (v0 + v3) | 0;
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
      v2 = (v2 + v1) | 0;
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
      v2 = (v2 << 16) | (v2 >>> 16);
    }
    this.length = count;
    this.hash = v1 ^ v3;
  }
}

/**
 * The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
 *
 * A "sum" here is a plain number, the sum of 16-bit words, not folded and not complemented. Sums of up to 2³⁷ words add up
 * exactly in a double; everything on the hot path stays below 2³¹.
 */

/** Folds a sum below 2³² into 16 bits with end-around carry. */
export function fold(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

/** Sum of the two 16-bit halves of a word. */
export function sumWord(word: number): number {
  return (word >>> 16) + (word & 0xffff);
}

/** Sum of the eight halves of an IPv6 address. */
export function sumAddress6(w0: number, w1: number, w2: number, w3: number): number {
  return sumWord(w0) + sumWord(w1) + sumWord(w2) + sumWord(w3);
}

/** Sum of `length` bytes; an odd last byte counts as the upper half of a word. At most 128 KiB. */
export function sumBytes(view: DataView, offset: number, length: number): number {
  let sum = 0;
  let at = offset;
  const wordsEnd = offset + (length & ~3);
  for (; at < wordsEnd; at += 4) {
    const word = view.getInt32(at);
    sum += (word >>> 16) + (word & 0xffff);
  }
  if ((length & 2) !== 0) {
    sum += view.getUint16(at);
    at += 2;
  }
  if ((length & 1) !== 0) sum += view.getUint8(at) << 8;
  return sum;
}

/**
 * The checksum after a change of what it covers: HC' = ~(~HC + ~m + m'), RFC 1624 section 3.
 * @param removed sum of the words that went
 * @param added sum of the words that came
 */
export function adjustChecksum(checksum: number, removed: number, added: number): number {
  return ~fold((~checksum & 0xffff) + (0xffff - fold(removed)) + added) & 0xffff;
}

/** The same for a field that holds a sum and not its complement: a pseudo-header sum left for an offload to complete. */
export function adjustPartial(partial: number, removed: number, added: number): number {
  return fold(partial + (0xffff - fold(removed)) + added);
}

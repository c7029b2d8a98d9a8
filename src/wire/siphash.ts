/**
 * SipHash-2-4 (Aumasson and Bernstein 2012): a keyed hash of 64 bits that nobody can guess without the key. The 64-bit state
 * is kept in halves, the lower one first, because a BigInt costs far more.
 */

/** Rotates the 64 bits at `i` of `v` to the left by `bits`, below 32. */
function rotate(v: Int32Array, i: number, bits: number): void {
  const low = v[i] as number;
  const high = v[i + 1] as number;
  v[i] = (low << bits) | (high >>> (32 - bits));
  v[i + 1] = (high << bits) | (low >>> (32 - bits));
}

function swapHalves(v: Int32Array, i: number): void {
  const low = v[i] as number;
  v[i] = v[i + 1] as number;
  v[i + 1] = low;
}

/** Adds the 64 bits at `j` to those at `i`. */
function add(v: Int32Array, i: number, j: number): void {
  const low = ((v[i] as number) + (v[j] as number)) | 0;
  const carry = low >>> 0 < (v[i] as number) >>> 0 ? 1 : 0;
  v[i] = low;
  v[i + 1] = (v[i + 1] as number) + (v[j + 1] as number) + carry;
}

function xor(v: Int32Array, i: number, low: number, high: number): void {
  v[i] = (v[i] as number) ^ low;
  v[i + 1] = (v[i + 1] as number) ^ high;
}

/** A half of the round: v[a] += v[b], v[b] <<<= bits, v[b] ^= v[a]. */
function mix(v: Int32Array, a: number, b: number, bits: number): void {
  add(v, a, b);
  rotate(v, b, bits);
  xor(v, b, v[a] as number, v[a + 1] as number);
}

function rounds(v: Int32Array, count: number): void {
  for (let i = 0; i < count; i++) {
    mix(v, 0, 2, 13);
    swapHalves(v, 0);
    mix(v, 4, 6, 16);
    mix(v, 0, 6, 21);
    mix(v, 4, 2, 17);
    swapHalves(v, 4);
  }
}

/** Up to four bytes at `at`, the first one lowest; beyond `end` there are zeros. */
function word(bytes: Uint8Array, at: number, end: number): number {
  let value = 0;
  for (let i = Math.min(4, end - at) - 1; i >= 0; i--) value = (value << 8) | (bytes[at + i] as number);
  return value;
}

/**
 * Hashes all of `bytes`.
 * @param key 16 bytes
 * @returns 8 bytes
 */
export function sipHash24(key: Uint8Array, bytes: Uint8Array): Uint8Array {
  const v = Int32Array.of(
    0x70736575,
    0x736f6d65,
    0x6e646f6d,
    0x646f7261,
    0x6e657261,
    0x6c796765,
    0x79746573,
    0x74656462,
  );
  for (let i = 0; i < 8; i++) v[i] = (v[i] as number) ^ word(key, (4 * i) % 16, 16);
  const end = bytes.length;
  for (let at = 0; at <= end; at += 8) {
    const low = word(bytes, at, end);
    // The last block is whatever is left, and in its highest byte the length.
    const high = word(bytes, at + 4, end) | (at + 8 > end ? end << 24 : 0);
    xor(v, 6, low, high);
    rounds(v, 2);
    xor(v, 0, low, high);
  }
  xor(v, 4, 0xff, 0);
  rounds(v, 4);
  const hash = new Uint8Array(8);
  for (let i = 0; i < 8; i++) {
    const half = i >> 2;
    const folded =
      (v[half] as number) ^ (v[2 + half] as number) ^ (v[4 + half] as number) ^ (v[6 + half] as number);
    hash[i] = folded >>> (8 * (i & 3));
  }
  return hash;
}

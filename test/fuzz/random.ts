/** Random numbers that a seed repeats: sfc32. */

/** Long runs of bytes are cut from these: to draw each would take most of a run's time. */
let pool: Buffer | undefined;
const POOL_BYTES = 1 << 20;
const FROM_POOL = 64;

export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** Numbers of their own for each case of a run. */
  constructor(seed: number, caseNumber: number) {
    this.#a = seed | 0;
    this.#b = caseNumber | 0;
    this.#c = Math.floor(caseNumber / 2 ** 32) ^ 0x5eed;
    for (let i = 0; i < 12; i++) this.u32();
  }

  /** 32 bits, signed. */
  u32(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    return sum;
  }

  /** From 0 to `limit` - 1. */
  below(limit: number): number {
    return Math.floor(((this.u32() >>> 0) / 2 ** 32) * limit);
  }

  /** From `least` to `most`. */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  /** True once in `n` times. */
  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length);
    let at = 0;
    if (length > FROM_POOL && length < POOL_BYTES / 2) {
      pool ??= makePool();
      const from = this.below(POOL_BYTES - length);
      pool.copy(bytes, 0, from, from + length);
      at = length;
    }
    for (; at + 4 <= length; at += 4) bytes.writeInt32LE(this.u32(), at);
    for (; at < length; at++) bytes[at] = this.below(256);
    return bytes;
  }
}

function makePool(): Buffer {
  const random = new Random(0, 0);
  const parts: Buffer[] = [];
  for (let left = POOL_BYTES; left > 0; left -= FROM_POOL) parts.push(random.bytes(FROM_POOL));
  return Buffer.concat(parts);
}

/** TCP MSS clamping: a SYN that promises segments too large for the path through us is made to promise less. */
import { get16, set16 } from '../wire/bytes.js';
import { adjustChecksum } from '../wire/checksum.js';
import type { Context } from './context.js';

const TCP_FLAGS = 13;
const TCP_SYN = 2;
const TCP_CHECKSUM = 16;
const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_MSS = 2;

/** Lowers the MSS option of the TCP header at `upper` to `limit` where it is larger; a checksum in full is adjusted. */
export function clampMss(ctx: Context, upper: number, upperLength: number, limit: number): void {
  const { u8 } = ctx;
  if (((u8[upper + TCP_FLAGS] as number) & TCP_SYN) === 0) return;
  const end = upper + Math.min(((u8[upper + 12] as number) >>> 4) * 4, upperLength);
  let at = upper + 20;
  while (at + 1 < end) {
    const kind = u8[at] as number;
    if (kind === OPTION_END) return;
    if (kind === OPTION_NOP) {
      at++;
      continue;
    }
    const length = u8[at + 1] as number;
    if (length < 2 || at + length > end) return;
    if (kind === OPTION_MSS && length === 4) {
      const mss = get16(u8, at + 2);
      if (mss > limit) {
        set16(u8, at + 2, limit);
        if (!ctx.needsChecksum) {
          // An option may stand at an odd offset: its bytes then lie in the other halves of the sum's words.
          const odd = ((at - upper) & 1) !== 0;
          const swap = (value: number) => (odd ? ((value & 0xff) << 8) | (value >>> 8) : value);
          const old = get16(u8, upper + TCP_CHECKSUM);
          set16(u8, upper + TCP_CHECKSUM, adjustChecksum(old, swap(mss), swap(limit)));
        }
      }
      return;
    }
    at += length;
  }
}

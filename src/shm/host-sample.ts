/**
 * A sampled frame, as the value beside its host in a ring of hosts:
 *
 *   bit 31  from IPv6 | bits 24–27  weight: it stands for so many frames, as a power of two | bits 0–16  length in bytes
 */
const FROM_V6 = 1 << 31;
const SHIFT_AT = 24;
const LENGTH_MASK = 0x1ffff;
/** The largest weight, as a power of two. */
export const MAX_SAMPLE_SHIFT = 15;

export function hostSample(isFromV6: boolean, shift: number, length: number): number {
  return (isFromV6 ? FROM_V6 : 0) | (shift << SHIFT_AT) | length;
}

export function isSampleFromV6(value: number): boolean {
  return (value & FROM_V6) !== 0;
}

export function sampleWeight(value: number): number {
  return 2 ** ((value >>> SHIFT_AT) & MAX_SAMPLE_SHIFT);
}

export function sampleLength(value: number): number {
  return value & LENGTH_MASK;
}

/** 16-bit fields in network order. Two byte loads and a shift cost a third of a DataView call on a hot path. */

export function get16(u8: Uint8Array, offset: number): number {
  return ((u8[offset] as number) << 8) | (u8[offset + 1] as number);
}

export function set16(u8: Uint8Array, offset: number, value: number): void {
  u8[offset] = value >>> 8;
  u8[offset + 1] = value;
}

/** RFC 7915 sections 4.2 and 5.2: which ICMP error becomes which. */
import type { TranslatorSettings } from '#nat64d/shm/worker-task.js';

export interface IcmpError {
  readonly type: number;
  readonly code: number;
  /** Bytes 4 to 7 but for the RFC 4884 length. */
  readonly word: number;
  /** Whether RFC 4884 extensions may follow the quote. */
  readonly keepsExtensions: boolean;
}

/** What a quote says that the MTU arithmetic needs. */
export interface QuotedLength {
  readonly total: number;
  readonly isFragment: boolean;
}

type Mtus = Pick<TranslatorSettings, 'ipv6Mtu' | 'ipv4Mtu'>;

const PLATEAUS = [65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68];

const unreachable6 = (code: number): IcmpError => ({ type: 1, code, word: 0, keepsExtensions: true });
const unreachable4 = (code: number): IcmpError => ({ type: 3, code, word: 0, keepsExtensions: true });

function pointer6(pointer4: number): number | null {
  if (pointer4 <= 1) return pointer4;
  if (pointer4 <= 3) return 4;
  if (pointer4 === 8) return 7;
  if (pointer4 === 9) return 6;
  if (pointer4 >= 12 && pointer4 <= 15) return 8;
  return pointer4 >= 16 && pointer4 <= 19 ? 24 : null;
}

function pointer4(pointer6: number): number | null {
  if (pointer6 <= 1) return pointer6;
  if (pointer6 === 4 || pointer6 === 5) return 2;
  if (pointer6 === 6) return 9;
  if (pointer6 === 7) return 8;
  if (pointer6 >= 8 && pointer6 <= 23) return 12;
  return pointer6 >= 24 && pointer6 <= 39 ? 16 : null;
}

/** `word`: bytes 4 to 7 of the ICMPv4 message. Null: no counterpart. */
export function error4to6(
  type: number,
  code: number,
  word: number,
  mtus: Mtus,
  quoted: QuotedLength,
): IcmpError | null {
  if (type === 3) {
    switch (code) {
      case 2:
        return { type: 4, code: 1, word: 6, keepsExtensions: false };
      case 3:
        return unreachable6(4);
      case 4: {
        const said = word % 65536;
        const growth = quoted.isFragment ? 28 : 20;
        const reported = said !== 0 ? said : (PLATEAUS.find((plateau) => plateau < quoted.total) ?? 68);
        const mtu = Math.min(reported + growth, mtus.ipv6Mtu, mtus.ipv4Mtu + growth);
        return { type: 2, code: 0, word: Math.max(mtu, 1280), keepsExtensions: false };
      }
      default:
        if ([0, 1, 5, 6, 7, 8, 11, 12].includes(code)) return unreachable6(0);
        return [9, 10, 13, 15].includes(code) ? unreachable6(1) : null;
    }
  }
  if (type === 11) return { type: 3, code, word: 0, keepsExtensions: true };
  if (type === 12 && (code === 0 || code === 2)) {
    const pointer = pointer6(Math.floor(word / 2 ** 24));
    return pointer === null ? null : { type: 4, code: 0, word: pointer, keepsExtensions: false };
  }
  return null;
}

/** `word`: bytes 4 to 7 of the ICMPv6 message. */
export function error6to4(
  type: number,
  code: number,
  word: number,
  mtus: Mtus,
  quoted: QuotedLength,
): IcmpError | null {
  if (type === 1) {
    if (code === 1) return unreachable4(10);
    if (code === 4) return unreachable4(3);
    return code === 0 || code === 2 || code === 3 ? unreachable4(1) : null;
  }
  // RFC 4443 section 3.2: the receiver ignores the code.
  if (type === 2) {
    const growth = quoted.isFragment ? 28 : 20;
    const mtu = Math.min(word - growth, mtus.ipv4Mtu, mtus.ipv6Mtu - growth);
    return { type: 3, code: 4, word: Math.max(mtu, 68), keepsExtensions: false };
  }
  if (type === 3) return { type: 11, code, word: 0, keepsExtensions: true };
  if (type === 4 && code === 0) {
    const pointer = pointer4(word);
    return pointer === null ? null : { type: 12, code: 0, word: pointer * 2 ** 24, keepsExtensions: false };
  }
  if (type === 4 && code === 1) return { type: 3, code: 2, word: 0, keepsExtensions: false };
  return null;
}

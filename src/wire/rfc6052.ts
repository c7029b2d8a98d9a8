/**
 * IPv4-embedded IPv6 addresses, RFC 6052 section 2.2.
 *
 *      +--+---+---+---+---+---+---+---+---+---+---+---+---+---+---+---+---+
 *      |PL| 0-------------32--40--48--56--64--72--80--88--96--104---------|
 *      +--+---+---+---+---+---+---+---+---+---+---+---+---+---+---+---+---+
 *      |32|     prefix    |v4(32)         | u | suffix                    |
 *      |40|     prefix        |v4(24)     | u |(8)| suffix                |
 *      |48|     prefix            |v4(16) | u | (16)  | suffix            |
 *      |56|     prefix                |(8)| u |  v4(24)   | suffix        |
 *      |64|     prefix                    | u |   v4(32)      | suffix    |
 *      |96|     prefix                                    |    v4(32)     |
 *      +--+---+---+---+---+---+---+---+---+---+---+---+---+---+---+---+---+
 *
 * u (bits 64 to 71) and the suffix are zero when written and ignored when read.
 */
import type { Address6, Prefix4, Prefix6 } from './address.js';
import { parsePrefix6, prefix4Contains } from './address.js';

/** The prefix lengths of RFC 6052 section 2.2. */
export const PREF64_LENGTHS: readonly number[] = [32, 40, 48, 56, 64, 96];

/** Reads a prefix of RFC 6052 section 2.2: of an allowed length, bits 64 to 71 zero. Null where it is none. */
export function readPref64(text: string): Prefix6 | null {
  const prefix = parsePrefix6(text);
  if (prefix === null || !PREF64_LENGTHS.includes(prefix.length)) return null;
  return prefix.address[2] >>> 24 === 0 ? prefix : null;
}

/** The Well-Known Prefix, RFC 6052 section 2.1. */
export const WELL_KNOWN_PREFIX: Prefix6 = { address: [0x0064ff9b, 0, 0, 0], length: 96 };

/** The words behind the prefix: an IPv4 address in place, everything else zero. Index 0 to 3. */
export function embeddedWord(length: number, ipv4: number, index: number): number {
  switch (length) {
    case 32:
      return index === 1 ? ipv4 | 0 : 0;
    case 40:
      return index === 1 ? ipv4 >>> 8 : index === 2 ? (ipv4 & 0xff) << 16 : 0;
    case 48:
      return index === 1 ? ipv4 >>> 16 : index === 2 ? (ipv4 & 0xffff) << 8 : 0;
    case 56:
      return index === 1 ? ipv4 >>> 24 : index === 2 ? ipv4 & 0xffffff : 0;
    case 64:
      return index === 2 ? ipv4 >>> 8 : index === 3 ? (ipv4 & 0xff) << 24 : 0;
    default:
      return index === 3 ? ipv4 | 0 : 0;
  }
}

/** The IPv4 address (signed) in an IPv6 address under a prefix of this length, given its last three words. */
export function extractEmbedded(length: number, word1: number, word2: number, word3: number): number {
  switch (length) {
    case 32:
      return word1;
    case 40:
      return (word1 << 8) | ((word2 >>> 16) & 0xff);
    case 48:
      return (word1 << 16) | ((word2 >>> 8) & 0xffff);
    case 56:
      return (word1 << 24) | (word2 & 0xffffff);
    case 64:
      return (word2 << 8) | (word3 >>> 24);
    default:
      return word3;
  }
}

/** The IPv6 address that represents `ipv4` under `pref64`. */
export function embedAddress(pref64: Prefix6, ipv4: number): Address6 {
  const { address, length } = pref64;
  return [
    address[0],
    address[1] | embeddedWord(length, ipv4, 1),
    address[2] | embeddedWord(length, ipv4, 2),
    address[3] | embeddedWord(length, ipv4, 3),
  ];
}

/** The IPv4 address, unsigned, embedded in an address known to lie under a prefix of this length. */
export function extractAddress(length: number, address: Address6): number {
  return extractEmbedded(length, address[1], address[2], address[3]) >>> 0;
}

/**
 * The IPv4 ranges that the Well-Known Prefix must not represent (RFC 6052 section 3.1), as TAYGA lists them.
 * One list for both planes and for DNS64.
 */
export const NON_GLOBAL4: readonly Prefix4[] = [
  { address: 0x0a000000, length: 8 },
  { address: 0x64400000, length: 10 },
  { address: 0xac100000, length: 12 },
  { address: 0xc0a80000, length: 16 },
  { address: 0xc0000200, length: 24 },
  { address: 0xc6120000, length: 15 },
  { address: 0xc6336400, length: 24 },
  { address: 0xcb007100, length: 24 },
];

/** Whether an IPv4 address is one that the Well-Known Prefix must not represent. */
export function isNonGlobal4(ipv4: number): boolean {
  return NON_GLOBAL4.some((prefix) => prefix4Contains(prefix, ipv4));
}

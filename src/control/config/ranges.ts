/** Address ranges in which no host or gateway is (TAYGA's list, and what the data plane never forwards). */
import {
  formatPrefix4,
  formatPrefix6,
  type Prefix4,
  type Prefix6,
  parsePrefix4,
  parsePrefix6,
  prefix6Contains,
  prefixes4Overlap,
  prefixes6Overlap,
} from '../../wire/address.js';

const RESERVED4 = ['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/4', '240.0.0.0/4'].map((p) => parsePrefix4(p)!);
/** What is left of them where 240.0.0.0/4 may be used. */
const RESERVED4_BUT_CLASS_E = ['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/4', '255.255.255.255/32'].map(
  (p) => parsePrefix4(p)!,
);
const RESERVED6 = ['::/8', 'ff00::/8'].map((p) => parsePrefix6(p)!);
const LINK_LOCAL6 = parsePrefix6('fe80::/10')!;
/** Lies in ::/8 and is fine: the Well-Known Prefix and the one for local use (RFC 6052, RFC 8215). */
const TRANSLATION6 = parsePrefix6('64:ff9b::/32')!;

/** What is wrong with an IPv4 address (a /32) or prefix; null if nothing. */
export function reserved4(prefix: Prefix4, allowsClassE: boolean): string | null {
  const ranges = allowsClassE ? RESERVED4_BUT_CLASS_E : RESERVED4;
  const range = ranges.find((one) => prefixes4Overlap(one, prefix));
  return range === undefined ? null : sentence(range.length <= prefix.length, formatPrefix4(range));
}

/** What is wrong with an IPv6 address (a /128) or prefix; null if nothing. Link-local is wrong but on an interface. */
export function reserved6(prefix: Prefix6, where: 'translator' | 'interface'): string | null {
  if (prefix.length >= TRANSLATION6.length && prefix6Contains(TRANSLATION6, prefix.address)) return null;
  const ranges = where === 'interface' ? RESERVED6 : [...RESERVED6, LINK_LOCAL6];
  const range = ranges.find((one) => prefixes6Overlap(one, prefix));
  return range === undefined ? null : sentence(range.length <= prefix.length, formatPrefix6(range));
}

export function isLinkLocal6(prefix: Prefix6): boolean {
  return prefixes6Overlap(LINK_LOCAL6, prefix);
}

function sentence(isInside: boolean, range: string): string {
  return `${isInside ? 'lies in' : 'overlaps'} ${range}, which is reserved; use another`;
}

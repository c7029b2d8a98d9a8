/** Rules of explicit maps: each by itself, against each other, and against the translator's own addresses. */
import {
  type Address6,
  formatAddress4,
  formatAddress6,
  formatPrefix4,
  formatPrefix6,
  type Prefix6,
  prefix4Contains,
  prefix6Contains,
  prefixes6Overlap,
} from '../../wire/address.js';
import { type Sliced, sorted } from '../slices.js';
import type { Given, GivenMap } from './given.js';
import type { PlaceOf, Report } from './problem.js';
import { reserved4, reserved6 } from './ranges.js';

/** What maps must leave alone; null where it is not known. */
interface Taken {
  readonly ipv4Address: number | null;
  readonly ipv6Address: Address6 | null;
}

export function* checkMaps(
  { maps, pref64, allowsClassE }: Pick<Given, 'maps' | 'pref64' | 'allowsClassE'>,
  taken: Taken,
  placeOf: PlaceOf,
  wrong: Report,
): Sliced<void> {
  for (const [index, map] of maps.entries()) {
    yield;
    checkPair(map, index, wrong);
    checkIpv4(map, index, taken.ipv4Address, allowsClassE, wrong);
    checkIpv6(map, index, pref64 || null, taken.ipv6Address, wrong);
  }
  yield* checkTwice(maps, placeOf, wrong);
  yield* checkOverlaps(maps, placeOf, wrong);
}

function checkPair({ ipv4, ipv6 }: GivenMap, index: number, wrong: Report): void {
  // RFC 7757 section 3.2: the IPv6 suffix must have room for the IPv4 one.
  if (ipv4 === null || ipv6 === null || 32 - ipv4.length <= 128 - ipv6.length) return;
  wrong(
    ['map', index, 'ipv6'],
    `${formatPrefix6(ipv6)} has fewer addresses than ${formatPrefix4(ipv4)}; its length may be ${96 + ipv4.length} at most`,
  );
}

function checkIpv4(
  { ipv4 }: GivenMap,
  index: number,
  own: number | null,
  allowsClassE: boolean,
  wrong: Report,
): void {
  if (ipv4 === null) return;
  const path = ['map', index, 'ipv4'];
  const reserved = reserved4(ipv4, allowsClassE);
  if (reserved !== null) wrong(path, `${formatPrefix4(ipv4)} ${reserved}`);
  if (own !== null && prefix4Contains(ipv4, own)) {
    wrong(
      path,
      `${formatPrefix4(ipv4)} holds the translator's own address ${formatAddress4(own)}; map other addresses, or set another ipv4-address`,
    );
  }
}

function checkIpv6(
  { ipv6 }: GivenMap,
  index: number,
  pref64: Prefix6 | null,
  own: Address6 | null,
  wrong: Report,
): void {
  if (ipv6 === null) return;
  const path = ['map', index, 'ipv6'];
  const reserved = reserved6(ipv6, 'translator');
  if (reserved !== null) wrong(path, `${formatPrefix6(ipv6)} ${reserved}`);
  if (pref64 !== null && prefixes6Overlap(ipv6, pref64)) {
    wrong(path, `overlaps pref64 (${formatPrefix6(pref64)}); map addresses outside it`);
  } else if (own !== null && prefix6Contains(ipv6, own)) {
    wrong(
      path,
      `${formatPrefix6(ipv6)} holds the translator's own address ${formatAddress6(own)}; map other addresses, or set another ipv6-address`,
    );
  }
}

/** IPv4 prefixes may be nested: the longest match wins (RFC 7757 section 3.3.1). The same one twice is a mistake. */
function* checkTwice(maps: readonly GivenMap[], placeOf: PlaceOf, wrong: Report): Sliced<void> {
  const first = new Map<number, number>();
  for (const [index, { ipv4 }] of maps.entries()) {
    yield;
    if (ipv4 === null) continue;
    const key = (ipv4.address >>> 0) * 64 + ipv4.length;
    const earlier = first.get(key);
    if (earlier === undefined) {
      first.set(key, index);
    } else {
      const place = placeOf(['map', earlier, 'ipv4']);
      wrong(['map', index, 'ipv4'], `${formatPrefix4(ipv4)} is mapped already, at ${place}; keep one`);
    }
  }
}

function* checkOverlaps(maps: readonly GivenMap[], placeOf: PlaceOf, wrong: Report): Sliced<void> {
  const prefixes = maps.flatMap(({ ipv6 }, index) => (ipv6 === null ? [] : [{ ipv6, index }]));
  const inOrder = yield* sorted(
    prefixes,
    (a, b) => compare6(a.ipv6.address, b.ipv6.address) || a.ipv6.length - b.ipv6.length,
  );
  // Sorted by address, what overlaps a prefix follows it at once.
  let widest: (typeof prefixes)[number] | undefined;
  for (const one of inOrder) {
    yield;
    if (widest === undefined || !prefixes6Overlap(widest.ipv6, one.ipv6)) {
      widest = one;
      continue;
    }
    const [first, second] = one.index < widest.index ? [one, widest] : [widest, one];
    const place = placeOf(['map', first.index, 'ipv6']);
    wrong(
      ['map', second.index, 'ipv6'],
      `${formatPrefix6(second.ipv6)} overlaps ${formatPrefix6(first.ipv6)} at ${place}; an IPv6 address can have one map only`,
    );
  }
}

function compare6(a: Address6, b: Address6): number {
  for (let i = 0; i < 4; i++) {
    const difference = (a[i]! >>> 0) - (b[i]! >>> 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

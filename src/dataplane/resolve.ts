/**
 * Addresses across the translator: explicit maps first (RFC 7757 section 3.3), then the dynamic map of a host, then
 * pref64 (RFC 6052). Results are left in the context: `found4`, or `found0` to `found3`.
 */
import { counter } from '../shm/counters.js';
import { VALUE_IPV4, VALUE_IPV4_LENGTH, VALUE_IPV6, VALUE_IPV6_LENGTH } from '../shm/prefix-table.js';
import { mask4 } from '../wire/address.js';
import { embeddedWord, extractEmbedded, isNonGlobal4 } from '../wire/rfc6052.js';
import type { Context } from './context.js';
import { DROP_LOOP, FORWARD, REPRESENTS_ALL, REPRESENTS_NONE } from './context.js';

export const DROP_V4_ADDRESS = counter('drop-v4-address');
export const DROP_V6_ADDRESS = counter('drop-v6-address');
export const DROP_NON_GLOBAL = counter('drop-non-global');
export const DROP_NO_SOURCE = counter('drop-v4-no-map-source');
export const DROP_IN_PREF64 = counter('drop-v6-source-in-pref64');
export const DROP_NOT_ALLOWED = counter('drop-v6-source-not-allowed');
export const DROP_FROM_POOL = counter('drop-v4-source-in-pool4');

/** Whether an IPv4 address is never forwarded unless an explicit map names it: no host of any network we reach. */
export function isForbidden4(ctx: Context, address: number): boolean {
  const top = address >>> 24;
  if (top >= 240 && address !== -1) return !ctx.forwardClassE;
  return top === 0 || top === 127 || top >= 224 || address >>> 16 === 0xa9fe;
}

/** Whether an IPv6 address is never forwarded: ::, ::1, fe80::/10, ff00::/8. */
export function isForbidden6(w0: number, w1: number, w2: number, w3: number): boolean {
  if (w0 >>> 24 === 0xff || w0 >>> 22 === 0x3fa) return true;
  return w0 === 0 && w1 === 0 && w2 === 0 && w3 >>> 1 === 0;
}

export function isInPref64(ctx: Context, w0: number, w1: number, w2: number): boolean {
  return (
    (((w0 ^ ctx.prefix0) & ctx.mask0) |
      ((w1 ^ ctx.prefix1) & ctx.mask1) |
      ((w2 ^ ctx.prefix2) & ctx.mask2)) ===
    0
  );
}

export function isOwn6(ctx: Context, w0: number, w1: number, w2: number, w3: number): boolean {
  return w3 === ctx.own63 && w2 === ctx.own62 && w1 === ctx.own61 && w0 === ctx.own60;
}

/** Whether an IPv6 address is one of the kernel's on the device. */
export function isDevice6(ctx: Context, w0: number, w1: number, w2: number, w3: number): boolean {
  const words = ctx.device6;
  for (let i = 0; i < words.length; i += 4) {
    if (words[i] === w0 && words[i + 1] === w1 && words[i + 2] === w2 && words[i + 3] === w3) return true;
  }
  return false;
}

/** Whether an IPv6 address is one that routers have: global or unique-local. */
function isRouters6(w0: number): boolean {
  return w0 >>> 29 === 1 || w0 >>> 25 === 0x7e;
}

/**
 * FORWARD, or why no host may send from this IPv6 address. Not cheap: what has a dynamic map has passed it already, and is not asked
 * again (`Assigner` and `PoolKeeper` keep to the same rule), nor is what has an explicit one.
 */
export function checkHost6(ctx: Context, w0: number, w1: number, w2: number, w3: number): number {
  if (!ctx.maps6.isEmpty && ctx.maps6.find6(w0, w1, w2, w3) >= 0) return FORWARD;
  if (isDevice6(ctx, w0, w1, w2, w3)) return FORWARD;
  // Of a CLAT, those are the hosts of the IPv4 internet.
  if (isInPref64(ctx, w0, w1, w2)) return ctx.clat ? FORWARD : DROP_IN_PREF64;
  return ctx.allowed6.find6(w0, w1, w2, w3) >= 0 ? FORWARD : DROP_NOT_ALLOWED;
}

/** The same of the source of an ICMP error: routers need not be where hosts are. */
export function checkRouter6(ctx: Context, w0: number, w1: number, w2: number, w3: number): number {
  return isRouters6(w0) ? FORWARD : checkHost6(ctx, w0, w1, w2, w3);
}

/** Whether an IPv4 source is of a host of the pool. These are behind us: nobody in front may speak for them, but the kernel. */
export function isFromPool(ctx: Context, source: number): boolean {
  if (poolIndex(ctx, source) < 0 || ctx.device4.includes(source)) return false;
  // With a CLAT, whom explicit maps name is in front of us.
  return !ctx.clat || ctx.maps4.isEmpty || ctx.maps4.find4(source) < 0;
}

/** 32 bits of an IPv6 address from bit `from` on (0 to 127; zeros behind the end). */
function bitsAt(w0: number, w1: number, w2: number, w3: number, from: number): number {
  const index = from >>> 5;
  const shift = from & 31;
  const first = index === 0 ? w0 : index === 1 ? w1 : index === 2 ? w2 : w3;
  if (shift === 0) return first;
  const second = index === 0 ? w1 : index === 1 ? w2 : index === 2 ? w3 : 0;
  return (first << shift) | (second >>> (32 - shift));
}

/** The part of a 32-bit run, placed at bit `from`, that falls into word `index`. */
function runInWord(run: number, from: number, index: number): number {
  const shift = from - 32 * index;
  if (shift >= 32 || shift <= -32) return 0;
  return shift >= 0 ? run >>> shift : run << -shift;
}

/** The IPv4 address of an IPv6 address with an explicit map (RFC 7757 section 3.3.2); false where none matches. */
export function mapTo4(ctx: Context, w0: number, w1: number, w2: number, w3: number): boolean {
  if (ctx.maps6.isEmpty) return false;
  const at = ctx.maps6.find6(w0, w1, w2, w3);
  if (at < 0) return false;
  const words = ctx.maps6.words;
  const length = words[at + VALUE_IPV4_LENGTH] as number;
  const base = words[at + VALUE_IPV4] as number;
  const ipv6Length = words[at + VALUE_IPV6_LENGTH] as number;
  // The IPv4 suffix is the leftmost part of the IPv6 suffix.
  ctx.found4 = length === 32 ? base : base | (bitsAt(w0, w1, w2, w3, ipv6Length) >>> length);
  return true;
}

/** The IPv6 address of an IPv4 address with an explicit map (RFC 7757 section 3.3.1); false where none matches. */
export function mapTo6(ctx: Context, address: number): boolean {
  if (ctx.maps4.isEmpty) return false;
  const at = ctx.maps4.find4(address);
  if (at < 0) return false;
  const words = ctx.maps4.words;
  const length = words[at + VALUE_IPV4_LENGTH] as number;
  const ipv6Length = words[at + VALUE_IPV6_LENGTH] as number;
  const run = length === 32 ? 0 : (address & ~mask4(length)) << length;
  ctx.found0 = (words[at + VALUE_IPV6] as number) | runInWord(run, ipv6Length, 0);
  ctx.found1 = (words[at + VALUE_IPV6 + 1] as number) | runInWord(run, ipv6Length, 1);
  ctx.found2 = (words[at + VALUE_IPV6 + 2] as number) | runInWord(run, ipv6Length, 2);
  ctx.found3 = (words[at + VALUE_IPV6 + 3] as number) | runInWord(run, ipv6Length, 3);
  return true;
}

/** The index in the pool of an IPv4 address, or -1. */
export function poolIndex(ctx: Context, address: number): number {
  const index = (address - ctx.hosts.base) >>> 0;
  return index < ctx.hosts.size ? index : -1;
}

/** The IPv6 address that has this IPv4 address, by explicit or dynamic map; false where none has. */
export function hostOf4(ctx: Context, address: number): boolean {
  if (mapTo6(ctx, address)) return true;
  const index = poolIndex(ctx, address);
  if (index < 0 || !ctx.hosts.use(index, ctx.generation, ctx.nowSec)) return false;
  const words = ctx.hosts.words;
  const at = ctx.hosts.hostWords(index);
  ctx.found0 = words[at] as number;
  ctx.found1 = words[at + 1] as number;
  ctx.found2 = words[at + 2] as number;
  ctx.found3 = words[at + 3] as number;
  return true;
}

/** The IPv4 address that this IPv6 host has, by dynamic or explicit map; false where it has none. */
export function hostOf6(ctx: Context, w0: number, w1: number, w2: number, w3: number): boolean {
  // Most packets come from the host of the one before. What was found in this generation holds all through it.
  if (
    w3 === ctx.recent3 &&
    w2 === ctx.recent2 &&
    w1 === ctx.recent1 &&
    w0 === ctx.recent0 &&
    ctx.recentGeneration === ctx.generation &&
    ctx.hosts.use(ctx.recentIndex, ctx.generation, ctx.nowSec)
  ) {
    ctx.found4 = (ctx.hosts.base + ctx.recentIndex) | 0;
    return true;
  }
  // The two kinds of map never overlap, and nearly every packet's host has a dynamic one.
  const index = ctx.hosts.find(w0, w1, w2, w3, ctx.generation, ctx.nowSec);
  if (index >= 0) {
    ctx.recent0 = w0;
    ctx.recent1 = w1;
    ctx.recent2 = w2;
    ctx.recent3 = w3;
    ctx.recentIndex = index;
    ctx.recentGeneration = ctx.generation;
    ctx.found4 = (ctx.hosts.base + index) | 0;
    return true;
  }
  return mapTo4(ctx, w0, w1, w2, w3);
}

/** The representation of an IPv4 address under pref64. */
export function embed(ctx: Context, address: number): void {
  ctx.found0 = ctx.prefix0;
  ctx.found1 = ctx.prefix1 | embeddedWord(ctx.pref64Length, address, 1);
  ctx.found2 = ctx.prefix2 | embeddedWord(ctx.pref64Length, address, 2);
  ctx.found3 = embeddedWord(ctx.pref64Length, address, 3);
}

/** The IPv4 address in an IPv6 address under pref64. */
export function extract(ctx: Context, w1: number, w2: number, w3: number): number {
  return extractEmbedded(ctx.pref64Length, w1, w2, w3);
}

/** FORWARD, or why an IPv4 address that no map names may not be represented under pref64. */
export function checkRepresentable(ctx: Context, address: number): number {
  if (isForbidden4(ctx, address)) return DROP_V4_ADDRESS;
  if (ctx.represents !== REPRESENTS_ALL && (ctx.represents === REPRESENTS_NONE || isNonGlobal4(address))) {
    return DROP_NON_GLOBAL;
  }
  return FORWARD;
}

/**
 * The address under pref64 of a destination that no host behind us has, for a source that an explicit map gives its address:
 * what a CLAT does with all of the IPv4 internet (RFC 6877 section 6.3). False where that is not asked for.
 */
export function embedForClat(ctx: Context, source: number, destination: number): boolean {
  if (!ctx.clat || ctx.hairpin || poolIndex(ctx, destination) >= 0) return false;
  if (checkRepresentable(ctx, destination) !== FORWARD || !mapTo6(ctx, source)) return false;
  embed(ctx, destination);
  return true;
}

/** FORWARD, or why a source without an explicit map may not be represented under pref64. */
export function checkSource(ctx: Context, source: number): number {
  if (source === ctx.own4) return DROP_LOOP;
  if (isFromPool(ctx, source)) return DROP_FROM_POOL;
  const refusal = checkRepresentable(ctx, source);
  return refusal === DROP_NON_GLOBAL ? DROP_NO_SOURCE : refusal;
}

/**
 * The tail of an ICMP error: the quoted packet cut to size, and RFC 4884 extensions moved behind it.
 *
 *   | ICMP header | quoted packet | zeros up to a unit and to 128 bytes | extensions |
 *
 * The unit is 32 bits on IPv4 and 64 on IPv6; the length of the padded quote, in units, stands in byte 5 or byte 4.
 */
import { ICMP_HEADER } from '../wire/icmp.js';
import type { Context } from './context.js';
import { takeScratch } from './context.js';
import { copyBytes, zeroBytes } from './emit.js';

/** An original-datagram field is at least this long where extensions follow it (RFC 4884 section 4.1). */
const MINIMUM_ORIGINAL = 128;

/**
 * Lays the error out within `maximum` bytes of ICMP message. Sets `upperOffset` to the ICMP header, `upperLength` to the
 * message's length, and returns the length of the padded quote where extensions follow it, else 0.
 *
 * @param inner where the translated quote begins; ICMP_HEADER bytes before it are free
 * @param extensions where the extensions are
 * @param extensionsLength 0 where there are none, or where the new type takes none
 * @param unit 4 or 8
 * @param room bytes to keep free before the ICMP header, for the IP header and what is in front of it
 */
export function layOutError(
  ctx: Context,
  inner: number,
  innerLength: number,
  extensions: number,
  extensionsLength: number,
  unit: number,
  maximum: number,
  room: number,
): number {
  const space = maximum - ICMP_HEADER;
  const forQuote = (space - extensionsLength) & -unit;
  if (extensionsLength === 0 || forQuote < MINIMUM_ORIGINAL) {
    ctx.upperOffset = inner - ICMP_HEADER;
    ctx.upperLength = ICMP_HEADER + Math.min(innerLength, space);
    return 0;
  }
  const kept = Math.min(innerLength, forQuote);
  const padded = Math.max((kept + unit - 1) & -unit, MINIMUM_ORIGINAL);
  const length = ICMP_HEADER + padded + extensionsLength;
  // The extensions may move either way, and behind this frame lies the next one: build the message elsewhere.
  const at = takeScratch(ctx, room + length) + room;
  copyBytes(ctx, inner, at + ICMP_HEADER, kept);
  zeroBytes(ctx, at + ICMP_HEADER + kept, padded - kept);
  copyBytes(ctx, extensions, at + ICMP_HEADER + padded, extensionsLength);
  ctx.upperOffset = at;
  ctx.upperLength = length;
  return padded;
}

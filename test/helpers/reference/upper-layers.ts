/** The transport layers (RFC 7915 sections 4.5 and 5.5): their checksums under another pseudo-header, and the MSS clamp. */
import { carriedChecksum, carriedPartial, concat, u16, withU16 } from './bytes.js';
import { Drop } from './gateway.js';
import { CHECKSUM_AT, type Offload, TCP, UDP } from './offload.js';

const UDP_LITE = 136;

/** Whole packets and first fragments must show the upper header. */
export function requireUpperHeader(protocol: number, upper: Uint8Array, isFragment: boolean): void {
  if (!CHECKSUM_AT.has(protocol) || upper.length >= (protocol === TCP ? 20 : 8)) return;
  throw new Drop(isFragment ? 'drop-fragment-malformed' : 'drop-upper-layer-truncated');
}

/**
 * The upper layer with its checksum under the pseudo-header `after` instead of `before`. Where the checksum field was
 * cut off (in a quote) nothing changes.
 */
export function carryUpper(
  protocol: number,
  upper: Uint8Array,
  before: Uint8Array,
  after: Uint8Array,
  kind: Offload['kind'],
  mssLimit = Number.POSITIVE_INFINITY,
): Uint8Array {
  const at = CHECKSUM_AT.get(protocol);
  const clamped = protocol === TCP ? clampMss(upper, mssLimit) : upper;
  if (at === undefined || at + 2 > upper.length) return clamped;
  const field = u16(upper, at);
  if (kind !== 'plain') return withU16(clamped, at, carriedPartial(field, before, after));
  const value = carriedChecksum(
    field,
    concat(before, withU16(upper, at, 0)),
    concat(after, withU16(clamped, at, 0)),
  );
  const isZeroReserved = protocol === UDP || protocol === UDP_LITE;
  return withU16(clamped, at, isZeroReserved ? value || 0xffff : value);
}

/** Whether the checksum of a UDP datagram, whole or quoted, says that there is none. */
export const hasNoUdpChecksum = (udp: Uint8Array): boolean => udp.length >= 8 && u16(udp, 6) === 0;

/** Lowers the MSS option of a SYN (RFC 9293 section 3.7.1). */
function clampMss(tcp: Uint8Array, limit: number): Uint8Array {
  if (limit === Number.POSITIVE_INFINITY || (tcp[13]! & 2) === 0) return tcp;
  const end = Math.min((tcp[12]! >> 4) * 4, tcp.length);
  for (let at = 20; at < end; ) {
    const kind = tcp[at];
    if (kind === 0) break;
    if (kind === 1) {
      at += 1;
      continue;
    }
    const length = tcp[at + 1] ?? 0;
    if (length < 2 || at + length > end) break;
    if (kind === 2 && length === 4) return withU16(tcp, at + 2, Math.min(u16(tcp, at + 2), limit));
    at += length;
  }
  return tcp;
}

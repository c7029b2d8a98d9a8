/**
 * The IPv6 header chain (RFC 8200 section 4) as RFC 7915 section 5.1 wants it read: hop-by-hop options, destination
 * options and spent routing headers are skipped, one Fragment header is noted, anything else is the upper layer.
 */
import { counter } from '../shm/counters.js';
import { get16 } from '../wire/bytes.js';
import {
  FRAGMENT_HEADER,
  IPV6_HEADER,
  IPV6_NEXT_HEADER,
  PROTO_AH,
  PROTO_DSTOPTS,
  PROTO_FRAGMENT,
  PROTO_HIP,
  PROTO_HOPOPT,
  PROTO_MOBILITY,
  PROTO_ROUTING,
  PROTO_SHIM6,
} from '../wire/ip.js';
import type { Context } from './context.js';
import { FORWARD } from './context.js';

const DROP_MALFORMED = counter('drop-v6-malformed');
const DROP_EXTENSION = counter('drop-extension-header');
export const DROP_ROUTING = counter('drop-routing-header');

function isExtension(protocol: number): boolean {
  return (
    protocol === PROTO_HOPOPT ||
    protocol === PROTO_DSTOPTS ||
    protocol === PROTO_ROUTING ||
    protocol === PROTO_FRAGMENT ||
    protocol === PROTO_AH
  );
}

/** Whether a header behind the Fragment header is one that RFC 7915 section 5.1.1 cannot translate: any but the upper layer's. */
function isExtensionBehindFragment(protocol: number): boolean {
  return (
    isExtension(protocol) || protocol === PROTO_MOBILITY || protocol === PROTO_HIP || protocol === PROTO_SHIM6
  );
}

/**
 * Walks the chain of the packet at `offset` up to `end`, and sets upperProtocol, upperOffset, hasFragment,
 * fragmentOffset, moreFragments, fragmentId and nextHeaderField of the context.
 *
 * @returns FORWARD, or a drop verdict. With DROP_ROUTING the context's `pointer` is the offset of the segments-left byte
 * from the start of the packet (ICMPv6 4/0, RFC 7915 section 5.1).
 */
export function walkExtensionHeaders(ctx: Context, offset: number, end: number): number {
  const { u8, dv } = ctx;
  let protocol = u8[offset + IPV6_NEXT_HEADER] as number;
  let at = offset + IPV6_HEADER;
  ctx.nextHeaderField = IPV6_NEXT_HEADER;
  ctx.hasFragment = false;
  ctx.fragmentOffset = 0;
  ctx.moreFragments = 0;
  let verdict = FORWARD;
  for (;;) {
    if (ctx.hasFragment && isExtensionBehindFragment(protocol)) return DROP_EXTENSION;
    // AH in front of an unfragmented upper layer is an upper layer to IPv4 as well: it passes, and fails its own check.
    if (!isExtension(protocol) || protocol === PROTO_AH) break;
    // Each of these headers has at least 8 bytes.
    if (at + 8 > end) return DROP_MALFORMED;
    const next = u8[at] as number;
    const field = at - offset;
    if (protocol === PROTO_FRAGMENT) {
      const offsetField = get16(u8, at + 2);
      ctx.hasFragment = true;
      ctx.fragmentOffset = offsetField >>> 3;
      ctx.moreFragments = offsetField & 1;
      ctx.fragmentId = dv.getInt32(at + 4);
      at += FRAGMENT_HEADER;
    } else {
      // The rest of the chain still says whether an error may be sent about this packet.
      if (protocol === PROTO_ROUTING && u8[at + 3] !== 0 && verdict === FORWARD) {
        ctx.pointer = at + 3 - offset;
        verdict = DROP_ROUTING;
      }
      at += 8 + 8 * (u8[at + 1] as number);
      if (at > end) return DROP_MALFORMED;
    }
    ctx.nextHeaderField = field;
    protocol = next;
  }
  ctx.upperProtocol = protocol;
  ctx.upperOffset = at;
  return verdict;
}

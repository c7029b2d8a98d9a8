/** An IPv4 frame to IPv6 (RFC 7915 section 4), and the second half of a hairpin. */
import type { Vnet } from '../harness.js';
import {
  checksum,
  concat,
  fragmentHeader,
  onesSum,
  type Packet4,
  parse4,
  pseudo4,
  pseudo6,
  serialize6,
  u16,
  withU16,
} from './bytes.js';
import { Drop, type Gateway } from './gateway.js';
import { type Ends, ICMP4, ICMP6, icmp4to6, PROTOCOLS_NOT_PASSED_4 } from './icmp.js';
import {
  CHECKSUM_AT,
  type Frame,
  inspectOffload,
  largestUpper,
  NO_VNET,
  type Offload,
  outgoingVnet,
  segmentFrame,
  UDP,
} from './offload.js';
import { echoReply4, error4, isError4 } from './own-packets.js';
import { carryUpper, hasNoUdpChecksum, requireUpperHeader } from './upper-layers.js';

type Answer = (type: number, code: number, word?: number) => Frame[];

export function fromIpv4(gateway: Gateway, raw: Uint8Array, vnet: Vnet): Frame[] {
  const { addresses, settings } = gateway;
  const packet = parse4(raw, false);
  if (packet === null) throw new Drop('drop-v4-malformed');
  let frame: Uint8Array = raw.slice(0, packet.totalLength);
  const headerLength = 20 + packet.options.length;
  if (onesSum(frame.subarray(0, headerLength)) !== 0xffff) throw new Drop('drop-v4-checksum');
  const answer: Answer = (type, code, word = 0) => error4(gateway, frame, packet, type, code, word);

  if (packet.destination === addresses.own4) return answerOwn(gateway, packet, answer);
  const isByClat =
    addresses.host6(packet.destination) === null && addresses.isByClat(packet.source, packet.destination);
  const destination6 = isByClat ? addresses.under(packet.destination) : addresses.host6(packet.destination);
  if (destination6 === null) {
    if (addresses.isNever4(packet.destination)) throw new Drop('drop-v4-address');
    throw new Drop('drop-v4-no-map-destination', answer(3, 1));
  }
  if (!isByClat && addresses.isInPref64(destination6) && !addresses.isDevice6(destination6))
    throw new Drop('drop-loop');
  const source6 = sourceOf(gateway, packet, answer);
  if (hasUnexpiredSourceRoute(packet.options)) throw new Drop('drop-source-route', answer(3, 5));
  if (packet.ttl <= 1) throw new Drop('drop-ttl', answer(11, 0));
  if (PROTOCOLS_NOT_PASSED_4.includes(packet.protocol)) throw new Drop('drop-protocol');

  const isFragment = packet.mf || packet.offset > 0;
  const { length } = packet.payload;
  if (packet.offset * 8 + length > 65535 || (packet.mf && (length === 0 || length % 8 !== 0))) {
    throw new Drop('drop-fragment-malformed');
  }
  const offload = inspectOffload(vnet, frame, headerLength, packet.protocol, isFragment ? 'real' : 'none');
  frame = offload.frame;
  const isIcmpError = packet.protocol === ICMP4 && packet.offset === 0 && isError4(packet.payload[0]);
  const largest6 = 40 + (isFragment ? 8 : 0) + largestUpper(offload);
  if (packet.df && !isIcmpError && largest6 > settings.ipv6Mtu) {
    throw new Drop('drop-too-big', answer(3, 4, settings.ipv6Mtu - (isFragment ? 28 : 20)));
  }
  if (
    offload.kind === 'super' &&
    !packet.df &&
    largest6 > Math.min(settings.lowestIpv6Mtu, settings.ipv6Mtu)
  ) {
    const segments = segmentFrame(frame, headerLength, packet.protocol, offload);
    return segments.flatMap((segment) => fromIpv4(gateway, segment, NO_VNET));
  }
  const ends = {
    source4: packet.source,
    destination4: packet.destination,
    source6,
    destination6,
  };
  return emit6(gateway, { ...packet, ttl: packet.ttl - 1 }, offload, ends, false);
}

/** The IPv6 packets of `packet`, whose TTL is the hop limit to send; `offload.upper` is its upper layer. */
export function emit6(
  gateway: Gateway,
  packet: Packet4,
  offload: Offload,
  ends: Ends,
  fromHairpin: boolean,
): Frame[] {
  const { settings } = gateway;
  const { protocol } = packet;
  const isFragment = packet.mf || packet.offset > 0;
  let payload = offload.upper;
  if (protocol === ICMP4) {
    if (isFragment) throw new Drop('drop-icmp-fragment');
    payload = icmp4to6(gateway, payload, ends, fromHairpin);
  } else if (packet.offset === 0) {
    requireUpperHeader(protocol, payload, isFragment);
    payload = transport4to6(gateway, protocol, offload, ends, isFragment, fromHairpin);
  }

  const nextHeader = protocol === ICMP4 ? ICMP6 : protocol;
  const common = {
    trafficClass: settings.copyTrafficClass ? packet.tos : 0,
    flowLabel: 0,
    hopLimit: packet.ttl,
    source: ends.source6,
    destination: ends.destination6,
  };
  const size = 40 + (isFragment ? 8 : 0) + payload.length;
  const pieceMtu = Math.min(settings.lowestIpv6Mtu, settings.ipv6Mtu);
  const mustSplit = !packet.df && offload.kind !== 'super' && size > pieceMtu;
  if (!isFragment && !mustSplit) {
    const bytes = serialize6({ ...common, nextHeader, payloadLength: payload.length, payload });
    return [{ vnet: outgoingVnet(offload, protocol, 6), bytes }];
  }
  let whole = payload;
  if (offload.kind === 'partial') whole = completed(payload, protocol);
  const room = mustSplit ? Math.floor((pieceMtu - 48) / 8) * 8 : payload.length;
  const frames: Frame[] = [];
  let at = 0;
  do {
    const piece = whole.slice(at, at + room);
    const isLast = at + room >= whole.length;
    const header = fragmentHeader(nextHeader, {
      id: packet.id,
      offset: packet.offset + at / 8,
      more: packet.mf || !isLast,
    });
    const bytes = serialize6({
      ...common,
      nextHeader: 44,
      payloadLength: header.length + piece.length,
      payload: concat(header, piece),
    });
    frames.push({ vnet: NO_VNET, bytes });
    at += room;
  } while (at < whole.length);
  return frames;
}

/** A checksum that no device will complete any more, because the packet leaves in pieces. The field has the partial one. */
function completed(payload: Uint8Array, protocol: number): Uint8Array {
  return withU16(payload, CHECKSUM_AT.get(protocol) as number, checksum(payload) || 0xffff);
}

function transport4to6(
  gateway: Gateway,
  protocol: number,
  offload: Offload,
  ends: Ends,
  isFragment: boolean,
  fromHairpin: boolean,
): Uint8Array {
  const { settings } = gateway;
  const { upper } = offload;
  const before = pseudo4(ends.source4, ends.destination4, protocol, upper.length);
  const after = pseudo6(ends.source6, ends.destination6, protocol, upper.length);
  if (protocol === UDP && offload.kind === 'plain' && hasNoUdpChecksum(upper)) {
    if (settings.udpZeroChecksum === 'forward') return upper;
    if (settings.udpZeroChecksum === 'drop' || isFragment) throw new Drop('drop-udp-zero-checksum');
    // RFC 768: the datagram is as long as it says, and so is what the checksum covers.
    const length = u16(upper, 4);
    if (length < 8 || length > upper.length) throw new Drop('drop-upper-layer-truncated');
    const pseudo = pseudo6(ends.source6, ends.destination6, protocol, length);
    return withU16(upper, 6, checksum(concat(pseudo, upper.slice(0, length))) || 0xffff);
  }
  const limit = fromHairpin ? settings.ipv6Mtu - 60 : Math.min(settings.ipv6Mtu - 60, settings.ipv4Mtu - 40);
  return carryUpper(
    protocol,
    upper,
    before,
    after,
    offload.kind,
    settings.mssClamp === 'auto' ? limit : undefined,
  );
}

function sourceOf({ addresses }: Gateway, packet: Packet4, answer: Answer): bigint {
  const explicit = addresses.explicit6(packet.source);
  if (explicit !== null) {
    if (addresses.isForgedPool(packet.source)) throw new Drop('drop-v4-source-in-pool4');
    return explicit;
  }
  const reason = addresses.whyNoSource4(packet.source);
  if (reason === null) return addresses.under(packet.source);
  if (reason !== 'drop-non-global') throw new Drop(reason);
  // RFC 6791: an error from a router whose address may not stand under the well-known prefix comes from the gateway.
  const isError = packet.protocol === ICMP4 && packet.offset === 0 && isError4(packet.payload[0]);
  if (isError) return addresses.own6;
  throw new Drop('drop-v4-no-map-source', answer(3, 10));
}

/** LSRR or SSRR whose pointer is not behind its last address (RFC 791 section 3.1). */
function hasUnexpiredSourceRoute(options: Uint8Array): boolean {
  for (let at = 0; at < options.length; ) {
    const type = options[at]!;
    if (type === 0) return false;
    if (type === 1) {
      at += 1;
      continue;
    }
    const length = options[at + 1] ?? 0;
    if ((type === 131 || type === 137) && options[at + 2]! <= length) return true;
    if (length < 2) return false;
    at += length;
  }
  return false;
}

function answerOwn(gateway: Gateway, packet: Packet4, answer: Answer): Frame[] {
  const { addresses } = gateway;
  const { payload } = packet;
  if (addresses.isNever4(packet.source)) throw new Drop('drop-v4-address');
  if (addresses.isForgedPool(packet.source)) throw new Drop('drop-v4-source-in-pool4');
  const isFragment = packet.mf || packet.offset > 0;
  const isEcho = packet.protocol === ICMP4 && !isFragment && payload.length >= 8 && payload[0] === 8;
  if (!isEcho) throw new Drop('drop-self', packet.protocol === ICMP4 ? [] : answer(3, 2));
  return [echoReply4(gateway, packet)];
}

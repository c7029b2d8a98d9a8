/** An IPv6 frame: to IPv4, or to another IPv6 host behind the same gateway (RFC 7915 section 5, RFC 7757 section 4). */

import type { Vnet } from '../harness.js';
import { isNever6 } from './addresses.js';
import { type Packet4, type Packet6, parse6, pseudo4, pseudo6, serialize4 } from './bytes.js';
import { emit6 } from './from-ipv4.js';
import { type Chain, ChainError, Drop, type Gateway, walkChain } from './gateway.js';
import { ICMP4, ICMP6, icmp6to4 } from './icmp.js';
import {
  type Frame,
  inspectOffload,
  largestUpper,
  NO_VNET,
  outgoingVnet,
  segmentCount,
  segmentFrame,
  UDP,
} from './offload.js';
import { echoReply6, error6 } from './own-packets.js';
import { carryUpper, hasNoUdpChecksum, requireUpperHeader } from './upper-layers.js';

interface Route {
  readonly destination4: bigint;
  /** The IPv6 host that the IPv4 address stands for, if the packet turns around. */
  readonly hairpin6: bigint | null;
}

/** RFC 7915 section 5.1: without a Fragment header packets up to here may be fragmented on the IPv4 side. */
const LARGEST_WITHOUT_DF = 1260;

export function fromIpv6(gateway: Gateway, raw: Uint8Array, vnet: Vnet): Frame[] {
  const { addresses, settings } = gateway;
  const packet = parse6(raw, false);
  if (packet === null) throw new Drop('drop-v6-malformed');
  let frame: Uint8Array = raw.slice(0, 40 + packet.payloadLength);
  const answer = (type: number, code: number, word = 0) => error6(gateway, frame, packet, type, code, word);

  const isOwn =
    packet.destination === addresses.own6 ||
    (addresses.isInPref64(packet.destination) && addresses.embedded(packet.destination) === addresses.own4);
  if (isOwn) return answerOwn(gateway, packet, answer);
  const { destination4, hairpin6 } = routeOf(gateway, packet, answer);
  const isHairpin = hairpin6 !== null;
  if (packet.hopLimit <= 1) throw new Drop('drop-ttl', answer(3, 0));
  const chain = chainOf(packet, answer);
  const { protocol, fragment, upper: original } = chain;
  const source4 = sourceOf(gateway, packet, chain, answer);

  const isFragment = fragment !== null && (fragment.offset > 0 || fragment.more);
  const fragmentKind = fragment === null ? 'none' : isFragment ? 'real' : 'atomic';
  const offload = inspectOffload(vnet, frame, 40 + chain.length, protocol, fragmentKind);
  frame = offload.frame;
  const isIcmpError = protocol === ICMP6 && !isFragment && original[0]! < 128;
  const largest4 = 20 + largestUpper(offload);

  const df = fragment === null && largest4 > LARGEST_WITHOUT_DF;
  if (isHairpin && !isIcmpError && largest4 + 20 > settings.ipv6Mtu) {
    throw new Drop('drop-too-big', answer(2, 0, settings.ipv6Mtu));
  }
  if (!isHairpin && !isIcmpError && df && largest4 > settings.ipv4Mtu) {
    throw new Drop('drop-too-big', answer(2, 0, Math.max(1280, settings.ipv4Mtu + 20)));
  }
  if (20 + offload.upper.length > 65535) {
    // No length field of IPv4 says as much.
    if (isHairpin) throw new Drop('drop-super-frame');
    if (offload.kind !== 'super') throw new Drop('drop-too-big', answer(2, 0, 65535));
    const segments = segmentFrame(frame, 40 + chain.length, protocol, offload);
    return segments.flatMap((segment) => fromIpv6(gateway, segment, NO_VNET));
  }
  if (isFragment) {
    // What is joined again must fit an IPv4 packet.
    const end = 20 + fragment.offset * 8 + original.length;
    if (end > 65535 || (fragment.more && (original.length === 0 || original.length % 8 !== 0))) {
      throw new Drop('drop-fragment-malformed');
    }
  }

  if (protocol === ICMP4) throw new Drop('drop-protocol');
  const ends = {
    source4,
    destination4,
    source6: packet.source,
    destination6: packet.destination,
  };
  let payload = offload.upper;
  if (protocol === ICMP6) {
    if (isFragment) throw new Drop('drop-icmp-fragment');
    payload = icmp6to4(gateway, payload, ends, isHairpin);
  } else if (!isFragment || fragment.offset === 0) {
    requireUpperHeader(protocol, payload, isFragment);
    const hasNoChecksum = offload.kind === 'plain' && protocol === UDP && hasNoUdpChecksum(payload);
    if (!hasNoChecksum) {
      const limit = isHairpin
        ? settings.ipv6Mtu - 60
        : Math.min(settings.ipv6Mtu - 60, settings.ipv4Mtu - 40);
      payload = carryUpper(
        protocol,
        payload,
        pseudo6(ends.source6, ends.destination6, protocol, payload.length),
        pseudo4(ends.source4, ends.destination4, protocol, payload.length),
        offload.kind,
        settings.mssClamp === 'auto' ? limit : undefined,
      );
    }
  }

  const isLarge = isIcmpError ? 20 + payload.length > LARGEST_WITHOUT_DF : df;
  const count = segmentCount(offload);
  const id = fragment ? fragment.id % 65536 : isLarge ? 0 : gateway.takeIds(count);
  const result: Packet4 = {
    tos: settings.copyTrafficClass ? packet.trafficClass : 0,
    totalLength: 20 + payload.length,
    id,
    df: fragment === null && isLarge,
    mf: fragment?.more ?? false,
    offset: fragment?.offset ?? 0,
    ttl: packet.hopLimit - 1,
    protocol: protocol === ICMP6 ? ICMP4 : protocol,
    source: source4,
    destination: destination4,
    options: new Uint8Array(),
    payload,
  };
  if (isHairpin) {
    if (addresses.isInPref64(hairpin6) && !addresses.isDevice6(hairpin6)) throw new Drop('drop-loop');
    return emit6(
      gateway,
      result,
      { ...offload, upper: payload },
      {
        ...ends,
        source6: addresses.under(source4),
        destination6: hairpin6,
      },
      true,
    );
  }
  return [{ vnet: outgoingVnet(offload, protocol, 4), bytes: serialize4(result) }];
}

type Answer = (type: number, code: number, word?: number) => Frame[];

function routeOf({ addresses }: Gateway, packet: Packet6, answer: Answer): Route {
  const { destination } = packet;
  if (addresses.isInPref64(destination)) {
    const destination4 = addresses.embedded(destination);
    if (addresses.isInPool(destination4) || addresses.explicit6(destination4) !== null) {
      const hairpin6 = addresses.host6(destination4);
      if (hairpin6 === null) throw new Drop('drop-v6-no-map-destination', answer(1, 0));
      return { destination4, hairpin6 };
    }
    const reason = addresses.whyNotRepresentable(destination4);
    if (reason !== null) throw new Drop(reason);
    return { destination4, hairpin6: null };
  }
  if (isNever6(destination)) throw new Drop('drop-v6-address');
  const destination4 = addresses.explicit4(destination);
  if (destination4 === null) throw new Drop('drop-v6-no-map-destination', answer(1, 0));
  return { destination4, hairpin6: null };
}

function chainOf(packet: Packet6, answer: Answer): Chain {
  try {
    return walkChain(packet);
  } catch (error) {
    if (!(error instanceof ChainError)) throw error;
    if (error.kind === 'extension') throw new Drop('drop-extension-header');
    if (error.kind === 'routing') throw new Drop('drop-routing-header', answer(4, 0, error.pointer));
    throw new Drop('drop-v6-malformed');
  }
}

function sourceOf({ addresses }: Gateway, packet: Packet6, chain: Chain, answer: Answer): bigint {
  const { source } = packet;
  const mapped = addresses.host4(source);
  if (mapped !== null) return mapped;
  if (isNever6(source)) throw new Drop('drop-v6-address');
  if (source === addresses.own6) throw new Drop('drop-loop');
  if (addresses.isInPref64(source) && !addresses.isDevice6(source)) {
    if (!addresses.isClat || addresses.isInPref64(packet.destination))
      throw new Drop('drop-v6-source-in-pref64');
    const reason = addresses.whyNoSource4(addresses.embedded(source));
    if (reason !== null) throw new Drop(reason === 'drop-non-global' ? 'drop-v4-no-map-source' : reason);
    return addresses.embedded(source);
  }
  // RFC 6791: a router without a map reports an error from the gateway's address.
  const isFirst = chain.fragment === null || chain.fragment.offset === 0;
  const isError = chain.protocol === ICMP6 && isFirst && chain.upper[0]! < 128;
  const reason = isError ? addresses.whyNoRouter6(source) : addresses.whyNoHost6(source);
  if (reason !== null) throw new Drop(reason);
  if (isError) return addresses.errorSource4(source);
  if (addresses.pool4 === null) throw new Drop('drop-v6-no-map-source', answer(1, 5));
  throw new Drop('hold');
}

function answerOwn(gateway: Gateway, packet: Packet6, answer: Answer): Frame[] {
  if (isNever6(packet.source)) throw new Drop('drop-v6-address');
  const refusal = gateway.addresses.whyNoHost6(packet.source);
  if (refusal !== null) throw new Drop(refusal);
  const chain = chainOf(packet, answer);
  const { protocol, fragment, upper, protocolAt } = chain;
  const isEcho = protocol === ICMP6 && fragment === null && upper.length >= 8 && upper[0] === 128;
  if (isEcho) return [echoReply6(gateway, packet, upper)];
  throw new Drop('drop-self', protocol === ICMP6 ? [] : answer(4, 1, protocolAt));
}

/** ICMP messages in transit (RFC 7915 sections 4.2, 4.3, 5.2, 5.3), each built anew with a whole checksum. */
import {
  bytesOf,
  carriedChecksum,
  checksum,
  concat,
  fragmentHeader,
  onesSum,
  parse4,
  parse6,
  pseudo4,
  pseudo6,
  serialize4,
  serialize6,
  u16,
  u32,
  withU16,
} from './bytes.js';
import { type Chain, Drop, type Gateway, joinBody, splitBody, walkChain } from './gateway.js';
import { error4to6, error6to4 } from './icmp-types.js';
import { UDP } from './offload.js';
import { message4, message6 } from './own-packets.js';
import { carryUpper, hasNoUdpChecksum } from './upper-layers.js';

export const ICMP4 = 1;
export const ICMP6 = 58;
/** RFC 7915 section 4.1: IPv6 extension headers and ICMPv6 mean nothing as IPv4 protocols. */
export const PROTOCOLS_NOT_PASSED_4 = [0, 43, 44, ICMP6, 60];

const ECHO_TYPES_4TO6 = new Map([
  [8, 128],
  [0, 129],
]);
const ECHO_TYPES_6TO4 = new Map([
  [128, 8],
  [129, 0],
]);
const MAX_MESSAGE_4 = 576 - 20;
const MAX_MESSAGE_6 = 1280 - 40;

/** The addresses of a packet in both families. */
export interface Ends {
  readonly source4: bigint;
  readonly destination4: bigint;
  readonly source6: bigint;
  readonly destination6: bigint;
}

export const isHairpinLimit = (isHairpin: boolean, limit: number): number =>
  isHairpin ? Number.POSITIVE_INFINITY : limit;

/** Echo, whole or quoted and cut; `length` is the whole message's by the IP header. */
function echo6to4(message: Uint8Array, type: number, ends: Ends, length: number): Uint8Array {
  const before = concat(pseudo6(ends.source6, ends.destination6, ICMP6, length), withU16(message, 2, 0));
  const result = concat(Uint8Array.of(type), message.subarray(1));
  if (message.length < 4) return result;
  return withU16(result, 2, carriedChecksum(u16(message, 2), before, withU16(result, 2, 0)));
}

function echo4to6(message: Uint8Array, type: number, ends: Ends, length: number): Uint8Array {
  const result = concat(Uint8Array.of(type), message.subarray(1));
  if (message.length < 4) return result;
  const after = concat(pseudo6(ends.source6, ends.destination6, ICMP6, length), withU16(result, 2, 0));
  return withU16(result, 2, carriedChecksum(u16(message, 2), withU16(message, 2, 0), after));
}

/** An ICMPv6 message as an ICMPv4 one. */
export function icmp6to4(gateway: Gateway, message: Uint8Array, ends: Ends, isHairpin: boolean): Uint8Array {
  if (message.length < 8) throw new Drop('drop-upper-layer-truncated');
  const [type, code] = message as unknown as [number, number];
  const echoType = ECHO_TYPES_6TO4.get(type);
  if (echoType !== undefined) return echo6to4(message, echoType, ends, message.length);
  const pseudo = pseudo6(ends.source6, ends.destination6, ICMP6, message.length);
  if (onesSum(concat(pseudo, message)) !== 0xffff) throw new Drop('drop-icmp-checksum');

  const mtus = {
    ipv6Mtu: gateway.settings.ipv6Mtu,
    ipv4Mtu: isHairpinLimit(isHairpin, gateway.settings.ipv4Mtu),
  };
  const hasLength = type === 1 || type === 3;
  const word = u32(message, 4);
  const body = splitBody(message.slice(8), hasLength ? message[4]! * 8 : 0);
  const convert = (quoted: { total: number; isFragment: boolean }) => {
    const result = error6to4(type, code, word, mtus, quoted);
    if (result === null) throw new Drop('drop-icmp-type');
    return result;
  };
  if (message.length < 8 + 40) {
    convert({ total: 0, isFragment: false });
    throw new Drop('drop-icmp-quote');
  }
  const { packet, chain } = parseQuote6(body.quote);
  const result = convert({ total: packet.payloadLength + 40, isFragment: chain.fragment !== null });
  const quote = quote6to4(gateway, body.quote, ends);
  const joined = joinBody(
    { quote, extensions: result.keepsExtensions ? body.extensions : new Uint8Array() },
    4,
    isHairpinLimit(isHairpin, MAX_MESSAGE_4 - 8),
  );
  const rest = bytesOf(result.word + joined.length * 65536, 4);
  return message4(result.type, result.code, concat(rest, joined.bytes));
}

function parseQuote6(quote: Uint8Array) {
  const packet = parse6(quote, true);
  if (packet === null) throw new Drop('drop-icmp-quote');
  let chain: Chain;
  try {
    chain = walkChain(packet);
  } catch {
    throw new Drop('drop-icmp-quote');
  }
  return { packet, chain };
}

/** The packet from the IPv4 host that gets the error to the IPv6 host, as that IPv4 host had sent it. */
function quote6to4(gateway: Gateway, quote: Uint8Array, outer: Ends): Uint8Array {
  const { addresses, settings } = gateway;
  const { packet, chain } = parseQuote6(quote);
  const { protocol, fragment } = chain;
  // The same IPv4 host by the same maps: suffix bits of the two may differ (RFC 6052 section 2.2).
  const quotedSource4 = addresses.isInPref64(packet.source)
    ? addresses.embedded(packet.source)
    : addresses.explicit4(packet.source);
  if (quotedSource4 !== outer.destination4) throw new Drop('drop-icmp-quote-mismatch');
  const source4 = outer.destination4;
  const isByClat =
    addresses.isClat && !addresses.isInPref64(packet.source) && addresses.isInPref64(packet.destination);
  const destination4 = isByClat
    ? addresses.embedded(packet.destination)
    : addresses.host4(packet.destination);
  if (destination4 === null) throw new Drop('drop-icmp-quote-mismatch');
  if (protocol === ICMP4) throw new Drop('drop-icmp-quote');

  const upperLength = packet.payloadLength - chain.length;
  const totalLength = 20 + upperLength;
  const ends = { source4, destination4, source6: packet.source, destination6: packet.destination };
  let payload = chain.upper;
  const showsUpper = fragment === null || fragment.offset === 0;
  if (protocol === ICMP6) {
    if (showsUpper && payload.length > 0) {
      const type = ECHO_TYPES_6TO4.get(payload[0]!);
      if (type === undefined) throw new Drop('drop-icmp-quote');
      payload = echo6to4(payload, type, ends, upperLength);
    }
  } else if (showsUpper && !(protocol === UDP && hasNoUdpChecksum(payload))) {
    const before = pseudo6(ends.source6, ends.destination6, protocol, upperLength);
    const after = pseudo4(source4, destination4, protocol, upperLength);
    payload = carryUpper(protocol, payload, before, after, 'plain');
  }
  return serialize4({
    tos: settings.copyTrafficClass ? packet.trafficClass : 0,
    totalLength,
    id: fragment ? fragment.id % 65536 : 0,
    df: fragment === null && totalLength > 1260,
    mf: fragment?.more ?? false,
    offset: fragment?.offset ?? 0,
    ttl: packet.hopLimit,
    protocol: protocol === ICMP6 ? ICMP4 : protocol,
    source: source4,
    destination: destination4,
    payload,
  });
}

/** An ICMPv4 message as an ICMPv6 one. `fromHairpin`: it has been one before. */
export function icmp4to6(
  gateway: Gateway,
  message: Uint8Array,
  ends: Ends,
  fromHairpin: boolean,
): Uint8Array {
  if (message.length < 8) throw new Drop('drop-upper-layer-truncated');
  const [type, code] = message as unknown as [number, number];
  const echoType = ECHO_TYPES_4TO6.get(type);
  if (echoType !== undefined) return echo4to6(message, echoType, ends, message.length);
  if (checksum(message) !== 0) throw new Drop('drop-icmp-checksum');
  if (message.length < 8 + 20) throw new Drop('drop-icmp-quote');

  const mtus = {
    ipv6Mtu: gateway.settings.ipv6Mtu,
    ipv4Mtu: isHairpinLimit(fromHairpin, gateway.settings.ipv4Mtu),
  };
  const hasLength = type === 3 || type === 11 || type === 12;
  const body = splitBody(message.slice(8), hasLength ? message[5]! * 4 : 0);
  const quoted = parse4(body.quote, true);
  const result = error4to6(type, code, u32(message, 4), mtus, {
    total: u16(body.quote, 2),
    isFragment: quoted !== null && (quoted.mf || quoted.offset > 0),
  });
  if (result === null) throw new Drop('drop-icmp-type');
  const quote = quote4to6(gateway, body.quote, ends, fromHairpin);
  const joined = joinBody(
    { quote, extensions: result.keepsExtensions ? body.extensions : new Uint8Array() },
    8,
    MAX_MESSAGE_6 - 8,
  );
  const rest = bytesOf(result.word + joined.length * 2 ** 24, 4);
  return message6(ends.source6, ends.destination6, result.type, result.code, concat(rest, joined.bytes));
}

/** The packet from the IPv6 host that gets the error to the IPv4 host, as that IPv6 host had sent it. */
function quote4to6(gateway: Gateway, quote: Uint8Array, outer: Ends, fromHairpin: boolean): Uint8Array {
  const { addresses, settings } = gateway;
  const packet = parse4(quote, true);
  if (packet === null) throw new Drop('drop-icmp-quote');
  const { protocol } = packet;
  if (packet.source !== outer.destination4) throw new Drop('drop-icmp-quote-mismatch');
  const isOurs = addresses.host6(packet.source) !== null;
  if (!isOurs && !addresses.isByClat(packet.destination, packet.source)) {
    throw new Drop('drop-icmp-quote-mismatch');
  }
  const destination6 = quotedDestination6(gateway, packet.destination, fromHairpin);
  if (destination6 === null) throw new Drop('drop-icmp-quote-mismatch');
  if (PROTOCOLS_NOT_PASSED_4.includes(protocol)) throw new Drop('drop-icmp-quote');

  const upperLength = packet.totalLength - 20 - packet.options.length;
  const isFragment = packet.mf || packet.offset > 0;
  const ends = {
    source4: packet.source,
    destination4: packet.destination,
    source6: outer.destination6,
    destination6,
  };
  let payload = packet.payload;
  if (protocol === ICMP4) {
    if (packet.offset === 0 && payload.length > 0) {
      const type = ECHO_TYPES_4TO6.get(payload[0]!);
      if (type === undefined) throw new Drop('drop-icmp-quote');
      payload = echo4to6(payload, type, ends, upperLength);
    }
  } else if (packet.offset === 0) {
    const before = pseudo4(ends.source4, ends.destination4, protocol, upperLength);
    const after = pseudo6(ends.source6, ends.destination6, protocol, upperLength);
    if (!(protocol === UDP && hasNoUdpChecksum(payload)))
      payload = carryUpper(protocol, payload, before, after, 'plain');
  }
  const nextHeader = protocol === ICMP4 ? ICMP6 : protocol;
  const extension = isFragment
    ? fragmentHeader(nextHeader, { id: packet.id, offset: packet.offset, more: packet.mf })
    : new Uint8Array();
  return serialize6({
    trafficClass: settings.copyTrafficClass ? packet.tos : 0,
    flowLabel: 0,
    payloadLength: upperLength + extension.length,
    nextHeader: isFragment ? 44 : nextHeader,
    hopLimit: packet.ttl,
    source: outer.destination6,
    destination: destination6,
    payload: concat(extension, payload),
  });
}

/** The IPv6 address under which the host had sent to `ipv4`; null if it could not. */
function quotedDestination6(gateway: Gateway, ipv4: bigint, fromHairpin: boolean): bigint | null {
  const { addresses } = gateway;
  if (fromHairpin) return addresses.under(ipv4);
  return addresses.explicit6(ipv4) ?? (addresses.whyNoSource4(ipv4) === null ? addresses.under(ipv4) : null);
}

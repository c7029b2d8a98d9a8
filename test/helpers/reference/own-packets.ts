/** What the gateway sends by itself: ICMP errors (RFC 792, RFC 4443) and answers to pings. */
import { isNoHost4, isNoHost6 } from './addresses.js';
import {
  bytesOf,
  carriedChecksum,
  checksum,
  concat,
  type Packet4,
  type Packet6,
  pseudo6,
  serialize4,
  serialize6,
  u16,
  withU16,
} from './bytes.js';
import { type Gateway, walkChain } from './gateway.js';
import { type Frame, NO_VNET } from './offload.js';

const ICMP4 = 1;
const ICMP6 = 58;
/** RFC 1122 section 3.2.2: destination unreachable, source quench, redirect, time exceeded, parameter problem. */
const ERROR_TYPES_4 = [3, 4, 5, 11, 12];
const REDIRECT_6 = 137;

export const isError4 = (type: number | undefined): boolean =>
  type !== undefined && ERROR_TYPES_4.includes(type);
export const isError6 = (type: number | undefined): boolean =>
  type !== undefined && (type < 128 || type === REDIRECT_6);

/** An ICMPv4 message with its checksum. */
export function message4(type: number, code: number, rest: Uint8Array): Uint8Array {
  const message = concat(Uint8Array.of(type, code, 0, 0), rest);
  return withU16(message, 2, checksum(message));
}

/** An ICMPv6 message with its checksum. */
export function message6(source: bigint, destination: bigint, type: number, code: number, rest: Uint8Array) {
  const message = concat(Uint8Array.of(type, code, 0, 0), rest);
  return withU16(message, 2, checksum(concat(pseudo6(source, destination, ICMP6, message.length), message)));
}

function own4(gateway: Gateway, destination: bigint, tos: number, payload: Uint8Array): Frame {
  const bytes = serialize4({
    tos,
    totalLength: 20 + payload.length,
    id: gateway.takeIds(1),
    df: false,
    mf: false,
    offset: 0,
    ttl: 64,
    protocol: ICMP4,
    source: gateway.addresses.own4,
    destination,
    payload,
  });
  return { vnet: NO_VNET, bytes };
}

function own6(
  gateway: Gateway,
  destination: bigint,
  traffic: Pick<Packet6, 'trafficClass' | 'flowLabel'>,
  payload: Uint8Array,
  source = gateway.addresses.own6,
): Frame {
  const bytes = serialize6({
    trafficClass: traffic.trafficClass,
    flowLabel: traffic.flowLabel,
    payloadLength: payload.length,
    nextHeader: ICMP6,
    hopLimit: 64,
    source,
    destination,
    payload,
  });
  return { vnet: NO_VNET, bytes };
}

/** An ICMPv4 error about `offender`; nothing where RFC 1122 section 3.2.2 forbids one. */
export function error4(
  gateway: Gateway,
  frame: Uint8Array,
  offender: Packet4,
  type: number,
  code: number,
  word: number,
): Frame[] {
  // An ICMP message that does not show its type might be an error.
  const [type0 = 3] = offender.payload;
  if (offender.offset > 0 || (offender.protocol === ICMP4 && isError4(type0))) return [];
  if (isNoHost4(offender.source) || isNoHost4(offender.destination)) return [];
  if (gateway.addresses.isForgedPool(offender.source)) return [];
  const body = concat(bytesOf(word, 4), frame.subarray(0, 576 - 28));
  return [own4(gateway, offender.source, 0xc0, message4(type, code, body))];
}

/** An ICMPv6 error about `offender`; nothing where RFC 4443 section 2.4 (e) forbids one. */
export function error6(
  gateway: Gateway,
  frame: Uint8Array,
  offender: Packet6,
  type: number,
  code: number,
  word: number,
): Frame[] {
  if (isNoHost6(offender.source) || isAboutError6(offender)) return [];
  if (gateway.addresses.whyNoHost6(offender.source) !== null) return [];
  const body = concat(bytesOf(word, 4), frame.subarray(0, 1280 - 48));
  const { own6: source } = gateway.addresses;
  return [
    own6(
      gateway,
      offender.source,
      { trafficClass: 0, flowLabel: 0 },
      message6(source, offender.source, type, code, body),
    ),
  ];
}

/** An error, or so cut that nobody can tell. */
function isAboutError6(offender: Packet6): boolean {
  try {
    const chain = walkChain(withoutSegmentsLeft(offender));
    if (chain.fragment && chain.fragment.offset > 0) return true;
    return chain.protocol === ICMP6 && isError6(chain.upper[0] ?? 1);
  } catch {
    return true;
  }
}

/** A routing header does not hide what is behind it. */
function withoutSegmentsLeft(packet: Packet6): Packet6 {
  const payload = packet.payload.slice();
  let next = packet.nextHeader;
  for (let at = 0; [0, 43, 44, 60].includes(next) && at + 8 <= payload.length; ) {
    if (next === 43) payload[at + 3] = 0;
    const length = next === 44 ? 8 : (payload[at + 1]! + 1) * 8;
    next = payload[at]!;
    at += length;
  }
  return { ...packet, payload };
}

/** The answer to an echo request to the gateway's own address. */
export function echoReply4(gateway: Gateway, request: Packet4): Frame {
  return own4(gateway, request.source, request.tos, echoed(request.payload, 0, new Uint8Array()));
}

export function echoReply6(gateway: Gateway, request: Packet6, message: Uint8Array): Frame {
  // The pseudo-header sums to the same both ways.
  const pseudo = pseudo6(request.source, request.destination, ICMP6, message.length);
  return own6(gateway, request.source, request, echoed(message, 129, pseudo), request.destination);
}

/** The request as a reply: damaged if it was. */
function echoed(request: Uint8Array, type: number, pseudo: Uint8Array): Uint8Array {
  const reply = concat(Uint8Array.of(type), request.subarray(1));
  const field = carriedChecksum(
    u16(request, 2),
    concat(pseudo, withU16(request, 2, 0)),
    concat(pseudo, withU16(reply, 2, 0)),
  );
  return withU16(reply, 2, field);
}

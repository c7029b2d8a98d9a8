/** What all steps of the reference share: settings, addresses, identifications, and how a frame is refused. */
import type { CounterName } from '#nat64d/shm/counters.js';
import type { TranslatorSettings } from '#nat64d/shm/worker-task.js';
import type { Addresses } from './addresses.js';
import { bytesOf, concat, type Fragment6, type Packet6, u16, u32 } from './bytes.js';
import type { Frame } from './offload.js';

export interface Gateway {
  readonly settings: TranslatorSettings;
  readonly addresses: Addresses;
  /** The generator of IPv4 identifications: `used` of them are gone after this one is given. */
  takeIds(used: number): number;
}

/** Ends the translation of a frame: with the counter it counts in, and what is sent nevertheless. */
export class Drop extends Error {
  readonly verdict: CounterName | 'hold';
  readonly frames: Frame[];

  constructor(verdict: CounterName | 'hold', frames: Frame[] = []) {
    super(verdict);
    this.verdict = verdict;
    this.frames = frames;
  }
}

/** Why an extension chain cannot be translated; `pointer` at the segments-left byte, from the IPv6 header on. */
export class ChainError extends Error {
  readonly kind: 'malformed' | 'routing' | 'extension';
  readonly pointer: number;

  constructor(kind: ChainError['kind'], pointer = 0) {
    super(kind);
    this.kind = kind;
    this.pointer = pointer;
  }
}

export interface Chain {
  readonly protocol: number;
  /** Bytes of extension headers. */
  readonly length: number;
  readonly fragment: Fragment6 | null;
  readonly upper: Uint8Array;
  /** Where the next-header byte lies that names the protocol, from the IPv6 header on. */
  readonly protocolAt: number;
}

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const DESTINATION_OPTIONS = 60;
const SKIPPED = [HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS];
/** Authentication, Mobility, HIP, Shim6: no IPv4 packet could carry them as fragments of an upper layer (RFC 7915 section 5.1.1). */
const EXTENSIONS = [...SKIPPED, 51, 135, 139, 140];

/** Walks the extension headers (RFC 7915 section 5.1); throws a ChainError. */
export function walkChain(packet: Packet6): Chain {
  const { payload } = packet;
  let protocol = packet.nextHeader;
  let at = 0;
  let protocolAt = 6;
  let segmentsLeftAt = 0;
  let fragment: Fragment6 | null = null;
  for (;;) {
    if (fragment && EXTENSIONS.includes(protocol)) throw new ChainError('extension');
    if (!SKIPPED.includes(protocol)) break;
    if (at + 8 > payload.length) throw new ChainError('malformed');
    const length = protocol === FRAGMENT ? 8 : (payload[at + 1]! + 1) * 8;
    if (at + length > payload.length) throw new ChainError('malformed');
    if (protocol === ROUTING && payload[at + 3] !== 0) segmentsLeftAt ||= 40 + at + 3;
    if (protocol === FRAGMENT) {
      const field = u16(payload, at + 2);
      fragment = { offset: field >> 3, more: (field & 1) === 1, id: u32(payload, at + 4) };
    }
    protocol = payload[at]!;
    protocolAt = 40 + at;
    at += length;
  }
  if (segmentsLeftAt > 0) throw new ChainError('routing', segmentsLeftAt);
  return { protocol, length: at, fragment, upper: payload.slice(at), protocolAt };
}

/** RFC 4884: what an ICMP error quotes and the extension structure behind it. */
export interface Body {
  readonly quote: Uint8Array;
  readonly extensions: Uint8Array;
}

const MINIMUM_ORIGINAL_DATAGRAM = 128;

/** Splits what follows the 8 bytes of an ICMP error by its length attribute, in bytes (0: none). */
export function splitBody(body: Uint8Array, length: number): Body {
  const hasExtensions = length > 0 && length < body.length;
  const end = hasExtensions ? length : body.length;
  return { quote: body.slice(0, end), extensions: body.slice(end) };
}

/** Joins both again: `unit` is that of the length attribute in bytes, `max` what fits. Returns the body and the attribute. */
export function joinBody(body: Body, unit: number, max: number): { bytes: Uint8Array; length: number } {
  const { quote, extensions } = body;
  const room = Math.floor((max - extensions.length) / unit) * unit;
  if (extensions.length === 0 || room < MINIMUM_ORIGINAL_DATAGRAM) {
    return { bytes: quote.slice(0, max), length: 0 };
  }
  const kept = quote.slice(0, room);
  const padded = Math.max(Math.ceil(kept.length / unit) * unit, MINIMUM_ORIGINAL_DATAGRAM);
  return { bytes: concat(kept, bytesOf(0, padded - kept.length), extensions), length: padded / unit };
}

/**
 * EDNS (RFC 6891): our own OPT towards each side. Nothing in an OPT is relayed but extended errors (RFC 8914).
 *
 *   name 0 | type 41 | class: UDP payload size | ttl: extended rcode(8) version(8) DO(1) Z(15) | rdlength | {code, length, data}…
 */
import { get16, set16 } from '../../wire/bytes.js';
import { type DnsMessage, FLAG_RCODE, TYPE_OPT } from './message.js';

/** What we announce and the most we send over UDP: fits an IPv6 packet of 1280 bytes with headers (DNS flag day 2020). */
export const UDP_PAYLOAD = 1232;
/** What a client without EDNS takes (RFC 1035 section 4.2.1). */
export const UDP_PAYLOAD_MINIMUM = 512;
export const OPT_SIZE = 11;
const DNSSEC_OK = 0x8000;
export const OPTION_COOKIE = 10;
const OPTION_EXTENDED_ERROR = 15;

/** Extended error codes, RFC 8914 section 4; "Synthesized" is from its registry. */
export const EDE_STALE_ANSWER = 3;
export const EDE_CACHED_ERROR = 13;
export const EDE_STALE_NXDOMAIN = 19;
export const EDE_NO_REACHABLE_AUTHORITY = 22;
export const EDE_NETWORK_ERROR = 23;
export const EDE_SYNTHESIZED = 29;
/** Those by which an upstream says that DNSSEC validation failed: RFC 8914 and its registry. */
const EDE_DNSSEC_FAILED: ReadonlySet<number> = new Set([1, 2, 5, 6, 7, 8, 9, 10, 11, 12, 25, 27]);

export interface Edns {
  /** Never below 512 (RFC 6891 section 6.2.3). */
  readonly udpSize: number;
  readonly version: number;
  readonly dnssecOk: boolean;
}

/** What a message's OPT says, or null without one. */
export function ednsOf(message: DnsMessage): Edns | null {
  const { opt } = message;
  if (opt === null) return null;
  return {
    udpSize: Math.max(opt.class, UDP_PAYLOAD_MINIMUM),
    version: (opt.ttl >>> 16) & 0xff,
    dnssecOk: (opt.ttl & DNSSEC_OK) !== 0,
  };
}

/** The response code, with the upper eight bits from the OPT. */
export function rcodeOf(message: DnsMessage): number {
  const upper = message.opt === null ? 0 : message.opt.ttl >>> 24;
  return (upper << 4) | (message.flags & FLAG_RCODE);
}

/** An OPT record of ours. */
export function optRecord(rcode: number, dnssecOk: boolean, options: Buffer): Buffer {
  const opt = Buffer.alloc(OPT_SIZE + options.length);
  set16(opt, 1, TYPE_OPT);
  set16(opt, 3, UDP_PAYLOAD);
  opt[5] = rcode >>> 4;
  set16(opt, 7, dnssecOk ? DNSSEC_OK : 0);
  set16(opt, 9, options.length);
  opt.set(options, OPT_SIZE);
  return opt;
}

/** An extended error option without text. */
export function extendedError(code: number): Buffer {
  const option = Buffer.alloc(6);
  set16(option, 0, OPTION_EXTENDED_ERROR);
  set16(option, 2, 2);
  set16(option, 4, code);
  return option;
}

/** The extended error options of a message, each with its code and length in front. */
export function extendedErrorsOf(message: DnsMessage): Buffer[] {
  const { opt, bytes } = message;
  if (opt === null) return [];
  const found: Buffer[] = [];
  const end = opt.rdataAt + opt.rdataLength;
  for (let at = opt.rdataAt; at < end; ) {
    const next = at + 4 + get16(bytes, at + 2);
    if (get16(bytes, at) === OPTION_EXTENDED_ERROR && next >= at + 6) found.push(bytes.subarray(at, next));
    at = next;
  }
  return found;
}

/** Whether an error answer says that the data failed DNSSEC validation: bogus data must not be replaced by synthesized data. */
export function saysDnssecFailed(message: DnsMessage): boolean {
  return extendedErrorsOf(message).some((option) => EDE_DNSSEC_FAILED.has(get16(option, 4)));
}

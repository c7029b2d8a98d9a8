/**
 * Names whose answers follow from our prefixes: PTR of synthesized addresses (RFC 6147 section 5.3.1) and ipv4only.arpa, by which
 * clients learn the prefix (RFC 7050, RFC 8880).
 */
import { type Address6, formatAddress4, type Prefix6, prefix6Contains } from '../../wire/address.js';
import { embedAddress, extractAddress } from '../../wire/rfc6052.js';
import { rcodeOf } from './edns.js';
import {
  ANSWER,
  AUTHORITY,
  CLASS_IN,
  type DnsMessage,
  FLAG_AA,
  FLAG_CD,
  isAtOrBelow,
  nameOf,
  RCODE_NOERROR,
  RCODE_NXDOMAIN,
  TYPE_A,
  TYPE_AAAA,
  TYPE_ANY,
  TYPE_CNAME,
  TYPE_DS,
  TYPE_OPT,
  TYPE_PTR,
  TYPE_SOA,
} from './message.js';
import { errorReply, type Query, type Reply, writtenReply } from './query.js';
import { addressBytes } from './synthesize.js';
import { MessageWriter } from './writer.js';

const IPV4ONLY = nameOf('ipv4only.arpa');
/** RFC 7050 section 2.2: the Well-Known IPv4 Addresses. */
const WELL_KNOWN_IPV4: readonly number[] = [0xc00000aa, 0xc00000ab];
const WELL_KNOWN_REVERSE: readonly string[] = WELL_KNOWN_IPV4.map(reverseName4);
/** Short enough that clients notice a new prefix within the hour. */
const LOCAL_TTL_SEC = 3600;
const NEGATIVE_TTL_SEC = 600;
/** A PTR record of a whole IPv6 address: 32 labels of one nibble, then ip6.arpa. */
const NIBBLES = 32;
const IP6_ARPA = nameOf('ip6.arpa');

/** `d.c.b.a.in-addr.arpa` of a.b.c.d. */
export function reverseName4(ipv4: number): string {
  return nameOf(`${formatAddress4(ipv4).split('.').reverse().join('.')}.in-addr.arpa`);
}

/** The address that a folded name under ip6.arpa stands for, or null if it is not the name of a whole address. */
export function parseReverse6(name: string): Address6 | null {
  if (name.length !== 2 * NIBBLES + IP6_ARPA.length || !name.endsWith(IP6_ARPA)) return null;
  const words = [0, 0, 0, 0];
  for (let i = 0; i < NIBBLES; i++) {
    const nibble = '0123456789abcdef'.indexOf(name[2 * i + 1] as string);
    if (name.charCodeAt(2 * i) !== 1 || nibble < 0) return null;
    // The first label is the last nibble of the address.
    words[3 - (i >> 3)]! |= nibble << (4 * (i & 7));
  }
  return words as unknown as Address6;
}

function writeSoa(writer: MessageWriter, zone: string): void {
  const numbers = Buffer.alloc(20);
  for (const [i, value] of [1, 7200, 3600, 86400, NEGATIVE_TTL_SEC].entries())
    numbers.writeUInt32BE(value, 4 * i);
  // RFC 2308 section 3: the negative answer carries the zone's SOA. Server and mailbox by RFC 6303 section 3.
  const rdata = Buffer.concat([Buffer.from(`${zone}${nameOf('nobody.invalid')}`, 'latin1'), numbers]);
  writer.record(zone, TYPE_SOA, CLASS_IN, NEGATIVE_TTL_SEC, rdata, AUTHORITY);
}

function negative(query: Query, rcode: number, zone: string): Reply {
  const writer = new MessageWriter(FLAG_AA, query.question);
  writeSoa(writer, zone);
  return writtenReply(query, writer, rcode);
}

/** A PTR query for an address under one of our prefixes. */
export interface Reverse4 {
  readonly kind: 'ipv4';
  readonly ipv4: number;
  /** The folded name of the prefix under ip6.arpa. */
  readonly zone: string;
}
export type ReverseMatch =
  | Reverse4
  /** The address embeds none: we know that the name does not exist. */
  | { readonly kind: 'nothing'; readonly reply: Reply };

/** RFC 6147 section 5.3.1: whether the name of a PTR query lies under a prefix. */
export function matchReverse(query: Query, prefixes: readonly Prefix6[]): ReverseMatch | null {
  const address = query.qtype === TYPE_PTR ? parseReverse6(query.name) : null;
  const prefix = address === null ? undefined : prefixes.find((one) => prefix6Contains(one, address));
  if (address === null || prefix === undefined) return null;
  const zone = query.name.slice(2 * (NIBBLES - prefix.length / 4));
  const ipv4 = extractAddress(prefix.length, address);
  // RFC 6052 section 2.2: the u octet and the suffix of every address that we make are zero.
  if (embedAddress(prefix, ipv4).some((word, i) => word !== address[i])) {
    return { kind: 'nothing', reply: negative(query, RCODE_NXDOMAIN, zone) };
  }
  return { kind: 'ipv4', ipv4, zone };
}

/**
 * RFC 6147 section 5.3.1.2: a CNAME to the in-addr.arpa name, and what was found there. The CNAME only if there is a PTR:
 * otherwise the name has no answer.
 */
export function reverseReply(query: Query, match: Reverse4, found: DnsMessage): Reply {
  const first = found.records.find((record) => record.section === ANSWER);
  const hasPtr = found.records.some((record) => record.section === ANSWER && record.type === TYPE_PTR);
  if (first === undefined || !hasPtr) {
    const rcode = rcodeOf(found);
    const knownAbsent = rcode === RCODE_NOERROR || rcode === RCODE_NXDOMAIN;
    return knownAbsent ? negative(query, rcode, match.zone) : errorReply(query, rcode);
  }
  const writer = new MessageWriter(0, query.question);
  const owner = query.question.toString('latin1', 0, query.question.length - 4);
  writer.nameRecord(owner, TYPE_CNAME, CLASS_IN, first.ttl, reverseName4(match.ipv4), ANSWER);
  for (const record of found.records) if (record.type !== TYPE_OPT) writer.copy(found, record);
  return writtenReply(query, writer, RCODE_NOERROR);
}

/** The question for the PTR of an IPv4 address. */
export function reverseQuestion(ipv4: number): Buffer {
  return Buffer.from(
    `${reverseName4(ipv4)}\0${String.fromCharCode(TYPE_PTR)}\0${String.fromCharCode(CLASS_IN)}`,
    'latin1',
  );
}

/** Answers from nobody but ourselves: ipv4only.arpa and its reverse names (RFC 8880 section 7). Null: not such a name. */
export function localReply(query: Query, pref64s: readonly Prefix6[]): Reply | null {
  if (query.qclass !== CLASS_IN) return null;
  const reversed = WELL_KNOWN_REVERSE.find((zone) => isAtOrBelow(query.name, zone));
  const zone = isAtOrBelow(query.name, IPV4ONLY) ? IPV4ONLY : reversed;
  if (zone === undefined) return null;
  // The parent zone answers DS: with it, a validator learns that these zones are not signed.
  if (query.qtype === TYPE_DS && query.name === zone) return null;
  if (query.name !== zone) return negative(query, RCODE_NXDOMAIN, zone);
  const writer = new MessageWriter(FLAG_AA, query.question);
  const owner = query.question.toString('latin1', 0, query.question.length - 4);
  const asks = (type: number) => query.qtype === type || query.qtype === TYPE_ANY;
  let found = false;
  if (zone !== IPV4ONLY) {
    found = asks(TYPE_PTR);
    if (found) writer.nameRecord(owner, TYPE_PTR, CLASS_IN, LOCAL_TTL_SEC, IPV4ONLY, ANSWER);
  } else if (asks(TYPE_A)) {
    found = true;
    for (const ipv4 of WELL_KNOWN_IPV4) {
      const rdata = Buffer.alloc(4);
      rdata.writeUInt32BE(ipv4);
      writer.record(owner, TYPE_A, CLASS_IN, LOCAL_TTL_SEC, rdata, ANSWER);
    }
  } else if (query.qtype === TYPE_AAAA && (query.flags & FLAG_CD) === 0) {
    // RFC 7050 section 3: a client that wants the prefix leaves CD clear. Each prefix in use is shown.
    found = true;
    for (const pref64 of pref64s) {
      for (const ipv4 of WELL_KNOWN_IPV4) {
        writer.record(
          owner,
          TYPE_AAAA,
          CLASS_IN,
          LOCAL_TTL_SEC,
          addressBytes(embedAddress(pref64, ipv4)),
          ANSWER,
        );
      }
    }
  }
  return found ? writtenReply(query, writer, RCODE_NOERROR) : negative(query, RCODE_NOERROR, zone);
}

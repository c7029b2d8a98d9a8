/** PTR of synthesized addresses, RFC 6147 section 5.3.1; and of 6to4 addresses, as totd has it. */
import { type Address6, formatAddress4, prefix6Contains } from '../../wire/address.js';
import { embedAddress, extractAddress } from '../../wire/rfc6052.js';
import { rcodeOf } from './edns.js';
import { negativeReply } from './local-zones.js';
import {
  ANSWER,
  CLASS_IN,
  type DnsMessage,
  nameOf,
  RCODE_NOERROR,
  RCODE_NXDOMAIN,
  readName,
  TYPE_CNAME,
  TYPE_OPT,
  TYPE_PTR,
} from './message.js';
import type { Policy } from './policy.js';
import { errorReply, type Query, type Reply, writtenReply } from './query.js';
import { MessageWriter } from './writer.js';

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

/** The name of a whole address under ip6.arpa. */
export function reverseName6(address: Address6): string {
  let name = '';
  for (let i = 0; i < NIBBLES; i++) {
    name += `\x01${(((address[3 - (i >> 3)] as number) >>> (4 * (i & 7))) & 15).toString(16)}`;
  }
  return `${name}${IP6_ARPA}`;
}

/** A PTR query for an address that embeds an IPv4 one. */
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

const zoneOf = (name: string, length: number) => name.slice(2 * (NIBBLES - length / 4));

/** RFC 6147 section 5.3.1: whether the name of a PTR query lies under a prefix. */
export function matchReverse(query: Query, policy: Policy): ReverseMatch | null {
  if (policy.reverse === 'off' || query.qtype !== TYPE_PTR) return null;
  const address = parseReverse6(query.name);
  if (address === null) return null;
  const prefix = policy.reversePrefixes.find((one) => prefix6Contains(one, address));
  if (prefix === undefined) return null;
  const zone = zoneOf(query.name, prefix.length);
  const ipv4 = extractAddress(prefix.length, address);
  // RFC 6052 section 2.2: the u octet and the suffix of every address that we make are zero.
  if (embedAddress(prefix, ipv4).some((word, i) => word !== address[i])) {
    return { kind: 'nothing', reply: negativeReply(query, RCODE_NXDOMAIN, zone) };
  }
  return { kind: 'ipv4', ipv4, zone };
}

/** RFC 3056 section 2: the IPv4 address that the name of a PTR query under 2002::/16 holds, if that is to be looked for. */
export function match6to4(query: Query, policy: Policy): Reverse4 | null {
  if (!policy.reverse6to4 || query.qtype !== TYPE_PTR) return null;
  const address = parseReverse6(query.name);
  if (address === null || address[0] >>> 16 !== 0x2002) return null;
  return {
    kind: 'ipv4',
    ipv4: ((address[0] << 16) | (address[1] >>> 16)) >>> 0,
    zone: zoneOf(query.name, 16),
  };
}

/** Whether an answer holds a PTR, at the end of whatever chain. */
export function hasPtr(answer: DnsMessage): boolean {
  return answer.records.some((record) => record.section === ANSWER && record.type === TYPE_PTR);
}

/**
 * RFC 6147 section 5.3.1.2: a CNAME to the in-addr.arpa name, and what was found there. The CNAME only if there is a PTR:
 * otherwise the name has no answer. Or, as totd does, the PTR under the name that was asked for.
 */
export function reverseReply(query: Query, match: Reverse4, found: DnsMessage, policy: Policy): Reply {
  const first = found.records.find((record) => record.section === ANSWER);
  if (first === undefined || !hasPtr(found)) {
    const rcode = rcodeOf(found);
    const knownAbsent = rcode === RCODE_NOERROR || rcode === RCODE_NXDOMAIN;
    return knownAbsent ? negativeReply(query, rcode, match.zone) : errorReply(query, rcode);
  }
  const writer = new MessageWriter(0, query.question);
  const owner = query.question.toString('latin1', 0, query.question.length - 4);
  if (policy.reverse === 'rewrite') {
    const answers = found.records.filter((record) => record.section === ANSWER);
    const ttl = Math.min(...answers.map((record) => record.ttl));
    for (const record of answers) {
      if (record.type !== TYPE_PTR) continue;
      const target = readName(found.bytes, record.rdataAt);
      writer.nameRecord(owner, TYPE_PTR, CLASS_IN, ttl, target, ANSWER);
    }
  } else {
    writer.nameRecord(owner, TYPE_CNAME, CLASS_IN, first.ttl, reverseName4(match.ipv4), ANSWER);
  }
  for (const record of found.records) {
    const isRewritten = policy.reverse === 'rewrite' && record.section === ANSWER;
    if (record.type !== TYPE_OPT && !isRewritten) writer.copy(found, record);
  }
  return writtenReply(query, writer, RCODE_NOERROR);
}

/** The question for the PTR records of a name. */
export function ptrQuestion(name: string): Buffer {
  return Buffer.from(`${name}\0${String.fromCharCode(TYPE_PTR)}\0${String.fromCharCode(CLASS_IN)}`, 'latin1');
}

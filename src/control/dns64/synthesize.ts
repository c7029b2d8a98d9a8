/**
 * DNS64, RFC 6147 section 5.1: when an AAAA answer is replaced by a synthesized one, and how. Pure: messages in, messages out.
 */
import {
  type Address6,
  address6At,
  type Prefix6,
  prefix4Contains,
  prefix6Contains,
  prefixes6Overlap,
} from '../../wire/address.js';
import { embedAddress, isNonGlobal4, WELL_KNOWN_PREFIX } from '../../wire/rfc6052.js';
import type { Pref64Config } from '../config/types.js';
import { rcodeOf, saysDnssecFailed } from './edns.js';
import {
  ADDITIONAL,
  ANSWER,
  AUTHORITY,
  CLASS_IN,
  DNS_HEADER,
  type DnsMessage,
  type DnsRecord,
  foldName,
  isAtOrBelow,
  RCODE_NOERROR,
  RCODE_NXDOMAIN,
  readName,
  TYPE_A,
  TYPE_AAAA,
  TYPE_CNAME,
  TYPE_DNAME,
  TYPE_OPT,
  TYPE_RRSIG,
  TYPE_SOA,
} from './message.js';
import type { Policy } from './policy.js';
import { passOn, type Query, type Reply, writtenReply } from './query.js';
import { MessageWriter } from './writer.js';

/** Aliases followed in one answer: more than any resolver follows, and loops end. */
const MAX_CHAIN = 64;

/** RFC 6147 section 5.1.7: where the negative answer has no SOA. */
const TTL_WITHOUT_SOA_SEC = 600;

/** What an answer to an AAAA query leads to. */
export type AaaaVerdict = 'pass' | 'filter' | 'ask-a';

/**
 * RFC 6147 sections 5.1.1 to 5.1.4.
 * @param answer null: nothing came in time, which counts as a server failure (5.1.3).
 */
export function judgeAaaa(query: Query, answer: DnsMessage | null, policy: Policy): AaaaVerdict {
  // 5.1.3, "Dealing with Timeouts".
  if (answer === null) return 'ask-a';
  const rcode = rcodeOf(answer);
  // 5.1.2: a name that does not exist has no A either.
  if (rcode === RCODE_NXDOMAIN) return 'pass';
  // 5.1.2: any other error is treated as an empty answer. What failed validation is not to be replaced.
  if (rcode !== RCODE_NOERROR) return saysDnssecFailed(answer) ? 'pass' : 'ask-a';
  if (isKeptSigned(query, answer, policy)) return 'pass';
  if (policy.ignoreAaaa.has(query.name)) return 'ask-a';
  // 5.1.1 and 5.1.4.
  const all = terminalRecords(answer, TYPE_AAAA);
  const excluded = all.filter((record) => isExcluded(answer, record, policy));
  if (excluded.length === all.length) return 'ask-a';
  return excluded.length === 0 ? 'pass' : 'filter';
}

/** 5.5: whether the client could check this data itself, and is not to be given other. */
export function isKeptSigned(query: Query, answer: DnsMessage, policy: Policy): boolean {
  if (policy.breakDnssec || query.edns?.dnssecOk !== true) return false;
  return answer.records.some((record) => record.type === TYPE_RRSIG && record.section !== ADDITIONAL);
}

/** 5.1.4: an AAAA answer without its excluded addresses. The RRset is no longer the one that was signed. */
export function filterAaaa(query: Query, answer: DnsMessage, policy: Policy): Reply {
  const isGone = (record: DnsRecord) =>
    isExcluded(answer, record, policy) || coversType(answer, record, TYPE_AAAA);
  if (!answer.records.some(isGone)) return passOn(query, answer);
  const writer = new MessageWriter(0, query.question);
  for (const record of answer.records) {
    if (record.type !== TYPE_OPT && !isGone(record)) writer.copy(answer, record);
  }
  return writtenReply(query, writer, rcodeOf(answer));
}

/**
 * RFC 6147 section 5.1.6 and 5.1.7: the answer made from an A answer.
 * @param aaaa the answer to the AAAA query, null if none came
 * @param turn counts up with each response made for this policy: which prefix it is the turn of
 * @returns null if no A record can be represented: then the AAAA answer stands as it was.
 */
export function synthesize(
  query: Query,
  aaaa: DnsMessage | null,
  a: DnsMessage,
  turn: number,
  policy: Policy,
): Reply | null {
  if (rcodeOf(a) !== RCODE_NOERROR || isKeptSigned(query, a, policy)) return null;
  const ttlLimit = negativeTtlSec(aaaa);
  const last = terminalRecords(a, TYPE_A);
  const prefixes = prefixesOf(
    last.map((record) => ipv4Of(a, record)),
    turn,
    policy,
  );
  if (prefixes.every((some) => some.length === 0)) return null;
  const usable = new Map(last.map((record, i) => [record, prefixes[i] as readonly Prefix6[]]));
  // AA and AD are clear: we are no authority, and nobody signed this (5.5).
  const writer = new MessageWriter(0, query.question);
  for (const record of a.records) {
    const some = usable.get(record);
    if (some !== undefined) {
      // 5.1.7: owner and class from the A record, TTL the lesser, RDATA as RFC 6052 says.
      for (const prefix of some) {
        writer.record(
          readName(a.bytes, record.nameAt),
          TYPE_AAAA,
          CLASS_IN,
          Math.min(record.ttl, ttlLimit),
          addressBytes(embedAddress(prefix, ipv4Of(a, record))),
          ANSWER,
        );
      }
    } else if (record.section === ANSWER) {
      // 5.1.5: the chain that led to the A record, in its order. The A records go, and so do their signatures.
      if (record.type !== TYPE_A && !coversType(a, record, TYPE_A)) writer.copy(a, record);
    } else if (record.type !== TYPE_OPT) {
      // 5.3.2: authority and additional as they came with the A; no synthesis there.
      writer.copy(a, record);
    }
  }
  return writtenReply(query, writer, RCODE_NOERROR);
}

/** 5.2: the prefixes under which each of these addresses is shown, none where it must not be. */
export function prefixesOf(ipv4s: readonly number[], turn: number, policy: Policy): readonly Prefix6[][] {
  const { pref64s, choice } = policy;
  const under = (one: Pref64Config | undefined, ipv4: number) =>
    one !== undefined && mayRepresent(ipv4, one, policy) ? [one.prefix] : [];
  if (choice === 'round-robin') {
    // One prefix for the whole response: the next that can represent any of it.
    const inTurn = pref64s.map((_, i) => pref64s[(turn + i) % pref64s.length] as Pref64Config);
    const one = inTurn.find((candidate) => ipv4s.some((ipv4) => mayRepresent(ipv4, candidate, policy)));
    return ipv4s.map((ipv4) => under(one, ipv4));
  }
  return ipv4s.map((ipv4) => {
    const all = pref64s.flatMap((one) => under(one, ipv4));
    return choice === 'all' ? all : all.slice(0, 1);
  });
}

/** 5.1.7: how long the absence of an AAAA may be believed, by its SOA (RFC 2308 section 5); 600 without one. Seconds. */
export function negativeTtlSec(aaaa: DnsMessage | null): number {
  const soa = aaaa?.records.find((record) => record.section === AUTHORITY && record.type === TYPE_SOA);
  if (aaaa === null || soa === undefined) return TTL_WITHOUT_SOA_SEC;
  const minimum = aaaa.bytes.readUInt32BE(soa.rdataAt + soa.rdataLength - 4);
  return Math.min(soa.ttl, minimum > 0x7fffffff ? 0 : minimum);
}

/** By the data plane's own list of what is not global; 192.0.0.170 and .171 of RFC 7050 are not on it. */
function mayRepresent(ipv4: number, { prefix, ipv4: ranges }: Pref64Config, policy: Policy): boolean {
  if (ranges.length > 0 && !ranges.some((range) => prefix4Contains(range, ipv4))) return false;
  return !isExcludedIpv4(ipv4, policy) && !isKeptFrom(prefix, ipv4, policy);
}

/** Whether `exclude-ipv4` has it. */
export function isExcludedIpv4(ipv4: number, policy: Policy): boolean {
  return policy.excludedIpv4.some((range) => prefix4Contains(range, ipv4));
}

/** RFC 6052 section 3.1. */
export function isKeptFrom(prefix: Prefix6, ipv4: number, policy: Policy): boolean {
  return policy.wkpfStrict && prefixes6Overlap(prefix, WELL_KNOWN_PREFIX) && isNonGlobal4(ipv4);
}

function isExcluded(message: DnsMessage, record: DnsRecord, policy: Policy): boolean {
  if (record.section !== ANSWER || record.type !== TYPE_AAAA || record.class !== CLASS_IN) return false;
  return isExcludedAddress(addressOf(message, record), policy);
}

/** 5.1.4. */
export function isExcludedAddress(address: Address6, policy: Policy): boolean {
  return policy.excludedAaaa.some((prefix) => prefix6Contains(prefix, address));
}

/** Whether a record of the answer section is a signature over records of `type` (RFC 4034 section 3.1.1). */
export function coversType(message: DnsMessage, record: DnsRecord, type: number): boolean {
  return (
    record.section === ANSWER &&
    record.type === TYPE_RRSIG &&
    record.rdataLength >= 2 &&
    message.bytes.readUInt16BE(record.rdataAt) === type
  );
}

export function ipv4Of(message: DnsMessage, record: DnsRecord): number {
  return message.bytes.readUInt32BE(record.rdataAt);
}

/** The address in an AAAA record. */
export function addressOf(message: DnsMessage, record: DnsRecord): Address6 {
  return address6At(message.bytes, record.rdataAt);
}

export function addressBytes(address: Address6): Buffer {
  const bytes = Buffer.allocUnsafe(16);
  for (const [i, word] of address.entries()) bytes.writeInt32BE(word, 4 * i);
  return bytes;
}

/** 5.1.5: the records of `type` at the end of the chain of CNAME and DNAME records that begins at the question's name. */
export function terminalRecords(message: DnsMessage, type: number): DnsRecord[] {
  const wanted: DnsRecord[] = [];
  const cnames = new Map<string, DnsRecord>();
  const dnames: [string, DnsRecord][] = [];
  const owner = (record: DnsRecord) => foldName(readName(message.bytes, record.nameAt));
  const target = (record: DnsRecord) => foldName(readName(message.bytes, record.rdataAt));
  for (const record of message.records) {
    if (record.section !== ANSWER || record.class !== CLASS_IN) continue;
    if (record.type === type) wanted.push(record);
    else if (record.type === TYPE_CNAME) cnames.set(owner(record), record);
    else if (record.type === TYPE_DNAME) dnames.push([owner(record), record]);
  }
  if (wanted.length === 0 || message.questionCount !== 1) return [];
  let name = foldName(readName(message.bytes, DNS_HEADER));
  for (let step = 0; step < MAX_CHAIN; step++) {
    const cname = cnames.get(name);
    if (cname !== undefined) {
      cnames.delete(name);
      name = target(cname);
      continue;
    }
    // A DNAME comes with the CNAME it implies (RFC 6672 section 3.1); servers of RFC 2672 could leave it out.
    const index = dnames.findIndex(([zone]) => name !== zone && isAtOrBelow(name, zone));
    if (index < 0) break;
    const [[zone, dname]] = dnames.splice(index, 1) as [[string, DnsRecord]];
    name = name.slice(0, -zone.length) + target(dname);
  }
  return wanted.filter((record) => owner(record) === name);
}

/**
 * DNS64, RFC 6147 section 5.1: when an AAAA answer is replaced by a synthesized one, and how. Pure: messages in, messages out.
 */
import {
  type Address6,
  type Prefix6,
  parsePrefix6,
  prefix6Contains,
  prefixes6Overlap,
} from '../../wire/address.js';
import { embedAddress, isNonGlobal4, WELL_KNOWN_PREFIX } from '../../wire/rfc6052.js';
import { rcodeOf, saysDnssecFailed } from './edns.js';
import {
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
import { passOn, type Query, type Reply, writtenReply } from './query.js';
import { MessageWriter } from './writer.js';

/** Aliases followed in one answer: more than any resolver follows, and loops end. */
const MAX_CHAIN = 64;

/** RFC 6147 section 5.1.7: where the negative answer has no SOA. */
const TTL_WITHOUT_SOA_SEC = 600;

export interface SynthesisPolicy {
  /** Prefixes in use, at least one; each response takes one of them, in turn. */
  readonly pref64s: readonly Prefix6[];
  /** AAAA in these are treated as absent (RFC 6147 section 5.1.4). */
  readonly excludedAaaa: readonly Prefix6[];
  /** Whether the Well-Known Prefix may not represent non-global IPv4 addresses (RFC 6052 section 3.1): as the data plane does. */
  readonly wkpfStrict: boolean;
}

/** RFC 6147 section 5.1.4: ::ffff:0:0/96 is excluded by default; and nobody else's answer may lead into our prefixes. */
export function defaultExclusions(pref64s: readonly Prefix6[]): Prefix6[] {
  return [parsePrefix6('::ffff:0:0/96') as Prefix6, WELL_KNOWN_PREFIX, ...pref64s];
}

/** What an answer to an AAAA query leads to. */
export type AaaaVerdict = 'pass' | 'filter' | 'ask-a';

/**
 * RFC 6147 sections 5.1.1 to 5.1.4.
 * @param answer null: nothing came in time, which counts as a server failure (5.1.3).
 */
export function judgeAaaa(answer: DnsMessage | null, policy: SynthesisPolicy): AaaaVerdict {
  // 5.1.3, "Dealing with Timeouts".
  if (answer === null) return 'ask-a';
  const rcode = rcodeOf(answer);
  // 5.1.2: a name that does not exist has no A either.
  if (rcode === RCODE_NXDOMAIN) return 'pass';
  // 5.1.2: any other error is treated as an empty answer. What failed validation is not to be replaced.
  if (rcode !== RCODE_NOERROR) return saysDnssecFailed(answer) ? 'pass' : 'ask-a';
  // 5.1.1 and 5.1.4.
  const all = terminalRecords(answer, TYPE_AAAA);
  const excluded = all.filter((record) => isExcluded(answer, record, policy));
  if (excluded.length === all.length) return 'ask-a';
  return excluded.length === 0 ? 'pass' : 'filter';
}

/** 5.1.4: an AAAA answer without its excluded addresses. The RRset is no longer the one that was signed. */
export function filterAaaa(query: Query, answer: DnsMessage, policy: SynthesisPolicy): Reply {
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
 * @param pref64 the prefix of this response
 * @returns null if no A record can be represented: then the AAAA answer stands as it was.
 */
export function synthesize(
  query: Query,
  aaaa: DnsMessage | null,
  a: DnsMessage,
  pref64: Prefix6,
  policy: SynthesisPolicy,
): Reply | null {
  if (rcodeOf(a) !== RCODE_NOERROR) return null;
  const ttlLimit = negativeTtlSec(aaaa);
  const usable = new Set(
    terminalRecords(a, TYPE_A).filter((record) => mayRepresent(ipv4Of(a, record), pref64, policy)),
  );
  if (usable.size === 0) return null;
  // AA and AD are clear: we are no authority, and nobody signed this (5.5).
  const writer = new MessageWriter(0, query.question);
  for (const record of a.records) {
    if (usable.has(record)) {
      // 5.1.7: owner and class from the A record, TTL the lesser, RDATA as RFC 6052 says.
      writer.record(
        readName(a.bytes, record.nameAt),
        TYPE_AAAA,
        CLASS_IN,
        Math.min(record.ttl, ttlLimit),
        addressBytes(embedAddress(pref64, ipv4Of(a, record))),
        ANSWER,
      );
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

/** 5.1.7: how long the absence of an AAAA may be believed, by its SOA (RFC 2308 section 5). Seconds. */
function negativeTtlSec(aaaa: DnsMessage | null): number {
  const soa = aaaa?.records.find((record) => record.section === AUTHORITY && record.type === TYPE_SOA);
  if (aaaa === null || soa === undefined) return TTL_WITHOUT_SOA_SEC;
  const minimum = aaaa.bytes.readUInt32BE(soa.rdataAt + soa.rdataLength - 4);
  return Math.min(soa.ttl, minimum > 0x7fffffff ? 0 : minimum);
}

/** RFC 6052 section 3.1, by the data plane's own list; 192.0.0.170 and .171 of RFC 7050 are not on it. */
function mayRepresent(ipv4: number, pref64: Prefix6, policy: SynthesisPolicy): boolean {
  return !(policy.wkpfStrict && prefixes6Overlap(pref64, WELL_KNOWN_PREFIX) && isNonGlobal4(ipv4));
}

function isExcluded(message: DnsMessage, record: DnsRecord, policy: SynthesisPolicy): boolean {
  if (record.section !== ANSWER || record.type !== TYPE_AAAA || record.class !== CLASS_IN) return false;
  const at = record.rdataAt;
  const word = (i: number) => message.bytes.readInt32BE(at + 4 * i);
  const address: Address6 = [word(0), word(1), word(2), word(3)];
  return policy.excludedAaaa.some((prefix) => prefix6Contains(prefix, address));
}

/** Whether a record of the answer section is a signature over records of `type` (RFC 4034 section 3.1.1). */
function coversType(message: DnsMessage, record: DnsRecord, type: number): boolean {
  return (
    record.section === ANSWER &&
    record.type === TYPE_RRSIG &&
    record.rdataLength >= 2 &&
    message.bytes.readUInt16BE(record.rdataAt) === type
  );
}

function ipv4Of(message: DnsMessage, record: DnsRecord): number {
  return message.bytes.readUInt32BE(record.rdataAt);
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

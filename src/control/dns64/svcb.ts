/**
 * HTTPS and SVCB (RFC 9460): what a client needs beside them. Hints in their parameters are never altered (section 4.2.1: they
 * are signed, and a client without IPv4 does not use them); addresses of the target in the additional section are completed.
 *
 *   RDATA:  priority(16) | TargetName, not compressed | {key(16) length(16) value}…
 */
import type { Prefix6 } from '../../wire/address.js';
import { get16 } from '../../wire/bytes.js';
import { embedAddress } from '../../wire/rfc6052.js';
import { extendedErrorsOf, rcodeOf } from './edns.js';
import {
  ADDITIONAL,
  ANSWER,
  CLASS_IN,
  type DnsMessage,
  type DnsRecord,
  foldName,
  RCODE_NOERROR,
  readName,
  skipName,
  TYPE_A,
  TYPE_AAAA,
  TYPE_CNAME,
  TYPE_OPT,
  TYPE_RRSIG,
} from './message.js';
import type { Policy } from './policy.js';
import { type Query, type Reply, writtenReply } from './query.js';
import {
  addressBytes,
  addressOf,
  ipv4Of,
  isExcludedAddress,
  negativeTtlSec,
  prefixesOf,
} from './synthesize.js';
import { MessageWriter } from './writer.js';

export const TYPE_SVCB = 64;
export const TYPE_HTTPS = 65;

/** Aliases followed from a target. */
const MAX_ALIASES = 16;

/** The folded names whose addresses the records of an answer lead to; '.' stands for the owner (section 2.5). */
function targetsOf(answer: DnsMessage): Set<string> {
  const targets = new Set<string>();
  const { bytes } = answer;
  for (const record of answer.records) {
    if (record.section !== ANSWER || (record.type !== TYPE_SVCB && record.type !== TYPE_HTTPS)) continue;
    const end = record.rdataAt + record.rdataLength;
    const at = record.rdataAt + 2;
    if (record.class !== CLASS_IN || at >= end || skipName(bytes, at, end) < 0) continue;
    const target = foldName(readName(bytes, at));
    const isAlias = get16(bytes, record.rdataAt) === 0;
    // Section 2.5.1: an alias to '.' says that the service is not there.
    if (target !== '\0') targets.add(target);
    else if (!isAlias) targets.add(foldName(readName(bytes, record.nameAt)));
  }
  return targets;
}

const ownerOf = (message: DnsMessage, record: DnsRecord) => foldName(readName(message.bytes, record.nameAt));

/** Adds where the aliases in the additional section lead from these names. */
function follow(answer: DnsMessage, names: Set<string>): void {
  const cnames = new Map<string, string>();
  for (const record of answer.records) {
    if (record.section !== ADDITIONAL || record.type !== TYPE_CNAME) continue;
    cnames.set(ownerOf(answer, record), foldName(readName(answer.bytes, record.rdataAt)));
  }
  for (let step = 0; step < MAX_ALIASES; step++) {
    for (const name of [...names]) {
      const target = cnames.get(name);
      if (target !== undefined) names.add(target);
    }
  }
}

/**
 * RFC 9460 section 4.2.1: the answer with AAAA records made from the A records that its additional section has for a target,
 * where that has no AAAA of its own.
 * @returns null where there is nothing to add: the answer is passed on as it came.
 */
export function withTargetAddresses(
  query: Query,
  answer: DnsMessage,
  turn: number,
  policy: Policy,
): Reply | null {
  if (rcodeOf(answer) !== RCODE_NOERROR) return null;
  const targets = targetsOf(answer);
  if (targets.size === 0) return null;
  follow(answer, targets);
  const beside = answer.records.filter(
    (record) => record.section === ADDITIONAL && record.class === CLASS_IN && record.type !== TYPE_OPT,
  );
  const isGone = (record: DnsRecord) =>
    record.type === TYPE_AAAA && isExcludedAddress(addressOf(answer, record), policy);
  const settled = new Set<string>();
  for (const record of beside) {
    const owner = ownerOf(answer, record);
    if (policy.excludedNames.has(owner)) settled.add(owner);
    if (record.type === TYPE_AAAA && !isGone(record) && !policy.ignoreAaaa.has(owner)) settled.add(owner);
    // 5.5 of RFC 6147: what the client could check is left alone.
    if (record.type === TYPE_RRSIG && !policy.breakDnssec && query.edns?.dnssecOk === true)
      settled.add(owner);
  }
  const made = new Map<string, DnsRecord[]>();
  for (const record of beside) {
    const owner = ownerOf(answer, record);
    if (record.type !== TYPE_A || !targets.has(owner) || settled.has(owner)) continue;
    made.set(owner, [...(made.get(owner) ?? []), record]);
  }
  const records = [...made.values()].flatMap((some) => {
    const prefixes = prefixesOf(
      some.map((record) => ipv4Of(answer, record)),
      turn,
      policy,
    );
    return some.map((record, i) => [record, prefixes[i] as readonly Prefix6[]] as const);
  });
  if (records.every(([, prefixes]) => prefixes.length === 0)) return null;
  // What is asked for is as it came, AD too: that is about the answer and authority sections (RFC 4035 section 3.2.3).
  const writer = new MessageWriter(answer.flags, query.question);
  for (const record of answer.records) {
    const isReplaced =
      record.section === ADDITIONAL && made.has(ownerOf(answer, record)) && record.type === TYPE_AAAA;
    if (record.type !== TYPE_OPT && !isReplaced) writer.copy(answer, record);
  }
  // No negative answer says how long the absence of an AAAA holds.
  const ttlLimit = negativeTtlSec(null);
  for (const [record, prefixes] of records) {
    for (const prefix of prefixes) {
      const rdata = addressBytes(embedAddress(prefix, ipv4Of(answer, record)));
      const ttl = Math.min(record.ttl, ttlLimit);
      writer.record(readName(answer.bytes, record.nameAt), TYPE_AAAA, CLASS_IN, ttl, rdata, ADDITIONAL);
    }
  }
  return { ...writtenReply(query, writer, RCODE_NOERROR), errors: extendedErrorsOf(answer) };
}

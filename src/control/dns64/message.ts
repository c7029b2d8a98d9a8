/**
 * DNS messages in wire form (RFC 1035 section 4), read in place and never decoded into objects of text.
 *
 *   0        2       4         6         8         10        12
 *   | ID     | flags | QDCOUNT | ANCOUNT | NSCOUNT | ARCOUNT | question, answer, authority, additional …
 *
 *   flags:  QR(1) opcode(4) AA TC RD | RA Z AD CD rcode(4)
 *
 * The contract: `parseMessage` checks every name (those in RDATA too), every length and every count. After it succeeded no
 * accessor of this folder fails on the message. Labels are octets (RFC 2181 section 11); a name in memory is its uncompressed
 * wire form as a latin1 string, so that it can be a key of a Map and no octet is lost.
 */
import { get16 } from '../../wire/bytes.js';

export const DNS_HEADER = 12;
export const MAX_MESSAGE = 65535;

export const FLAG_QR = 0x8000;
export const FLAG_OPCODE = 0x7800;
export const FLAG_AA = 0x0400;
export const FLAG_TC = 0x0200;
export const FLAG_RD = 0x0100;
export const FLAG_RA = 0x0080;
export const FLAG_AD = 0x0020;
export const FLAG_CD = 0x0010;
export const FLAG_RCODE = 0x000f;

export const RCODE_NOERROR = 0;
export const RCODE_FORMERR = 1;
export const RCODE_SERVFAIL = 2;
export const RCODE_NXDOMAIN = 3;
export const RCODE_NOTIMP = 4;
export const RCODE_REFUSED = 5;
export const RCODE_BADVERS = 16;

export const CLASS_IN = 1;
export const TYPE_A = 1;
export const TYPE_NS = 2;
export const TYPE_CNAME = 5;
export const TYPE_SOA = 6;
export const TYPE_PTR = 12;
export const TYPE_AAAA = 28;
export const TYPE_DNAME = 39;
export const TYPE_OPT = 41;
export const TYPE_DS = 43;
export const TYPE_RRSIG = 46;
export const TYPE_IXFR = 251;
export const TYPE_AXFR = 252;
export const TYPE_ANY = 255;

export const ANSWER = 0;
export const AUTHORITY = 1;
export const ADDITIONAL = 2;
export type Section = typeof ANSWER | typeof AUTHORITY | typeof ADDITIONAL;

/** Where a record stands. All offsets count from the message's first byte. */
export interface DnsRecord {
  readonly section: Section;
  readonly nameAt: number;
  readonly type: number;
  readonly class: number;
  /** Seconds; 0 where the most significant bit is set (RFC 2181 section 8). Of an OPT: the raw 32 bits, unsigned. */
  readonly ttl: number;
  readonly rdataAt: number;
  readonly rdataLength: number;
}

export interface DnsMessage {
  readonly bytes: Buffer;
  readonly id: number;
  readonly flags: number;
  /** 0 or 1 with `questionEnd` behind it; of a message with more, only the count is known and there are no records. */
  readonly questionCount: number;
  /** First byte behind the question section. */
  readonly questionEnd: number;
  readonly qtype: number;
  readonly qclass: number;
  readonly records: readonly DnsRecord[];
  /** The OPT pseudo-record (RFC 6891), or null. */
  readonly opt: DnsRecord | null;
  /** First byte behind the last record. */
  readonly end: number;
}

/**
 * Where names stand in the RDATA of the types that may hold compressed ones: octets before them, how many, and whether they may
 * be compressed when written (RFC 1035 types only, RFC 3597 section 4). All other RDATA is opaque.
 */
interface RdataNames {
  readonly before: number;
  readonly names: number;
  readonly compress: boolean;
}
const RDATA_NAMES: ReadonlyMap<number, RdataNames> = new Map([
  [TYPE_NS, { before: 0, names: 1, compress: true }],
  [3 /* MD */, { before: 0, names: 1, compress: true }],
  [4 /* MF */, { before: 0, names: 1, compress: true }],
  [TYPE_CNAME, { before: 0, names: 1, compress: true }],
  [TYPE_SOA, { before: 0, names: 2, compress: true }],
  [7 /* MB */, { before: 0, names: 1, compress: true }],
  [8 /* MG */, { before: 0, names: 1, compress: true }],
  [9 /* MR */, { before: 0, names: 1, compress: true }],
  [TYPE_PTR, { before: 0, names: 1, compress: true }],
  [14 /* MINFO */, { before: 0, names: 2, compress: true }],
  [15 /* MX */, { before: 2, names: 1, compress: true }],
  [17 /* RP */, { before: 0, names: 2, compress: false }],
  [18 /* AFSDB */, { before: 2, names: 1, compress: false }],
  [21 /* RT */, { before: 2, names: 1, compress: false }],
  [24 /* SIG */, { before: 18, names: 1, compress: false }],
  [26 /* PX */, { before: 2, names: 2, compress: false }],
  [30 /* NXT */, { before: 0, names: 1, compress: false }],
  [33 /* SRV */, { before: 6, names: 1, compress: false }],
  [36 /* KX */, { before: 2, names: 1, compress: false }],
  [TYPE_DNAME, { before: 0, names: 1, compress: false }],
]);
const TYPE_NAPTR = 35;

/** The names in a record's RDATA. NAPTR (RFC 3403 section 4.1): two 16-bit fields and three character-strings come before its name. */
export function rdataNames(bytes: Uint8Array, type: number, at: number, length: number): RdataNames | null {
  if (type !== TYPE_NAPTR) return RDATA_NAMES.get(type) ?? null;
  let before = 4;
  for (let i = 0; i < 3 && before < length; i++) before += 1 + (bytes[at + before] as number);
  return { before, names: 1, compress: false };
}

/**
 * Checks the name at `at` to its root label, through compression pointers, each of which must point before the place where the
 * pointing name (or its last jump) began: so the walk ends. At most 255 octets (RFC 1035 section 2.3.4).
 * @returns the offset behind the name where it stands (behind its first pointer), or -1 if it is malformed.
 */
export function skipName(bytes: Uint8Array, start: number, limit = bytes.length): number {
  let at = start;
  let floor = start;
  let behind = -1;
  let octets = 0;
  for (;;) {
    if (at >= limit) return -1;
    const length = bytes[at] as number;
    if (length < 64) {
      octets += 1 + length;
      at += 1 + length;
      if (octets > 255) return -1;
      if (length === 0) return behind < 0 ? at : behind;
    } else if (length >= 192 && at + 1 < limit) {
      const target = ((length & 63) << 8) | (bytes[at + 1] as number);
      if (behind < 0) behind = at + 2;
      if (target >= floor || target < DNS_HEADER) return -1;
      floor = target;
      at = target;
    } else {
      return -1; // 01 and 10 are not label types in use (RFC 6891 section 5).
    }
  }
}

/** The uncompressed wire form of a checked name, as latin1. */
export function readName(bytes: Buffer, start: number): string {
  let name = '';
  let from = start;
  let at = start;
  for (;;) {
    const length = bytes[at] as number;
    if (length >= 192) {
      name += bytes.toString('latin1', from, at);
      at = get16(bytes, at) & 0x3fff;
      from = at;
    } else {
      at += 1 + length;
      if (length === 0) return name + bytes.toString('latin1', from, at);
    }
  }
}

/** ASCII letters in lower case, other octets as they are (RFC 4343). Length octets are below 64 and so are never letters. */
export function foldName(name: string): string {
  // Most names have none, and a search costs a third of a replacement.
  if (!/[A-Z]/.test(name)) return name;
  return name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/** The wire form of dotted text without escapes: for names known to this program. */
export function nameOf(text: string): string {
  const labels = text.split('.').filter((label) => label !== '');
  return `${labels.map((label) => String.fromCharCode(label.length) + label).join('')}\0`;
}

/** Whether `name` is `zone` or lies below it; both folded. */
export function isAtOrBelow(name: string, zone: string): boolean {
  if (!name.endsWith(zone)) return false;
  let at = 0;
  while (at < name.length - zone.length) at += 1 + name.charCodeAt(at);
  return at === name.length - zone.length;
}

function checkRdata(bytes: Uint8Array, type: number, cls: number, at: number, length: number): boolean {
  if (cls === CLASS_IN && type === TYPE_A) return length === 4;
  if (cls === CLASS_IN && type === TYPE_AAAA) return length === 16;
  const layout = rdataNames(bytes, type, at, length);
  if (layout === null) return true;
  let next = at + layout.before;
  const end = at + length;
  for (let i = 0; i < layout.names; i++) {
    next = skipName(bytes, next, end);
    if (next < 0 || next > end) return false;
  }
  return type === TYPE_SOA ? end - next === 20 : true;
}

function readRecord(bytes: Buffer, at: number, section: Section): DnsRecord | null {
  const fixed = skipName(bytes, at);
  if (fixed < 0 || fixed + 10 > bytes.length) return null;
  const type = get16(bytes, fixed);
  const cls = get16(bytes, fixed + 2);
  const ttl = bytes.readUInt32BE(fixed + 4);
  const rdataLength = get16(bytes, fixed + 8);
  const rdataAt = fixed + 10;
  if (rdataAt + rdataLength > bytes.length) return null;
  if (!checkRdata(bytes, type, cls, rdataAt, rdataLength)) return null;
  return {
    section,
    nameAt: at,
    type,
    class: cls,
    ttl: ttl > 0x7fffffff && type !== TYPE_OPT ? 0 : ttl,
    rdataAt,
    rdataLength,
  };
}

/** An OPT stands once at most, in Additional, at the root (RFC 6891 section 6.1.1), and its options fill it exactly. */
function checkOpt(bytes: Buffer, opt: DnsRecord): boolean {
  if (opt.section !== ADDITIONAL || bytes[opt.nameAt] !== 0) return false;
  let at = opt.rdataAt;
  const end = opt.rdataAt + opt.rdataLength;
  while (at + 4 <= end) at += 4 + get16(bytes, at + 2);
  return at === end;
}

/**
 * Reads a whole message. Bytes behind the last record are allowed here (`end` tells).
 * @returns null if anything in it is malformed.
 */
export function parseMessage(bytes: Buffer): DnsMessage | null {
  if (bytes.length < DNS_HEADER) return null;
  const questionCount = get16(bytes, 4);
  const id = get16(bytes, 0);
  const flags = get16(bytes, 2);
  let at = DNS_HEADER;
  let qtype = 0;
  let qclass = 0;
  if (questionCount > 1) {
    const end = DNS_HEADER;
    return { bytes, id, flags, questionCount, questionEnd: end, qtype, qclass, records: [], opt: null, end };
  }
  if (questionCount === 1) {
    at = skipName(bytes, at);
    if (at < 0 || at + 4 > bytes.length) return null;
    qtype = get16(bytes, at);
    qclass = get16(bytes, at + 2);
    at += 4;
  }
  const questionEnd = at;
  const records: DnsRecord[] = [];
  let opt: DnsRecord | null = null;
  for (const section of [ANSWER, AUTHORITY, ADDITIONAL] as const) {
    for (let count = get16(bytes, 6 + 2 * section); count > 0; count--) {
      const record = readRecord(bytes, at, section);
      if (record === null) return null;
      if (record.type === TYPE_OPT) {
        if (opt !== null || !checkOpt(bytes, record)) return null;
        opt = record;
      }
      records.push(record);
      at = record.rdataAt + record.rdataLength;
    }
  }
  // Written out: a spread of some fields with others behind it costs microseconds.
  return { bytes, id, flags, questionCount, questionEnd, qtype, qclass, records, opt, end: at };
}

/** Whether a message holds exactly this question: bytes from the name to the class, letter case aside (RFC 4343). */
export function hasQuestion(bytes: Buffer, question: Buffer): boolean {
  if (bytes.length < DNS_HEADER + question.length || get16(bytes, 4) !== 1) return false;
  for (let i = 0; i < question.length; i++) {
    const a = bytes[DNS_HEADER + i] as number;
    const b = question[i] as number;
    if (a === b) continue;
    // The four octets of type and class have no case.
    if ((a ^ b) !== 0x20 || i >= question.length - 4) return false;
    const lower = a | 0x20;
    if (lower < 0x61 || lower > 0x7a) return false;
  }
  return true;
}

/** A client's query: what is checked before anybody is asked, and how its answer is finished. */
import { get16, set16 } from '../../wire/bytes.js';
import {
  type Edns,
  ednsOf,
  extendedErrorsOf,
  OPT_SIZE,
  optRecord,
  rcodeOf,
  UDP_PAYLOAD,
  UDP_PAYLOAD_MINIMUM,
} from './edns.js';
import {
  DNS_HEADER,
  type DnsMessage,
  FLAG_AA,
  FLAG_AD,
  FLAG_CD,
  FLAG_OPCODE,
  FLAG_QR,
  FLAG_RA,
  FLAG_RD,
  FLAG_TC,
  foldName,
  MAX_MESSAGE,
  parseMessage,
  RCODE_BADVERS,
  RCODE_FORMERR,
  RCODE_NOTIMP,
  RCODE_REFUSED,
  RCODE_SERVFAIL,
  readName,
  TYPE_AXFR,
  TYPE_IXFR,
} from './message.js';
import { MessageWriter } from './writer.js';

export interface Query {
  readonly id: number;
  readonly flags: number;
  /** Name, type and class as they came, letter case included. */
  readonly question: Buffer;
  /** The name, folded (see message.ts). */
  readonly name: string;
  readonly qtype: number;
  readonly qclass: number;
  readonly edns: Edns | null;
}

/** An answer before it is fitted to its client: `finishReply` sets id, RD, RA, CD, rcode and OPT. */
export interface Reply {
  /** A message without OPT; of its flags AA and AD count. Owned by the reply. */
  readonly body: Buffer;
  /** With the extended bits. */
  readonly rcode: number;
  /** Extended error options (RFC 8914) for a client that speaks EDNS. */
  readonly errors: readonly Buffer[];
  /**
   * The second (of the resolver's clock) until which whoever asks the same under the same policy gets the same. Absent or 0: it is
   * not to be kept.
   */
  readonly expiresSec?: number;
}

export type Received =
  | { readonly kind: 'query'; readonly query: Query }
  | { readonly kind: 'error'; readonly bytes: Buffer }
  | { readonly kind: 'drop'; readonly reason: 'short' | 'response' };

/** An error answer of a header only, to what could not be read further. */
function headerOnly(id: number, flags: number, rcode: number): Received {
  const bytes = Buffer.alloc(DNS_HEADER);
  set16(bytes, 0, id);
  set16(bytes, 2, FLAG_QR | (flags & (FLAG_OPCODE | FLAG_RD)) | rcode);
  return { kind: 'error', bytes };
}

/** Reads what a client sent. Any bytes end in a query, an error answer or a drop. */
export function receiveQuery(bytes: Buffer): Received {
  // Without the flags one cannot tell a query from a response, and two servers would answer each other for ever.
  if (bytes.length < 4) return { kind: 'drop', reason: 'short' };
  const id = get16(bytes, 0);
  const flags = get16(bytes, 2);
  if ((flags & FLAG_QR) !== 0) return { kind: 'drop', reason: 'response' };
  if ((flags & FLAG_OPCODE) !== 0) return headerOnly(id, flags, RCODE_NOTIMP);
  const message = parseMessage(bytes);
  if (message === null || message.questionCount !== 1 || message.end !== bytes.length) {
    return headerOnly(id, flags, RCODE_FORMERR);
  }
  const query: Query = {
    id,
    flags,
    // The datagram's memory is the next one's; the question is needed until the answer is there.
    question: Buffer.from(bytes.subarray(DNS_HEADER, message.questionEnd)),
    name: foldName(readName(bytes, DNS_HEADER)),
    qtype: message.qtype,
    qclass: message.qclass,
    edns: ednsOf(message),
  };
  if (query.edns !== null && query.edns.version !== 0) return refusal(query, RCODE_BADVERS);
  // A zone transfer is a stream of messages between name servers; a forwarder has no zone.
  if (query.qtype === TYPE_AXFR || query.qtype === TYPE_IXFR) return refusal(query, RCODE_REFUSED);
  return { kind: 'query', query };
}

function refusal(query: Query, rcode: number): Received {
  return { kind: 'error', bytes: finishReply(query, errorReply(query, rcode), UDP_PAYLOAD_MINIMUM) };
}

/** An answer with nothing but the question. */
export function errorReply(query: Query, rcode: number, errors: readonly Buffer[] = []): Reply {
  const body = Buffer.alloc(DNS_HEADER + query.question.length);
  set16(body, 4, 1);
  body.set(query.question, DNS_HEADER);
  return { body, rcode, errors };
}

/** What a writer made, without errors; SERVFAIL if it outgrew a message. */
export function writtenReply(query: Query, writer: MessageWriter, rcode: number): Reply {
  const body = writer.finish();
  return body === null ? errorReply(query, RCODE_SERVFAIL) : { body, rcode, errors: [] };
}

/**
 * An upstream's answer as it is, but for its OPT, which is between it and us (RFC 6891 section 6.2.6), and the question, which is
 * the client's, letter for letter. The question may differ in type from the answer's: its length is the same.
 */
export function passOn(query: Query, answer: DnsMessage): Reply {
  const rcode = rcodeOf(answer);
  const errors = extendedErrorsOf(answer);
  const { opt } = answer;
  if (answer.questionCount !== 1) return errorReply(query, rcode, errors);
  let end = answer.end;
  if (opt !== null) {
    if (opt.rdataAt + opt.rdataLength !== end) {
      // Records behind the OPT may point behind it: write all of it anew.
      const writer = new MessageWriter(answer.flags, query.question);
      for (const record of answer.records) if (record !== opt) writer.copy(answer, record);
      return { ...writtenReply(query, writer, rcode), errors };
    }
    end = opt.nameAt;
  }
  const body = Buffer.from(answer.bytes.subarray(0, end));
  if (opt !== null) set16(body, 10, get16(body, 10) - 1);
  body.set(query.question, DNS_HEADER);
  return { body, rcode, errors };
}

/** The most a client takes over UDP. */
export function udpLimit(query: Query): number {
  return query.edns === null ? UDP_PAYLOAD_MINIMUM : Math.min(query.edns.udpSize, UDP_PAYLOAD);
}

/**
 * The bytes for the client: its id, RD and CD; RA; AD only where it asked for DNSSEC; an OPT where it sent one.
 * @param limit most bytes; beyond, the answer is the question with TC=1 and nothing half (RFC 2181 section 9).
 */
export function finishReply(query: Query, reply: Reply, limit: number): Buffer {
  const { edns } = query;
  let { body, rcode } = reply;
  if (rcode > 15 && edns === null) rcode = RCODE_SERVFAIL;
  let opt = edns === null ? null : optRecord(rcode, edns.dnssecOk, Buffer.concat(reply.errors));
  let kept = FLAG_AA | (edns?.dnssecOk === true ? FLAG_AD : 0);
  let truncated = 0;
  if (body.length + (opt?.length ?? 0) > Math.min(limit, MAX_MESSAGE)) {
    truncated = FLAG_TC;
    kept = 0;
    body = errorReply(query, rcode).body;
    opt = opt?.subarray(0, OPT_SIZE) ?? null;
    if (opt !== null) set16(opt, 9, 0);
  }
  const flags =
    FLAG_QR |
    FLAG_RA |
    truncated |
    (get16(body, 2) & kept) |
    (query.flags & (FLAG_RD | FLAG_CD)) |
    (rcode & 0xf);
  set16(body, 0, query.id);
  set16(body, 2, flags);
  if (opt === null) return body;
  const bytes = Buffer.concat([body, opt]);
  set16(bytes, 10, get16(bytes, 10) + 1);
  return bytes;
}

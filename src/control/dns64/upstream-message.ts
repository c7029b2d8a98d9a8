/** Queries to forwarders and what answers them. */
import { get16, set16 } from '../../wire/bytes.js';
import type { ForwarderConfig } from '../config/types.js';
import { OPT_SIZE, UDP_PAYLOAD } from './edns.js';
import {
  DNS_HEADER,
  type DnsMessage,
  FLAG_CD,
  FLAG_OPCODE,
  FLAG_QR,
  FLAG_RCODE,
  FLAG_RD,
  hasQuestion,
  TYPE_OPT,
} from './message.js';
import { random16 } from './upstream-transport.js';

export interface Question {
  /** Name, type and class in wire form, without compression. */
  readonly question: Buffer;
  /** Of the client's flags, RD and CD are sent on. */
  readonly flags: number;
  readonly dnssecOk: boolean;
}

export type UpstreamFailure = 'no-forwarder' | 'overload' | 'timeout' | 'network' | 'garbage' | 'closed';
export interface UpstreamAnswer {
  /** The answer, which may be an error; null: see `failure`. */
  readonly answer: DnsMessage | null;
  readonly failure: UpstreamFailure | null;
  /** Whose answer it is. */
  readonly forwarder?: ForwarderConfig | undefined;
}

const OPTION_PADDING = 12;
/** RFC 8467 section 4.1: queries are padded to a multiple of this. */
const PADDING_BLOCK = 128;
const DNSSEC_OK = 0x80;

/** A query in wire form, id 0. `padded`: its length tells nothing of the name's. */
export function buildQuery({ question, flags, dnssecOk }: Question, edns: boolean, padded = false): Buffer {
  const plain = DNS_HEADER + question.length;
  const withOption = plain + OPT_SIZE + 4;
  const size = !edns
    ? plain
    : padded
      ? Math.ceil(withOption / PADDING_BLOCK) * PADDING_BLOCK
      : plain + OPT_SIZE;
  const bytes = Buffer.allocUnsafe(size);
  bytes.fill(0, 0, DNS_HEADER);
  set16(bytes, 2, flags & (FLAG_RD | FLAG_CD));
  bytes[5] = 1;
  bytes.set(question, DNS_HEADER);
  if (!edns) return bytes;
  bytes[11] = 1;
  bytes.fill(0, plain);
  set16(bytes, plain + 1, TYPE_OPT);
  set16(bytes, plain + 3, UDP_PAYLOAD);
  bytes[plain + 7] = dnssecOk ? DNSSEC_OK : 0;
  if (padded) {
    set16(bytes, plain + 9, size - plain - OPT_SIZE);
    set16(bytes, plain + OPT_SIZE, OPTION_PADDING);
    set16(bytes, plain + OPT_SIZE + 2, size - withOption);
  }
  return bytes;
}

/** Gives each letter of the query's name a case at random: a forged answer has to guess it. */
export function mixCase(query: Buffer): void {
  let bits = 0;
  let left = 0;
  for (let at = DNS_HEADER; query[at] !== 0; ) {
    const end = at + 1 + (query[at] as number);
    for (at++; at < end; at++) {
      const letter = (query[at] as number) | 0x20;
      if (letter < 0x61 || letter > 0x7a) continue;
      if (left === 0) {
        bits = random16();
        left = 16;
      }
      query[at] = letter ^ ((bits & 1) << 5);
      bits >>= 1;
      left--;
    }
  }
}

/** RFC 5452 section 9.1: what must match besides address, port and id. A server that could not read the query may leave the question out. */
export function isAnswerTo(bytes: Buffer, question: Buffer): boolean {
  if (bytes.length < DNS_HEADER) return false;
  const flags = get16(bytes, 2);
  if ((flags & (FLAG_QR | FLAG_OPCODE)) !== FLAG_QR) return false;
  return hasQuestion(bytes, question) || (get16(bytes, 4) === 0 && (flags & FLAG_RCODE) !== 0);
}

/** Whether the question of an answer (see above) is the query's, letter for letter. */
export function hasCaseOf(bytes: Buffer, query: Buffer, questionLength: number): boolean {
  if (get16(bytes, 4) === 0) return true;
  const end = DNS_HEADER + questionLength;
  return bytes.compare(query, DNS_HEADER, end, DNS_HEADER, end) === 0;
}

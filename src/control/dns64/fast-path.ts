/**
 * Finished answers, synthesized ones too, as octets by policy: a datagram in, a datagram out, in one pass and without an object.
 * What is the least unusual returns 0, and the ordinary way (server.ts) answers; so nothing here decides anything.
 *
 * An answer comes here when it was made a second time from what the cache had, ends when the first thing it was made from ends,
 * and is let go to the ordinary way once near its end, so that the resolver sees that it is popular.
 */
import { get16, set16 } from '../../wire/bytes.js';
import {
  AnswerStore,
  AUX,
  BORN_SEC,
  COUNTS,
  EXPIRES_SEC,
  FLAGS,
  findTtls,
  foundTtls,
  HITS,
  LENGTHS,
  REST,
} from './answer-store.js';
import { flagsKey } from './cache.js';
import type { Clock } from './clock.js';
import { OPT_SIZE, UDP_PAYLOAD, UDP_PAYLOAD_MINIMUM } from './edns.js';
import {
  DNS_HEADER,
  FLAG_AA,
  FLAG_AD,
  FLAG_CD,
  FLAG_QR,
  FLAG_RA,
  FLAG_RD,
  FLAG_TC,
  isAtOrBelow,
  RCODE_NOERROR,
  RCODE_NXDOMAIN,
  TYPE_OPT,
} from './message.js';
import type { Query, Reply } from './query.js';
import { QuestionKey } from './question-key.js';
import { countType, type Dns64Stats } from './stats.js';

/** What kind of answer it was, so that it is counted as what it is. */
export type ReplyKind = 'passed' | 'synthesized' | 'reversed';
const KINDS: readonly ReplyKind[] = ['passed', 'synthesized', 'reversed'];

/** In the owner's word: bits of the kind, and whether the ordinary way had its look near the end. */
const KIND = 3;
const LOOKED = 4;
/** Uses after which an answer is worth that look. */
const POPULAR = 2;

export class FastPath {
  readonly #store: AnswerStore;
  readonly #key = new QuestionKey();

  /** @param sizeBytes memory for the answers; 0: none are kept */
  constructor(
    sizeBytes: number,
    private readonly clock: Clock,
    private readonly stats: Dns64Stats,
  ) {
    this.#store = new AnswerStore(sizeBytes);
  }

  get count(): number {
    return this.#store.count;
  }

  get usedBytes(): number {
    return this.#store.usedBytes;
  }

  /**
   * Answers a client's datagram, if it is a plain question whose answer is here.
   * @param query octets of the datagram from 0 to `length`; unchecked
   * @param policyId of the client's policy, below 2²⁸
   * @param limitForNoEdns most octets to a client without EDNS
   * @param out where the answer is written, from `outOffset`: 1232 octets of room at least; not the memory of `query`
   * @param reserved octets of options that the caller adds behind the answer to a client with EDNS: it is cut as if they were in it
   * @returns octets of the answer, with TC=1 and nothing but the question where it is more than the client takes; 0: not answered
   */
  respond(
    query: Uint8Array,
    length: number,
    policyId: number,
    limitForNoEdns: number,
    out: Uint8Array,
    outOffset: number,
    reserved = 0,
  ): number {
    // QR=0, QUERY, one question, nothing else but an OPT.
    if (length < DNS_HEADER + 5 || ((query[2] as number) & 0xf8) !== 0) return 0;
    if (query[4] !== 0 || query[5] !== 1 || query[10] !== 0) return 0;
    if (((query[6] as number) | (query[7] as number) | (query[8] as number) | (query[9] as number)) !== 0)
      return 0;
    let at = DNS_HEADER;
    let label = query[at] as number;
    while (label !== 0) {
      if (label > 63) return 0;
      at += 1 + label;
      if (at >= length) return 0;
      label = query[at] as number;
    }
    const end = at + 5;
    const size = end - DNS_HEADER;
    if (end > length || size > 259) return 0;

    let limit = limitForNoEdns;
    let dnssecOk = false;
    const edns = query[11] === 1;
    if (edns) {
      if (!isPlainOpt(query, end, length)) return 0;
      limit = Math.min(Math.max(get16(query, end + 3), UDP_PAYLOAD_MINIMUM), UDP_PAYLOAD) - reserved;
      dnssecOk = (query[end + 7] as number) > 127;
    } else if (query[11] !== 0 || end !== length) return 0;

    const queryFlags = get16(query, 2);
    const extra = (policyId << 3) | flagsKey(queryFlags, dnssecOk);
    this.#key.read(query, DNS_HEADER, size, extra);
    const store = this.#store;
    const entry = store.find(this.#key, extra);
    if (entry < 0) return 0;
    const { words } = store;
    const nowSec = this.clock.sec();
    const leftSec = (words[entry + EXPIRES_SEC] as number) - nowSec;
    if (leftSec <= 0) return 0;
    const aux = words[entry + AUX] as number;
    const bornSec = words[entry + BORN_SEC] as number;
    if (
      leftSec * 9 <= nowSec - bornSec &&
      (aux & LOOKED) === 0 &&
      (words[entry + HITS] as number) >= POPULAR
    ) {
      words[entry + AUX] = aux | LOOKED;
      return 0;
    }
    store.touch(entry);
    this.stats.fastHits++;
    countType(this.stats, get16(query, end - 4));
    const kind = aux & KIND;
    if (kind === 0) this.stats.passed++;
    else if (kind === 1) this.stats.synthesized++;
    else this.stats.reversed++;

    const rest = words[entry + REST] as number;
    const restSize = rest >>> 16;
    const optionsSize = rest & 0xffff;
    const whole = DNS_HEADER + size + restSize + (edns ? OPT_SIZE + optionsSize : 0);
    const head = FLAG_QR | FLAG_RA | (queryFlags & (FLAG_RD | FLAG_CD));
    const flags = (words[entry + FLAGS] as number) >>> 16;
    out[outOffset] = query[0] as number;
    out[outOffset + 1] = query[1] as number;
    const question = outOffset + DNS_HEADER;
    for (let i = 0; i < size; i++) out[question + i] = query[DNS_HEADER + i] as number;
    set16(out, outOffset + 4, 1);
    if (whole > limit) {
      this.stats.truncated++;
      set16(out, outOffset + 2, head | FLAG_TC | (flags & 0xf));
      for (let i = 6; i < 11; i++) out[outOffset + i] = 0;
      out[outOffset + 11] = edns ? 1 : 0;
      if (edns) writeOpt(out, question + size, dnssecOk, 0);
      return DNS_HEADER + size + (edns ? OPT_SIZE : 0);
    }
    set16(out, outOffset + 2, head | flags);
    const counts = words[entry + COUNTS] as number;
    set16(out, outOffset + 6, (words[entry + FLAGS] as number) & 0xffff);
    set16(out, outOffset + 8, counts >>> 16);
    set16(out, outOffset + 10, (counts & 0xffff) + (edns ? 1 : 0));
    const { bytes, halves } = store;
    const from = store.restAt(entry);
    const to = question + size;
    for (let i = 0; i < restSize; i++) out[to + i] = bytes[from + i] as number;
    const ageSec = nowSec - bornSec;
    if (ageSec > 0) {
      const ttls = store.ttlsAt(entry);
      const ttlCount = (words[entry + LENGTHS] as number) & 0xffff;
      for (let i = 0; i < ttlCount; i++) countDown(out, to + (halves[ttls + i] as number), ageSec);
    }
    if (edns) {
      writeOpt(out, to + restSize, dnssecOk, optionsSize);
      if (optionsSize > 0) {
        const options = store.optionsAt(entry);
        const optionsTo = to + restSize + OPT_SIZE;
        for (let i = 0; i < optionsSize; i++) out[optionsTo + i] = bytes[options + i] as number;
      }
    }
    return whole;
  }

  /** Keeps an answer that will be given again, before `finishReply` fits it to its client. */
  remember(query: Query, policyId: number, reply: Reply, kind: ReplyKind): void {
    const nowSec = this.clock.sec();
    const { body, rcode, errors } = reply;
    const { question } = query;
    const untilSec = reply.expiresSec ?? 0;
    if (untilSec <= nowSec || body.length > UDP_PAYLOAD) return;
    if (rcode !== RCODE_NOERROR && rcode !== RCODE_NXDOMAIN) return;
    const dnssecOk = query.edns?.dnssecOk === true;
    const extra = (policyId << 3) | flagsKey(query.flags, dnssecOk);
    this.#key.read(question, 0, question.length, extra);
    const { words } = this.#store;
    const from = DNS_HEADER + question.length;
    const counts = [get16(body, 6), get16(body, 8), get16(body, 10)] as const;
    const ttlCount = findTtls(body, from, counts[0] + counts[1] + counts[2]);
    let expiresSec = untilSec;
    for (let i = 0; i < ttlCount; i++) {
      expiresSec = Math.min(expiresSec, nowSec + body.readUInt32BE(from + (foundTtls[i] as number)));
    }
    if (expiresSec <= nowSec) return;
    const old = this.#store.find(this.#key, extra);
    // Near its end an answer is made again: it is the one that is here, and had its look.
    if (old >= 0 && words[old + EXPIRES_SEC] === expiresSec) return;
    const entry = this.#store.insert(this.#key, question.length, extra, nowSec, expiresSec, {
      bytes: body,
      from,
      to: body.length,
      flags: (get16(body, 2) & (FLAG_AA | (dnssecOk ? FLAG_AD : 0))) | rcode,
      counts,
      ttlCount,
      options: Buffer.concat(errors),
    });
    if (entry >= 0) words[entry + AUX] = KINDS.indexOf(kind);
  }

  /** Forgets a name (folded, in wire form) and all below it, for every policy; null: everything. */
  flush(zone: string | null): number {
    const before = this.#store.count;
    if (zone === null) this.#store.clear();
    else {
      for (const entry of this.#store.entries()) {
        const question = this.#store.question(entry);
        if (isAtOrBelow(question.toString('latin1', 0, question.length - 4), zone)) this.#store.remove(entry);
      }
    }
    return before - this.#store.count;
  }
}

/** Whether what stands behind the question is an OPT of version 0 that ends the datagram. Its options are others' affair. */
function isPlainOpt(query: Uint8Array, at: number, length: number): boolean {
  if (at + OPT_SIZE > length || query[at] !== 0 || query[at + 1] !== 0 || query[at + 2] !== TYPE_OPT)
    return false;
  if (query[at + 6] !== 0) return false;
  let option = at + OPT_SIZE;
  if (option + get16(query, at + 9) !== length) return false;
  while (option + 4 <= length) option += 4 + get16(query, option + 2);
  return option === length;
}

function writeOpt(out: Uint8Array, at: number, dnssecOk: boolean, optionsSize: number): void {
  out[at] = 0;
  set16(out, at + 1, TYPE_OPT);
  set16(out, at + 3, UDP_PAYLOAD);
  out[at + 5] = 0;
  out[at + 6] = 0;
  out[at + 7] = dnssecOk ? 0x80 : 0;
  out[at + 8] = 0;
  set16(out, at + 9, optionsSize);
}

/** No record lives shorter than the answer: nothing goes below 0. */
function countDown(out: Uint8Array, at: number, ageSec: number): void {
  const ttl =
    ((out[at] as number) << 24) |
    ((out[at + 1] as number) << 16) |
    ((out[at + 2] as number) << 8) |
    (out[at + 3] as number);
  const left = ttl - ageSec;
  out[at] = left >>> 24;
  out[at + 1] = left >>> 16;
  out[at + 2] = left >>> 8;
  out[at + 3] = left;
}

/**
 * What forwarders said, positive and negative (RFC 2308), and what they failed to say (RFC 9520). Kept as octets: an answer is given
 * again with id, letters of the question and TTLs patched. Times are whole seconds of one clock for all, so that whatever
 * is made of several answers ends when the first of them does.
 */
import { set16 } from '../../wire/bytes.js';
import {
  AnswerStore,
  AUX,
  BORN_SEC,
  COUNTS,
  EXPIRES_SEC,
  EXTRA,
  FLAGS,
  findTtls,
  HITS,
  LENGTHS,
  REST,
} from './answer-store.js';
import { rcodeOf } from './edns.js';
import {
  ANSWER,
  AUTHORITY,
  DNS_HEADER,
  type DnsMessage,
  FLAG_AA,
  FLAG_CD,
  FLAG_RD,
  isAtOrBelow,
  parseMessage,
  RCODE_NXDOMAIN,
  TYPE_ANY,
  TYPE_OPT,
  TYPE_SOA,
} from './message.js';
import { QuestionKey } from './question-key.js';
import type { Question, UpstreamAnswer, UpstreamFailure } from './upstream.js';

/** No answer is believed for longer (RFC 8767 section 4 asks for a cap of days at most). */
const MAX_TTL_SEC = 86400;
/** RFC 2308 section 5: one to three hours. */
const MAX_NEGATIVE_TTL_SEC = 10_800;
/** RFC 9520 section 3.2: a failure is remembered for 5 s at first, at most 5 minutes; a gateway's clients wait for less. */
const FAILURE_SEC = 5;
const MAX_FAILURE_SEC = 60;
/** A failure this long after the last one is a new one. */
const FAILURE_MEMORY_SEC = 300;
/** RFC 8767 section 5: a stale answer's TTL, and how long after a failed try nobody is asked again. */
const STALE_TTL_SEC = 30;
const STALE_RECHECK_SEC = 30;

/** Uses that make an answer popular, and the least life of one that is renewed before its end. */
const PREFETCH_HITS = 2;
const PREFETCH_MIN_SEC = 10;

/** Failures that are remembered, by their number in an entry. 0: the forwarder's own error, whose message is kept. */
const FAILURES: readonly (UpstreamFailure | null)[] = [null, 'timeout', 'network', 'garbage'];
/** The owner's word of an entry: 0 or the second until which a refresh is not tried; of a failure, -1 - number - 16 × times in a row. */
const isFailure = (aux: number) => aux < 0;
const NO_OPTIONS = new Uint8Array(0);

/** What of a query, beside its question, tells answers apart. What RD=0 brought is no answer to RD=1. */
export function flagsKey(flags: number, dnssecOk: boolean): number {
  return (dnssecOk ? 1 : 0) | ((flags & FLAG_CD) !== 0 ? 2 : 0) | ((flags & FLAG_RD) !== 0 ? 4 : 0);
}

export interface Lifetime {
  /** 0: not to be kept. */
  readonly sec: number;
  readonly isNegative: boolean;
}

/** RFC 1035 section 7.4 and RFC 2308 section 5: how long an answer may be given again. */
export function lifetimeOf(answer: DnsMessage): Lifetime {
  let sec = MAX_TTL_SEC;
  let isNegative = rcodeOf(answer) === RCODE_NXDOMAIN;
  let found = false;
  let soaSec = 0;
  for (const record of answer.records) {
    if (record.type === TYPE_OPT) continue;
    sec = Math.min(sec, record.ttl);
    if (record.section === ANSWER) found ||= record.type === answer.qtype || answer.qtype === TYPE_ANY;
    if (record.section === AUTHORITY && record.type === TYPE_SOA) {
      const minimum = answer.bytes.readUInt32BE(record.rdataAt + record.rdataLength - 4);
      soaSec = Math.min(record.ttl, minimum > 0x7fffffff ? 0 : minimum, MAX_NEGATIVE_TTL_SEC);
    }
  }
  isNegative ||= !found;
  // Without a SOA nobody said for how long (RFC 2308 section 5: not to be cached).
  return { sec: isNegative ? Math.min(sec, soaSec) : sec, isNegative };
}

/** What the cache knows of a question. */
export type Known =
  | { readonly kind: 'nothing' }
  /** `isDue`: popular, and at its end soon. */
  | {
      readonly kind: 'fresh';
      readonly answer: DnsMessage;
      readonly expiresSec: number;
      readonly isDue: boolean;
    }
  /** `mayRetry`: the last try to get a new one failed a while ago, or there was none. */
  | { readonly kind: 'stale'; readonly answer: DnsMessage; readonly mayRetry: boolean }
  | { readonly kind: 'failure'; readonly result: UpstreamAnswer; readonly expiresSec: number };

/** An entry as an administrator sees it. */
export interface CacheEntry {
  /** Folded, in wire form (see message.ts). */
  readonly name: string;
  readonly type: number;
  readonly class: number;
  readonly dnssecOk: boolean;
  readonly checkingDisabled: boolean;
  readonly kind: 'positive' | 'negative' | 'failure';
  /** Below 0: stale for so long. */
  readonly ttlSec: number;
  readonly sizeBytes: number;
  readonly hits: number;
}

const NOTHING: Known = { kind: 'nothing' };

export class AnswerCache {
  readonly #store: AnswerStore;
  readonly #key = new QuestionKey();

  /** @param staleSec how long after its time an answer may be given where there is no other (RFC 8767); 0: not */
  constructor(
    sizeBytes: number,
    private readonly staleSec: number,
  ) {
    this.#store = new AnswerStore(sizeBytes, staleSec);
  }

  get count(): number {
    return this.#store.count;
  }

  get usedBytes(): number {
    return this.#store.usedBytes;
  }

  look(question: Question, nowSec: number): Known {
    const entry = this.#find(question);
    if (entry < 0) return NOTHING;
    const { words } = this.#store;
    const expiresSec = words[entry + EXPIRES_SEC] as number;
    const aux = words[entry + AUX] as number;
    if (isFailure(aux)) {
      if (nowSec >= expiresSec) return NOTHING;
      this.#store.touch(entry);
      const failure = FAILURES[(-1 - aux) & 15] ?? null;
      const answer = failure === null ? this.#read(entry, question, 0) : null;
      return { kind: 'failure', result: { answer, failure }, expiresSec };
    }
    if (nowSec < expiresSec) {
      this.#store.touch(entry);
      const bornSec = words[entry + BORN_SEC] as number;
      const answer = this.#read(entry, question, nowSec - bornSec);
      return { kind: 'fresh', answer, expiresSec, isDue: this.#isDue(entry, nowSec) };
    }
    if (nowSec >= expiresSec + this.staleSec) return NOTHING;
    this.#store.touch(entry);
    return { kind: 'stale', answer: this.#read(entry, question, null), mayRetry: nowSec >= aux };
  }

  /**
   * Keeps an answer. Its question is the asked one, letters aside.
   * @returns the second until which it is given again; 0: it is not kept
   */
  keep(question: Question, answer: DnsMessage, nowSec: number): number {
    const { sec, isNegative } = lifetimeOf(answer);
    const expiresSec = nowSec + sec;
    if (sec === 0 || answer.questionCount !== 1) {
      const old = this.#find(question);
      // The old one is older knowledge.
      if (old >= 0) this.#store.remove(old);
      return 0;
    }
    const entry = this.#insert(question, answer, nowSec, expiresSec);
    if (entry < 0) return 0;
    // RFC 2308 section 5: the SOA of a negative answer lives no longer than what it says.
    if (isNegative) this.#limitTtls(entry, sec);
    return expiresSec;
  }

  /** Remembers that a question failed. An answer that is still good, or good where there is no other, stays. */
  fail(question: Question, result: UpstreamAnswer, nowSec: number): void {
    const number = FAILURES.indexOf(result.failure);
    if (number < 0) return;
    const { words } = this.#store;
    const old = this.#find(question);
    let times = 0;
    if (old >= 0) {
      const aux = words[old + AUX] as number;
      const expiresSec = words[old + EXPIRES_SEC] as number;
      if (!isFailure(aux)) {
        if (nowSec < expiresSec + this.staleSec) {
          words[old + AUX] = nowSec + STALE_RECHECK_SEC;
          return;
        }
      } else if (nowSec < expiresSec + FAILURE_MEMORY_SEC) times = (-1 - aux) >> 4;
    }
    const sec = Math.min(FAILURE_SEC * 2 ** Math.min(times, 10), MAX_FAILURE_SEC);
    const answer = result.answer?.questionCount === 1 ? result.answer : null;
    const entry = this.#insert(question, answer, nowSec, nowSec + sec, result.answer?.flags ?? 0);
    if (entry >= 0) words[entry + AUX] = -1 - number - 16 * Math.min(times + 1, 10);
  }

  /** Forgets a name and all below it; null: everything. */
  flush(zone: string | null): number {
    const before = this.#store.count;
    if (zone === null) this.#store.clear();
    else {
      for (const entry of this.#store.entries()) {
        if (isAtOrBelow(this.#nameOf(entry), zone)) this.#store.remove(entry);
      }
    }
    return before - this.#store.count;
  }

  /** The most used entries first, at most `limit`; of a name and all below it, or all. */
  list(limit: number, zone: string | null, nowSec: number): CacheEntry[] {
    const { words } = this.#store;
    const hitsOf = (entry: number) => words[entry + HITS] as number;
    let best: number[] = [];
    const cut = () => {
      best = best.sort((a, b) => hitsOf(b) - hitsOf(a)).slice(0, limit);
    };
    for (const entry of this.#store.entries()) {
      if (zone !== null && !isAtOrBelow(this.#nameOf(entry), zone)) continue;
      best.push(entry);
      if (best.length > 2 * limit) cut();
    }
    cut();
    return best.map((entry) => this.#show(entry, nowSec));
  }

  #show(entry: number, nowSec: number): CacheEntry {
    const { words } = this.#store;
    const question = this.#store.question(entry);
    const extra = words[entry + EXTRA] as number;
    return {
      name: this.#nameOf(entry),
      type: question.readUInt16BE(question.length - 4),
      class: question.readUInt16BE(question.length - 2),
      dnssecOk: (extra & 1) !== 0,
      checkingDisabled: (extra & 2) !== 0,
      kind: this.#kindOf(entry),
      ttlSec: (words[entry + EXPIRES_SEC] as number) - nowSec,
      sizeBytes: this.#store.sizeOf(entry),
      hits: words[entry + HITS] as number,
    };
  }

  #kindOf(entry: number): CacheEntry['kind'] {
    if (isFailure(this.#store.words[entry + AUX] as number)) return 'failure';
    const question = { question: this.#store.question(entry), flags: 0, dnssecOk: false };
    return lifetimeOf(this.#read(entry, question, 0)).isNegative ? 'negative' : 'positive';
  }

  #nameOf(entry: number): string {
    const question = this.#store.question(entry);
    return question.toString('latin1', 0, question.length - 4);
  }

  #find({ question, flags, dnssecOk }: Question): number {
    const extra = flagsKey(flags, dnssecOk);
    this.#key.read(question, 0, question.length, extra);
    return this.#store.find(this.#key, extra);
  }

  /** Under the key that was looked for last. */
  #insert(
    { question, flags, dnssecOk }: Question,
    answer: DnsMessage | null,
    nowSec: number,
    expiresSec: number,
    headFlags = answer?.flags ?? 0,
  ): number {
    const extra = flagsKey(flags, dnssecOk);
    this.#key.read(question, 0, question.length, extra);
    const bytes = answer?.bytes ?? question;
    const from = answer?.questionEnd ?? 0;
    const counts = [0, 0, 0] as [number, number, number];
    for (const { section } of answer?.records ?? []) counts[section]++;
    return this.#store.insert(this.#key, question.length, extra, nowSec, expiresSec, {
      bytes,
      from,
      to: answer?.end ?? 0,
      flags: headFlags,
      counts,
      ttlCount: findTtls(bytes, from, counts[0] + counts[1] + counts[2]),
      options: NO_OPTIONS,
    });
  }

  /** A popular answer in the last tenth of its time, which was no trifle, is worth being asked for before it ends. */
  #isDue(entry: number, nowSec: number): boolean {
    const { words } = this.#store;
    const expiresSec = words[entry + EXPIRES_SEC] as number;
    const lifeSec = expiresSec - (words[entry + BORN_SEC] as number);
    const hits = words[entry + HITS] as number;
    return hits >= PREFETCH_HITS && lifeSec >= PREFETCH_MIN_SEC && expiresSec - nowSec <= lifeSec / 10;
  }

  #limitTtls(entry: number, sec: number): void {
    const { halves, bytes, words } = this.#store;
    const rest = this.#store.restAt(entry);
    const ttls = this.#store.ttlsAt(entry);
    const view = Buffer.from(bytes.buffer);
    for (let i = 0; i < ((words[entry + LENGTHS] as number) & 0xffff); i++) {
      const at = rest + (halves[ttls + i] as number);
      if (view.readUInt32BE(at) > sec) view.writeUInt32BE(sec, at);
    }
  }

  /**
   * The message again, with the asker's question, and AA clear: what we remember is not authoritative (RFC 1035 section 4.1.1).
   * @param ageSec null: stale
   */
  #read(entry: number, { question }: Question, ageSec: number | null): DnsMessage {
    const { words, halves, bytes: kept } = this.#store;
    const size = question.length;
    const restSize = (words[entry + REST] as number) >>> 16;
    const rest = this.#store.restAt(entry);
    const bytes = Buffer.allocUnsafe(DNS_HEADER + size + restSize);
    const counts = words[entry + COUNTS] as number;
    set16(bytes, 0, 0);
    set16(bytes, 2, ((words[entry + FLAGS] as number) >>> 16) & ~FLAG_AA);
    set16(bytes, 4, 1);
    set16(bytes, 6, (words[entry + FLAGS] as number) & 0xffff);
    set16(bytes, 8, counts >>> 16);
    set16(bytes, 10, counts & 0xffff);
    bytes.set(question, DNS_HEADER);
    bytes.set(kept.subarray(rest, rest + restSize), DNS_HEADER + size);
    const ttls = this.#store.ttlsAt(entry);
    const ttlCount = (words[entry + LENGTHS] as number) & 0xffff;
    for (let i = 0; i < ttlCount; i++) {
      const at = DNS_HEADER + size + (halves[ttls + i] as number);
      const ttl = bytes.readUInt32BE(at);
      // RFC 2181 section 8: what has the highest bit set is 0.
      const left = ageSec === null ? STALE_TTL_SEC : ttl > 0x7fffffff ? 0 : Math.max(0, ttl - ageSec);
      bytes.writeUInt32BE(left, at);
    }
    const message = parseMessage(bytes);
    if (message === null) throw new Error('a cached message cannot be read');
    return message;
  }
}

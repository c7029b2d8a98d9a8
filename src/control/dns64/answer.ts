/** What each query gets: the order of RFC 6147 section 5, with the forwarders asked where somebody must be. */
import type { Prefix6 } from '../../wire/address.js';
import { WELL_KNOWN_PREFIX } from '../../wire/rfc6052.js';
import { EDE_NETWORK_ERROR, EDE_NO_REACHABLE_AUTHORITY, extendedError, rcodeOf } from './edns.js';
import {
  CLASS_IN,
  FLAG_CD,
  parseMessage,
  RCODE_NOERROR,
  RCODE_SERVFAIL,
  TYPE_A,
  TYPE_AAAA,
} from './message.js';
import { errorReply, passOn, type Query, type Reply } from './query.js';
import { localReply, matchReverse, type Reverse4, reverseQuestion, reverseReply } from './reverse.js';
import type { Dns64Stats } from './stats.js';
import { filterAaaa, judgeAaaa, type SynthesisPolicy, synthesize } from './synthesize.js';
import type { Question, Upstream, UpstreamAnswer, UpstreamFailure } from './upstream.js';

export interface AnswerTimes {
  /** An AAAA query silent for this long: the A is asked beside it, because some servers drop AAAA queries. */
  readonly askAMs: number;
  /** An AAAA query silent for this long counts as a server failure (RFC 6147 section 5.1.3). */
  readonly aaaaMs: number;
}
export const ANSWER_TIMES: AnswerTimes = { askAMs: 400, aaaaMs: 2000 };

/** SERVFAIL, and why (RFC 8914). */
function failureReply(query: Query, failure: UpstreamFailure | null): Reply {
  const code = failure === 'network' ? EDE_NETWORK_ERROR : EDE_NO_REACHABLE_AUTHORITY;
  return errorReply(query, RCODE_SERVFAIL, [extendedError(code)]);
}

/** Resolves to null after `ms`, or to what `promise` gives before that. */
function within<T>(promise: Promise<T>, ms: number): Promise<T | null> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(null), ms);
    void promise.then((value) => {
      clearTimeout(timer);
      resolve(value);
    });
  });
}

export class Answerer {
  /** Whose reverse names are ours: the prefixes, and the Well-Known one. */
  readonly #reversePrefixes: readonly Prefix6[];
  #turn = 0;

  constructor(
    private readonly policy: SynthesisPolicy,
    private readonly upstream: Upstream,
    private readonly stats: Dns64Stats,
    private readonly times: AnswerTimes = ANSWER_TIMES,
  ) {
    this.#reversePrefixes = [...policy.pref64s, WELL_KNOWN_PREFIX];
  }

  /** Never rejects. */
  async answer(query: Query): Promise<Reply> {
    const local = localReply(query, this.policy.pref64s);
    if (local !== null) {
      this.stats.local++;
      return local;
    }
    // 5.5, case 3: a client that checks signatures itself gets what the servers say. Only class IN has AAAA records.
    if (query.qclass === CLASS_IN && (query.flags & FLAG_CD) === 0) {
      if (query.qtype === TYPE_AAAA) return this.#aaaa(query);
      const reverse = matchReverse(query, this.#reversePrefixes);
      if (reverse?.kind === 'ipv4') return this.#reverse(query, reverse);
      if (reverse !== null) {
        this.stats.local++;
        return reverse.reply;
      }
    }
    return this.#relay(query, await this.upstream.ask(this.#question(query)));
  }

  #question(query: Query, question = query.question): Question {
    return { question, flags: query.flags, dnssecOk: query.edns?.dnssecOk === true };
  }

  #relay(query: Query, result: UpstreamAnswer): Reply {
    if (result.answer === null) return failureReply(query, result.failure);
    this.stats.passed++;
    return passOn(query, result.answer);
  }

  /** RFC 6147 section 5.1. */
  async #aaaa(query: Query): Promise<Reply> {
    const startedMs = Date.now();
    const asked = this.upstream.ask(this.#question(query));
    let early = await within(asked, this.times.askAMs);
    let a: Promise<UpstreamAnswer> | null = null;
    if (early === null) {
      a = this.#askA(query, startedMs);
      early = await within(asked, this.times.aaaaMs - this.times.askAMs);
    }
    if (early === null && a !== null) {
      // 5.1.3: no AAAA in time. Without an A to make up for it, it is worth waiting on.
      const found = await Promise.race([a, asked.then(() => null)]);
      const made = found === null ? null : this.#synthesize(query, null, found);
      if (made !== null) return made;
    }
    const aaaa = early ?? (await asked);
    const verdict = judgeAaaa(aaaa.answer, this.policy);
    if (verdict === 'pass') return this.#relay(query, aaaa);
    if (verdict === 'ask-a') {
      const found = await (a ?? this.#askA(query, startedMs));
      const made = this.#synthesize(query, aaaa, found);
      if (made !== null) return made;
      // 5.1.6: the A query's error is the answer; but if the AAAA query had failed already, that one's.
      const aaaaWasEmpty = aaaa.answer !== null && rcodeOf(aaaa.answer) === RCODE_NOERROR;
      const aFailed = found.answer === null || rcodeOf(found.answer) !== RCODE_NOERROR;
      if (aaaaWasEmpty && aFailed) return this.#relay(query, found);
    }
    // 5.1.4: what is left without the excluded ones; or 5.1.6: neither AAAA nor A, and the AAAA answer stands.
    if (aaaa.answer === null) return failureReply(query, aaaa.failure);
    this.stats.passed++;
    return filterAaaa(query, aaaa.answer, this.policy);
  }

  /** The same question for A, within what is left of the time of one question. */
  #askA(query: Query, startedMs: number): Promise<UpstreamAnswer> {
    const question = Buffer.from(query.question);
    question[question.length - 3] = TYPE_A;
    const spentMs = Date.now() - startedMs;
    return this.upstream.ask(this.#question(query, question), this.upstream.times.budgetMs - spentMs);
  }

  #synthesize(query: Query, aaaa: UpstreamAnswer | null, a: UpstreamAnswer): Reply | null {
    if (a.answer === null) return null;
    const { pref64s } = this.policy;
    const pref64 = pref64s[this.#turn % pref64s.length] as Prefix6;
    const reply = synthesize(query, aaaa?.answer ?? null, a.answer, pref64, this.policy);
    if (reply !== null) {
      this.#turn++;
      this.stats.synthesized++;
    }
    return reply;
  }

  /** RFC 6147 section 5.3.1.2. */
  async #reverse(query: Query, match: Reverse4): Promise<Reply> {
    const question = reverseQuestion(match.ipv4);
    const name = question.toString('latin1', 0, question.length - 4);
    const local = localReply({ ...query, question, name }, this.policy.pref64s);
    const result: UpstreamAnswer =
      local === null
        ? await this.upstream.ask(this.#question(query, question))
        : { answer: parseMessage(local.body), failure: null };
    if (result.answer === null) return failureReply(query, result.failure);
    this.stats.reversed++;
    return reverseReply(query, match, result.answer);
  }
}

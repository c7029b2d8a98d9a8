/** What each query gets: the order of RFC 6147 section 5, with the resolver asked where somebody must be. */
import { get16, set16 } from '../../wire/bytes.js';
import {
  EDE_NETWORK_ERROR,
  EDE_NO_REACHABLE_AUTHORITY,
  EDE_SYNTHESIZED,
  extendedError,
  rcodeOf,
} from './edns.js';
import type { FastPath, ReplyKind } from './fast-path.js';
import type { LocalZones } from './local-zones.js';
import { parseMessage, RCODE_NOERROR, RCODE_SERVFAIL, TYPE_A, TYPE_AAAA } from './message.js';
import { type Bypass, bypassOf, type Policy } from './policy.js';
import { errorReply, passOn, type Query, type Reply } from './query.js';
import type { Resolver, ResolverAnswer, ResolverEvent } from './resolve.js';
import {
  hasPtr,
  match6to4,
  matchReverse,
  ptrQuestion,
  type Reverse4,
  reverseName4,
  reverseReply,
} from './reverse.js';
import { rescopedReply, unscopedQuery, withScoped } from './scoped.js';
import type { Dns64Stats } from './stats.js';
import { TYPE_HTTPS, TYPE_SVCB, withTargetAddresses } from './svcb.js';
import { type AaaaVerdict, filterAaaa, judgeAaaa, synthesize } from './synthesize.js';
import type { Question } from './upstream.js';

export interface AnswerTimes {
  /** An AAAA query silent for this long: the A is asked beside it, because some servers drop AAAA queries. */
  readonly askAMs: number;
  /** An AAAA query silent for this long counts as a server failure (RFC 6147 section 5.1.3). */
  readonly aaaaMs: number;
}
export const ANSWER_TIMES: AnswerTimes = { askAMs: 400, aaaaMs: 2000 };

/** A decision on the way to an answer: for those who want to know (explain.ts). */
export type AnswerEvent =
  | ResolverEvent
  | { readonly kind: 'local'; readonly why: LocalReason; readonly name: string }
  | { readonly kind: 'relayed'; readonly why: 'type' | Bypass }
  | { readonly kind: 'verdict'; readonly verdict: AaaaVerdict; readonly aaaa: ResolverAnswer }
  | { readonly kind: 'aaaa-silent'; readonly afterMs: number; readonly isOver: boolean }
  | {
      readonly kind: 'synthesis';
      /** Whose turn it is of several prefixes. */
      readonly turn: number;
      readonly a: ResolverAnswer;
      readonly aaaa: ResolverAnswer | null;
      readonly done: boolean;
    }
  | { readonly kind: 'targets'; readonly done: boolean }
  | { readonly kind: 'scoped' }
  | { readonly kind: 'reverse'; readonly ipv4: number };
export type OnAnswerEvent = (event: AnswerEvent) => void;
/** A special name, one in a private zone, or one under a prefix that stands for no IPv4 address. */
export type LocalReason = 'special' | 'private' | 'no-address';

type Soon<T> = T | Promise<T>;
const SYNTHESIZED: readonly Buffer[] = [extendedError(EDE_SYNTHESIZED)];

function then<T, R>(value: Soon<T>, next: (value: T) => Soon<R>): Soon<R> {
  return value instanceof Promise ? value.then(next) : next(value);
}

/** SERVFAIL, and why (RFC 8914). */
function failureReply(query: Query, { failure, errors }: ResolverAnswer): Reply {
  const code = failure === 'network' ? EDE_NETWORK_ERROR : EDE_NO_REACHABLE_AUTHORITY;
  return errorReply(query, RCODE_SERVFAIL, [extendedError(code), ...errors]);
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
  /** Responses made for each policy, by its id: whose turn it is. */
  readonly #turns: number[] = [];

  /** @param fastPath gets what may be given again */
  constructor(
    private readonly zones: LocalZones,
    private readonly resolver: Resolver,
    private readonly fastPath: FastPath | null,
    private readonly stats: Dns64Stats,
    private readonly times: AnswerTimes = ANSWER_TIMES,
  ) {}

  /**
   * At once where all is known. Never rejects.
   * @param onEvent is told what is decided
   */
  answer(query: Query, policy: Policy, onEvent?: OnAnswerEvent): Soon<Reply> {
    const bypass = bypassOf(query, policy);
    // What a client checks itself, and other classes than IN, go through untouched.
    const isUntouched = bypass === 'class' || bypass === 'checking-disabled';
    if (policy.unscoped !== null && !isUntouched)
      return this.#scoped(query, policy, policy.unscoped, onEvent);
    const special = this.#local(query, this.zones.special(query, policy), 'special', onEvent);
    if (special !== null) return special;
    if (!isUntouched) {
      // Before private zones: a prefix may be unique-local.
      const reverse = matchReverse(query, policy);
      if (reverse?.kind === 'ipv4') return this.#reverse(query, policy, reverse, onEvent);
      if (reverse !== null) return this.#local(query, reverse.reply, 'no-address', onEvent) as Reply;
    }
    const zone = this.#local(query, this.zones.private(query), 'private', onEvent);
    if (zone !== null) return zone;
    if (query.qtype === TYPE_AAAA && bypass === null) return this.#aaaa(query, policy, onEvent);
    onEvent?.({
      kind: 'relayed',
      why: isUntouched || query.qtype === TYPE_AAAA ? (bypass ?? 'type') : 'type',
    });
    const asked = this.resolver.ask(this.#question(query), undefined, onEvent);
    const startedMs = asked instanceof Promise ? performance.now() : 0;
    return then(asked, (result) => this.#other(query, policy, bypass, result, startedMs, onEvent));
  }

  /** What is neither an AAAA query nor local: passed on, but for services and names of 6to4 addresses. */
  #other(
    query: Query,
    policy: Policy,
    bypass: Bypass | null,
    result: ResolverAnswer,
    startedMs: number,
    onEvent: OnAnswerEvent | undefined,
  ): Soon<Reply> {
    const { answer } = result;
    const isService = query.qtype === TYPE_HTTPS || query.qtype === TYPE_SVCB;
    if (answer !== null && bypass === null && isService) {
      const made = withTargetAddresses(query, answer, this.#turn(policy), policy);
      onEvent?.({ kind: 'targets', done: made !== null });
      if (made !== null) return this.#made(query, policy, made, [result]);
    }
    const isUntouched = bypass === 'class' || bypass === 'checking-disabled';
    const sixToFour = isUntouched || answer === null || hasPtr(answer) ? null : match6to4(query, policy);
    if (sixToFour !== null) return this.#reverse(query, policy, sixToFour, onEvent, result, startedMs);
    return this.#relay(query, policy, result);
  }

  #local(
    { name }: Query,
    reply: Reply | null,
    why: LocalReason,
    onEvent: OnAnswerEvent | undefined,
  ): Reply | null {
    if (reply === null) return null;
    this.stats.local++;
    onEvent?.({ kind: 'local', why, name });
    return reply;
  }

  /** What is kept is what the clients of `unscoped` get, and is kept as theirs. */
  #scoped(query: Query, policy: Policy, unscoped: Policy, onEvent: OnAnswerEvent | undefined): Soon<Reply> {
    const { scoped } = policy;
    const inner = unscopedQuery(query, scoped);
    if (inner !== null) {
      onEvent?.({ kind: 'scoped' });
      return then(this.answer(inner, unscoped, onEvent), (reply) => rescopedReply(query, inner, reply));
    }
    const asked = this.answer(query, unscoped, onEvent);
    return query.qtype === TYPE_AAAA ? then(asked, (reply) => withScoped(query, reply, scoped)) : asked;
  }

  #question(query: Query, question = query.question): Question {
    return { question, flags: query.flags, dnssecOk: query.edns?.dnssecOk === true };
  }

  #relay(
    query: Query,
    policy: Policy,
    result: ResolverAnswer,
    others: readonly ResolverAnswer[] = [],
    mayKeep = true,
  ): Reply {
    if (result.answer === null) return failureReply(query, result);
    const reply = passOn(query, result.answer);
    return this.#give(query, policy, reply, 'passed', [result, ...others], mayKeep);
  }

  /**
   * Counts an answer and adds what its sources say of themselves; what came from the cache alone may be given again until the first
   * of them ends.
   * @param sources all that the answer depends on, but for question, DO, CD, RD and the policy
   * @param mayKeep false: it depends on more
   */
  #give(
    query: Query,
    policy: Policy,
    reply: Reply,
    kind: ReplyKind,
    sources: readonly ResolverAnswer[],
    mayKeep = true,
  ): Reply {
    this.stats[kind]++;
    const { body, rcode } = reply;
    let { errors } = reply;
    let expiresSec = mayKeep ? Number.POSITIVE_INFINITY : 0;
    for (const source of sources) {
      expiresSec = source.cached ? Math.min(expiresSec, source.expiresSec) : 0;
      if (source.errors.length > 0) errors = [...errors, ...source.errors];
    }
    const given: Reply = { body, rcode, errors, expiresSec };
    if (expiresSec > 0) this.fastPath?.remember(query, policy.id, given, kind);
    return given;
  }

  /** RFC 6147 section 5.1. */
  #aaaa(query: Query, policy: Policy, onEvent: OnAnswerEvent | undefined): Soon<Reply> {
    const asked = this.resolver.ask(this.#question(query), undefined, onEvent);
    if (asked instanceof Promise) return this.#awaitAaaa(query, policy, asked, onEvent);
    return this.#judge(query, policy, asked, () => this.#askA(query, 0, onEvent), onEvent);
  }

  async #awaitAaaa(
    query: Query,
    policy: Policy,
    asked: Promise<ResolverAnswer>,
    onEvent: OnAnswerEvent | undefined,
  ): Promise<Reply> {
    const startedMs = performance.now();
    const { askAMs, aaaaMs } = this.times;
    let a: Soon<ResolverAnswer> | null = null;
    let early = await within(asked, askAMs);
    if (early === null) {
      onEvent?.({ kind: 'aaaa-silent', afterMs: askAMs, isOver: false });
      a = this.#askA(query, startedMs, onEvent);
      early = await within(asked, aaaaMs - askAMs);
    }
    if (early === null && a !== null) {
      // 5.1.3: no AAAA in time. Without an A to make up for it, it is worth waiting on.
      onEvent?.({ kind: 'aaaa-silent', afterMs: aaaaMs, isOver: true });
      const found = await Promise.race([a, asked.then(() => null)]);
      const made = found === null ? null : this.#synthesize(query, policy, null, found, onEvent);
      if (made !== null) return made;
    }
    const aaaa = early ?? (await asked);
    return this.#judge(query, policy, aaaa, () => a ?? this.#askA(query, startedMs, onEvent), onEvent);
  }

  #judge(
    query: Query,
    policy: Policy,
    aaaa: ResolverAnswer,
    askA: () => Soon<ResolverAnswer>,
    onEvent: OnAnswerEvent | undefined,
  ): Soon<Reply> {
    const verdict = judgeAaaa(query, aaaa.answer, policy);
    onEvent?.({ kind: 'verdict', verdict, aaaa });
    if (verdict === 'pass') return this.#relay(query, policy, aaaa);
    if (verdict === 'filter') return this.#filter(query, policy, [aaaa]);
    return then(askA(), (a) => {
      const made = this.#synthesize(query, policy, aaaa, a, onEvent);
      if (made !== null) return made;
      // 5.1.6: the A query's error is the answer; but if the AAAA query had failed already, that one's.
      const aaaaWasEmpty = aaaa.answer !== null && rcodeOf(aaaa.answer) === RCODE_NOERROR;
      const aFailed = a.answer === null || rcodeOf(a.answer) !== RCODE_NOERROR;
      if (aaaaWasEmpty && aFailed) return this.#relay(query, policy, a, [aaaa]);
      return this.#filter(query, policy, [aaaa, a]);
    });
  }

  /** 5.1.4: what is left without the excluded ones; or 5.1.6: neither AAAA nor A, and the AAAA answer stands. */
  #filter(query: Query, policy: Policy, sources: readonly [ResolverAnswer, ...ResolverAnswer[]]): Reply {
    const [aaaa] = sources;
    if (aaaa.answer === null) return failureReply(query, aaaa);
    const reply = policy.ignoreAaaa.has(query.name)
      ? passOn(query, aaaa.answer)
      : filterAaaa(query, aaaa.answer, policy);
    return this.#give(query, policy, reply, 'passed', sources);
  }

  /** What is left of the time of one question. `startedMs` 0: all of it. */
  #leftMs(startedMs: number): number {
    const spentMs = startedMs === 0 ? 0 : performance.now() - startedMs;
    return this.resolver.budgetMs - spentMs;
  }

  /** The same question for A. */
  #askA(query: Query, startedMs: number, onEvent: OnAnswerEvent | undefined): Soon<ResolverAnswer> {
    const question = Buffer.from(query.question);
    question[question.length - 3] = TYPE_A;
    return this.resolver.ask(this.#question(query, question), this.#leftMs(startedMs), onEvent);
  }

  #synthesize(
    query: Query,
    policy: Policy,
    aaaa: ResolverAnswer | null,
    a: ResolverAnswer,
    onEvent: OnAnswerEvent | undefined,
  ): Reply | null {
    const turn = this.#turn(policy);
    const made = a.answer === null ? null : synthesize(query, aaaa?.answer ?? null, a.answer, turn, policy);
    onEvent?.({ kind: 'synthesis', turn, a, aaaa, done: made !== null });
    if (made === null) return null;
    const reply: Reply = { body: made.body, rcode: made.rcode, errors: SYNTHESIZED };
    return this.#made(query, policy, reply, aaaa === null ? [a] : [aaaa, a], aaaa !== null);
  }

  #turn({ id }: Policy): number {
    return this.#turns[id] ?? 0;
  }

  #made(
    query: Query,
    policy: Policy,
    reply: Reply,
    sources: readonly ResolverAnswer[],
    mayKeep = true,
  ): Reply {
    this.#turns[policy.id] = (this.#turn(policy) + 1) >>> 0;
    // Prefixes that take turns: the next answer is another one.
    const isSame = policy.choice !== 'round-robin' || policy.pref64s.length === 1;
    return this.#give(query, policy, reply, 'synthesized', sources, mayKeep && isSame);
  }

  /**
   * RFC 6147 section 5.3.1.2.
   * @param before what the name servers say of the name that was asked for: it stands where there is no other
   * @param startedMs when that was asked; see #leftMs
   */
  #reverse(
    query: Query,
    policy: Policy,
    match: Reverse4,
    onEvent: OnAnswerEvent | undefined,
    before: ResolverAnswer | null = null,
    startedMs = 0,
  ): Soon<Reply> {
    onEvent?.({ kind: 'reverse', ipv4: match.ipv4 });
    const name = reverseName4(match.ipv4);
    const inner: Query = { ...query, question: ptrQuestion(name), name };
    const special = this.zones.special(inner, policy);
    const local = special ?? this.zones.private(inner);
    if (local !== null) {
      onEvent?.({ kind: 'local', why: special === null ? 'private' : 'special', name });
      set16(local.body, 2, get16(local.body, 2) | local.rcode);
      const answer = parseMessage(local.body);
      if (answer === null) return errorReply(query, RCODE_SERVFAIL);
      if (before !== null && !hasPtr(answer)) return this.#relay(query, policy, before, [], false);
      const reply = reverseReply(query, match, answer, policy);
      // Forwarders may change, and with them what is local.
      return this.#give(query, policy, reply, 'reversed', [], false);
    }
    return then(this.resolver.ask(this.#question(inner), this.#leftMs(startedMs), onEvent), (found) => {
      const { answer } = found;
      if (before !== null && (answer === null || !hasPtr(answer)))
        return this.#relay(query, policy, before, [], false);
      if (answer === null) return failureReply(query, found);
      const reply = reverseReply(query, match, answer, policy);
      return this.#give(query, policy, reply, 'reversed', before === null ? [found] : [before, found]);
    });
  }
}

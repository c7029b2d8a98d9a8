/**
 * Between the answers and the forwarders: what is known is not asked again, what is being asked is not asked twice, what failed
 * is left alone for a while, and what is popular is asked for again before it ends.
 */
import { AnswerCache, type CacheEntry, flagsKey } from './cache.js';
import type { Clock } from './clock.js';
import { EDE_CACHED_ERROR, EDE_STALE_ANSWER, EDE_STALE_NXDOMAIN, extendedError, rcodeOf } from './edns.js';
import { foldName, RCODE_NOERROR, RCODE_NXDOMAIN } from './message.js';
import type { Dns64Stats } from './stats.js';
import { Named } from './under-way.js';
import type { Question, UpstreamAnswer } from './upstream.js';

/** Who is asked what the cache does not know: an `Upstream`. */
export interface Asks {
  readonly times: { readonly budgetMs: number };
  ask(question: Question, budgetMs?: number): UpstreamAnswer | Promise<UpstreamAnswer>;
}

export interface ResolverOptions {
  /** Memory for the cache; 0: none. */
  readonly sizeBytes: number;
  /** How long after its time an answer may be given where there is no other (RFC 8767); 0: not. */
  readonly serveStaleSec: number;
  readonly prefetch: boolean;
  /** For tests: RFC 8767 section 5, the client response timer. Default STALE_ANSWER_MS. */
  readonly staleAnswerMs?: number;
}

/** An answer, and what the cache makes of it. */
export interface ResolverAnswer extends UpstreamAnswer {
  /** The second until which the same is given again; 0: not known. */
  readonly expiresSec: number;
  /** Whether it came out of the cache: it was asked for before. */
  readonly cached: boolean;
  /** Extended errors (RFC 8914) beside those in the answer. */
  readonly errors: readonly Buffer[];
}

/** What happened on the way to an answer: for those who want to know (explain.ts). */
export type ResolverEvent =
  | { readonly kind: 'cache'; readonly question: Question; readonly state: string; readonly leftSec: number }
  | { readonly kind: 'asked'; readonly question: Question; readonly shared: boolean }
  | {
      readonly kind: 'came';
      readonly question: Question;
      readonly tookMs: number;
      readonly result: ResolverAnswer;
    };
export type OnResolverEvent = (event: ResolverEvent) => void;

/** RFC 8767 section 5: clients wait for so long before they get what is stale. */
export const STALE_ANSWER_MS = 1800;
/** Nobody waits for what is fetched ahead: those that somebody waits for go first. */
const MAX_PENDING_AT_PREFETCH = 1000;
const NONE: readonly Buffer[] = [];
const CACHED_ERROR: readonly Buffer[] = [extendedError(EDE_CACHED_ERROR)];
const STALE: readonly Buffer[] = [extendedError(EDE_STALE_ANSWER)];
const STALE_NXDOMAIN: readonly Buffer[] = [extendedError(EDE_STALE_NXDOMAIN)];

/** A question on its way, and who waits for its answer. */
interface Flight {
  readonly endsMs: number;
  readonly waiting: ((result: ResolverAnswer) => void)[];
}

const isError = ({ answer }: UpstreamAnswer): boolean => {
  const rcode = answer === null ? -1 : rcodeOf(answer);
  return rcode !== RCODE_NOERROR && rcode !== RCODE_NXDOMAIN;
};

export class Resolver {
  readonly #cache: AnswerCache | null;
  readonly #flights = new Named<Flight>();

  constructor(
    private upstream: Asks,
    private readonly stats: Dns64Stats,
    private readonly options: ResolverOptions,
    readonly clock: Clock,
  ) {
    const { sizeBytes, serveStaleSec } = options;
    this.#cache = sizeBytes > 0 ? new AnswerCache(sizeBytes, serveStaleSec) : null;
  }

  /** Asks another from now on; what is on its way ends where it began. */
  use(upstream: Asks): void {
    this.upstream = upstream;
  }

  /** The time of one question. */
  get budgetMs(): number {
    return this.upstream.times.budgetMs;
  }

  /** Questions on their way. */
  get pending(): number {
    return this.#flights.size;
  }

  get cache(): AnswerCache | null {
    return this.#cache;
  }

  /**
   * What is known, at once; else asks, and ends within the budget. Never rejects, never throws.
   * @param onEvent is told what happens
   */
  ask(
    question: Question,
    budgetMs = this.budgetMs,
    onEvent?: OnResolverEvent,
  ): ResolverAnswer | Promise<ResolverAnswer> {
    const nowSec = this.clock.sec();
    const known = this.#cache?.look(question, nowSec);
    const leftSec = known !== undefined && 'expiresSec' in known ? known.expiresSec - nowSec : 0;
    onEvent?.({ kind: 'cache', question, state: known?.kind ?? 'off', leftSec });
    switch (known?.kind) {
      case 'fresh':
        this.stats.cacheHits++;
        if (known.isDue) this.#prefetch(question);
        return {
          answer: known.answer,
          failure: null,
          expiresSec: known.expiresSec,
          cached: true,
          errors: NONE,
        };
      case 'failure':
        this.stats.cacheFailures++;
        return {
          answer: known.result.answer,
          failure: known.result.failure,
          expiresSec: known.expiresSec,
          cached: true,
          errors: CACHED_ERROR,
        };
      case 'stale': {
        const { answer, mayRetry } = known;
        const errors = rcodeOf(answer) === RCODE_NXDOMAIN ? STALE_NXDOMAIN : STALE;
        const stale: ResolverAnswer = { answer, failure: null, expiresSec: 0, cached: true, errors };
        const give = () => {
          this.stats.cacheStale++;
          return stale;
        };
        if (!mayRetry) return give();
        const patienceMs = Math.min(budgetMs, this.options.staleAnswerMs ?? STALE_ANSWER_MS);
        const asked = this.#fetch(question, patienceMs, onEvent);
        const choose = (result: ResolverAnswer) => (isError(result) ? give() : result);
        return asked instanceof Promise ? asked.then(choose) : choose(asked);
      }
      default:
        this.stats.cacheMisses++;
        return this.#fetch(question, budgetMs, onEvent);
    }
  }

  /** Forgets a name (folded, in wire form) and all below it; null: everything. Resolves nothing that is on its way. */
  flush(zone: string | null): number {
    return this.#cache?.flush(zone) ?? 0;
  }

  /** See AnswerCache.list. */
  list(limit: number, zone: string | null): CacheEntry[] {
    return this.#cache?.list(limit, zone, this.clock.sec()) ?? [];
  }

  #prefetch(question: Question): void {
    if (!this.options.prefetch || this.stats.upstreamPending >= MAX_PENDING_AT_PREFETCH) return;
    const key = flightKey(question);
    if (this.#flights.get(key) !== undefined) return;
    this.stats.prefetches++;
    this.#launch(key, question);
  }

  /** Asks, or waits with those who ask already; for `budgetMs`, whatever the others do. */
  #fetch(
    question: Question,
    budgetMs: number,
    onEvent: OnResolverEvent | undefined,
  ): ResolverAnswer | Promise<ResolverAnswer> {
    const key = flightKey(question);
    const running = this.#flights.get(key);
    if (running !== undefined) this.stats.shared++;
    onEvent?.({ kind: 'asked', question, shared: running !== undefined });
    const startedMs = performance.now();
    const flight = running ?? this.#launch(key, question);
    if (!('waiting' in flight)) {
      onEvent?.({ kind: 'came', question, tookMs: 0, result: flight });
      return flight;
    }
    return new Promise((resolve) => {
      let timer: NodeJS.Timeout | undefined;
      const finish = (result: ResolverAnswer) => {
        clearTimeout(timer);
        onEvent?.({ kind: 'came', question, tookMs: performance.now() - startedMs, result });
        resolve(result);
      };
      flight.waiting.push(finish);
      if (startedMs + budgetMs >= flight.endsMs) return;
      timer = setTimeout(
        () => {
          const at = flight.waiting.indexOf(finish);
          if (at < 0) return;
          flight.waiting.splice(at, 1);
          finish({ answer: null, failure: 'timeout', expiresSec: 0, cached: false, errors: NONE });
        },
        Math.max(0, budgetMs),
      );
    });
  }

  /** Asks the forwarders, with all the time of a question: an answer too late for who asked first is still worth having. */
  #launch(key: string, question: Question): Flight | ResolverAnswer {
    const asked = this.upstream.ask(question);
    if (!(asked instanceof Promise)) return this.#keep(question, asked);
    const flight: Flight = { endsMs: performance.now() + this.budgetMs, waiting: [] };
    this.#flights.add(key, flight);
    void asked.then((result) => {
      this.#flights.delete(key);
      const kept = this.#keep(question, result);
      for (const finish of flight.waiting.splice(0)) finish(kept);
    });
    return flight;
  }

  #keep(question: Question, result: UpstreamAnswer): ResolverAnswer {
    const nowSec = this.clock.sec();
    let expiresSec = 0;
    if (isError(result)) this.#cache?.fail(question, result, nowSec);
    else if (result.answer !== null) expiresSec = this.#cache?.keep(question, result.answer, nowSec) ?? 0;
    const { answer, failure, forwarder } = result;
    return { answer, failure, forwarder, expiresSec, cached: false, errors: NONE };
  }
}

/** Type and class have no letters to fold. */
function flightKey({ question, flags, dnssecOk }: Question): string {
  const nameEnd = question.length - 4;
  const name = foldName(question.toString('latin1', 0, nameEnd));
  return `${name}${question.toString('latin1', nameEnd)}${flagsKey(flags, dnssecOk)}`;
}

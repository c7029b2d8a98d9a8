/**
 * Asks the forwarders: in order of preference, the next one after the time that an answer usually takes (two seconds at most),
 * five seconds in all. A late answer of an earlier one still counts. What a forwarder does to one query (SERVFAIL, REFUSED,
 * garbage) sends that query on; only silence and network errors, three in a row, make a forwarder one to be left alone.
 *
 *   upstream-ask.ts        one question: its tries, and what becomes of each answer
 *   forwarder.ts, rtt.ts   what is known of a forwarder
 *   upstream-udp, -stream (TCP), -tls, -https.ts           the ways to it
 */
import { isDeepStrictEqual } from 'node:util';
import type { ForwarderConfig } from '../config/types.js';
import type { Histogram } from '../inspect/histogram.js';
import { Seldom } from '../seldom.js';
import { Deadline, Deadlines } from './deadlines.js';
import { Forwarder, type TransportOptions } from './forwarder.js';
import { CLASS_IN, TYPE_NS } from './message.js';
import type { Dns64Stats } from './stats.js';
import { Crowd } from './under-way.js';
import { Ask, Probe } from './upstream-ask.js';
import type { Question, UpstreamAnswer, UpstreamFailure } from './upstream-message.js';

export type { Question, UpstreamAnswer, UpstreamFailure } from './upstream-message.js';

export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface UpstreamTimes {
  /** The longest silence after which the next forwarder is asked as well; a forwarder silent for this long has failed. */
  readonly tryMs: number;
  /** The whole of a question's time. */
  readonly budgetMs: number;
  /** How long a forwarder that failed is left alone. */
  readonly retryMs: number;
}
export const UPSTREAM_TIMES: UpstreamTimes = { tryMs: 2000, budgetMs: 5000, retryMs: 300_000 };

export interface ForwarderState {
  /** As it is configured. */
  readonly name: string;
  /** It is left alone for a while: it did not answer. */
  readonly isDown: boolean;
  readonly latency: Histogram;
}

export interface UpstreamOptions extends TransportOptions {
  readonly times?: Partial<UpstreamTimes>;
  /** Mix the case of letters in queries, and take no answer over UDP without the same mix. */
  readonly randomizeCase?: boolean;
}

const MAX_PENDING = 10_000;
/** Tries whose question has its answer and which are still waited on, to see whether their forwarder lives. */
const MAX_LINGERING = 1000;
/** Without RD: a resolver says at once what it knows itself, or that it will not. Any answer is one. */
const ROOT_NS: Question = {
  question: Buffer.from([0, 0, TYPE_NS, 0, CLASS_IN]),
  flags: 0,
  dnssecOk: false,
};

/** How often each id is in flight. */
class IdCounts {
  readonly #counts = new Uint16Array(65536);
  add(id: number): void {
    this.#counts[id]!++;
  }
  remove(id: number): void {
    this.#counts[id]!--;
  }
  has(id: number): boolean {
    return this.#counts[id] !== 0;
  }
}

class Later extends Deadline {
  constructor(readonly due: () => void) {
    super();
  }
}

export class Upstream {
  readonly times: UpstreamTimes;
  readonly randomizeCase: boolean;
  /** Of all tries and questions. For Ask and Attempt, as what follows. */
  readonly deadlines = new Deadlines();
  readonly ids = new IdCounts();
  #forwarders: readonly Forwarder[] = [];
  /** Those believed to answer; if there is none, all. */
  #order: readonly Forwarder[] = [];
  #hasDown = false;
  readonly #leaving = new Set<Forwarder>();
  readonly #asks = new Crowd<Ask>();
  #lingering = 0;
  readonly #loopWarnings = new Seldom();
  #closed = false;

  constructor(
    forwarders: readonly ForwarderConfig[],
    readonly stats: Dns64Stats,
    readonly log: Log,
    private readonly options: UpstreamOptions = {},
  ) {
    this.times = { ...UPSTREAM_TIMES, ...options.times };
    this.randomizeCase = options.randomizeCase === true;
    this.setForwarders(forwarders);
  }

  get forwarders(): readonly ForwarderConfig[] {
    return this.#forwarders.map(({ config }) => config);
  }

  /** What is known of each forwarder. */
  get forwarderStates(): ForwarderState[] {
    return this.#forwarders.map(({ name, isDown, latency }) => ({ name, isDown, latency }));
  }

  /** Others from now on. What is known of those that stay is kept, and questions under way end where they began. */
  setForwarders(configs: readonly ForwarderConfig[]): void {
    const before = this.#forwarders;
    this.#forwarders = configs.map(
      (config) =>
        before.find((one) => isDeepStrictEqual(one.config, config)) ??
        new Forwarder(config, this.stats, this.times, this.options),
    );
    this.#reorder();
    for (const gone of before) {
      if (this.#forwarders.includes(gone)) continue;
      this.#leaving.add(gone);
      const close = new Later(() => {
        this.#leaving.delete(gone);
        gone.close();
      });
      this.deadlines.set(close, performance.now() + this.times.budgetMs);
    }
  }

  /** Asks. Never rejects: ends within the budget, with an answer or the reason why there is none. */
  ask(question: Question, budgetMs = this.times.budgetMs): Promise<UpstreamAnswer> {
    const refuse = (failure: UpstreamFailure) => Promise.resolve({ answer: null, failure });
    if (this.#closed) return refuse('closed');
    if (this.#forwarders.length === 0) return refuse('no-forwarder');
    if (this.stats.upstreamPending >= MAX_PENDING) return refuse('overload');
    this.stats.upstreamPending++;
    const nowMs = performance.now();
    if (this.#hasDown) this.#probeDown(question, nowMs);
    return new Promise((resolve) => {
      const ask = new Ask(this, question, this.#order, nowMs, budgetMs, (done, result) => {
        this.stats.upstreamPending--;
        this.#asks.delete(done);
        resolve(result);
      });
      this.#asks.add(ask);
      ask.next(nowMs);
    });
  }

  /** Asks each forwarder once, and warns if none answers. They are used all the same. */
  async checkReachable(): Promise<void> {
    const all = this.#forwarders;
    const alive = await Promise.all(
      all.map(
        (forwarder) =>
          new Promise<boolean>((resolve) => {
            new Probe(this, forwarder, ROOT_NS, performance.now(), resolve);
          }),
      ),
    );
    if (this.#closed || all.length === 0) return;
    const silent = all.filter((_, i) => alive[i] !== true).map(({ name }) => name);
    if (silent.length === all.length) {
      this.log.warn(
        { event: 'dns64-no-forwarder', forwarders: silent },
        `no name server answers DNS64 (${silent.join(', ')}): names are not found until one does. Is the network up? The key is "forwarders" of [dns64].`,
      );
    } else if (silent.length > 0) {
      this.log.warn({ forwarders: silent }, `forwarders that do not answer: ${silent.join(', ')}`);
    }
  }

  /** Whether a query that came to us is one that we sent: something on the way leads back here. Warns. */
  isOwnQuery(id: number, question: Buffer): boolean {
    if (!this.ids.has(id)) return false;
    const attempt = this.#asks
      .all()
      .flatMap(({ attempts }) => attempts)
      .find((one) => one.isFor(id, question));
    if (attempt === undefined) return false;
    if (this.#loopWarnings.due() !== null) {
      this.log.warn(
        { event: 'dns64-loop', forwarder: attempt.forwarder.config },
        `queries to the forwarder ${attempt.forwarder.name} come back to DNS64 itself. Change the key "forwarders" of [dns64], or what redirects them.`,
      );
    }
    return true;
  }

  /** Ends what is in flight ('closed') and closes the sockets. */
  close(): void {
    this.#closed = true;
    for (const ask of this.#asks.all()) ask.finish({ answer: null, failure: 'closed' });
    this.deadlines.clear();
    for (const forwarder of [...this.#forwarders, ...this.#leaving]) forwarder.close();
  }

  /** Any answer shows that the forwarder lives. */
  mend(forwarder: Forwarder, nowMs: number): void {
    if (!forwarder.mend(nowMs)) return;
    this.log.info({ forwarder: forwarder.config }, `forwarder ${forwarder.name} answers again`);
    this.#reorder();
  }

  blame(forwarder: Forwarder, sentMs: number, nowMs: number): void {
    if (!forwarder.blame(sentMs, nowMs)) return;
    this.log.warn(
      { forwarder: forwarder.config },
      `forwarder ${forwarder.name} does not answer; others are asked first`,
    );
    this.#reorder();
  }

  unreachable(forwarder: Forwarder, error: Error): void {
    this.log.debug({ forwarder: forwarder.config, error: error.message }, 'forwarder unreachable');
  }

  /** Whether one more try may be waited on for its forwarder's sake only; it is counted. */
  mayLinger(): boolean {
    if (this.#closed || this.#lingering >= MAX_LINGERING) return false;
    this.#lingering++;
    return true;
  }

  lingerEnded(): void {
    this.#lingering--;
  }

  #reorder(): void {
    const up = this.#forwarders.filter((forwarder) => !forwarder.isDown);
    this.#hasDown = up.length < this.#forwarders.length;
    this.#order = up.length > 0 ? up : this.#forwarders;
  }

  /** One question is sent to a forwarder that was left alone for long enough, too: nobody waits on it to recover. */
  #probeDown(question: Question, nowMs: number): void {
    for (const forwarder of this.#forwarders) {
      if (!forwarder.isToBeProbed(nowMs) || this.#order.includes(forwarder)) continue;
      new Probe(this, forwarder, question, nowMs, () => {});
    }
  }
}

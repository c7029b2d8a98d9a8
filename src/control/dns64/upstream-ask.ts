/** One question on its way through the forwarders. */
import { get16 } from '../../wire/bytes.js';
import { Deadline } from './deadlines.js';
import { rcodeOf, saysDnssecFailed } from './edns.js';
import type { Forwarder } from './forwarder.js';
import {
  FLAG_TC,
  hasQuestion,
  parseMessage,
  RCODE_BADVERS,
  RCODE_FORMERR,
  RCODE_NOTIMP,
  RCODE_REFUSED,
  RCODE_SERVFAIL,
} from './message.js';
import type { Placed } from './under-way.js';
import type { Upstream } from './upstream.js';
import {
  buildQuery,
  hasCaseOf,
  isAnswerTo,
  mixCase,
  type Question,
  type UpstreamAnswer,
} from './upstream-message.js';
import type { Exchange, Transport } from './upstream-transport.js';

/** These concern the server and not the name: another one may know. */
const ASK_ANOTHER: ReadonlySet<number> = new Set([
  RCODE_FORMERR,
  RCODE_SERVFAIL,
  RCODE_NOTIMP,
  RCODE_REFUSED,
  RCODE_BADVERS,
]);

/** Who hears of a try. */
interface Asker {
  /** The question of `attempt` has an answer. */
  take(attempt: Attempt, bytes: Buffer): void;
  giveUp(attempt: Attempt, failure: 'network' | 'garbage'): void;
  /** It was silent for the longest time that a forwarder may take. A late answer still counts. */
  silent(attempt: Attempt): void;
  /** An answer whose letters have another case than the query's: forged, or of a server that does not keep it. */
  doubt(attempt: Attempt): void;
}

/** One query to one forwarder. Its deadline: when silence counts as a failure of the forwarder. */
export class Attempt extends Deadline implements Exchange {
  readonly query: Buffer;
  readonly sentMs: number;
  /** Whether the answer must have the query's case. */
  readonly isMixed: boolean;
  isDoubted = false;
  /** Silent beyond the usual time, and not beyond all time yet. */
  #isOverdue = false;
  /** Nobody waits for it, but for the forwarder's sake. */
  #lingers = false;
  #id = 0;
  #asker: Asker | null;
  #isReady: boolean;
  #endWait: (() => void) | null = null;

  constructor(
    asker: Asker,
    private readonly upstream: Upstream,
    readonly forwarder: Forwarder,
    readonly transport: Transport,
    readonly question: Question,
    readonly edns: boolean,
    nowMs: number,
  ) {
    super();
    this.#asker = asker;
    this.sentMs = nowMs;
    this.#isReady = transport.isReady;
    this.query = buildQuery(question, edns, transport.padded);
    this.isMixed = upstream.randomizeCase && forwarder.keepsCase(nowMs);
    if (this.isMixed) mixCase(this.query);
  }

  /** Whether the transport may show less than the whole answer. */
  get mayBeCut(): boolean {
    return this.transport !== this.forwarder.whole;
  }

  send(): void {
    if (this.transport === this.forwarder.transport) this.upstream.stats.upstreamQueries++;
    if (!this.mayBeCut) this.upstream.stats.upstreamStreams++;
    this.#endWait = this.transport.send(this.query, this);
    this.#id = get16(this.query, 0);
    this.upstream.ids.add(this.#id);
  }

  /** Counts as a failure of the forwarder if it stays silent until its whole time is over. */
  outlast(nowMs: number): void {
    const endMs = this.sentMs + this.upstream.times.tryMs;
    if (nowMs >= endMs) {
      this.due(nowMs);
      return;
    }
    this.#isOverdue = true;
    this.upstream.deadlines.set(this, endMs);
  }

  due(nowMs: number): void {
    this.#isOverdue = false;
    this.upstream.blame(this.forwarder, this.sentMs, nowMs);
    if (this.#asker === null) this.end();
    else this.#asker.silent(this);
  }

  /** Nobody waits for the answer any more. Whether the forwarder stays silent may still be of interest. */
  leave(): void {
    this.#asker = null;
    if (this.#isOverdue && this.#endWait !== null && this.upstream.mayLinger()) this.#lingers = true;
    else this.end();
  }

  /** Ends the wait. */
  end(): void {
    if (this.#endWait === null) return;
    if (this.#lingers) this.upstream.lingerEnded();
    this.upstream.deadlines.end(this);
    this.upstream.ids.remove(this.#id);
    this.#endWait();
    this.#endWait = null;
  }

  /** Whether these are the id and the question that it asks with. */
  isFor(id: number, question: Buffer): boolean {
    return this.#endWait !== null && id === this.#id && hasQuestion(this.query, question);
  }

  onMessage(bytes: Buffer): boolean {
    const { question } = this.question;
    if (!isAnswerTo(bytes, question)) return false;
    const nowMs = performance.now();
    if (this.isMixed && !hasCaseOf(bytes, this.query, question.length)) {
      if (this.mayBeCut) {
        this.#asker?.doubt(this);
        return false;
      }
      // A connection is not forged so easily: the server is one that does not keep the case.
      this.forwarder.withoutCase(nowMs);
    }
    this.forwarder.latency.observe((nowMs - this.sentMs) / 1000);
    if (this.#isReady && this.transport === this.forwarder.transport)
      this.forwarder.roundTrips.add(nowMs - this.sentMs);
    this.end();
    this.upstream.mend(this.forwarder, nowMs);
    this.#asker?.take(this, bytes);
    return true;
  }

  onError(error: Error): void {
    this.upstream.unreachable(this.forwarder, error);
    this.end();
    this.upstream.blame(this.forwarder, this.sentMs, performance.now());
    this.#asker?.giveUp(this, 'network');
  }

  onRefusal(error: Error): void {
    this.upstream.unreachable(this.forwarder, error);
    this.end();
    this.#asker?.giveUp(this, 'garbage');
  }
}

/** Its deadline: when the next forwarder is to be asked, or the end of its time. */
export class Ask extends Deadline implements Asker, Placed {
  place = -1;
  readonly attempts: Attempt[] = [];
  /** Forwarders that will not help with this question. */
  readonly #spent: Forwarder[] = [];
  readonly #endMs: number;
  #turn = 0;
  #isDone = false;
  /** What there is to tell the client if nothing better comes. */
  #last: UpstreamAnswer = { answer: null, failure: 'timeout' };

  constructor(
    private readonly upstream: Upstream,
    readonly question: Question,
    private readonly order: readonly Forwarder[],
    nowMs: number,
    budgetMs: number,
    private readonly settle: (ask: Ask, result: UpstreamAnswer) => void,
  ) {
    super();
    this.#endMs = nowMs + budgetMs;
  }

  finish(result: UpstreamAnswer): void {
    if (this.#isDone) return;
    this.#isDone = true;
    this.upstream.deadlines.end(this);
    for (const attempt of this.attempts) attempt.leave();
    this.settle(this, result);
  }

  due(nowMs: number): void {
    if (nowMs >= this.#endMs) {
      this.finish(this.#last);
      return;
    }
    this.upstream.stats.upstreamTimeouts++;
    this.attempts.at(-1)?.outlast(nowMs);
    this.next(nowMs);
  }

  /** Asks the next forwarder that may help. Silent ones get their turn again: datagrams are lost. */
  next(nowMs: number): void {
    for (let i = 0; i < this.order.length; i++) {
      const forwarder = this.order[this.#turn++ % this.order.length] as Forwarder;
      if (!this.#spent.includes(forwarder)) {
        this.#try(forwarder, forwarder.transport, forwarder.speaksEdns(nowMs), nowMs);
        return;
      }
    }
    this.finish(this.#last);
  }

  #try(forwarder: Forwarder, transport: Transport, edns: boolean, nowMs: number): void {
    const { deadlines, times } = this.upstream;
    const attempt = new Attempt(this, this.upstream, forwarder, transport, this.question, edns, nowMs);
    let before = 0;
    for (const other of this.attempts) if (other.forwarder === forwarder) before++;
    // A connection to be made takes longer than what was measured.
    const isMeasured = transport === forwarder.transport && transport.isReady;
    const waitMs = isMeasured ? forwarder.roundTrips.timeoutMs(before) : times.tryMs;
    this.attempts.push(attempt);
    deadlines.set(this, Math.min(nowMs + waitMs, this.#endMs));
    attempt.send();
  }

  giveUp(attempt: Attempt, failure: 'network' | 'garbage'): void {
    this.#another(attempt.forwarder, { answer: null, failure });
  }

  silent(): void {}

  doubt(attempt: Attempt): void {
    if (attempt.isDoubted) return;
    attempt.isDoubted = true;
    const { forwarder, edns } = attempt;
    this.#try(forwarder, forwarder.whole, edns, performance.now());
  }

  #another(forwarder: Forwarder, why: UpstreamAnswer): void {
    if (this.#isDone) return;
    this.#spent.push(forwarder);
    // An error that a server sent says more than one that we met.
    if (this.#last.answer === null) this.#last = why;
    this.next(performance.now());
  }

  /** An answer to this question, from where it was asked. */
  take(attempt: Attempt, bytes: Buffer): void {
    if (this.#isDone) return;
    const { forwarder, edns, mayBeCut } = attempt;
    const isCut = (get16(bytes, 2) & FLAG_TC) !== 0;
    // A truncated message may break off anywhere (RFC 2181 section 9), and is not looked at.
    const answer = isCut && mayBeCut ? null : parseMessage(bytes);
    if (answer === null) {
      if (isCut && mayBeCut) this.#try(forwarder, forwarder.whole, edns, performance.now());
      else this.#another(forwarder, { answer: null, failure: 'garbage' });
      return;
    }
    const rcode = rcodeOf(answer);
    if (edns && answer.opt === null && (rcode === RCODE_FORMERR || rcode === RCODE_NOTIMP)) {
      const nowMs = performance.now();
      forwarder.withoutEdns(nowMs);
      this.#try(forwarder, attempt.transport, false, nowMs);
    } else if (isCut) {
      this.#another(forwarder, { answer: null, failure: 'garbage' });
    } else if (ASK_ANOTHER.has(rcode) && !saysDnssecFailed(answer)) {
      this.#another(forwarder, { answer, failure: null, forwarder: forwarder.config });
    } else {
      this.finish({ answer, failure: null, forwarder: forwarder.config });
    }
  }
}

/** A question asked to see whether a forwarder lives. */
export class Probe implements Asker {
  readonly #attempt: Attempt;

  constructor(
    upstream: Upstream,
    forwarder: Forwarder,
    question: Question,
    nowMs: number,
    private readonly settle: (isAlive: boolean) => void,
  ) {
    const edns = forwarder.speaksEdns(nowMs);
    this.#attempt = new Attempt(this, upstream, forwarder, forwarder.transport, question, edns, nowMs);
    forwarder.isProbed = true;
    this.#attempt.outlast(nowMs);
    this.#attempt.send();
  }

  take(): void {
    this.#settle(true);
  }

  giveUp(): void {
    this.#settle(false);
  }

  silent(): void {
    this.#settle(false);
  }

  doubt(): void {}

  #settle(isAlive: boolean): void {
    const { forwarder } = this.#attempt;
    if (!forwarder.isProbed) return;
    forwarder.isProbed = false;
    this.#attempt.leave();
    this.settle(isAlive);
  }
}

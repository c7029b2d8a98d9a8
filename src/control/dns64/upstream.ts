/**
 * Asks the forwarders: one after another in order of preference, two seconds each, five in all. A late answer of an earlier one
 * still counts. What a forwarder does to one query (SERVFAIL, REFUSED, garbage) sends that query on; only silence and network
 * errors, three in a row, make a forwarder one to be left alone for a while.
 */
import { get16, set16 } from '../../wire/bytes.js';
import type { SocketAddress } from '../config/types.js';
import { optRecord, rcodeOf, saysDnssecFailed } from './edns.js';
import {
  DNS_HEADER,
  type DnsMessage,
  FLAG_CD,
  FLAG_OPCODE,
  FLAG_QR,
  FLAG_RCODE,
  FLAG_RD,
  FLAG_TC,
  hasQuestion,
  parseMessage,
  RCODE_BADVERS,
  RCODE_FORMERR,
  RCODE_NOTIMP,
  RCODE_REFUSED,
  RCODE_SERVFAIL,
} from './message.js';
import type { Dns64Stats } from './stats.js';
import { askOverTcp } from './upstream-tcp.js';
import { UdpForwarder } from './upstream-udp.js';

export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface UpstreamTimes {
  /** Silence after which the next forwarder is asked as well. */
  readonly tryMs: number;
  /** The whole of a question's time. */
  readonly budgetMs: number;
  /** How long a forwarder that failed is left alone. */
  readonly retryMs: number;
}
export const UPSTREAM_TIMES: UpstreamTimes = { tryMs: 2000, budgetMs: 5000, retryMs: 300_000 };

const MAX_PENDING = 10_000;
const FAILURES_UNTIL_DOWN = 3;
const NO_OPTIONS = Buffer.alloc(0);
/** These concern the server and not the name: another one may know. */
const ASK_ANOTHER: ReadonlySet<number> = new Set([
  RCODE_FORMERR,
  RCODE_SERVFAIL,
  RCODE_NOTIMP,
  RCODE_REFUSED,
  RCODE_BADVERS,
]);

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
}

class Forwarder {
  failures = 0;
  downUntilMs = 0;
  /** It answered FORMERR to an OPT: it is asked without (RFC 6891 section 7). */
  plainUntilMs = 0;
  constructor(readonly udp: UdpForwarder) {}
}

/** A query in wire form, id 0. */
export function buildQuery(question: Question, edns: boolean): Buffer {
  const opt = edns ? optRecord(0, question.dnssecOk, NO_OPTIONS) : NO_OPTIONS;
  const bytes = Buffer.concat([Buffer.alloc(DNS_HEADER), question.question, opt]);
  set16(bytes, 2, question.flags & (FLAG_RD | FLAG_CD));
  set16(bytes, 4, 1);
  set16(bytes, 10, edns ? 1 : 0);
  return bytes;
}

/** RFC 5452 section 9.1: what must match besides address, port and id. A server that could not read the query may leave the question out. */
function answers(bytes: Buffer, question: Buffer): boolean {
  if (bytes.length < DNS_HEADER) return false;
  const flags = get16(bytes, 2);
  if ((flags & (FLAG_QR | FLAG_OPCODE)) !== FLAG_QR) return false;
  return hasQuestion(bytes, question) || (get16(bytes, 4) === 0 && (flags & FLAG_RCODE) !== 0);
}

export class Upstream {
  readonly #forwarders: Forwarder[];
  readonly #asks = new Set<Ask>();
  #closed = false;

  constructor(
    forwarders: readonly SocketAddress[],
    readonly stats: Dns64Stats,
    readonly log: Log,
    readonly times: UpstreamTimes = UPSTREAM_TIMES,
  ) {
    this.#forwarders = forwarders.map((address) => new Forwarder(new UdpForwarder(address, stats)));
  }

  /** Asks. Never rejects: ends within the budget, with an answer or the reason why there is none. */
  ask(question: Question, budgetMs = this.times.budgetMs): Promise<UpstreamAnswer> {
    const refuse = (failure: UpstreamFailure) => Promise.resolve({ answer: null, failure });
    if (this.#closed) return refuse('closed');
    if (this.#forwarders.length === 0) return refuse('no-forwarder');
    if (this.stats.upstreamPending >= MAX_PENDING) return refuse('overload');
    this.stats.upstreamPending++;
    return new Promise((resolve) => {
      const ask: Ask = new Ask(this, question, this.#order(), budgetMs, (result) => {
        this.stats.upstreamPending--;
        this.#asks.delete(ask);
        resolve(result);
      });
      this.#asks.add(ask);
      ask.next();
    });
  }

  /** Ends what is in flight ('closed') and closes the sockets. */
  close(): void {
    this.#closed = true;
    for (const ask of [...this.#asks]) ask.finish({ answer: null, failure: 'closed' });
    for (const forwarder of this.#forwarders) forwarder.udp.close();
  }

  /** Any answer shows that the forwarder lives. */
  mend(forwarder: Forwarder): void {
    if (forwarder.downUntilMs !== 0)
      this.log.info({ forwarder: forwarder.udp.address }, 'forwarder answers again');
    forwarder.failures = 0;
    forwarder.downUntilMs = 0;
  }

  blame(forwarder: Forwarder): void {
    if (++forwarder.failures < FAILURES_UNTIL_DOWN) return;
    if (forwarder.downUntilMs === 0) {
      this.log.warn(
        { forwarder: forwarder.udp.address },
        'forwarder does not answer; others are asked first',
      );
    }
    forwarder.downUntilMs = Date.now() + this.times.retryMs;
  }

  /** Those believed to answer; if there is none, all. */
  #order(): Forwarder[] {
    const now = Date.now();
    const up = this.#forwarders.filter((forwarder) => forwarder.downUntilMs <= now);
    return up.length > 0 ? up : this.#forwarders;
  }
}

/** One question on its way through the forwarders. */
class Ask {
  readonly #waits: (() => void)[] = [];
  /** Forwarders that will not help with this question. */
  readonly #spent = new Set<Forwarder>();
  readonly #budget: NodeJS.Timeout;
  #silence: NodeJS.Timeout | undefined;
  #turn = 0;
  #done = false;
  /** What there is to tell the client if nothing better comes. */
  #last: UpstreamAnswer = { answer: null, failure: 'timeout' };

  constructor(
    private readonly upstream: Upstream,
    private readonly question: Question,
    private readonly order: readonly Forwarder[],
    budgetMs: number,
    private readonly settle: (result: UpstreamAnswer) => void,
  ) {
    this.#budget = setTimeout(() => this.finish(this.#last), budgetMs);
  }

  finish(result: UpstreamAnswer): void {
    if (this.#done) return;
    this.#done = true;
    clearTimeout(this.#budget);
    clearTimeout(this.#silence);
    for (const endWait of this.#waits) endWait();
    this.settle(result);
  }

  /** Asks the next forwarder that may help. Silent ones get their turn again: datagrams are lost. */
  next(): void {
    for (let i = 0; i < this.order.length; i++) {
      const forwarder = this.order[this.#turn++ % this.order.length] as Forwarder;
      if (!this.#spent.has(forwarder)) {
        this.#askUdp(forwarder, Date.now() >= forwarder.plainUntilMs);
        return;
      }
    }
    this.finish(this.#last);
  }

  #expect(forwarder: Forwarder): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => {
      this.upstream.stats.upstreamTimeouts++;
      this.upstream.blame(forwarder);
      this.next();
    }, this.upstream.times.tryMs);
  }

  #askUdp(forwarder: Forwarder, edns: boolean): void {
    this.upstream.stats.upstreamQueries++;
    this.#expect(forwarder);
    const endWait = forwarder.udp.send(buildQuery(this.question, edns), {
      onDatagram: (bytes) => {
        if (!answers(bytes, this.question.question)) return false;
        endWait();
        this.#take(forwarder, bytes, edns, false);
        return true;
      },
      onError: (error) => {
        endWait();
        this.#giveUp(forwarder, error);
      },
    });
    this.#waits.push(endWait);
  }

  #askTcp(forwarder: Forwarder, edns: boolean): void {
    this.upstream.stats.upstreamTcp++;
    this.#expect(forwarder);
    const endWait = askOverTcp(forwarder.udp.address, buildQuery(this.question, edns), {
      onMessage: (bytes) => {
        if (!answers(bytes, this.question.question)) return false;
        this.#take(forwarder, bytes, edns, true);
        return true;
      },
      onError: (error) => this.#giveUp(forwarder, error),
    });
    this.#waits.push(endWait);
  }

  #giveUp(forwarder: Forwarder, error: Error): void {
    if (this.#done) return;
    this.upstream.log.debug(
      { forwarder: forwarder.udp.address, error: error.message },
      'forwarder unreachable',
    );
    this.upstream.blame(forwarder);
    this.#another(forwarder, { answer: null, failure: 'network' });
  }

  #another(forwarder: Forwarder, why: UpstreamAnswer): void {
    this.#spent.add(forwarder);
    // An error that a server sent says more than one that we met.
    if (this.#last.answer === null) this.#last = why;
    this.next();
  }

  /** An answer to this question, from where it was asked. */
  #take(forwarder: Forwarder, bytes: Buffer, edns: boolean, tcp: boolean): void {
    if (this.#done) return;
    this.upstream.mend(forwarder);
    const answer = parseMessage(bytes);
    if (answer === null) {
      // A truncated message may break off anywhere (RFC 2181 section 9), and is not looked at.
      if (!tcp && (get16(bytes, 2) & FLAG_TC) !== 0) this.#askTcp(forwarder, edns);
      else this.#another(forwarder, { answer: null, failure: 'garbage' });
      return;
    }
    const rcode = rcodeOf(answer);
    if (edns && answer.opt === null && (rcode === RCODE_FORMERR || rcode === RCODE_NOTIMP)) {
      forwarder.plainUntilMs = Date.now() + this.upstream.times.retryMs;
      this.#askUdp(forwarder, false);
    } else if ((answer.flags & FLAG_TC) !== 0) {
      if (tcp) this.#another(forwarder, { answer: null, failure: 'garbage' });
      else this.#askTcp(forwarder, edns);
    } else if (ASK_ANOTHER.has(rcode) && !saysDnssecFailed(answer)) {
      this.#another(forwarder, { answer, failure: null });
    } else {
      this.finish({ answer, failure: null });
    }
  }
}

/** Takes queries from sockets, has them answered, and counts. The sockets are in udp-server.ts and tcp-server.ts. */
import type { Address6 } from '../../wire/address.js';
import { get16, set16 } from '../../wire/bytes.js';
import type { SocketAddress } from '../config/types.js';
import type { ClientAddress } from './access.js';
import type { Answerer } from './answer.js';
import {
  COOKIE_OPTION_SIZE,
  findCookie,
  findOpt,
  hasServerCookie,
  MALFORMED_COOKIE,
  NO_COOKIE,
  type ServerCookies,
} from './cookies.js';
import { OPT_SIZE, optRecord, UDP_PAYLOAD, UDP_PAYLOAD_MINIMUM } from './edns.js';
import type { FastPath } from './fast-path.js';
import {
  DNS_HEADER,
  FLAG_OPCODE,
  FLAG_QR,
  FLAG_RCODE,
  FLAG_TC,
  MAX_MESSAGE,
  RCODE_FORMERR,
  RCODE_NOERROR,
  RCODE_REFUSED,
  RCODE_SERVFAIL,
  TYPE_OPT,
} from './message.js';
import type { PolicySet } from './policy.js';
import { errorReply, finishReply, type Query, type Reply, receiveQuery, udpLimit } from './query.js';
import { ANSWER, type RateLimit, SLIP } from './rate-limit.js';
import { countType, type Dns64Stats } from './stats.js';
import type { Log } from './upstream.js';

/** Client queries being answered at a time, over all sockets; more get SERVFAIL. */
const MAX_PENDING = 10_000;
const QR = FLAG_QR >>> 8;
const RCODE_BADCOOKIE = 23;

/** A socket that is served. */
export interface Listener {
  readonly address: SocketAddress;
  close(): void;
}

export interface HandlerParts {
  readonly answerer: Pick<Answerer, 'answer'>;
  readonly policies: Pick<PolicySet, 'policyFor'>;
  readonly mayAsk: (client: Address6) => boolean;
  readonly stats: Dns64Stats;
  readonly log: Log;
  readonly fastPath?: Pick<FastPath, 'respond'> | undefined;
  readonly cookies?: ServerCookies | undefined;
  readonly rateLimit?: RateLimit | undefined;
  readonly maxPending?: number | undefined;
  /** See Dns64Options. */
  readonly giveWay?: (() => void) | undefined;
  /** Whether a query is one that we sent to a forwarder. */
  readonly isOwnQuery?: ((id: number, question: Buffer) => boolean) | undefined;
}

/** What `respond` returns besides a length: `handle` has to do it, or nothing is to be said. */
export const NOT_AT_ONCE = 0;
export const SILENCE = -1;
/** Room that `respond` needs. */
export const RESPOND_ROOM = UDP_PAYLOAD;

export class QueryHandler {
  readonly stats: Dns64Stats;

  constructor(private parts: HandlerParts) {
    this.stats = parts.stats;
  }

  /** Replaces parts, from the next query on. What is not named stays. */
  use(parts: Partial<Omit<HandlerParts, 'stats'>>): void {
    this.parts = { ...this.parts, ...parts };
  }

  /** To be called by listeners between two queries that took long, and in each of their turns. */
  giveWay(): void {
    this.parts.giveWay?.();
  }

  /**
   * What can be said to a datagram without waiting: a finished answer, or what a client gets that asks too often. Every
   * datagram comes here first.
   * @param query holds the datagram in its first `length` bytes, and is not kept
   * @param out RESPOND_ROOM bytes from `at` on
   * @returns bytes written, NOT_AT_ONCE or SILENCE
   */
  respond(
    query: Buffer,
    length: number,
    client: Address6,
    local: Address6 | null,
    out: Buffer,
    at: number,
  ): number {
    if (length < DNS_HEADER || ((query[2] as number) & QR) !== 0) return NOT_AT_ONCE;
    try {
      return this.#respond(query, length, client, local, out, at);
    } catch (error) {
      // A mistake of ours: it costs this datagram and not the gateway.
      this.parts.log.error({ error, query: query.toString('hex', 0, length) }, 'answering a query failed');
      return SILENCE;
    }
  }

  #respond(
    query: Buffer,
    length: number,
    client: Address6,
    local: Address6 | null,
    out: Buffer,
    at: number,
  ): number {
    const { fastPath, rateLimit, cookies, mayAsk, policies } = this.parts;
    let cookie = NO_COOKIE;
    if (cookies !== undefined && mayHoldOptions(query, length)) {
      const opt = findOpt(query, length);
      if (opt >= 0) cookie = findCookie(query, opt);
      if (cookie === MALFORMED_COOKIE) return NOT_AT_ONCE;
    }
    // Who shows a cookie of ours is who he says (RFC 7873 section 5.2.5).
    if (rateLimit !== undefined && !(cookie >= 0 && cookies?.isValid(query, cookie, client) === true)) {
      const verdict = rateLimit.judge(client);
      if (verdict === SLIP) return this.#slip(query.subarray(0, length), cookie, client, out, at);
      if (verdict !== ANSWER) {
        this.stats.dropped.rate++;
        return SILENCE;
      }
    }
    if (fastPath === undefined || !mayAsk(client)) return NOT_AT_ONCE;
    const { id } = policies.policyFor(client, local);
    const optionSize = cookie >= 0 ? COOKIE_OPTION_SIZE : 0;
    const written = fastPath.respond(query, length, id, UDP_PAYLOAD_MINIMUM, out, at, optionSize);
    if (written === 0) return NOT_AT_ONCE;
    this.stats.queriesUdp++;
    if (cookie < 0) return written;
    // It ends in an OPT: the query had one.
    const optionsAt = at + findOpt(out.subarray(at, at + written), written) + 9;
    set16(out, optionsAt, get16(out, optionsAt) + optionSize);
    out.set((cookies as ServerCookies).answerOption(query, cookie, client), at + written);
    return written + optionSize;
  }

  /**
   * Answers one message of a client, now or later, once or (where there is nothing to answer to) not at all.
   * @param bytes are kept until it is answered
   * @param local the address that was asked, where that is known
   * @param done gets the answer, or null for silence; always called once
   */
  handle(
    bytes: Buffer,
    client: ClientAddress,
    local: Address6 | null,
    transport: 'udp' | 'tcp',
    done: (answer: Buffer | null) => void,
  ): void {
    const received = receiveQuery(bytes);
    if (received.kind === 'drop') {
      this.stats.dropped[received.reason]++;
      done(null);
      return;
    }
    if (transport === 'udp') this.stats.queriesUdp++;
    else this.stats.queriesTcp++;
    if (received.kind === 'error') {
      const answer = this.#answerCookieOnly(bytes, client.words);
      if (answer === null) this.stats.errors++;
      done(answer ?? received.bytes);
      return;
    }
    const { query } = received;
    countType(this.stats, query.qtype);
    const { isOwnQuery, mayAsk, maxPending = MAX_PENDING } = this.parts;
    const cookie = query.edns === null ? NO_COOKIE : this.#cookieOf(bytes);
    const finish = (reply: Reply) =>
      done(this.#finish(query, reply, transport === 'udp' ? udpLimit(query) : MAX_MESSAGE, option()));
    // Made when it is sent: the secret may have changed since the query came.
    const option = () =>
      cookie < 0 ? null : (this.parts.cookies?.answerOption(bytes, cookie, client.words) ?? null);
    if (cookie === MALFORMED_COOKIE) {
      this.stats.errors++;
      finish(errorReply(query, RCODE_FORMERR));
    } else if (isOwnQuery?.(query.id, query.question) === true) {
      this.stats.loops++;
      finish(errorReply(query, RCODE_REFUSED));
    } else if (!mayAsk(client.words)) finish(errorReply(query, RCODE_REFUSED));
    else if (this.stats.pending >= maxPending) finish(errorReply(query, RCODE_SERVFAIL));
    else this.#answer(query, client.words, local, finish);
  }

  #answer(query: Query, client: Address6, local: Address6 | null, finish: (reply: Reply) => void): void {
    this.stats.pending++;
    const settle = (reply: Reply) => {
      this.stats.pending--;
      finish(reply);
    };
    // A mistake of ours: it costs this answer and not the gateway.
    const fail = (error: unknown) => {
      this.parts.log.error({ error, query: query.question.toString('hex') }, 'answering a query failed');
      settle(errorReply(query, RCODE_SERVFAIL));
    };
    let reply: Reply | Promise<Reply>;
    try {
      const { answerer, policies } = this.parts;
      reply = answerer.answer(query, policies.policyFor(client, local));
    } catch (error) {
      fail(error);
      return;
    }
    if (reply instanceof Promise) void reply.then(settle, fail);
    else settle(reply);
  }

  #cookieOf(bytes: Buffer): number {
    const opt = this.parts.cookies === undefined ? -1 : findOpt(bytes, bytes.length);
    return opt < 0 ? NO_COOKIE : findCookie(bytes, opt);
  }

  /** RFC 7873 section 5.4: no question, only a cookie. Null where the message is something else. */
  #answerCookieOnly(bytes: Buffer, client: Address6): Buffer | null {
    const { cookies, mayAsk } = this.parts;
    const isBare =
      bytes.length >= DNS_HEADER &&
      (get16(bytes, 2) & FLAG_OPCODE) === 0 &&
      bytes.readUInt32BE(4) === 0 &&
      bytes.readUInt32BE(8) === 1;
    if (cookies === undefined || !isBare || !mayAsk(client)) return null;
    const opt = findOpt(bytes, bytes.length);
    // Of another version of EDNS nothing more is known.
    const cookie = opt < 0 || bytes[opt + 6] !== 0 ? NO_COOKIE : findCookie(bytes, opt);
    if (cookie < 0) return null;
    const isGood = !hasServerCookie(bytes, cookie) || cookies.isValid(bytes, cookie, client);
    if (!isGood) this.stats.badCookies++;
    const rcode = isGood ? RCODE_NOERROR : RCODE_BADCOOKIE;
    const header = Buffer.alloc(DNS_HEADER);
    header.set(bytes.subarray(0, 2));
    set16(header, 2, FLAG_QR | (rcode & FLAG_RCODE));
    header[11] = 1;
    return Buffer.concat([header, optRecord(rcode, false, cookies.answerOption(bytes, cookie, client))]);
  }

  /**
   * What a client gets instead of an answer that its rate does not allow: BADCOOKIE if it speaks cookies, so that its next query
   * shows who it is (RFC 7873 section 5.2.3); else TC=1. Never more than a cookie longer than the query.
   */
  #slip(bytes: Buffer, cookie: number, client: Address6, out: Buffer, at: number): number {
    const received = receiveQuery(bytes);
    if (received.kind !== 'query') {
      this.stats.dropped.rate++;
      return SILENCE;
    }
    this.stats.queriesUdp++;
    this.stats.slipped++;
    const { query } = received;
    countType(this.stats, query.qtype);
    if (cookie >= 0) this.stats.badCookies++;
    const option = cookie < 0 ? null : (this.parts.cookies?.answerOption(bytes, cookie, client) ?? null);
    const answer =
      option === null
        ? finishReply(query, errorReply(query, RCODE_NOERROR), 0)
        : withOption(finishReply(query, errorReply(query, RCODE_BADCOOKIE), MAX_MESSAGE), 0, option);
    out.set(answer, at);
    return answer.length;
  }

  #finish(query: Query, reply: Reply, limit: number, option: Buffer | null): Buffer {
    const room = Math.min(limit, MAX_MESSAGE) - (option?.length ?? 0);
    const answer = finishReply(query, reply, room);
    const flags = get16(answer, 2);
    const isTruncated = (flags & FLAG_TC) !== 0;
    if (isTruncated) this.stats.truncated++;
    const rcode = flags & FLAG_RCODE;
    if (rcode === RCODE_REFUSED || rcode === RCODE_SERVFAIL) this.stats.errors++;
    if (option === null) return answer;
    const errors = isTruncated ? 0 : reply.errors.reduce((sum, error) => sum + error.length, 0);
    return withOption(answer, errors, option);
  }
}

/** Whether a query may have EDNS options: false where its last record is an OPT without any, as most are, or there is none. */
function mayHoldOptions(query: Buffer, length: number): boolean {
  if (get16(query, 10) === 0) return false;
  const opt = length - OPT_SIZE;
  return !(
    opt >= DNS_HEADER &&
    query[opt] === 0 &&
    get16(query, opt + 1) === TYPE_OPT &&
    get16(query, opt + 9) === 0
  );
}

/** Adds an option to an answer of `finishReply`, which ends in an OPT with `optionsSize` bytes of options. */
function withOption(answer: Buffer, optionsSize: number, option: Buffer): Buffer {
  const bytes = Buffer.concat([answer, option]);
  set16(bytes, answer.length - optionsSize - 2, optionsSize + option.length);
  return bytes;
}

/** Takes queries from sockets, has them answered, and counts. The sockets are in udp-server.ts and tcp-server.ts. */

import { get16 } from '../../wire/bytes.js';
import type { Answerer } from './answer.js';
import { FLAG_RCODE, FLAG_TC, MAX_MESSAGE, RCODE_REFUSED, RCODE_SERVFAIL } from './message.js';
import { errorReply, finishReply, type Query, type Reply, receiveQuery, udpLimit } from './query.js';
import type { Dns64Stats } from './stats.js';
import type { Log } from './upstream.js';

/** Client queries being answered at a time, over all sockets; more get SERVFAIL. */
const MAX_PENDING = 10_000;

export class QueryHandler {
  constructor(
    private readonly answerer: Answerer,
    private readonly mayAsk: (address: string) => boolean,
    readonly stats: Dns64Stats,
    private readonly log: Log,
    private readonly maxPending = MAX_PENDING,
  ) {}

  /**
   * Answers one message of a client, now or later, once or (where there is nothing to answer to) not at all.
   * @param done gets the answer, or null for silence; always called once
   */
  handle(
    bytes: Buffer,
    client: string,
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
      this.stats.errors++;
      done(received.bytes);
      return;
    }
    const { query } = received;
    const limit = transport === 'udp' ? udpLimit(query) : MAX_MESSAGE;
    if (!this.mayAsk(client)) {
      this.#finish(query, errorReply(query, RCODE_REFUSED), limit, done);
    } else if (this.stats.pending >= this.maxPending) {
      this.#finish(query, errorReply(query, RCODE_SERVFAIL), limit, done);
    } else {
      this.stats.pending++;
      void this.#answer(query).then((reply) => {
        this.stats.pending--;
        this.#finish(query, reply, limit, done);
      });
    }
  }

  async #answer(query: Query): Promise<Reply> {
    try {
      return await this.answerer.answer(query);
    } catch (error) {
      // A mistake of ours: it costs this answer and not the gateway.
      this.log.error({ error, query: query.question.toString('hex') }, 'answering a query failed');
      return errorReply(query, RCODE_SERVFAIL);
    }
  }

  #finish(query: Query, reply: Reply, limit: number, done: (answer: Buffer | null) => void): void {
    const answer = finishReply(query, reply, limit);
    const flags = get16(answer, 2);
    if ((flags & FLAG_TC) !== 0) this.stats.truncated++;
    const rcode = flags & FLAG_RCODE;
    if (rcode === RCODE_REFUSED || rcode === RCODE_SERVFAIL) this.stats.errors++;
    done(answer);
  }
}

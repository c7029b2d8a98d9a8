/**
 * What clients send, to the query handler as the listeners call it, over UDP with the fast path and over TCP. A record is a byte (how
 * it comes) and a message. Each has one answer or silence, fit for its client, and nothing waits afterwards.
 */
import assert from 'node:assert/strict';
import { DEFAULT_NAMES } from '#nat64d/control/config/synthesis.js';
import { ServerCookies } from '#nat64d/control/dns64/cookies.js';
import { parseMessage } from '#nat64d/control/dns64/message.js';
import { PolicySet } from '#nat64d/control/dns64/policy.js';
import { RateLimit } from '#nat64d/control/dns64/rate-limit.js';
import { NOT_AT_ONCE, QueryHandler, RESPOND_ROOM } from '#nat64d/control/dns64/server.js';
import { rig } from '../helpers/dns-upstream.js';
import { prefix6 } from '../helpers/harness.js';
import { answer, answerTo, query } from './dns-messages.js';
import type { Case, Runner, Target } from './driver.js';
import type { Random } from './random.js';

const CLIENT = [0x20010db8, 1, 0, 2] as const;
const CANARY = 0xee;
const TCP = 1;
const LATER = 2;
/** What the forwarder says to all that follow. */
const SAYS = 4;

class Queries implements Runner {
  readonly #rig = rig({}, { serveStaleSec: 100, prefetch: true });
  readonly #handler: QueryHandler;
  readonly #failures: unknown[] = [];
  readonly #out = Buffer.alloc(RESPOND_ROOM + 64);
  #nowMs = 0;
  #says: Buffer | null = null;
  #isLater = false;

  constructor() {
    const { answerer, fastPath, stats, upstream, clock } = this.#rig;
    const pref64 = prefix6('2001:db8:64::/96');
    const pref64s = [{ prefix: pref64, ipv4: [], excludeAaaa: [] }];
    this.#handler = new QueryHandler({
      answerer,
      fastPath,
      stats,
      policies: new PolicySet({ names: { ...DEFAULT_NAMES, pref64s }, pref64, wkpfStrict: true }),
      mayAsk: ([word]) => word !== 0,
      cookies: new ServerCookies(
        () => Buffer.alloc(16, 7),
        () => clock.nowSec,
      ),
      rateLimit: new RateLimit(1000, () => this.#nowMs),
      log: { debug() {}, info() {}, warn() {}, error: (fields: object) => this.#failures.push(fields) },
    });
    upstream.ask = ({ question }) => {
      const asked = Buffer.concat([Buffer.alloc(12), question]);
      const said = this.#says === null ? null : parseMessage(answerTo(asked, this.#says));
      const result =
        said === null ? { answer: null, failure: 'garbage' as const } : { answer: said, failure: null };
      return this.#isLater ? Promise.resolve(result) : result;
    };
  }

  async run(records: Case): Promise<void> {
    this.#rig.clock.nowSec += 200;
    this.#says = null;
    for (const record of records) {
      if (record.length === 0) continue;
      const how = record[0] as number;
      const message = record.subarray(1);
      this.#isLater = (how & LATER) !== 0;
      this.#nowMs += 2;
      if ((how & SAYS) !== 0) this.#says = message;
      else if ((how & TCP) !== 0) await this.#handle(message, 'tcp');
      else if (!this.#respond(message)) await this.#handle(message, 'udp');
    }
    // What is asked again in good time.
    await new Promise((resolve) => setImmediate(resolve));
    const { stats, resolver } = this.#rig;
    assert.deepEqual(
      [stats.pending, stats.upstreamPending, resolver.pending],
      [0, 0, 0],
      'something is still pending',
    );
    assert.deepEqual(this.#failures, [], 'a mistake of ours');
  }

  #respond(message: Buffer): boolean {
    const out = this.#out.fill(CANARY);
    const slot = Buffer.alloc(4096);
    const length = message.copy(slot);
    const written = this.#handler.respond(slot, length, [...CLIENT], null, out, 32);
    assert.ok(written <= RESPOND_ROOM);
    const end = 32 + Math.max(0, written);
    for (let at = 0; at < out.length; at++)
      if ((at < 32 || at >= end) && out[at] !== CANARY) assert.fail('written outside of its room');
    if (written > 0) this.#checkReply(message.subarray(0, length), out.subarray(32, end), RESPOND_ROOM);
    return written !== NOT_AT_ONCE;
  }

  async #handle(message: Buffer, transport: 'udp' | 'tcp'): Promise<void> {
    const given: (Buffer | null)[] = [];
    await new Promise<void>((resolve) => {
      const client = { words: [...CLIENT] as [number, number, number, number], scope: 0, port: 1 };
      this.#handler.handle(Buffer.from(message), client, null, transport, (reply) => {
        given.push(reply);
        resolve();
      });
    });
    assert.equal(given.length, 1);
    const [reply = null] = given;
    if (reply === null) assert.ok(message.length < 4 || (message[2]! & 0x80) !== 0, 'silence to a query');
    else this.#checkReply(message, reply, transport === 'udp' ? RESPOND_ROOM : 65535);
  }

  #checkReply(message: Buffer, reply: Buffer, limit: number): void {
    assert.ok(message.length >= 4 && (message[2]! & 0x80) === 0, 'an answer to what is no query');
    assert.ok(reply.length <= limit, `${reply.length} bytes`);
    const read = parseMessage(reply);
    if (read === null || read.end !== reply.length) assert.fail(`unreadable: ${reply.toString('hex')}`);
    assert.equal(read.id, message.readUInt16BE(0));
    assert.equal(reply[2]! & 0x80, 0x80);
  }
}

function make(random: Random): Case {
  return Array.from({ length: random.between(1, 6) }, () => {
    const how = random.pick([0, 0, 0, TCP, LATER, TCP | LATER, SAYS, SAYS]);
    const message = how === SAYS ? answer(random) : query(random, random.oneIn(3));
    return Buffer.concat([Buffer.of(how), message]);
  });
}

export const dnsQueries: Target = {
  name: 'dns-queries',
  about: 'messages of DNS clients, and answers to what they make us ask, without sockets',
  wholeCount: 1_000_000,
  shortCount: 3_000,
  make,
  open: () => new Queries(),
};

/**
 * What forwarders send, over UDP and TCP on loopback. The first record is a byte (how); the others are answers, given to one question
 * after each other. The last is a right one, or the connection is closed: the client has its answer then, and nothing waits.
 */
import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server, type Socket as Stream } from 'node:net';
import { parseMessage } from '#nat64d/control/dns64/message.js';
import { newStats } from '#nat64d/control/dns64/stats.js';
import { Upstream } from '#nat64d/control/dns64/upstream.js';
import { at, encodeQuery, prefixed, QUIET } from '../conformance/rfc6147/harness.js';
import { answer, answerTo, questionEnd } from './dns-messages.js';
import type { Case, Runner, Target } from './driver.js';
import type { Random } from './random.js';

const QUESTION = encodeQuery({ name: 'www.example', type: 'AAAA' }).subarray(12);
/** Bits of the first record: TCP at once, without framing, closed in the end, and letters in random case. */
const BY_TCP = 1;
const RAW = 2;
const CLOSE = 4;
const RESET = 8;

class Answers implements Runner {
  readonly #stats = newStats();
  #udp!: Socket;
  #tcp!: Server;
  #upstream!: Upstream;
  #records: Case = [];
  #how = 0;
  readonly #streams = new Set<Stream>();

  async start(): Promise<this> {
    this.#tcp = createServer((stream) => this.#serve(stream));
    this.#tcp.listen(0, '127.0.0.1');
    await once(this.#tcp, 'listening');
    const { port } = this.#tcp.address() as { port: number };
    this.#udp = createSocket('udp4');
    this.#udp.on('message', (asked, from) => {
      for (const bytes of this.#answersTo(asked, false)) this.#udp.send(bytes, from.port, from.address);
    });
    this.#udp.bind(port, '127.0.0.1');
    await once(this.#udp, 'listening');
    // Silence ends a question too, but costs time.
    this.#upstream = new Upstream([at(port)], this.#stats, QUIET, {
      times: { tryMs: 400, budgetMs: 400, retryMs: 1 },
      streamTimes: { stallMs: 300 },
    });
    return this;
  }

  async run(records: Case): Promise<void> {
    this.#how = records[0]?.[0] ?? 0;
    this.#records = records.slice(1);
    const results = await Promise.all(
      [0, 0x100, 0x110].map((flags) =>
        this.#upstream.ask({ question: QUESTION, flags, dnssecOk: flags === 0 }),
      ),
    );
    for (const { answer: given, failure } of results) {
      assert.equal(given === null, failure !== null);
      if (given !== null) assert.ok(parseMessage(given.bytes) !== null && given.end <= given.bytes.length);
    }
    assert.equal(this.#stats.upstreamPending, 0);
  }

  async close(): Promise<void> {
    this.#upstream.close();
    for (const stream of this.#streams) stream.destroy();
    this.#udp.close();
    this.#tcp.close();
    await Promise.all([once(this.#tcp, 'close')]);
    for (let id = 0; id < 65536; id++)
      if (this.#upstream.ids.has(id)) assert.fail(`the id ${id} is still in flight`);
  }

  /** Ends in a right one, so that nobody waits. */
  #answersTo(asked: Buffer, isStream: boolean): Buffer[] {
    const right = Buffer.from(asked.subarray(0, questionEnd(asked)));
    right.writeUInt16BE(0x8180, 2);
    right.writeUInt16BE(0, 10);
    // Over UDP first, to have it asked again whole.
    if (!isStream && (this.#how & BY_TCP) !== 0) right[2]! |= 2;
    return [...this.#records.map((said) => answerTo(asked, said)), right];
  }

  #serve(stream: Stream): void {
    this.#streams.add(stream);
    stream.setNoDelay(true);
    stream.on('close', () => this.#streams.delete(stream));
    stream.on('error', () => {});
    let data = Buffer.alloc(0);
    stream.on('data', (chunk) => {
      data = Buffer.concat([data, chunk]);
      while (data.length >= 2 && data.length >= 2 + data.readUInt16BE(0)) {
        const asked = data.subarray(2, 2 + data.readUInt16BE(0));
        data = data.subarray(2 + asked.length);
        if ((this.#how & RAW) !== 0) for (const said of this.#records) stream.write(said);
        else
          for (const bytes of this.#answersTo(asked, true)) stream.write(prefixed(bytes.subarray(0, 65535)));
      }
      if ((this.#how & (CLOSE | RAW)) !== 0) {
        if ((this.#how & RESET) !== 0) stream.resetAndDestroy();
        else stream.end();
      }
    });
  }
}

function make(random: Random): Case {
  const how = random.oneIn(8) ? BY_TCP | random.below(16) : 0;
  const answers = Array.from({ length: random.between(1, 4) }, () => answer(random));
  return [Buffer.of(how), ...answers];
}

export const dnsAnswers: Target = {
  name: 'dns-answers',
  about: 'messages of forwarders, over UDP and TCP on loopback',
  wholeCount: 1_000_000,
  shortCount: 1_000,
  make,
  open: () => new Answers().start(),
};

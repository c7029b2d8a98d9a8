/** The UDP listener, over the addon and over Node's own sockets, with a handler whose answers are known. */
import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Answerer } from '#nat64d/control/dns64/answer.js';
import { ServerCookies } from '#nat64d/control/dns64/cookies.js';
import type { FastPath } from '#nat64d/control/dns64/fast-path.js';
import { udpAddon } from '#nat64d/control/dns64/native-udp.js';
import type { Policy } from '#nat64d/control/dns64/policy.js';
import { errorReply, type Query, type Reply } from '#nat64d/control/dns64/query.js';
import { RateLimit } from '#nat64d/control/dns64/rate-limit.js';
import { type HandlerParts, QueryHandler, RESPOND_ROOM } from '#nat64d/control/dns64/server.js';
import { newStats } from '#nat64d/control/dns64/stats.js';
import { listenUdp } from '#nat64d/control/dns64/udp-server.js';
import { type Address6, formatAddress6 } from '#nat64d/wire/address.js';
import native from '#native';
import { decodeReply, encodeQuery, QUIET, SERVFAIL, TC } from '../../../conformance/rfc6147/harness.js';
import { until } from '../../../helpers/until.js';

const FORMERR = 1;
const NXDOMAIN = 3;

const CACHED = encodeQuery({ name: 'cached.example', type: 'A' }).subarray(12);

/** A fast path that knows one question. */
class OneAnswer implements Pick<FastPath, 'respond'> {
  asked = 0;
  respond(query: Uint8Array, length: number, _policy: number, _limit: number, out: Uint8Array, at: number) {
    this.asked++;
    if (Buffer.compare(CACHED, query.subarray(12, length)) !== 0) return 0;
    out.set(query.subarray(0, length), at);
    out[at + 2] = 0x81;
    return length;
  }
}

/** Nobody looks into it. */
const POLICY = { id: 0 } as Policy;

interface Served {
  port: number;
  handler: QueryHandler;
  clients: { words: Address6; local: Address6 | null }[];
  close(): void;
}

/** Serves: `later…` is answered with NXDOMAIN after a moment, `now…` at once, `broken…` fails. */
async function serve(
  addon: typeof native | null,
  address = '127.0.0.1',
  parts: Partial<HandlerParts> = {},
): Promise<Served> {
  const clients: Served['clients'] = [];
  const answer = (query: Query): Reply | Promise<Reply> => {
    const reply = errorReply(query, NXDOMAIN);
    if (query.name.includes('broken')) throw new Error('a mistake of ours');
    return query.name.includes('later') ? sleep(5).then(() => reply) : reply;
  };
  const handler = new QueryHandler({
    answerer: { answer } as unknown as Answerer,
    mayAsk: () => true,
    policies: {
      policyFor: (words, local) => {
        clients.push({ words, local });
        return POLICY;
      },
    },
    fastPath: new OneAnswer(),
    stats: newStats(),
    log: QUIET,
    ...parts,
  });
  const listener = await listenUdp({ address, port: 0 }, handler, QUIET, addon);
  return { port: listener.address.port, handler, clients, close: () => listener.close() };
}

/** Sends queries from one socket; the answers, by id. */
async function ask(
  port: number,
  queries: Buffer[],
  count = queries.length,
  address = '127.0.0.1',
): Promise<Map<number, Buffer>> {
  const socket: Socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  const answers = new Map<number, Buffer>();
  socket.connect(port, address);
  await once(socket, 'connect');
  const done = new Promise<void>((resolve) => {
    socket.on('message', (bytes) => {
      answers.set(bytes.readUInt16BE(0), bytes);
      if (answers.size === count) resolve();
    });
  });
  for (const query of queries) socket.send(query);
  if (count > 0) await done;
  else await sleep(50);
  socket.close();
  return answers;
}

const query = (name: string, id: number) => encodeQuery({ name: `${name}.example`, type: 'A' }, id);
const ids = (count: number) => [...Array(count).keys()];

it('the addon is there to be tested', () => assert.equal(udpAddon, native));

for (const [what, addon] of [
  ['the addon', native],
  ["Node's sockets", null],
] as const) {
  describe(`over ${what}`, () => {
    it('answers at once, at once by way of a query, and later, all mixed', async () => {
      const served = await serve(addon);
      const names = ['cached', 'now', 'later', 'cached', 'broken'];
      const answers = await ask(
        served.port,
        ids(120).map((id) => query(names[id % 5] as string, id)),
      );
      for (const id of ids(120)) {
        const reply = decodeReply(answers.get(id) as Buffer);
        assert.equal(reply.question, `${names[id % 5]}.example A`);
        assert.equal(reply.rcode, [0, NXDOMAIN, NXDOMAIN, 0, SERVFAIL][id % 5]);
      }
      served.close();
      const { stats } = served.handler;
      assert.equal(stats.queriesUdp, 120);
      assert.equal(stats.pending, 0);
      assert.equal(stats.dropped.send, 0);
    });

    for (const address of ['127.0.0.1', '::1']) {
      it(`tells client and asked address: ${address}`, async () => {
        const served = await serve(addon, address);
        await ask(served.port, [query('now', 1)], 1, address);
        served.close();
        const text = address === '::1' ? '::1' : '::ffff:7f00:1';
        assert.deepEqual(
          served.clients.map(({ words, local }) => [formatAddress6(words), formatAddress6(local!)]),
          // Of what is answered at once, and of what is answered by way of a query.
          [
            [text, text],
            [text, text],
          ],
        );
      });
    }

    it('many clients at a time get what they asked for', async () => {
      const served = await serve(addon);
      await Promise.all(
        ids(30).map(async (client) => {
          const name = `${client % 2 === 0 ? 'now' : 'later'}-${client}`;
          const answers = await ask(served.port, [query(name, client)]);
          assert.equal(decodeReply(answers.get(client) as Buffer).question, `${name}.example A`);
        }),
      );
      served.close();
    });

    it('what is too long for a query, or cut: FORMERR', async () => {
      const served = await serve(addon);
      const long = Buffer.concat([query('now', 1), Buffer.alloc(3000)]);
      const answers = await ask(served.port, [long, query('now', 2).subarray(0, 20)]);
      assert.deepEqual(
        [1, 2].map((id) => (answers.get(id) as Buffer).readUInt16BE(2) & 0xf),
        [FORMERR, FORMERR],
      );
      served.close();
    });

    it('responses and scraps: silence', async () => {
      const served = await serve(addon);
      const response = query('now', 1);
      response[2] = 0x81;
      assert.equal((await ask(served.port, [response, Buffer.alloc(0), Buffer.of(1, 2, 3)], 0)).size, 0);
      served.close();
      const { short, response: responses } = served.handler.stats.dropped;
      assert.deepEqual([short, responses], [2, 1]);
    });

    it('a fast path that fails costs its datagram only', async () => {
      let calls = 0;
      const respond = () => {
        if (calls++ === 0) throw new Error('a mistake of ours');
        return 0;
      };
      const served = await serve(addon, '127.0.0.1', { fastPath: { respond } });
      const answers = await ask(served.port, [query('now', 1), query('now', 2), query('later', 3)], 2);
      assert.deepEqual([...answers.keys()].sort(), [2, 3]);
      served.close();
    });

    it('beyond the rate limit: TC=1 to every second, silence to the others', async () => {
      const served = await serve(addon, '127.0.0.1', { rateLimit: new RateLimit(5, () => 0) });
      const answers = await ask(
        served.port,
        ids(25).map((id) => query('cached', id)),
        15,
      );
      const replies = [...answers.values()].map(decodeReply);
      assert.equal(replies.filter(({ flags }) => (flags & TC) === 0).length, 5);
      const slipped = replies.filter(({ flags }) => (flags & TC) !== 0);
      assert.equal(slipped.length, 10);
      for (const { question, answer, bytes } of slipped) {
        assert.equal(question, 'cached.example A');
        assert.deepEqual(answer, []);
        assert.ok(bytes.length <= query('cached', 0).length);
      }
      assert.equal(served.handler.stats.slipped, 10);
      assert.equal(served.handler.stats.dropped.rate, 10);
      served.close();
    });

    it('closed with answers on their way: they are not sent, and nothing fails', async () => {
      const served = await serve(addon);
      const asking = ask(served.port, [query('later', 1)], 0);
      // It is answered after 5 ms.
      await until(() => served.handler.stats.pending > 0, 'the query', 10_000, 1);
      served.close();
      assert.equal((await asking).size, 0);
      assert.equal(served.handler.stats.pending, 0);
    });

    it('a port that is taken: an error with its code', async () => {
      const served = await serve(addon);
      const address = { address: '127.0.0.1', port: served.port };
      await assert.rejects(listenUdp(address, served.handler, QUIET, addon), { code: 'EADDRINUSE' });
      served.close();
    });
  });
}

describe('over the addon only', () => {
  for (const [wildcard, asked] of [
    ['0.0.0.0', '127.1.2.3'],
    ['::', '::1'],
  ] as const) {
    it(`${wildcard}: the answer comes from the address that was asked, at once or later`, async () => {
      const served = await serve(native, wildcard);
      // The socket is connected: what comes from another address it does not see.
      const queries = [query('cached', 1), query('now', 2), query('later', 3)];
      const answers = await ask(served.port, queries, 3, asked);
      assert.equal(answers.size, 3);
      const local = served.clients[0]?.local as Address6;
      assert.equal(formatAddress6(local), asked === '::1' ? '::1' : '::ffff:7f01:203');
      served.close();
    });
  }

  it('whoever shares the thread has a turn after each query that takes long, and in each turn', async () => {
    let turns = 0;
    const served = await serve(native, '127.0.0.1', { giveWay: () => turns++ });
    await ask(
      served.port,
      ids(100).map((id) => query('now', id)),
    );
    assert.ok(turns >= 100, `${turns} turns`);
    turns = 0;
    await ask(served.port, [query('cached', 1)]);
    assert.ok(turns >= 1);
    served.close();
  });

  for (const [name, most] of [
    ['cached', 64],
    ['now', 16],
  ] as const) {
    it(`a turn of the event loop takes ${most} datagrams for '${name}' at most, however many wait`, async () => {
      const served = await serve(native);
      const turns: number[] = [];
      let before = 0;
      const count = () => {
        const { queriesUdp } = served.handler.stats;
        turns.push(queriesUdp - before);
        before = queriesUdp;
        turn = setImmediate(count);
      };
      let turn = setImmediate(count);
      const answers = await ask(
        served.port,
        ids(200).map((id) => query(name, id)),
      );
      clearImmediate(turn);
      assert.equal(answers.size, 200);
      // What is left of a batch, and a new one, may both be in what is one turn to us.
      assert.ok(Math.max(...turns) <= 2 * most, String(turns));
      served.close();
    });
  }

  it('closed with a batch half done: nothing fails', async () => {
    const served = await serve(native);
    const asking = ask(
      served.port,
      ids(64).map((id) => query('now', id)),
      0,
    );
    while (served.handler.stats.queriesUdp === 0) await new Promise((resolve) => setImmediate(resolve));
    served.close();
    assert.ok((await asking).size < 64);
  });
});

describe('a cookie with an answer that is at hand', () => {
  const OPT = Buffer.from([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
  const EXTENDED_ERROR = Buffer.from([0, 15, 0, 2, 0, 29]);
  const CLIENT_COOKIE = Buffer.from([0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
  const client: Address6 = [0x20010db8, 0, 0, 1];

  /** A fast path that answers anything with its question, so much padding in a record, and an OPT with these options. */
  function respondWith(options: Buffer, padding: number) {
    const tail = Buffer.concat([OPT, options]);
    tail.writeUInt16BE(options.length, 9);
    const record = Buffer.concat([
      Buffer.from([0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 9, 0, 0]),
      Buffer.alloc(padding),
    ]);
    record.writeUInt16BE(padding, 10);
    const asked = Buffer.concat([encodeQuery({ name: 'a.example', type: 'TXT', edns: 600 }), CLIENT_COOKIE]);
    asked.writeUInt16BE(CLIENT_COOKIE.length, asked.length - CLIENT_COOKIE.length - 2);
    const question = asked.subarray(0, asked.length - CLIENT_COOKIE.length - OPT.length);
    const made = Buffer.concat([question, record, tail]);
    made[7] = 1;
    let reserved = 0;
    const respond: FastPath['respond'] = (_query, _length, _policy, _limit, out, at, more = 0) => {
      reserved = more;
      out.set(made, at);
      return made.length;
    };
    const handler = new QueryHandler({
      answerer: null as unknown as Answerer,
      policies: { policyFor: () => POLICY },
      mayAsk: () => true,
      stats: newStats(),
      log: QUIET,
      fastPath: { respond },
      cookies: new ServerCookies(),
    });
    const out = Buffer.alloc(2 * RESPOND_ROOM);
    const length = handler.respond(asked, asked.length, client, null, out, 100);
    return { length, answer: out.subarray(100, 100 + length), reserved };
  }

  it('is added to the OPT, behind what is there', () => {
    for (const options of [Buffer.alloc(0), EXTENDED_ERROR]) {
      const { length, answer } = respondWith(options, 20);
      const reply = decodeReply(answer);
      assert.equal(reply.bytes.length, length);
      assert.deepEqual(reply.opt?.errors, options.length > 0 ? [29] : []);
      assert.equal(answer.subarray(-28).toString('hex', 0, 16), '000a0018010203040506070801000000');
    }
  });

  it('has its room reserved: the answer is cut where both are more than the client takes', () => {
    assert.equal(respondWith(EXTENDED_ERROR, 20).reserved, 28);
  });
});

/** The server towards its forwarders: choice, time, forgery, TCP, and answers of any bytes. */
import assert from 'node:assert/strict';
import { createSocket, type RemoteInfo } from 'node:dgram';
import { once } from 'node:events';
import { before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import dnsPacket from 'dns-packet';
import fc from 'fast-check';
import type { ForwarderConfig } from '#nat64d/control/config/types.js';
import { ANSWER_TIMES } from '#nat64d/control/dns64/answer.js';
import { newStats } from '#nat64d/control/dns64/stats.js';
import { UPSTREAM_TIMES, Upstream, type UpstreamOptions } from '#nat64d/control/dns64/upstream.js';
import { buildQuery } from '#nat64d/control/dns64/upstream-message.js';
import {
  type ConnectedSocket,
  type OpenSocket,
  openDgram,
  UdpTransport,
} from '#nat64d/control/dns64/upstream-udp.js';
import { openSocket } from '#nat64d/control/dns64/upstream-udp-batched.js';
import {
  at,
  encodeQuery,
  gateway,
  QUIET,
  type Script,
  type ScriptedServer,
  SERVFAIL,
  scriptedServer,
  unusedPort,
} from '../../../conformance/rfc6147/harness.js';
import { until } from '../../../helpers/until.js';

const TXT: Script = { 'a.example TXT': { answer: ['a.example 5 TXT yes'] } };
const QUESTION = encodeQuery({ name: 'a.example', type: 'TXT' }).subarray(12);
/** An answer over loopback is not to come too late where the machine is busy, and silence costs this much each time. */
const TIMES = { tryMs: 700, budgetMs: 5000, retryMs: 60_000 };
/** Where nobody is silent. */
const PATIENT = { times: { tryMs: 20_000, budgetMs: 60_000 } };

/** Asks through several scripted servers. */
async function withServers(
  scripts: Script[],
  run: (upstream: Upstream, servers: ScriptedServer[]) => Promise<void>,
  options: UpstreamOptions = { times: TIMES },
): Promise<Upstream> {
  const servers = await Promise.all(scripts.map(scriptedServer));
  const forwarders = servers.map(({ port }) => at(port));
  const upstream = new Upstream(forwarders, newStats(), QUIET, options);
  try {
    await run(upstream, servers);
  } finally {
    upstream.close();
    await Promise.all(servers.map((server) => server.close()));
  }
  assert.equal(upstream.stats.upstreamPending, 0);
  return upstream;
}

const ask = (upstream: Upstream) => upstream.ask({ question: QUESTION, flags: 0x100, dnssecOk: false });
async function answerText(upstream: Upstream): Promise<string> {
  const { answer, failure } = await ask(upstream);
  return answer === null
    ? `${failure}`
    : String((dnsPacket.decode(answer.bytes).answers?.[0] as { data: unknown })?.data);
}
const counts = (servers: ScriptedServer[]) => servers.map((server) => server.asked.length);
const says = (text: string): Script => ({ 'a.example TXT': { answer: [`a.example 5 TXT ${text}`] } });

describe('forwarders', () => {
  // The first query of a process takes longer than one try where the machine is busy.
  before(() => withServers([TXT], async (upstream) => void (await ask(upstream)), PATIENT));

  it('are asked in order of preference', async () => {
    await withServers([says('first'), says('second')], async (upstream, servers) => {
      assert.equal(await answerText(upstream), 'first');
      assert.deepEqual(counts(servers), [1, 0]);
    });
  });

  for (const rcode of [1, SERVFAIL, 4, 5]) {
    it(`that answer rcode ${rcode} send the query on to the next, without being declared dead`, async () => {
      await withServers([{ '*': { rcode } }, says('second')], async (upstream, servers) => {
        for (let i = 1; i <= 4; i++) {
          assert.equal(await answerText(upstream), 'second');
          assert.deepEqual(counts(servers), [i, i]);
        }
      });
    });
  }

  it('that say why data is bogus have the last word: nobody is asked who may not have looked', async () => {
    await withServers([{ '*': { rcode: SERVFAIL, extendedError: 6 } }, TXT], async (upstream, servers) => {
      assert.equal((await ask(upstream)).answer!.flags & 15, SERVFAIL);
      assert.deepEqual(counts(servers), [1, 0]);
    });
  });

  it('that answer garbage send the query on', async () => {
    const raw = (query: Buffer) => {
      const bytes = Buffer.concat([query, Buffer.from([0xc0])]);
      bytes[2] = 0x80;
      bytes[7] = 9;
      return bytes;
    };
    await withServers([{ '*': { raw } }, says('second')], async (upstream) => {
      assert.equal(await answerText(upstream), 'second');
    });
  });

  it('give their error if none knows better', async () => {
    await withServers([{ '*': { rcode: 5 } }, { '*': { rcode: SERVFAIL } }], async (upstream, servers) => {
      assert.equal((await ask(upstream)).answer!.flags & 15, 5);
      assert.deepEqual(counts(servers), [1, 1]);
    });
  });

  it('have the times of their answers kept, each its own, and say which of them is down', async () => {
    const times = { ...TIMES, tryMs: 400 };
    const run = async (upstream: Upstream) => {
      for (let i = 0; i < 4; i++) assert.equal(await answerText(upstream), 'second');
      const [silent, second] = upstream.forwarderStates;
      assert.deepEqual([silent?.isDown, second?.isDown], [true, false]);
      assert.deepEqual([silent?.latency.count, second?.latency.count], [0, 4]);
      assert.ok((second?.latency.sumSec ?? 0) > 0 && second?.latency.cumulative.at(-1) === 4);
      assert.match(second?.name ?? '', /^127\.0\.0\.1:\d+$/);
    };
    await withServers([{ '*': { silent: true } }, says('second')], run, { times });
  });

  it('that are silent make way for the next after a while', async () => {
    await withServers([{ '*': { silent: true } }, says('second')], async (upstream) => {
      assert.equal(await answerText(upstream), 'second');
      assert.equal(upstream.stats.upstreamTimeouts, 1);
    });
  });

  it('still count when they answer late', async () => {
    const late = { 'a.example TXT': { answer: ['a.example 5 TXT late'], delayMs: 1050 } };
    await withServers([late, { '*': { silent: true } }], async (upstream, servers) => {
      assert.equal(await answerText(upstream), 'late');
      assert.deepEqual(counts(servers), [1, 1]);
    });
  });

  it('silent three times in a row are left alone; an answer mends it', async () => {
    const script: Script = { '*': { silent: true } };
    await withServers([script, says('second')], async (upstream, servers) => {
      for (let i = 0; i < 5; i++) assert.equal(await answerText(upstream), 'second');
      assert.deepEqual(counts(servers), [3, 5]);
    });
  });

  it('all down are all asked', async () => {
    const script: Script = { '*': { silent: true } };
    await withServers(
      [script],
      async (upstream, servers) => {
        assert.equal(await answerText(upstream), 'timeout');
        assert.ok(upstream.stats.upstreamTimeouts >= 3);
        script['*'] = { answer: ['a.example 5 TXT back'] };
        assert.equal(await answerText(upstream), 'back');
        assert.ok(counts(servers)[0]! >= 5, 'asked again and again within the time');
      },
      { times: { tryMs: 50, budgetMs: 220, retryMs: 60_000 } },
    );
  });

  it('make way sooner where an answer usually takes less (RFC 6298)', async () => {
    const script = says('first');
    const options = { times: { tryMs: 2000, budgetMs: 1500 } };
    await withServers(
      [script, says('second')],
      async (upstream) => {
        assert.equal(await answerText(upstream), 'first');
        script['*'] = { silent: true };
        delete script['a.example TXT'];
        assert.equal(await answerText(upstream), 'second');
        assert.equal(upstream.stats.upstreamTimeouts, 1);
      },
      options,
    );
  });

  it('whose answer comes after that of another one are not forged, and live', async () => {
    const script = says('first');
    await withServers(
      [script, says('second')],
      async (upstream, servers) => {
        assert.equal(await answerText(upstream), 'first');
        // Much longer than three times what the first took: that is how long it is waited for.
        script['a.example TXT']!.delayMs = 1500;
        assert.equal(await answerText(upstream), 'second');
        await sleep(1600);
        assert.equal(upstream.stats.upstreamMismatches, 0);
        // Measured all the same: it is given more time now.
        assert.equal(await answerText(upstream), 'first');
        assert.deepEqual(counts(servers), [3, 1]);
      },
      { times: { tryMs: 4000, budgetMs: 10_000 } },
    );
  });

  it('silent about one name only are not declared dead', async () => {
    const script: Script = { '*': { silent: true }, 'b.example TXT': { answer: ['b.example 5 TXT b'] } };
    const other = encodeQuery({ name: 'b.example', type: 'TXT' }).subarray(12);
    await withServers([script, says('second')], async (upstream, servers) => {
      for (let i = 1; i <= 5; i++) {
        const asked = answerText(upstream);
        await sleep(30);
        await upstream.ask({ question: other, flags: 0x100, dnssecOk: false });
        assert.equal(await asked, 'second');
        assert.deepEqual(counts(servers), [2 * i, i]);
      }
    });
  });

  it('left alone for long enough get one question beside the others, and are the first again once they answer', async () => {
    const script: Script = { '*': { silent: true } };
    await withServers(
      [script, says('second')],
      async (upstream, servers) => {
        for (let i = 0; i < 3; i++) assert.equal(await answerText(upstream), 'second');
        await sleep(680);
        const both = [answerText(upstream), answerText(upstream)];
        assert.deepEqual(await Promise.all(both), ['second', 'second'], 'nobody waits on it');
        assert.deepEqual(counts(servers), [4, 5], 'one question only');
        await sleep(400);
        assert.equal(await answerText(upstream), 'second');
        assert.equal(counts(servers)[0], 4, 'silent again: left alone again');
        script['*'] = { answer: ['a.example 5 TXT first'] };
        await sleep(680);
        assert.equal(await answerText(upstream), 'second');
        await until(() => servers[0]!.asked.length >= 5, 'a question to the first');
        await sleep(120);
        assert.equal(await answerText(upstream), 'first');
      },
      { times: { tryMs: 240, budgetMs: 8000, retryMs: 600 } },
    );
  });

  it('may become others: those that stay keep what is known of them, questions under way end', async () => {
    const slow = { 'a.example TXT': { answer: ['a.example 5 TXT slow'], delayMs: 100 } };
    await withServers([slow, says('second'), says('third')], async (upstream) => {
      const [first, second, third] = upstream.forwarders as ForwarderConfig[];
      const early = answerText(upstream);
      upstream.setForwarders([third!, second!]);
      assert.deepEqual(upstream.forwarders, [third, second]);
      assert.equal(await answerText(upstream), 'third');
      assert.equal(await early, 'slow');
      upstream.setForwarders([first!]);
      assert.equal(await answerText(upstream), 'slow');
      upstream.setForwarders([]);
      assert.equal(await answerText(upstream), 'no-forwarder');
    });
  });

  it('where nothing listens cost no time', async () => {
    const server = await scriptedServer(says('second'));
    const closed = at(await unusedPort());
    const upstream = new Upstream([closed, at(server.port)], newStats(), QUIET);
    const alone = new Upstream([closed], newStats(), QUIET);
    try {
      assert.equal(await answerText(upstream), 'second');
      assert.equal(upstream.stats.upstreamTimeouts, 0);
      assert.equal(await answerText(alone), 'network');
      assert.equal(alone.stats.upstreamTimeouts, 0);
    } finally {
      upstream.close();
      alone.close();
      await server.close();
    }
    assert.equal(upstream.stats.upstreamPending + alone.stats.upstreamPending, 0);
  });

  it('none: a failure at once', async () => {
    const upstream = new Upstream([], newStats(), QUIET);
    assert.equal(await answerText(upstream), 'no-forwarder');
  });

  it('have 2 s each and 5 s in all, and 300 s to recover', () => {
    assert.deepEqual(UPSTREAM_TIMES, { tryMs: 2000, budgetMs: 5000, retryMs: 300_000 });
  });

  it('that answer FORMERR to an OPT are asked without (RFC 6891 section 7)', async () => {
    const raw = (query: Buffer) => {
      const decoded = dnsPacket.decode(query);
      if ((decoded.additionals ?? []).length > 0) {
        return Buffer.concat([query.subarray(0, 2), Buffer.from([0x81, 0x81]), Buffer.alloc(8)]);
      }
      return dnsPacket.encode({
        type: 'response',
        questions: decoded.questions ?? [],
        answers: [{ name: 'a.example', type: 'TXT', ttl: 5, data: 'plain' }],
      });
    };
    await withServers([{ '*': { raw } }], async (upstream, servers) => {
      assert.equal(await answerText(upstream), 'plain');
      assert.equal(await answerText(upstream), 'plain');
      assert.deepEqual(
        servers[0]!.asked.map((one) => one.edns),
        [true, false, false],
      );
    });
  });
});

describe('at start', () => {
  const warnings = async (scripts: Script[]): Promise<string[]> => {
    const said: string[] = [];
    const servers = await Promise.all(scripts.map(scriptedServer));
    const log = { ...QUIET, warn: (_: object, text: string) => said.push(text) };
    const forwarders = servers.map(({ port }) => at(port));
    const upstream = new Upstream(forwarders, newStats(), log as never, { times: { tryMs: 100 } });
    await upstream.checkReachable();
    upstream.close();
    await Promise.all(servers.map((server) => server.close()));
    return said;
  };

  it('no forwarder answers: a warning that says what to change', async () => {
    const said = await warnings([{ '*': { silent: true } }, { '*': { silent: true } }]);
    assert.equal(said.length, 1);
    assert.match(said[0]!, /no name server answers DNS64 \(127\.0\.0\.1:\d+, .*"forwarders" of \[dns64\]/);
  });

  it('one does not: it is named', async () => {
    assert.match(
      (await warnings([{ '*': { silent: true } }, {}])).join(),
      /^forwarders that do not answer: 127/,
    );
  });

  it('any answer is one', async () => assert.deepEqual(await warnings([{ '*': { rcode: 5 } }]), []));
});

describe('letters of random case', () => {
  const options = { times: TIMES, randomizeCase: true };

  it('are mixed, and the answer must have the same', async () => {
    await withServers(
      [says('kept')],
      async (upstream, servers) => {
        for (let i = 0; i < 20; i++) assert.equal(await answerText(upstream), 'kept');
        const spellings = new Set(servers[0]!.asked.map(({ name }) => name));
        assert.ok(spellings.size > 5, `${spellings.size} spellings`);
        assert.equal(upstream.stats.upstreamStreams, 0);
      },
      options,
    );
  });

  it('an answer without them is a mismatch, and TCP shows whether it was forged', async () => {
    const script: Script = {
      '*': {
        answer: ['a.example 5 TXT whole'],
        before: (query) => {
          const forged = Buffer.from(query);
          forged[2] = 0x81;
          for (let i = 13; i < 22; i++) if (forged[i]! > 0x40) forged[i]! ^= 0x20;
          return [forged];
        },
      },
    };
    await withServers(
      [script],
      async (upstream) => {
        assert.equal(await answerText(upstream), 'whole');
        assert.equal(upstream.stats.upstreamMismatches, 1);
        assert.equal(upstream.stats.upstreamStreams, 1);
      },
      options,
    );
  });

  it('a server that does not keep them is asked without', async () => {
    const raw = (query: Buffer) =>
      dnsPacket.encode({
        type: 'response',
        questions: [{ name: 'a.example', type: 'TXT' }],
        answers: [{ name: 'a.example', type: 'TXT', ttl: 5, data: 'lower' }],
        id: query.readUInt16BE(0),
      });
    await withServers(
      [{ '*': { raw } }],
      async (upstream, servers) => {
        for (let i = 0; i < 4; i++) assert.equal(await answerText(upstream), 'lower');
        // By chance (1 in 256) a query is all in lower case; its answer shows nothing.
        const mixedOverTcp = servers[0]!.asked.filter(
          ({ transport, name }) => transport === 'tcp' && name !== 'a.example',
        );
        assert.ok(mixedOverTcp.length <= 1);
        assert.equal(servers[0]!.asked.at(-1)!.name, 'a.example');
        assert.equal(servers[0]!.asked.at(-1)!.transport, 'udp');
      },
      options,
    );
  });
});

const OPENERS: [string, OpenSocket][] = [
  ['over the addon, where there is one', openSocket],
  ['over dgram', openDgram],
];
for (const [what, open] of OPENERS) {
  describe(`sockets ${what}`, () => {
    it('send, receive from their peer only, and close', async () => {
      const peer = createSocket('udp4');
      peer.bind(0, '127.0.0.1');
      await once(peer, 'listening');
      const { port } = peer.address();
      const stranger = createSocket('udp4');
      const sources = new Set<number>();
      peer.on('message', (bytes, from) => {
        sources.add(from.port);
        stranger.send('forged', from.port, from.address, () => peer.send(bytes, from.port, from.address));
      });
      const received: string[] = [];
      const sockets = [0, 1].map(() =>
        open(
          { address: '127.0.0.1', port },
          {
            onDatagram: (bytes) => received.push(String(bytes)),
            onUnsent: (_, error) => assert.fail(error),
            onError: (error) => assert.fail(error),
          },
        ),
      );
      for (const [i, socket] of sockets.entries())
        for (const part of ['a', 'b', 'c']) socket.send(Buffer.from(`${part}${i}`));
      await until(
        () => received.length >= 6,
        () => `six datagrams, there are ${received}`,
      );
      assert.deepEqual(received.sort(), ['a0', 'a1', 'b0', 'b1', 'c0', 'c1']);
      assert.equal(sources.size, 2);
      for (const socket of sockets) socket.close();
      peer.close();
      stranger.close();
    });

    it('tell of a port that nothing listens on', async () => {
      const to = { address: '127.0.0.1', port: await unusedPort() };
      let socket: ConnectedSocket | undefined;
      const failed = new Promise<Error>((resolve) => {
        const onUnsent = (_: Buffer, error: Error) => resolve(error);
        socket = open(to, { onDatagram: () => {}, onUnsent, onError: resolve });
        socket.send(Buffer.from('x'));
      });
      assert.match((await failed).message, /ECONNREFUSED/);
      socket?.close();
    });
  });
}

describe('queries sent at one go', () => {
  it('share a socket, 16 at most, and those after them have another one', async () => {
    const sockets: number[] = [];
    const open: OpenSocket = () => {
      const number = sockets.push(0) - 1;
      return { send: () => sockets[number]!++, close: () => {} };
    };
    const transport = new UdpTransport({ address: '127.0.0.1', port: 1 }, newStats(), open);
    const exchange = { onMessage: () => true, onError: () => {}, onRefusal: () => {} };
    const ids = new Set<number>();
    const send = (count: number) => {
      for (let i = 0; i < count; i++) {
        const query = Buffer.alloc(12);
        transport.send(query, exchange);
        ids.add(query.readUInt16BE(0));
      }
    };
    send(16);
    assert.deepEqual(sockets, [16]);
    send(16);
    await sleep(0);
    send(1);
    assert.equal(
      sockets.reduce((sum, count) => sum + count),
      33,
    );
    assert.ok(ids.size > 30, 'ids are of their own all the same');
    for (let i = 0; i < 20; i++) {
      await sleep(0);
      send(1);
    }
    assert.ok(sockets.length > 10, `${sockets.length} sockets in 23 goes`);
    transport.close();
  });
});

describe('TC=1 (RFC 7766)', () => {
  it('is asked again over TCP', async () => {
    const script: Script = { '*': { answer: ['a.example 5 TXT whole'], truncate: true } };
    await withServers([script], async (upstream, servers) => {
      assert.equal(await answerText(upstream), 'whole');
      assert.deepEqual(
        servers[0]!.asked.map((one) => one.transport),
        ['udp', 'tcp'],
      );
      assert.equal(upstream.stats.upstreamStreams, 1);
    });
  });

  it('an answer cut in the middle of a record too', async () => {
    const script: Script = {
      '*': {
        answer: ['a.example 5 TXT whole'],
        before: (query) => {
          const bytes = Buffer.concat([query.subarray(0, 12 + QUESTION.length), Buffer.from([0xc0, 12, 0])]);
          bytes.set([0x82, 0x00], 2);
          bytes.set([0, 1, 0, 1, 0, 0, 0, 0], 4);
          return [bytes];
        },
      },
    };
    await withServers([script], async (upstream) => {
      assert.equal(await answerText(upstream), 'whole');
      assert.equal(upstream.stats.upstreamStreams, 1);
    });
  });
});

describe('forgery (RFC 5452 section 9.1)', () => {
  /** A whole answer, wrong in one thing. */
  const forged = (query: Buffer, change: (bytes: Buffer) => void) => {
    const bytes = dnsPacket.encode({
      type: 'response',
      id: query.readUInt16BE(0),
      questions: [{ name: 'a.example', type: 'TXT' }],
      answers: [{ name: 'a.example', type: 'TXT', ttl: 5, data: 'forged' }],
    });
    change(bytes);
    return bytes;
  };
  const WRONG: [string, (bytes: Buffer) => void][] = [
    ['id', (bytes) => bytes.writeUInt16BE(bytes.readUInt16BE(0) ^ 1)],
    ['name', (bytes) => bytes.write('b', 13)],
    ['type', (bytes) => bytes.writeUInt16BE(1, 12 + QUESTION.length - 4)],
    ['class', (bytes) => bytes.writeUInt16BE(3, 12 + QUESTION.length - 2)],
    ['QR', (bytes) => bytes.writeUInt8(bytes.readUInt8(2) & 0x7f, 2)],
    ['opcode', (bytes) => bytes.writeUInt8(bytes.readUInt8(2) | 0x20, 2)],
    ['question count', (bytes) => bytes.writeUInt16BE(0, 4)],
  ];
  for (const [what, change] of WRONG) {
    it(`a wrong ${what} is counted, and the wait goes on`, async () => {
      const script: Script = {
        'a.example TXT': {
          ...TXT['a.example TXT']!,
          before: (query) => [forged(query, change), Buffer.alloc(1)],
        },
      };
      await withServers(
        [script],
        async (upstream) => {
          assert.equal(await answerText(upstream), 'yes');
          assert.equal(upstream.stats.upstreamMismatches, 2);
        },
        PATIENT,
      );
    });
  }

  it('nothing is accepted that differs, whatever comes before the answer', async () => {
    const script: Script = { 'a.example TXT': { ...TXT['a.example TXT']! } };
    const plain = (query: Buffer) => forged(query, () => {});
    await withServers(
      [script],
      async (upstream) => {
        const flips = fc.record({
          /** Of the header but its flags' lower half and the counts of records, and of the question. */
          at: fc.constantFrom(0, 1, 2, 4, 5, ...Array.from(QUESTION.keys(), (i) => 12 + i)),
          bit: fc.nat(7),
        });
        await fc.assert(
          fc.asyncProperty(fc.array(flips, { minLength: 1, maxLength: 4 }), async (chosen) => {
            script['a.example TXT']!.before = (query) =>
              chosen.map(({ at: offset, bit }) => {
                const bytes = plain(query);
                bytes[offset]! ^= 1 << bit;
                return bytes;
              });
            // AA, TC and RD say nothing about whose answer it is; letters have no case.
            const isHarmless = ({ at: offset, bit }: { at: number; bit: number }) =>
              (offset === 2 && bit < 3) ||
              (bit === 5 &&
                offset > 12 &&
                offset < 12 + QUESTION.length - 4 &&
                /[a-z]/i.test(String.fromCharCode(plain(Buffer.alloc(2))[offset]!)));
            fc.pre(!chosen.some(isHarmless));
            const { upstreamMismatches, upstreamTimeouts } = upstream.stats;
            assert.equal(await answerText(upstream), 'yes');
            const more = upstream.stats.upstreamMismatches - upstreamMismatches;
            // A busy machine may be late even for itself: then it is asked again, and forges again.
            const isOnce = upstream.stats.upstreamTimeouts === upstreamTimeouts;
            assert.ok(isOnce ? more === chosen.length : more >= chosen.length, `${more}`);
          }),
          { numRuns: 200 },
        );
      },
      PATIENT,
    );
  });

  it('256 sockets are open at a time', async () => {
    let isOpen = 0;
    const open: OpenSocket = () => {
      isOpen++;
      return { send: () => {}, close: () => isOpen-- };
    };
    const transport = new UdpTransport({ address: '127.0.0.1', port: 1 }, newStats(), open);
    const exchange = { onMessage: () => true, onError: () => {}, onRefusal: () => {} };
    for (let i = 0; i < 4000; i++) {
      transport.send(Buffer.alloc(12), exchange)();
      await new Promise(setImmediate);
    }
    // One in a million is not used by then.
    assert.ok(isOpen > 250 && isOpen <= 256, `${isOpen} sockets`);
    transport.close();
    assert.equal(isOpen, 0);
  });

  it('ids and ports are spread', async () => {
    const ids = new Set<number>();
    const server = await scriptedServer({ '*': { silent: true } });
    const forwarder = new UdpTransport(at(server.port), newStats(), openDgram);
    const ends = [...Array(2000).keys()].map(() => {
      const bytes = encodeQuery({ name: 'a.example', type: 'TXT' });
      const end = forwarder.send(bytes, { onMessage: () => true, onError: () => {}, onRefusal: () => {} });
      ids.add(bytes.readUInt16BE(0));
      return end;
    });
    // 2000 of 65536 at random: about 30 collide.
    assert.ok(ids.size > 1850, `${ids.size} ids`);
    for (const end of ends) end();
    forwarder.close();
    await server.close();
  });
});

describe('any bytes as an answer', () => {
  it('end in an answer or an error, and nothing is left pending', async () => {
    let next = Buffer.alloc(0);
    const gate = await gateway(
      { '*': { raw: (query) => Buffer.concat([query.subarray(0, 2), next]) } },
      {
        upstreamTimes: { tryMs: 15, budgetMs: 25 },
        answerTimes: { askAMs: 10, aaaaMs: 20 },
      },
    );
    try {
      const question = encodeQuery({ name: 'a.example', type: 'AAAA' }).subarray(12);
      const octets = fc.array(fc.oneof(fc.constantFrom(0, 1, 5, 28, 41, 0xc0, 12), fc.nat(255)), {
        maxLength: 60,
      });
      await fc.assert(
        fc.asyncProperty(
          octets,
          fc.array(fc.nat(2), { minLength: 3, maxLength: 3 }),
          fc.nat(3),
          async (rest, sections, rcode) => {
            const head = Buffer.from([0x81, 0x80 | rcode, 0, 1, ...sections.flatMap((count) => [0, count])]);
            next = Buffer.concat([head, question, Buffer.from(rest)]);
            const reply = await gate.send(encodeQuery({ name: 'a.example', type: 'AAAA' }));
            assert.ok(reply !== null && reply.length >= 12);
            assert.equal(reply.readUInt16BE(0), 0x1234);
          },
        ),
        { numRuns: 150 },
      );
      const { pending } = gate.dns64.stats;
      assert.equal(pending, 0);
    } finally {
      await gate.close();
    }
    assert.equal(gate.dns64.stats.upstreamPending, 0);
  });
});

describe('a query to a forwarder', () => {
  it('has an OPT of ours: 1232 octets, DO as the client has it, and no option', () => {
    for (const dnssecOk of [false, true]) {
      const query = buildQuery({ question: QUESTION, flags: 0x120, dnssecOk }, true);
      assert.equal(
        query.subarray(12 + QUESTION.length).toString('hex'),
        `00002904d00000${dnssecOk ? '80' : '00'}000000`,
      );
    }
  });

  it('is the AAAA alone for 400 ms, and for 2 s at most', () =>
    assert.deepEqual(ANSWER_TIMES, { askAMs: 400, aaaaMs: 2000 }));
});

describe('a forwarder that asks us in turn, with ids of its own', () => {
  it('gets a bounded number of queries, and the name ends in SERVFAIL', async () => {
    const peer = createSocket('udp4').bind(0, '127.0.0.1');
    await once(peer, 'listening');
    const gate = await gateway(
      {},
      { forwarders: [at(peer.address().port)], upstreamTimes: { tryMs: 50, budgetMs: 200 } },
    );
    const turns: Promise<void>[] = [];
    const turn = async (query: Buffer, from: RemoteInfo) => {
      const own = Buffer.from(query);
      own.writeUInt16BE(query.readUInt16BE(0) ^ 1);
      const answer = await gate.send(own, 1000);
      if (answer === null) return;
      query.copy(answer, 0, 0, 2);
      peer.send(answer, from.port, from.address);
    };
    peer.on('message', (query, from) => turns.push(turn(query, from)));
    try {
      const queries = ['a', 'b', 'c'].map((name) => gate.ask({ name: `${name}.example`, type: 'TXT' }));
      for (const reply of await Promise.all(queries)) assert.equal(reply.rcode, SERVFAIL);
      // A few tries each: what comes back is being asked already.
      assert.ok(turns.length >= 3 && turns.length <= 15, `${turns.length} queries`);
    } finally {
      await gate.close();
      await Promise.all(turns);
      peer.close();
    }
    assert.deepEqual([gate.dns64.stats.pending, gate.dns64.stats.upstreamPending], [0, 0]);
  });
});

describe('our own query come back', () => {
  it('is refused at once and warned of, and another forwarder is asked', async () => {
    // What a redirection in the kernel does: datagrams to a forwarder arrive at ourselves, id and all.
    const detour = createSocket('udp4');
    detour.bind(0, '127.0.0.1');
    await once(detour, 'listening');
    const server = await scriptedServer(says('second'));
    const said: string[] = [];
    const gate = await gateway(
      {},
      {
        forwarders: [at(detour.address().port), at(server.port)],
        log: { ...QUIET, warn: (_, text) => said.push(text) },
      },
    );
    detour.on('message', async (query, from) => {
      const answer = await gate.send(query);
      detour.send(answer!, from.port, from.address);
    });
    try {
      assert.deepEqual((await gate.ask({ name: 'a.example', type: 'TXT' })).answer, [
        'a.example 5 TXT second',
      ]);
      assert.equal(gate.dns64.stats.loops, 1);
      assert.equal(said.length, 1);
      assert.match(said[0]!, /come back to DNS64 itself.*"forwarders"/);
    } finally {
      await gate.close();
      await server.close();
      detour.close();
    }
  });
});

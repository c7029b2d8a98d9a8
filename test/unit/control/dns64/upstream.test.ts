/** The server towards its forwarders: choice, time, forgery, TCP, and answers of any bytes. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import dnsPacket from 'dns-packet';
import fc from 'fast-check';
import { newStats } from '#nat64d/control/dns64/stats.js';
import { UPSTREAM_TIMES, Upstream } from '#nat64d/control/dns64/upstream.js';
import { UdpForwarder } from '#nat64d/control/dns64/upstream-udp.js';
import {
  encodeQuery,
  gateway,
  QUIET,
  type Script,
  type ScriptedServer,
  SERVFAIL,
  scriptedServer,
  unusedPort,
} from '../../../conformance/rfc6147/harness.js';

const TXT: Script = { 'a.example TXT': { answer: ['a.example 5 TXT yes'] } };
const QUESTION = encodeQuery({ name: 'a.example', type: 'TXT' }).subarray(12);
const TIMES = { tryMs: 300, budgetMs: 2000, retryMs: 60_000 };

/** Asks through several scripted servers. */
async function withServers(
  scripts: Script[],
  run: (upstream: Upstream, servers: ScriptedServer[]) => Promise<void>,
  times = TIMES,
): Promise<Upstream> {
  const servers = await Promise.all(scripts.map(scriptedServer));
  const forwarders = servers.map(({ port }) => ({ address: '127.0.0.1', port }));
  const upstream = new Upstream(forwarders, newStats(), QUIET, times);
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

  it('that are silent make way for the next after a while', async () => {
    await withServers([{ '*': { silent: true } }, says('second')], async (upstream) => {
      assert.equal(await answerText(upstream), 'second');
      assert.equal(upstream.stats.upstreamTimeouts, 1);
    });
  });

  it('still count when they answer late', async () => {
    const late = { 'a.example TXT': { answer: ['a.example 5 TXT late'], delayMs: 450 } };
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
      { tryMs: 50, budgetMs: 220, retryMs: 60_000 },
    );
  });

  it('where nothing listens cost no time', async () => {
    const server = await scriptedServer(says('second'));
    const closed = { address: '127.0.0.1', port: await unusedPort() };
    const upstream = new Upstream([closed, { address: '127.0.0.1', port: server.port }], newStats(), QUIET);
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

describe('TC=1 (RFC 7766)', () => {
  it('is asked again over TCP', async () => {
    const script: Script = { '*': { answer: ['a.example 5 TXT whole'], truncate: true } };
    await withServers([script], async (upstream, servers) => {
      assert.equal(await answerText(upstream), 'whole');
      assert.deepEqual(
        servers[0]!.asked.map((one) => one.transport),
        ['udp', 'tcp'],
      );
      assert.equal(upstream.stats.upstreamTcp, 1);
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
      assert.equal(upstream.stats.upstreamTcp, 1);
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
      await withServers([script], async (upstream) => {
        assert.equal(await answerText(upstream), 'yes');
        assert.equal(upstream.stats.upstreamMismatches, 2);
      });
    });
  }

  it('ids and ports are spread', async () => {
    const ids = new Set<number>();
    const server = await scriptedServer({ '*': { silent: true } });
    const forwarder = new UdpForwarder({ address: '127.0.0.1', port: server.port }, newStats());
    const ends = [...Array(2000).keys()].map(() => {
      const bytes = encodeQuery({ name: 'a.example', type: 'TXT' });
      const end = forwarder.send(bytes, { onDatagram: () => true, onError: () => {} });
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

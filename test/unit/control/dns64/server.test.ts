/** The server towards clients: EDNS, limits, TCP, malformed queries, listeners. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startDns64 } from '#nat64d/control/dns64/index.js';
import { portHolder } from '#nat64d/control/dns64/port-holder.js';
import { parsePrefix4, parsePrefix6 } from '#nat64d/wire/address.js';
import {
  at,
  CACHED,
  decodeReply,
  encodeQuery,
  type Gateway,
  type GatewayOptions,
  gateway,
  IMPATIENT,
  prefixed,
  QUIET,
  type Script,
  SERVFAIL,
  scriptedServer,
  sendTcp,
  sendUdp,
  TC,
  unusedPort,
} from '../../../conformance/rfc6147/harness.js';
import { until } from '../../../helpers/until.js';

const FORMERR = 1;
const NOTIMP = 4;
const REFUSED = 5;
const WWW: Script = {
  'www.example AAAA': { authority: ['example 900 SOA 120'] },
  'www.example A': { answer: ['www.example 300 A 192.0.2.1'] },
  'many.example AAAA': { authority: ['example 900 SOA 120'] },
  'many.example A': { answer: [...Array(40).keys()].map((i) => `many.example 300 A 192.0.2.${i}`) },
  'slow.example TXT': { answer: ['slow.example 1 TXT slow'], delayMs: 150 },
  'fast.example TXT': { answer: ['fast.example 1 TXT fast'] },
};

async function withGateway(
  run: (gate: Gateway) => Promise<void>,
  options: GatewayOptions = {},
): Promise<void> {
  const gate = await gateway(WWW, options);
  try {
    await run(gate);
  } finally {
    await gate.close();
  }
  assert.equal(gate.dns64.stats.pending, 0);
  assert.equal(gate.dns64.stats.upstreamPending, 0);
}

describe('EDNS (RFC 6891)', () => {
  it('6.1.1: an OPT only to a client that sent one, and ours', () =>
    withGateway(async (gate) => {
      const plain = await gate.ask({ name: 'www.example', type: 'AAAA' });
      assert.equal(plain.opt, null);
      const edns = await gate.ask({ name: 'www.example', type: 'AAAA', edns: 4096, dnssecOk: true });
      assert.equal(edns.opt?.udpPayloadSize, 1232);
      assert.equal(edns.opt?.flags, 0x8000);
      assert.deepEqual(edns.answer, plain.answer);
    }));

  it('6.1.3: another version gets BADVERS, and nobody is asked', () =>
    withGateway(async (gate) => {
      const reply = await gate.ask({ name: 'www.example', type: 'AAAA', edns: 1232, ednsVersion: 1 });
      assert.equal(reply.rcode, 0);
      assert.equal(reply.opt?.extendedRcode, 1);
      assert.deepEqual(gate.server.asked, []);
    }));

  for (const { edns, most } of [
    { edns: undefined, most: 512 },
    { edns: 100, most: 512 },
    { edns: 600, most: 600 },
    { edns: 4096, most: 1232 },
  ]) {
    it(`6.2.3: with a payload size of ${edns ?? 'none'}, ${most} bytes at most; beyond, TC=1 with nothing half`, () =>
      withGateway(async (gate) => {
        const query = { name: 'many.example', type: 'AAAA', ...(edns === undefined ? {} : { edns }) };
        const udp = await gate.ask(query);
        // 40 AAAA records of 28 octets and what is around them: 1152 octets or 1163 with the OPT.
        if (most >= 1163) {
          assert.equal(udp.answer.length, 40);
        } else {
          assert.equal(udp.flags & TC, TC);
          assert.deepEqual([udp.answer, udp.authority, udp.additional], [[], [], []]);
          assert.equal(udp.question, 'many.example AAAA');
          assert.ok(udp.bytes.length <= most);
          assert.equal(gate.dns64.stats.truncated, 1);
        }
        const tcp = await gate.askTcp(query);
        assert.equal(tcp.flags & TC, 0);
        assert.equal(tcp.answer.length, 40);
      }));
  }
});

describe('EDNS (RFC 6891), sizes that are none', () => {
  it('6.2.3: a payload size below 512 means 512, also with an answer at hand', () =>
    withGateway(async (gate) => {
      for (let i = 0; i < 3; i++) {
        const reply = await gate.ask({ name: 'www.example', type: 'AAAA', edns: 1 });
        assert.equal(reply.flags & TC, 0);
        assert.equal(reply.answer.length, 1);
      }
      assert.equal(gate.dns64.stats.fastHits, 1);
    }, CACHED));
});

describe('what is no query', () => {
  const query = encodeQuery({ name: 'www.example', type: 'AAAA' });
  const change = (at: number, value: number) => {
    const bytes = Buffer.from(query);
    bytes[at] = value;
    return bytes;
  };
  const REPLIES: [string, Buffer, number][] = [
    ['an opcode other than QUERY', change(2, 0x29), NOTIMP],
    [
      'UPDATE with records that no query has',
      Buffer.concat([change(2, 0x28), Buffer.alloc(40, 255)]),
      NOTIMP,
    ],
    ['two questions', change(5, 2), FORMERR],
    ['no question', change(5, 0).subarray(0, 12), FORMERR],
    ['a name cut short', query.subarray(0, 16), FORMERR],
    ['a header cut short', query.subarray(0, 6), FORMERR],
    ['bytes behind the last record', Buffer.concat([query, Buffer.alloc(1)]), FORMERR],
    ['a count of records that are not there', change(11, 3), FORMERR],
    [
      'a compression loop',
      Buffer.concat([query.subarray(0, 12), Buffer.from([0xc0, 12, 0, 1, 0, 1])]),
      FORMERR,
    ],
    ['a zone transfer', encodeQuery({ name: 'example', type: 'AXFR' }), REFUSED],
    ['a zone transfer of changes', encodeQuery({ name: 'example', type: 'IXFR' }), REFUSED],
  ];
  for (const [what, bytes, rcode] of REPLIES) {
    it(`${what}: rcode ${rcode}, to the id`, () =>
      withGateway(async (gate) => {
        const answer = (await gate.send(bytes))!;
        assert.equal(answer.readUInt16BE(0), 0x1234);
        assert.equal(answer.readUInt16BE(2) & 0x800f, 0x8000 | rcode);
        assert.deepEqual(gate.server.asked, []);
        assert.equal(gate.dns64.stats.errors, 1);
      }));
  }
  const SILENCE: [string, Buffer, 'short' | 'response'][] = [
    ['no bytes', Buffer.alloc(0), 'short'],
    ['an id without flags', query.subarray(0, 3), 'short'],
    ['a response', change(2, 0x81), 'response'],
  ];
  for (const [what, bytes, reason] of SILENCE) {
    it(`${what}: silence, counted`, () =>
      withGateway(async (gate) => {
        assert.equal(await gate.send(bytes, 100), null);
        assert.equal(gate.dns64.stats.dropped[reason], 1);
      }));
  }
});

describe('clients', () => {
  it('that may not ask get REFUSED, and nobody is asked', () =>
    withGateway(
      async (gate) => {
        const reply = await gate.ask({ name: 'www.example', type: 'AAAA' });
        assert.equal(reply.rcode, REFUSED);
        assert.equal((await gate.askTcp({ name: 'www.example', type: 'AAAA' })).rcode, REFUSED);
        assert.deepEqual(gate.server.asked, []);
      },
      { allowFrom: [parsePrefix4('192.0.2.0/24')!] },
    ));

  it('that ask more than the limit at a time get SERVFAIL at once', () =>
    withGateway(
      async (gate) => {
        const queries = [1, 2, 3].map((id) => encodeQuery({ name: 'slow.example', type: 'TXT' }, id));
        const answers = (await sendTcp(gate.port, queries, 3)).map(decodeReply);
        assert.deepEqual(
          answers.map((one) => [one.id, one.rcode]),
          [
            [3, SERVFAIL],
            [1, 0],
            [2, 0],
          ],
        );
      },
      { maxPending: 2 },
    ));
});

describe('TCP (RFC 7766)', () => {
  it('6.2.1.1: answers a pipeline as they come', () =>
    withGateway(async (gate) => {
      const queries = [
        encodeQuery({ name: 'slow.example', type: 'TXT' }, 1),
        encodeQuery({ name: 'fast.example', type: 'TXT' }, 2),
      ];
      const answers = await sendTcp(gate.port, queries, 2);
      assert.deepEqual(
        answers.map((one) => decodeReply(one).answer[0]),
        ['fast.example 1 TXT fast', 'slow.example 1 TXT slow'],
      );
      assert.equal(gate.dns64.stats.queriesTcp, 2);
    }));

  it('answers more queries than may be in flight, all of them', () =>
    withGateway(
      async (gate) => {
        const ids = [...Array(50).keys()];
        const answers = await sendTcp(
          gate.port,
          ids.map((id) => encodeQuery({ name: 'fast.example', type: 'TXT' }, id)),
          50,
        );
        assert.deepEqual(
          answers.map((one) => one.readUInt16BE(0)).sort((a, b) => a - b),
          ids,
        );
      },
      { tcpLimits: { queriesPerConnection: 3 } },
    ));

  it('answers a client that closed its side, and then ends', () =>
    withGateway(async (gate) => {
      const query = encodeQuery({ name: 'slow.example', type: 'TXT' });
      const answers = await sendTcp(gate.port, [query], 2, true);
      assert.equal(answers.length, 1);
    }));

  it('6.2.3: ends an idle connection, and one that dribbles bytes', () =>
    withGateway(
      async (gate) => {
        const idle = connect(gate.port, '127.0.0.1').resume();
        const dribbling = connect(gate.port, '127.0.0.1').resume();
        // Writing to what the server has just closed is answered by a reset: an end like any other here.
        dribbling.on('error', () => {});
        const timer = setInterval(() => dribbling.write('\x01'), 20);
        await Promise.all(
          [idle, dribbling].map((socket) => new Promise((resolve) => socket.once('close', resolve))),
        );
        clearInterval(timer);
      },
      { tcpLimits: { idleMs: 120 } },
    ));

  it('refuses connections beyond the limit, and has room again when one ends', () =>
    withGateway(
      async (gate) => {
        const first = connect(gate.port, '127.0.0.1').resume();
        await once(first, 'connect');
        const query = encodeQuery({ name: 'fast.example', type: 'TXT' });
        assert.deepEqual(await sendTcp(gate.port, [query], 1).catch(() => []), []);
        assert.equal(gate.dns64.stats.dropped.connections, 1);
        first.end();
        await once(first, 'close');
        // The server may learn of the end a moment later.
        let answers: Buffer[] = [];
        while (answers.length === 0) answers = await sendTcp(gate.port, [query], 1).catch(() => []);
        assert.deepEqual(decodeReply(answers[0]!).answer, ['fast.example 1 TXT fast']);
      },
      { tcpLimits: { connections: 1 } },
    ));

  it('ends a connection that sends a response', () =>
    withGateway(async (gate) => {
      const socket = connect(gate.port, '127.0.0.1').resume();
      const response = encodeQuery({ name: 'fast.example', type: 'TXT' });
      response[2] = 0x81;
      socket.write(prefixed(response));
      await once(socket, 'close');
      assert.equal(gate.dns64.stats.dropped.response, 1);
    }));

  it('survives a client that resets with queries in flight', () =>
    withGateway(async (gate) => {
      const socket = connect(gate.port, '127.0.0.1');
      await once(socket, 'connect');
      socket.write(prefixed(encodeQuery({ name: 'slow.example', type: 'TXT' })));
      await sleep(50);
      socket.resetAndDestroy();
      await sleep(200);
      assert.equal((await gate.ask({ name: 'fast.example', type: 'TXT' })).rcode, 0);
    }));
});

describe('listeners', () => {
  const base = {
    forwarders: [at(1)],
    checkForwarders: false,
    pref64: parsePrefix6('64:ff9b::/96')!,
    wkpfStrict: true,
    allowFrom: null,
    ownNetworks: () => [],
    log: QUIET,
  };

  const comm = readFileSync('/proc/self/comm', 'utf8').trim();

  it('who holds a port: of this address or of all, over the same transport', async () => {
    const port = await unusedPort();
    const taker = createSocket('udp6').bind(port, '::');
    await once(taker, 'listening');
    try {
      const us = `${comm} (pid ${process.pid})`;
      assert.equal(portHolder('udp', { address: '127.0.0.1', port }), us);
      assert.equal(portHolder('udp', { address: '::1', port }), us);
      assert.equal(portHolder('tcp', { address: '::1', port }), null);
    } finally {
      taker.close();
    }
    assert.equal(portHolder('udp', { address: '::1', port }), null);
  });

  for (const transport of ['UDP', 'TCP'] as const) {
    it(`a port taken over ${transport}: an error that says who to look for and what to change; the others go on`, async () => {
      const port = await unusedPort();
      const taker = transport === 'UDP' ? createSocket('udp4') : createServer();
      if ('bind' in taker) taker.bind(port, '127.0.0.1');
      else taker.listen(port, '127.0.0.1');
      await once(taker, 'listening');
      const free = { address: '::1', port: 0 };
      const dns64 = await startDns64({ ...base, listen: [{ address: '127.0.0.1', port }, free] });
      try {
        assert.equal(dns64.listening.length, 1);
        assert.equal(dns64.listening[0]?.address, '::1');
        assert.equal(dns64.failures.length, 1);
        assert.deepEqual(dns64.failures[0]?.address, { address: '127.0.0.1', port });
        const { message } = dns64.failures[0]!.error;
        assert.ok(message.includes(`127.0.0.1:${port}`), message);
        assert.ok(message.includes(`taken by ${comm} (pid ${process.pid})`), message);
        assert.ok(message.includes('"listen" of [dns64]'), message);
      } finally {
        await dns64.close();
        taker.close();
      }
      // Neither half of the failed address is held.
      const again =
        transport === 'UDP'
          ? createServer().listen(port, '127.0.0.1')
          : createSocket('udp4').bind(port, '127.0.0.1');
      await once(again, 'listening');
      again.close();
    });
  }

  it('an address that is nowhere: tried for a while, then an error', async () => {
    const dns64 = await startDns64({
      ...base,
      listen: [{ address: '192.0.2.77', port: 5353 }],
      bindRetryMs: 150,
    });
    await dns64.close();
    assert.match(dns64.failures[0]!.error.message, /192\.0\.2\.77:5353 .*no interface has this address/);
  });

  it('serve over IPv6', async () => {
    const server = await scriptedServer(WWW);
    const dns64 = await startDns64({
      ...base,
      listen: [{ address: '::1', port: 0 }],
      forwarders: [at(server.port)],
    });
    try {
      const query = encodeQuery({ name: 'fast.example', type: 'TXT' });
      const answer = await sendUdp(dns64.listening[0]!.port, query, 20_000, '::1');
      assert.deepEqual(decodeReply(answer!).answer, ['fast.example 1 TXT fast']);
    } finally {
      await dns64.close();
      await server.close();
    }
  });

  it('a forwarder that is ourselves is refused', async () => {
    const port = await unusedPort();
    const ourselves = at(port);
    const dns64 = await startDns64({ ...base, listen: [ourselves], forwarders: [ourselves] });
    try {
      assert.deepEqual(dns64.forwarders, []);
      assert.match(dns64.failures[0]!.error.message, /cannot forward to it.*"forwarders" of \[dns64\]/);
      const answer = await sendUdp(port, encodeQuery({ name: 'a.example', type: 'A' }), 20_000);
      assert.equal(decodeReply(answer!).rcode, SERVFAIL);
    } finally {
      await dns64.close();
    }
  });

  it('close with queries in flight: sockets go, counters return to 0', async () => {
    const gate = await gateway({ '*': { silent: true } }, IMPATIENT);
    const answered = gate.send(encodeQuery({ name: 'a.example', type: 'AAAA' }), 400);
    await until(() => gate.dns64.stats.pending > 0, 'the query');
    await gate.close();
    assert.equal(await answered, null);
    assert.equal(gate.dns64.stats.pending, 0);
    assert.equal(gate.dns64.stats.upstreamPending, 0);
  });
});

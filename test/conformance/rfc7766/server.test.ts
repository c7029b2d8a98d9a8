/** DNS over TCP, the server's side. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { TCP_LIMITS } from '#nat64d/control/dns64/tcp-server.js';
import { until } from '../../helpers/until.js';
import {
  decodeReply,
  encodeQuery,
  type Gateway,
  type GatewayOptions,
  gateway,
  prefixed,
  type Script,
  sendTcp,
} from '../rfc6147/harness.js';

/** 50 KB. */
const large = (name: string) =>
  [...Array(200).keys()].map((i) => `${name}.example 300 TXT ${String(i).padEnd(250, 'x')}`);

const SCRIPT: Script = {
  'fast.example TXT': { answer: ['fast.example 1 TXT fast'] },
  'slow.example TXT': { answer: ['slow.example 1 TXT slow'], delayMs: 150 },
  'large.example TXT': { truncate: true, answer: large('large') },
  'later.example TXT': { truncate: true, answer: large('later'), delayMs: 50 },
};

async function withGateway(
  run: (gate: Gateway) => Promise<void>,
  options: GatewayOptions = {},
): Promise<void> {
  const gate = await gateway(SCRIPT, options);
  try {
    await run(gate);
  } finally {
    await gate.close();
  }
  assert.equal(gate.dns64.stats.pending, 0);
}

const query = (name: string, id: number) => encodeQuery({ name: `${name}.example`, type: 'TXT' }, id);

describe('5', () => {
  it('an answer too large for UDP comes whole over TCP', () =>
    withGateway(async (gate) => {
      const answer = await gate.askTcp({ name: 'large.example', type: 'TXT' });
      assert.equal(answer.answer.length, 200);
      assert.ok(answer.bytes.length > 50_000);
    }));
});

describe('6.2.1.1', () => {
  it('out of order: what is ready first is answered first', () =>
    withGateway(async (gate) => {
      const answers = await sendTcp(gate.port, [query('slow', 1), query('fast', 2)], 2);
      assert.deepEqual(
        answers.map((one) => one.readUInt16BE(0)),
        [2, 1],
      );
    }));

  it('a query that is malformed gets FORMERR, and those around it their answers', () =>
    withGateway(async (gate) => {
      const answers = await sendTcp(
        gate.port,
        [query('fast', 1), query('fast', 2).subarray(0, 20), query('fast', 3)],
        3,
      );
      const rcodes = new Map(answers.map((one) => [one.readUInt16BE(0), one.readUInt16BE(2) & 0xf]));
      assert.deepEqual(
        [1, 2, 3].map((id) => rcodes.get(id)),
        [0, 1, 0],
      );
    }));
});

describe('6.2.3', () => {
  it('several queries on a connection, one after another, with pauses below the time-out', () =>
    withGateway(
      async (gate) => {
        const socket = connect(gate.port, '127.0.0.1');
        for (const id of [1, 2, 3, 4]) {
          socket.write(prefixed(query('fast', id)));
          const [bytes] = (await once(socket, 'data')) as [Buffer];
          assert.equal(bytes.readUInt16BE(2), id);
          await sleep(80);
        }
        const closed = once(socket, 'close');
        const startMs = performance.now();
        await closed;
        assert.ok(performance.now() - startMs < 2000);
      },
      { tcpLimits: { idleMs: 160 } },
    ));

  it('a connection whose query is being answered is not idle, however long that takes', () =>
    withGateway(
      async (gate) => {
        const answers = await sendTcp(gate.port, [query('slow', 1)], 1);
        assert.equal(answers.length, 1);
      },
      { tcpLimits: { idleMs: 40 } },
    ));

  it('of one connection no more queries are under way than allowed, and the others wait', () =>
    withGateway(
      async (gate) => {
        const ids = [...Array(9).keys()];
        let most = 0;
        const timer = setInterval(() => {
          most = Math.max(most, gate.dns64.stats.pending);
        }, 1);
        const answers = await sendTcp(
          gate.port,
          ids.map((id) => query('slow', id)),
          ids.length,
        );
        clearInterval(timer);
        assert.equal(answers.length, ids.length);
        assert.equal(most, 3);
      },
      { tcpLimits: { queriesPerConnection: 3 } },
    ));

  it('by default 1,000 connections, 100 queries on each, ten seconds', () =>
    assert.deepEqual(TCP_LIMITS, { connections: 1000, queriesPerConnection: 100, idleMs: 10_000 }));
});

describe('8', () => {
  it('length and message in pieces of one octet', () =>
    withGateway(async (gate) => {
      const socket = connect(gate.port, '127.0.0.1').setNoDelay(true);
      for (const octet of prefixed(query('fast', 7))) {
        socket.write(Buffer.of(octet));
        await new Promise((resolve) => setImmediate(resolve));
      }
      const [bytes] = (await once(socket, 'data')) as [Buffer];
      assert.deepEqual(decodeReply(bytes.subarray(2)).answer, ['fast.example 1 TXT fast']);
      socket.destroy();
    }));

  it('an answer leaves in one piece with its length', () =>
    withGateway(async (gate) => {
      const socket = connect(gate.port, '127.0.0.1');
      socket.write(prefixed(query('fast', 7)));
      const [bytes] = (await once(socket, 'data')) as [Buffer];
      assert.equal(bytes.readUInt16BE(0), bytes.length - 2);
      socket.destroy();
    }));
});

describe('10', () => {
  it('a client that does not read its answers is let go before they fill the memory', () =>
    withGateway(
      async (gate) => {
        const socket = connect(gate.port, '127.0.0.1').pause();
        socket.on('error', () => {});
        const closed = new Promise((resolve) => socket.once('close', resolve));
        // Each answer is 50 KB, and they come at a time: far more than the kernel's buffers hold. Of what is answered as soon as it
        // is read, no more is read than is sent.
        const ids = [...Array(400).keys()];
        socket.write(Buffer.concat(ids.map((id) => prefixed(query('later', id)))));
        await until(() => gate.dns64.stats.dropped.slow > 0, 'the client to be let go', 30_000);
        socket.resume();
        await closed;
        assert.equal(gate.dns64.stats.dropped.slow, 1);
        // Others are served.
        assert.equal((await gate.ask({ name: 'fast.example', type: 'TXT' })).rcode, 0);
      },
      { tcpLimits: { idleMs: 20_000, queriesPerConnection: 1000 } },
    ));
});

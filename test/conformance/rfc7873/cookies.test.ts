/** DNS cookies, the server's side. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  decodeReply,
  encodeQuery,
  type Gateway,
  type GatewayOptions,
  gateway,
  prefixed,
  type Script,
  sendTcp,
  TC,
} from '../rfc6147/harness.js';

const FORMERR = 1;
const BADCOOKIE_HIGH = 1;
const BADCOOKIE_LOW = 7;
const CLIENT_COOKIE = '0123456789abcdef';
const SCRIPT: Script = {
  'www.example A': { answer: ['www.example 300 A 192.0.2.1'] },
  'long.example TXT': { answer: [`long.example 300 TXT ${'x'.repeat(250)}`], extendedError: 3 },
  'many.example A': { answer: [...Array(60).keys()].map((i) => `many.example 300 A 192.0.2.${i}`) },
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
}

/** A query with EDNS and a cookie option of these bytes. */
function withCookie(cookie: string, name = 'www.example', type = 'A', edns = 1232): Buffer {
  const data = Buffer.from(cookie, 'hex');
  const query = encodeQuery({ name, type, edns });
  const bytes = Buffer.concat([query, Buffer.from([0, 10, 0, data.length]), data]);
  bytes.writeUInt16BE(4 + data.length, query.length - 2);
  return bytes;
}

/** Both cookies of an answer that ends in them. */
function cookieOf(answer: Buffer): string {
  const option = answer.subarray(-28);
  assert.equal(option.readUInt32BE(0), (10 << 16) | 24);
  return option.toString('hex', 4);
}

describe('5.2.1', () => {
  it('no OPT, or one without a cookie: none in the answer', () =>
    withGateway(async (gate) => {
      for (const query of [
        encodeQuery({ name: 'www.example', type: 'A' }),
        encodeQuery({ name: 'www.example', type: 'A', edns: 1232 }),
      ]) {
        const answer = (await gate.send(query))!;
        assert.ok(answer.indexOf(Buffer.from([0, 10, 0, 24])) < 0);
        assert.equal(decodeReply(answer).answer.length, 1);
      }
    }));
});

describe('5.2.2: a cookie of an impossible length gets FORMERR', () => {
  for (const length of [0, 1, 7, 9, 15, 41]) {
    it(`${length} bytes`, () =>
      withGateway(async (gate) => {
        const reply = decodeReply((await gate.send(withCookie('ab'.repeat(length))))!);
        assert.equal(reply.rcode, FORMERR);
        assert.deepEqual(gate.server.asked, []);
      }));
  }
});

describe('5.2.3 to 5.2.5: the answer carries the client cookie and a server cookie', () => {
  for (const [what, more] of [
    ['only a client cookie', ''],
    ['a server cookie of somebody else', 'ff'.repeat(16)],
    ['a server cookie of another length', 'ff'.repeat(32)],
  ] as const) {
    it(what, () =>
      withGateway(async (gate) => {
        const answer = (await gate.send(withCookie(CLIENT_COOKIE + more)))!;
        assert.deepEqual(decodeReply(answer).answer, ['www.example 300 A 192.0.2.1']);
        assert.ok(cookieOf(answer).startsWith(`${CLIENT_COOKIE}01000000`));
        // Shown again it is good.
        const again = (await gate.send(withCookie(cookieOf(answer))))!;
        assert.deepEqual(decodeReply(again).answer, ['www.example 300 A 192.0.2.1']);
      }),
    );
  }

  it('beside an extended error, which stays', () =>
    withGateway(async (gate) => {
      const answer = (await gate.send(withCookie(CLIENT_COOKIE, 'long.example', 'TXT')))!;
      assert.deepEqual(decodeReply(answer).opt?.errors, [3]);
      assert.ok(cookieOf(answer).startsWith(CLIENT_COOKIE));
    }));

  it('within the limit of the client: what has no room for it is cut to TC=1, and has it', () =>
    withGateway(async (gate) => {
      const answer = (await gate.send(withCookie(CLIENT_COOKIE, 'many.example', 'A', 600)))!;
      assert.ok(answer.length <= 600);
      assert.equal(decodeReply(answer).flags & TC, TC);
      assert.ok(cookieOf(answer).startsWith(CLIENT_COOKIE));
    }));

  it('over TCP too', () =>
    withGateway(async (gate) => {
      const [answer] = await sendTcp(gate.port, [withCookie(CLIENT_COOKIE)], 1);
      assert.ok(cookieOf(answer!).startsWith(CLIENT_COOKIE));
      assert.equal(prefixed(answer!).readUInt16BE(0), answer!.length);
    }));

  it('with REFUSED', () =>
    withGateway(
      async (gate) => {
        const answer = (await gate.send(withCookie(CLIENT_COOKIE)))!;
        assert.equal(decodeReply(answer).rcode, 5);
        assert.ok(cookieOf(answer).startsWith(CLIENT_COOKIE));
      },
      { allowFrom: [] },
    ));
});

describe('5.4: a query for a server cookie, without a question', () => {
  const bare = (cookie: string) => {
    const query = withCookie(cookie);
    const bytes = Buffer.concat([query.subarray(0, 12), query.subarray(29)]);
    bytes[5] = 0;
    return bytes;
  };

  it('a client cookie: NOERROR and the pair', () =>
    withGateway(async (gate) => {
      const answer = (await gate.send(bare(CLIENT_COOKIE)))!;
      assert.equal(answer.readUInt16BE(2) & 0x800f, 0x8000);
      assert.deepEqual([...answer.subarray(4, 12)], [0, 0, 0, 0, 0, 0, 0, 1]);
      assert.ok(cookieOf(answer).startsWith(`${CLIENT_COOKIE}01`));
      const again = (await gate.send(bare(cookieOf(answer))))!;
      assert.equal(again.readUInt16BE(2) & 0xf, 0);
    }));

  it('a bad server cookie: BADCOOKIE and a good one', () =>
    withGateway(async (gate) => {
      const answer = (await gate.send(bare(CLIENT_COOKIE + 'ff'.repeat(16))))!;
      assert.equal(answer.readUInt16BE(2) & 0xf, BADCOOKIE_LOW);
      assert.equal(answer[12 + 5], BADCOOKIE_HIGH);
      assert.ok(cookieOf(answer).startsWith(`${CLIENT_COOKIE}01`));
      assert.equal(gate.dns64.stats.badCookies, 1);
    }));

  it('no cookie, or cookies switched off: FORMERR', async () => {
    await withGateway(async (gate) => {
      const answer = (await gate.send(encodeQuery({ name: '.', type: 'A' }).subarray(0, 12)))!;
      assert.equal(answer.readUInt16BE(2) & 0xf, FORMERR);
    });
    await withGateway(
      async (gate) => {
        const answer = (await gate.send(bare(CLIENT_COOKIE)))!;
        assert.equal(answer.readUInt16BE(2) & 0xf, FORMERR);
        assert.equal(answer.length, 12);
      },
      { cookies: false },
    );
  });
});

describe('7.1: the rate limit', () => {
  it('is for those without a good cookie; a client that speaks cookies gets BADCOOKIE, and then its answers', () =>
    withGateway(
      async (gate) => {
        await gate.send(withCookie(CLIENT_COOKIE));
        // Two in three: one slips, the other is dropped.
        const limited = (
          await Promise.all([1, 2].map(() => gate.send(withCookie(CLIENT_COOKIE), 300)))
        ).filter((one) => one !== null);
        assert.equal(limited.length, 1);
        const reply = decodeReply(limited[0]!);
        assert.equal((reply.opt!.extendedRcode << 4) | reply.rcode, 23);
        assert.deepEqual(reply.answer, []);
        assert.equal(reply.flags & TC, 0);
        for (let i = 0; i < 5; i++) {
          const answer = (await gate.send(withCookie(cookieOf(limited[0]!))))!;
          assert.deepEqual(decodeReply(answer).answer, ['www.example 300 A 192.0.2.1']);
        }
      },
      { rateLimit: 1 },
    ));

  it('does not hold over TCP', () =>
    withGateway(
      async (gate) => {
        const queries = [1, 2, 3].map((id) => encodeQuery({ name: 'www.example', type: 'A' }, id));
        const answers = await sendTcp(gate.port, queries, 3);
        assert.deepEqual(
          answers.map((one) => decodeReply(one).answer.length),
          [1, 1, 1],
        );
      },
      { rateLimit: 1 },
    ));
});

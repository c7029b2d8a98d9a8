/** Forwarders over TCP (RFC 7766), TLS (RFC 7858) and HTTPS (RFC 8484), against servers on loopback. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  createSecureServer,
  type Http2SecureServer,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createServer as createTlsServer, type TLSSocket } from 'node:tls';
import dnsPacket from 'dns-packet';
import fc from 'fast-check';
import { readForwarder } from '#nat64d/control/config/forwarder.js';
import type { ForwarderConfig } from '#nat64d/control/config/types.js';
import { newStats } from '#nat64d/control/dns64/stats.js';
import { Upstream, type UpstreamOptions } from '#nat64d/control/dns64/upstream.js';
import { TcpTransport } from '#nat64d/control/dns64/upstream-stream.js';
import { encodeQuery, prefixed, QUIET, scriptedServer } from '../../../conformance/rfc6147/harness.js';
import { type Certificate, makeCertificate } from '../../../helpers/certificate.js';

const GOOD = makeCertificate(['dns.example', '127.0.0.1']);
const OTHERS = makeCertificate(['other.example', '192.0.2.9']);

const questionFor = (name: string) => encodeQuery({ name, type: 'TXT' }).subarray(12);
async function ask(upstream: Upstream, name = 'a.example'): Promise<string> {
  const question = questionFor(name);
  const { answer, failure } = await upstream.ask({ question, flags: 0x100, dnssecOk: false });
  if (answer === null) return `${failure}`;
  return String((dnsPacket.decode(answer.bytes).answers?.[0] as { data: unknown } | undefined)?.data);
}

/** An answer with TXT data that is the name asked for. */
function answerTo(query: Buffer): Buffer {
  const { id = 0, questions = [] } = dnsPacket.decode(query);
  const name = questions[0]!.name;
  return dnsPacket.encode({
    type: 'response',
    id,
    questions,
    answers: [{ name, type: 'TXT', ttl: 5, data: name }],
  });
}

interface StreamServer {
  port: number;
  /** Connections, oldest first. */
  sockets: Socket[];
  queries: Buffer[];
  close(): Promise<void>;
}

type Reply = (query: Buffer, socket: Socket, count: number) => void;
const echo: Reply = (query, socket) => socket.write(prefixed(answerTo(query)));

async function streamServer(reply: Reply, certificate?: Certificate): Promise<StreamServer> {
  const sockets: Socket[] = [];
  const queries: Buffer[] = [];
  const serve = (socket: Socket) => {
    sockets.push(socket);
    let data = Buffer.alloc(0);
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      data = Buffer.concat([data, chunk]);
      while (data.length >= 2 && data.length >= 2 + data.readUInt16BE(0)) {
        const end = 2 + data.readUInt16BE(0);
        const query = data.subarray(2, end);
        queries.push(query);
        data = data.subarray(end);
        reply(query, socket, queries.length);
      }
    });
  };
  const server: Server =
    certificate === undefined
      ? createServer(serve)
      : createTlsServer({ ...certificate, ALPNProtocols: ['dot'] }, serve);
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    sockets,
    queries,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

async function withUpstream(
  forwarders: string[],
  run: (upstream: Upstream) => Promise<void>,
  options: UpstreamOptions = {},
): Promise<void> {
  const configs = forwarders.map((text) => readForwarder(text) as ForwarderConfig);
  const upstream = new Upstream(configs, newStats(), QUIET, { ca: GOOD.cert, ...options });
  try {
    await run(upstream);
    assert.equal(upstream.stats.upstreamPending, 0);
  } finally {
    upstream.close();
  }
}

describe('connections', () => {
  const withServer = async (
    reply: Reply,
    run: (upstream: Upstream, server: StreamServer) => Promise<void>,
    options?: UpstreamOptions,
  ) => {
    const server = await streamServer(reply, GOOD);
    try {
      await withUpstream(
        [`tls://127.0.0.1:${server.port}#dns.example`],
        (upstream) => run(upstream, server),
        options,
      );
    } finally {
      await server.close();
    }
  };

  it('one is used for all, and answers come in any order', async () => {
    const held: Buffer[] = [];
    const reply: Reply = (query, socket) => {
      held.push(query);
      if (held.length < 20) return;
      for (const one of held.splice(0).reverse()) echo(one, socket, 0);
    };
    await withServer(reply, async (upstream, server) => {
      const names = Array.from({ length: 20 }, (_, i) => `n${i}.example`);
      assert.deepEqual(await Promise.all(names.map((name) => ask(upstream, name))), names);
      assert.equal(server.sockets.length, 1);
      assert.equal(new Set(server.queries.map((query) => query.readUInt16BE(0))).size, 20);
    });
  });

  it('more are opened where one has too much to do', async () => {
    const reply: Reply = (query, socket) => setTimeout(() => echo(query, socket, 0), 50);
    await withServer(reply, async (upstream, server) => {
      const names = Array.from({ length: 1000 }, (_, i) => `n${i}.example`);
      assert.deepEqual(await Promise.all(names.map((name) => ask(upstream, name))), names);
      assert.equal(server.sockets.length, 4);
    });
  });

  it('one that the server closed is replaced, and what was on its way is asked again, once', async () => {
    const reply: Reply = (query, socket, count) => {
      if (count === 2) socket.destroy();
      else echo(query, socket, count);
    };
    await withServer(reply, async (upstream, server) => {
      assert.equal(await ask(upstream), 'a.example');
      assert.equal(await ask(upstream), 'a.example');
      assert.equal(server.sockets.length, 2);
      assert.equal(server.queries.length, 3);
    });
  });

  it('a server that closes every one is a failure of the network', async () => {
    await withServer(
      (_, socket) => socket.destroy(),
      async (upstream) => {
        assert.equal(await ask(upstream), 'network');
      },
    );
  });

  it('a query that is given up while others hear that the connection is gone hears nothing', async () => {
    const server = await streamServer((_, socket) => socket.destroy());
    const transport = new TcpTransport({ address: '127.0.0.1', port: server.port }, newStats());
    const told: number[] = [];
    await new Promise<void>((resolve) => {
      // Which of them hears first depends on their ids, which are drawn.
      const giveUps = ['a.example', 'b.example'].map((name, which) =>
        transport.send(encodeQuery({ name, type: 'TXT' }), {
          onMessage: () => false,
          onRefusal: () => {},
          onError: () => {
            told.push(which);
            giveUps[1 - which]();
            resolve();
          },
        }),
      );
    });
    await sleep(1);
    transport.close();
    await server.close();
    assert.equal(told.length, 1);
  });

  it('one without queries is closed', async () => {
    const options = { streamTimes: { connectMs: 4000, idleMs: 50, stallMs: 2000 } };
    await withServer(
      echo,
      async (upstream, server) => {
        assert.equal(await ask(upstream), 'a.example');
        await once(server.sockets[0]!, 'close');
      },
      options,
    );
  });

  it('one that fell silent is given up', async () => {
    let isSilent = false;
    const reply: Reply = (query, socket) => {
      if (!isSilent || socket !== first) echo(query, socket, 0);
    };
    let first: Socket | undefined;
    const options = { times: { tryMs: 150, budgetMs: 1000 }, streamTimes: { stallMs: 100 } };
    await withServer(
      reply,
      async (upstream, server) => {
        assert.equal(await ask(upstream), 'a.example');
        first = server.sockets[0];
        isSilent = true;
        assert.equal(await ask(upstream), 'a.example');
        assert.equal(server.sockets.length, 2);
      },
      options,
    );
  });

  it('any bytes on one end in an answer or a failure, and nothing is left pending', async () => {
    let next = Buffer.alloc(0);
    const reply: Reply = (query, socket) => {
      const message = Buffer.concat([query.subarray(0, 2), next]);
      socket.write(next.length % 3 === 0 ? message : prefixed(message));
    };
    const options = { times: { tryMs: 10, budgetMs: 20 }, streamTimes: { stallMs: 5 } };
    await withServer(
      reply,
      async (upstream) => {
        const bytes = fc.uint8Array({ maxLength: 80 });
        await fc.assert(
          fc.asyncProperty(bytes, fc.boolean(), async (some, isLike) => {
            const head = Buffer.from([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
            next = isLike ? Buffer.concat([head, questionFor('a.example'), some]) : Buffer.from(some);
            assert.equal(typeof (await ask(upstream)), 'string');
            assert.equal(upstream.stats.upstreamPending, 0);
          }),
          { numRuns: 60 },
        );
      },
      options,
    );
  });
});

describe('TCP for what is truncated', () => {
  it('one connection serves many, at the same time', async () => {
    const script = { '*': { answer: ['a.example 5 TXT whole'], truncate: true, delayMs: 20 } };
    const server = await scriptedServer(script);
    try {
      await withUpstream([`127.0.0.1:${server.port}`], async (upstream) => {
        const all = await Promise.all(Array.from({ length: 50 }, () => ask(upstream)));
        assert.deepEqual(new Set(all), new Set(['whole']));
        assert.equal(server.asked.filter(({ transport }) => transport === 'tcp').length, 50);
        assert.equal(server.connections, 1);
      });
    } finally {
      await server.close();
    }
  });
});

describe('TLS (RFC 7858)', () => {
  const cases: [string, Certificate, (port: number) => string, string][] = [
    ['the name in the certificate', GOOD, (port) => `tls://127.0.0.1:${port}#dns.example`, 'a.example'],
    ['no name: the address in it', GOOD, (port) => `tls://127.0.0.1:${port}`, 'a.example'],
    ['another name than in it', GOOD, (port) => `tls://127.0.0.1:${port}#www.example`, 'network'],
    [
      'a certificate of nobody that is trusted',
      OTHERS,
      (port) => `tls://127.0.0.1:${port}#other.example`,
      'network',
    ],
  ];
  for (const [what, certificate, at, expected] of cases) {
    it(`${what}: ${expected}`, async () => {
      const server = await streamServer(echo, certificate);
      try {
        await withUpstream([at(server.port)], async (upstream) => {
          assert.equal(await ask(upstream), expected);
          assert.equal(server.queries.length, expected === 'network' ? 0 : 1, 'a stranger hears nothing');
        });
      } finally {
        await server.close();
      }
    });
  }

  it('the address, where a certificate is trusted that lacks it', async () => {
    const server = await streamServer(echo, OTHERS);
    try {
      const run = async (upstream: Upstream) => assert.equal(await ask(upstream), 'network');
      await withUpstream([`tls://127.0.0.1:${server.port}`], run, { ca: OTHERS.cert });
    } finally {
      await server.close();
    }
  });

  it('a session is resumed by the next connection', async () => {
    const server = await streamServer(echo, GOOD);
    try {
      await withUpstream([`tls://127.0.0.1:${server.port}#dns.example`], async (upstream) => {
        assert.equal(await ask(upstream), 'a.example');
        await sleep(20);
        assert.equal((server.sockets[0] as TLSSocket).isSessionReused(), false);
        server.sockets[0]!.end();
        await sleep(20);
        assert.equal(await ask(upstream), 'a.example');
        assert.equal((server.sockets[1] as TLSSocket).isSessionReused(), true);
      });
    } finally {
      await server.close();
    }
  });

  it('queries are padded to 128 bytes (RFC 8467), over TLS only', async () => {
    const server = await streamServer(echo, GOOD);
    try {
      await withUpstream([`tls://127.0.0.1:${server.port}#dns.example`], async (upstream) => {
        for (const name of ['a.example', `${'b'.repeat(60)}.${'c'.repeat(60)}.example`])
          await ask(upstream, name);
      });
      assert.deepEqual(
        server.queries.map((query) => query.length),
        [128, 256],
      );
      for (const query of server.queries) assert.equal(dnsPacket.decode(query).additionals?.length, 1);
    } finally {
      await server.close();
    }
  });

  it('a forwarder that cannot be trusted is passed over for the next, and nothing is asked in the clear', async () => {
    const stranger = await streamServer(echo, OTHERS);
    const server = await streamServer(echo, GOOD);
    try {
      const forwarders = [stranger, server].map(({ port }) => `tls://127.0.0.1:${port}#dns.example`);
      await withUpstream(forwarders, async (upstream) => {
        assert.equal(await ask(upstream), 'a.example');
        assert.equal(stranger.queries.length, 0);
      });
    } finally {
      await stranger.close();
      await server.close();
    }
  });
});

interface WebServer {
  port: number;
  sessions: ServerHttp2Session[];
  requests: { headers: Record<string, unknown>; body: Buffer }[];
  close(): Promise<void>;
}

type WebReply = (stream: ServerHttp2Stream, query: Buffer, count: number) => void;
const MEDIA_TYPE = 'application/dns-message';
const answerWeb: WebReply = (stream, query) => {
  stream.respond({ ':status': 200, 'content-type': MEDIA_TYPE });
  stream.end(answerTo(query));
};

async function webServer(reply: WebReply, certificate = GOOD): Promise<WebServer> {
  const server: Http2SecureServer = createSecureServer({ ...certificate });
  const sessions: ServerHttp2Session[] = [];
  const requests: WebServer['requests'] = [];
  server.on('session', (session) => {
    sessions.push(session);
    session.on('error', () => {});
  });
  server.on('stream', (stream, headers) => {
    const chunks: Buffer[] = [];
    stream.on('error', () => {});
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('end', () => {
      requests.push({ headers, body: Buffer.concat(chunks) });
      reply(stream, Buffer.concat(chunks), requests.length);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    sessions,
    requests,
    close: async () => {
      for (const session of sessions) session.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

describe('HTTPS (RFC 8484)', () => {
  const withServer = async (
    reply: WebReply,
    run: (upstream: Upstream, server: WebServer) => Promise<void>,
    options: UpstreamOptions = {},
    certificate = GOOD,
  ) => {
    const server = await webServer(reply, certificate);
    try {
      const forwarder = `https://127.0.0.1:${server.port}/ask#dns.example`;
      await withUpstream([forwarder], (upstream) => run(upstream, server), options);
    } finally {
      await server.close();
    }
  };

  it('is a POST over HTTP/2, with id 0, padded; one connection for all', async () => {
    await withServer(answerWeb, async (upstream, server) => {
      const names = Array.from({ length: 30 }, (_, i) => `n${i}.example`);
      assert.deepEqual(await Promise.all(names.map((name) => ask(upstream, name))), names);
      assert.equal(server.sessions.length, 1);
      const { headers, body } = server.requests[0]!;
      assert.equal(headers[':method'], 'POST');
      assert.equal(headers[':path'], '/ask');
      assert.equal(headers[':authority'], `dns.example:${server.port}`);
      assert.equal(headers['content-type'], MEDIA_TYPE);
      assert.equal(headers.accept, MEDIA_TYPE);
      assert.equal(body.readUInt16BE(0), 0);
      assert.equal(body.length, 128);
    });
  });

  const REFUSALS: [string, WebReply][] = [
    ['another status', (stream) => stream.respond({ ':status': 503 }, { endStream: true })],
    [
      'another media type',
      (stream, query) => {
        stream.respond({ ':status': 200, 'content-type': 'text/html' });
        stream.end(answerTo(query));
      },
    ],
    [
      'another question',
      (stream, query) => {
        const bytes = answerTo(query);
        bytes.write('b', 13);
        stream.respond({ ':status': 200, 'content-type': MEDIA_TYPE });
        stream.end(bytes);
      },
    ],
    [
      'more than a message can be',
      (stream) => {
        stream.respond({ ':status': 200, 'content-type': MEDIA_TYPE });
        stream.end(Buffer.alloc(70_000));
      },
    ],
  ];
  for (const [what, reply] of REFUSALS) {
    it(`${what} is no answer, and no sign of death`, async () => {
      await withServer(reply, async (upstream, server) => {
        for (let i = 1; i <= 4; i++) {
          assert.equal(await ask(upstream), 'garbage');
          assert.equal(server.requests.length, i);
        }
      });
    });
  }

  it('a connection that the server ends is replaced, and what was on its way is asked again, once', async () => {
    const reply: WebReply = (stream, query, count) => {
      if (count === 2) stream.session!.destroy();
      else answerWeb(stream, query, count);
    };
    await withServer(reply, async (upstream, server) => {
      assert.equal(await ask(upstream), 'a.example');
      assert.equal(await ask(upstream), 'a.example');
      assert.equal(server.sessions.length, 2);
      server.sessions[1]!.close();
      await sleep(20);
      assert.equal(await ask(upstream), 'a.example');
      assert.equal(server.sessions.length, 3);
    });
  });

  it('a certificate of nobody that is trusted', async () => {
    const run = async (upstream: Upstream, server: WebServer) => {
      assert.equal(await ask(upstream), 'network');
      assert.equal(server.requests.length, 0);
    };
    await withServer(answerWeb, run, {}, OTHERS);
  });

  it('a server that speaks no HTTP/2', async () => {
    const server = await streamServer(echo, GOOD);
    try {
      await withUpstream([`https://127.0.0.1:${server.port}#dns.example`], async (upstream) => {
        assert.equal(await ask(upstream), 'network');
      });
    } finally {
      await server.close();
    }
  });

  it('silence', async () => {
    const options = { times: { tryMs: 50, budgetMs: 150 } };
    await withServer(
      () => {},
      async (upstream) => assert.equal(await ask(upstream), 'timeout'),
      options,
    );
  });
});

/** HTTP: metrics and health for programs, a page for people. Read-only; whatever a client sends or does not read, it costs a bounded amount. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { isIP, type Socket } from 'node:net';
import type { HttpConfig, SocketAddress } from '../config/types.js';
import type { Subject } from '../inspect/subject.js';
import { ListenerSet, type ListenFailure, type Ready } from '../listener-set.js';
import type { Log } from '../log.js';
import { EventLoopDelay } from './event-loop.js';
import { formatMetrics } from './exposition.js';
import { readiness } from './health.js';
import { collectMetrics } from './metrics.js';
import { type Reply, StatusPage } from './page.js';

export interface HttpLimits {
  /** For all of a request's header, and for the whole of it. */
  readonly requestMs: number;
  /** A connection that neither sends nor reads for so long is closed. */
  readonly idleMs: number;
  readonly connections: number;
}

export const HTTP_LIMITS: HttpLimits = { requestMs: 5000, idleMs: 10_000, connections: 64 };
const MAX_HEADER = 8192;

export interface HttpOptions extends HttpConfig {
  /** Undefined while the gateway starts or ends. */
  readonly subject: () => Subject | undefined;
  readonly log: Log;
  /** For tests. */
  readonly limits?: Partial<HttpLimits>;
}

interface HttpListener {
  readonly server: Server;
  /** With the port in use. */
  readonly address: SocketAddress;
}

export class HttpService {
  #options: HttpOptions;
  readonly #listeners = new ListenerSet<HttpListener>(
    (address) => this.#listen(address),
    ({ server }) => closeServer(server),
  );
  readonly #delay = new EventLoopDelay();
  readonly #page: StatusPage;
  #isFaulty = false;
  /** Connections that have had their answer. */
  readonly #answered = new WeakSet<Socket>();
  #names: ReadonlySet<string>;

  private constructor(options: HttpOptions) {
    this.#options = options;
    this.#page = new StatusPage(options.subject, (error) => this.#noteFault(error));
    this.#names = namesOf(options);
  }

  /** Listens where it can; where it cannot, says so and goes on. */
  static async start(options: HttpOptions): Promise<HttpService> {
    const service = new HttpService(options);
    await service.#listeners.start(options.listen);
    service.#noteFailures();
    return service;
  }

  /** With the ports in use. */
  get listening(): readonly SocketAddress[] {
    return this.#listeners.listeners.map(({ address }) => address);
  }

  get failures(): readonly ListenFailure[] {
    return this.#listeners.failures;
  }

  /** Tries again where it could not listen, and says what comes of it. */
  async listenAgain(): Promise<void> {
    for (const address of await this.#listeners.retry())
      this.#options.log.info(
        { event: 'http-listening', ...address },
        `HTTP: listening on ${address.address} port ${address.port}`,
      );
    this.#noteFailures();
  }

  #noteFailures(): void {
    for (const { error } of this.failures)
      this.#options.log.warn({ event: 'http-listen-failed', err: error }, error.message);
  }

  /** Listens where another configuration says, too; rejects, with every reason, where it cannot. */
  async prepare(config: HttpConfig): Promise<Ready> {
    const listeners = await this.#listeners.prepare(config.listen);
    return {
      undo: () => listeners.undo(),
      commit: () => {
        // Who was let in by the token before is not let in for good.
        if (config.token !== this.#options.token) this.#page.endStreams();
        this.#options = { ...this.#options, ...config };
        this.#names = namesOf(config);
        return listeners.commit();
      },
    };
  }

  async close(): Promise<void> {
    this.#delay.close();
    this.#page.close();
    await this.#listeners.close();
  }

  async #listen({ address, port }: SocketAddress): Promise<HttpListener | ListenFailure> {
    const limits = { ...HTTP_LIMITS, ...this.#options.limits };
    const server = createServer(
      {
        maxHeaderSize: MAX_HEADER,
        headersTimeout: limits.requestMs,
        requestTimeout: limits.requestMs,
        keepAliveTimeout: limits.idleMs,
        connectionsCheckingInterval: Math.ceil(limits.requestMs / 5),
      },
      (request, response) => this.#answer(request, response),
    );
    server.maxConnections = limits.connections;
    server.maxRequestsPerSocket = 1;
    server.setTimeout(limits.idleMs, (socket) => socket.destroy());
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen({ host: address, port, ipv6Only: true }, resolve);
      });
    } catch (error) {
      const cause = error as NodeJS.ErrnoException;
      return {
        address: { address, port },
        error: new Error(listenMessage({ address, port }, cause), { cause }),
      };
    }
    // A connection that cannot be accepted is no reason to end.
    server.on('error', () => {});
    const bound = server.address();
    const inUse = typeof bound === 'object' && bound !== null ? bound.port : port;
    return { server, address: { address, port: inUse } };
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    // Node's own limit does not count those of HTTP/1.0. A chunk may hold a thousand, and the answers would all be kept.
    if (this.#answered.has(request.socket)) {
      response.writeHead(503, { Connection: 'close' }).end();
      return;
    }
    this.#answered.add(request.socket);
    let reply: Reply | Promise<Reply> | 'stream';
    try {
      reply = this.#reply(request);
    } catch (error) {
      reply = this.#fail(error);
    }
    if (reply === 'stream') this.#page.stream(response);
    else if (!(reply instanceof Promise)) send(response, reply);
    else {
      void reply
        .catch((error: unknown) => this.#fail(error))
        .then((one) => {
          if (!response.destroyed) send(response, one);
        });
    }
  }

  #fail(error: unknown): Reply {
    this.#noteFault(error);
    return { status: 500, text: 'this cannot be told; the log of the gateway says why\n' };
  }

  /** A fault in what is only for looking at must not end the gateway. Said once. */
  #noteFault(error: unknown): void {
    if (this.#isFaulty) return;
    this.#isFaulty = true;
    this.#options.log.error(
      { event: 'http-failed', err: error },
      `HTTP: something cannot be told: ${String(error)}`,
    );
  }

  #reply(request: IncomingMessage): Reply | Promise<Reply> | 'stream' {
    if (!this.#mayAskBy(request.headers.host)) {
      return {
        status: 421,
        text: 'this gateway is not known by that name: use its address, or add the name to the key "names" of [http]\n',
      };
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return { status: 405, text: 'read-only: GET and HEAD\n', headers: { Allow: 'GET, HEAD' } };
    }
    if (hasBody(request)) return { status: 413, text: 'no body is taken\n' };
    const subject = this.#options.subject();
    const [path = '/', query = ''] = (request.url ?? '/').split('?', 2);
    if (path === '/healthz') return { status: 200, text: 'ok\n' };
    if (path === '/readyz') {
      const problems = readiness(subject);
      if (problems.length === 0) return { status: 200, text: 'ready\n' };
      return { status: 503, text: `${problems.join('\n')}\n` };
    }
    if (!this.#isAuthorized(request.headers.authorization)) {
      return {
        status: 401,
        text: 'the token of the configuration is needed, as bearer token or as password\n',
        headers: { 'WWW-Authenticate': 'Basic realm="nat64d"' },
      };
    }
    if (path === '/api/stream' && request.method === 'GET') return 'stream';
    const ofPage = this.#page.reply(path, new URLSearchParams(query), subject);
    if (ofPage !== undefined) return ofPage;
    if (path !== '/metrics') return { status: 404, text: 'there are /, /metrics, /healthz and /readyz\n' };
    if (subject === undefined) return { status: 503, text: 'the gateway is starting or stopping\n' };
    const text = formatMetrics(collectMetrics(subject, this.#delay.take()));
    return { status: 200, text, type: 'text/plain; version=0.0.4; charset=utf-8' };
  }

  /** A page of somebody else's that has its name resolve to this address cannot ask by an address, or by localhost. */
  #mayAskBy(host: string | undefined): boolean {
    const name = /^(?:\[([^\]]*)\]|([^:]*))(?::[0-9]*)?$/.exec(host ?? '');
    if (name === null) return false;
    const [, inBrackets, plain = ''] = name;
    if (inBrackets !== undefined) return isIP(inBrackets) === 6;
    return isIP(plain) === 4 || this.#names.has(plain.toLowerCase().replace(/\.$/, ''));
  }

  #isAuthorized(authorization = ''): boolean {
    const { token } = this.#options;
    if (token === null) return true;
    const [scheme = '', value = ''] = authorization.split(' ', 2);
    if (scheme.toLowerCase() === 'bearer') return isSame(value, token);
    if (scheme.toLowerCase() !== 'basic') return false;
    const [, password = ''] = /^[^:]*:(.*)$/s.exec(Buffer.from(value, 'base64').toString()) ?? [];
    return isSame(password, token);
  }
}

function namesOf({ names }: HttpConfig): ReadonlySet<string> {
  return new Set(['localhost', ...names]);
}

/** Cuts its connections off. */
function closeServer(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeAllConnections();
  return closed;
}

function send(response: ServerResponse, reply: Reply): void {
  const { status, text, type = 'text/plain; charset=utf-8', headers = {} } = reply;
  response.writeHead(status, {
    'Content-Type': type,
    'Content-Length': Buffer.byteLength(text),
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    // One request for a connection: what comes behind it is not read.
    Connection: 'close',
    ...headers,
  });
  response.end(response.req.method === 'HEAD' ? undefined : text);
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/** In a time that does not tell how much of it is right. */
function isSame(given: string, token: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(token));
}

function listenMessage({ address, port }: SocketAddress, { code, message }: NodeJS.ErrnoException): string {
  const where = `HTTP cannot listen on ${address.includes(':') ? `[${address}]` : address}:${port}`;
  const advice: Record<string, string> = {
    EADDRINUSE: `the port is taken. To see who holds it: ss -lntp sport = :${port}`,
    EACCES: 'no permission for this port',
    EADDRNOTAVAIL: 'no interface has this address. To see those there are: ip addr',
  };
  return `${where}: ${advice[code ?? ''] ?? message}. There are no metrics there; or change the key "listen" of [http].`;
}

/** DNS over HTTPS (RFC 8484): POST over one HTTP/2 connection, which carries all queries at once. */
import type http2 from 'node:http2';
import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2';
import { createRequire } from 'node:module';
import { set16 } from '../../wire/bytes.js';
import type { ForwarderConfig } from '../config/types.js';
import { MAX_MESSAGE } from './message.js';
import type { StreamTimes } from './upstream-stream.js';
import { loadTls, tlsOptions } from './upstream-tls.js';
import type { Exchange, Transport } from './upstream-transport.js';

const require = createRequire(import.meta.url);

/** See loadTls. */
const loadHttp2 = (): typeof http2 => require('node:http2');

const MEDIA_TYPE = 'application/dns-message';
/** RFC 9113 section 7. */
const CANCEL = 8;

interface Request {
  readonly query: Buffer;
  readonly exchange: Exchange;
  stream: ClientHttp2Stream | null;
  isAgain: boolean;
  isDone: boolean;
}

export class HttpsTransport implements Transport {
  readonly padded = true;
  #session: ClientHttp2Session | null = null;
  /** Those that take no more requests but have some, too. */
  readonly #all = new Set<ClientHttp2Session>();
  #tlsSession: Buffer | undefined;
  #isReady = false;
  #silentSinceMs: number | null = null;
  #isClosed = false;

  constructor(
    private readonly forwarder: ForwarderConfig,
    private readonly ca: string | undefined,
    private readonly times: StreamTimes,
  ) {}

  get isReady(): boolean {
    return this.#isReady;
  }

  send(query: Buffer, exchange: Exchange): () => void {
    // RFC 8484 section 4.1: the stream tells what an answer belongs to.
    set16(query, 0, 0);
    const request: Request = { query, exchange, stream: null, isAgain: false, isDone: false };
    this.#request(request);
    return () => {
      request.isDone = true;
      request.stream?.close(CANCEL);
    };
  }

  close(): void {
    this.#isClosed = true;
    for (const session of this.#all) session.destroy();
  }

  #request(request: Request): void {
    if (this.#isClosed) return;
    const nowMs = performance.now();
    if (this.#silentSinceMs !== null && nowMs - this.#silentSinceMs > this.times.stallMs) this.#drop();
    const session = this.#open();
    this.#silentSinceMs ??= nowMs;
    const stream = session.request({
      ':method': 'POST',
      ':path': this.forwarder.path ?? '/',
      'content-type': MEDIA_TYPE,
      accept: MEDIA_TYPE,
      'content-length': request.query.length,
    });
    request.stream = stream;
    const wasReady = this.#isReady;
    let status = 0;
    let type = '';
    const chunks: Buffer[] = [];
    let size = 0;
    let failure = new Error('stream closed before the answer');
    stream.on('response', (headers) => {
      if (this.#session === session) this.#silentSinceMs = null;
      status = headers[':status'] ?? 0;
      type = headers['content-type'] ?? '';
    });
    stream.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= MAX_MESSAGE) chunks.push(chunk);
      else stream.close(CANCEL);
    });
    stream.on('error', (error) => {
      failure = error;
    });
    let isWhole = false;
    stream.on('end', () => {
      isWhole = true;
    });
    stream.on('close', () => {
      if (request.isDone || this.#isClosed) return;
      if (status !== 0) {
        const isAnswer = isWhole && status === 200 && type === MEDIA_TYPE && size <= MAX_MESSAGE;
        if (!isAnswer || !request.exchange.onMessage(Buffer.concat(chunks)))
          request.exchange.onRefusal(new Error(`HTTP status ${status}, ${type || 'no content type'}`));
      } else if (wasReady && !request.isAgain) {
        // The server may close a connection at any time; what it did not answer is asked on another, once.
        request.isAgain = true;
        if (this.#session === session) this.#drop();
        this.#request(request);
      } else request.exchange.onError(failure);
    });
    stream.end(request.query);
  }

  #drop(): void {
    const session = this.#session;
    this.#session = null;
    this.#isReady = false;
    this.#silentSinceMs = null;
    session?.destroy();
  }

  #open(): ClientHttp2Session {
    // It may have ended without having said so yet.
    if (this.#session !== null && !this.#session.closed && !this.#session.destroyed) return this.#session;
    const { address, port, serverName } = this.forwarder;
    const host = serverName ?? (address.includes(':') ? `[${address}]` : address);
    const socket = loadTls().connect({
      ...tlsOptions(this.forwarder, this.ca),
      ALPNProtocols: ['h2'],
      ...(this.#tlsSession === undefined ? {} : { session: this.#tlsSession }),
    });
    socket.setNoDelay(true);
    socket.on('session', (ticket) => {
      this.#tlsSession = ticket;
    });
    socket.on('error', () => {
      this.#tlsSession = undefined;
    });
    const session = loadHttp2().connect(`https://${host}:${port}`, { createConnection: () => socket });
    this.#session = session;
    this.#isReady = false;
    this.#all.add(session);
    const drop = () => {
      if (this.#session === session) this.#drop();
      else session.destroy();
    };
    const connecting = setTimeout(drop, this.times.connectMs);
    session.once('connect', () => {
      clearTimeout(connecting);
      if (this.#session === session) this.#isReady = true;
    });
    session.setTimeout(this.times.idleMs, drop);
    // The streams hear of an error too, and tell it on.
    session.on('error', () => {});
    // RFC 9113 section 6.8: no new streams on it, but those it has go on.
    session.on('goaway', () => {
      if (this.#session !== session) return;
      this.#session = null;
      this.#isReady = false;
      this.#silentSinceMs = null;
    });
    session.on('close', () => {
      clearTimeout(connecting);
      this.#all.delete(session);
      if (this.#session === session) this.#drop();
    });
    return session;
  }
}

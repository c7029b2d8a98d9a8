/**
 * What comes to the HTTP service; the records are the pieces. Each connection has at most one answer, and one if it brings a sound
 * request alone, of a status that is meant, and ends when its client does; nothing is a fault of ours, and no file but the page's own
 * is given.
 */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { request, type Server } from 'node:http';
import { HttpService } from '#nat64d/control/http/service.js';
import { silent } from '#nat64d/control/log.js';
import { TestSubject } from '../helpers/subject.js';
import type { Case, Runner, Target } from './driver.js';
import { assertUnpolluted, FakeSocket, within } from './fake-socket.js';
import { mutateText } from './mutate.js';
import type { Random } from './random.js';

const MEANT = new Set([100, 200, 400, 401, 404, 405, 408, 413, 417, 421, 431, 501, 503, 505]);
const TOKEN = 'a token that none of the cases guesses';
/** One request, whole and right, and nothing behind it. */
const SOUND =
  /^(?:GET|HEAD|POST) \S+ HTTP\/1\.1\r\nHost: [\w.:[\]]+\r\n(?:Authorization: Bearer [^\r\n]*\r\n)?\r\n$/;
const PATHS = [
  '/',
  '/metrics',
  '/healthz',
  '/readyz',
  '/api/stream',
  '/api/history',
  '/api/maps',
  '/api/maps?host=2001:db8::/32',
  '/api/events',
  '/../../etc/passwd',
  '/%2e%2e/%2e%2e/etc/passwd',
  '/page.html',
  '//',
  '*',
  'http://x/',
  '/?',
  '/api/maps?host=%ff',
  `/${'a'.repeat(9000)}`,
];
const WORDS = [
  'GET',
  'HEAD',
  'POST',
  'OPTIONS',
  'CONNECT',
  'PRI',
  'HTTP/1.0',
  'HTTP/1.1',
  'HTTP/2.0',
  'HTTP/9.9',
  'Host: 127.0.0.1',
  'Host: [::1]',
  'Host: evil.example',
  'Content-Length: 5',
  'Content-Length: -1',
  'Content-Length: 99999999999999999999',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: gzip, chunked',
  'Expect: 100-continue',
  'Expect: x',
  'Upgrade: websocket',
  'Connection: upgrade',
  'Connection: keep-alive',
  'Authorization: Bearer',
  'Authorization: Basic Og==',
  'Authorization: Basic \xff',
  '\r',
  '\0',
  '%00',
  '__proto__: 1',
  'Cookie: x=y',
  ...PATHS,
].map((text) => Buffer.from(text, 'latin1'));

class Http implements Runner {
  readonly #faults: unknown[] = [];
  #service!: HttpService;
  #server!: Server;

  async start(): Promise<this> {
    const log = { ...silent, error: (...fault: unknown[]) => this.#faults.push(fault) } as typeof silent;
    const subject = new TestSubject();
    this.#service = await HttpService.start({
      listen: [{ address: '127.0.0.1', port: 0 }],
      token: TOKEN,
      names: [],
      subject: () => subject,
      log,
    });
    // Its server takes connections within the process too, once it is known.
    const note = (message: unknown) => {
      this.#server = (message as { server: Server }).server;
    };
    subscribe('http.server.request.start', note);
    const { address, port = 0 } = this.#service.listening[0] ?? {};
    await new Promise((resolve) =>
      request({ host: address, port, path: '/healthz', agent: false }, (reply) =>
        reply.resume().on('end', resolve),
      ).end(),
    );
    unsubscribe('http.server.request.start', note);
    return this;
  }

  async run(pieces: Case): Promise<void> {
    const socket = new FakeSocket();
    socket.on('error', () => {});
    this.#server.emit('connection', socket);
    for (const piece of pieces) if (!socket.destroyed) socket.push(piece);
    if (!socket.destroyed) socket.push(null);
    // A stream of events has no end of its own.
    await within(8, () => socket.closed);
    socket.destroy();
    assert.ok(await within(8, () => socket.closed), 'the connection stays');
    const text = Buffer.concat(socket.written).toString('latin1');
    const statuses = [...text.matchAll(/^HTTP\/1\.1 (\d+) /gm)].map(([, status]) => Number(status));
    assert.ok(text === '' || text.startsWith('HTTP/1.1 '), text.slice(0, 200));
    for (const status of statuses) assert.ok(MEANT.has(status), `status ${status}`);
    assert.ok(statuses.filter((status) => status === 200).length <= 1, 'more than one answer');
    if (SOUND.test(Buffer.concat(pieces).toString('latin1')))
      assert.equal(statuses.length, 1, 'a request has no answer');
    assert.doesNotMatch(text, /root:/);
    assert.ok(!text.includes(TOKEN));
    assert.deepEqual(this.#faults, []);
    assertUnpolluted();
  }

  async close(): Promise<void> {
    await this.#service.close();
  }
}

function make(random: Random): Case {
  const token = random.oneIn(3) ? `Authorization: Bearer ${random.oneIn(2) ? TOKEN.slice(1) : 'x'}\r\n` : '';
  let text = Buffer.from(
    `${random.pick(['GET', 'GET', 'GET', 'HEAD', 'POST'])} ${random.pick(PATHS)} HTTP/1.1\r\nHost: ${random.pick(['127.0.0.1', 'localhost', '[::1]:80', 'x'])}\r\n${token}\r\n`,
  );
  if (random.oneIn(6)) text = Buffer.concat(new Array<Buffer>(random.between(2, 20)).fill(text));
  if (!random.oneIn(5)) text = mutateText(random, text, WORDS) as Buffer<ArrayBuffer>;
  if (random.oneIn(3)) {
    const at = random.below(text.length);
    return [text.subarray(0, at), text.subarray(at)];
  }
  return [text];
}

export const http: Target = {
  name: 'http',
  about: 'requests to the HTTP service',
  wholeCount: 1_000_000,
  shortCount: 3_000,
  make,
  open: () => new Http().start(),
};

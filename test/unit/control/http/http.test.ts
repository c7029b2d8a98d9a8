/** HTTP against clients of every kind; the metrics against promtool, and against the dashboard that shows them. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseConfig } from '#nat64d/control/config/index.js';
import { countType, type Dns64Stats } from '#nat64d/control/dns64/stats.js';
import { formatMetrics } from '#nat64d/control/http/exposition.js';
import { collectMetrics } from '#nat64d/control/http/metrics.js';
import { type HttpOptions, HttpService } from '#nat64d/control/http/service.js';
import { silent } from '#nat64d/control/log.js';
import { RouterAdvertisements } from '#nat64d/control/radv/index.js';
import { COUNTER_NAMES } from '#nat64d/shm/counters.js';
import { fetchPeer } from '../../../helpers/peers.js';
import { TestSubject } from '../../../helpers/subject.js';

const TOKEN = '0123456789abcdef';
const DELAY = { meanSec: 0.001, p99Sec: 0.002, maxSec: 0.003 };

let service: HttpService | undefined;
afterEach(() => service?.close());

async function serve(subject: TestSubject | undefined, options: Partial<HttpOptions> = {}): Promise<number> {
  service = await HttpService.start({
    listen: [{ address: '127.0.0.1', port: 0 }],
    token: null,
    names: [],
    subject: () => subject,
    log: silent,
    ...options,
  });
  return service.listening[0]?.port as number;
}

interface Reply {
  status: number | undefined;
  headers: NodeJS.Dict<string | string[]>;
  text: string;
}

function get(
  port: number,
  path: string,
  headers: Record<string, string> = {},
  method = 'GET',
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: '127.0.0.1', port, path, method, headers, agent: false }, (incoming) => {
      let text = '';
      incoming.on('data', (data) => {
        text += data;
      });
      incoming.on('end', () => resolve({ status: incoming.statusCode, headers: incoming.headers, text }));
    });
    outgoing.on('error', reject);
    outgoing.end();
  });
}

/** Sends bytes and nothing more; resolves with what came until the other side closed. */
async function raw(port: number, bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  let text = '';
  socket.on('data', (data) => {
    text += data;
  });
  socket.on('error', () => {});
  socket.write(bytes);
  await new Promise((resolve) => socket.once('close', resolve));
  return text;
}

function metricsOf(subject: TestSubject): string {
  return formatMetrics(collectMetrics(subject, DELAY));
}

test('metrics: what is counted appears, by direction and reason', async () => {
  const subject = new TestSubject('[[map]]\nipv4 = "198.51.100.8"\nipv6 = "2001:db8:9::8"\n');
  subject.assign('2001:db8:1::2');
  subject.counters['frames-in-v6'] = 7;
  subject.counters['drop-v4-no-map-destination'] = 3;
  subject.counters['drop-ttl'] = 2;
  subject.counters['drop-v4-address'] = 4;
  subject.counters['drop-v6-address'] = 5;
  subject.dropsFromV4['drop-ttl'] = 1;
  subject.dropsFromV4['drop-v4-address'] = 4;
  subject.levels['hold-frames'] = 6;
  countType(subject.dns64?.stats as Dns64Stats, 28);
  countType(subject.dns64?.stats as Dns64Stats, 65280);
  subject.dns64?.forwarderStates[0]?.latency.observe(0.5);
  subject.assignments.times.observe(4e-6);
  subject.assignments.times.observe(10);
  const port = await serve(subject);
  const { status, headers, text } = await get(port, '/metrics');
  assert.equal(status, 200);
  assert.equal(headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
  for (const line of [
    'nat64d_frames_received_total{direction="v6-to-v4"} 7',
    'nat64d_frames_received_total{direction="v4-to-v6"} 0',
    'nat64d_drops_total{reason="v4-no-map-destination",direction="v4-to-v6"} 3',
    'nat64d_drops_total{reason="ttl",direction="v6-to-v4"} 1',
    'nat64d_drops_total{reason="ttl",direction="v4-to-v6"} 1',
    'nat64d_drops_total{reason="v4-address",direction="v6-to-v4"} 0',
    'nat64d_drops_total{reason="v4-address",direction="v4-to-v6"} 4',
    'nat64d_drops_total{reason="v6-address",direction="v6-to-v4"} 5',
    'nat64d_hold_frames 6',
    'nat64d_hold_limit{of="hosts"} 1024',
    'nat64d_captures 0',
    'nat64d_dns_query_types_total{type="AAAA"} 1',
    'nat64d_dns_query_types_total{type="other"} 1',
    'nat64d_dns_query_types_total{type="A"} 0',
    'nat64d_dns_upstream_seconds_bucket{forwarder="192.0.2.53:53",le="0.01"} 0',
    'nat64d_dns_upstream_seconds_bucket{forwarder="192.0.2.53:53",le="1"} 1',
    'nat64d_dns_upstream_seconds_sum{forwarder="192.0.2.53:53"} 0.5',
    'nat64d_dns_upstream_seconds_count{forwarder="192.0.2.53:53"} 1',
    'nat64d_dns_cache_entries{cache="answers"} 3',
    'nat64d_dns_cache_used_bytes{cache="finished"} 200',
    'nat64d_dns_cache_limit_bytes 1000',
    'nat64d_dns_forwarder_up{forwarder="192.0.2.53:53"} 1',
    'nat64d_maps{state="explicit"} 1',
    'nat64d_maps{state="live"} 1',
    'nat64d_map_assignment_seconds_bucket{le="0.000002"} 0',
    'nat64d_map_assignment_seconds_bucket{le="0.000005"} 1',
    'nat64d_map_assignment_seconds_bucket{le="3"} 1',
    'nat64d_map_assignment_seconds_bucket{le="+Inf"} 2',
    'nat64d_map_assignment_seconds_count 2',
    'nat64d_dns_queries_total{transport="udp"} 0',
    'nat64d_dns_dropped_total{reason="short"} 0',
    'nat64d_config_reloads_total{result="done"} 0',
  ]) {
    assert.ok(text.includes(`\n${line}\n`), line);
  }
});

test('every counter of the data plane and of DNS64 is there, those that nobody has listed too', () => {
  const subject = new TestSubject();
  for (const [i, name] of COUNTER_NAMES.entries()) subject.counters[name] = 1_000_000 + i;
  subject.counters['something-new'] = 42;
  Object.assign(subject.dns64?.stats as object, { cacheHits: 43, cacheBytes: 44, cookies: { bad: 45 } });
  const text = metricsOf(subject);
  for (const name of Object.keys(subject.counters)) {
    assert.match(text, new RegExp(` ${subject.counters[name]}$`, 'm'), name);
  }
  assert.match(text, /^nat64d_something_new_total 42$/m);
  assert.match(text, /^nat64d_dns_cache_hits_total 43$/m);
  assert.match(text, /^# TYPE nat64d_dns_cache_bytes gauge\nnat64d_dns_cache_bytes 44$/m);
  assert.match(text, /^nat64d_dns_cookies_total\{reason="bad"\} 45$/m);
});

test('every reason of a drop is told by direction, one that knows only one by that', () => {
  const text = metricsOf(new TestSubject());
  const lines = text.match(/^nat64d_drops_total\{.*$/gm) ?? [];
  assert.ok(lines.every((line) => / 0$/.test(line) && line.includes('direction=')));
  const reasons = new Set(COUNTER_NAMES.filter((name) => name.startsWith('drop-')));
  for (const name of reasons)
    assert.ok(
      lines.some((line) => line.includes(`"${name.slice('drop-'.length)}"`)),
      name,
    );
  assert.equal(new Set(lines).size, lines.length);
});
/** A gateway that is to advertise on an interface that is not there. */
function advertising(): TestSubject {
  const subject = new TestSubject();
  const advertisements = new RouterAdvertisements(() => [], silent);
  advertisements.use(parseConfig('[advertise]\ninterfaces = ["no-such-0"]\n', 'f'));
  subject.advertisers = [...advertisements.advertisers];
  advertisements.close();
  return subject;
}

test('promtool finds nothing to say of the metrics', () => {
  const { root, env } = fetchPeer('prometheus', ['prometheus']);
  for (const subject of [
    new TestSubject(),
    advertising(),
    new TestSubject('pool4 = false\nipv4-address = "192.0.2.1"', null),
  ]) {
    const { status, stdout, stderr } = spawnSync(join(root, 'usr/bin/promtool'), ['check', 'metrics'], {
      input: metricsOf(subject),
      encoding: 'utf8',
      env,
    });
    assert.deepEqual([stdout, stderr, status], ['', '', 0]);
  }
});

test('router advertisements have metrics where they are asked for, by interface', () => {
  assert.doesNotMatch(metricsOf(new TestSubject()), /router_/);
  const text = metricsOf(advertising());
  assert.match(text, /^nat64d_router_advertisements_sent_total\{interface="no-such-0"\} 0$/m);
  assert.match(
    text,
    /^nat64d_router_solicitations_invalid_total\{interface="no-such-0",reason="hop-limit"\} 0$/m,
  );
});

test('every metric that the dashboard names exists', () => {
  const file = fileURLToPath(new URL('../../../../../config/grafana-dashboard.json', import.meta.url));
  const dashboard = readFileSync(file, 'utf8');
  const names = new Set(dashboard.match(/\b(nat64d|process)_[a-z0-9_]+/g));
  assert.ok(names.size > 15);
  const known = new Set(metricsOf(new TestSubject()).match(/^[a-z][a-z0-9_]+/gm));
  for (const name of names) assert.ok(known.has(name), name);
  const { panels } = JSON.parse(dashboard) as { panels: { id: number; targets?: { expr: string }[] }[] };
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  assert.ok(panels.flatMap(({ targets = [] }) => targets).every(({ expr }) => expr.length > 0));
});

test('health is of the process, readiness of what it does', async () => {
  const subject = new TestSubject();
  const port = await serve(subject);
  assert.deepEqual(
    [(await get(port, '/healthz')).text, (await get(port, '/readyz')).text],
    ['ok\n', 'ready\n'],
  );
  const failures = [{ address: { address: '::1', port: 53 }, error: new Error('the port is taken') }];
  subject.dns64 = { ...(subject.dns64 as NonNullable<typeof subject.dns64>), failures };
  const { status, text } = await get(port, '/readyz');
  assert.deepEqual([status, text], [503, 'the port is taken\n']);
  assert.equal((await get(port, '/healthz')).status, 200);
  subject.deviceProblem = 'nat64 is down';
  assert.equal((await get(port, '/readyz')).text, 'nat64 is down\nthe port is taken\n');
});

test('before it serves, a gateway is healthy and not ready', async () => {
  const port = await serve(undefined);
  assert.deepEqual(
    await Promise.all(
      ['/healthz', '/readyz', '/metrics'].map(async (path) => (await get(port, path)).status),
    ),
    [200, 503, 503],
  );
});

for (const [host, status] of [
  ['127.0.0.1', 200],
  ['127.0.0.1:6464', 200],
  ['localhost:6464', 200],
  ['LOCALHOST.', 200],
  ['[::1]:6464', 200],
  ['gw.example', 200],
  ['evil.example', 421],
  ['evil.example:6464', 421],
  ['127.0.0.1.evil.example', 421],
  ['[::1].evil.example', 421],
  ['[evil]', 421],
] as const) {
  test(`asked by the name '${host}', it answers ${status}`, async () => {
    const port = await serve(new TestSubject(), { names: ['gw.example'] });
    assert.equal((await get(port, '/metrics', { Host: host })).status, status);
  });
}

for (const [authorization, status] of [
  [undefined, 401],
  [`Bearer ${TOKEN}`, 200],
  [`bearer ${TOKEN}`, 200],
  [`Bearer ${TOKEN}x`, 401],
  ['Bearer', 401],
  [`Basic ${Buffer.from(`any:${TOKEN}`).toString('base64')}`, 200],
  [`Basic ${Buffer.from(TOKEN).toString('base64')}`, 401],
  ['Basic %%%', 401],
  [`Digest ${TOKEN}`, 401],
] as const) {
  test(`with a token, authorization '${authorization}' gets ${status}; health needs none`, async () => {
    const port = await serve(new TestSubject(), { token: TOKEN });
    const headers: Record<string, string> =
      authorization === undefined ? {} : { Authorization: authorization };
    const reply = await get(port, '/metrics', headers);
    assert.equal(reply.status, status);
    assert.equal(reply.headers['www-authenticate'] !== undefined, status === 401);
    assert.equal((await get(port, '/healthz')).status, 200);
  });
}

test('it is read-only, takes no body, and knows its paths', async () => {
  const port = await serve(new TestSubject());
  const statuses = async (...requests: (readonly [string, string, Record<string, string>?])[]) =>
    Promise.all(
      requests.map(async ([method, path, headers]) => (await get(port, path, headers, method)).status),
    );
  assert.deepEqual(
    await statuses(
      ['POST', '/metrics'],
      ['DELETE', '/'],
      ['GET', '/x'],
      ['GET', '/metrics?x=1'],
      ['GET', '/../metrics'],
      ['HEAD', '/metrics'],
    ),
    [405, 405, 404, 200, 404, 200],
  );
  assert.equal((await get(port, '/metrics', {}, 'HEAD')).text, '');
  assert.match(
    await raw(port, `GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n`),
    /^HTTP\/1\.1 413 /,
  );
});

for (const [version, headers] of [
  ['1.1', ''],
  ['1.0', 'Connection: keep-alive\r\n'],
] as const) {
  test(`of requests in a row on one connection only the first is answered, HTTP/${version}`, async () => {
    let asked = 0;
    const subject = new TestSubject();
    const port = await serve(subject, {
      subject: () => {
        asked++;
        return subject;
      },
    });
    const before = asked;
    const text = await raw(
      port,
      `GET /api/maps HTTP/${version}\r\nHost: 127.0.0.1\r\n${headers}\r\n`.repeat(1000),
    );
    assert.match(text, /^HTTP\/1\.1 200 /);
    assert.equal(text.match(/^HTTP\/1\.1 200 /gm)?.length, 1);
    // The page's own look each second may be among them.
    assert.ok(asked - before <= 3, `${asked - before}`);
  });
}

test('behind a stream no request is looked at', async () => {
  let asked = 0;
  const subject = new TestSubject();
  const port = await serve(subject, {
    subject: () => {
      asked++;
      return subject;
    },
  });
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.write('GET /api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n');
  await once(socket, 'data');
  asked = 0;
  socket.write('GET /api/maps HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(1000));
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.ok(asked <= 2, `${asked}`);
  socket.destroy();
});

for (const [what, bytes, status] of [
  ['an empty Host', 'GET /metrics HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n', 421],
  ['no HTTP', 'hello\r\n\r\n', 400],
  [
    'a header beyond all bounds',
    `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`,
    431,
  ],
  ['a URL beyond all bounds', `GET /${'x'.repeat(20_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`, 431],
  ['no Host', 'GET /metrics HTTP/1.1\r\n\r\n', 400],
  ['two lengths', 'GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n', 400],
] as const) {
  test(`${what}: ${status}, and the service goes on`, async () => {
    const port = await serve(new TestSubject());
    assert.match(await raw(port, bytes), new RegExp(`^HTTP/1\\.1 ${status} `));
    assert.equal((await get(port, '/healthz')).status, 200);
  });
}

test('a request that never ends, and a client that never asks, are let go', async () => {
  const port = await serve(new TestSubject(), { limits: { requestMs: 200, idleMs: 300 } });
  await Promise.all([raw(port, 'GET /metrics HTTP/1.1\r\nHost: '), raw(port, '')]);
  const slow = connect(port, '127.0.0.1');
  slow.on('error', () => {});
  slow.resume();
  const dripping = setInterval(() => slow.write('x'), 50);
  slow.write('GET / HTTP/1.1\r\nX: ');
  await new Promise((resolve) => slow.once('close', resolve));
  clearInterval(dripping);
});

test('more connections than there may be are closed', async () => {
  const port = await serve(new TestSubject(), { limits: { connections: 2 } });
  const held = [connect(port, '127.0.0.1'), connect(port, '127.0.0.1')];
  await Promise.all(held.map((socket) => once(socket, 'connect')));
  assert.equal(await raw(port, 'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n'), '');
  for (const socket of held) socket.destroy();
  await Promise.all(held.map((socket) => once(socket, 'close')));
});

test('a taken port is a warning that says what to do, and no end', async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  const { port } = other.address() as { port: number };
  const warnings: string[] = [];
  const log = { ...silent, warn: (_: object, message: string) => void warnings.push(message) };
  await serve(new TestSubject(), {
    listen: [
      { address: '127.0.0.1', port },
      { address: '127.0.0.1', port: 0 },
    ],
    log,
  });
  assert.equal(warnings.length, 1);
  assert.match(
    warnings[0] as string,
    new RegExp(`cannot listen on 127\\.0\\.0\\.1:${port}: the port is taken.*ss -lntp`),
  );
  assert.equal(service?.listening.length, 1);
  await new Promise((resolve) => other.close(resolve));
});

test('labels and help are escaped', () => {
  const text = formatMetrics([
    {
      name: 'n',
      type: 'gauge',
      help: 'a\\b\nc',
      samples: [{ labels: { l: 'x"\\\ny' }, value: Number.POSITIVE_INFINITY }],
    },
  ]);
  assert.equal(text, '# HELP n a\\\\b\\nc\n# TYPE n gauge\nn{l="x\\"\\\\\\ny"} +Inf\n');
});

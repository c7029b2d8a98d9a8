/** The status page: its data over HTTP, and the page itself in Chromium. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { get as httpGet, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Browser } from 'playwright-core';
import type { HistoryColumns, PageEvent } from '#nat64d/control/http/page-data.js';
import { type HttpOptions, HttpService } from '#nat64d/control/http/service.js';
import type { MapPage } from '#nat64d/control/inspect/maps.js';
import { silent } from '#nat64d/control/log.js';
import { HostRing } from '#nat64d/shm/host-ring.js';
import { hostSample } from '#nat64d/shm/host-sample.js';
import { launchChromium } from '../../../helpers/chromium.js';
import { address6 } from '../../../helpers/harness.js';
import { TestSubject } from '../../../helpers/subject.js';

const TOKEN = '0123456789abcdef';
const SCREENSHOTS = fileURLToPath(new URL('../../../../../.cache/screenshots/', import.meta.url));

let service: HttpService | undefined;
afterEach(() => service?.close());

async function serve(subject: TestSubject, options: Partial<HttpOptions> = {}): Promise<string> {
  service = await HttpService.start({
    listen: [{ address: '127.0.0.1', port: 0 }],
    token: null,
    names: [],
    subject: () => subject,
    log: silent,
    ...options,
  });
  return `http://127.0.0.1:${service.listening[0]?.port}`;
}

/** Counts as if packets passed; ended with the returned function. */
function traffic(subject: TestSubject): () => void {
  const timer = setInterval(() => {
    const sampling = subject.sent.findLast(({ type }) => type === 'sample');
    if (sampling?.type === 'sample' && sampling.samples !== null)
      new HostRing(sampling.samples).push(...address6('2001:db8:1::2'), hostSample(true, 0, 1500));
    for (const [name, step] of [
      ['frames-in-v6', 100],
      ['bytes-in-v6', 150_000],
      ['frames-in-v4', 50],
      ['bytes-in-v4', 5000],
      ['drop-ttl', 1],
    ] as const) {
      subject.counters[name] = (subject.counters[name] ?? 0) + step;
    }
  }, 50);
  return () => clearInterval(timer);
}

/** What a stream tells: a promise for each message, in order. */
async function* messages(url: string): AsyncGenerator<PageEvent> {
  const outgoing = httpGet(`${url}/api/stream`, { agent: false });
  const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
  let text = '';
  for await (const chunk of incoming) {
    text += chunk;
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      yield JSON.parse(text.slice('data: '.length, end)) as PageEvent;
      text = text.slice(end + 2);
    }
  }
}

test('the page brings all with it, and its policy lets in nothing else', async () => {
  const url = await serve(new TestSubject());
  const response = await fetch(url);
  const text = await response.text();
  assert.equal(response.headers.get('content-type'), 'text/html; charset=utf-8');
  const policy = response.headers.get('content-security-policy') ?? '';
  assert.match(
    policy,
    /^default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-[^']+'; connect-src 'self'; /,
  );
  assert.doesNotMatch(policy, /unsafe/);
  assert.doesNotMatch(text, /(src|href)="(?!data:)/);
  assert.doesNotMatch(text, /\b(url\(|@import)/);
});

test('a stream tells of each second; events and configuration only where they are new, and no secret', async () => {
  const subject = new TestSubject(`[http]\ntoken = "${TOKEN}"\n`);
  subject.recent.info({}, 'first');
  const url = await serve(subject);
  const stop = traffic(subject);
  const stream = messages(url);
  const [first, second] = [
    (await stream.next()).value as PageEvent,
    (await stream.next()).value as PageEvent,
  ];
  subject.recent.warn({}, 'later');
  const third = (await stream.next()).value as PageEvent;
  stop();
  await stream.return(undefined);
  assert.deepEqual(
    first.events?.map(({ message }) => message),
    ['first'],
  );
  assert.equal(second.events, null);
  assert.deepEqual(
    third.events?.map(({ level, message }) => [level, message]),
    [
      ['warn', 'later'],
      ['info', 'first'],
    ],
  );
  assert.match(first.config ?? '', /token = "\(secret\)"/);
  assert.equal(second.config, null);
  assert.ok(second.sample.v6ToV4Bits > 0 && second.sample.v4ToV6Frames > 0);
  assert.ok(second.sample.at > first.sample.at);
  assert.doesNotMatch(JSON.stringify([first, second, third]), new RegExp(TOKEN));
  const history = (await (await fetch(`${url}/api/history`)).json()) as HistoryColumns;
  assert.ok(history.at.length >= 3);
  assert.deepEqual(
    history.at,
    history.at.toSorted((a, b) => a - b),
  );
  assert.equal(history.v6ToV4Bits.length, history.at.length);
});

test('the configuration is written down once for all seconds, with the number of its maps', async () => {
  const map = (i: number) => `[[map]]\nipv4 = "198.51.100.${i}"\nipv6 = "2001:db8:9::${i}"\n`;
  const subject = new TestSubject(map(1) + map(2));
  let written = 0;
  const { wkpfStrict } = subject.config;
  Object.defineProperty(subject.config, 'wkpfStrict', {
    enumerable: true,
    get() {
      written++;
      return wkpfStrict;
    },
  });
  const stream = messages(await serve(subject));
  const { config } = (await stream.next()).value as PageEvent;
  await stream.next();
  await stream.return(undefined);
  assert.match(config ?? '', /^# 2 explicit maps$/m);
  assert.doesNotMatch(config ?? '', /198\.51\.100/);
  assert.equal(written, 1);
});

test('maps are searched by address and network; anything else is refused', async () => {
  const subject = new TestSubject();
  for (const host of ['2001:db8:1::2', '2001:db8:2::2']) subject.assign(host);
  const url = await serve(subject);
  const maps = async (query: string) =>
    ((await (await fetch(`${url}/api/maps${query}`)).json()) as MapPage).maps;
  assert.equal((await maps('')).length, 2);
  assert.deepEqual(
    (await maps('?host=2001:db8:2::/64')).map(({ ipv6 }) => ipv6),
    ['2001:db8:2::2'],
  );
  assert.equal((await fetch(`${url}/api/maps?host=example`)).status, 400);
  assert.equal((await fetch(`${url}/api/maps?from=__proto__`)).status, 200);
});

test('with a token, nothing of the page is there without it', async () => {
  const url = await serve(new TestSubject(), { token: TOKEN });
  for (const path of ['/', '/api/stream', '/api/history', '/api/maps']) {
    assert.equal((await fetch(`${url}${path}`)).status, 401, path);
  }
  const { status } = await fetch(url, { headers: { Authorization: `Bearer ${TOKEN}` } });
  assert.equal(status, 200);
});

test('a stream ends with the token that it was opened with, and stays where the token does', async () => {
  const url = await serve(new TestSubject(), { token: TOKEN });
  const headers = { Authorization: `Bearer ${TOKEN}` };
  const { body } = await fetch(`${url}/api/stream`, { headers });
  const reader = (body as ReadableStream<Uint8Array>).getReader();
  const reload = async (token: string) => {
    const listen = [{ address: '127.0.0.1', port: 0 }];
    await (await (service as HttpService).prepare({ listen, names: [], token })).commit();
  };
  await reload(TOKEN);
  assert.equal((await reader.read()).done, false);
  await reload(TOKEN.toUpperCase());
  await reload(`${TOKEN}!`);
  await assert.rejects(async () => {
    while (!(await reader.read()).done);
    throw new Error('ended');
  });
  assert.equal((await fetch(`${url}/api/stream`, { headers })).status, 401);
});

test('a fault in what is looked at is an error for who looks, said once in the log, and no end', async () => {
  const subject = new TestSubject();
  const errors: string[] = [];
  const log = { ...silent, error: (_: object, message: string) => void errors.push(message) };
  const url = await serve(subject, { log });
  Object.defineProperty(subject.dataplane, 'counters', {
    get() {
      throw new Error('broken');
    },
  });
  await new Promise((resolve) => setTimeout(resolve, 1200));
  assert.equal((await fetch(`${url}/metrics`)).status, 500);
  assert.equal((await fetch(`${url}/healthz`)).status, 200);
  assert.deepEqual(errors, ['HTTP: something cannot be told: Error: broken']);
});

test('sixteen streams and no more; one that ends makes room', async () => {
  const url = await serve(new TestSubject());
  const open = async () => {
    const outgoing = httpGet(`${url}/api/stream`, { agent: false });
    outgoing.on('error', () => {});
    const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
    incoming.on('error', () => {});
    incoming.resume();
    return { outgoing, status: incoming.statusCode };
  };
  const streams = await Promise.all(Array.from({ length: 16 }, open));
  assert.ok(streams.every(({ status }) => status === 200));
  assert.equal((await open()).status, 503);
  streams[0]?.outgoing.destroy();
  let status: number | undefined;
  while (status !== 200) ({ status } = await open());
});

describe('in Chromium', () => {
  let browser: Browser;
  before(async () => {
    mkdirSync(SCREENSHOTS, { recursive: true });
    browser = await launchChromium();
  });
  after(() => browser?.close());

  for (const [name, colorScheme, viewport] of [
    ['desktop-light', 'light', { width: 1280, height: 900 }],
    ['phone-dark', 'dark', { width: 390, height: 844 }],
  ] as const) {
    test(`${name}: live numbers, charts, tables, search; no error, no request elsewhere, nothing wider than the screen`, async () => {
      const subject = new TestSubject(
        'max-maps-per-64 = 0\n[[map]]\nipv4 = "198.51.100.8"\nipv6 = "2001:db8:9::8"\n',
      );
      for (let i = 1; i <= 300; i++) subject.assign(`2001:db8:1::${i.toString(16)}`);
      // Text that would be HTML stays text.
      subject.recent.warn({}, '<img src=x onerror="document.title=1">');
      const url = await serve(subject);
      const stop = traffic(subject);
      const context = await browser.newContext({ colorScheme, viewport });
      try {
        const page = await context.newPage();
        const problems: string[] = [];
        page.on('pageerror', (error) => problems.push(String(error)));
        page.on('console', (message) => {
          if (message.type() === 'error') problems.push(message.text());
        });
        page.on('request', (request) => {
          if (!request.url().startsWith(url) && !request.url().startsWith('data:'))
            problems.push(request.url());
        });
        await page.goto(url);
        await page.getByText('serves 64:ff9b:1::/96 on nat64').waitFor();
        await page.locator('#drops td', { hasText: 'ttl' }).waitFor();
        await page.locator('#hosts td', { hasText: '2001:db8:1::2' }).waitFor();
        assert.equal(await page.locator('.chart canvas').count(), 2);
        assert.equal(await page.locator('#maps tr').count(), 302);
        await page.locator('#search').fill('2001:db8:1::7');
        await page.getByText('1 shown', { exact: true }).waitFor();
        assert.equal(await page.locator('#maps tr').count(), 2);
        await page.locator('#search').fill('nonsense');
        await page.getByText('neither an address nor a prefix').waitFor();
        assert.equal(await page.locator('#events img').count(), 0);
        assert.match(await page.locator('#config').innerText(), /max-maps-per-64 = 0/);
        const background = await page.evaluate('getComputedStyle(document.body).backgroundColor');
        assert.equal(background, colorScheme === 'dark' ? 'rgb(18, 21, 26)' : 'rgb(246, 247, 249)');
        assert.equal(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), true);
        // The browser's own note of the search that was refused.
        assert.deepEqual(
          problems.filter((text) => !text.includes('400 (Bad Request)')),
          [],
        );
        await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true });
      } finally {
        stop();
        await context.close();
      }
    });
  }

  test('a stream that is refused for good is asked for again', async () => {
    const subject = new TestSubject();
    const url = await serve(subject);
    const page = await browser.newPage();
    let refusals = 0;
    await page.route('**/api/stream', (route) =>
      refusals++ === 0 ? route.fulfill({ status: 503, body: 'no' }) : route.continue(),
    );
    await page.goto(url);
    await page.getByText('serves').waitFor();
    assert.ok(refusals > 1);
    await page.close();
  });

  test('a gateway that goes away is said to be gone, and found again', async () => {
    const subject = new TestSubject();
    const url = await serve(subject);
    const { port } = new URL(url);
    const page = await browser.newPage();
    await page.goto(url);
    await page.getByText('serves').waitFor();
    await service?.close();
    await page.getByText('does not answer').waitFor();
    await serve(subject, { listen: [{ address: '127.0.0.1', port: Number(port) }] });
    await page.getByText('serves').waitFor();
    await page.close();
  });
});

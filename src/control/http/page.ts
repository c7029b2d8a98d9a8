/** The status page: one file with all that it needs, and the data it asks for. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { formatToml } from '../config/to-toml.js';
import { PAGE_FILE } from '../files.js';
import { busiestHosts } from '../inspect/busiest.js';
import { mapsPage, readHostFilter } from '../inspect/maps.js';
import { statusOf } from '../inspect/status.js';
import type { Subject } from '../inspect/subject.js';
import { History } from './history.js';
import type { PageEvent } from './page-data.js';

const SAMPLE_MS = 1000;
const MAX_STREAMS = 16;
/** Bytes that a stream has not read yet, beyond which it is cut off. */
const MAX_BACKLOG = 512 * 1024;

export interface Reply {
  readonly status: number;
  readonly text: string;
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

interface Stream {
  readonly response: ServerResponse;
  /** What it has been told already. */
  events: number;
  config: string;
}

export class StatusPage {
  readonly #subject: () => Subject | undefined;
  readonly #history = new History();
  readonly #streams = new Set<Stream>();
  readonly #timer: NodeJS.Timeout;
  #page: Reply | undefined;
  /** The configuration that was written down last, and as what. */
  #shown: { readonly config: Subject['config']; readonly text: string } | undefined;

  /** @param onFault a sample could not be taken */
  constructor(subject: () => Subject | undefined, onFault: (error: unknown) => void) {
    this.#subject = subject;
    this.#timer = setInterval(() => {
      try {
        this.#tick();
      } catch (error) {
        onFault(error);
      }
    }, SAMPLE_MS);
  }

  close(): void {
    clearInterval(this.#timer);
    this.endStreams();
  }

  /** Cuts off whoever is being told what happens. */
  endStreams(): void {
    for (const { response } of this.#streams) response.destroy();
  }

  /** The answer for a path, or undefined where it is none of the page's. */
  reply(
    path: string,
    query: URLSearchParams,
    subject: Subject | undefined,
  ): Reply | Promise<Reply> | undefined {
    if (path === '/') {
      this.#page ??= readPage();
      return this.#page;
    }
    if (path === '/api/history') return json(this.#history.columns);
    if (path !== '/api/maps') return undefined;
    if (subject === undefined) return { status: 503, text: 'the gateway is starting or stopping\n' };
    const host = query.get('host');
    const filter = host === null ? null : readHostFilter(host);
    if (host !== null && filter === null) return { status: 400, text: 'neither an address nor a prefix\n' };
    return mapsPage(subject, query.get('from'), filter).then(json);
  }

  /** Tells a client what happens, each second, until it goes. */
  stream(response: ServerResponse): void {
    if (this.#streams.size >= MAX_STREAMS) {
      response
        .writeHead(503, { 'Content-Type': 'text/plain' })
        .end(`${MAX_STREAMS} pages are open already\n`);
      return;
    }
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    response.flushHeaders();
    const stream = { response, events: -1, config: '' };
    this.#streams.add(stream);
    response.once('close', () => this.#streams.delete(stream));
  }

  #tick(): void {
    const subject = this.#subject();
    if (subject === undefined) return;
    const { counters } = subject.dataplane;
    this.#history.add(counters);
    const { last: sample } = this.#history;
    if (this.#streams.size === 0 || sample === undefined) return;
    if (this.#shown?.config !== subject.config)
      this.#shown = { config: subject.config, text: shownConfig(subject.config) };
    const config = this.#shown.text;
    const event: PageEvent = {
      sample,
      status: statusOf(subject, this.#history.rates),
      counters,
      workers: subject.dataplane.workers.map(({ counters: own, ...state }) => ({
        ...state,
        framesIn: (own['frames-in-v6'] ?? 0) + (own['frames-in-v4'] ?? 0),
      })),
      dns64: subject.dns64?.stats ?? null,
      busiestHosts: busiestHosts(subject),
      events: null,
      config: null,
    };
    for (const stream of this.#streams) {
      const { response } = stream;
      if (response.writableLength > MAX_BACKLOG) {
        response.destroy();
        continue;
      }
      const { total, events } = subject.recent;
      const text = JSON.stringify({
        ...event,
        events: stream.events === total ? null : events,
        config: stream.config === config ? null : config,
      });
      stream.events = total;
      stream.config = config;
      response.write(`data: ${text}\n\n`);
    }
  }
}

/** As TOML, without the token; of the maps, which may be many, the number. */
function shownConfig(config: Subject['config']): string {
  const token = config.http.token === null ? null : '(secret)';
  const text = formatToml({ ...config, maps: [], http: { ...config.http, token } });
  const { length } = config.maps;
  return length === 0 ? text : `${text}\n# ${length} explicit ${length === 1 ? 'map' : 'maps'}\n`;
}

function json(data: unknown): Reply {
  return { status: 200, text: JSON.stringify(data), type: 'application/json' };
}

/** Only the script and the style that the build put in may run, and nothing comes from anywhere else. */
function readPage(): Reply {
  const text = readFileSync(PAGE_FILE, 'utf8');
  const hash = (tag: string) => {
    const [, inside = ''] = new RegExp(`<${tag}>(.*?)</${tag}>`, 's').exec(text) ?? [];
    return `'sha256-${createHash('sha256').update(inside).digest('base64')}'`;
  };
  const policy = [
    "default-src 'none'",
    `script-src ${hash('script')}`,
    `style-src ${hash('style')}`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
  return {
    status: 200,
    text,
    type: 'text/html; charset=utf-8',
    headers: { 'Content-Security-Policy': policy, 'Referrer-Policy': 'no-referrer' },
  };
}

/** What is known of one forwarder: how to reach it, how fast it is, and whether it lives. */
import { showForwarder } from '../config/forwarder.js';
import type { ForwarderConfig } from '../config/types.js';
import { Histogram } from '../inspect/histogram.js';
import { RoundTrips } from './rtt.js';
import type { Dns64Stats } from './stats.js';
import { HttpsTransport } from './upstream-https.js';
import { STREAM_TIMES, type StreamTimes, TcpTransport } from './upstream-stream.js';
import { TlsTransport } from './upstream-tls.js';
import type { Transport } from './upstream-transport.js';
import { UdpTransport } from './upstream-udp.js';
import { openSocket } from './upstream-udp-batched.js';

/** From a cache next door to the longest wait. */
const LATENCY_BOUNDS_SEC = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5];

/** Silent this often in a row, it is left alone for a while. */
const FAILURES_UNTIL_DOWN = 3;
/** A handshake costs both sides more than a connection kept. */
const ENCRYPTED_IDLE_MS = 30_000;

export interface ForwarderTimes {
  /** The longest wait for an answer, after which the forwarder has failed. */
  readonly tryMs: number;
  /** How long a forwarder that failed is left alone. */
  readonly retryMs: number;
}

export interface TransportOptions {
  readonly streamTimes?: Partial<StreamTimes>;
  /** Certificates to trust instead of the well-known ones, PEM. */
  readonly ca?: string | undefined;
  /** See Dns64Options. */
  readonly giveWay?: (() => void) | undefined;
}

export class Forwarder {
  readonly name: string;
  readonly transport: Transport;
  /** For what is truncated; what is not UDP has nothing truncated. */
  readonly whole: Transport;
  readonly roundTrips: RoundTrips;
  /** From a query until its answer, connections that had to be made included. */
  readonly latency = new Histogram(LATENCY_BOUNDS_SEC);
  /** A question is under way that shows whether it lives again. */
  isProbed = false;
  #failures = 0;
  #downUntilMs = 0;
  #answeredMs = 0;
  /** It answered FORMERR to an OPT: it is asked without until then (RFC 6891 section 7). */
  #plainUntilMs = 0;
  /** It does not keep the case of letters: they stay as they are until then. */
  #caselessUntilMs = 0;

  constructor(
    readonly config: ForwarderConfig,
    stats: Dns64Stats,
    private readonly times: ForwarderTimes,
    { ca, giveWay, ...options }: TransportOptions = {},
  ) {
    this.name = showForwarder(config);
    this.roundTrips = new RoundTrips(times.tryMs);
    const idleMs = config.transport === 'udp' ? STREAM_TIMES.idleMs : ENCRYPTED_IDLE_MS;
    const streamTimes = { ...STREAM_TIMES, idleMs, ...options.streamTimes };
    if (config.transport === 'udp') {
      this.transport = new UdpTransport(config, stats, openSocket, giveWay);
      this.whole = new TcpTransport(config, stats, streamTimes);
    } else {
      const isTls = config.transport === 'tls';
      this.transport = isTls
        ? new TlsTransport(config, stats, ca, streamTimes)
        : new HttpsTransport(config, ca, streamTimes);
      this.whole = this.transport;
    }
  }

  get isDown(): boolean {
    return this.#downUntilMs !== 0;
  }

  /** Whether it was left alone for long enough, and nobody looks at it yet. */
  isToBeProbed(nowMs: number): boolean {
    return this.isDown && !this.isProbed && nowMs >= this.#downUntilMs;
  }

  speaksEdns(nowMs: number): boolean {
    return nowMs >= this.#plainUntilMs;
  }

  withoutEdns(nowMs: number): void {
    this.#plainUntilMs = nowMs + this.times.retryMs;
  }

  keepsCase(nowMs: number): boolean {
    return nowMs >= this.#caselessUntilMs;
  }

  withoutCase(nowMs: number): void {
    this.#caselessUntilMs = nowMs + this.times.retryMs;
  }

  /** Any answer shows that it lives. Returns whether it was down. */
  mend(nowMs: number): boolean {
    const wasDown = this.isDown;
    this.#answeredMs = nowMs;
    this.#failures = 0;
    this.#downUntilMs = 0;
    return wasDown;
  }

  /**
   * A question was silent for its whole time, or met an error of the network. If something asked later was answered, the
   * forwarder lives, and has trouble with that one name.
   * @returns whether this made it one that is down
   */
  blame(sentMs: number, nowMs: number): boolean {
    if (this.#answeredMs > sentMs) return false;
    if (++this.#failures < FAILURES_UNTIL_DOWN) return false;
    const wasDown = this.isDown;
    this.#downUntilMs = nowMs + this.times.retryMs;
    return !wasDown;
  }

  close(): void {
    this.transport.close();
    this.whole.close();
  }
}

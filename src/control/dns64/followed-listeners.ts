/** Listeners on addresses that come and go: those of interfaces. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { SocketAddress } from '../config/types.js';
import { keyOf, type ListenFailure } from '../listener-set.js';
import type { Listener } from './server.js';
import type { Log } from './upstream.js';

/** How often the kernel is asked for the addresses. */
const PERIOD_MS = 1000;
/** An address that is not there yet is no failure until then: an IPv6 one is tentative for a second or two (RFC 4862 section 5.4). */
const TRIES_UNTIL_WARNING = 5;

export class FollowedListeners {
  readonly #open = new Map<string, readonly Listener[]>();
  /** Tries without success, and what the last one met, by address. */
  readonly #failed = new Map<string, { tries: number; failure: ListenFailure }>();
  #following: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(
    private addresses: () => readonly SocketAddress[],
    private readonly log: Log,
    private readonly listen: (address: SocketAddress) => Promise<readonly Listener[] | ListenFailure>,
  ) {}

  get listening(): readonly SocketAddress[] {
    return [...this.#open.values()].map(([listener]) => (listener as Listener).address);
  }

  /** What there is and cannot be listened on. */
  get failures(): readonly ListenFailure[] {
    return [...this.#failed.values()].map(({ failure }) => failure);
  }

  /** Opens those that there are, and follows them from then on. Addresses may take a moment to become usable. */
  async start(): Promise<void> {
    for (let i = 0; ; i++) {
      await this.#follow();
      if (this.#failed.size === 0 || i === TRIES_UNTIL_WARNING) break;
      await sleep(PERIOD_MS / TRIES_UNTIL_WARNING);
    }
    this.#timer = setInterval(() => {
      this.#following = this.#following.then(() => this.#follow());
    }, PERIOD_MS);
  }

  /** Follows others from now on. */
  use(addresses: () => readonly SocketAddress[]): void {
    this.addresses = addresses;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#following;
    for (const listeners of this.#open.values()) for (const one of listeners) one.close();
    this.#open.clear();
  }

  async #follow(): Promise<void> {
    const wanted = new Map(this.addresses().map((address) => [keyOf(address), address]));
    for (const [key, listeners] of this.#open) {
      if (wanted.has(key)) continue;
      this.log.info({ address: listeners[0]?.address }, 'DNS64: an address that was listened on is gone');
      for (const one of listeners) one.close();
      this.#open.delete(key);
    }
    for (const key of this.#failed.keys()) if (!wanted.has(key)) this.#failed.delete(key);
    for (const [key, address] of wanted) {
      if (this.#closed) return;
      if (!this.#open.has(key)) this.#take(key, address, await this.listen(address));
    }
  }

  #take(key: string, address: SocketAddress, result: readonly Listener[] | ListenFailure): void {
    if ('error' in result) {
      const tries = (this.#failed.get(key)?.tries ?? 0) + 1;
      this.#failed.set(key, { tries, failure: result });
      // What is met at the start is in `failures`.
      if (tries === TRIES_UNTIL_WARNING && this.#timer !== undefined)
        this.log.warn({ address }, result.error.message);
      return;
    }
    this.#failed.delete(key);
    this.#open.set(key, result);
    // At the start the caller says what is served.
    if (this.#timer !== undefined)
      this.log.info({ address }, `DNS64: listening on ${key.replace(' ', ' port ')}`);
  }
}

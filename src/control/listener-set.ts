/** Listeners by address, and their change to others: all of them, or none. */
import type { SocketAddress } from './config/types.js';

/** A change of which all that could fail has been done. Either is called, once. */
export interface Ready<T = void> {
  /** Brings it into force. Cannot fail. */
  commit(): Promise<T> | T;
  /** Takes back what has been done for it. */
  undo(): Promise<void> | void;
}

/** An address that is not listened on; the error says what to do. */
export interface ListenFailure {
  readonly address: SocketAddress;
  readonly error: Error;
}

export const keyOf = ({ address, port }: SocketAddress) => `${address} ${port}`;
const isWildcard = ({ address }: SocketAddress) => address === '0.0.0.0' || address === '::';
const isIpv6 = ({ address }: SocketAddress) => address.includes(':');

/** Whether the kernel lets only one of the two be listened on at a time. */
function excludes(a: SocketAddress, b: SocketAddress): boolean {
  return a.port === b.port && isIpv6(a) === isIpv6(b) && (isWildcard(a) || isWildcard(b));
}

/** Those of `before` that cannot stay open until those of `after` are. */
export function inTheWay(
  before: readonly SocketAddress[],
  after: readonly SocketAddress[],
): readonly SocketAddress[] {
  const has = (addresses: readonly SocketAddress[], one: SocketAddress) =>
    addresses.some((address) => keyOf(address) === keyOf(one));
  const coming = after.filter((address) => !has(before, address));
  return before.filter((address) => !has(after, address) && coming.some((other) => excludes(address, other)));
}

export class ListenerSet<L extends object> {
  readonly #listen: (address: SocketAddress) => Promise<L | ListenFailure>;
  readonly #close: (listener: L) => Promise<void> | void;
  readonly #open = new Map<string, { readonly address: SocketAddress; readonly listener: L }>();
  readonly #failed = new Map<string, ListenFailure>();

  constructor(
    listen: (address: SocketAddress) => Promise<L | ListenFailure>,
    close: (listener: L) => Promise<void> | void,
  ) {
    this.#listen = listen;
    this.#close = close;
  }

  get listeners(): readonly L[] {
    return [...this.#open.values()].map(({ listener }) => listener);
  }

  /** Addresses that could not be listened on when that was tried last. */
  get failures(): readonly ListenFailure[] {
    return [...this.#failed.values()];
  }

  /** Opens what can be opened; the rest is in `failures`. */
  async start(addresses: readonly SocketAddress[]): Promise<void> {
    await this.#addAll(addresses);
  }

  /**
   * Listens on other addresses. Those before stay open until `commit`, but for what is in the way. An address that has failed
   * before is tried again, and may fail again; where any other does, this rejects with all of them, and nothing has changed.
   */
  async prepare(addresses: readonly SocketAddress[]): Promise<Ready> {
    const wanted = new Map(addresses.map((address) => [keyOf(address), address]));
    const before = [...this.#open.values()].map(({ address }) => address);
    const leaving = before.filter((address) => !wanted.has(keyOf(address)));
    const coming = addresses.filter((address) => !this.#open.has(keyOf(address)));
    const hadFailed = new Map(this.#failed);
    const closed = inTheWay(before, addresses);
    const undo = async () => {
      for (const address of coming) await this.#remove(address);
      this.#failed.clear();
      for (const [key, failure] of hadFailed) this.#failed.set(key, failure);
      // Last: one that cannot be opened again has failed as well.
      await this.#addAll(closed);
    };
    for (const address of closed) await this.#remove(address);
    await this.#addAll(coming);
    const failed = [...this.#failed].filter(([key]) => wanted.has(key) && !hadFailed.has(key));
    if (failed.length > 0) {
      const message = failed.map(([, { error }]) => error.message).join('\n');
      await undo();
      throw new Error(message);
    }
    return {
      undo,
      commit: async () => {
        for (const address of leaving) await this.#remove(address);
        for (const key of hadFailed.keys()) if (!wanted.has(key)) this.#failed.delete(key);
      },
    };
  }

  /** Tries again what has failed. Resolves with what is open now. */
  async retry(): Promise<readonly SocketAddress[]> {
    const tried = this.failures.map(({ address }) => address);
    await this.#addAll(tried);
    return tried.filter((address) => this.#open.has(keyOf(address)));
  }

  async close(): Promise<void> {
    await Promise.all([...this.#open.values()].map(({ address }) => this.#remove(address)));
  }

  async #addAll(addresses: readonly SocketAddress[]): Promise<void> {
    const results = await Promise.all(addresses.map((address) => this.#listen(address)));
    for (const [index, result] of results.entries()) {
      const address = addresses[index] as SocketAddress;
      this.#failed.delete(keyOf(address));
      if ('error' in result) this.#failed.set(keyOf(address), result);
      else this.#open.set(keyOf(address), { address, listener: result });
    }
  }

  async #remove(address: SocketAddress): Promise<void> {
    const open = this.#open.get(keyOf(address));
    this.#open.delete(keyOf(address));
    if (open !== undefined) await this.#close(open.listener);
  }
}

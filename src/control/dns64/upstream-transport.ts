/** What the ways to a forwarder have in common. */
import { randomFillSync } from 'node:crypto';

/** One query sent. A transport calls its methods until its wait is ended, never from inside `send`. */
export interface Exchange {
  /** Something came under the query's id. Says whether it is the answer; what is not is counted and the wait goes on. */
  onMessage(bytes: Buffer): boolean;
  /** No answer can come: port unreachable, connection refused, no route, a certificate that is not the forwarder's. */
  onError(error: Error): void;
  /** The forwarder lives, but has no DNS message for this query: an error of HTTP. */
  onRefusal(error: Error): void;
}

export interface Transport {
  /** Queries are padded (RFC 8467), because their length would tell what is encrypted. */
  readonly padded: boolean;
  /** Whether a query can leave at once: what is measured then is a round trip and not a handshake. */
  readonly isReady: boolean;
  /**
   * Sends a query in wire form. Chooses its id and writes it there.
   * @returns ends the wait; to be called once, also after an answer.
   */
  send(query: Buffer, exchange: Exchange): () => void;
  /** Closes all sockets. Exchanges under way hear nothing more. */
  close(): void;
}

const randomPool = new Uint16Array(2048);
let randomNext = randomPool.length;

/** 16 random bits from the operating system's generator, fetched in bulk. */
export function random16(): number {
  if (randomNext === randomPool.length) {
    randomFillSync(randomPool);
    randomNext = 0;
  }
  return randomPool[randomNext++] as number;
}

/** The address as it is: the default lookup would go through getaddrinfo's machinery. */
export function literalLookup(
  address: string,
  family: number,
  callback: (error: null, address: string, family: number) => void,
): void {
  callback(null, address, family);
}

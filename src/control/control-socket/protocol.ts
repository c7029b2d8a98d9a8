/**
 * What is said on the control socket (docs/control-protocol.md): MessagePack maps, each behind its length.
 *
 *   +----------------+----------------------------------+
 *   | length, 32 bit | one MessagePack map              |     length in bytes, big-endian, of what follows
 *   +----------------+----------------------------------+
 *
 * Plain maps, none of msgpackr's own records: any MessagePack library can take part.
 */
import { Packr } from 'msgpackr';
import * as z from 'zod';

export const PROTOCOL_VERSION = 1;
/** Bytes of a message of a client, and of the gateway. */
export const MAX_REQUEST = 64 * 1024;
export const MAX_REPLY = 16 * 1024 * 1024;
const LENGTH_BYTES = 4;

export type ErrorCode =
  /** Not a message at all, or one without the fields that every message has. */
  | 'bad-message'
  /** The client speaks another version. */
  | 'protocol'
  /** There is no such request. */
  | 'unknown-request'
  /** The request's arguments are wrong. */
  | 'bad-arguments'
  /** What it asks for is not there: a map, a subscription, DNS64. */
  | 'not-found'
  /** This gateway cannot do it, as it is configured or built. */
  | 'unavailable'
  /** Too many requests at once. */
  | 'busy'
  /** It was tried and failed. */
  | 'failed';

export interface ErrorBody {
  readonly code: ErrorCode;
  /** What is wrong, and what to do. */
  readonly message: string;
}

export interface Hello {
  readonly hello: 'nat64d';
  readonly protocol: number;
  readonly version: string;
  readonly pid: number;
}

export type ServerMessage =
  | Hello
  | { readonly id: number | null; readonly result: unknown }
  | { readonly id: number | null; readonly error: ErrorBody }
  | { readonly subscription: number; readonly event: unknown };

/** The first message of a client. */
export const clientHello = z.object({ hello: z.string().max(100), protocol: z.number() });
/** Each one after it. */
export const clientRequest = z.object({
  id: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER),
  request: z.string().max(100),
  arguments: z.record(z.string(), z.unknown()).default({}),
});

export class RequestError extends Error {
  constructor(
    readonly code: ErrorCode,
    message: string,
  ) {
    super(message);
    this.name = 'RequestError';
  }
}

const packr = new Packr({
  useRecords: false,
  mapsAsObjects: true,
  int64AsType: 'number',
  encodeUndefinedAsNil: true,
});

/** A message with its length in front. */
export function encodeMessage(message: object): Buffer {
  const body = packr.pack(message);
  const bytes = Buffer.allocUnsafe(LENGTH_BYTES + body.length);
  bytes.writeUInt32BE(body.length);
  bytes.set(body, LENGTH_BYTES);
  return bytes;
}

/** A stream that cannot be cut into messages any more. */
export class FramingError extends Error {}

/** Cuts a stream of bytes into messages. */
export class MessageReader {
  readonly #maxBytes: number;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;
  #hasFailed = false;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Takes bytes in. What is no message is given as an Error. Throws FramingError where a message is too long, and takes nothing
   * from then on.
   */
  *read(chunk: Buffer): Generator<unknown> {
    if (this.#hasFailed) return;
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    for (let length = this.#nextLength(); this.#bytes >= LENGTH_BYTES + length; length = this.#nextLength()) {
      const whole = this.#joined();
      const end = LENGTH_BYTES + length;
      this.#chunks[0] = whole.subarray(end);
      this.#bytes -= end;
      yield decode(whole.subarray(LENGTH_BYTES, end));
    }
  }

  /** Length of the message at the front; infinite while it is not known. */
  #nextLength(): number {
    if (this.#bytes < LENGTH_BYTES) return Number.POSITIVE_INFINITY;
    // Joined only for the length, or for a whole message: bytes that come one by one are not copied each time.
    if ((this.#chunks[0] as Buffer).length < LENGTH_BYTES) this.#joined();
    const length = (this.#chunks[0] as Buffer).readUInt32BE();
    if (length > this.#maxBytes) {
      this.#hasFailed = true;
      this.#chunks.length = 0;
      throw new FramingError(`a message of ${length} bytes is too long; at most ${this.#maxBytes} are taken`);
    }
    return length;
  }

  #joined(): Buffer {
    if (this.#chunks.length > 1) this.#chunks.splice(0, this.#chunks.length, Buffer.concat(this.#chunks));
    return this.#chunks[0] as Buffer;
  }
}

function decode(body: Buffer): unknown {
  try {
    // A copy: what msgpackr reads may share the memory of its input.
    return packr.unpack(Buffer.from(body)) as unknown;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** DNS over a stream: each message has its length in front, two octets (RFC 1035 section 4.2.2, RFC 7766 section 8). */
import { get16, set16 } from '../../wire/bytes.js';

/** A message with its length in front, as one buffer: so that it leaves in one segment (RFC 7766 section 8). */
export function frame(message: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(2 + message.length);
  set16(bytes, 0, message.length);
  bytes.set(message, 2);
  return bytes;
}

/** Cuts a stream into messages, whatever the pieces it comes in. Holds less than one message and its length. */
export class FrameReader {
  #chunks: Buffer[] = [];
  #size = 0;
  /** Bytes to wait for before there is anything to do. */
  #needed = 2;

  /** Takes a piece; gives the messages it completed. */
  push(chunk: Buffer): Buffer[] {
    this.#chunks.push(chunk);
    this.#size += chunk.length;
    if (this.#size < this.#needed) return [];
    const bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks);
    const messages: Buffer[] = [];
    let at = 0;
    this.#needed = 2;
    while (at + this.#needed <= bytes.length) {
      const end = at + 2 + get16(bytes, at);
      if (end > bytes.length) {
        this.#needed = end - at;
        break;
      }
      messages.push(bytes.subarray(at + 2, end));
      at = end;
    }
    this.#chunks = at < bytes.length ? [bytes.subarray(at)] : [];
    this.#size = bytes.length - at;
    return messages;
  }
}

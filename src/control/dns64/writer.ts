/**
 * Builds a DNS message. Records copied from another message get their names written anew: an offset in a compression pointer
 * means nothing elsewhere, and moves when an A record becomes an AAAA record.
 */
import { get16, set16 } from '../../wire/bytes.js';
import {
  DNS_HEADER,
  type DnsMessage,
  type DnsRecord,
  MAX_MESSAGE,
  rdataNames,
  readName,
  type Section,
} from './message.js';

export class MessageWriter {
  #bytes = Buffer.allocUnsafe(512);
  #length = 0;
  #overflow = false;
  /** Offsets of names and their tails already written. The case of letters counts: compression must not change it. */
  readonly #names = new Map<string, number>();

  /** Starts with a header (id 0, counts set) and the question, byte for byte. */
  constructor(flags: number, question: Buffer) {
    this.#bytes.fill(0, 0, DNS_HEADER);
    set16(this.#bytes, 2, flags);
    this.#length = DNS_HEADER;
    if (question.length > 0) {
      set16(this.#bytes, 4, 1);
      this.#note(readName(question, 0), DNS_HEADER);
      this.#append(question);
    }
  }

  /** The message without an OPT; null if it outgrew 65535 bytes. */
  finish(): Buffer | null {
    return this.#overflow ? null : this.#bytes.subarray(0, this.#length);
  }

  /** Copies a record of a parsed message into `section`. Sections must be written in order. */
  copy(from: DnsMessage, record: DnsRecord, section: Section = record.section): void {
    const { bytes } = from;
    const end = record.rdataAt + record.rdataLength;
    const fixed = this.#head(readName(bytes, record.nameAt), record.type, record.class, record.ttl, section);
    const layout = rdataNames(bytes, record.type, record.rdataAt, record.rdataLength);
    let at = record.rdataAt;
    if (layout !== null) {
      this.#append(bytes.subarray(at, at + layout.before));
      at += layout.before;
      for (let i = 0; i < layout.names; i++) {
        this.#name(readName(bytes, at), layout.compress);
        at = endOfName(bytes, at);
      }
    }
    this.#append(bytes.subarray(at, end));
    this.#setLength(fixed);
  }

  /** Writes a record whose RDATA holds no name that could be compressed. */
  record(name: string, type: number, cls: number, ttl: number, rdata: Buffer, section: Section): void {
    const fixed = this.#head(name, type, cls, ttl, section);
    this.#append(rdata);
    this.#setLength(fixed);
  }

  /** Writes a record whose RDATA is a name (CNAME, PTR, NS). */
  nameRecord(name: string, type: number, cls: number, ttl: number, target: string, section: Section): void {
    const fixed = this.#head(name, type, cls, ttl, section);
    this.#name(target, true);
    this.#setLength(fixed);
  }

  #head(name: string, type: number, cls: number, ttl: number, section: Section): number {
    this.#name(name, true);
    const at = this.#length;
    if (!this.#reserve(10)) return at;
    set16(this.#bytes, at, type);
    set16(this.#bytes, at + 2, cls);
    this.#bytes.writeUInt32BE(ttl, at + 4);
    this.#length += 10;
    const count = 6 + 2 * section;
    set16(this.#bytes, count, get16(this.#bytes, count) + 1);
    return at;
  }

  #setLength(fixed: number): void {
    if (!this.#overflow) set16(this.#bytes, fixed + 8, this.#length - fixed - 10);
  }

  #name(name: string, compress: boolean): void {
    let at = 0;
    while (compress && name.charCodeAt(at) !== 0) {
      const target = this.#names.get(name.slice(at));
      if (target !== undefined) {
        this.#note(name, this.#length, at);
        this.#append(Buffer.from(name.slice(0, at), 'latin1'));
        if (this.#reserve(2)) set16(this.#bytes, this.#length, 0xc000 | target);
        this.#length += 2;
        return;
      }
      at += 1 + name.charCodeAt(at);
    }
    this.#note(name, this.#length);
    this.#append(Buffer.from(name, 'latin1'));
  }

  /** Remembers the name written at `offset` and its tails that begin before `until`. A pointer holds 14 bits. */
  #note(name: string, offset: number, until = name.length - 1): void {
    for (let at = 0; at < until && offset + at < 0x4000; at += 1 + name.charCodeAt(at)) {
      const tail = name.slice(at);
      if (!this.#names.has(tail)) this.#names.set(tail, offset + at);
    }
  }

  #append(bytes: Uint8Array): void {
    if (!this.#reserve(bytes.length)) return;
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  #reserve(size: number): boolean {
    const needed = this.#length + size;
    if (this.#overflow || needed > MAX_MESSAGE) {
      this.#overflow = true;
      return false;
    }
    if (needed > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, 2 * this.#bytes.length));
      this.#bytes.copy(larger, 0, 0, this.#length);
      this.#bytes = larger;
    }
    return true;
  }
}

/** The offset behind a checked name where it stands. */
function endOfName(bytes: Uint8Array, start: number): number {
  let at = start;
  for (;;) {
    const length = bytes[at] as number;
    if (length === 0) return at + 1;
    if (length >= 192) return at + 2;
    at += 1 + length;
  }
}

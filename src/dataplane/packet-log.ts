/**
 * Packets told one by one, for `packets` under [log]: what a packet was is noted before it is translated in place, and what
 * became of it after. At most NOTES_PER_SEC a second; the rest are only counted.
 */
import { COUNTER_NAMES, counter } from '../shm/counters.js';
import type { PacketKind, PacketNote, TranslatorSettings } from '../shm/worker-task.js';
import { address6At, formatAddress4, formatAddress6 } from '../wire/address.js';
import { isIcmp4Error } from '../wire/icmp.js';
import {
  IPV4_DESTINATION,
  IPV4_HEADER,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  IPV6_DESTINATION,
  IPV6_HEADER,
  IPV6_NEXT_HEADER,
  IPV6_SOURCE,
  PROTO_ICMP,
  PROTO_ICMPV6,
} from '../wire/ip.js';
import { type Context, DROP_SELF, HOLD } from './context.js';
import type { FrameWatcher } from './frame-watcher.js';

const NOTES_PER_SEC = 50;
const ERRORS_SENT = counter('icmp-errors-sent');
const SELF_ANSWERED = counter('self-answered');
/** An IPv4 header with all options, and a type behind it. */
const KEPT_BYTES = 64;

export class PacketLog implements FrameWatcher {
  readonly #ctx: Context;
  readonly #kinds: ReadonlySet<PacketKind>;
  readonly #bytes = new Uint8Array(KEPT_BYTES);
  #length = 0;
  #errorsSent = 0;
  #selfAnswered = 0;
  #notes: PacketNote[] = [];
  /** Packets that there was no room for. */
  #left = 0;

  private constructor(ctx: Context, kinds: ReadonlySet<PacketKind>) {
    this.#ctx = ctx;
    this.#kinds = kinds;
  }

  /** Null where the settings ask for no packet. */
  static of(ctx: Context, settings: TranslatorSettings): PacketLog | null {
    return settings.logPackets.length === 0 ? null : new PacketLog(ctx, new Set(settings.logPackets));
  }

  before(offset: number, length: number): void {
    const { u8, counters } = this.#ctx;
    this.#length = length;
    const kept = Math.min(length, KEPT_BYTES);
    for (let i = 0; i < kept; i++) this.#bytes[i] = u8[offset + i] as number;
    this.#bytes.fill(0, kept);
    this.#errorsSent = counters[ERRORS_SENT] as number;
    this.#selfAnswered = counters[SELF_ANSWERED] as number;
  }

  after(verdict: number): void {
    // It comes again when its host has a map.
    if (verdict === HOLD) return;
    const kind = this.#kindOf(verdict);
    if (kind === null || !this.#kinds.has(kind)) return;
    if (this.#notes.length >= NOTES_PER_SEC) this.#left++;
    else this.#notes.push(this.#note(kind, verdict));
  }

  /** What has been noted since the last call; undefined where nothing was. */
  take(): { notes: PacketNote[]; left: number } | undefined {
    if (this.#notes.length === 0) return undefined;
    const taken = { notes: this.#notes, left: this.#left };
    this.#notes = [];
    this.#left = 0;
    return taken;
  }

  #kindOf(verdict: number): PacketKind | null {
    const { counters } = this.#ctx;
    if (verdict === DROP_SELF || counters[SELF_ANSWERED] !== this.#selfAnswered) return 'self';
    if (verdict > 0) return counters[ERRORS_SENT] === this.#errorsSent ? 'drop' : 'reject';
    return this.#isIcmpError() ? 'icmp' : null;
  }

  #isIcmpError(): boolean {
    const bytes = this.#bytes;
    const first = bytes[0] as number;
    if (first >>> 4 === 4) {
      return (
        bytes[IPV4_PROTOCOL] === PROTO_ICMP &&
        isIcmp4Error(bytes[Math.min((first & 15) * 4, KEPT_BYTES - 1)] as number)
      );
    }
    // RFC 4443 section 2.1: types below 128 are errors.
    return bytes[IPV6_NEXT_HEADER] === PROTO_ICMPV6 && (bytes[IPV6_HEADER] as number) < 128;
  }

  #note(kind: PacketKind, verdict: number): PacketNote {
    const dv = new DataView(this.#bytes.buffer);
    const reason = verdict > 0 ? (COUNTER_NAMES[verdict] as string) : '';
    const common = { kind, reason, length: this.#length };
    const version = (this.#bytes[0] as number) >>> 4;
    if (version === 4 && this.#length >= IPV4_HEADER) {
      const at = (offset: number) => formatAddress4(dv.getUint32(offset));
      const protocol = this.#bytes[IPV4_PROTOCOL] as number;
      return { ...common, source: at(IPV4_SOURCE), destination: at(IPV4_DESTINATION), protocol };
    }
    if (version === 6 && this.#length >= IPV6_HEADER) {
      const at = (offset: number) => formatAddress6(address6At(this.#bytes, offset));
      const protocol = this.#bytes[IPV6_NEXT_HEADER] as number;
      return { ...common, source: at(IPV6_SOURCE), destination: at(IPV6_DESTINATION), protocol };
    }
    return { ...common, source: '?', destination: '?', protocol: -1 };
  }
}

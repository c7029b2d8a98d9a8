/**
 * Advertises on one interface, for as long as there is one of that name with a link-local address:
 *
 *   waiting ──follow(): the interface is up──► advertising ──it goes, or cannot be used──► waiting
 *                                                  └──close()──► a last one, all lifetimes 0
 */
import { getSystemErrorMap, isDeepStrictEqual } from 'node:util';
import { equalAddress6, formatAddress6, UNSPECIFIED6 } from '../../wire/address.js';
import {
  faultOfSolicitation,
  ROUTER_ADVERTISEMENT,
  type RouterAdvertisement,
  routerLifetimeOf,
  type SolicitationFault,
  writeRouterAdvertisement,
} from '../../wire/router-discovery.js';
import { type Link, linkOf } from '../kernel-addresses.js';
import type { Log } from '../log.js';
import { Seldom } from '../seldom.js';
import { goodbyeTo, withdrawing } from './contents.js';
import { Schedule } from './schedule.js';
import { type Received, RouterSocket } from './socket.js';

const RETRY_MS = 1000;

export interface AdvertiserOptions {
  readonly log: Log;
  readonly intervalSec: number;
  /** What there is to tell on a link now. */
  readonly contents: (link: Link) => RouterAdvertisement;
}

export interface AdvertiserCounts {
  readonly sent: number;
  readonly refused: number;
  readonly solicitations: number;
  readonly invalid: Readonly<Record<SolicitationFault, number>>;
}

export class Advertiser {
  readonly #counts = {
    sent: 0,
    refused: 0,
    solicitations: 0,
    invalid: { 'hop-limit': 0, code: 0, length: 0, option: 0, source: 0 },
  };
  #options: AdvertiserOptions;
  #open: { readonly socket: RouterSocket; link: Link } | undefined;
  readonly #schedule: Schedule;
  /** What is told, and the same with what is taken back by it. */
  #contents: RouterAdvertisement | null = null;
  #initial: RouterAdvertisement | null = null;
  #timer: NodeJS.Timeout | undefined;
  /** Why nothing is sent, or null, as it was said last. */
  #trouble: string | null | undefined;
  #contradicted: number | null = null;
  readonly #contradictions = new Seldom();

  constructor(
    readonly name: string,
    options: AdvertiserOptions,
  ) {
    this.#options = options;
    this.#schedule = new Schedule(options.intervalSec, performance.now());
    this.follow();
  }

  get counts(): AdvertiserCounts {
    return this.#counts;
  }

  /** What is told; null while it waits. */
  get contents(): RouterAdvertisement | null {
    return this.#contents;
  }

  /** Why it waits; null where it does not. */
  get trouble(): string | null {
    return this.#trouble ?? null;
  }

  use(options: AdvertiserOptions): void {
    const isOther = options.intervalSec !== this.#options.intervalSec;
    this.#options = options;
    if (isOther && this.#open !== undefined) this.#begin();
    this.follow();
  }

  /** Looks how the interface is, and what there is to tell now. */
  follow(): void {
    const link = linkOf(this.name);
    if (link === null || link.index !== this.#open?.link.index) this.#leave();
    if (link === null) {
      this.#report(
        `there is no interface ${this.name} with a link-local address now; it is used once there is one`,
      );
      return;
    }
    if (this.#open === undefined) {
      try {
        const socket = new RouterSocket(
          this.name,
          (received) => this.#receive(received),
          () => this.#leave(),
        );
        this.#open = { socket, link };
      } catch (error) {
        this.#report(`${this.name}: ${(error as Error).message}`);
        return;
      }
    }
    // To hosts, who sends from another address is another router.
    const isMoved = !equalAddress6(link.linkLocal, this.#open.link.linkLocal);
    this.#open.link = link;
    const contents = this.#options.contents(link);
    if (!isMoved && isDeepStrictEqual(contents, this.#contents)) return;
    // What an interrupted withdrawal was to take back is still to be taken back.
    const before = this.#initial ?? this.#contents;
    this.#initial = before === null ? contents : withdrawing(contents, before);
    this.#contents = contents;
    this.#begin();
  }

  /** Says goodbye, and closes. */
  close(): void {
    if (this.#open !== undefined && this.#contents !== null) {
      // Told by the one before or not yet: what this one has taken back is at an end as well.
      const last = goodbyeTo(this.#initial ?? this.#contents);
      this.#send(this.#open, last);
    }
    this.#leave();
  }

  #leave(): void {
    clearTimeout(this.#timer);
    this.#open?.socket.close();
    this.#open = undefined;
    this.#contents = null;
    this.#initial = null;
  }

  #begin(): void {
    this.#schedule.restart(performance.now(), this.#options.intervalSec);
    this.#wait();
  }

  #wait(): void {
    clearTimeout(this.#timer);
    const delayMs = Math.max(this.#schedule.dueMs - performance.now(), 0);
    this.#timer = setTimeout(() => this.#advertise(), delayMs);
  }

  #advertise(): void {
    const open = this.#open;
    if (open === undefined || this.#contents === null) return;
    if (!this.#schedule.isInitial) this.#initial = null;
    const nowMs = performance.now();
    if (this.#send(open, this.#initial ?? this.#contents)) this.#schedule.sent(nowMs);
    else this.#schedule.failed(nowMs, RETRY_MS);
    this.#wait();
  }

  #send({ socket, link }: { socket: RouterSocket; link: Link }, contents: RouterAdvertisement): boolean {
    const message = writeRouterAdvertisement(contents);
    const errno = socket.send(message, link);
    if (errno !== 0) {
      this.#counts.refused++;
      const [code, text] = getSystemErrorMap().get(-errno) ?? ['errno', String(errno)];
      // An address is tentative for a second or two (RFC 4862 section 5.4).
      this.#report(
        `${this.name}: a router advertisement from ${formatAddress6(link.linkLocal)} was refused, ${text} (${code}); it is tried again`,
      );
      return false;
    }
    this.#counts.sent++;
    this.#report(null);
    return true;
  }

  #receive({ message, length, hopLimit, source }: Received): void {
    if (message[0] === ROUTER_ADVERTISEMENT) {
      this.#hear(message, length, hopLimit, source);
      return;
    }
    this.#counts.solicitations++;
    const fault = faultOfSolicitation(message, length, hopLimit, equalAddress6(source, UNSPECIFIED6));
    if (fault !== null) {
      this.#counts.invalid[fault]++;
      return;
    }
    if (this.#contents === null) return;
    this.#schedule.solicited(performance.now());
    this.#wait();
  }

  /**
   * RFC 4861 section 6.2.7. To hosts, whoever sends from this machine is the same router, and the last word counts: with another
   * program's router lifetime and ours in turn, their default route comes and goes.
   */
  #hear(message: Uint8Array, length: number, hopLimit: number, source: Received['source']): void {
    if (this.#open === undefined || this.#contents === null) return;
    if (!equalAddress6(source, this.#open.link.linkLocal)) return;
    const other = routerLifetimeOf(message, length, hopLimit);
    const ours = this.#contents.routerLifetimeSec;
    if (other === null || other === ours || other === this.#contradicted) return;
    // Anybody on the link can send these as fast as he likes, from our address and with another lifetime each.
    const left = this.#contradictions.due();
    if (left === null) return;
    this.#contradicted = other;
    const more = left === 0 ? '' : ` (and ${left} more with another one since that was said last)`;
    this.#options.log.warn(
      { event: 'advertise-contradicted', interface: this.name, routerLifetimeSec: other },
      `another program on this machine advertises on ${this.name} with router lifetime ${other}${more}, and we with ${ours}: hosts follow whom they heard last; give advertise.router-lifetime the same value, or let one of the two do it all`,
    );
  }

  /** Says it where it is other than what was said last. */
  #report(trouble: string | null): void {
    if (trouble === this.#trouble) return;
    const { log } = this.#options;
    const fields = { event: 'advertise-waits', interface: this.name };
    if (trouble === null) {
      log.info({ ...fields, event: 'advertise' }, `router advertisements are sent on ${this.name}`);
    } else log.warn(fields, `router advertisements: ${trouble}`);
    this.#trouble = trouble;
  }
}

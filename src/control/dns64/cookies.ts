/**
 * DNS cookies (RFC 7873) with server cookies as RFC 9018 has them: a client that shows one got an answer of ours before, so its
 * address is its own.
 *
 *   option:  code 10 | length | client cookie (8) | server cookie (8 to 32, absent at first)
 *   ours:    version 1 | reserved (3) | seconds since 1970 (4) | SipHash-2-4 of what is before it and the client's address (8)
 */
import { randomBytes } from 'node:crypto';
import type { Address6 } from '../../wire/address.js';
import { get16, set16 } from '../../wire/bytes.js';
import { sipHash24 } from '../../wire/siphash.js';
import { isMapped } from './access.js';
import { OPT_SIZE } from './edns.js';
import { DNS_HEADER, skipName, TYPE_OPT } from './message.js';

const OPTION_COOKIE = 10;
const CLIENT_COOKIE = 8;
const SERVER_COOKIE = 16;
const SERVER_COOKIE_LEAST = 8;
const SERVER_COOKIE_MOST = 32;
const VERSION = 1;
/** Bytes of the option that `answerOption` makes. */
export const COOKIE_OPTION_SIZE = 4 + CLIENT_COOKIE + SERVER_COOKIE;

/** RFC 9018 section 4.3. */
const PAST_SEC = 3600;
const FUTURE_SEC = 300;
const ROTATE_SEC = 86_400;

/** No cookie in the message, and one of a length that there is not (RFC 7873 section 5.2.2). */
export const NO_COOKIE = -1;
export const MALFORMED_COOKIE = -2;

/** Where the OPT of a query's additional section is, or -1. Of a malformed message: anything but a place outside of it. */
export function findOpt(bytes: Uint8Array, length: number): number {
  let at = DNS_HEADER;
  for (let count = get16(bytes, 4); count > 0; count--) {
    at = skipName(bytes, at, length);
    if (at < 0 || at + 4 > length) return -1;
    at += 4;
  }
  let left = get16(bytes, 6) + get16(bytes, 8) + get16(bytes, 10);
  for (; left > 0; left--) {
    const fixed = skipName(bytes, at, length);
    if (fixed < 0 || fixed + 10 > length) return -1;
    const end = fixed + 10 + get16(bytes, fixed + 8);
    if (end > length) return -1;
    if (get16(bytes, fixed) === TYPE_OPT && fixed === at + 1) return at;
    at = end;
  }
  return -1;
}

/** The offset of the cookie option's code in the OPT at `opt`, NO_COOKIE or MALFORMED_COOKIE. The first one counts (RFC 7873 section 5.2). */
export function findCookie(bytes: Uint8Array, opt: number): number {
  let at = opt + OPT_SIZE;
  const end = at + get16(bytes, at - 2);
  while (at + 4 <= end) {
    const length = get16(bytes, at + 2);
    if (get16(bytes, at) === OPTION_COOKIE && at + 4 + length <= end) {
      const server = length - CLIENT_COOKIE;
      const isGood = server === 0 || (server >= SERVER_COOKIE_LEAST && server <= SERVER_COOKIE_MOST);
      return isGood ? at : MALFORMED_COOKIE;
    }
    at += 4 + length;
  }
  return NO_COOKIE;
}

/** Whether the cookie option at `option` has a server cookie, good or bad. */
export function hasServerCookie(bytes: Uint8Array, option: number): boolean {
  return get16(bytes, option + 2) > CLIENT_COOKIE;
}

/** What is hashed: client cookie, the server cookie but for its hash, the client's address in its own length. */
function hashed(bytes: Uint8Array, clientAt: number, head: Uint8Array, client: Address6): Uint8Array {
  const words = isMapped(client) ? client.slice(3) : client;
  const input = new Uint8Array(CLIENT_COOKIE + 8 + 4 * words.length);
  input.set(bytes.subarray(clientAt, clientAt + CLIENT_COOKIE));
  input.set(head, CLIENT_COOKIE);
  const view = new DataView(input.buffer);
  for (let i = 0; i < words.length; i++) view.setInt32(CLIENT_COOKIE + 8 + 4 * i, words[i] as number);
  return input;
}

/** Seconds since 1970, from a clock that does not jump. */
const START_SEC = Date.now() / 1000 - performance.now() / 1000;
const unixNow = () => Math.floor(START_SEC + performance.now() / 1000);

export class ServerCookies {
  #secret: Uint8Array;
  /** Cookies made with it are good for as long as any. */
  #before: Uint8Array | null = null;
  #rotatedSec: number;

  /** `newSecret` gives 16 bytes, random ones but in tests. */
  constructor(
    private readonly newSecret: () => Uint8Array = () => randomBytes(16),
    private readonly nowSec: () => number = unixNow,
  ) {
    this.#secret = newSecret();
    this.#rotatedSec = nowSec();
  }

  /** Whether the cookie option at `option` has a server cookie that we gave to this client within the last hour. */
  isValid(bytes: Uint8Array, option: number, client: Address6): boolean {
    if (get16(bytes, option + 2) !== CLIENT_COOKIE + SERVER_COOKIE) return false;
    const at = option + 4 + CLIENT_COOKIE;
    if (bytes[at] !== VERSION) return false;
    const nowSec = this.#turn();
    const madeSec = (get16(bytes, at + 4) << 16) | get16(bytes, at + 6);
    // Serial numbers (RFC 1982): the clock may pass 2^32.
    const ageSec = (nowSec - madeSec) | 0;
    if (ageSec > PAST_SEC || ageSec < -FUTURE_SEC) return false;
    const input = hashed(bytes, option + 4, bytes.subarray(at, at + 8), client);
    const shown = bytes.subarray(at + 8, at + SERVER_COOKIE);
    return (
      isSame(sipHash24(this.#secret, input), shown) ||
      (this.#before !== null && isSame(sipHash24(this.#before, input), shown))
    );
  }

  /** The option for the answer: the client's cookie and a new one of ours. */
  answerOption(bytes: Uint8Array, option: number, client: Address6): Buffer {
    const nowSec = this.#turn();
    const answer = Buffer.alloc(COOKIE_OPTION_SIZE);
    set16(answer, 0, OPTION_COOKIE);
    set16(answer, 2, CLIENT_COOKIE + SERVER_COOKIE);
    answer.set(bytes.subarray(option + 4, option + 4 + CLIENT_COOKIE), 4);
    const at = 4 + CLIENT_COOKIE;
    answer[at] = VERSION;
    answer.writeUInt32BE(nowSec % 2 ** 32, at + 4);
    const input = hashed(bytes, option + 4, answer.subarray(at, at + 8), client);
    answer.set(sipHash24(this.#secret, input), at + 8);
    return answer;
  }

  /** The time; and another secret where the time for it has come (RFC 7873 section 7.1: once a day or more often). */
  #turn(): number {
    const nowSec = this.nowSec();
    if (nowSec - this.#rotatedSec >= ROTATE_SEC) {
      this.#before = this.#secret;
      this.#secret = this.newSecret();
      this.#rotatedSec = nowSec;
    }
    return nowSec;
  }
}

/** Takes the same time wherever they differ. */
function isSame(a: Uint8Array, b: Uint8Array): boolean {
  let differing = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) differing |= (a[i] as number) ^ (b[i] as number);
  return differing === 0;
}

/** The raw socket of an interface, by the addon. */
import native from '#native';
import type { Address6 } from '../../wire/address.js';
import type { Link } from '../kernel-addresses.js';

/** What comes is looked at no further than this. */
const SLOT_BYTES = 1280;
const BATCH = 16;

const LENGTH = 1;
const ADDRESS = 5;
const HOP_LIMIT = 14;

/** All nodes of the link, ff02::1. */
const ALL_NODES: Address6 = [0xff020000 | 0, 0, 0, 1];

export interface Received {
  /** The ICMPv6 message at its start; in use until the next one comes. */
  readonly message: Uint8Array;
  readonly length: number;
  readonly hopLimit: number;
  readonly source: Address6;
}

export class RouterSocket {
  readonly #fd: number;
  readonly #poller;
  readonly #ring = new Uint8Array(BATCH * SLOT_BYTES);
  readonly #fields = new Int32Array(BATCH * native.UDP_FIELDS);
  readonly #mishaps = new Int32Array(2);

  /**
   * Throws the addon's errors.
   * @param onMessage a solicitation, or an advertisement of whomever
   * @param onEnd the interface has gone
   */
  constructor(
    name: string,
    private readonly onMessage: (received: Received) => void,
    onEnd: () => void,
  ) {
    this.#fd = native.openRouter(name);
    this.#poller = new native.Poller(this.#fd, (errno) => (errno === 0 ? this.#receive() : onEnd()));
  }

  /** Sends to all nodes of the link, from its link-local address. Returns 0, or the errno of a refusal. */
  send(message: Uint8Array, link: Link): number {
    const list = new Int32Array(native.UDP_FIELDS);
    list.set([0, message.length, 6, 0, link.index, ...ALL_NODES, ...link.linkLocal, link.index]);
    const sent = native.sendBatch(this.#fd, message, list, 1, this.#mishaps);
    return sent === 1 ? 0 : (this.#mishaps[1] as number);
  }

  close(): void {
    this.#poller.stop();
    native.closeUdp(this.#fd);
  }

  /** A batch in a turn of the event loop: a flood keeps nobody else waiting. */
  #receive(): void {
    const count = native.receiveBatch(this.#fd, this.#ring, SLOT_BYTES, this.#fields, BATCH, this.#mishaps);
    for (let i = 0; i < count; i++) {
      const at = i * native.UDP_FIELDS;
      const word = (index: number) => this.#fields[at + index] as number;
      this.onMessage({
        message: this.#ring.subarray(i * SLOT_BYTES, (i + 1) * SLOT_BYTES),
        length: Math.min(word(LENGTH), SLOT_BYTES),
        hopLimit: word(HOP_LIMIT),
        source: [word(ADDRESS), word(ADDRESS + 1), word(ADDRESS + 2), word(ADDRESS + 3)],
      });
    }
  }
}

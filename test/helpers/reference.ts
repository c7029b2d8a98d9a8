/**
 * The reference translator: slow, obvious, and written from the RFCs without a look at the fast one. A frame becomes
 * objects, rules make other objects of them, and those are written out with every checksum computed anew.
 */
import type { TranslatorSettings } from '#nat64d/shm/worker-task.js';
import {
  DEFAULT_SETTINGS,
  type HarnessOptions,
  HOST4,
  HOST6,
  prefix4,
  prefix6,
  type Vnet,
} from './harness.js';
import { Addresses } from './reference/addresses.js';
import { fromIpv4 } from './reference/from-ipv4.js';
import { fromIpv6 } from './reference/from-ipv6.js';
import { Drop, type Gateway } from './reference/gateway.js';
import { type Frame, NO_VNET } from './reference/offload.js';

export interface ReferenceOutcome {
  /** 'forward', 'hold', or the name of the drop counter. */
  verdict: string;
  frames: Frame[];
}

export class Reference implements Gateway {
  readonly settings: TranslatorSettings;
  readonly addresses: Addresses;
  #nextId = 0;

  constructor(options: HarnessOptions = {}) {
    const { pool4 } = options;
    this.settings = {
      ...DEFAULT_SETTINGS,
      ...(pool4 === undefined ? {} : { pool4: pool4 === null ? null : prefix4(pool4) }),
      ...(options.pref64 === undefined ? {} : { pref64: prefix6(options.pref64) }),
      ...options.settings,
    };
    this.addresses = new Addresses(this.settings, options.maps ?? []);
    for (const [ipv4, ipv6] of options.hosts ?? [[HOST4, HOST6]]) {
      if (this.settings.pool4 !== null) this.addresses.addHost(ipv4, ipv6);
    }
  }

  takeIds(used: number): number {
    // A run of them does not go round.
    const id = this.#nextId + used > 65536 ? 0 : this.#nextId;
    this.#nextId = id + used;
    return id;
  }

  /** What becomes of one frame; the answers of the gateway itself count as forwarded. */
  translate(frame: Uint8Array, vnet: Vnet = NO_VNET): ReferenceOutcome {
    try {
      const version = (frame[0] ?? 0) >> 4;
      if (version !== 4 && version !== 6) throw new Drop('drop-not-ip');
      const frames = version === 6 ? fromIpv6(this, frame, vnet) : fromIpv4(this, frame, vnet);
      return { verdict: 'forward', frames };
    } catch (error) {
      if (error instanceof Drop) return { verdict: error.verdict, frames: error.frames };
      throw error;
    }
  }
}

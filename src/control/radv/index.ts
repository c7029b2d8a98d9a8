/** Router advertisements (RFC 4861) that tell hosts of PREF64 (RFC 8781), DNS64 (RFC 8106) and the way to pref64 (RFC 4191). */
import type { SocketAddress } from '../config/types.js';
import type { Log } from '../log.js';
import { Advertiser, type AdvertiserOptions } from './advertiser.js';
import { type AdvertisedConfig, contentsOf } from './contents.js';

export type { Advertiser } from './advertiser.js';

/** How often interfaces, and the addresses that DNS64 answers on, are looked at. */
const FOLLOW_MS = 1000;

export class RouterAdvertisements {
  #advertisers: readonly Advertiser[] = [];
  #timer: NodeJS.Timeout | undefined;

  /** @param listening where DNS64 answers now */
  constructor(
    private readonly listening: () => readonly SocketAddress[],
    private readonly log: Log,
  ) {}

  /** One for each interface of the configuration. */
  get advertisers(): readonly Advertiser[] {
    return this.#advertisers;
  }

  /** Brings a configuration into force. Interfaces that it does not name any more are taken leave of. */
  use(config: AdvertisedConfig): void {
    const { interfaces, intervalSec } = config.advertise;
    const options: AdvertiserOptions = {
      log: this.log,
      intervalSec,
      contents: (link) => contentsOf(config, link, this.listening()),
    };
    const before = this.#advertisers;
    for (const one of before) if (!interfaces.includes(one.name)) one.close();
    this.#advertisers = interfaces.map((name) => {
      const running = before.find((one) => one.name === name);
      running?.use(options);
      return running ?? new Advertiser(name, options);
    });
    clearInterval(this.#timer);
    if (interfaces.length === 0) return;
    this.#timer = setInterval(() => {
      for (const one of this.#advertisers) one.follow();
    }, FOLLOW_MS);
  }

  /** Says goodbye everywhere. */
  close(): void {
    clearInterval(this.#timer);
    for (const one of this.#advertisers) one.close();
    this.#advertisers = [];
  }
}

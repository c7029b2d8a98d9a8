import type { Address6 } from '../../wire/address.js';
import { FreeMap } from './free-map.js';
import { HostIndex } from './host-index.js';

/**
 * How many live maps each /64 holds. Not a Map: its hash of numbers is no secret, so that a sender of forged sources could
 * pick /64s that all collide, and make each count slower than the last.
 */
export class Per64Counts {
  readonly #prefixes: HostIndex;
  readonly #places: FreeMap;
  readonly #counts: Int32Array;

  /** @param size as many /64s as there can be live maps; a power of two */
  constructor(size: number) {
    this.#prefixes = new HostIndex(size);
    this.#places = new FreeMap(size);
    this.#counts = new Int32Array(size);
  }

  count(host: Address6): number {
    const place = this.#prefixes.find(prefixOf(host));
    return place < 0 ? 0 : (this.#counts[place] as number);
  }

  /** Counts one more (1) or one fewer (-1) live map in the host's /64. */
  change(host: Address6, by: 1 | -1): void {
    const prefix = prefixOf(host);
    let place = this.#prefixes.find(prefix);
    if (place < 0) {
      // The lowest free place, so that only as much memory is touched as there are /64s at a time.
      place = this.#places.nextFree(0);
      this.#places.take(place);
      this.#prefixes.add(prefix, place);
    }
    const count = (this.#counts[place] as number) + by;
    this.#counts[place] = count;
    if (count > 0) return;
    this.#prefixes.remove(place);
    this.#places.release(place);
  }
}

function prefixOf(host: Address6): Address6 {
  return [host[0], host[1], 0, 0];
}

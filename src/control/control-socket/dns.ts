/** What the control socket asks of DNS64, as far as it can: each is there or is not. */
import type { Dns64 } from '../dns64/index.js';
import type { Subject } from '../inspect/subject.js';
import { RequestError } from './protocol.js';

/** Plain data, shown as it comes. */
export interface InspectableDns64 extends Dns64 {
  /** How full the cache is, and how often it has helped. */
  cacheStats?(): object;
  /** What is in the cache, at most so many, the most useful first. */
  cacheEntries?(limit: number): readonly object[];
  /** Forgets what is cached of a name, or all; how many entries that were. */
  flush?(name?: string): number;
  /** How a question would be answered and why, in words or as data. */
  explain?(name: string, type: string): Promise<unknown> | unknown;
}

export function dns64Of(subject: Subject): InspectableDns64 {
  if (subject.dns64 !== undefined) return subject.dns64;
  throw new RequestError('not-found', 'DNS64 is off: set enabled = true under [dns64], and a pref64');
}

/** One of the optional methods, bound. Throws where DNS64 has it not. */
export function dns64Method<K extends 'cacheStats' | 'cacheEntries' | 'flush' | 'explain'>(
  subject: Subject,
  name: K,
): NonNullable<InspectableDns64[K]> {
  const dns64 = dns64Of(subject);
  const method = dns64[name];
  if (method === undefined) {
    const what = name === 'explain' ? 'explain its answers' : 'tell of a cache: it has none';
    throw new RequestError('unavailable', `the DNS64 of this gateway cannot ${what}`);
  }
  return method.bind(dns64) as NonNullable<InspectableDns64[K]>;
}

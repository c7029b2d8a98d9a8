/** What an administrator sees of the cache and does to it, while DNS64 runs. Names are dotted text here. */
import type { AnswerCache } from './cache.js';
import type { FastPath } from './fast-path.js';
import { foldName } from './message.js';
import type { Resolver } from './resolve.js';
import { nameText, parseName, typeText } from './text.js';

export interface CacheStats {
  readonly sizeBytes: number;
  /** What forwarders said, negative answers and failures included, and finished answers. */
  readonly answers: { readonly entries: number; readonly usedBytes: number };
  readonly finished: { readonly entries: number; readonly usedBytes: number };
  /** Questions on their way to forwarders. */
  readonly pending: number;
}

export interface ShownEntry {
  readonly name: string;
  readonly type: string;
  readonly kind: 'positive' | 'negative' | 'failure';
  /** Below 0: stale for so long. */
  readonly ttlSec: number;
  readonly sizeBytes: number;
  readonly hits: number;
}

/** A list for people is no longer. */
const MAX_LISTED = 10_000;

function zoneOf(name: string | undefined): string | null {
  if (name === undefined) return null;
  const wire = parseName(name);
  if (wire === null) throw new Error(`'${name}' is not a domain name`);
  return foldName(wire);
}

export class CacheOperations {
  constructor(
    private readonly sizeBytes: number,
    private readonly resolver: Resolver,
    private readonly fastPath: FastPath,
  ) {}

  stats(): CacheStats {
    const { fastPath, resolver, sizeBytes } = this;
    const part = (cache: AnswerCache | FastPath | null) => ({
      entries: cache?.count ?? 0,
      usedBytes: cache?.usedBytes ?? 0,
    });
    return { sizeBytes, answers: part(resolver.cache), finished: part(fastPath), pending: resolver.pending };
  }

  /**
   * What forwarders said, of `name` and below or of all, the most used first.
   * @throws Error where `name` is none
   */
  entries(limit = 1000, name?: string): ShownEntry[] {
    return this.resolver.list(Math.min(limit, MAX_LISTED), zoneOf(name)).map((entry) => ({
      name: nameText(entry.name),
      type: typeText(entry.type),
      kind: entry.kind,
      ttlSec: entry.ttlSec,
      sizeBytes: entry.sizeBytes,
      hits: entry.hits,
    }));
  }

  /**
   * Forgets `name` and below, or all.
   * @returns answers of forwarders forgotten
   * @throws Error where `name` is none
   */
  flush(name?: string): number {
    const zone = zoneOf(name);
    this.fastPath.flush(zone);
    return this.resolver.flush(zone);
  }
}

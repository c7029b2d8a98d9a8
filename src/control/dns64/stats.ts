import { TYPE_AAAA } from './message.js';

/** Types of record that are counted by themselves, and the counter of the others. */
const TYPE_NAMES = {
  1: 'a',
  2: 'ns',
  6: 'soa',
  12: 'ptr',
  15: 'mx',
  16: 'txt',
  28: 'aaaa',
  33: 'srv',
  43: 'ds',
  48: 'dnskey',
  64: 'svcb',
  65: 'https',
  255: 'any',
} as const;
type TypeName = (typeof TYPE_NAMES)[keyof typeof TYPE_NAMES] | 'other';

/** What DNS64 counts. Plain numbers, monotonic but for `pending`. */
export interface Dns64Stats {
  queriesUdp: number;
  queriesTcp: number;
  /** Of them, those whose question could be read, by its type. */
  readonly types: Record<TypeName, number>;
  /** Answers with AAAA records made from A records. */
  synthesized: number;
  /** Answers of an upstream passed on, filtered ones included. */
  passed: number;
  /** Answers that needed nobody: ipv4only.arpa, names under a prefix that embed no address. */
  local: number;
  /** PTR answers by way of in-addr.arpa. */
  reversed: number;
  /** Error answers: FORMERR, NOTIMP, BADVERS, REFUSED, SERVFAIL. */
  errors: number;
  /** Answers cut to TC=1. */
  truncated: number;
  /** Queries beyond the rate limit that got TC=1 or BADCOOKIE. */
  slipped: number;
  /** Answers BADCOOKIE (RFC 7873). */
  badCookies: number;
  /** Queries nobody got an answer to, by reason. */
  readonly dropped: {
    /** No id and flags to answer to. */
    short: number;
    /** QR=1. */
    response: number;
    /** A reply the socket would not take. */
    send: number;
    /** Connections beyond the limit. */
    connections: number;
    /** Queries beyond the rate limit. */
    rate: number;
    /** Connections of clients that do not read their answers. */
    slow: number;
  };
  /** Queries that were our own, come back: refused. */
  loops: number;
  /** Questions of ours (of a client's AAAA query there may be two) that the cache answered, and that it did not. */
  cacheHits: number;
  cacheMisses: number;
  /** Failures remembered (RFC 9520) and stale answers (RFC 8767) given. */
  cacheFailures: number;
  cacheStale: number;
  /** Client queries over UDP answered with a finished answer. */
  fastHits: number;
  /** Questions asked before their answer ended. */
  prefetches: number;
  /** Questions that joined one in flight. */
  shared: number;
  upstreamQueries: number;
  /** Of them and after them: over TCP, TLS and HTTPS. */
  upstreamStreams: number;
  upstreamTimeouts: number;
  /** Datagrams from a forwarder's address that match no query of ours: late, or forged. */
  upstreamMismatches: number;
  /** Client queries being answered. */
  pending: number;
  /** Questions in flight to forwarders. */
  upstreamPending: number;
}

export function newStats(): Dns64Stats {
  return {
    queriesUdp: 0,
    queriesTcp: 0,
    types: Object.fromEntries(
      [...Object.values(TYPE_NAMES), 'other'].map((name) => [name, 0]),
    ) as Dns64Stats['types'],
    synthesized: 0,
    passed: 0,
    local: 0,
    reversed: 0,
    errors: 0,
    truncated: 0,
    slipped: 0,
    badCookies: 0,
    dropped: { short: 0, response: 0, send: 0, connections: 0, rate: 0, slow: 0 },
    loops: 0,
    cacheHits: 0,
    cacheMisses: 0,
    cacheFailures: 0,
    cacheStale: 0,
    fastHits: 0,
    prefetches: 0,
    shared: 0,
    upstreamQueries: 0,
    upstreamStreams: 0,
    upstreamTimeouts: 0,
    upstreamMismatches: 0,
    pending: 0,
    upstreamPending: 0,
  };
}

/** Counts a query by the type it asks for. */
export function countType({ types }: Dns64Stats, type: number): void {
  // The type of nearly all of them, without a look-up.
  if (type === TYPE_AAAA) types.aaaa++;
  else types[TYPE_NAMES[type as keyof typeof TYPE_NAMES] ?? 'other']++;
}

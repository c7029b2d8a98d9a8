/** What DNS64 counts. Plain numbers, monotonic but for `pending`. */
export interface Dns64Stats {
  queriesUdp: number;
  queriesTcp: number;
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
  };
  upstreamQueries: number;
  upstreamTcp: number;
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
    synthesized: 0,
    passed: 0,
    local: 0,
    reversed: 0,
    errors: 0,
    truncated: 0,
    dropped: { short: 0, response: 0, send: 0, connections: 0 },
    upstreamQueries: 0,
    upstreamTcp: 0,
    upstreamTimeouts: 0,
    upstreamMismatches: 0,
    pending: 0,
    upstreamPending: 0,
  };
}

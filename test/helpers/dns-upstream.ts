/** A resolver and an answerer in front of forwarders made of a script, on a clock that tests move. No sockets. */
import dnsPacket from 'dns-packet';
import { DEFAULT_NAMES, type NamesConfig } from '#nat64d/control/config/synthesis.js';
import { Answerer } from '#nat64d/control/dns64/answer.js';
import type { Clock } from '#nat64d/control/dns64/clock.js';
import { FastPath } from '#nat64d/control/dns64/fast-path.js';
import { LocalZones } from '#nat64d/control/dns64/local-zones.js';
import { parseMessage } from '#nat64d/control/dns64/message.js';
import { type Policy, PolicySet } from '#nat64d/control/dns64/policy.js';
import { finishReply, type Query, type Reply, receiveQuery } from '#nat64d/control/dns64/query.js';
import { Resolver, type ResolverAnswer, type ResolverOptions } from '#nat64d/control/dns64/resolve.js';
import { newStats } from '#nat64d/control/dns64/stats.js';
import type { Question, UpstreamAnswer, UpstreamFailure } from '#nat64d/control/dns64/upstream.js';
import { parsePrefix6 } from '#nat64d/wire/address.js';
import {
  type Ask,
  type Reply as Decoded,
  decodeReply,
  encodeQuery,
  RA,
  RD,
  record,
  type Scripted,
} from '../conformance/rfc6147/harness.js';

export class FakeClock implements Clock {
  nowSec = 1000;
  sec(): number {
    return this.nowSec;
  }
}

/** What a forwarder says, or how it fails; `later`: not at once. */
export type Said = (Scripted & { later?: boolean }) | { failure: UpstreamFailure; later?: boolean };

export class FakeUpstream {
  readonly times = { budgetMs: 5000 };
  /** `name TYPE` of what was asked, in order. */
  readonly asked: string[] = [];
  /** Ends what was asked `later`, oldest first. */
  readonly waiting: (() => void)[] = [];
  constructor(readonly script: Record<string, Said>) {}

  ask(question: Question): UpstreamAnswer | Promise<UpstreamAnswer> {
    const query = Buffer.concat([Buffer.from([0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]), question.question]);
    const decoded = dnsPacket.decode(query);
    const { name, type } = (decoded.questions as dnsPacket.Question[])[0] as dnsPacket.Question;
    this.asked.push(`${name} ${type}`);
    const said = this.script[`${name.toLowerCase()} ${type}`] ?? { rcode: 3 };
    const result =
      'failure' in said
        ? { answer: null, failure: said.failure }
        : { answer: made(query, said), failure: null };
    if (!said.later) return result;
    return new Promise((resolve) => {
      this.waiting.push(() => resolve(result));
    });
  }
}

function made(query: Buffer, scripted: Scripted) {
  const { questions } = dnsPacket.decode(query);
  const records = (lines: string[] | undefined) => (lines ?? []).map(record);
  const options =
    scripted.extendedError === undefined
      ? []
      : [{ code: 15, data: Buffer.from([0, scripted.extendedError]) }];
  const opt = { type: 'OPT', name: '.', udpPayloadSize: 4096, flags: 0, options } as never;
  const bytes =
    scripted.raw?.(query) ??
    dnsPacket.encode({
      type: 'response',
      id: 77,
      flags: RD | RA | (scripted.flags ?? 0) | (scripted.rcode ?? 0),
      questions: questions ?? [],
      answers: records(scripted.answer),
      authorities: records(scripted.authority),
      additionals: [...records(scripted.additional), opt],
    });
  return parseMessage(bytes);
}

export interface Rig {
  readonly clock: FakeClock;
  readonly upstream: FakeUpstream;
  readonly resolver: Resolver;
  readonly fastPath: FastPath;
  readonly answerer: Answerer;
  readonly policy: Policy;
  readonly stats: ReturnType<typeof newStats>;
  /** Asks the resolver. */
  resolve(ask: Ask, budgetMs?: number): ResolverAnswer | Promise<ResolverAnswer>;
  /** Asks the answerer, as the server does: what the client gets. */
  slow(bytes: Buffer, limit?: number): Promise<Buffer>;
  /** Asks the fast path; null where it gives the query to the ordinary way. */
  fast(bytes: Buffer, limitForNoEdns?: number): Buffer | null;
  ask(ask: Ask): Promise<Decoded>;
}

export function queryOf(bytes: Buffer): Query {
  const received = receiveQuery(bytes);
  if (received.kind !== 'query') throw new Error(`not a query: ${received.kind}`);
  return received.query;
}

export function rig(
  script: Record<string, Said>,
  options: Partial<ResolverOptions> & { pref64s?: string[]; id?: number; names?: Partial<NamesConfig> } = {},
): Rig {
  const stats = newStats();
  const clock = new FakeClock();
  const upstream = new FakeUpstream(script);
  const { sizeBytes = 2 ** 20, serveStaleSec = 0, prefetch = false, staleAnswerMs = 60 } = options;
  const resolver = new Resolver(
    upstream,
    stats,
    { sizeBytes, serveStaleSec, prefetch, staleAnswerMs },
    clock,
  );
  const fastPath = new FastPath(sizeBytes, clock, stats);
  const zones = new LocalZones(options.names?.privateZones ?? 'forward', () => []);
  const answerer = new Answerer(zones, resolver, fastPath, stats);
  const prefixes = (options.pref64s ?? ['2001:db8:64::/96']).map((text) => parsePrefix6(text)!);
  const pref64s = prefixes.map((prefix) => ({ prefix, ipv4: [], excludeAaaa: [] }));
  const names = { ...DEFAULT_NAMES, pref64s, ...options.names };
  const policies = new PolicySet({ names, pref64: prefixes[0]!, wkpfStrict: true });
  const policy: Policy = { ...policies.all[0]!, id: options.id ?? 0 };
  const out = Buffer.alloc(4096);
  const slow = async (bytes: Buffer, limit = 1232) => {
    const query = queryOf(bytes);
    const reply: Reply = await answerer.answer(query, policy);
    return Buffer.from(finishReply(query, reply, limit));
  };
  return {
    clock,
    upstream,
    resolver,
    fastPath,
    answerer,
    policy,
    stats,
    resolve: (ask, budgetMs) => {
      const query = queryOf(encodeQuery(ask));
      const dnssecOk = query.edns?.dnssecOk === true;
      return resolver.ask({ question: query.question, flags: query.flags, dnssecOk }, budgetMs);
    },
    slow,
    fast: (bytes, limitForNoEdns = 512) => {
      out.fill(0xee);
      const length = fastPath.respond(bytes, bytes.length, policy.id, limitForNoEdns, out, 3);
      return length === 0 ? null : Buffer.from(out.subarray(3, 3 + length));
    },
    ask: async (ask) => decodeReply(await slow(encodeQuery(ask))),
  };
}

/** What DNS64 costs in JavaScript, without sockets: `npm run bench -- dns-paths`, or with all parts `micro`. Nanoseconds a query. */
import { DEFAULT_NAMES } from '#nat64d/control/config/synthesis.js';
import { Answerer } from '#nat64d/control/dns64/answer.js';
import { CoarseClock } from '#nat64d/control/dns64/clock.js';
import { FastPath } from '#nat64d/control/dns64/fast-path.js';
import { LocalZones } from '#nat64d/control/dns64/local-zones.js';
import {
  ANSWER,
  AUTHORITY,
  CLASS_IN,
  nameOf,
  parseMessage,
  TYPE_A,
  TYPE_AAAA,
  TYPE_SOA,
} from '#nat64d/control/dns64/message.js';
import { type Policy, PolicySet } from '#nat64d/control/dns64/policy.js';
import { finishReply, type Query, type Reply, receiveQuery } from '#nat64d/control/dns64/query.js';
import { Resolver } from '#nat64d/control/dns64/resolve.js';
import { newStats } from '#nat64d/control/dns64/stats.js';
import { synthesize } from '#nat64d/control/dns64/synthesize.js';
import type { Question, UpstreamAnswer } from '#nat64d/control/dns64/upstream.js';
import { MessageWriter } from '#nat64d/control/dns64/writer.js';
import { type Prefix6, parsePrefix6 } from '#nat64d/wire/address.js';
import { timeParts } from './parts.js';
import type { Measurement } from './report.js';

/** So many that their answers do not all stay in the processor's caches. */
const NAMES = 10_000;
const BATCH = 1000;
const LIMIT = 512;

const SOA_RDATA = Buffer.concat([
  Buffer.from(`${nameOf('ns.example')}${nameOf('root.example')}`, 'latin1'),
  Buffer.from([0, 0, 0, 1, 0, 0, 14, 16, 0, 0, 14, 16, 0, 0, 14, 16, 0, 0, 14, 16]),
]);

function queryOf(name: string, type: number, edns = false): Buffer {
  const question = Buffer.from(`${nameOf(name)}\0${String.fromCharCode(type)}\0\x01`, 'latin1');
  const head = Buffer.from([0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, edns ? 1 : 0]);
  const opt = Buffer.from([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
  return Buffer.concat(edns ? [head, question, opt] : [head, question]);
}

/** An upstream without a network: every name has an A record and no AAAA. */
export function answerOf({ question }: Question): UpstreamAnswer {
  const writer = new MessageWriter(0x8180, question);
  const name = question.toString('latin1', 0, question.length - 4);
  if (question.readUInt16BE(question.length - 4) === TYPE_A) {
    writer.record(name, TYPE_A, CLASS_IN, 3600, Buffer.from([192, 0, 2, 1]), ANSWER);
  } else writer.record(nameOf('example'), TYPE_SOA, CLASS_IN, 3600, SOA_RDATA, AUTHORITY);
  return { answer: parseMessage(writer.finish() as Buffer), failure: null };
}

function received(bytes: Buffer): Query {
  const got = receiveQuery(bytes);
  if (got.kind !== 'query') throw new Error('not a query');
  return got.query;
}

export async function measure(): Promise<Measurement[]> {
  const pref64 = parsePrefix6('64:ff9b::/96') as Prefix6;
  const policy = new PolicySet({ names: DEFAULT_NAMES, pref64, wkpfStrict: false }).all[0] as Policy;
  const zones = new LocalZones('forward', () => []);
  const clock = new CoarseClock();
  const make = (sizeBytes: number) => {
    const stats = newStats();
    const upstream = { times: { budgetMs: 5000 }, ask: answerOf };
    const resolver = new Resolver(upstream, stats, { sizeBytes, serveStaleSec: 0, prefetch: false }, clock);
    const fastPath = new FastPath(sizeBytes, clock, stats);
    return { fastPath, resolver, answerer: new Answerer(zones, resolver, fastPath, stats) };
  };
  const { answerer, fastPath, resolver } = make(64 * 2 ** 20);
  const names = Array.from({ length: NAMES }, (_, i) => `www.host-${i}.example`);
  const queries = names.map((name) => queryOf(name, TYPE_AAAA));
  const withEdns = names.map((name) => queryOf(name, TYPE_AAAA, true));
  const missing = names.map((name) => queryOf(`${name}.test`, TYPE_AAAA));
  // Once from upstream, once from the cache: then the answer is on the fast path.
  for (const bytes of [...queries, ...queries]) answerer.answer(received(bytes), policy);
  if (fastPath.count !== NAMES) throw new Error(`${fastPath.count} answers on the fast path`);
  const out = Buffer.alloc(2048);
  const question = received(queries[0] as Buffer);
  const asA = Buffer.from(question.question);
  asA[asA.length - 3] = TYPE_A;
  const ask = (bytes: Buffer) => answerOf({ question: bytes, flags: 0x100, dnssecOk: false }).answer;
  const [aaaa, a] = [ask(question.question), ask(asA)];
  if (aaaa === null || a === null) throw new Error('the answer cannot be read');
  const finished = answerer.answer(question, policy) as Reply;

  let turn = 0;
  const next = (from: readonly Buffer[]) => {
    turn = (turn + 7) % NAMES;
    return from[turn] as Buffer;
  };
  let octets = 0;
  const respond = (from: readonly Buffer[]) => {
    for (let i = 0; i < BATCH; i++) {
      const query = next(from);
      octets += fastPath.respond(query, query.length, 0, LIMIT, out, 0);
    }
  };
  const times = (once: (query: Buffer) => unknown) => () => {
    for (let i = 0; i < BATCH; i++) once(next(queries));
  };
  const one = queries.slice(0, 1);
  // A cache as small as this one holds none of the names by the time they come again.
  const small = make(256 * 1024);
  const paths: Record<string, () => void> = {
    'fast path: one name': () => {
      for (let i = 0; i < BATCH; i++) {
        const query = one[0] as Buffer;
        octets += fastPath.respond(query, query.length, 0, LIMIT, out, 0);
      }
    },
    [`fast path: ${NAMES} names`]: () => respond(queries),
    [`fast path: ${NAMES} names, EDNS`]: () => respond(withEdns),
    'fast path: a name that is not there': () => respond(missing),
    receiveQuery: times((bytes) => receiveQuery(bytes)),
    'parseMessage, an answer': times(() => parseMessage(a.bytes)),
    synthesize: times(() => synthesize(question, aaaa, a, 0, policy)),
    finishReply: times(() => finishReply(question, finished, LIMIT)),
    'cached question: resolver': times(() =>
      resolver.ask({ question: question.question, flags: 0x100, dnssecOk: false }),
    ),
    'cached: receive, answer, finish': times((bytes) => {
      const query = received(bytes);
      return finishReply(query, answerer.answer(query, policy) as Reply, LIMIT);
    }),
    'every name new: receive, ask twice, keep, synthesize, finish': times((bytes) => {
      const query = received(bytes);
      return finishReply(query, small.answerer.answer(query, policy) as Reply, LIMIT);
    }),
  };
  const measured = await timeParts(
    'DNS, a query',
    Object.entries(paths).map(([name, run]) => ({ name, count: BATCH, run })),
  );
  if (octets === 0) throw new Error('nothing was answered');
  return measured;
}

/** Why a name got the answer it got: a query is answered as any other, and every step on the way is put into words. */
import {
  address6At,
  formatAddress4,
  formatAddress6,
  formatPrefix6,
  prefix6Contains,
} from '../../wire/address.js';
import { showForwarder } from '../config/forwarder.js';
import type { AnswerEvent, Answerer, LocalReason } from './answer.js';
import { rcodeOf, saysDnssecFailed } from './edns.js';
import { specialRfc } from './local-zones.js';
import {
  ANSWER,
  AUTHORITY,
  CLASS_IN,
  type DnsMessage,
  FLAG_CD,
  FLAG_RD,
  foldName,
  parseMessage,
  RCODE_NOERROR,
  RCODE_NXDOMAIN,
  TYPE_A,
  TYPE_AAAA,
  TYPE_SOA,
} from './message.js';
import type { Policy } from './policy.js';
import type { Query } from './query.js';
import type { ResolverAnswer } from './resolve.js';
import {
  ipv4Of,
  isExcludedIpv4,
  isKeptFrom,
  isKeptSigned,
  prefixesOf,
  terminalRecords,
} from './synthesize.js';
import { nameText, parseName, parseType, rcodeText, recordText, typeText } from './text.js';
import type { Question } from './upstream.js';

export interface ExplainStep {
  readonly step: AnswerEvent['kind'] | 'ttl' | 'excluded';
  readonly text: string;
  /** What demands it. */
  readonly rfc?: string;
}

export interface Explanation {
  /** `www.example AAAA` */
  readonly question: string;
  readonly steps: readonly ExplainStep[];
  /** `NOERROR` … */
  readonly rcode: string;
  /** All sections, one record a line. */
  readonly records: readonly string[];
}

export interface ExplainOptions {
  readonly dnssecOk?: boolean;
  readonly checkingDisabled?: boolean;
  /** The address of who asks: what he gets. Left out: what [dns64] says where it is about nobody else. */
  readonly client?: string;
}

/**
 * Answers a query of class IN and tells how.
 * @param type `AAAA`, `TYPE28` …
 * @throws Error where name or type are none
 */
export async function explainName(
  answerer: Answerer,
  policy: Policy,
  name: string,
  type: string,
  options: ExplainOptions = {},
): Promise<Explanation> {
  const wire = parseName(name);
  const qtype = parseType(type);
  if (wire === null) throw new Error(`'${name}' is not a domain name`);
  if (qtype === null) throw new Error(`'${type}' is not a record type; give one such as AAAA, PTR or TYPE65`);
  const fixed = Buffer.from([qtype >> 8, qtype & 255, 0, CLASS_IN]);
  const query: Query = {
    id: 0,
    flags: FLAG_RD | (options.checkingDisabled === true ? FLAG_CD : 0),
    question: Buffer.concat([Buffer.from(wire, 'latin1'), fixed]),
    name: foldName(wire),
    qtype,
    qclass: CLASS_IN,
    edns: { udpSize: 1232, version: 0, dnssecOk: options.dnssecOk === true },
  };
  const steps: ExplainStep[] = [];
  const reply = await answerer.answer(query, policy, (event) => steps.push(...stepsOf(event, query, policy)));
  const message = parseMessage(reply.body);
  return {
    question: `${nameText(wire)} ${typeText(qtype)}`,
    steps,
    rcode: rcodeText(reply.rcode),
    records: message === null ? [] : message.records.map((record) => recordText(message, record)),
  };
}

function stepsOf(event: AnswerEvent, query: Query, policy: Policy): ExplainStep[] {
  const step = (text: string, rfc?: string): ExplainStep => ({
    step: event.kind,
    text,
    ...(rfc === undefined ? {} : { rfc }),
  });
  switch (event.kind) {
    case 'local':
      return [step(...LOCAL[event.why](event.name))];
    case 'relayed':
      return [step(...RELAYED[event.why])];
    case 'cache':
      return [step(`${questionText(event.question)}: ${cacheText(event.state, event.leftSec)}`)];
    case 'asked': {
      const how = event.shared
        ? 'is being asked already, waiting with those who asked'
        : 'forwarders are asked';
      return [step(`${questionText(event.question)}: ${how}`)];
    }
    case 'came': {
      const tookMs = Math.round(event.tookMs);
      return [step(`${questionText(event.question)}: ${resultText(event.result)}, after ${tookMs} ms`)];
    }
    case 'aaaa-silent':
      return [
        event.isOver
          ? step(`no answer to AAAA in ${event.afterMs} ms: as a server failure`, 'RFC 6147 section 5.1.3')
          : step(`no answer to AAAA in ${event.afterMs} ms: A is asked beside it`),
      ];
    case 'targets':
      return [
        event.done
          ? step('AAAA records are made for targets that have only A', 'RFC 9460 section 4.2.1')
          : step('no target with only an A record: passed on'),
      ];
    case 'scoped':
      return [step('the address is one of a scope: its host is looked for under the other prefix')];
    case 'reverse':
      return [
        step(
          `the address that the name stands for embeds ${formatAddress4(event.ipv4)}`,
          'RFC 6147 section 5.3.1.2',
        ),
      ];
    case 'verdict':
      return verdictSteps(event, query, policy);
    case 'synthesis':
      return synthesisSteps(event, query, policy);
  }
}

const LOCAL: Record<LocalReason, (name: string) => [string, string | undefined]> = {
  special: (name) => ['answered from the configuration, nobody asked', specialRfc(name)],
  private: () => [
    'of a private zone, which private-zones keeps from the forwarders: nobody asked',
    'RFC 6303 section 4',
  ],
  'no-address': () => [
    'under a prefix, but no address that is made of an IPv4 one: it does not exist, nobody asked',
    'RFC 6052 section 2.2',
  ],
};

const RELAYED: Record<Extract<AnswerEvent, { kind: 'relayed' }>['why'], [string, string?]> = {
  type: ['neither an AAAA query nor a reverse name under our prefixes: forwarded', 'RFC 6147 section 5.1'],
  class: ['classes other than IN are forwarded', 'RFC 6147 section 5.1'],
  client: ['synthesis is off for this client: forwarded'],
  'excluded-name': ['the name is one of exclude-names: forwarded'],
  'checking-disabled': ['CD=1: the client validates, and gets what the servers say', 'RFC 6147 section 5.5'],
};

function questionText({ question }: Question): string {
  const name = question.toString('latin1', 0, question.length - 4);
  return `${nameText(name)} ${typeText(question.readUInt16BE(question.length - 4))}`;
}

function cacheText(state: string, leftSec: number): string {
  const texts: Record<string, string> = {
    off: 'there is no cache',
    nothing: 'not in the cache',
    fresh: `in the cache, for ${leftSec} s more`,
    stale: 'in the cache, but its time is over',
    failure: `failed lately; not asked again for ${leftSec} s (RFC 9520)`,
  };
  return texts[state] ?? state;
}

function resultText({ answer, failure, errors, forwarder }: ResolverAnswer): string {
  if (answer === null) return `no answer (${failure})`;
  const count = answer.records.filter((record) => record.section === ANSWER).length;
  const stale = errors.length > 0 ? ', kept from before' : '';
  const from = forwarder === undefined ? '' : ` from ${showForwarder(forwarder)}`;
  return `${rcodeText(rcodeOf(answer))}${from}, ${count} ${count === 1 ? 'record' : 'records'} in the answer section${stale}`;
}

/** 5.1.1 to 5.1.4 in words. */
function verdictSteps(
  event: Extract<AnswerEvent, { kind: 'verdict' }>,
  query: Query,
  policy: Policy,
): ExplainStep[] {
  const { verdict, aaaa } = event;
  const { answer } = aaaa;
  const step = (text: string, section: string): ExplainStep => ({
    step: 'verdict',
    text,
    rfc: `RFC 6147 section ${section}`,
  });
  if (answer === null) return [step('no answer to AAAA is as an empty one: A is asked', '5.1.3')];
  const rcode = rcodeOf(answer);
  if (rcode === RCODE_NXDOMAIN) return [step('the name does not exist: passed on, A is not asked', '5.1.2')];
  if (rcode !== RCODE_NOERROR) {
    return [
      saysDnssecFailed(answer)
        ? step('the data failed validation: passed on, never replaced', '5.5')
        : step(`${rcodeText(rcode)} for AAAA is as an empty answer: A is asked`, '5.1.2'),
    ];
  }
  if (isKeptSigned(query, answer, policy)) {
    return [step('signed, asked for with DO=1, and break-dnssec is false: passed on', '5.5')];
  }
  if (policy.ignoreAaaa.has(query.name)) {
    return [step('the name is one of ignore-aaaa: its AAAA records count as absent, A is asked', '5.1.4')];
  }
  const steps: ExplainStep[] = [];
  for (const record of terminalRecords(answer, TYPE_AAAA)) {
    const address = address6At(answer.bytes, record.rdataAt);
    const prefix = policy.excludedAaaa.find((one) => prefix6Contains(one, address));
    if (prefix === undefined) continue;
    const text = `${formatAddress6(address)} lies in ${formatPrefix6(prefix)}, which is excluded: treated as absent`;
    steps.push({ step: 'excluded', text, rfc: 'RFC 6147 section 5.1.4' });
  }
  const texts = {
    pass: step('the name has AAAA records: passed on, nothing is synthesized', '5.1.1'),
    filter: step('what is left of the AAAA records is passed on', '5.1.4'),
    'ask-a': step('no AAAA record to use: A is asked', '5.1.6'),
  };
  return [...steps, texts[verdict]];
}

/** 5.1.6 and 5.1.7 in words. */
function synthesisSteps(
  event: Extract<AnswerEvent, { kind: 'synthesis' }>,
  query: Query,
  policy: Policy,
): ExplainStep[] {
  const { a, aaaa, turn, done } = event;
  const step = (text: string, rfc: string): ExplainStep => ({ step: 'synthesis', text, rfc });
  const { answer } = a;
  if (answer === null)
    return [step(`not synthesized: no answer to A (${a.failure})`, 'RFC 6147 section 5.1.6')];
  const rcode = rcodeOf(answer);
  if (rcode !== RCODE_NOERROR) {
    return [step(`not synthesized: A failed with ${rcodeText(rcode)}`, 'RFC 6147 section 5.1.6')];
  }
  const found = terminalRecords(answer, TYPE_A);
  if (found.length === 0) {
    return [step('not synthesized: the name has no A record either', 'RFC 6147 section 5.1.6')];
  }
  const ipv4s = found.map((record) => ipv4Of(answer, record));
  const addresses = ipv4s.map(formatAddress4).join(', ');
  if (!done && isKeptSigned(query, answer, policy)) {
    return [step('not synthesized: A is signed, DO=1, and break-dnssec is false', 'RFC 6147 section 5.5')];
  }
  if (!done) {
    const under = policy.pref64s.map(({ prefix }) => formatPrefix6(prefix)).join(', ');
    const text = `not synthesized: under ${under} ${addresses} must not be represented`;
    if (ipv4s.every((ipv4) => isExcludedIpv4(ipv4, policy)))
      return [{ step: 'synthesis', text: `${text} (exclude-ipv4)` }];
    const isWellKnown = policy.pref64s.some(({ prefix }) =>
      ipv4s.some((ipv4) => isKeptFrom(prefix, ipv4, policy)),
    );
    return [isWellKnown ? step(text, 'RFC 6052 section 3.1') : { step: 'synthesis', text }];
  }
  const used = new Set(prefixesOf(ipv4s, turn, policy).flat().map(formatPrefix6));
  const which = {
    'round-robin': 'the prefix whose turn it is',
    mapped: 'the first that is for them',
    all: 'all that may represent them',
  }[policy.choice];
  const aTtl = Math.min(...found.map((record) => record.ttl));
  return [
    step(
      `AAAA records made of ${addresses} under ${[...used].join(', ')}, ${policy.pref64s.length > 1 ? which : 'the prefix'}`,
      'RFC 6147 section 5.1.7',
    ),
    { step: 'ttl', text: ttlText(aTtl, aaaa?.answer ?? null), rfc: 'RFC 6147 section 5.1.7' },
  ];
}

function ttlText(aTtl: number, aaaa: DnsMessage | null): string {
  const soa = aaaa?.records.find((record) => record.section === AUTHORITY && record.type === TYPE_SOA);
  if (aaaa === null || soa === undefined) {
    return `TTL ${Math.min(aTtl, 600)}: the least of the A's ${aTtl} and 600, since no SOA came with the AAAA answer`;
  }
  const minimum = aaaa.bytes.readUInt32BE(soa.rdataAt + soa.rdataLength - 4);
  const least = Math.min(aTtl, soa.ttl, minimum);
  return `TTL ${least}: the least of the A's ${aTtl}, the SOA's ${soa.ttl} and its minimum ${minimum}`;
}

/**
 * Runs scenario files: what the name servers upstream say, what a client asks, and what it gets. A file is lines of words;
 * `;` begins a comment, empty lines and indentation mean nothing to the program.
 *
 *   scenario 5.1.2 NXDOMAIN is passed on           begins one; its title
 *   config pref64 64:ff9b::/96                     keys: pref64, wkpf-strict, times short (where somebody is silent)
 *   toml exclude-names = ["corp.example"]          a line of [dns64], or of a table that such a line begins
 *
 *   server www.example AAAA                        what the server says to this question; `server *`: to all others.
 *     rcode NXDOMAIN                               Default NOERROR, or NXDOMAIN for a question that no line is about
 *     flags AA AD                                  beside QR, RD and RA
 *     answer www.example 300 A 192.0.2.1           a record: name, TTL, type, data. Of SOA the data is the minimum, of RRSIG the
 *     authority example 900 SOA 120                type that it covers; the rest of these is fixed
 *     additional ns.example 300 A 192.0.2.53
 *     ede 6                                        an extended error (RFC 8914)
 *     truncated                                    TC=1 over UDP
 *     delay 50                                     milliseconds
 *     silent                                       no answer at all
 *
 *   query www.example AAAA [CLASS]                 what the client asks
 *     with CD DO edns=1232 tcp                     flags of the query; DO and edns=SIZE bring an OPT; over TCP
 *   reply NOERROR                                  what it gets, whole: records that are not written here must not be there
 *     flags RD RA                                  exactly these, if the line is there
 *     answer, authority, additional, ede           as above
 *     asked www.example AAAA udp                   what the server was asked since the last reply: all of it, in order, if any is
 *                                                  written here; the transport may be left out. `asked nothing`: nothing
 *
 * Queries of a scenario are asked one after another, of the same running server, which has no cache: TTLs are as they come. Each
 * scenario has its own.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  AA,
  AD,
  type Ask,
  CD,
  decodeReply,
  encodeQuery,
  type GatewayOptions,
  gateway,
  IMPATIENT,
  RA,
  RD,
  type Script,
  type Scripted,
  sendTcp,
  TC,
} from '../conformance/rfc6147/harness.js';
import { names } from '../conformance/rfc6147/names.js';

const FLAGS: Readonly<Record<string, number>> = { AA, TC, RD, RA, AD, CD };
const RCODES = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED'];

interface Expected {
  rcode: number;
  flags: number | null;
  answer: string[];
  authority: string[];
  additional: string[];
  errors: number[];
  /** Null: whatever. */
  asked: string[] | null;
}

interface Step {
  line: number;
  ask: Ask;
  tcp: boolean;
  expected: Expected | null;
}

export interface Scenario {
  title: string;
  line: number;
  options: GatewayOptions;
  toml: string[];
  script: Script;
  steps: Step[];
}

function flagBits(words: readonly string[]): number {
  return words.reduce((bits, word) => {
    const bit = FLAGS[word];
    if (bit === undefined) throw new Error(`no flag '${word}'`);
    return bits | bit;
  }, 0);
}

function rcodeNumber(word = ''): number {
  const rcode = /^[0-9]+$/.test(word) ? Number(word) : RCODES.indexOf(word);
  if (rcode < 0) throw new Error(`no rcode '${word}'`);
  return rcode;
}

const CONFIG: Readonly<Record<string, (value: string) => GatewayOptions>> = {
  pref64: (pref64) => ({ pref64 }),
  'wkpf-strict': (value) => ({ wkpfStrict: value === 'true' }),
  times: () => IMPATIENT,
};

function serverLine(scripted: Scripted, keyword: string, words: string[]): boolean {
  const rest = words.join(' ');
  if (keyword === 'rcode') scripted.rcode = rcodeNumber(rest);
  else if (keyword === 'flags') scripted.flags = flagBits(words);
  else if (keyword === 'answer' || keyword === 'authority' || keyword === 'additional') {
    const records = scripted[keyword] ?? [];
    scripted[keyword] = [...records, rest];
  } else if (keyword === 'ede') scripted.extendedError = Number(rest);
  else if (keyword === 'truncated') scripted.truncate = true;
  else if (keyword === 'delay') scripted.delayMs = Number(rest);
  else if (keyword === 'silent') scripted.silent = true;
  else return false;
  return true;
}

function queryLine(step: Step, keyword: string, words: string[]): boolean {
  if (keyword !== 'with') return false;
  for (const word of words) {
    const size = /^edns=([0-9]+)$/.exec(word)?.[1];
    if (size !== undefined) step.ask.edns = Number(size);
    else if (word === 'DO') {
      step.ask.dnssecOk = true;
      step.ask.edns ??= 1232;
    } else if (word === 'tcp') step.tcp = true;
    else step.ask.flags = (step.ask.flags ?? RD) | flagBits([word]);
  }
  return true;
}

function replyLine(expected: Expected, keyword: string, words: string[]): boolean {
  const rest = words.join(' ');
  if (keyword === 'flags') expected.flags = flagBits(words);
  else if (keyword === 'answer' || keyword === 'authority' || keyword === 'additional')
    expected[keyword].push(rest);
  else if (keyword === 'ede') expected.errors.push(...words.map(Number));
  else if (keyword === 'asked') {
    expected.asked ??= [];
    if (rest !== 'nothing') expected.asked.push(rest);
  } else return false;
  return true;
}

/** Reads the scenarios of a file. Throws an error that names file and line. */
export function readScenarios(text: string, file: string): Scenario[] {
  const scenarios: Scenario[] = [];
  let take: (keyword: string, words: string[]) => boolean = () => false;
  const begin = (keyword: string, words: string[], line: number): void => {
    if (keyword === 'scenario') {
      scenarios.push({ title: words.join(' '), line, options: {}, toml: [], script: {}, steps: [] });
      take = () => false;
      return;
    }
    const scenario = scenarios.at(-1);
    if (scenario === undefined) throw new Error(`'${keyword}' before the first scenario`);
    const [first = '', second = '', third] = words;
    if (keyword === 'config') {
      const option = CONFIG[first]?.(second);
      if (option === undefined) throw new Error(`no config '${first}'`);
      scenario.options = { ...scenario.options, ...option };
    } else if (keyword === 'toml') {
      scenario.toml.push(words.join(' '));
    } else if (keyword === 'server') {
      const scripted: Scripted = {};
      scenario.script[first === '*' ? first : `${first} ${second}`] = scripted;
      take = (word, rest) => serverLine(scripted, word, rest);
    } else if (keyword === 'query') {
      const ask: Ask = { name: first, type: second, ...(third === undefined ? {} : { class: third }) };
      const step: Step = { line, ask, tcp: false, expected: null };
      scenario.steps.push(step);
      take = (word, rest) => queryLine(step, word, rest);
    } else if (keyword === 'reply') {
      const step = scenario.steps.at(-1);
      if (step === undefined || step.expected !== null) throw new Error("'reply' without a query");
      const sections = { answer: [], authority: [], additional: [] };
      const expected = { rcode: rcodeNumber(first), flags: null, ...sections, errors: [], asked: null };
      step.expected = expected;
      take = (word, rest) => replyLine(expected, word, rest);
    } else throw new Error(`'${keyword}' means nothing here`);
  };
  for (const [i, raw] of text.split('\n').entries()) {
    const words = raw.replace(/;.*/, '').trim().split(/\s+/);
    const [keyword = '', ...rest] = words;
    if (keyword === '') continue;
    try {
      if (!take(keyword, rest)) begin(keyword, rest, i + 1);
    } catch (error) {
      throw new Error(`${file}:${i + 1}: ${(error as Error).message}`);
    }
  }
  const bad = scenarios.find(
    ({ steps }) => steps.length === 0 || steps.some((step) => step.expected === null),
  );
  if (bad !== undefined) throw new Error(`${file}:${bad.line}: a scenario needs queries, each with a reply`);
  return scenarios;
}

/** Plays a scenario with the real server on loopback. Rejects with an AssertionError that names file and line. */
export async function runScenario({ script, options, toml, steps }: Scenario, file: string): Promise<void> {
  const gate = await gateway(script, { ...options, names: names(toml.join('\n')) });
  try {
    let seen = 0;
    for (const { line, ask, tcp, expected } of steps) {
      const query = encodeQuery(ask);
      const bytes = tcp ? (await sendTcp(gate.port, [query], 1))[0] : await gate.send(query);
      assert.ok(bytes, `${file}:${line}: no reply`);
      const reply = decodeReply(bytes);
      const { asked } = gate.server;
      const transports = (expected?.asked ?? []).map((text) => text.split(' ').length > 2);
      const askedSince = asked
        .slice(seen)
        .map(({ name, type, transport }, i) => `${name} ${type}${transports[i] ? ` ${transport}` : ''}`);
      seen = asked.length;
      const found: Expected = {
        rcode: reply.rcode,
        flags: expected?.flags === null ? null : reply.flags,
        answer: reply.answer,
        authority: reply.authority,
        additional: reply.additional,
        errors: reply.opt?.errors ?? [],
        asked: expected?.asked === null ? null : askedSince,
      };
      assert.deepEqual(found, expected, `${file}:${line}`);
      assert.equal(reply.question, `${ask.name} ${ask.type}`, `${file}:${line}`);
      assert.equal(reply.opt !== null, ask.edns !== undefined, `${file}:${line}: OPT`);
    }
  } finally {
    await gate.close();
  }
  assert.equal(gate.dns64.stats.pending + gate.dns64.stats.upstreamPending, 0);
}

/** Makes a test of each scenario of a folder's `.txt` files. */
export function testScenarios(folder: string): void {
  const files = readdirSync(folder).filter((name) => name.endsWith('.txt'));
  assert.ok(files.length > 0, `no scenarios in ${folder}`);
  for (const file of files.sort()) {
    for (const scenario of readScenarios(readFileSync(join(folder, file), 'utf8'), file)) {
      test(`${file}: ${scenario.title}`, () => runScenario(scenario, file));
    }
  }
}

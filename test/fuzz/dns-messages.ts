/** DNS messages from random numbers: queries of clients, answers of forwarders, and both gone wrong. */
import dnsPacket from 'dns-packet';
import { AD, CD, encodeQuery, RA, RD, record } from '../conformance/rfc6147/harness.js';
import { mutate } from './mutate.js';
import type { Random } from './random.js';

const NAMES = [
  'www.example',
  'a.example',
  'b.example',
  'example',
  'ipv4only.arpa',
  'localhost',
  '_dns.resolver.arpa',
  `${'a'.repeat(63)}.${'b'.repeat(63)}.${'c'.repeat(63)}.${'d'.repeat(59)}`,
  `1.0.2.0.0.0.0.c.${'0.'.repeat(12)}4.6.0.0.8.b.d.0.1.0.0.2.ip6.arpa`,
  '1.2.0.192.in-addr.arpa',
  '1.0.0.10.in-addr.arpa',
];
const TYPES = ['AAAA', 'AAAA', 'AAAA', 'A', 'PTR', 'TXT', 'ANY', 'CNAME', 'DS', 'AXFR', 'HTTPS'];
const OPTIONS = [
  Buffer.from('000a00080102030405060708', 'hex'),
  Buffer.from('000a0018010203040506070801000000000000000102030405060708', 'hex'),
  Buffer.from('000a0007010203040506 07'.replaceAll(' ', ''), 'hex'),
  Buffer.from('000c0004 00000000'.replaceAll(' ', ''), 'hex'),
  Buffer.from('000f0002 0006'.replaceAll(' ', ''), 'hex'),
  Buffer.from('0008000700011800c00002', 'hex'),
];
const WORDS = [
  ...OPTIONS,
  Buffer.from('c00c', 'hex'),
  Buffer.from('c0ff', 'hex'),
  Buffer.from('00002904d0000080000000', 'hex'),
  Buffer.from('c00c00010001000000050004c0000201', 'hex'),
  Buffer.from('c00c001c000100000005001020010db8000000000000000000000001', 'hex'),
  Buffer.from('c00c00050001000000050002c00c', 'hex'),
  Buffer.from('c00c002700010000000500020000', 'hex'),
  Buffer.from('c00c004100010000000500070001000004000401', 'hex'),
];

let queries: Buffer[] | undefined;

/** One for each way to ask; made once. */
function allQueries(): Buffer[] {
  queries ??= NAMES.flatMap((name) =>
    TYPES.flatMap((type) =>
      [undefined, 512, 1232, 65535].flatMap((edns) => {
        if (edns === undefined) return [encodeQuery({ name, type })];
        const asked = encodeQuery({
          name,
          type,
          edns,
          dnssecOk: edns === 512,
          flags: RD | (edns === 65535 ? CD | AD : 0),
        });
        return [asked, ...OPTIONS.map((option) => withOption(asked, option))];
      }),
    ),
  );
  return queries;
}

function withOption(query: Buffer, option: Buffer): Buffer {
  const bytes = Buffer.concat([query, option]);
  bytes.writeUInt16BE(option.length, query.length - 2);
  return bytes;
}

/** @param isRight one that is asked as it should be */
export function query(random: Random, isRight = false): Buffer {
  const asked = Buffer.from(random.pick(allQueries()));
  asked.writeUInt16BE(random.below(65536), 0);
  if (isRight || random.oneIn(4)) return asked;
  if (random.oneIn(30)) return random.bytes(random.below(100));
  return mutate(random, asked, WORDS);
}

const TTLS = ['0', '1', '300', '2147483647', '4294967295'];
const DATA = [
  'A 192.0.2.1',
  'A 10.0.0.1',
  'A 127.0.0.1',
  'AAAA 2001:db8::1',
  'AAAA 64:ff9b::1',
  'AAAA ::ffff:1.2.3.4',
  'TXT x',
  'CNAME',
  'CNAME',
  'DNAME',
  'NS',
  'PTR',
  'SOA 60',
  'SOA 4294967295',
  'RRSIG AAAA',
  'MX 10 a.example',
];
let answers: Buffer[] | undefined;

/** Some thousand answers, without their questions; made once. */
function allAnswers(random: Random): Buffer[] {
  if (answers !== undefined) return answers;
  answers = [];
  const section = () =>
    Array.from({ length: random.below(4) }, () => {
      const data = random.pick(DATA);
      const target = data.includes(' ') ? '' : ` ${random.pick(NAMES.slice(0, 4))}`;
      return record(`${random.pick(NAMES.slice(0, 4))} ${random.pick(TTLS)} ${data}${target}`);
    });
  const opt = { type: 'OPT', name: '.', udpPayloadSize: 4096, flags: 0, options: [] } as never;
  for (let i = 0; i < 3000; i++) {
    const additionals = section();
    answers.push(
      dnsPacket.encode({
        type: 'response',
        flags: RD | RA | random.pick([0, 0, 0, 0, 2, 3, 4, 5, 9]),
        questions: [{ name: 'q', type: 'A' }],
        answers: section(),
        authorities: section(),
        additionals: random.oneIn(2) ? [...additionals, opt] : additionals,
      }),
    );
  }
  return answers;
}

/** Length of the question that `allAnswers` have. */
const QUESTION = 7;

/** What a forwarder says: a recipe that `answerTo` turns into octets when the question is known. */
export function answer(random: Random): Buffer {
  const bytes = Buffer.from(random.pick(allAnswers(random)));
  if (random.oneIn(5)) bytes[2]! |= 2;
  return random.oneIn(3) ? bytes : mutate(random, bytes, WORDS);
}

/** An answer made one to this query: its id and, where there is room for one, its question; names that point change with it. */
export function answerTo(asked: Buffer, said: Buffer): Buffer {
  const end = questionEnd(asked);
  const bytes = Buffer.concat([said.subarray(0, 12), asked.subarray(12, end), said.subarray(12 + QUESTION)]);
  bytes.set(asked.subarray(0, 2));
  return bytes;
}

/** Of a query that we have sent ourselves. */
export function questionEnd(asked: Buffer): number {
  let at = 12;
  while (asked[at] !== 0) at += 1 + (asked[at] as number);
  return at + 5;
}

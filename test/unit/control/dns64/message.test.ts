import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import dnsPacket from 'dns-packet';
import fc from 'fast-check';
import {
  ANSWER,
  foldName,
  hasQuestion,
  isAtOrBelow,
  MAX_MESSAGE,
  nameOf,
  parseMessage,
  readName,
  skipName,
  TYPE_OPT,
} from '#nat64d/control/dns64/message.js';
import { MessageWriter } from '#nat64d/control/dns64/writer.js';

/** A header, zeros for flags, with these counts. */
function header(...counts: [number, number, number, number]): Buffer {
  const bytes = Buffer.alloc(12);
  for (const [i, count] of counts.entries()) bytes.writeUInt16BE(count, 4 + 2 * i);
  return bytes;
}
const at12 = (...octets: number[]) => Buffer.concat([Buffer.alloc(12), Buffer.from(octets)]);
const QUESTION = Buffer.from(`${nameOf('www.example')}\0\x1c\0\x01`, 'latin1');

describe('names (RFC 1035 section 4.1.4)', () => {
  const NAMES: [string, Buffer, number][] = [
    ['the root', at12(0), 13],
    ['labels', at12(1, 0x61, 1, 0x62, 0), 17],
    ['a label of 63 octets', at12(63, ...new Array(63).fill(0x61), 0), 77],
    ['a name of 255 octets', at12(...new Array(127).fill([1, 0x61]).flat(), 0), 267],
    ['a pointer back', Buffer.concat([at12(1, 0x61, 0), Buffer.from([1, 0x62, 0xc0, 12])]), 19],
    ['octets that are no letters', at12(3, 0, 0xff, 0x2e, 0), 17],
  ];
  for (const [what, bytes, end] of NAMES) {
    it(`accepts ${what}`, () => assert.equal(skipName(bytes, end === 19 ? 15 : 12), end));
  }

  const MALFORMED: [string, Buffer][] = [
    ['nothing', at12()],
    ['a label cut short', at12(5, 0x61)],
    ['a name without its root', at12(1, 0x61)],
    ['half a pointer', at12(0xc0)],
    ['a pointer to itself', at12(0xc0, 12)],
    ['a pointer forward', at12(0xc0, 14, 0)],
    ['a pointer into the header', at12(0xc0, 4)],
    ['a pointer behind the end', at12(0xff, 0xff)],
    ['a label that points to its own name', at12(1, 0x61, 0xc0, 12)],
    ['label type 01', at12(0x41, 0x61, 0)],
    ['label type 10', at12(0x81, 0x61, 0)],
    ['a name of 256 octets', at12(...new Array(126).fill([1, 0x61]).flat(), 2, 0x61, 0x61, 0)],
    [
      'a name of 256 octets of full labels',
      at12(...new Array(4).fill([63, ...new Array(63).fill(0)]).flat(), 0),
    ],
  ];
  for (const [what, bytes] of MALFORMED) {
    it(`refuses ${what}`, () => assert.equal(skipName(bytes, 12), -1));
  }

  it('walks a chain of pointers and refuses a loop of two', () => {
    const chain = at12(1, 0x61, 0, 0xc0, 12, 0xc0, 15);
    assert.equal(skipName(chain, 17), 19);
    assert.equal(readName(chain, 17), '\x01a\0');
    const loop = at12(1, 0x61, 0xc0, 16, 1, 0x62, 0xc0, 12);
    assert.equal(skipName(loop, 12), -1);
    assert.equal(skipName(loop, 16), -1);
  });

  it('reads octets, not text', () => {
    const bytes = at12(4, 0, 0xff, 0x2e, 0xc4, 0);
    assert.equal(readName(bytes, 12), '\x04\0\xff.\xc4\0');
  });

  it('folds ASCII letters only (RFC 4343)', () => {
    assert.equal(foldName('\x04AZaz\x03\xc0[@\0'), '\x04azaz\x03\xc0[@\0');
  });

  it('compares at label boundaries', () => {
    const zone = nameOf('example');
    assert.equal(isAtOrBelow(nameOf('example'), zone), true);
    assert.equal(isAtOrBelow(nameOf('a.b.example'), zone), true);
    assert.equal(isAtOrBelow(nameOf('xexample'), zone), false);
    // A label that ends in the octets of another name: the boundary is elsewhere.
    assert.equal(isAtOrBelow(`\x0aab${zone.slice(0, -1)}\0`, zone), false);
    assert.equal(isAtOrBelow(zone, '\0'), true);
  });
});

describe('messages', () => {
  const full = dnsPacket.encode({
    type: 'response',
    id: 7,
    questions: [{ name: 'www.example', type: 'A' }],
    answers: [
      { name: 'www.example', type: 'CNAME', ttl: 5, data: 'a.example' },
      { name: 'a.example', type: 'A', ttl: 5, data: '192.0.2.1' },
      { name: 'a.example', type: 'MX', ttl: 5, data: { preference: 1, exchange: 'b.example' } },
    ],
    authorities: [
      {
        name: 'example',
        type: 'SOA',
        ttl: 5,
        data: { mname: 'a', rname: 'b', serial: 1, refresh: 2, retry: 3, expire: 4, minimum: 5 },
      },
    ],
    additionals: [
      {
        name: '.',
        type: 'OPT',
        udpPayloadSize: 1232,
        flags: 0,
        options: [{ code: 10, data: Buffer.alloc(8) }],
      } as never,
    ],
  });

  it('reads what dns-packet writes', () => {
    const message = parseMessage(full)!;
    assert.equal(message.id, 7);
    assert.equal(message.end, full.length);
    assert.deepEqual(
      message.records.map((one) => [one.section, one.type, one.ttl]),
      [
        [0, 5, 5],
        [0, 1, 5],
        [0, 15, 5],
        [1, 6, 5],
        [2, TYPE_OPT, 0],
      ],
    );
    assert.equal(message.opt, message.records[4]);
  });

  it('refuses every truncation', () => {
    for (let length = 0; length < full.length; length++) {
      assert.equal(parseMessage(full.subarray(0, length)), null, `${length} bytes`);
    }
  });

  const rr = (type: number, cls: number, ttl: number, rdata: number[], length = rdata.length) =>
    Buffer.from([
      0,
      type >> 8,
      type & 255,
      cls >> 8,
      cls & 255,
      (ttl >>> 24) & 255,
      0,
      0,
      ttl & 255,
      length >> 8,
      length & 255,
      ...rdata,
    ]);
  const MALFORMED: [string, Buffer][] = [
    ['an A of 3 octets', Buffer.concat([header(0, 1, 0, 0), rr(1, 1, 0, [1, 2, 3])])],
    ['an A of 16 octets', Buffer.concat([header(0, 1, 0, 0), rr(1, 1, 0, new Array(16).fill(0))])],
    [
      'an A whose length leads out of the message',
      Buffer.concat([header(0, 1, 0, 0), rr(1, 1, 0, [1, 2, 3, 4], 400)]),
    ],
    ['an AAAA of 4 octets', Buffer.concat([header(0, 1, 0, 0), rr(28, 1, 0, [1, 2, 3, 4])])],
    ['a CNAME without a name', Buffer.concat([header(0, 1, 0, 0), rr(5, 1, 0, [])])],
    [
      'a CNAME that goes on behind its RDATA',
      Buffer.concat([header(0, 1, 0, 0), rr(5, 1, 0, [1, 0x61, 0], 2)]),
    ],
    ['a CNAME that points to itself', Buffer.concat([header(0, 1, 0, 0), rr(5, 1, 0, [0xc0, 23])])],
    ['an MX of one octet', Buffer.concat([header(0, 1, 0, 0), rr(15, 1, 0, [1])])],
    ['a SOA without its numbers', Buffer.concat([header(0, 1, 0, 0), rr(6, 1, 0, [0, 0])])],
    ['a SOA with an octet too many', Buffer.concat([header(0, 1, 0, 0), rr(6, 1, 0, new Array(23).fill(0))])],
    [
      'a NAPTR whose strings lead out of it',
      Buffer.concat([header(0, 1, 0, 0), rr(35, 1, 0, [0, 1, 0, 1, 200, 0, 0, 0])]),
    ],
    ['an OPT among the answers', Buffer.concat([header(0, 1, 0, 0), rr(41, 512, 0, [])])],
    ['two OPT', Buffer.concat([header(0, 0, 0, 2), rr(41, 512, 0, []), rr(41, 512, 0, [])])],
    ['an OPT with half an option', Buffer.concat([header(0, 0, 0, 1), rr(41, 512, 0, [0, 15, 0])])],
    ['an option longer than its OPT', Buffer.concat([header(0, 0, 0, 1), rr(41, 512, 0, [0, 15, 0, 9])])],
    ['an OPT below a name', Buffer.concat([header(0, 0, 0, 1), Buffer.from([1, 0x61]), rr(41, 512, 0, [])])],
    ['a count without its record', header(0, 0, 0, 1)],
    ['a question without type and class', Buffer.concat([header(1, 0, 0, 0), Buffer.from([0, 0, 1])])],
    ['a header cut short', Buffer.alloc(11)],
  ];
  for (const [what, bytes] of MALFORMED) {
    it(`refuses ${what}`, () => assert.equal(parseMessage(bytes), null));
  }

  it('reads a TTL with the highest bit set as 0 (RFC 2181 section 8)', () => {
    const bytes = Buffer.concat([header(0, 1, 0, 0), rr(1, 1, 0x80000001 | 0, [1, 2, 3, 4])]);
    assert.equal(parseMessage(bytes)!.records[0]!.ttl, 0);
  });

  it('finds the question whatever its letters, and no other', () => {
    const message = (text: string, type = 28) =>
      Buffer.concat([
        header(1, 0, 0, 0),
        Buffer.from(`${nameOf(text)}\0${String.fromCharCode(type)}\0\x01`, 'latin1'),
      ]);
    assert.equal(hasQuestion(message('WwW.eXample'), QUESTION), true);
    assert.equal(hasQuestion(message('www.exampld'), QUESTION), false);
    assert.equal(hasQuestion(message('www.example', 28 ^ 0x20), QUESTION), false);
    assert.equal(hasQuestion(message('www.examp\x4ce'), QUESTION), true);
    assert.equal(
      hasQuestion(message('[ww.example'), Buffer.from(`${nameOf('{ww.example')}\0\x1c\0\x01`, 'latin1')),
      false,
    );
    assert.equal(hasQuestion(header(1, 0, 0, 0), QUESTION), false);
  });
});

describe('any bytes', () => {
  const octets = fc.uint8Array({ maxLength: 600 });
  /** Bytes that look like a message: so that the walk goes deep. */
  const messageLike = fc
    .tuple(
      fc.array(fc.nat(3), { minLength: 4, maxLength: 4 }),
      fc.array(fc.oneof(fc.constantFrom(0, 1, 2, 5, 6, 12, 15, 28, 41, 0xc0, 12), fc.nat(255)), {
        maxLength: 300,
      }),
    )
    .map(([counts, rest]) =>
      Buffer.concat([header(...(counts as [number, number, number, number])), Buffer.from(rest)]),
    );

  /** Reads and writes all that the contract of message.ts allows. */
  function exercise(bytes: Buffer): void {
    const message = parseMessage(bytes);
    if (message === null || message.questionCount > 1) return;
    const writer = new MessageWriter(0, bytes.subarray(12, message.questionEnd));
    for (const record of message.records) {
      assert.ok(record.rdataAt + record.rdataLength <= bytes.length);
      assert.equal(readName(bytes, record.nameAt).at(-1), '\0');
      writer.copy(message, record);
    }
    const copy = writer.finish();
    if (copy === null) return;
    const again = parseMessage(copy);
    assert.ok(again !== null, 'what the writer writes can be read');
    assert.equal(again.end, copy.length);
    assert.deepEqual(
      again.records.map((one) => [
        one.section,
        foldName(readName(copy, one.nameAt)),
        one.type,
        one.class,
        one.ttl,
      ]),
      message.records.map((one) => [
        one.section,
        foldName(readName(bytes, one.nameAt)),
        one.type,
        one.class,
        one.ttl,
      ]),
    );
  }

  it('never throw', () => {
    fc.assert(
      fc.property(octets, (bytes) => exercise(Buffer.from(bytes))),
      { numRuns: 2000 },
    );
    fc.assert(fc.property(messageLike, exercise), { numRuns: 5000 });
  });

  it('and every octet changed of a real message', () => {
    const real = dnsPacket.encode({
      type: 'response',
      questions: [{ name: 'www.example', type: 'A' }],
      answers: [
        { name: 'www.example', type: 'CNAME', ttl: 5, data: 'a.example' },
        { name: 'a.example', type: 'SRV', ttl: 5, data: { port: 1, target: 'b.example' } },
      ],
      additionals: [{ name: '.', type: 'OPT', udpPayloadSize: 1232, flags: 0, options: [] } as never],
    });
    for (let at = 0; at < real.length; at++) {
      for (let value = 0; value < 256; value++) {
        const bytes = Buffer.from(real);
        bytes[at] = value;
        exercise(bytes);
      }
    }
  });
});

describe('agreement with dns-packet', () => {
  const label = fc.stringMatching(/^[a-zA-Z0-9-]{1,12}$/);
  const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'));
  const ttl = fc.nat(0x7fffffff);
  const answer = fc.oneof(
    fc.record({ name, ttl, type: fc.constant('A'), data: fc.ipV4() }),
    fc.record({ name, ttl, type: fc.constantFrom('CNAME', 'NS', 'PTR', 'DNAME'), data: name }),
    fc.record({ name, ttl, type: fc.constant('TXT'), data: fc.string({ maxLength: 40 }) }),
    fc.record({
      name,
      ttl,
      type: fc.constant('MX'),
      data: fc.record({ preference: fc.nat(65535), exchange: name }),
    }),
    fc.record({
      name,
      ttl,
      type: fc.constant('SRV'),
      data: fc.record({ priority: fc.nat(9), weight: fc.nat(9), port: fc.nat(65535), target: name }),
    }),
    fc.record({
      name,
      ttl,
      type: fc.constant('SOA'),
      data: fc.record({
        mname: name,
        rname: name,
        serial: fc.nat(),
        refresh: fc.nat(),
        retry: fc.nat(),
        expire: fc.nat(),
        minimum: fc.nat(),
      }),
    }),
  ) as fc.Arbitrary<dnsPacket.Answer>;
  const section = fc.array(answer, { maxLength: 6 });

  it('on what a message says, before and after the writer compressed it', () => {
    fc.assert(
      fc.property(name, section, section, section, (question, answers, authorities, additionals) => {
        const bytes = dnsPacket.encode({
          type: 'response',
          questions: [{ name: question, type: 'A' }],
          answers,
          authorities,
          additionals,
        });
        const message = parseMessage(bytes)!;
        assert.equal(message.end, bytes.length);
        assert.equal(message.records.length, answers.length + authorities.length + additionals.length);
        const writer = new MessageWriter(message.flags, bytes.subarray(12, message.questionEnd));
        for (const record of message.records) writer.copy(message, record);
        const copy = writer.finish()!;
        assert.ok(copy.length <= bytes.length, 'compressed');
        const [before, after] = [dnsPacket.decode(bytes), dnsPacket.decode(copy)];
        assert.deepEqual(after.questions, before.questions);
        assert.deepEqual(after.answers, before.answers);
        assert.deepEqual(after.authorities, before.authorities);
        assert.deepEqual(after.additionals, before.additionals);
      }),
      { numRuns: 500 },
    );
  });
});

describe('the writer', () => {
  it('keeps names whole when they stand behind the reach of a pointer', () => {
    const writer = new MessageWriter(0, QUESTION);
    const name = (i: number) => nameOf(`host-${i}.network-${i}.test`);
    for (let i = 0; i < 900; i++) writer.record(name(i), 1, 1, 5, Buffer.alloc(4, i), ANSWER);
    for (let i = 0; i < 900; i++) writer.record(name(i), 1, 1, 5, Buffer.alloc(4, i), ANSWER);
    const bytes = writer.finish()!;
    assert.ok(bytes.length > 0x4000);
    const message = parseMessage(bytes)!;
    assert.deepEqual(
      message.records.map((one) => readName(bytes, one.nameAt)),
      [...Array(1800).keys()].map((i) => name(i % 900)),
    );
  });

  it('says so when a message outgrows 65535 bytes', () => {
    const writer = new MessageWriter(0, QUESTION);
    const size = 12 + QUESTION.length;
    // 12 octets: a pointer to the name and the fixed fields.
    writer.record(nameOf('www.example'), 16, 1, 5, Buffer.alloc(MAX_MESSAGE - size - 12), ANSWER);
    assert.equal(writer.finish()?.length, MAX_MESSAGE);
    writer.record(nameOf('www.example'), 16, 1, 5, Buffer.alloc(0), ANSWER);
    assert.equal(writer.finish(), null);
    writer.nameRecord(nameOf('www.example'), 5, 1, 5, nameOf('www.example'), ANSWER);
    assert.equal(writer.finish(), null);
  });

  it('does not change the case of letters by compression', () => {
    const writer = new MessageWriter(0, QUESTION);
    writer.record(nameOf('WWW.example'), 1, 1, 5, Buffer.alloc(4), ANSWER);
    const bytes = writer.finish()!;
    assert.equal(readName(bytes, parseMessage(bytes)!.records[0]!.nameAt), nameOf('WWW.example'));
  });
});

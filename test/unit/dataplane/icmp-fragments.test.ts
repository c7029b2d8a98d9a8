import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { checksum, ipv4Frame, ipv6Frame } from '../../helpers/frames.js';
import { address6, Harness, HOST4, HOST6, type Outcome } from '../../helpers/harness.js';

const SERVER4 = '8.8.8.8';
const SERVER6 = '64:ff9b:1::8.8.8.8';
const PIECE = 1232;

function words(text: string): Buffer {
  const bytes = Buffer.alloc(16);
  for (const [i, word] of address6(text).entries()) bytes.writeInt32BE(word, 4 * i);
  return bytes;
}

/** An echo request with the checksum of its family. */
function echo(version: 4 | 6, size: number): Buffer {
  const message = Buffer.alloc(8 + size);
  message[0] = version === 4 ? 8 : 128;
  message.writeUInt32BE(0x00010002, 4);
  for (let i = 8; i < message.length; i++) message[i] = i * 7;
  const pseudo = Buffer.alloc(8);
  pseudo.writeUInt32BE(message.length, 0);
  pseudo[7] = 58;
  const covered = version === 4 ? [message] : [words(HOST6), words(SERVER6), pseudo, message];
  message.writeUInt16BE(checksum(...covered), 2);
  return message;
}

/** Its fragments as frames. */
function fragments(version: 4 | 6, message: Buffer, id: number): Buffer[] {
  const frames: Buffer[] = [];
  for (let from = 0; from < message.length; from += PIECE) {
    const piece = message.subarray(from, from + PIECE);
    const more = from + PIECE < message.length ? 1 : 0;
    if (version === 6) {
      const header = Buffer.alloc(8);
      header[0] = 58;
      header.writeUInt16BE(from | more, 2);
      header.writeUInt32BE(id, 4);
      frames.push(ipv6Frame(44, Buffer.concat([header, piece])));
    } else {
      const frame = ipv4Frame(1, piece, {
        source: SERVER4,
        destination: HOST4,
        fragment: (more << 13) | (from >> 3),
      });
      frame.writeUInt16BE(id, 4);
      frame.writeUInt16BE(0, 10);
      frame.writeUInt16BE(checksum(frame.subarray(0, 20)), 10);
      frames.push(frame);
    }
  }
  return frames;
}

/** Puts the ICMP message of translated fragments together, whatever their order. */
function reassemble(version: 4 | 6, outcomes: Outcome[]): Buffer {
  const whole = Buffer.alloc(70_000);
  let length = 0;
  for (const { bytes } of outcomes.flatMap((outcome) => outcome.frames)) {
    const packet = Buffer.from(bytes);
    const headers = version === 4 ? 20 : 48;
    const offset = version === 4 ? (packet.readUInt16BE(6) & 0x1fff) * 8 : packet.readUInt16BE(42) & ~7;
    packet.copy(whole, offset, headers);
    length = Math.max(length, offset + packet.length - headers);
  }
  return whole.subarray(0, length);
}

for (const version of [4, 6] as const) {
  const other = version === 4 ? 6 : 4;

  test(`RFC 7915 section 1.2: fragmented ICMP from IPv${version} is dropped and counted by default`, () => {
    const harness = new Harness();
    for (const frame of fragments(version, echo(version, 3000), 1)) {
      assert.equal(harness.send(frame).verdict, 'drop-icmp-fragment');
    }
  });

  test(`fragments of an echo from IPv${version}, in any order, become a whole one with a right checksum`, () => {
    fc.assert(
      fc.property(fc.integer({ min: 1300, max: 9000 }), fc.nat(), fc.nat(0xffff), (size, shuffle, id) => {
        const harness = new Harness({ settings: { icmpFragments: 'hold' } });
        const frames = fragments(version, echo(version, size), id);
        const order = frames.map((_, i) => (i * 7 + shuffle) % frames.length);
        const isPermutation = new Set(order).size === frames.length;
        const outcomes = (isPermutation ? order : [...frames.keys()]).map((i) =>
          harness.send(frames[i] as Buffer),
        );
        const message = reassemble(other, outcomes);
        assert.equal(message.length, size + 8);
        assert.equal(message[0], other === 4 ? 8 : 128);
        const pseudo = Buffer.alloc(8);
        pseudo.writeUInt32BE(message.length, 0);
        pseudo[7] = 58;
        const covered = other === 4 ? [message] : [words(SERVER6), words(HOST6), pseudo, message];
        assert.equal(checksum(...covered), 0);
        assert.deepEqual(message.subarray(8), echo(version, size).subarray(8));
      }),
      { numRuns: 100 },
    );
  });
}

test('a first fragment whose last never comes is dropped and counted after 5 seconds', () => {
  const harness = new Harness({ settings: { icmpFragments: 'hold' } });
  const [first] = fragments(6, echo(6, 3000), 1);
  assert.deepEqual(harness.send(first as Buffer), { verdict: 'forward', frames: [] });
  assert.equal(harness.count('held-icmp-fragments'), 1);
  harness.ctx.nowSec += 5;
  harness.ctx.fragments?.expire();
  assert.equal(harness.count('drop-icmp-fragment'), 0);
  harness.ctx.nowSec += 1;
  harness.ctx.fragments?.expire();
  assert.equal(harness.count('drop-icmp-fragment'), 1);
});

test('no more than 64 datagrams wait at a time', () => {
  const harness = new Harness({ settings: { icmpFragments: 'hold' } });
  const verdicts = Array.from(
    { length: 70 },
    (_, id) => harness.send(fragments(6, echo(6, 3000), id)[0] as Buffer).verdict,
  );
  assert.equal(verdicts.filter((verdict) => verdict === 'forward').length, 64);
  assert.equal(verdicts.filter((verdict) => verdict === 'drop-icmp-fragment').length, 6);
});

test('two hosts ping each other in fragments, by their IPv4 addresses', () => {
  const harness = new Harness({
    settings: { icmpFragments: 'hold' },
    hosts: [
      [HOST4, HOST6],
      ['10.64.9.9', '2001:db8:1::9'],
    ],
  });
  const message = echo(6, 3000);
  const peer = '64:ff9b:1::10.64.9.9';
  const pseudo = Buffer.alloc(8);
  pseudo.writeUInt32BE(message.length, 0);
  pseudo[7] = 58;
  message.writeUInt16BE(0, 2);
  message.writeUInt16BE(checksum(words(HOST6), words(peer), pseudo, message), 2);
  const frames = fragments(6, message, 9).map((frame) => {
    words(peer).copy(frame, 24);
    return frame;
  });
  const whole = reassemble(
    6,
    frames.map((frame) => harness.send(frame)),
  );
  assert.equal(checksum(words(`64:ff9b:1::${HOST4}`), words('2001:db8:1::9'), pseudo, whole), 0);
});

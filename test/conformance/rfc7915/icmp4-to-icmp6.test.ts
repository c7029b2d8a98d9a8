/** RFC 7915 sections 4.2 and 4.3: ICMPv4 to ICMPv6. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { check } from '../../helpers/checker.js';
import { Harness, HOST4, HOST6 } from '../../helpers/harness.js';
import { cut, echo, icmp, ipv4, tcp, udp } from '../../helpers/packet.js';

const ROUTER4 = '203.0.113.9';
const SERVER4 = '8.8.8.8';
const SERVER6 = '64:ff9b:1::808:808';

/** What our host had sent, as the router saw it. */
const quoted = ipv4({ src: HOST4, dst: SERVER4, ttl: 9, df: true }, tcp({ sport: 1234, dport: 80 }, 'hello'));
const error = (fields: Parameters<typeof icmp>[0], quote: Uint8Array = quoted) =>
  ipv4({ src: ROUTER4, dst: HOST4 }, icmp(fields, quote));

/** [type, code] in, [type, code, rest] out; null where the message is dropped. */
function expected(type: number, code: number): [number, number, number] | null {
  if (type === 3) {
    if ([0, 1, 5, 6, 7, 8, 11, 12].includes(code)) return [1, 0, 0];
    if (code === 2) return [4, 1, 6];
    if (code === 3) return [1, 4, 0];
    if (code === 4) return [2, 0, 1420];
    if ([9, 10, 13, 15].includes(code)) return [1, 1, 0];
  }
  if (type === 11) return [3, code, 0];
  // Pointer 0 where the test sets none.
  if (type === 12 && (code === 0 || code === 2)) return [4, 0, 0];
  return null;
}

for (let type = 0; type < 256; type++) {
  if (type === 0 || type === 8) continue;
  const codes = type === 3 ? 17 : type === 12 ? 4 : 3;
  for (let code = 0; code < codes; code++) {
    const out = expected(type, code);
    if (out === null && type > 20 && code > 0) continue;
    test(`RFC 7915 section 4.2: ICMPv4 ${type}/${code} ${out === null ? 'is dropped' : `becomes ICMPv6 ${out[0]}/${out[1]}`} [R7915-15]`, () => {
      const message = type === 3 && code === 4 ? error({ type, code, mtu: 1400 }) : error({ type, code });
      const { verdict, frames } = new Harness().send(message);
      if (out === null) {
        assert.equal(verdict, 'drop-icmp-type');
        assert.equal(frames.length, 0);
      } else {
        assert.equal(verdict, 'forward');
        check(frames[0]!.bytes, 6, {
          src: '64:ff9b:1::cb00:7109',
          dst: HOST6,
          upper: { kind: 'icmp', family: 6, type: out[0], code: out[1], rest: out[2] },
        });
      }
    });
  }
}

for (const reply of [false, true]) {
  test(`RFC 7915 section 4.2: an echo ${reply ? 'reply' : 'request'} keeps identifier, sequence number and data`, () => {
    const { frames } = new Harness().send(
      ipv4({ src: SERVER4, dst: HOST4 }, echo({ reply, id: 7, seq: 9 }, 'data')),
    );
    check(frames[0]!.bytes, 6, {
      src: SERVER6,
      dst: HOST6,
      upper: { kind: 'icmp', family: 6, type: reply ? 129 : 128, code: 0, rest: (7 << 16) | 9 },
    });
  });
}

test('RFC 7915 section 4.2: an echo with a bad checksum stays bad', () => {
  const { frames } = new Harness().send(
    ipv4({ src: SERVER4, dst: HOST4 }, echo({ checksum: 'wrong' }, 'data')),
  );
  check(frames[0]!.bytes, 6, { upper: { kind: 'icmp', checksum: 'bad' } });
});

const POINTERS: Record<number, number> = { 0: 0, 1: 1, 2: 4, 3: 4, 8: 7, 9: 6 };
for (let pointer = 0; pointer <= 24; pointer++) {
  const out = pointer >= 12 && pointer <= 15 ? 8 : pointer >= 16 && pointer <= 19 ? 24 : POINTERS[pointer];
  test(`RFC 7915 section 4.2 figure 3: pointer ${pointer} ${out === undefined ? 'has no counterpart' : `becomes ${out}`}`, () => {
    const { verdict, frames } = new Harness().send(error({ type: 12, code: 0, pointer }));
    assert.equal(verdict, out === undefined ? 'drop-icmp-type' : 'forward');
    if (out !== undefined)
      check(frames[0]!.bytes, 6, { upper: { kind: 'icmp', type: 4, code: 0, rest: out } });
  });
}

/** Reported MTU, device MTU of IPv6 and IPv4, MTU in the Packet Too Big. */
for (const [mtu, ipv6Mtu, ipv4Mtu, out] of [
  [1400, 1500, 1500, 1420],
  [1480, 1500, 1500, 1500],
  [1500, 1500, 1500, 1500],
  [9000, 1500, 9000, 1500],
  [9000, 9000, 1400, 1420],
  [1260, 1500, 1500, 1280],
  [1000, 1500, 1500, 1280],
  [68, 1500, 1500, 1280],
] as const) {
  test(`RFC 7915 section 4.2: a reported MTU of ${mtu} with device MTUs ${ipv6Mtu} and ${ipv4Mtu} becomes ${out} [R7915-18] [R7915-19]`, () => {
    const { frames } = new Harness({ settings: { ipv6Mtu, ipv4Mtu } }).send(error({ type: 3, code: 4, mtu }));
    check(frames[0]!.bytes, 6, { upper: { kind: 'icmp', type: 2, code: 0, rest: out } });
  });
}

for (const [length, plateau] of [
  [65535, 32000],
  [32001, 32000],
  [32000, 17914],
  [9000, 8166],
  [4352, 2002],
  [2003, 2002],
  [1500, 1492],
] as const) {
  test(`RFC 7915 section 4.2: a router that reports no MTU about a packet of ${length} bytes means ${plateau} [R7915-20] [R7915-19]`, () => {
    const big = { ipv6Mtu: 65535, ipv4Mtu: 65535 };
    const long = ipv4(
      { src: HOST4, dst: SERVER4, df: true, totalLength: length },
      udp({ length: length - 20 }, 'x'),
    );
    const { frames } = new Harness({ settings: big }).send(error({ type: 3, code: 4, mtu: 0 }, long));
    check(frames[0]!.bytes, 6, { upper: { kind: 'icmp', type: 2, rest: plateau + 20 } });
  });
}

test('RFC 7915 section 4.2: an error about a fragment counts 8 more bytes of MTU', () => {
  const piece = ipv4({ src: HOST4, dst: SERVER4, mf: true }, udp({}, '12345678'));
  const { frames } = new Harness().send(error({ type: 3, code: 4, mtu: 1400 }, piece));
  check(frames[0]!.bytes, 6, { upper: { kind: 'icmp', type: 2, rest: 1428 } });
});

test('RFC 7915 section 4.3: the quoted packet is translated like a packet, but its TTL stays', () => {
  const { frames } = new Harness().send(error({ type: 11 }));
  check(frames[0]!.bytes, 6, {
    upper: {
      kind: 'icmp',
      quoted: {
        src: HOST6,
        dst: SERVER6,
        hopLimit: 9,
        payloadLength: 25,
        upper: { kind: 'tcp', sport: 1234, dport: 80, checksum: 'good' },
      },
    },
  });
});

for (const kept of [0, 1, 4, 8, 12, 20, 24]) {
  test(`RFC 7915 section 4.3: a quote of the IP header and ${kept} bytes passes, its length as the packet said it`, () => {
    const { verdict, frames } = new Harness().send(
      error({ type: 3, code: 4, mtu: 1400 }, cut(quoted, 20 + kept)),
    );
    assert.equal(verdict, 'forward');
    const out = frames[0]!.bytes;
    assert.equal(out.length, 40 + 8 + 40 + kept);
    check(out, 6, {
      upper: { kind: 'icmp', checksum: 'good', quoted: { payloadLength: 25, src: HOST6, dst: SERVER6 } },
    });
  });
}

for (const reply of [false, true]) {
  test(`RFC 7915 section 4.3: a quoted echo ${reply ? 'reply' : 'request'} passes [TAYGA-2]`, () => {
    const ping = ipv4({ src: HOST4, dst: SERVER4 }, echo({ reply, id: 3, seq: 4 }, 'ping'));
    const { frames } = new Harness().send(error({ type: 3, code: 1 }, ping));
    check(frames[0]!.bytes, 6, {
      upper: {
        kind: 'icmp',
        quoted: { upper: { kind: 'icmp', type: reply ? 129 : 128, rest: (3 << 16) | 4, checksum: 'good' } },
      },
    });
  });
}

test('RFC 7915 section 4.3: a quoted ICMP error does not pass', () => {
  const nested = ipv4({ src: HOST4, dst: SERVER4 }, icmp({ type: 3, code: 1 }, quoted));
  assert.equal(new Harness().send(error({ type: 3, code: 1 }, nested)).verdict, 'drop-icmp-quote');
});

test('RFC 7915 section 4.3: an error about a packet that its receiver did not send is dropped', () => {
  const other = ipv4({ src: '10.64.200.200', dst: SERVER4 }, udp({}, 'x'));
  assert.equal(new Harness().send(error({ type: 3, code: 1 }, other)).verdict, 'drop-icmp-quote-mismatch');
});

test('RFC 7915 section 4.2: an error with a bad checksum is dropped, not repaired', () => {
  assert.equal(
    new Harness().send(error({ type: 3, code: 1, checksum: 'wrong' })).verdict,
    'drop-icmp-checksum',
  );
});

test('RFC 4443 section 2.4: an error is cut to the minimum MTU of IPv6', () => {
  const big = ipv4({ src: HOST4, dst: SERVER4, df: true }, udp({}, new Uint8Array(1400)));
  const { frames } = new Harness().send(error({ type: 3, code: 1 }, big));
  assert.equal(frames[0]!.bytes.length, 1280);
  check(frames[0]!.bytes, 6, { upper: { kind: 'icmp', checksum: 'good' } });
});

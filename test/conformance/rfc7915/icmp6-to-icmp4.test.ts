/** RFC 7915 sections 5.2 and 5.3: ICMPv6 to ICMPv4. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { check } from '../../helpers/checker.js';
import { Harness, HOST4, HOST6 } from '../../helpers/harness.js';
import { cut, echo, fragment6, icmp, ipv6, raw, tcp, udp } from '../../helpers/packet.js';

const SERVER4 = '8.8.8.8';
const SERVER6 = '64:ff9b:1::8.8.8.8';

/** What the server had sent, as our host or a router on its side saw it. */
const quoted = ipv6({ src: SERVER6, dst: HOST6, hopLimit: 9 }, tcp({ sport: 80, dport: 1234 }, 'hello'));
const error = (fields: Parameters<typeof icmp>[0], quote: Uint8Array = quoted, src = HOST6) =>
  ipv6({ src, dst: SERVER6 }, icmp(fields, quote));

/** [type, code, rest] out; null where the message is dropped. */
function expected(type: number, code: number): [number, number, number] | null {
  if (type === 1) {
    if (code === 0 || code === 2 || code === 3) return [3, 1, 0];
    if (code === 1) return [3, 10, 0];
    if (code === 4) return [3, 3, 0];
  }
  // The code of a Packet Too Big is ignored by receivers (RFC 4443 section 3.2).
  if (type === 2) return [3, 4, 1380];
  if (type === 3) return [11, code, 0];
  if (type === 4 && code === 0) return [12, 0, 0];
  if (type === 4 && code === 1) return [3, 2, 0];
  return null;
}

for (let type = 0; type < 256; type++) {
  if (type === 128 || type === 129) continue;
  for (let code = 0; code < (type <= 4 ? 8 : 1); code++) {
    if (type === 2 && code > 0) continue;
    const out = expected(type, code);
    test(`RFC 7915 section 5.2: ICMPv6 ${type}/${code} ${out === null ? 'is dropped' : `becomes ICMPv4 ${out[0]}/${out[1]}`} [R7915-49]`, () => {
      const { verdict, frames } = new Harness().send(
        type === 2 ? error({ type, code, mtu: 1400 }) : error({ type, code }),
      );
      if (out === null) {
        assert.equal(verdict, 'drop-icmp-type');
        assert.equal(frames.length, 0);
      } else {
        assert.equal(verdict, 'forward');
        check(frames[0]!.bytes, 4, {
          src: HOST4,
          dst: SERVER4,
          upper: { kind: 'icmp', family: 4, type: out[0], code: out[1], rest: out[2] },
        });
      }
    });
  }
}

for (const reply of [false, true]) {
  test(`RFC 7915 section 5.2: an echo ${reply ? 'reply' : 'request'} keeps identifier, sequence number and data`, () => {
    const { frames } = new Harness().send(
      ipv6({ src: HOST6, dst: SERVER6 }, echo({ reply, id: 7, seq: 9 }, 'data')),
    );
    check(frames[0]!.bytes, 4, {
      src: HOST4,
      dst: SERVER4,
      upper: { kind: 'icmp', family: 4, type: reply ? 0 : 8, code: 0, rest: (7 << 16) | 9 },
    });
  });
}

test('RFC 7915 section 5.2: an echo with a bad checksum stays bad', () => {
  const { frames } = new Harness().send(
    ipv6({ src: HOST6, dst: SERVER6 }, echo({ checksum: 'wrong' }, 'data')),
  );
  check(frames[0]!.bytes, 4, { upper: { kind: 'icmp', checksum: 'bad' } });
});

for (let pointer = 0; pointer <= 48; pointer++) {
  const table: Record<number, number> = { 0: 0, 1: 1, 4: 2, 5: 2, 6: 9, 7: 8 };
  const out = pointer >= 8 && pointer <= 23 ? 12 : pointer >= 24 && pointer <= 39 ? 16 : table[pointer];
  test(`RFC 7915 section 5.2 figure 6: pointer ${pointer} ${out === undefined ? 'has no counterpart' : `becomes ${out}`}`, () => {
    const { verdict, frames } = new Harness().send(error({ type: 4, code: 0, pointer }));
    assert.equal(verdict, out === undefined ? 'drop-icmp-type' : 'forward');
    if (out !== undefined) {
      check(frames[0]!.bytes, 4, { upper: { kind: 'icmp', type: 12, code: 0, rest: out * 2 ** 24 } });
    }
  });
}

for (const [mtu, ipv6Mtu, ipv4Mtu, out] of [
  [1400, 1500, 1500, 1380],
  [1280, 1500, 1500, 1260],
  [9000, 1500, 1500, 1480],
  [9000, 9000, 1500, 1500],
  [1500, 1500, 1400, 1400],
] as const) {
  test(`RFC 7915 section 5.2: a Packet Too Big of ${mtu} with device MTUs ${ipv6Mtu} and ${ipv4Mtu} becomes ${out} [R7915-50]`, () => {
    const { frames } = new Harness({ settings: { ipv6Mtu, ipv4Mtu } }).send(error({ type: 2, mtu }));
    check(frames[0]!.bytes, 4, { upper: { kind: 'icmp', type: 3, code: 4, rest: out } });
  });
}

test('RFC 7915 section 5.2: an error about a packet with a Fragment header counts 8 more bytes of MTU [R7915-50]', () => {
  const piece = ipv6(
    { src: SERVER6, dst: HOST6 },
    fragment6({ id: 5, more: true }),
    udp({}, new Uint8Array(64)),
  );
  const { frames } = new Harness().send(error({ type: 2, mtu: 1400 }, piece));
  check(frames[0]!.bytes, 4, {
    upper: {
      kind: 'icmp',
      type: 3,
      code: 4,
      rest: 1372,
      quoted: { id: 5, mf: true, totalLength: 92, df: false },
    },
  });
});

test('RFC 7915 section 5.3: the quoted packet is translated like a packet, but its hop limit stays', () => {
  const { frames } = new Harness().send(error({ type: 3 }));
  check(frames[0]!.bytes, 4, {
    upper: {
      kind: 'icmp',
      quoted: {
        src: SERVER4,
        dst: HOST4,
        ttl: 9,
        totalLength: 45,
        upper: { kind: 'tcp', sport: 80, dport: 1234, checksum: 'good' },
      },
    },
  });
});

for (const kept of [0, 1, 4, 8, 12, 20, 24]) {
  test(`RFC 7915 section 5.3: a quote of the IP header and ${kept} bytes passes, its length as the packet said it`, () => {
    const { verdict, frames } = new Harness().send(error({ type: 1, code: 4 }, cut(quoted, 40 + kept)));
    assert.equal(verdict, 'forward');
    const out = frames[0]!.bytes;
    assert.equal(out.length, 20 + 8 + 20 + kept);
    check(out, 4, {
      upper: { kind: 'icmp', checksum: 'good', quoted: { totalLength: 45, src: SERVER4, dst: HOST4 } },
    });
  });
}

for (const reply of [false, true]) {
  test(`RFC 7915 section 5.3: a quoted echo ${reply ? 'reply' : 'request'} passes [TAYGA-2]`, () => {
    const ping = ipv6({ src: SERVER6, dst: HOST6 }, echo({ reply, id: 3, seq: 4 }, 'ping'));
    const { frames } = new Harness().send(error({ type: 1, code: 3 }, ping));
    check(frames[0]!.bytes, 4, {
      upper: {
        kind: 'icmp',
        quoted: { upper: { kind: 'icmp', type: reply ? 0 : 8, rest: (3 << 16) | 4, checksum: 'good' } },
      },
    });
  });
}

test('RFC 7915 section 5.3: a quoted ICMP error does not pass', () => {
  const nested = ipv6({ src: SERVER6, dst: HOST6 }, icmp({ type: 1, code: 4 }, quoted));
  assert.equal(new Harness().send(error({ type: 1, code: 4 }, nested)).verdict, 'drop-icmp-quote');
});

test('RFC 7915 section 5.3: an error about a packet that its receiver did not send is dropped', () => {
  const other = ipv6({ src: '64:ff9b:1::9.9.9.9', dst: HOST6 }, udp({}, 'x'));
  assert.equal(new Harness().send(error({ type: 1, code: 4 }, other)).verdict, 'drop-icmp-quote-mismatch');
});

test('RFC 7915 section 5.2: an error with a bad checksum is dropped, not repaired', () => {
  assert.equal(
    new Harness().send(error({ type: 1, code: 4, checksum: 'wrong' })).verdict,
    'drop-icmp-checksum',
  );
});

test('RFC 7915 section 5.2: an error is cut to 576 bytes', () => {
  const big = ipv6({ src: SERVER6, dst: HOST6 }, udp({}, new Uint8Array(1100)));
  const { frames } = new Harness().send(error({ type: 1, code: 4 }, big));
  assert.equal(frames[0]!.bytes.length, 576);
  check(frames[0]!.bytes, 4, { upper: { kind: 'icmp', checksum: 'good' } });
});

test('RFC 6791 section 3: an error from a router without a map comes from the gateway', () => {
  const { frames } = new Harness().send(error({ type: 3 }, quoted, '2001:db8:99::1'));
  check(frames[0]!.bytes, 4, { src: '10.64.0.1', dst: SERVER4, upper: { kind: 'icmp', type: 11 } });
});

test('RFC 6791 section 4: or from an address of icmp-source-pool4, the same each time', () => {
  const pool = { address: 0xc6336400, length: 28 };
  const harness = new Harness({ settings: { icmpSourcePool4: pool } });
  const sources = new Set<string>();
  for (let router = 1; router <= 64; router++) {
    const send = () =>
      check(harness.send(error({ type: 3 }, quoted, `2001:db8:99::${router}`)).frames[0]!.bytes, 4).src;
    const source = send();
    assert.match(source, /^198\.51\.100\.(\d|1[0-5])$/);
    assert.equal(send(), source);
    sources.add(source);
  }
  assert.ok(sources.size > 8, `${sources.size} of 16 addresses are used`);
});

test('a router without a map takes no address of the pool for an error, a host does for an echo', () => {
  const harness = new Harness();
  assert.equal(harness.send(error({ type: 3 }, quoted, '2001:db8:99::1')).verdict, 'forward');
  assert.equal(harness.send(ipv6({ src: '2001:db8:99::1', dst: SERVER6 }, echo({}))).verdict, 'hold');
});

test('RFC 7915 section 5.3: a quote of a protocol that cannot have passed is dropped', () => {
  const impossible = ipv6({ src: SERVER6, dst: HOST6 }, raw(1));
  assert.equal(new Harness().send(error({ type: 1, code: 4 }, impossible)).verdict, 'drop-icmp-quote');
});

/** RFC 7915 sections 4.3 and 5.3: the packet inside an ICMP error, in all its forms. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { check } from '../../helpers/checker.js';
import { Harness, HOST4, HOST6 } from '../../helpers/harness.js';
import {
  bytes,
  cut,
  destinationOptions,
  echo,
  fragment6,
  fragments,
  hopByHop,
  icmp,
  ipv4,
  ipv6,
  raw,
  routing,
  tcp,
  udp,
} from '../../helpers/packet.js';
import { only, SERVER4, SERVER6, send, zeros } from '../shared.js';

const ROUTER4 = '203.0.113.9';
const ROUTER6 = '64:ff9b:1::cb00:7109';
/** What the host had sent, as it is on IPv4 and on IPv6. */
const sent4 = (fields: object, ...parts: Parameters<typeof ipv4>[1][]) =>
  ipv4({ src: HOST4, dst: SERVER4, ttl: 7, ...fields }, ...parts);
const sent6 = (fields: object, ...parts: Parameters<typeof ipv6>[1][]) =>
  ipv6({ src: HOST6, dst: SERVER6, hopLimit: 7, ...fields }, ...parts);
/** What the server had sent to the host. */
const got4 = (fields: object, ...parts: Parameters<typeof ipv4>[1][]) =>
  ipv4({ src: SERVER4, dst: HOST4, ttl: 7, ...fields }, ...parts);
const got6 = (fields: object, ...parts: Parameters<typeof ipv6>[1][]) =>
  ipv6({ src: SERVER6, dst: HOST6, hopLimit: 7, ...fields }, ...parts);

const error4 = (quote: Uint8Array, fields: Parameters<typeof icmp>[0] = { type: 11 }) =>
  ipv4({ src: ROUTER4, dst: HOST4 }, icmp(fields, quote));
const error6 = (quote: Uint8Array, fields: Parameters<typeof icmp>[0] = { type: 3 }) =>
  ipv6({ src: HOST6, dst: SERVER6 }, icmp(fields, quote));
/** The quoted packet as it comes out, without the headers of the error. */
const quoteTo6 = (quote: Uint8Array) => only(error4(quote)).slice(48);
const quoteTo4 = (quote: Uint8Array) => only(error6(quote)).slice(28);

for (const [name, layer] of [
  ['TCP', tcp({ sport: 1234, dport: 80 }, bytes(60))],
  ['UDP', udp({ sport: 53, dport: 9 }, bytes(60))],
  ['UDP-Lite', raw(136, { checksumAt: 6 })],
  ['an echo request', echo({ id: 3, seq: 4 }, bytes(60))],
  ['an echo reply', echo({ reply: true, id: 3, seq: 4 }, bytes(60))],
  ['ESP', raw(50)],
] as const) {
  const parts = name === 'UDP-Lite' || name === 'ESP' ? [layer, bytes(60)] : [layer];
  test(`RFC 7915 section 4.3: a quote of ${name} is byte for byte the packet that the host had sent [R7915-16] [R7915-23] [R7915-24]`, () => {
    assert.deepEqual(
      quoteTo6(sent4({ tos: 0x28, df: true }, ...parts)),
      sent6({ trafficClass: 0x28 }, ...parts),
    );
  });
  test(`RFC 7915 section 5.3: a quote of ${name} is byte for byte the packet that the server had sent [R7915-49] [R7915-52] [R7915-53]`, () => {
    assert.deepEqual(
      quoteTo4(got6({ trafficClass: 0x28, flowLabel: 9 }, ...parts)),
      got4({ tos: 0x28 }, ...parts),
    );
  });
}

for (const length of [100, 1500, 9000, 65535]) {
  test(`RFC 7915 section 4.3: a quote cut to 8 bytes of a packet of ${length} says its length as IPv6 does [TAYGA-1]`, () => {
    const quote = cut(sent4({ totalLength: length, df: true }, tcp({ sport: 7, dport: 8, seq: 99 })), 28);
    const { length: size } = only(error4(quote));
    assert.equal(size, 40 + 8 + 40 + 8);
    check(only(error4(quote)), 6, {
      payloadLength: 56,
      upper: { kind: 'icmp', checksum: 'good', quoted: { payloadLength: length - 20, hopLimit: 7 } },
    });
    assert.deepEqual(quoteTo6(quote).slice(40), quote.slice(20));
  });
}

for (const length of [100, 1260, 1261, 9000, 65535]) {
  test(`RFC 7915 section 5.3: a quote cut to 8 bytes of a packet that was ${length} on IPv4 says so [TAYGA-1]`, () => {
    const quote = cut(got6({ payloadLength: length - 20 }, tcp({ sport: 7, dport: 8, seq: 99 })), 48);
    check(only(error6(quote)), 4, {
      totalLength: 20 + 8 + 20 + 8,
      upper: {
        kind: 'icmp',
        checksum: 'good',
        quoted: { totalLength: length, ttl: 7, checksum: 'good', df: length > 1260 },
      },
    });
    assert.deepEqual(quoteTo4(quote).slice(20), quote.slice(40));
  });
}

for (const words of [1, 2, 10]) {
  test(`RFC 7915 section 4.3: ${words * 4} bytes of options in the quoted packet are left out of it and of its length`, () => {
    const quote = sent4({ options: [...zeros(words * 4)] }, udp({}, bytes(30)));
    assert.deepEqual(quoteTo6(quote), sent6({}, udp({}, bytes(30))));
    check(only(error4(cut(quote, 28 + words * 4))), 6, {
      upper: { kind: 'icmp', quoted: { payloadLength: 38 } },
    });
  });
}

for (const [name, chain] of [
  ['hop-by-hop options', [hopByHop()]],
  ['destination options', [destinationOptions(bytes(30))]],
  ['a spent routing header', [routing()]],
  ['two of them', [hopByHop(), routing()]],
] as const) {
  test(`RFC 7915 section 5.3: ${name} in the quoted packet are left out of it and of its length`, () => {
    assert.deepEqual(quoteTo4(got6({}, ...chain, udp({}, bytes(30)))), got4({}, udp({}, bytes(30))));
  });
}

for (const index of [0, 1, 2]) {
  test(`RFC 7915 section 4.3: piece ${index + 1} of 3 quoted: a Fragment header, 8 more in its length`, () => {
    const piece = fragments(sent4({}, udp({}, bytes(600))), 208, 0xff01)[index]!;
    check(only(error4(cut(piece, 28))), 6, {
      upper: {
        kind: 'icmp',
        checksum: 'good',
        quoted: {
          payloadLength: piece.length - 20 + 8,
          nextHeader: 44,
          extensions: [{ kind: 'fragment', offsetBytes: index * 208, more: index < 2, id: 0xff01 }],
        },
      },
    });
    const same = fragments(sent6({}, udp({}, bytes(600))), 208, 0xff01)[index]!;
    assert.deepEqual(quoteTo6(piece), same);
  });
  test(`RFC 7915 section 5.3: piece ${index + 1} of 3 quoted: no Fragment header, 8 less in its length`, () => {
    const piece = fragments(got6({}, udp({}, bytes(600))), 208, 0x5ff01)[index]!;
    assert.deepEqual(quoteTo4(piece), fragments(got4({}, udp({}, bytes(600))), 208, 0xff01)[index]!);
  });
}

test('RFC 7915 section 5.3: a Fragment header cut off the quote leaves nothing to say', () => {
  const piece = got6({}, fragment6({ id: 1, more: true, nextHeader: 17 }), zeros(64));
  assert.equal(send(error6(cut(piece, 44))).verdict, 'drop-icmp-quote');
});

for (const kept of [0, 4, 19]) {
  test(`RFC 7915 section 4.3: ${kept} bytes of a quote are no IP header: dropped`, () => {
    assert.deepEqual(send(error4(cut(sent4({}, udp({})), kept))), { verdict: 'drop-icmp-quote', frames: [] });
    assert.deepEqual(send(error6(cut(got6({}, udp({})), kept * 2))), {
      verdict: 'drop-icmp-quote',
      frames: [],
    });
  });
}

test('RFC 7915 sections 4.3 and 5.3: a quote of the other family is none', () => {
  assert.equal(send(error4(sent6({}, udp({}, zeros(40))))).verdict, 'drop-icmp-quote');
  assert.equal(send(error6(got4({}, udp({}, zeros(40))))).verdict, 'drop-icmp-quote');
});

for (const type of [3, 4, 5, 11, 12]) {
  test(`RFC 7915 section 4.3: translation ends at the first quoted packet: one that is ICMP ${type} is dropped [R7915-25]`, () => {
    const nested = sent4({}, icmp({ type }, got4({}, udp({}, zeros(8)))));
    assert.deepEqual(send(error4(nested)), { verdict: 'drop-icmp-quote', frames: [] });
    assert.deepEqual(send(error4(cut(nested, 28))), { verdict: 'drop-icmp-quote', frames: [] });
  });
}
for (const type of [1, 2, 3, 4, 127]) {
  test(`RFC 7915 section 5.3: translation ends at the first quoted packet: one that is ICMPv6 ${type} is dropped [R7915-54]`, () => {
    const nested = got6({}, icmp({ type }, sent6({}, udp({}, zeros(8)))));
    assert.deepEqual(send(error6(nested)), { verdict: 'drop-icmp-quote', frames: [] });
    assert.deepEqual(send(error6(cut(nested, 48))), { verdict: 'drop-icmp-quote', frames: [] });
  });
}

test('RFC 5927 section 4.1: an error about what the host did not send is dropped, both ways', () => {
  const dropped = { verdict: 'drop-icmp-quote-mismatch', frames: [] };
  // Another host's, one that is no host's, and one that came to the host instead of from it.
  assert.deepEqual(send(error4(ipv4({ src: '10.64.9.9', dst: SERVER4 }, udp({})))), dropped);
  assert.deepEqual(send(error4(ipv4({ src: '192.0.2.1', dst: SERVER4 }, udp({})))), dropped);
  assert.deepEqual(send(error4(ipv4({ src: SERVER4, dst: HOST4 }, udp({})))), dropped);
  assert.deepEqual(send(error6(ipv6({ src: '64:ff9b:1::9.9.9.9', dst: HOST6 }, udp({})))), dropped);
  assert.deepEqual(send(error6(ipv6({ src: SERVER6, dst: '2001:db8:9::9' }, udp({})))), dropped);
  assert.deepEqual(send(error6(ipv6({ src: HOST6, dst: SERVER6 }, udp({})))), dropped);
});

test('RFC 7915 section 4.3: the error comes from the router, and its own TTL counts down', () => {
  const error = ipv4({ src: ROUTER4, dst: HOST4, ttl: 9, tos: 0xc0 }, icmp({ type: 11 }, sent4({}, udp({}))));
  check(only(error), 6, { src: ROUTER6, dst: HOST6, hopLimit: 8, trafficClass: 0xc0 });
});

for (const size of [500, 1184, 1185, 1400]) {
  test(`RFC 4443 section 2.4 c: an error about ${size + 28} bytes stays within 1280 on IPv6, whatever the MTUs say [R7915-22] [R7915-24]`, () => {
    const gateway = new Harness({ settings: { ipv6Mtu: 1500, ipv4Mtu: 1500 } });
    const packet = ipv4(
      { src: ROUTER4, dst: HOST4, df: true },
      icmp({ type: 11 }, sent4({}, udp({}, bytes(size)))),
    );
    const out = only(packet, gateway);
    assert.equal(out.length, Math.min(1280, 40 + 8 + 40 + 8 + size));
    check(out, 6, { upper: { kind: 'icmp', checksum: 'good', quoted: { payloadLength: size + 8 } } });
  });
}

for (const size of [400, 520, 521, 1100]) {
  test(`RFC 1812 section 4.3.2.3: an error about ${size + 48} bytes stays within 576 on IPv4`, () => {
    const out = only(error6(got6({}, udp({}, bytes(size)))));
    assert.equal(out.length, Math.min(576, 20 + 8 + 20 + 8 + size));
    check(out, 4, { upper: { kind: 'icmp', checksum: 'good', quoted: { totalLength: size + 28 } } });
  });
}

test('RFC 7915 section 4.2: an error passes where a packet of its size would be too big', () => {
  const gateway = new Harness({ settings: { ipv6Mtu: 1280, ipv4Mtu: 576 } });
  const big = ipv4(
    { src: ROUTER4, dst: HOST4, df: true },
    icmp({ type: 11 }, sent4({}, udp({}, bytes(1400)))),
  );
  assert.equal(only(big, gateway).length, 1280);
  assert.equal(only(error6(got6({}, udp({}, bytes(1100)))), gateway).length, 576);
});

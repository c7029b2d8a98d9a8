/** RFC 7757: explicit address mappings, and hairpinning. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { check } from '../../helpers/checker.js';
import { Harness, HOST4, HOST6 } from '../../helpers/harness.js';
import { echo, fragment6, icmp, ipv4, ipv6, tcp, udp } from '../../helpers/packet.js';

const SERVER4 = '8.8.8.8';
const DST6 = '64:ff9b:1::8.8.8.8';

/** Maps of section 3.3's kinds: equal suffixes, a longer IPv6 suffix, single addresses, nested IPv4 prefixes. */
const maps = [
  ['192.0.2.0/24', '2001:db8:a::/120'],
  ['198.18.0.128/26', '2001:db8:aaaa:dddd::/64'],
  ['203.0.113.8/29', '2001:db8:b::/48'],
  ['203.0.113.9/32', '2001:db8:c::9/128'],
] as const;

for (const [ipv4Address, ipv6Address] of [
  ['192.0.2.0', '2001:db8:a::'],
  ['192.0.2.77', '2001:db8:a::4d'],
  ['192.0.2.255', '2001:db8:a::ff'],
  ['198.18.0.128', '2001:db8:aaaa:dddd::'],
  ['198.18.0.150', '2001:db8:aaaa:dddd:5800::'],
  ['198.18.0.191', '2001:db8:aaaa:dddd:fc00::'],
  ['203.0.113.10', '2001:db8:b:4000::'],
  ['203.0.113.15', '2001:db8:b:e000::'],
  ['203.0.113.9', '2001:db8:c::9'],
] as const) {
  test(`RFC 7757 section 3.3: ${ipv4Address} is ${ipv6Address}, as source and destination [R7915-63]`, () => {
    const harness = new Harness({ maps });
    check(harness.send(ipv4({ src: SERVER4, dst: ipv4Address }, udp({}))).frames[0]!.bytes, 6, {
      dst: ipv6Address,
    });
    check(harness.send(ipv6({ src: ipv6Address, dst: DST6 }, udp({}))).frames[0]!.bytes, 4, {
      src: ipv4Address,
    });
    // An IPv4 host that a map represents: explicit maps beat pref64.
    check(harness.send(ipv4({ src: ipv4Address, dst: HOST4 }, udp({}))).frames[0]!.bytes, 6, {
      src: ipv6Address,
      dst: HOST6,
    });
    check(harness.send(ipv6({ src: HOST6, dst: ipv6Address }, udp({}))).frames[0]!.bytes, 4, {
      dst: ipv4Address,
    });
  });
}

const A6 = '2001:db8:c::9';
const A4 = '203.0.113.9';
const B6 = '2001:db8:a::4d';
const B4 = '192.0.2.77';
const under = (ipv4Address: string) => `64:ff9b:1::${ipv4Address}`;
const A_UNDER = '64:ff9b:1::cb00:7109';
const B_UNDER = '64:ff9b:1::c000:24d';
const hops = { hopLimit: 10 };

for (const [name, layer] of [
  ['TCP', tcp({ sport: 5, dport: 6 }, 'data')],
  ['UDP', udp({}, 'data')],
  ['an echo', echo({ id: 4 }, 'data')],
] as const) {
  test(`RFC 7757 section 4: ${name} between two mapped hosts turns round, and costs one hop`, () => {
    const harness = new Harness({ maps });
    const { verdict, frames } = harness.send(ipv6({ src: A6, dst: under(B4), ...hops }, layer));
    assert.equal(verdict, 'forward');
    check(frames[0]!.bytes, 6, { src: A_UNDER, dst: B6, hopLimit: 9, upper: { checksum: 'good' } });
    assert.equal(harness.count('hairpinned'), 1);
  });
}

test('RFC 7757 section 4: hosts of the dynamic pool turn round too [TAYGA-7]', () => {
  const harness = new Harness({
    hosts: [
      [HOST4, HOST6],
      ['10.64.9.9', '2001:db8:1::9'],
    ],
  });
  const { frames } = harness.send(ipv6({ src: HOST6, dst: under('10.64.9.9'), ...hops }, udp({}, 'x')));
  check(frames[0]!.bytes, 6, {
    src: '64:ff9b:1::a40:307',
    dst: '2001:db8:1::9',
    upper: { checksum: 'good' },
  });
});

test('RFC 7757 section 4: a fragment turns round', () => {
  const piece = ipv6(
    { src: A6, dst: under(B4), ...hops },
    fragment6({ id: 0x10009, offsetBytes: 64, nextHeader: 17 }),
    new Uint8Array(32),
  );
  check(new Harness({ maps }).send(piece).frames[0]!.bytes, 6, {
    src: A_UNDER,
    dst: B6,
    extensions: [{ kind: 'fragment', offsetBytes: 64, more: false, id: 9 }],
  });
});

test('RFC 7757 section 4: an ICMP error about a packet that turned round shows what its sender had sent', () => {
  const seen = ipv6({ src: A_UNDER, dst: B6, hopLimit: 5 }, udp({ sport: 7, dport: 8 }, 'x'));
  const error = ipv6({ src: B6, dst: under(A4), ...hops }, icmp({ type: 1, code: 4 }, seen));
  check(new Harness({ maps }).send(error).frames[0]!.bytes, 6, {
    src: B_UNDER,
    dst: A6,
    upper: {
      kind: 'icmp',
      type: 1,
      code: 4,
      checksum: 'good',
      quoted: { src: A6, dst: B_UNDER, hopLimit: 5, upper: { kind: 'udp', sport: 7 } },
    },
  });
});

test('RFC 7757 section 4: the MTU in it is that of IPv6, whatever IPv4 may carry', () => {
  const seen = ipv6({ src: A_UNDER, dst: B6 }, udp({}, new Uint8Array(1400)));
  const error = ipv6({ src: B6, dst: under(A4) }, icmp({ type: 2, mtu: 1450 }, seen));
  const harness = new Harness({ maps, settings: { ipv4Mtu: 1300 } });
  check(harness.send(error).frames[0]!.bytes, 6, { upper: { kind: 'icmp', type: 2, rest: 1450 } });
});

test('a hop limit that ends in a hairpin is answered by ICMPv6', () => {
  const { verdict, frames } = new Harness({ maps }).send(
    ipv6({ src: A6, dst: under(B4), hopLimit: 1 }, udp({})),
  );
  assert.equal(verdict, 'drop-ttl');
  check(frames[0]!.bytes, 6, { dst: A6, upper: { kind: 'icmp', type: 3 } });
});

test('a packet for a pool address that nobody has is answered, not sent round', () => {
  const { verdict } = new Harness({ maps }).send(ipv6({ src: A6, dst: under('10.64.200.200') }, udp({})));
  assert.equal(verdict, 'drop-v6-no-map-destination');
});

test('RFC 7757 section 3: without a pref64 only explicit maps translate', () => {
  const options = { maps, settings: { pref64: null, ipv6Address: [0x20010db8, 0, 0, 0x64] as const } };
  check(new Harness(options).send(ipv6({ src: A6, dst: '2001:db8:ffff::1' }, udp({}))).frames[0]!.bytes, 6, {
    upper: { kind: 'icmp', type: 1, code: 0 },
  });
  const to = (src: string) => new Harness(options).send(ipv4({ src, dst: A4 }, udp({})));
  assert.equal(to('8.8.8.8').verdict, 'drop-v4-no-map-source');
  check(to('8.8.8.8').frames[0]!.bytes, 4, { upper: { kind: 'icmp', type: 3, code: 10 } });
});

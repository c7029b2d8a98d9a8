/** RFC 6791: where an ICMP error comes from whose own source has no address on the other side. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { check } from '../../helpers/checker.js';
import { Harness, HOST4, HOST6, prefix4 } from '../../helpers/harness.js';
import { icmp, ipv4, ipv6, udp } from '../../helpers/packet.js';
import { OWN4, only, SERVER4, SERVER6 } from '../shared.js';

const seen6 = ipv6({ src: SERVER6, dst: HOST6 }, udp({}, 'x'));
const ROUTER6 = '2001:db8:ffff::1';
const errors = [
  [{ type: 1, code: 0 }, 3],
  [{ type: 1, code: 4 }, 3],
  [{ type: 2, mtu: 1280 }, 3],
  [{ type: 3 }, 11],
  [{ type: 4, pointer: 7 }, 12],
] as const;

for (const [fields, type] of errors) {
  const name = `${fields.type}/${'code' in fields ? fields.code : 0}`;
  test(`RFC 6791 section 3: ICMPv6 ${name} of a router without a map comes from the gateway's own address [R7915-64]`, () => {
    check(only(ipv6({ src: ROUTER6, dst: SERVER6 }, icmp(fields, seen6))), 4, {
      src: OWN4,
      dst: SERVER4,
      upper: { kind: 'icmp', type, checksum: 'good', quoted: { src: SERVER4, dst: HOST4 } },
    });
  });
}

test('RFC 6791 section 4: with icmp-source-pool4 it comes from there, of one router always from the same address [R7915-64]', () => {
  const gateway = new Harness({ settings: { icmpSourcePool4: prefix4('198.51.100.0/30') } });
  const sourceOf = (router: string) =>
    check(only(ipv6({ src: router, dst: SERVER6 }, icmp({ type: 3 }, seen6)), gateway), 4).src;
  const first = Array.from({ length: 40 }, (_, i) => sourceOf(`2001:db8:ffff::${i + 1}`));
  const second = Array.from({ length: 40 }, (_, i) => sourceOf(`2001:db8:ffff::${i + 1}`));
  assert.deepEqual(first, second);
  assert.deepEqual([...new Set(first)].sort(), [
    '198.51.100.0',
    '198.51.100.1',
    '198.51.100.2',
    '198.51.100.3',
  ]);
});

test('RFC 6791 section 4: a router with a map of its own keeps it', () => {
  const gateway = new Harness({
    maps: [['192.0.2.9/32', `${ROUTER6}/128`]],
    settings: { icmpSourcePool4: prefix4('198.51.100.0/30') },
  });
  check(only(ipv6({ src: ROUTER6, dst: SERVER6 }, icmp({ type: 3 }, seen6)), gateway), 4, {
    src: '192.0.2.9',
  });
});

test('RFC 6791 section 3: towards IPv6, a private router under the Well-Known Prefix comes from the own address', () => {
  const seen4 = ipv4({ src: HOST4, dst: SERVER4 }, udp({}, 'x'));
  const error = ipv4({ src: '192.168.7.7', dst: HOST4 }, icmp({ type: 11 }, seen4));
  const gateway = new Harness({
    pref64: '64:ff9b::/96',
    settings: { ipv6Address: [0x20010db8, 0, 0, 0x64] },
  });
  check(only(error, gateway), 6, {
    src: '2001:db8::64',
    dst: HOST6,
    upper: { kind: 'icmp', type: 3, quoted: { src: HOST6, dst: '64:ff9b::808:808' } },
  });
});

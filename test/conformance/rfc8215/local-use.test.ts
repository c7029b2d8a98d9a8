/** RFC 8215: 64:ff9b:1::/48 is for local use, without the Well-Known Prefix's limits. */
import { test } from 'node:test';
import { check } from '../../helpers/checker.js';
import { Harness, HOST4, HOST6 } from '../../helpers/harness.js';
import { ipv4, ipv6, udp } from '../../helpers/packet.js';
import { only } from '../shared.js';

/** Prefixes out of it, and what 10.1.2.3 is under each. */
for (const [pref64, address] of [
  ['64:ff9b:1::/48', '64:ff9b:1:a01:2:300::'],
  ['64:ff9b:1:ab00::/56', '64:ff9b:1:ab0a:1:203::'],
  ['64:ff9b:1:abcd::/64', '64:ff9b:1:abcd:a:102:300:0'],
  ['64:ff9b:1::/96', '64:ff9b:1::a01:203'],
  ['64:ff9b:1:fffe::/96', '64:ff9b:1:fffe::a01:203'],
] as const) {
  test(`RFC 8215 section 5: under ${pref64} the private 10.1.2.3 is ${address}, both ways`, () => {
    check(only(ipv6({ src: HOST6, dst: address }, udp({}, 'x')), new Harness({ pref64 })), 4, {
      dst: '10.1.2.3',
    });
    check(only(ipv4({ src: '10.1.2.3', dst: HOST4 }, udp({}, 'x')), new Harness({ pref64 })), 6, {
      src: address,
    });
  });
}

for (const address of [
  ...['10.0.0.1', '100.64.0.1', '172.16.0.1', '192.168.0.1', '192.0.0.1', '192.0.2.1', '192.88.99.1'],
  ...['198.18.0.1', '198.51.100.1', '203.0.113.1'],
]) {
  test(`RFC 8215 section 5: ${address} passes both ways under the prefix for local use`, () => {
    check(only(ipv6({ src: HOST6, dst: `64:ff9b:1::${address}` }, udp({}, 'x'))), 4, { dst: address });
    only(ipv4({ src: address, dst: HOST4 }, udp({}, 'x')));
  });
}

/** RFC 6877: the customer's side of 464XLAT, with `clat`: an explicit map for the host, and pref64 for all of the IPv4 internet. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { check } from '../../helpers/checker.js';
import { Harness } from '../../helpers/harness.js';
import { bytes, echo, icmp, ipv4, ipv6, tcp, udp } from '../../helpers/packet.js';
import { only } from '../shared.js';

const HOST4 = '192.0.0.1';
const HOST6 = '2001:db8:464::1';
const SERVER4 = '8.8.8.8';
const SERVER6 = '64:ff9b:1::808:808';
const ROUTER6 = '2001:db8:ffff::1';
const clat = (isOn = true) =>
  new Harness({ maps: [[`${HOST4}/32`, `${HOST6}/128`]], pool4: null, settings: { clat: isOn } });

for (const [name, layer] of [
  ['TCP', tcp({ sport: 1 }, 'data')],
  ['UDP', udp({}, bytes(900))],
  ['an echo', echo({ id: 5 }, 'data')],
] as const) {
  test(`RFC 6877 section 6.3: ${name} of the host goes out under pref64, and its answer comes back`, () => {
    const out = only(ipv4({ src: HOST4, dst: SERVER4 }, layer), clat());
    assert.deepEqual(out.slice(40), ipv6({ src: HOST6, dst: SERVER6 }, layer).slice(40));
    check(out, 6, { src: HOST6, dst: SERVER6 });
    const back = only(ipv6({ src: SERVER6, dst: HOST6 }, layer), clat());
    assert.deepEqual(back.slice(20), ipv4({ src: SERVER4, dst: HOST4 }, layer).slice(20));
    check(back, 4, { src: SERVER4, dst: HOST4 });
  });
}

test('RFC 6877 section 6.3: an ICMPv6 error about what the host sent reaches it, from any router', () => {
  const sent = ipv6({ src: HOST6, dst: SERVER6 }, udp({}, bytes(1300)));
  for (const [src, seen] of [
    [SERVER6, SERVER4],
    [ROUTER6, '10.64.0.1'],
  ] as const) {
    check(only(ipv6({ src, dst: HOST6 }, icmp({ type: 2, mtu: 1300 }, sent)), clat()), 4, {
      src: seen,
      dst: HOST4,
      upper: { kind: 'icmp', type: 3, code: 4, mtu: 1280, quoted: { src: HOST4, dst: SERVER4 } },
    });
  }
});

test('RFC 6877 section 6.3: an ICMP error of the host reaches who had sent to it', () => {
  const got = ipv4({ src: SERVER4, dst: HOST4 }, udp({}, 'data'));
  check(only(ipv4({ src: HOST4, dst: SERVER4 }, icmp({ type: 3, code: 3 }, got)), clat()), 6, {
    src: HOST6,
    dst: SERVER6,
    upper: { kind: 'icmp', type: 1, code: 4, quoted: { src: SERVER6, dst: HOST6 } },
  });
});

test('without clat, or for a host without an explicit map, none of it passes', () => {
  assert.equal(
    clat(false).send(ipv4({ src: HOST4, dst: SERVER4 }, udp({}))).verdict,
    'drop-v4-no-map-destination',
  );
  assert.equal(
    clat(false).send(ipv6({ src: SERVER6, dst: HOST6 }, udp({}))).verdict,
    'drop-v6-source-in-pref64',
  );
  assert.equal(
    clat().send(ipv4({ src: '192.0.0.7', dst: SERVER4 }, udp({}))).verdict,
    'drop-v4-no-map-destination',
  );
  assert.equal(
    clat().send(ipv6({ src: SERVER6, dst: '64:ff9b:1::1.2.3.4' }, udp({}))).verdict,
    'drop-v6-source-in-pref64',
    'from pref64 to pref64 is nobody',
  );
});

test('RFC 4443 section 2.4 f: errors to the IPv4 internet, which is behind a router, are not those to hosts without a map', (t) => {
  t.mock.method(performance, 'now', () => 0);
  const gateway = new Harness({
    maps: [[`${HOST4}/32`, `${HOST6}/128`]],
    pool4: null,
    settings: { clat: true, icmpErrorsPerSec: 1000, icmpErrorBurst: 5 },
  });
  const errors = (src: string) => gateway.send(ipv6({ src, dst: HOST6, hopLimit: 1 }, udp({}))).frames.length;
  gateway.ctx.icmpStrangerTokens = 0;
  assert.equal(errors(SERVER6), 1);
  assert.equal(errors('2001:db8:5::5'), 0);
});

test('addresses that never pass do not by a CLAT either', () => {
  for (const address of ['127.0.0.1', '224.0.0.1', '169.254.1.1', '255.255.255.255', '0.0.0.0']) {
    assert.equal(clat().send(ipv4({ src: HOST4, dst: address }, udp({}))).verdict, 'drop-v4-address');
    assert.equal(
      clat().send(ipv6({ src: `64:ff9b:1::${address}`, dst: HOST6 }, udp({}))).verdict,
      'drop-v4-address',
    );
  }
});

/** RFC 1122 section 3.2.2 and RFC 1812 section 4.3.2: ICMPv4 errors of our own, when there is one and what it looks like. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { check } from '../../helpers/checker.js';
import { Harness } from '../../helpers/harness.js';
import { bytes, cut, echo, icmp, ipv4, raw, tcp, udp } from '../../helpers/packet.js';
import { from4, OWN4, SERVER4, send, zeros } from '../shared.js';

/** An address of the pool that nobody has: ICMP 3/1 is due. */
const NOBODY = '10.64.77.7';
const astray = (fields: object, ...parts: Parameters<typeof ipv4>[1][]) =>
  ipv4({ src: SERVER4, dst: NOBODY, ...fields }, ...parts);

for (const [name, packet] of [
  ['TCP', astray({}, tcp({ sport: 7 }, 'data'))],
  ['UDP', astray({}, udp({}, bytes(500)))],
  ['a large packet', astray({}, udp({}, bytes(1400)))],
  ['the smallest packet', astray({}, raw(99))],
  ['a packet with options', astray({ options: [1, 1, 1, 1] }, udp({}, 'data'))],
  ['an echo request', astray({}, echo({}, 'data'))],
  ['an echo reply', astray({}, echo({ reply: true }, 'data'))],
  ['a first fragment', astray({ mf: true }, udp({}, zeros(64)))],
] as const) {
  test(`RFC 1812 section 4.3.2.3: an error about ${name} quotes as much of it as 576 bytes hold, unchanged [R7915-26]`, () => {
    const { verdict, frames } = send(packet);
    assert.equal(verdict, 'drop-v4-no-map-destination');
    assert.equal(frames.length, 1);
    check(frames[0]!.bytes, 4, {
      src: OWN4,
      dst: SERVER4,
      ttl: 64,
      offsetBytes: 0,
      mf: false,
      totalLength: Math.min(576, 28 + packet.length),
      upper: { kind: 'icmp', type: 3, code: 1, checksum: 'good', data: cut(packet, 576 - 28) },
    });
  });
}

for (const type of [3, 4, 5, 11, 12]) {
  test(`RFC 1122 section 3.2.2: never about an ICMP error (type ${type}) [R7915-26]`, () => {
    for (const packet of [
      astray({}, icmp({ type }, from4({}, udp({})))),
      from4({ ttl: 1 }, icmp({ type }, from4({}, udp({})))),
      from4({ options: [131, 7, 4, 1, 2, 3, 4, 0] }, icmp({ type }, from4({}, udp({})))),
    ]) {
      assert.deepEqual(send(packet).frames, []);
    }
  });
}

test('RFC 1122 section 3.2.2: never about a fragment but the first', () => {
  assert.deepEqual(send(astray({ offsetBytes: 8 }, raw(17), zeros(64))).frames, []);
  assert.deepEqual(send(from4({ ttl: 1, offsetBytes: 8, mf: true }, raw(17), zeros(64))), {
    verdict: 'drop-ttl',
    frames: [],
  });
});

for (const src of [
  '0.0.0.0',
  '0.1.2.3',
  '127.0.0.1',
  '224.0.0.1',
  '239.1.1.1',
  '240.0.0.1',
  '255.255.255.255',
]) {
  test(`RFC 1122 section 3.2.2: never to ${src}, which is no single host`, () => {
    assert.deepEqual(send(astray({ src }, udp({}))).frames, []);
    assert.deepEqual(send(from4({ src, ttl: 1 }, udp({}))).frames, []);
    assert.deepEqual(send(ipv4({ src, dst: OWN4 }, udp({}))).frames, []);
  });
}

for (const dst of ['224.0.0.1', '255.255.255.255']) {
  test(`RFC 1122 section 3.2.2: never about a packet to ${dst}`, () => {
    assert.deepEqual(send(from4({ dst, ttl: 1 }, udp({}))).frames, []);
  });
}

test('RFC 1122 section 3.2.2: never about a packet whose checksum is wrong', () => {
  assert.deepEqual(send(astray({ checksum: 'wrong' }, udp({}))), { verdict: 'drop-v4-checksum', frames: [] });
});

test('RFC 1812 section 4.3.2.8: errors are sent at a rate, what is above it is counted, and a burst passes [R7915-27] [TAYGA-5] [TAYGA-12]', () => {
  const gateway = new Harness({ settings: { icmpErrorsPerSec: 0, icmpErrorBurst: 5 } });
  const sent = Array.from({ length: 12 }, () => gateway.send(astray({}, udp({}))).frames.length);
  assert.deepEqual(sent, [1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0]);
  assert.equal(gateway.count('icmp-errors-sent'), 5);
  assert.equal(gateway.count('icmp-errors-suppressed'), 7);
});

test('RFC 7915 section 4.4: errors can be turned off [R7915-27]', () => {
  const gateway = new Harness({ settings: { icmpErrorsPerSec: 0, icmpErrorBurst: 0 } });
  assert.deepEqual(gateway.send(astray({}, udp({}))), { verdict: 'drop-v4-no-map-destination', frames: [] });
  assert.equal(gateway.count('icmp-errors-suppressed'), 1);
});

test('RFC 1122 section 3.2.2.6: ping to the own address is answered, with the TTL of a new packet', () => {
  const ping = ipv4(
    { src: SERVER4, dst: OWN4, ttl: 1, options: [1, 1, 1, 1] },
    echo({ id: 9, seq: 8 }, 'data'),
  );
  const { verdict, frames } = send(ping);
  assert.equal(verdict, 'forward');
  check(frames[0]!.bytes, 4, {
    src: OWN4,
    dst: SERVER4,
    ttl: 64,
    headerLength: 20,
    upper: {
      kind: 'icmp',
      type: 0,
      code: 0,
      id: 9,
      seq: 8,
      checksum: 'good',
      data: new TextEncoder().encode('data'),
    },
  });
});

test('RFC 1122 section 3.2.2: what the own address does not take is refused, what asks for nothing is not', () => {
  check(send(ipv4({ src: SERVER4, dst: OWN4 }, tcp({}))).frames[0]!.bytes, 4, {
    upper: { kind: 'icmp', type: 3, code: 2 },
  });
  for (const layer of [echo({ reply: true }), icmp({ type: 3 }, zeros(28)), icmp({ type: 13 })]) {
    assert.deepEqual(send(ipv4({ src: SERVER4, dst: OWN4 }, layer)), { verdict: 'drop-self', frames: [] });
  }
});

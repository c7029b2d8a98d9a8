/** RFC 4443 section 2.4: ICMPv6 errors of our own, when there is one and what it looks like. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { check } from '../../helpers/checker.js';
import { Harness, HOST6 } from '../../helpers/harness.js';
import {
  bytes,
  cut,
  destinationOptions,
  echo,
  fragment6,
  hopByHop,
  icmp,
  ipv6,
  raw,
  tcp,
  udp,
} from '../../helpers/packet.js';
import { from6, OWN6, send, zeros } from '../shared.js';

/** Neither under pref64 nor mapped: ICMPv6 1/0 is due. */
const NOWHERE = '2001:db8:9::1';
const astray = (fields: object, ...parts: Parameters<typeof ipv6>[1][]) =>
  ipv6({ src: HOST6, dst: NOWHERE, ...fields }, ...parts);

for (const [name, packet] of [
  ['TCP', astray({}, tcp({ sport: 7 }, 'data'))],
  ['UDP', astray({}, udp({}, bytes(500)))],
  ['a large packet', astray({}, udp({}, bytes(1400)))],
  ['the smallest packet', astray({}, raw(99))],
  ['a packet with options', astray({}, hopByHop(), udp({}, 'data'))],
  ['an echo request', astray({}, echo({}, 'data'))],
  ['an echo reply', astray({}, echo({ reply: true }, 'data'))],
  ['a first fragment', astray({}, fragment6({ more: true }), udp({}, zeros(64)))],
] as const) {
  test(`RFC 4443 section 2.4 c: an error about ${name} quotes as much of it as 1280 bytes hold, unchanged [R7915-55] [R7915-56]`, () => {
    const { verdict, frames } = send(packet);
    assert.equal(verdict, 'drop-v6-no-map-destination');
    assert.equal(frames.length, 1);
    check(frames[0]!.bytes, 6, {
      src: OWN6,
      dst: HOST6,
      hopLimit: 64,
      nextHeader: 58,
      payloadLength: Math.min(1240, 8 + packet.length),
      upper: { kind: 'icmp', type: 1, code: 0, checksum: 'good', data: cut(packet, 1280 - 48) },
    });
  });
}

for (const type of [1, 2, 3, 4, 100, 127]) {
  test(`RFC 4443 section 2.4 e.1: never about an ICMPv6 error (type ${type}) [R7915-55]`, () => {
    for (const chain of [[], [hopByHop()], [destinationOptions(), fragment6({})]]) {
      const quote = zeros(48);
      assert.deepEqual(send(astray({}, ...chain, icmp({ type }, quote))).frames, []);
      assert.deepEqual(send(from6({ hopLimit: 1 }, ...chain, icmp({ type }, quote))).frames, []);
    }
  });
}

test('RFC 4443 section 2.4 e.2: never about a redirect', () => {
  assert.deepEqual(send(astray({}, icmp({ type: 137 }, zeros(40)))).frames, []);
});

test('RFC 4443 section 2.4 e: never about a fragment but the first, nor a chain that cannot be read', () => {
  const later = fragment6({ offsetBytes: 8, nextHeader: 17 });
  assert.deepEqual(send(astray({}, later, zeros(64))).frames, []);
  assert.deepEqual(send(from6({ hopLimit: 1 }, later, zeros(64))).frames, []);
  assert.deepEqual(send(astray({ nextHeader: 0 }, [17, 255, ...zeros(6)])).frames, []);
});

for (const src of ['::', '::1', 'ff02::1']) {
  test(`RFC 4443 section 2.4 e.6: never to ${src}, which is no single host`, () => {
    assert.deepEqual(send(astray({ src }, udp({}))).frames, []);
    assert.deepEqual(send(from6({ src, hopLimit: 1 }, udp({}))).frames, []);
    assert.deepEqual(send(ipv6({ src, dst: OWN6 }, udp({}))).frames, []);
  });
}

test('RFC 4443 section 2.4 f: errors are sent at a rate, what is above it is counted, and a burst passes [R7915-57] [TAYGA-5]', () => {
  const gateway = new Harness({ settings: { icmpErrorsPerSec: 0, icmpErrorBurst: 5 } });
  const sent = Array.from({ length: 8 }, () => gateway.send(astray({}, udp({}))).frames.length);
  assert.deepEqual(sent, [1, 1, 1, 1, 1, 0, 0, 0]);
  assert.equal(gateway.count('icmp-errors-sent'), 5);
  assert.equal(gateway.count('icmp-errors-suppressed'), 3);
});

test('RFC 4443 section 2.4 f: those without a map get a twentieth, so that forged sources do not fill the neighbour table', (t) => {
  let nowMs = 1000;
  t.mock.method(performance, 'now', () => nowMs);
  const gateway = new Harness({ settings: { icmpErrorsPerSec: 1000, icmpErrorBurst: 5 } });
  const errors = (src: (i: number) => string) =>
    Array.from({ length: 8 }, (_, i) => gateway.send(astray({ src: src(i) }, udp({}))).frames.length).filter(
      (sent) => sent === 1,
    ).length;
  const forged = (i: number) => `2001:db8:1::f:${i}`;
  assert.equal(errors(forged), 5, 'the burst is as large');
  nowMs += 10;
  assert.equal(errors(forged), 0);
  assert.equal(
    errors(() => HOST6),
    5,
  );
  nowMs += 10;
  assert.equal(errors(forged), 1);
  nowMs += 10_000;
  assert.equal(errors(forged), 5);
  assert.equal(
    errors(() => HOST6),
    0,
    'and no more than all others',
  );
});

test('RFC 4443 section 2.4 f: that twentieth is for all workers together', (t) => {
  let nowMs = 1000;
  t.mock.method(performance, 'now', () => nowMs);
  const settings = { icmpErrorsPerSec: 1000, icmpErrorBurst: 1 };
  const gateway = new Harness({ settings, workerCount: 4 });
  const error = () => gateway.send(astray({ src: '2001:db8:1::f' }, udp({}))).frames.length;
  assert.equal(error(), 1);
  nowMs += 79;
  assert.equal(error(), 0);
  nowMs += 2;
  assert.equal(error(), 1);
});

test('RFC 7915 section 5.4: errors can be turned off [R7915-57]', () => {
  const gateway = new Harness({ settings: { icmpErrorsPerSec: 0, icmpErrorBurst: 0 } });
  assert.deepEqual(gateway.send(astray({}, udp({}))), { verdict: 'drop-v6-no-map-destination', frames: [] });
});

test('RFC 4443 section 4.2: ping to the own address is answered, with the hop limit of a new packet', () => {
  const ping = ipv6({ src: HOST6, dst: OWN6, hopLimit: 1 }, hopByHop(), echo({ id: 9, seq: 8 }, 'data'));
  check(send(ping).frames[0]!.bytes, 6, {
    src: OWN6,
    dst: HOST6,
    hopLimit: 64,
    extensions: [],
    upper: { kind: 'icmp', type: 129, id: 9, seq: 8, checksum: 'good' },
  });
});

for (const [name, chain, pointer] of [
  ['in the IP header', [], 6],
  ['in hop-by-hop options', [hopByHop()], 40],
  ['in the second of two', [hopByHop(), destinationOptions()], 48],
] as const) {
  test(`RFC 4443 section 3.4: a next header that the own address does not know, ${name}: 4/1, pointer ${pointer}`, () => {
    check(send(ipv6({ src: HOST6, dst: OWN6 }, ...chain, udp({}))).frames[0]!.bytes, 6, {
      upper: { kind: 'icmp', type: 4, code: 1, pointer },
    });
  });
}

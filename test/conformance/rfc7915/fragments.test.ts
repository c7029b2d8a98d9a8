/** RFC 7915 sections 4, 4.1 and 5.1.1: fragments, both ways, each by itself and as their receiver puts them together. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { check } from '../../helpers/checker.js';
import { Harness, HOST4, HOST6 } from '../../helpers/harness.js';
import {
  bytes,
  destinationOptions,
  echo,
  fragment6,
  fragments,
  hopByHop,
  ipv4,
  ipv6,
  type Layer,
  raw,
  routing,
  tcp,
  udp,
} from '../../helpers/packet.js';
import { from4, from6, only, reassemble, SERVER4, SERVER6, send, sendAll, zeros } from '../shared.js';

const DATA = bytes(4000);

for (const [name, layer] of [
  ['TCP', tcp({ sport: 1, dport: 2 }, DATA)],
  ['UDP', udp({ sport: 3, dport: 4 }, DATA)],
] as const) {
  for (const size of [64, 512, 1232, 1480]) {
    test(`RFC 7915 section 4.1: fragments of ${name} with ${size} bytes each come together as the packet that was sent [R7915-33] [R7915-2]`, () => {
      const whole = ipv6({ src: SERVER6, dst: HOST6 }, layer);
      assert.deepEqual(reassemble(sendAll(fragments(from4({}, layer), size, 77)), 6), whole);
    });
    test(`RFC 7915 section 5.1.1: fragments of ${name} with ${size} bytes each come together as the packet that was sent [R7915-61] [R7915-46] [R7915-47]`, () => {
      const whole = ipv4({ src: HOST4, dst: SERVER4 }, layer);
      assert.deepEqual(reassemble(sendAll(fragments(from6({}, layer), size, 0x10077)), 4), whole);
    });
  }
}

test('RFC 7915 section 4.1: fragments out of order are translated one by one, with no memory of another', () => {
  const whole = ipv6({ src: SERVER6, dst: HOST6 }, udp({}, DATA));
  const pieces = fragments(from4({}, udp({}, DATA)), 512);
  // A gateway for each: nothing of a later piece depends on an earlier one.
  const out = pieces.reverse().flatMap((piece) => sendAll([piece]));
  assert.deepEqual(reassemble(out, 6), whole);
});

test('RFC 7915 section 5.1.1: fragments out of order are translated one by one, with no memory of another', () => {
  const whole = ipv4({ src: HOST4, dst: SERVER4 }, udp({}, DATA));
  const pieces = fragments(from6({}, udp({}, DATA)), 512);
  const out = pieces.reverse().flatMap((piece) => sendAll([piece]));
  assert.deepEqual(reassemble(out, 4), whole);
});

for (const protocol of [6, 17, 50, 132]) {
  test(`RFC 7915 sections 4.1 and 5.1.1: a later fragment of protocol ${protocol} has no ports and passes untouched`, () => {
    const data = bytes(40);
    const to6 = only(from4({ offsetBytes: 1400, id: 0xfffe }, raw(protocol), data));
    check(to6, 6, {
      nextHeader: 44,
      payloadLength: 48,
      extensions: [{ kind: 'fragment', offsetBytes: 1400, more: false, id: 0xfffe, reserved: 0 }],
    });
    assert.deepEqual(to6.slice(48), data);
    const to4 = only(from6({}, fragment6({ id: 5, offsetBytes: 1400, nextHeader: protocol }), data));
    check(to4, 4, { protocol, offsetBytes: 1400, mf: false, df: false, id: 5 });
    assert.deepEqual(to4.slice(20), data);
  });
}

test('RFC 7915 sections 4.1 and 5.1.1: overlapping fragments are left to their receiver', () => {
  for (const offsetBytes of [8, 16]) {
    check(only(from4({ mf: true, offsetBytes }, raw(17), zeros(64))), 6, {
      extensions: [{ kind: 'fragment', offsetBytes, more: true }],
    });
    check(only(from6({}, fragment6({ offsetBytes, more: true, nextHeader: 17 }), zeros(64))), 4, {
      offsetBytes,
      mf: true,
    });
  }
});

for (const size of [8, 16]) {
  test(`RFC 7915 section 4.5: a first fragment of ${size} bytes does not show the checksum of TCP: dropped, both ways`, () => {
    const first4 = fragments(from4({}, tcp({}, DATA)), size)[0]!;
    assert.equal(send(first4).verdict, 'drop-fragment-malformed');
    const first6 = fragments(from6({}, tcp({}, DATA)), size)[0]!;
    assert.equal(send(first6).verdict, 'drop-fragment-malformed');
  });
}

test('RFC 7915 section 4.5: a first fragment of 8 bytes shows all of UDP that is adjusted: it passes, both ways', () => {
  const whole6 = ipv6({ src: SERVER6, dst: HOST6 }, udp({}, bytes(64)));
  assert.deepEqual(reassemble(sendAll(fragments(from4({}, udp({}, bytes(64))), 8)), 6), whole6);
  const whole4 = ipv4({ src: HOST4, dst: SERVER4 }, udp({}, bytes(64)));
  assert.deepEqual(reassemble(sendAll(fragments(from6({}, udp({}, bytes(64))), 8)), 4), whole4);
});

for (const size of [0, 1, 7, 9, 1231]) {
  test(`RFC 791 section 3.2: a fragment of ${size} bytes that is not the last is malformed, both ways`, () => {
    const to6 = from4({ mf: true, offsetBytes: 800 }, raw(17), zeros(size));
    assert.equal(send(to6).verdict, 'drop-fragment-malformed');
    const to4 = from6({}, fragment6({ offsetBytes: 800, more: true, nextHeader: 17 }), zeros(size));
    assert.equal(send(to4).verdict, 'drop-fragment-malformed');
  });
}

for (const [size, verdict] of [
  [7, 'forward'],
  [8, 'drop-fragment-malformed'],
] as const) {
  test(`RFC 8200 section 4.5: a piece at 65528 with ${size} bytes ${verdict === 'forward' ? 'fits' : 'ends beyond'} the largest payload of IPv6`, () => {
    assert.equal(send(from4({ offsetBytes: 65528 }, raw(17), zeros(size))).verdict, verdict);
  });
}

for (const [size, verdict] of [
  [3, 'forward'],
  [4, 'drop-fragment-malformed'],
] as const) {
  test(`RFC 791 section 3.1: a piece at 65512 with ${size} bytes ${verdict === 'forward' ? 'fits' : 'ends beyond'} the largest packet of IPv4`, () => {
    const piece = from6({}, fragment6({ offsetBytes: 65512, nextHeader: 17 }), zeros(size));
    assert.equal(send(piece).verdict, verdict);
  });
}

/** Total length of a whole packet without DF, the configured minimum, and the largest piece that may come out. */
for (const lowestIpv6Mtu of [1280, 1281, 1400, 1500, 9000]) {
  for (const over of [-1, 0, 1, 3000]) {
    const length = lowestIpv6Mtu - 20 + over;
    test(`RFC 7915 section 4: without DF, ${length} bytes at a lowest IPv6 MTU of ${lowestIpv6Mtu} ${over > 0 ? 'become fragments' : 'stay whole'} [R7915-2] [R7915-3] [R7915-4] [R7915-6]`, () => {
      const gateway = new Harness({ settings: { lowestIpv6Mtu, ipv6Mtu: 9000 } });
      const layer = udp({}, bytes(length - 28));
      const whole = ipv6({ src: SERVER6, dst: HOST6 }, layer);
      if (over <= 0) {
        const out = only(from4({}, layer), gateway);
        // No Fragment header where none is needed.
        check(out, 6, { nextHeader: 17, extensions: [], upper: { kind: 'udp', checksum: 'good' } });
        assert.deepEqual(out.slice(40), whole.slice(40));
        return;
      }
      const out = sendAll([from4({ id: 0x8001 }, layer)], gateway);
      assert.ok(out.length > 1);
      for (const piece of out) assert.ok(piece.length <= lowestIpv6Mtu);
      // As few as there may be.
      const room = Math.floor((lowestIpv6Mtu - 48) / 8) * 8;
      assert.equal(out.length, Math.ceil((length - 20) / room));
      check(out[0]!, 6, { extensions: [{ kind: 'fragment', id: 0x8001, offsetBytes: 0, more: true }] });
      assert.deepEqual(reassemble(out, 6), whole);
    });
  }
}

test('RFC 7915 section 4.1: a fragment that does not fit is split, and all pieces come together [R7915-6]', () => {
  const whole = ipv6({ src: SERVER6, dst: HOST6 }, udp({}, DATA));
  const pieces = fragments(from4({}, udp({}, DATA)), 1480);
  const out = sendAll(pieces);
  assert.ok(out.length > pieces.length);
  for (const piece of out) assert.ok(piece.length <= 1280);
  assert.deepEqual(reassemble(out, 6), whole);
});

test('RFC 7915 section 4.1: a fragment with DF is not split, it fits the MTU of the device', () => {
  const piece = only(from4({ df: true, mf: true, offsetBytes: 80 }, raw(17), zeros(1400)));
  assert.equal(piece.length, 1448);
  const tooBig = send(from4({ df: true, mf: true, offsetBytes: 80 }, raw(17), zeros(1456)));
  // No error about a later fragment (RFC 1122 section 3.2.2).
  assert.deepEqual(tooBig, { verdict: 'drop-too-big', frames: [] });
});

test('RFC 7915 section 5.1.1: a fragment larger than the IPv4 MTU is left to the IPv4 side, DF clear', () => {
  const gateway = new Harness({ settings: { ipv4Mtu: 576 } });
  const piece = from6({}, fragment6({ more: true, nextHeader: 17, offsetBytes: 8 }), zeros(1400));
  check(only(piece, gateway), 4, { df: false, totalLength: 1420 });
});

/** What stands in front of the Fragment header; bytes of it. */
const CHAINS: readonly (readonly [string, readonly Layer[]])[] = [
  ['hop-by-hop options', [hopByHop()]],
  ['destination options', [destinationOptions()]],
  ['a spent routing header', [routing({})]],
  ['all three', [hopByHop(bytes(14)), destinationOptions(bytes(22)), routing({})]],
];
for (const [name, chain] of CHAINS) {
  test(`RFC 7915 section 5.1.1: ${name} in front of the Fragment header: skipped with it [R7915-46] [R7915-47]`, () => {
    const out = only(
      from6({}, ...chain, fragment6({ id: 3, more: true, offsetBytes: 160, nextHeader: 17 }), bytes(64)),
    );
    check(out, 4, { protocol: 17, totalLength: 84, id: 3, mf: true, offsetBytes: 160, df: false });
    assert.deepEqual(out.slice(20), bytes(64));
  });
}

for (const [name, protocol, verdict] of [
  ['hop-by-hop options', 0, 'drop-extension-header'],
  ['a routing header', 43, 'drop-extension-header'],
  ['a second Fragment header', 44, 'drop-extension-header'],
  ['AH', 51, 'drop-extension-header'],
  ['destination options', 60, 'drop-extension-header'],
  ['ESP', 50, 'forward'],
] as const) {
  test(`RFC 7915 section 5.1.1: ${name} behind the Fragment header: ${verdict === 'forward' ? 'passes' : 'dropped and counted'} [R7915-45]`, () => {
    for (const offsetBytes of [0, 800]) {
      const packet = from6({}, fragment6({ more: true, offsetBytes, nextHeader: protocol }), zeros(64));
      const gateway = new Harness();
      assert.equal(gateway.send(packet).verdict, verdict);
    }
  });
}

test('RFC 7915 section 5.1: AH in front of a whole upper layer passes as the protocol that it is', () => {
  check(only(from6({}, raw(51), zeros(24))), 4, { protocol: 51, totalLength: 44 });
});

for (const length of [100, 1260, 1261, 1400]) {
  test(`RFC 6946 section 4: an atomic fragment of ${length} bytes is one whole packet, DF clear`, () => {
    const out = only(from6({}, fragment6({ id: 0xabcd1234 }), tcp({}, zeros(length - 40))));
    check(out, 4, {
      id: 0x1234,
      df: false,
      mf: false,
      offsetBytes: 0,
      totalLength: length,
      upper: { kind: 'tcp', checksum: 'good' },
    });
  });
}

test('RFC 6946 section 4: an echo in an atomic fragment is a whole echo', () => {
  check(only(from6({}, fragment6({}), echo({ id: 4 }, 'data'))), 4, {
    upper: { kind: 'icmp', type: 8, id: 4, checksum: 'good' },
  });
});

for (const offsetBytes of [0, 800]) {
  test(`RFC 7915 section 1.2: fragments of ICMP at ${offsetBytes} are not translated, both ways`, () => {
    assert.equal(send(from4({ mf: true, offsetBytes }, echo({}, zeros(56)))).verdict, 'drop-icmp-fragment');
    const piece = from6({}, fragment6({ more: true, offsetBytes }), echo({}, zeros(56)));
    assert.equal(send(piece).verdict, 'drop-icmp-fragment');
  });
}

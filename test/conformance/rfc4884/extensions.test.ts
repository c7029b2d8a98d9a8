/** RFC 4884: extensions of ICMP errors survive translation where the new message may carry them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { check, type DecodedIcmp, decode } from '../../helpers/checker.js';
import { Harness, HOST4, HOST6 } from '../../helpers/harness.js';
import { icmp, ipv4, ipv6, udp } from '../../helpers/packet.js';

const SERVER4 = '8.8.8.8';
const SERVER6 = '64:ff9b:1::8.8.8.8';
/** An MPLS label stack entry (RFC 4950). */
const extensions = [{ classNum: 1, cType: 1, data: [0, 1, 0x11, 0xff] }];
const objects = [{ classNum: 1, cType: 1 }];

const quote4 = (size: number) =>
  ipv4({ src: HOST4, dst: SERVER4 }, udp({ sport: 9 }, new Uint8Array(size).fill(7)));
const quote6 = (size: number) =>
  ipv6({ src: SERVER6, dst: HOST6 }, udp({ sport: 9 }, new Uint8Array(size).fill(7)));
const to6 = (type: number, code: number, size: number) =>
  new Harness().send(ipv4({ src: SERVER4, dst: HOST4 }, icmp({ type, code, extensions }, quote4(size))));
const to4 = (type: number, code: number, size: number) =>
  new Harness().send(ipv6({ src: HOST6, dst: SERVER6 }, icmp({ type, code, extensions }, quote6(size))));

for (const size of [0, 1, 60, 80, 100, 101, 108, 120, 300, 500]) {
  for (const [type, code, outType] of [
    [3, 1, 1],
    [11, 0, 3],
  ] as const) {
    test(`RFC 4884 sections 4.1 and 4.2: ${type}/${code} about ${size} bytes of data keeps its extensions as ICMPv6 ${outType} [R7915-21] [R7915-22] [TAYGA-6]`, () => {
      const { frames } = to6(type, code, size);
      const out = check(frames[0]!.bytes, 6, {
        upper: { kind: 'icmp', type: outType, checksum: 'good', extensions: { checksum: 'good', objects } },
      });
      const { originalBytes } = (out.upper as DecodedIcmp).extensions!;
      assert.equal(originalBytes % 8, 0);
      assert.ok(originalBytes >= 128);
      assert.ok(frames[0]!.bytes.length <= 1280);
    });
  }
  for (const [type, code, outType] of [
    [1, 4, 3],
    [3, 0, 11],
  ] as const) {
    test(`RFC 4884 sections 4.1 and 4.2: ICMPv6 ${type}/${code} about ${size} bytes of data keeps its extensions as ${outType} [R7915-51] [TAYGA-6]`, () => {
      const { frames } = to4(type, code, size);
      const out = check(frames[0]!.bytes, 4, {
        upper: { kind: 'icmp', type: outType, checksum: 'good', extensions: { checksum: 'good', objects } },
      });
      const { originalBytes } = (out.upper as DecodedIcmp).extensions!;
      assert.equal(originalBytes % 4, 0);
      assert.ok(originalBytes >= 128);
      assert.ok(frames[0]!.bytes.length <= 576);
    });
  }
}

for (const [type, code, outType] of [
  [3, 2, 4],
  [3, 4, 2],
  [12, 0, 4],
] as const) {
  test(`RFC 4884 section 4.6: ${type}/${code} becomes ICMPv6 ${outType}, which takes no extensions`, () => {
    const { frames } = to6(type, code, 200);
    const out = decode(frames[0]!.bytes, 6).upper as DecodedIcmp;
    assert.equal(out.type, outType);
    assert.equal(out.extensions, undefined);
    assert.equal(out.checksum, 'good');
    // The quote alone, with nothing of the extensions behind it.
    assert.equal(frames[0]!.bytes.length, 40 + 8 + 40 + 8 + 200);
  });
}

test('RFC 4884 section 4.2: a length that ends the quote inside its own header is refused, both ways', () => {
  const rest4 = 1 << 16;
  const error4 = ipv4({ src: SERVER4, dst: HOST4 }, icmp({ type: 3, code: 1, rest: rest4 }, quote4(100)));
  assert.equal(new Harness().send(error4).verdict, 'drop-icmp-quote');
  const rest6 = 1 << 24;
  const error6 = ipv6({ src: HOST6, dst: SERVER6 }, icmp({ type: 1, code: 4, rest: rest6 }, quote6(100)));
  assert.equal(new Harness().send(error6).verdict, 'drop-icmp-quote');
});

/** RFC 1624: checksums adjusted, never recomputed: right ones stay right, at every value of the sum, and wrong ones wrong. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { check } from '../../helpers/checker.js';
import { Harness, HOST4, HOST6 } from '../../helpers/harness.js';
import { echo, ipv4, ipv6, type Layer, raw, tcp, udp } from '../../helpers/packet.js';
import { from4, from6, only, SERVER4, SERVER6 } from '../shared.js';

/** Every word of data gives another sum, so that each value of the checksum occurs on one side or the other. */
const words = Array.from({ length: 0x10000 }, (_, word) => [word >> 8, word & 255] as const);
const cases: readonly (readonly [string, (data: readonly number[]) => Layer, number])[] = [
  ['TCP', (data) => tcp({}, data), 16],
  ['UDP', (data) => udp({}, data), 6],
  ['an echo', (data) => echo({}, data), 2],
];

for (const [name, layer, at] of cases) {
  test(`RFC 1624 section 3: every value of the checksum of ${name} is adjusted as if recomputed, both ways [R7915-28] [R7915-34] [R7915-48] [R7915-58]`, () => {
    const gateway = new Harness();
    for (const data of words) {
      const to6 = only(from4({}, layer(data)), gateway);
      const is6 = ipv6({ src: SERVER6, dst: HOST6 }, layer(data));
      assert.equal(to6[40 + at], is6[40 + at]);
      assert.equal(to6[41 + at], is6[41 + at]);
      const to4 = only(from6({}, layer(data)), gateway);
      const is4 = ipv4({ src: HOST4, dst: SERVER4 }, layer(data));
      assert.equal(to4[20 + at], is4[20 + at]);
      assert.equal(to4[21 + at], is4[21 + at]);
    }
  });
}

for (const [name, layer] of [
  ['TCP', tcp({ checksum: 'wrong' }, 'data')],
  ['UDP', udp({ checksum: 'wrong' }, 'data')],
  ['an echo', echo({ checksum: 'wrong' }, 'data')],
] as const) {
  test(`RFC 1624 section 3: a wrong checksum of ${name} stays wrong, both ways: corruption is not hidden [R7915-34]`, () => {
    check(only(from4({}, layer)), 6, { upper: { checksum: 'bad' } });
    check(only(from6({}, layer)), 4, { upper: { checksum: 'bad' } });
  });
}

test('RFC 1624 section 3: UDP-Lite and DCCP cover less than the packet; what they say stays right, both ways', () => {
  for (const protocol of [136, 33]) {
    const layer = raw(protocol, { checksumAt: 6 });
    const data = new Uint8Array(32);
    assert.deepEqual(
      only(from4({}, layer, data)).slice(40),
      ipv6({ src: SERVER6, dst: HOST6 }, layer, data).slice(40),
    );
    assert.deepEqual(
      only(from6({}, layer, data)).slice(20),
      ipv4({ src: HOST4, dst: SERVER4 }, layer, data).slice(20),
    );
  }
});

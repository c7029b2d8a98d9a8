import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import {
  type Address6,
  address6At,
  formatAddress4,
  formatAddress6,
  parseAddress4,
  parseAddress6,
  parsePrefix4,
  parsePrefix6,
  prefix4Contains,
  prefix6Contains,
  prefixes4Overlap,
  prefixes6Overlap,
  readAddress4,
  readAddress6,
} from '#nat64d/wire/address.js';
import { prefix4, prefix6 } from '../../helpers/harness.js';

const anyWord = fc.integer({ min: -0x80000000, max: 0x7fffffff });
/** Words that are often zero, so that runs of zero groups of every length come up. */
const sparseWord = fc.oneof(fc.constant(0), fc.constant(1), fc.constant(0x10000), anyWord);
const anyAddress6: fc.Arbitrary<Address6> = fc.tuple(sparseWord, sparseWord, sparseWord, sparseWord);

function bytesOf(address: Address6): number[] {
  return address.flatMap((word) => [word >>> 24, (word >>> 16) & 255, (word >>> 8) & 255, word & 255]);
}

test('an IPv4 address prints and reads back', () => {
  fc.assert(
    fc.property(fc.nat(0xffffffff), (address) => {
      assert.equal(parseAddress4(formatAddress4(address)), address);
      assert.deepEqual(ipaddr.IPv4.parse(formatAddress4(address)).toByteArray().length, 4);
    }),
  );
});

test('an IPv6 address prints as ipaddr.js prints it by RFC 5952, and reads back', () => {
  fc.assert(
    fc.property(anyAddress6, (address) => {
      const text = formatAddress6(address);
      assert.equal(text, new ipaddr.IPv6(bytesOf(address)).toRFC5952String());
      assert.deepEqual(parseAddress6(text), address);
    }),
    { numRuns: 2000 },
  );
});

test('an IPv6 address is read where it stands, from arrays of every kind', () => {
  fc.assert(
    fc.property(anyAddress6, fc.nat(5), (address, offset) => {
      const bytes = Uint8Array.of(...new Uint8Array(offset).fill(0xff), ...bytesOf(address), 0xff);
      const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
      shared.set(bytes);
      for (const array of [bytes, shared, Buffer.from(bytes)])
        assert.deepEqual(address6At(array, offset), address);
    }),
  );
});

test('addresses are read where they stand in a text of bytes, and nothing of what is around them', () => {
  const words = new Int32Array(4);
  const around = fc.constantFrom('', '1', '.', ':', '::', 'f', '\t', '0', '1.2', '\xff');
  fc.assert(
    fc.property(around, fc.nat(0xffffffff), anyAddress6, around, (before, ipv4, ipv6, behind) => {
      const read4 = formatAddress4(ipv4);
      const text4 = Buffer.from(before + read4 + behind, 'latin1');
      assert.equal(readAddress4(text4, before.length, before.length + read4.length), ipv4);
      assert.equal(readAddress4(text4, 0, text4.length), parseAddress4(before + read4 + behind) ?? -1);
      const read6 = formatAddress6(ipv6);
      const text6 = Buffer.from(before + read6 + behind, 'latin1');
      assert.ok(readAddress6(text6, before.length, before.length + read6.length, words));
      assert.deepEqual([...words], ipv6);
      const whole = parseAddress6(before + read6 + behind);
      assert.equal(readAddress6(text6, 0, text6.length, words), whole !== null);
      assert.deepEqual([...words], whole ?? ipv6);
    }),
    { numRuns: 1000 },
  );
});

test('a text that is much longer than an address, or no ASCII, is none', () => {
  for (const text of [`${'0'.repeat(70)}`, `1.2.3.4${' '.repeat(70)}`, '1.2.3.4\u0131', '1.2.3.\u0134']) {
    assert.equal(parseAddress4(text), null);
    assert.equal(parseAddress6(`::${text}`), null);
  }
});

for (const text of [
  '',
  '1.2.3',
  '1.2.3.4.5',
  '256.1.1.1',
  '01.2.3.4',
  '1.2.3.-4',
  ' 1.2.3.4',
  '1.2.3.4 ',
  '0x1.2.3.4',
  '1..2.3',
]) {
  test(`'${text}' is no IPv4 address`, () => assert.equal(parseAddress4(text), null));
}

for (const text of [
  '',
  ':',
  ':::',
  '1::2::3',
  '1:2:3:4:5:6:7',
  '1:2:3:4:5:6:7:8:9',
  '1:2:3:4:5:6:7:8::',
  '12345::',
  'g::',
  '::1%eth0',
  '[::1]',
  '::1.2.3',
  '1.2.3.4::',
  '::1.2.3.4:5',
  '1:2:3:4:5:6:7:1.2.3.4',
  '1:2:3:4:5:6:7::1.2.3.4',
  '1::2:3:4:5:6:7:8:9',
]) {
  test(`'${text}' is no IPv6 address`, () => assert.equal(parseAddress6(text), null));
}

for (const [text, canonical] of [
  ['::', '::'],
  ['::1', '::1'],
  ['1::', '1::'],
  ['2001:DB8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
  ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ['1:2:3:4:5:6:1.2.3.4', '1:2:3:4:5:6:102:304'],
  ['0:0:0:0:0:0:0:1', '::1'],
] as const) {
  test(`'${text}' is ${canonical}`, () => {
    const address = parseAddress6(text);
    assert.ok(address);
    assert.equal(formatAddress6(address), canonical);
  });
}

test('text that is no address is refused wherever ipaddr.js refuses it', () => {
  const soup = fc.string({ unit: fc.constantFrom(...':.0123456789abcdefg/%'), maxLength: 24 });
  fc.assert(
    fc.property(soup, (text) => {
      if (parseAddress6(text) !== null) assert.ok(ipaddr.IPv6.isValid(text));
      if (parseAddress4(text) !== null) assert.ok(ipaddr.IPv4.isValidFourPartDecimal(text));
    }),
    { numRuns: 5000 },
  );
});

test('a prefix with host bits, a missing or an absurd length is refused', () => {
  for (const text of ['10.0.0.1/8', '10.0.0.0', '10.0.0.0/33', '10.0.0.0/08', '10.0.0.0/-1', '/8']) {
    assert.equal(parsePrefix4(text), null, text);
  }
  for (const text of ['2001:db8::1/64', '2001:db8::', '2001:db8::/129', '2001:db8::/064', '2001:db8::/']) {
    assert.equal(parsePrefix6(text), null, text);
  }
});

test('what a prefix contains agrees with ipaddr.js', () => {
  fc.assert(
    fc.property(anyAddress6, anyAddress6, fc.nat(128), (a, b, length) => {
      const masked = new ipaddr.IPv6(bytesOf(a));
      const prefix = { address: ipaddrMask(masked, length), length };
      assert.equal(prefix6Contains(prefix, b), new ipaddr.IPv6(bytesOf(b)).match(masked, length));
    }),
  );
  fc.assert(
    fc.property(fc.nat(0xffffffff), fc.nat(0xffffffff), fc.nat(32), (a, b, length) => {
      const net = ipaddr.IPv4.networkAddressFromCIDR(`${formatAddress4(a)}/${length}`).toString();
      const prefix = { address: parseAddress4(net) as number, length };
      assert.equal(
        prefix4Contains(prefix, b),
        ipaddr.IPv4.parse(formatAddress4(b)).match(ipaddr.IPv4.parse(net), length),
      );
    }),
  );
});

function ipaddrMask(address: ipaddr.IPv6, length: number): Address6 {
  const text = ipaddr.IPv6.networkAddressFromCIDR(`${address.toString()}/${length}`).toString();
  return parseAddress6(text) as Address6;
}

test('prefixes overlap where one lies within the other, in either order', () => {
  assert.ok(prefixes4Overlap(prefix4('10.0.0.0/8'), prefix4('10.1.0.0/16')));
  assert.ok(prefixes4Overlap(prefix4('10.1.0.0/16'), prefix4('10.0.0.0/8')));
  assert.ok(!prefixes4Overlap(prefix4('10.1.0.0/16'), prefix4('10.2.0.0/16')));
  assert.ok(prefixes4Overlap(prefix4('0.0.0.0/0'), prefix4('255.255.255.255/32')));
  assert.ok(prefixes6Overlap(prefix6('2001:db8::/32'), prefix6('2001:db8:1::/48')));
  assert.ok(prefixes6Overlap(prefix6('2001:db8:1::/48'), prefix6('2001:db8::/32')));
  assert.ok(!prefixes6Overlap(prefix6('2001:db8:1::/48'), prefix6('2001:db8:2::/48')));
});

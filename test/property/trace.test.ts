/** `trace` says what the data plane does: the same packets through both, over configurations of every kind. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Address, tracePacket } from '#nat64d/control/inspect/trace.js';
import { translatorSettings } from '#nat64d/control/settings.js';
import { type Address6, formatAddress4, formatAddress6 } from '#nat64d/wire/address.js';
import { address4, address6, Harness } from '../helpers/harness.js';
import { TestSubject } from '../helpers/subject.js';

const CONFIGURATIONS = [
  '',
  '[[map]]\nipv4 = "198.51.100.0/24"\nipv6 = "2001:db8:9::/120"\n[[map]]\nipv4 = "198.51.100.8"\nipv6 = "2001:db8:8::8"\n[[map]]\nipv4 = "10.64.0.128/25"\nipv6 = "2001:db8:a::/64"\n',
  'pref64 = "64:ff9b::/96"\npool4 = "8.8.0.0/16"\nallow-from = ["2001:db8:1::/64", "2001:db8:9::/121"]\n',
  'pref64 = "2001:db8:64::/48"\npool4 = "10.64.0.0/24"\n[translation]\nclat = true\nforward-class-e = true\n[[map]]\nipv4 = "198.51.100.8"\nipv6 = "2001:db8:8::8"\n',
  'pref64 = false\npool4 = false\nipv4-address = "192.0.2.1"\nipv6-address = "2001:db8::1"\n[[map]]\nipv4 = "198.51.100.0/24"\nipv6 = "2001:db8:9::/120"\n[[map]]\nipv4 = "198.51.100.8"\nipv6 = "2001:db8:8::8"\n',
];
const HOSTS = ['2001:db8:1::2', '2001:db8:1::3', '2001:db8:1::4'];

const V4 = [
  '10.64.0.1',
  '10.64.0.2',
  '10.64.0.200',
  '10.64.3.3',
  '192.0.2.1',
  '198.51.100.8',
  '198.51.100.9',
  '8.8.8.8',
  '8.8.0.1',
  '127.0.0.1',
  '169.254.1.1',
  '224.0.0.1',
  '240.0.0.1',
  '255.255.255.255',
  '0.0.0.0',
  '192.168.1.1',
  '1.1.1.1',
];
const V6 = [
  ...HOSTS,
  '::',
  '::1',
  'fe80::1',
  'ff02::1',
  '2001:db8::1',
  '2001:db8:9::7',
  '2001:db8:8::8',
  '2001:db8:a::',
  '2001:db8:a:0:8000::',
  '2001:db8:7::7',
];

/** An ICMP echo request; its checksum is of no interest to what is decided here. */
function ping(source: Address, destination: Address): Uint8Array {
  if (source.family === 6 && destination.family === 6) {
    const bytes = Buffer.alloc(48);
    bytes.writeUInt32BE(0x60000000);
    bytes.set([0, 8, 58, 64], 4);
    for (let i = 0; i < 4; i++) {
      bytes.writeInt32BE(source.address[i] as number, 8 + 4 * i);
      bytes.writeInt32BE(destination.address[i] as number, 24 + 4 * i);
    }
    bytes[40] = 128;
    return new Uint8Array(bytes);
  }
  const bytes = Buffer.alloc(28);
  bytes.set([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1]);
  bytes.writeInt32BE(source.address as number, 12);
  bytes.writeInt32BE(destination.address as number, 16);
  let sum = 0;
  for (let i = 0; i < 20; i += 2) sum += bytes.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  bytes.writeUInt16BE(~sum & 0xffff, 10);
  bytes[20] = 8;
  return new Uint8Array(bytes);
}

for (const [index, toml] of CONFIGURATIONS.entries()) {
  test(`configuration ${index + 1}: the verdict, its reason and the addresses that leave are the data plane's`, () => {
    const subject = new TestSubject(toml, null);
    const { config } = subject;
    const hosts = subject.dataplane.keeper === undefined ? [] : HOSTS;
    const pool = subject.dataplane.keeper?.pool;
    const maps = hosts.map(
      (host) => [formatAddress4(pool?.addressOf(subject.assign(host)) ?? 0), host] as const,
    );
    const settings = { ...translatorSettings(config), icmpErrorsPerSec: 1e9, icmpErrorBurst: 1e9 };
    const harness = new Harness({
      settings,
      pool4: config.pool4 && `${formatAddress4(config.pool4.address)}/${config.pool4.length}`,
      maps: config.maps.map(
        ({ ipv4, ipv6 }) =>
          [
            `${formatAddress4(ipv4.address)}/${ipv4.length}`,
            `${formatAddress6(ipv6.address)}/${ipv6.length}`,
          ] as const,
      ),
      hosts: maps,
    });
    const ipv4 = fc.oneof(
      fc.constantFrom(...V4, ...maps.map(([address]) => address)).map((text) => address4(text) | 0),
      fc.integer(),
      fc.integer({ min: 0, max: 0xff }).map((n) => (address4('198.51.100.0') + n) | 0),
    );
    const underPref64 = ipv4.map((address) => embed(subject, address));
    const ipv6 = fc.oneof(
      fc.constantFrom(...V6).map(address6),
      underPref64,
      fc.integer({ min: 0, max: 0xff }).map((n) => address6(`2001:db8:9::${n.toString(16)}`)),
      fc.tuple(fc.integer(), fc.integer(), fc.integer(), fc.integer()) as fc.Arbitrary<Address6>,
    );
    const ends = fc.oneof(
      fc.tuple(ipv4, ipv4).map((pair) => pair.map((address) => ({ family: 4 as const, address }))),
      fc.tuple(ipv6, ipv6).map((pair) => pair.map((address) => ({ family: 6 as const, address }))),
    );
    fc.assert(
      fc.property(ends, ([source, destination]) => {
        const from = source as Address;
        const to = destination as Address;
        const trace = tracePacket(subject, from, to);
        const { verdict, frames } = harness.send(ping(from, to));
        const said = { dropped: trace.reason, held: 'hold' }[trace.verdict as string] ?? 'forward';
        // To itself, the translator answers no one who cannot be answered.
        if (trace.verdict === 'answered' && verdict.startsWith('drop-')) return;
        assert.equal(said, verdict, trace.steps.join('\n'));
        if (trace.source === null || verdict !== 'forward') return;
        const bytes = Buffer.from(frames[0]?.bytes ?? []);
        assert.deepEqual([trace.source, trace.destination], addressesOf(bytes), trace.steps.join('\n'));
      }),
      { numRuns: 3000 },
    );
  });
}

function embed(subject: TestSubject, address: number): Address6 {
  const { pref64 } = subject.config;
  if (pref64 === null || pref64.length === 96) {
    const [w0, w1, w2] = pref64?.address ?? [0x0064ff9b, 0, 0];
    return [w0, w1, w2, address];
  }
  // Length 48: two bytes, the octet of zeros, two bytes.
  const [w0, w1] = pref64.address;
  return [w0, w1 | (address >>> 16), (address & 0xffff) << 8, 0];
}

function addressesOf(bytes: Buffer): [string, string] {
  if ((bytes[0] as number) >>> 4 === 4) {
    return [formatAddress4(bytes.readInt32BE(12)), formatAddress4(bytes.readInt32BE(16))];
  }
  const at = (offset: number) =>
    formatAddress6([0, 4, 8, 12].map((i) => bytes.readInt32BE(offset + i)) as unknown as Address6);
  return [at(8), at(24)];
}

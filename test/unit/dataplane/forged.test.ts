/** Forged sources: who may send from where, and that nobody else is answered, translated or given an address. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reconfigure } from '#nat64d/dataplane/translate.js';
import { createPrefixTable } from '#nat64d/shm/prefix-table.js';
import {
  DEFAULT_SETTINGS,
  Harness,
  type HarnessOptions,
  HOST4,
  HOST6,
  prefix6,
} from '../../helpers/harness.js';
import { echo, icmp, ipv4, ipv6, tcp, udp } from '../../helpers/packet.js';

const SERVER6 = '64:ff9b:1::8.8.8.8';
const OWN6 = '64:ff9b:1::10.64.0.1';
const OWN4 = '10.64.0.1';
const NOT_ALLOWED = { verdict: 'drop-v6-source-not-allowed', frames: [] };
const FROM_POOL = { verdict: 'drop-v4-source-in-pool4', frames: [] };
const allowing = (...prefixes: string[]) => ({ allowFrom: prefixes.map(prefix6) });
const send = (packet: Uint8Array, options?: HarnessOptions) => new Harness(options).send(packet);

for (const source of ['2001:db8::7', '2000::', '3fff:ffff::1', 'fc00::1', 'fdff::1', '2002:c000:201::1']) {
  test(`by default a host may send from ${source}`, () => {
    assert.equal(send(ipv6({ src: source, dst: SERVER6 }, udp({}))).verdict, 'hold');
  });
}

for (const source of [
  ...['::2', '::192.0.2.1', '::ffff:192.0.2.1', '64:ff9b::192.0.2.1', '64:ff9b:1:1::1', '100::1'],
  ...['1fff::1', '4000::1', '5f00::1', 'fbff::1', 'fec0::1'],
]) {
  test(`by default nobody sends from ${source}: it gets no address, no translation and no answer`, () => {
    assert.deepEqual(send(ipv6({ src: source, dst: SERVER6 }, udp({}))), NOT_ALLOWED);
    assert.deepEqual(send(ipv6({ src: source, dst: OWN6 }, echo({}))), NOT_ALLOWED);
    const error = ipv6(
      { src: source, dst: SERVER6 },
      icmp({ type: 3 }, ipv6({ src: SERVER6, dst: source }, udp({}))),
    );
    assert.deepEqual(send(error), NOT_ALLOWED);
  });
}

test('allow-from says where hosts may be', () => {
  const settings = allowing('2001:db8:1::/64', '2001:db8:2::7/128', '64:ff9b:1:1::/64');
  for (const [source, verdict] of [
    ['2001:db8:1::ffff', 'hold'],
    ['2001:db8:2::7', 'hold'],
    ['64:ff9b:1:1::1', 'hold'],
    ['2001:db8:2::8', 'drop-v6-source-not-allowed'],
    ['2001:db8:1:1::', 'drop-v6-source-not-allowed'],
    ['fd00::1', 'drop-v6-source-not-allowed'],
  ] as const) {
    assert.equal(send(ipv6({ src: source, dst: SERVER6 }, udp({})), { settings }).verdict, verdict, source);
  }
});

test('everything may be allowed, but never what has no host, nor pref64', () => {
  const settings = allowing('::/0');
  for (const [source, verdict] of [
    ['4000::1', 'hold'],
    ['fec0::1', 'hold'],
    ['::1', 'drop-v6-address'],
    ['fe80::1', 'drop-v6-address'],
    ['64:ff9b:1::192.0.2.1', 'drop-v6-source-in-pref64'],
  ] as const) {
    assert.equal(send(ipv6({ src: source, dst: SERVER6 }, udp({})), { settings }).verdict, verdict, source);
  }
});

test('nothing may be allowed but what explicit maps name, and the kernel', () => {
  const options = {
    settings: allowing(),
    maps: [['192.0.2.9/32', '4000::9/128']] as const,
  };
  assert.equal(send(ipv6({ src: '4000::9', dst: SERVER6 }, udp({})), options).verdict, 'forward');
  assert.equal(send(ipv6({ src: '4000::9', dst: OWN6 }, echo({})), options).verdict, 'forward');
  assert.deepEqual(send(ipv6({ src: '4000::8', dst: SERVER6 }, udp({})), options), NOT_ALLOWED);
  assert.deepEqual(send(ipv6({ src: '2001:db8::1', dst: SERVER6 }, udp({})), options), NOT_ALLOWED);
  assert.equal(send(ipv6({ src: '64:ff9b:1::10.64.0.2', dst: SERVER6 }, udp({})), options).verdict, 'hold');
});

test('who has a map is not asked again: what has been given stands until control takes it back', () => {
  const gateway = new Harness({ hosts: [[HOST4, HOST6]], settings: allowing() });
  assert.equal(gateway.send(ipv6({ src: HOST6, dst: SERVER6 }, udp({}))).verdict, 'forward');
});

test("routers need not be where hosts may: their ICMP errors pass, with the gateway's own source", () => {
  const settings = allowing('2001:db8:1::/64');
  const quoted = ipv6({ src: SERVER6, dst: HOST6 }, udp({}));
  const error = (src: string) => ipv6({ src, dst: SERVER6 }, icmp({ type: 3 }, quoted));
  assert.equal(send(error('2001:db8:ffff::1'), { settings, hosts: [[HOST4, HOST6]] }).verdict, 'forward');
  assert.deepEqual(send(error('4000::1'), { settings, hosts: [[HOST4, HOST6]] }), NOT_ALLOWED);
});

test('a forged source gets no ICMPv6 error either', () => {
  const isSilent = (packet: Uint8Array, verdict: string) =>
    assert.deepEqual(send(packet, { settings: allowing('2001:db8:1::/64') }), { verdict, frames: [] });
  isSilent(ipv6({ src: '2001:db8:2::1', dst: SERVER6, hopLimit: 1 }, udp({})), 'drop-ttl');
  isSilent(ipv6({ src: '2001:db8:2::1', dst: '2001:db8::1' }, udp({})), 'drop-v6-no-map-destination');
  isSilent(ipv6({ src: '64:ff9b:1::1.1.1.1', dst: SERVER6, hopLimit: 1 }, udp({})), 'drop-ttl');
  isSilent(ipv6({ src: '64:ff9b:1::1.1.1.1', dst: OWN6 }, echo({})), 'drop-v6-source-in-pref64');
});

const POOL_MAP = ['10.64.77.0/24', '2001:db8:77::/120'] as const;
const hosts = [[HOST4, HOST6]] as const;
for (const [what, source] of [
  ['a host with a map', '10.64.9.9'],
  ['nobody', '10.64.200.1'],
  ['an explicit map', '10.64.77.7'],
] as const) {
  test(`nobody in front of the gateway speaks for ${what} of the pool`, () => {
    const options = { hosts: [...hosts, ['10.64.9.9', '2001:db8:1::9'] as const], maps: [POOL_MAP] };
    for (const packet of [udp({}), tcp({}), echo({})]) {
      assert.deepEqual(send(ipv4({ src: source, dst: HOST4 }, packet), options), FROM_POOL);
    }
    assert.deepEqual(send(ipv4({ src: source, dst: OWN4 }, echo({})), options), FROM_POOL);
    assert.deepEqual(send(ipv4({ src: source, dst: OWN4 }, udp({})), options), FROM_POOL);
    // Not even an error is sent, which the kernel would take to the one whom it is about.
    assert.deepEqual(send(ipv4({ src: source, dst: '10.64.99.99' }, udp({})), options), {
      verdict: 'drop-v4-no-map-destination',
      frames: [],
    });
  });
}

test("the kernel's own address may lie in the pool, and hosts of the pool reach each other", () => {
  assert.equal(send(ipv4({ src: '10.64.0.2', dst: HOST4 }, udp({})), { hosts }).verdict, 'forward');
  assert.equal(send(ipv4({ src: '10.64.0.2', dst: OWN4 }, echo({}))).verdict, 'forward');
  const options = { hosts: [...hosts, ['10.64.9.9', '2001:db8:1::9'] as const], maps: [POOL_MAP] };
  for (const to of ['10.64.9.9', '10.64.77.7']) {
    const { verdict, frames } = send(ipv6({ src: HOST6, dst: `64:ff9b:1::${to}` }, udp({})), options);
    assert.deepEqual([verdict, frames.length], ['forward', 1], to);
  }
});

test('with a CLAT, those whom explicit maps name are in front of us, in the pool or not', () => {
  const options = { maps: [POOL_MAP], hosts, settings: { clat: true } };
  assert.equal(send(ipv4({ src: '10.64.77.7', dst: '1.1.1.1' }, udp({})), options).verdict, 'forward');
  assert.deepEqual(send(ipv4({ src: '10.64.9.9', dst: HOST4 }, udp({})), options), FROM_POOL);
});

test('a reload changes it for hosts without a map', () => {
  const gateway = new Harness();
  const packet = ipv6({ src: '2001:db8:5::5', dst: SERVER6 }, udp({}));
  assert.equal(gateway.send(packet).verdict, 'hold');
  reconfigure(gateway.ctx, {
    workerCount: 1,
    settings: { ...DEFAULT_SETTINGS, ...allowing('2001:db8:1::/64') },
    hosts: gateway.hostBuffers,
    maps4: createPrefixTable([], 4),
    maps6: createPrefixTable([], 6),
  });
  assert.deepEqual(gateway.send(packet), NOT_ALLOWED);
});

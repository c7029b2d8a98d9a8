/** Packets told one by one, and settings that change while a worker runs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PacketLog } from '#nat64d/dataplane/packet-log.js';
import { reconfigure } from '#nat64d/dataplane/translate.js';
import { createPrefixTable } from '#nat64d/shm/prefix-table.js';
import type { PacketKind } from '#nat64d/shm/worker-task.js';
import { DEFAULT_SETTINGS, Harness, HOST4, HOST6, prefix4, prefix6 } from '../../helpers/harness.js';
import { echo, icmp, ipv4, ipv6, udp } from '../../helpers/packet.js';

const SERVER4 = '8.8.8.8';
const SERVER6 = '64:ff9b:1::808:808';
const passing = ipv6({ src: HOST6, dst: SERVER6 }, udp({}, 'data'));

/** What is told of a packet by a log of these kinds. */
function told(packet: Uint8Array, ...kinds: PacketKind[]) {
  const gateway = new Harness();
  const log = PacketLog.of(gateway.ctx, { ...DEFAULT_SETTINGS, logPackets: kinds });
  assert.ok(log);
  gateway.send(packet, undefined, 0, log);
  return log.take()?.notes ?? [];
}

const ALL: PacketKind[] = ['drop', 'reject', 'icmp', 'self'];
const CASES: readonly (readonly [string, Uint8Array, PacketKind, string, string, string, number])[] = [
  [
    'an unmapped pool address',
    ipv4({ src: SERVER4, dst: '10.64.99.9' }, udp({})),
    'reject',
    'drop-v4-no-map-destination',
    SERVER4,
    '10.64.99.9',
    17,
  ],
  [
    'a loopback source',
    ipv6({ src: '::1', dst: SERVER6 }, udp({})),
    'drop',
    'drop-v6-address',
    '::1',
    SERVER6,
    17,
  ],
  [
    'a ping to the own address',
    ipv4({ src: SERVER4, dst: '10.64.0.1' }, echo({})),
    'self',
    '',
    SERVER4,
    '10.64.0.1',
    1,
  ],
  [
    'UDP to the own address',
    ipv4({ src: SERVER4, dst: '10.64.0.1' }, udp({})),
    'self',
    'drop-self',
    SERVER4,
    '10.64.0.1',
    17,
  ],
  [
    'an error in transit',
    ipv4({ src: SERVER4, dst: HOST4 }, icmp({ type: 11 }, ipv4({ src: HOST4, dst: SERVER4 }, udp({})))),
    'icmp',
    '',
    SERVER4,
    HOST4,
    1,
  ],
  [
    'an ICMPv6 error in transit',
    ipv6({ src: HOST6, dst: SERVER6 }, icmp({ type: 3 }, ipv6({ src: SERVER6, dst: HOST6 }, udp({})))),
    'icmp',
    '',
    HOST6,
    SERVER6,
    58,
  ],
];
for (const [name, packet, kind, reason, source, destination, protocol] of CASES) {
  test(`${name} is told as ${kind}, and only where that is asked for`, () => {
    assert.deepEqual(told(packet, ...ALL), [
      { kind, reason, source, destination, protocol, length: packet.length },
    ]);
    assert.deepEqual(told(packet, ...ALL.filter((one) => one !== kind)), []);
  });
}

test('what passes is not told, what is no packet is told without addresses', () => {
  assert.deepEqual(told(passing, ...ALL), []);
  assert.deepEqual(told(Uint8Array.of(0x45, 0, 0), ...ALL), [
    { kind: 'drop', reason: 'drop-v4-malformed', source: '?', destination: '?', protocol: -1, length: 3 },
  ]);
});

test('no more than 50 are told at a time, the others counted', () => {
  const gateway = new Harness();
  const log = PacketLog.of(gateway.ctx, { ...DEFAULT_SETTINGS, logPackets: ['drop'] });
  assert.ok(log);
  const martian = ipv6({ src: '::1', dst: SERVER6 }, udp({}));
  for (let i = 0; i < 70; i++) gateway.send(martian, undefined, 0, log);
  const taken = log.take();
  assert.equal(taken?.notes.length, 50);
  assert.equal(taken?.left, 20);
  assert.equal(log.take(), undefined);
});

test('without anything to log there is no log', () => {
  assert.equal(PacketLog.of(new Harness().ctx, DEFAULT_SETTINGS), null);
});

test('other settings and tables are in force for the next packet', () => {
  const gateway = new Harness();
  assert.equal(gateway.send(passing).verdict, 'forward');
  const pairs = [{ ipv4: prefix4('198.51.100.7/32'), ipv6: prefix6(`${HOST6}/128`) }];
  reconfigure(gateway.ctx, {
    workerCount: 1,
    settings: { ...DEFAULT_SETTINGS, pref64: prefix6('2001:db8:64::/96'), icmpFragments: 'hold' },
    hosts: new Harness({ hosts: [] }).hostBuffers,
    maps4: createPrefixTable(pairs, 4),
    maps6: createPrefixTable(pairs, 6),
  });
  assert.equal(gateway.send(passing).verdict, 'drop-v6-no-map-destination');
  const moved = ipv6({ src: HOST6, dst: '2001:db8:64::808:808' }, udp({}, 'data'));
  const { verdict, frames } = gateway.send(moved);
  assert.equal(verdict, 'forward');
  assert.deepEqual([...frames[0]!.bytes.slice(12, 16)], [198, 51, 100, 7]);
  assert.notEqual(gateway.ctx.fragments, null);
  const tables = {
    workerCount: 1,
    hosts: gateway.hostBuffers,
    maps4: createPrefixTable([], 4),
    maps6: createPrefixTable([], 6),
  };
  reconfigure(gateway.ctx, { settings: DEFAULT_SETTINGS, ...tables });
  assert.equal(gateway.ctx.fragments, null);
  assert.equal(gateway.send(passing).verdict, 'forward', 'the dynamic map of the first table');
});

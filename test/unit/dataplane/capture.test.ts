/** What a worker copies for one who captures: both sides, drops, held frames, filters; and that it never waits. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Capture } from '#nat64d/dataplane/capture.js';
import { Loop } from '#nat64d/dataplane/loop.js';
import { CaptureReader, createCaptureRing } from '#nat64d/shm/capture-ring.js';
import { COUNTER_NAMES, readCounters, readDropsFromV4, readLevels } from '#nat64d/shm/counters.js';
import { ANSWER_ASSIGNED, ANSWER_REFUSED, HostRing } from '#nat64d/shm/host-ring.js';
import { HostTableWriter } from '#nat64d/shm/host-table.js';
import { CLOCK, GENERATION } from '#nat64d/shm/shared-state.js';
import type { CaptureTask, HostFilter } from '#nat64d/shm/worker-task.js';
import { Device } from '../../helpers/device.js';
import { address6, Harness, HOST4, HOST6, NOW_SEC, prefix4, prefix6 } from '../../helpers/harness.js';
import { bytes, echo, ipv4, ipv6, tcp, udp } from '../../helpers/packet.js';
import { makeTask } from '../../helpers/worker-task.js';

const SERVER4 = '8.8.8.8';
const SERVER6 = '64:ff9b:1::808:808';
const OTHER6 = '2001:db8:5::5';
const out = ipv6({ src: HOST6, dst: SERVER6 }, udp({}, 'question'));
const back = ipv4({ src: SERVER4, dst: HOST4 }, udp({}, 'answer'));
const martian = ipv6({ src: '::1', dst: SERVER6 }, udp({}));

const filter4 = (text: string): HostFilter => ({ family: 4, prefix: prefix4(text) });
const filter6 = (text: string): HostFilter => ({ family: 6, prefix: prefix6(text) });

function task(options: Partial<CaptureTask> = {}): CaptureTask {
  return {
    id: 1,
    ring: createCaptureRing(1 << 16),
    host: null,
    side: 'both',
    snapLength: 262_144,
    ...options,
  };
}

/** What stands in a ring, and is taken out of it. */
function taken({ ring }: CaptureTask) {
  const reader = new CaptureReader(ring);
  const records: { side: string; number: number; length: number; bytes: Uint8Array; verdict: string }[] = [];
  for (; reader.next(); reader.take()) {
    const { verdict } = reader;
    records.push({
      side: `${reader.side === 0 ? 'v6' : 'v4'} ${reader.isOutbound ? 'out' : 'in'}`,
      number: reader.number,
      length: reader.length,
      bytes: reader.bytes.slice(),
      verdict: verdict > 0 ? (COUNTER_NAMES[verdict] as string) : verdict < 0 ? 'held' : '',
    });
  }
  return records;
}

const shapes = (records: ReturnType<typeof taken>) =>
  records.map(({ side, number, verdict }) => `${number} ${side}${verdict && ` ${verdict}`}`);

/** Sends packets through a translator that is captured. */
function capture(options: Partial<CaptureTask>, ...packets: Uint8Array[]) {
  const gateway = new Harness();
  const wanted = task(options);
  const watcher = new Capture(gateway.ctx, wanted);
  const outcomes = packets.map((packet) => gateway.send(packet, undefined, 0, watcher));
  return { records: taken(wanted), outcomes };
}

test('each frame stands there as it came, and what it became, under one number', () => {
  const { records, outcomes } = capture({}, out, back);
  assert.deepEqual(shapes(records), ['1 v6 in', '1 v4 out', '2 v4 in', '2 v6 out']);
  assert.deepEqual(records[0]?.bytes, out);
  assert.deepEqual(records[1]?.bytes, outcomes[0]?.frames[0]?.bytes);
  assert.deepEqual(records[2]?.bytes, back);
  assert.deepEqual(records[3]?.bytes, outcomes[1]?.frames[0]?.bytes);
});

test('a drop is there with its reason, and the error that it causes behind it', () => {
  const expired = ipv6({ src: HOST6, dst: SERVER6, hopLimit: 1 }, udp({}));
  const { records } = capture({}, martian, expired, Uint8Array.of(0x20), new Uint8Array(0));
  assert.deepEqual(shapes(records), [
    '1 v6 in drop-v6-address',
    '2 v6 in drop-ttl',
    '2 v6 out',
    '3 v4 in drop-not-ip',
    '4 v4 in drop-not-ip',
  ]);
});

test('a super-frame is one frame; fragments are several; a short snap length keeps their beginnings', () => {
  const large = ipv4({ src: SERVER4, dst: HOST4, df: false }, udp({}, bytes(1400)));
  const { records, outcomes } = capture({}, large);
  assert.deepEqual(shapes(records), ['1 v4 in', '1 v6 out', '1 v6 out']);
  assert.deepEqual(
    records.slice(1).map((record) => record.bytes),
    outcomes[0]?.frames.map((frame) => frame.bytes),
  );
  const gateway = new Harness();
  const wanted = task({ snapLength: 100 });
  const vnet = { flags: 1, gsoType: 4, hdrLen: 60, gsoSize: 1400, csumStart: 40, csumOffset: 16 };
  const superFrame = ipv6({ src: HOST6, dst: SERVER6 }, tcp({}, bytes(40_000)));
  gateway.send(superFrame, vnet, 0, new Capture(gateway.ctx, wanted));
  assert.deepEqual(
    taken(wanted).map((record) => [record.side, record.length, record.bytes]),
    [
      ['v6 in', 40_060, superFrame.slice(0, 100)],
      ['v4 out', 40_040, gateway.ctx.u8.slice(100, 200)],
    ],
  );
  const cut = capture({ snapLength: 50 }, large).records;
  assert.deepEqual(
    cut.map((record) => record.bytes),
    records.map((record) => record.bytes.slice(0, 50)),
  );
});

for (const [what, options, expected] of [
  ['the IPv6 side', { side: 'v6' }, ['1 v6 in', '2 v6 out', '3 v6 in drop-v6-address']],
  ['the IPv4 side', { side: 'v4' }, ['1 v4 out', '2 v4 in']],
  ['a host', { host: filter6(`${HOST6}/128`) }, ['1 v6 in', '1 v4 out', '2 v4 in', '2 v6 out']],
  ['its network', { host: filter6('2001:db8:1::/64') }, ['1 v6 in', '1 v4 out', '2 v4 in', '2 v6 out']],
  ['the address it has', { host: filter4(`${HOST4}/32`) }, ['1 v6 in', '1 v4 out', '2 v4 in', '2 v6 out']],
  [
    'a server',
    { host: filter4(`${SERVER4}/32`) },
    ['1 v6 in', '1 v4 out', '2 v4 in', '2 v6 out', '3 v6 in drop-v6-address'],
  ],
  [
    'a server as IPv6 hosts see it',
    { host: filter6(`${SERVER6}/128`) },
    ['1 v6 in', '1 v4 out', '2 v4 in', '2 v6 out', '3 v6 in drop-v6-address'],
  ],
  ['a host that sends nothing', { host: filter6('2001:db8:2::/64') }, []],
  ['an address that nobody has', { host: filter4('10.64.3.8/32') }, []],
] as const) {
  test(`only frames of ${what}`, () => {
    assert.deepEqual(shapes(capture(options, out, back, martian).records), expected);
  });
}

test('a drop of a host is found by the other address of the host too, and a hairpin by its destination', () => {
  const expired6 = ipv6({ src: HOST6, dst: SERVER6, hopLimit: 1 }, udp({}));
  const expired4 = ipv4({ src: SERVER4, dst: HOST4, ttl: 1 }, udp({}));
  const hairpin = ipv6({ src: HOST6, dst: `64:ff9b:1::${HOST4}` }, udp({}));
  assert.deepEqual(shapes(capture({ host: filter4(`${HOST4}/32`) }, expired6).records), [
    '1 v6 in drop-ttl',
    '1 v6 out',
  ]);
  assert.deepEqual(shapes(capture({ host: filter6(`${HOST6}/128`) }, expired4).records), [
    '1 v4 in drop-ttl',
    '1 v4 out',
  ]);
  const gateway = new Harness({
    hosts: [
      [HOST4, HOST6],
      ['10.64.3.8', OTHER6],
    ],
  });
  const wanted = task({ host: filter6(`${OTHER6}/128`) });
  const toOther = ipv6({ src: HOST6, dst: '64:ff9b:1::10.64.3.8' }, udp({}));
  const watcher = new Capture(gateway.ctx, wanted);
  gateway.send(toOther, undefined, 0, watcher);
  gateway.send(hairpin, undefined, 0, watcher);
  assert.deepEqual(shapes(taken(wanted)), ['1 v6 in', '1 v6 out']);
});

/** A loop with a device, and all that control would have of it. */
function serve(frames: Uint8Array[], captures: CaptureTask[], settings = {}) {
  const device = new Device(frames);
  const given = { ...makeTask(settings), captures };
  const loop = new Loop(given, () => {}, device);
  const answers = new HostRing(given.answers);
  const state = new Int32Array(given.state);
  return {
    device,
    loop,
    task: given,
    refuse: () => answers.push(...address6(OTHER6), ANSWER_REFUSED),
    pass: (sec: number) => {
      state[CLOCK] = NOW_SEC + sec;
      loop.tick();
    },
    count: () => readCounters(given.counters),
    close: () => given.port.close(),
  };
}

test('a held frame is there once, from when it came; what becomes of it follows', () => {
  const wanted = task();
  const held = ipv6({ src: OTHER6, dst: SERVER6 }, udp({}, 'first'));
  const { loop, task: given, refuse, pass, count, close, device } = serve([held, held, out], [wanted]);
  loop.serve();
  assert.deepEqual(shapes(taken(wanted)), ['1 v6 in held', '2 v6 in held', '3 v6 in', '3 v4 out']);
  const { 'hold-hosts': hosts, 'hold-frames': frames, 'hold-bytes': size } = readLevels(given.counters);
  assert.deepEqual([hosts, frames], [1, 2]);
  assert.ok(size >= 2 * held.length);
  refuse();
  loop.serveAnswers();
  assert.deepEqual(shapes(taken(wanted)), [
    '4 v6 in drop-refused',
    '4 v6 out',
    '5 v6 in drop-refused',
    '5 v6 out',
  ]);
  assert.deepEqual(readLevels(given.counters), { 'hold-hosts': 0, 'hold-frames': 0, 'hold-bytes': 0 });
  // Nobody answers for this one.
  device.frames.push(ipv6({ src: '2001:db8:6::6', dst: SERVER6 }, udp({})));
  loop.serve();
  taken(wanted);
  pass(5);
  assert.deepEqual(shapes(taken(wanted)), ['7 v6 in drop-hold-timeout']);
  assert.equal(count()['drop-hold-timeout'], 1);
  close();
});

test('a full ring loses frames of the capture, and none of the network', () => {
  const wanted = task({ ring: createCaptureRing(4096) });
  const frames = Array.from({ length: 100 }, () => ipv6({ src: HOST6, dst: SERVER6 }, echo({}, bytes(500))));
  const { loop, count, close } = serve(frames, [wanted]);
  loop.serve();
  assert.equal(count()['frames-out'], 100);
  const { totals } = new CaptureReader(wanted.ring);
  assert.deepEqual(totals.wanted, [100, 100]);
  assert.equal(taken(wanted).length + totals.lost[0] + totals.lost[1], 200);
  close();
});

test('a held frame that there is no room for is lost once, and wanted once', () => {
  const wanted = task({ ring: createCaptureRing(1024), side: 'v6' });
  const held = ipv6({ src: OTHER6, dst: SERVER6 }, udp({}, 'first'));
  // The first fills the ring.
  const big = ipv6({ src: HOST6, dst: SERVER6 }, echo({}, bytes(900)));
  const { loop, task: given, close } = serve([big, held], [wanted]);
  loop.serve();
  new Int32Array(given.hosts.lastSeen)[9] = NOW_SEC;
  const state = new Int32Array(given.state);
  new HostTableWriter(given.hosts).publish(9, address6(OTHER6), ++state[GENERATION]!);
  new HostRing(given.answers).push(...address6(OTHER6), ANSWER_ASSIGNED);
  loop.serveAnswers();
  assert.equal(readCounters(given.counters)['frames-out'], 2);
  const { totals } = new CaptureReader(wanted.ring);
  assert.deepEqual(
    [totals.wanted, totals.lost],
    [
      [2, 0],
      [1, 0],
    ],
  );
  close();
});

test('who takes the place of a worker goes on numbering where it ended', () => {
  const wanted = task();
  for (const [first] of [[1], [3]]) {
    const { loop, close } = serve([out, out], [wanted]);
    loop.serve();
    assert.deepEqual(
      taken(wanted).map(({ number }) => number),
      [first, first, first! + 1, first! + 1],
    );
    close();
  }
});

test('captures begin and end between bursts, several at once, and beside the packet log', () => {
  const [all, v4] = [task(), task({ id: 2, side: 'v4' })];
  const { loop, device, close } = serve([], [], { logPackets: ['drop'] });
  const send = () => {
    device.frames.push(out);
    loop.serve();
  };
  send();
  loop.capture(all);
  loop.capture(v4);
  send();
  loop.endCapture(1);
  send();
  loop.endCapture(2);
  send();
  assert.deepEqual(shapes(taken(all)), ['1 v6 in', '1 v4 out']);
  assert.deepEqual(shapes(taken(v4)), ['1 v4 out', '2 v4 out']);
  close();
});

test('drops are counted by direction, those of frames that were held too', () => {
  const {
    loop,
    task: given,
    count,
    close,
  } = serve(
    [
      martian,
      ipv6({ src: HOST6, dst: SERVER6, hopLimit: 1 }, udp({})),
      ipv4({ src: SERVER4, dst: HOST4, ttl: 1 }, udp({})),
      ipv4({ src: SERVER4, dst: HOST4, ttl: 1 }, udp({})),
    ],
    [],
  );
  loop.serve();
  const fromV4 = readDropsFromV4(given.counters);
  assert.equal(count()['drop-ttl'], 3);
  assert.equal(fromV4['drop-ttl'], 2);
  assert.equal(fromV4['drop-v6-address'], 0);
  assert.equal(
    Object.values(fromV4).reduce((sum, value) => sum + value, 0),
    2,
  );
  close();
});

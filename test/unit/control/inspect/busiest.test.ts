/** The busiest hosts: what workers sample, what control makes of it, and that it costs nothing while nobody asks. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BusiestHosts, busiestHosts } from '#nat64d/control/inspect/busiest.js';
import { Loop } from '#nat64d/dataplane/loop.js';
import { Sampler } from '#nat64d/dataplane/sampler.js';
import { createHostRing, HostRing } from '#nat64d/shm/host-ring.js';
import {
  hostSample,
  isSampleFromV6,
  MAX_SAMPLE_SHIFT,
  sampleLength,
  sampleWeight,
} from '#nat64d/shm/host-sample.js';
import type { ToWorker } from '#nat64d/shm/worker-task.js';
import type { Address6 } from '#nat64d/wire/address.js';
import { Device } from '../../../helpers/device.js';
import { address6, Harness, HOST4, HOST6 } from '../../../helpers/harness.js';
import { bytes, ipv4, ipv6, udp } from '../../../helpers/packet.js';
import { TestSubject } from '../../../helpers/subject.js';
import { makeTask } from '../../../helpers/worker-task.js';

const SERVER6 = '64:ff9b:1::808:808';
const out = ipv6({ src: HOST6, dst: SERVER6 }, udp({}, bytes(52)));
const back = ipv4({ src: '8.8.8.8', dst: HOST4 }, udp({}, bytes(972)));
const nowhere = ipv4({ src: '8.8.8.8', dst: '10.64.9.9' }, udp({}));

function drained(ring: SharedArrayBuffer): { host: string; value: number }[] {
  const samples: { host: string; value: number }[] = [];
  new HostRing(ring).drain(100_000, (host: Address6, value) => samples.push({ host: host.join(), value }));
  return samples;
}

test('a sample keeps direction, weight and length', () => {
  for (const isFromV6 of [true, false])
    for (const shift of [0, 7, MAX_SAMPLE_SHIFT])
      for (const length of [1, 1500, 65_575]) {
        const value = hostSample(isFromV6, shift, length);
        assert.deepEqual(
          [isSampleFromV6(value), sampleWeight(value), sampleLength(value)],
          [isFromV6, 2 ** shift, length],
        );
      }
});

test('while there are few frames all are sampled, by the host on the IPv6 side; without a ring none', () => {
  const task = makeTask({});
  const device = new Device([]);
  const loop = new Loop(task, () => {}, device);
  const ring = createHostRing(2048);
  const pass = () => {
    device.frames.push(out, back, nowhere, back);
    loop.serve();
  };
  pass();
  loop.sample(ring);
  pass();
  loop.sample(null);
  pass();
  const host = address6(HOST6).join();
  assert.deepEqual(drained(ring), [
    { host, value: hostSample(true, 0, out.length) },
    { host, value: hostSample(false, 0, back.length) },
    { host, value: hostSample(false, 0, back.length) },
  ]);
  task.port.close();
});

test('a burst whose turn was drawn among all stands for itself alone, though the next ones are to be fewer', () => {
  const { ctx } = new Harness();
  ctx.u8.set(out, 80);
  const ring = createHostRing(4096);
  const sampler = new Sampler(ctx, new HostRing(ring), 1);
  for (let i = 0; i <= 2000; i++) {
    assert.ok(sampler.isDue());
    sampler.take(80, out.length);
  }
  assert.deepEqual([...new Set(drained(ring).map(({ value }) => sampleWeight(value)))], [1]);
});

test('under load samples stay few, and their weights make up for the rest', () => {
  const { ctx } = new Harness();
  ctx.u8.set(out, 80);
  const ring = createHostRing(65_536);
  const sampler = new Sampler(ctx, new HostRing(ring), 2);
  const bursts = 20_000;
  const size = 50;
  for (let sec = 0; sec < 4; sec++) {
    for (let burst = 0; burst < bursts; burst++)
      if (sampler.isDue()) for (let i = 0; i < size; i++) sampler.take(80, out.length);
    sampler.tick();
  }
  const samples = drained(ring);
  assert.ok(samples.length < 40_000, `${samples.length}`);
  const frames = samples.reduce((sum, { value }) => sum + sampleWeight(value), 0);
  const true_ = 4 * bursts * size;
  assert.ok(frames > true_ * 0.7 && frames < true_ * 1.3, `${frames} of ${true_}`);
});

test('hosts by bytes, with rates and both addresses; the first look begins the sampling', async () => {
  const subject = new TestSubject();
  subject.assign(HOST6);
  const { busiest } = subject.dataplane;
  assert.deepEqual(busiestHosts(subject), []);
  const [message] = subject.sent;
  assert.ok(message?.type === 'sample' && message.samples !== null);
  const ring = new HostRing(message.samples);
  for (let i = 0; i < 100; i++) ring.push(...address6(HOST6), hostSample(true, 2, 1000));
  ring.push(...address6(HOST6), hostSample(false, 0, 60_000));
  ring.push(...address6('2001:db8:7::7'), hostSample(false, 15, 1500));
  for (let i = 0; i < 50; i++) ring.push(0x20010db8, 8, 0, i, hostSample(true, 0, 100));
  await new Promise((resolve) => setTimeout(resolve, 50));
  busiest.look();
  const hosts = busiestHosts(subject);
  assert.equal(hosts.length, 20);
  const [first, second, third] = hosts;
  assert.deepEqual([first?.ipv6, first?.ipv4], ['2001:db8:7::7', null]);
  assert.match(second?.ipv4 ?? '', /^10\.64\./);
  assert.equal(second?.ipv6, HOST6);
  const { v6ToV4, v4ToV6 } = second as (typeof hosts)[number];
  assert.ok(v6ToV4.framesPerSec > 0);
  assert.ok(Math.abs(v6ToV4.bitsPerSec / v6ToV4.framesPerSec - 8000) < 1e-6);
  assert.ok(Math.abs(v6ToV4.framesPerSec / v4ToV6.framesPerSec - 400) < 1e-6);
  assert.match(third?.ipv6 ?? '', /^2001:db8:0:8::/);
  busiest.look();
  assert.deepEqual(busiestHosts(subject), [], 'of the last second only');
  busiest.close();
  assert.deepEqual(subject.sent.at(-1), { type: 'sample', samples: null });
  assert.equal(busiest.ringOf(0), null);
});

test('when nobody has asked for a while it is off again', (t) => {
  const sent: ToWorker[] = [];
  const busiest = new BusiestHosts(
    () => 1,
    (_, message) => void sent.push(message),
  );
  let nowMs = 1000;
  t.mock.method(performance, 'now', () => nowMs);
  busiest.ask();
  nowMs += 9000;
  busiest.look();
  assert.ok(busiest.isOn && busiest.ringOf(0) !== null);
  nowMs += 2000;
  busiest.look();
  assert.ok(!busiest.isOn && busiest.ringOf(0) === null);
  assert.equal(sent.length, 2);
  busiest.ask();
  assert.ok(busiest.isOn);
  busiest.close();
});

test('a worker that comes while somebody asks is listened to as well', () => {
  const busiest = new BusiestHosts(
    () => 1,
    () => {},
  );
  busiest.ask();
  const ring = busiest.ringOf(1);
  assert.ok(ring !== null && busiest.ringOf(1) === ring);
  new HostRing(ring).push(0x20010db8, 0, 0, 7, hostSample(true, 0, 1000));
  busiest.look();
  assert.equal(busiest.ask()[0]?.host[3], 7);
  busiest.close();
});

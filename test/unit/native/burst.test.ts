/** Reading and writing bursts on a real device. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import native, { type Queue } from '#native';
import { close, ip, type Link, open, openLink, Receiver, sendUdp, udpPacket } from './lab.js';

const { VNET_HDR_BYTES, MAX_FRAME_BYTES, offload } = native;
const VNET = Buffer.alloc(VNET_HDR_BYTES);

/** Both kinds of memory, each at an offset of its own. */
const memories = {
  'a SharedArrayBuffer': (bytes: number) => new Uint8Array(new SharedArrayBuffer(bytes + 48), 48, bytes),
  'an ArrayBuffer': (bytes: number) => new Uint8Array(new ArrayBuffer(bytes + 16), 16, bytes),
};
const words = {
  'a SharedArrayBuffer': (count: number) => new Int32Array(new SharedArrayBuffer(4 * count + 4), 4, count),
  'an ArrayBuffer': (count: number) => new Int32Array(new ArrayBuffer(4 * count + 4), 4, count),
};

function payloads(frames: Int32Array, count: number, ring: Uint8Array): string[] {
  return Array.from({ length: count }, (_, i) =>
    Buffer.from(
      ring.slice((frames[2 * i] as number) + 28, (frames[2 * i] as number) + (frames[2 * i + 1] as number)),
    ).toString('latin1'),
  );
}

for (const kind of ['a SharedArrayBuffer', 'an ArrayBuffer'] as const) {
  test(`reads a burst into ${kind}: packed, aligned, with headroom`, async () => {
    const { fd, far } = openLink();
    const ring = memories[kind](4 << 20);
    const frames = words[kind](512);
    const sent = Array.from({ length: 50 }, (_, i) => 'x'.repeat(1 + ((i * 131) % 1400)));
    assert.equal(native.read(fd, ring, 0, ring.length, 80, frames, 256), 0, 'an empty queue');
    await sendUdp(far, sent);
    const start = 1000;
    assert.equal(native.read(fd, ring, start, ring.length, 80, frames, 256), 50);
    assert.deepEqual(payloads(frames, 50, ring), sent);
    let end = start;
    for (let i = 0; i < 50; i++) {
      const [offset, length] = frames.subarray(2 * i, 2 * i + 2) as unknown as [number, number];
      assert.equal(offset % 16, 0);
      assert.ok(offset - end >= 80 && offset - end < 96, `frame ${i} at ${offset} after ${end}`);
      assert.equal(length, 28 + (sent[i] as string).length);
      assert.equal(ring[offset], 0x45);
      assert.deepEqual(Buffer.from(ring.slice(offset - 10, offset - 9)), Buffer.alloc(1));
      end = offset + length;
    }
    assert.ok(
      ring.subarray(0, start).every((byte) => byte === 0),
      'nothing before start',
    );
  });

  test(`writes frames from ${kind}, in one piece and in many`, async () => {
    const { fd, near, far } = openLink();
    const receiver = new Receiver();
    const port = await receiver.bind();
    const bytes = memories[kind](16384);
    const list = words[kind](512);
    const refused = words[kind](2);
    refused.fill(99);
    let at = 0;
    let word = 0;
    const sent: string[] = [];
    for (const pieces of [1, 2, 3, 64]) {
      const payload = Buffer.from(`in ${pieces} pieces, ${'y'.repeat(300)}`);
      sent.push(payload.toString());
      const frame = Buffer.concat([VNET, udpPacket(far, near, port, payload)]);
      list[word++] = pieces;
      for (let piece = 0; piece < pieces; piece++) {
        const part = frame.subarray(
          Math.floor((piece * frame.length) / pieces),
          Math.floor(((piece + 1) * frame.length) / pieces),
        );
        // Pieces lie apart.
        bytes.set(part, at);
        list[word++] = at;
        list[word++] = part.length;
        at += part.length + 7;
      }
    }
    assert.equal(native.write(fd, bytes, list, 4, refused), 4);
    assert.deepEqual([...refused], [0, 0]);
    await receiver.wait(4);
    assert.deepEqual(receiver.received, sent);
    receiver.close();
  });
}

test('reads maxFrames at most, and the rest later', async () => {
  const { fd, far } = openLink();
  const ring = new Uint8Array(1 << 20);
  const frames = new Int32Array(6);
  await sendUdp(far, ['1', '2', '3', '4', '5']);
  const got: string[][] = [];
  for (const maxFrames of [0, 3, 1, 3, 3]) {
    got.push(payloads(frames, native.read(fd, ring, 0, ring.length, 10, frames, maxFrames), ring));
  }
  assert.deepEqual(got, [[], ['1', '2', '3'], ['4'], ['5'], []]);
});

test('stops where a largest frame would not fit, and never writes past end', async () => {
  const { fd, far } = openLink();
  const ring = new Uint8Array(1 << 20).fill(0xaa);
  const frames = new Int32Array(512);
  await sendUdp(far, ['one', 'two', 'three']);
  // Room for a largest frame after the headroom, rounded up: one byte less holds none.
  const end = 96 + MAX_FRAME_BYTES;
  assert.equal(native.read(fd, ring, 0, end - 1, 81, frames, 256), 0);
  assert.equal(native.read(fd, ring, 0, end, 81, frames, 256), 1);
  assert.equal(native.read(fd, ring, 16, end + 15, 81, frames, 256), 0);
  assert.equal(native.read(fd, ring, 16, end + 16, 81, frames, 256), 1);
  assert.equal(frames[0], 112);
  assert.deepEqual(payloads(frames, 1, ring), ['two']);
  assert.equal(native.read(fd, ring, ring.length, ring.length, 81, frames, 256), 0);
  assert.ok(ring.subarray(112 + 28 + 3).every((byte) => byte === 0xaa));
});

test('the virtio-net header is little-endian and says that the checksum is partial', async () => {
  const { fd, far } = openLink();
  assert.equal(native.setOffload(fd, offload.CSUM), true);
  const ring = new Uint8Array(1 << 20);
  const frames = new Int32Array(2);
  await sendUdp(far, ['partial']);
  assert.equal(native.read(fd, ring, 0, ring.length, 80, frames, 1), 1);
  const header = Buffer.from(ring.buffer, (frames[0] as number) - 10, 10);
  assert.equal(header[0]! & 1, 1, 'VIRTIO_NET_HDR_F_NEEDS_CSUM');
  assert.equal(header.readUInt16LE(6), 20, 'csum_start');
  assert.equal(header.readUInt16LE(8), 6, 'csum_offset');
});

test('the kernel completes the checksum of a written frame as its virtio-net header says', async () => {
  const { fd, near, far } = openLink();
  const receiver = new Receiver();
  const port = await receiver.bind();
  const packet = udpPacket(far, near, port, Buffer.from('a partial sum'));
  // The checksum field holds the sum of the pseudo-header, not complemented (struct virtio_net_hdr, NEEDS_CSUM).
  let sum = 17 + 8 + 13;
  for (let i = 12; i < 20; i += 2) sum += packet.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  packet.writeUInt16BE(sum, 26);
  const header = Buffer.alloc(10);
  header[0] = 1;
  header.writeUInt16LE(20, 6);
  header.writeUInt16LE(6, 8);
  const frame = Buffer.concat([header, packet]);
  const refused = new Int32Array(2);
  assert.equal(native.write(fd, frame, Int32Array.of(1, 0, frame.length), 1, refused), 1);
  await receiver.wait(1);
  assert.deepEqual(receiver.received, ['a partial sum']);
});

/** Three frames of which the middle one is no IP packet. */
function mixed(link: Link, port: number): { bytes: Buffer; list: Int32Array } {
  const frame = (text: string) =>
    Buffer.concat([VNET, udpPacket(link.far, link.near, port, Buffer.from(text))]);
  const parts = [frame('before'), Buffer.concat([VNET, Buffer.from([0, 1, 2, 3])]), frame('after')];
  let at = 0;
  const list: number[] = [];
  for (const part of parts) {
    list.push(1, at, part.length);
    at += part.length;
  }
  return { bytes: Buffer.concat(parts), list: Int32Array.from(list) };
}

test('a frame that the kernel refuses is skipped and counted', async () => {
  const link = openLink();
  const receiver = new Receiver();
  const { bytes, list } = mixed(link, await receiver.bind());
  const refused = new Int32Array(2);
  assert.equal(native.write(link.fd, bytes, list, 3, refused), 2);
  assert.deepEqual([...refused], [1, 22], 'EINVAL');
  assert.deepEqual([list[0], list[3], list[6]], [1, -1, 1], 'which one');
  await receiver.wait(2);
  assert.deepEqual(receiver.received, ['before', 'after']);
  assert.equal(native.write(link.fd, bytes, list, 1, refused), 1);
  assert.deepEqual([...refused], [0, 0], 'counts per call');
  assert.equal(native.write(link.fd, bytes, list, 0, refused), 0);
});

test('a malformed list throws at its frame; the frames before it are written', async () => {
  const link = openLink();
  const receiver = new Receiver();
  const { bytes, list } = mixed(link, await receiver.bind());
  const size = list[2] as number;
  const refused = new Int32Array(2);
  const lists = {
    'no word for the second frame': [],
    'no pieces': [0, 0, 10],
    'a negative number of pieces': [-1, 0, 10],
    'more than 64 pieces': [65, ...Array.from({ length: 130 }, () => 0)],
    'pieces beyond the end of the list': [2, 0, 10, 0],
    'a negative offset': [1, -1, 10],
    'a negative length': [1, 0, -1],
    'an offset past the end': [1, bytes.length + 1, 0],
    'a length past the end': [1, 1, bytes.length],
    'the largest numbers': [1, 0x7fffffff, 0x7fffffff],
    'a second piece past the end': [2, 0, 10, 0, bytes.length + 1],
  };
  for (const [what, rest] of Object.entries(lists)) {
    const malformed = Int32Array.from([1, 0, size, ...rest]);
    assert.throws(() => native.write(link.fd, bytes, malformed, 2, refused), RangeError, what);
  }
  const count = Object.keys(lists).length;
  await receiver.wait(count);
  assert.deepEqual(
    receiver.received,
    Array.from({ length: count }, () => 'before'),
  );
});

test('a device that is down: reads are empty, writes are refused with EIO', async () => {
  const link = openLink();
  const { bytes, list } = mixed(link, 7);
  ip('link', 'set', link.name, 'down');
  const refused = new Int32Array(2);
  assert.equal(native.read(link.fd, new Uint8Array(1 << 20), 0, 1 << 20, 80, new Int32Array(2), 1), 0);
  assert.equal(native.write(link.fd, bytes, list, 3, refused), 0);
  assert.deepEqual([...refused], [3, 5]);
});

function readOne(queue: Queue): number {
  return native.read(queue.fd, new Uint8Array(1 << 20), 0, 1 << 20, 80, new Int32Array(2), 1);
}

test('a device that has been deleted, and a closed descriptor, throw', () => {
  const link = openLink();
  const { bytes, list } = mixed(link, 7);
  const refused = new Int32Array(2);
  ip('link', 'delete', link.name);
  const gone = { name: 'Error', code: 'EBADFD', errno: 77, message: /has been deleted/ };
  assert.throws(() => readOne(link), { ...gone, syscall: 'read' });
  assert.throws(() => native.write(link.fd, bytes, list, 3, refused), { ...gone, syscall: 'writev' });
  assert.throws(() => native.setOffload(link.fd, 0), { ...gone, syscall: 'TUNSETOFFLOAD' });
  close(link);
  const closed = { name: 'Error', code: 'EBADF', errno: 9, message: /is closed/ };
  assert.throws(() => readOne(link), { ...closed, syscall: 'read' });
  assert.throws(() => native.write(link.fd, bytes, list, 3, refused), { ...closed, syscall: 'writev' });
});

test('two queues of one device are read by themselves', async () => {
  const first = openLink({ name: 'pair', multiQueue: true });
  const second = open({ name: 'pair', multiQueue: true });
  assert.equal(second.name, 'pair');
  const sent = Array.from({ length: 32 }, (_, i) => `flow ${i}`);
  // A socket each: the kernel spreads flows, not packets.
  for (const payload of sent) await sendUdp(first.far, [payload]);
  const ring = new Uint8Array(4 << 20);
  const frames = new Int32Array(64);
  const got = [first, second].map(({ fd }) =>
    payloads(frames, native.read(fd, ring, 0, ring.length, 80, frames, 32), ring),
  );
  assert.ok(got[0]!.length > 0 && got[1]!.length > 0, 'both queues carry flows');
  assert.deepEqual(got.flat().sort(), sent.sort());
});

/** How often this thread has gone to sleep. */
function sleeps(): number {
  const status = readFileSync('/proc/thread-self/status', 'latin1');
  return Number(/^voluntary_ctxt_switches:\s*(\d+)/m.exec(status)?.[1]);
}

for (const isAwake of [false, true]) {
  test(`waits for a frame ${isAwake ? 'awake' : 'asleep'}: for as long as it was told, or until there is one`, async () => {
    const link = openLink();
    const { fd, far } = link;
    assert.equal(native.wait(fd, 0, isAwake), false);
    const before = sleeps();
    for (let i = 0; i < 50; i++) {
      const startNs = process.hrtime.bigint();
      assert.equal(native.wait(fd, 1000, isAwake), false);
      // Both clocks are cut to microseconds.
      assert.ok(process.hrtime.bigint() - startNs >= 999_000n, 'it has waited');
    }
    const slept = sleeps() - before;
    assert.ok(isAwake ? slept < 25 : slept >= 50, `${slept} of 50 times asleep`);
    await sendUdp(far, ['one']);
    assert.equal(native.wait(fd, 0, isAwake), true);
    close(link);
  });
}

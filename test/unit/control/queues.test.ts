/** The queues of a device through changes of their number. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silent } from '#nat64d/control/log.js';
import { type OpenDevice, openDevice } from '#nat64d/control/queues.js';
import native from '#native';
import { ip, openDescriptors, sendUdp } from '../native/lab.js';

let networks = 0;

/** A device that is up, with one queue, and an address beyond it. */
function open(): { device: OpenDevice; far: string } {
  const device = openDevice({ name: 'q%d', count: 1, offload: false, pref64: null }, silent);
  const network = `10.9.${networks++}`;
  ip('address', 'add', `${network}.1/24`, 'dev', device.name);
  ip('link', 'set', device.name, 'up');
  return { device, far: `${network}.2` };
}

/** How many frames wait in a queue. */
function waiting(fd: number): number {
  const ring = new Uint8Array(1 << 20);
  return native.read(fd, ring, 0, ring.length, native.VNET_HDR_BYTES, new Int32Array(64), 32);
}

test('frames that nobody has served in an old queue are gone when it serves again', async () => {
  const { device, far } = open();
  const [first] = device.fds as [number];
  await sendUdp(far, ['a', 'b', 'c']);
  const more = device.prepareQueues(2);
  assert.ok(more.isDisjoint);
  assert.ok(!more.fds.includes(first));
  more.take();
  more.finish();
  await sendUdp(far, ['d']);
  const less = device.prepareQueues(1);
  assert.deepEqual(less.fds, [first]);
  less.take();
  less.finish();
  await sendUdp(far, ['e', 'f']);
  assert.equal(waiting(first), 2, 'those from after the change');
  device.close();
});

test('a change is undone before it is taken, and not afterwards', async () => {
  const { device, far } = open();
  const before = openDescriptors();
  device.prepareQueues(2).undo();
  assert.equal(openDescriptors(), before);
  const change = device.prepareQueues(2);
  change.take();
  change.undo();
  assert.deepEqual(device.fds, change.fds);
  await sendUdp(far, ['a', 'b']);
  const [one = 0, two = 0] = change.fds.map(waiting);
  assert.equal(one + two, 2);
  device.close();
});

test('a kernel that does not know the UDP offloads, or any but checksums, is asked for what it knows', (t) => {
  const { CSUM, TSO4, TSO6, TSO_ECN } = native.offload;
  const tso = CSUM | TSO4 | TSO6 | TSO_ECN;
  for (const [known, offloads] of [
    [tso, ['CSUM', 'TSO4', 'TSO6', 'TSO_ECN']],
    [CSUM, ['CSUM']],
    [0, []],
  ] as const) {
    let inForce = -1;
    const stub = t.mock.method(native, 'setOffload', (_fd: number, bits: number) => {
      // TUNSETOFFLOAD refuses a set with a bit it does not know, and leaves the one in force.
      if ((bits & ~known) !== 0) return false;
      inForce = bits;
      return true;
    });
    const device = openDevice({ name: 'q%d', count: 1, offload: true, pref64: null }, silent);
    assert.deepEqual(device.offloads, offloads);
    assert.equal(inForce, known);
    device.setOffload(false);
    assert.deepEqual([device.offloads, inForce], [[], 0]);
    device.close();
    stub.mock.restore();
  }
});

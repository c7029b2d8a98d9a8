/** A socket whose buffer is full: datagrams wait in it for a neighbour that does not answer, in a namespace of their own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import native from '#native';
import { ip } from './lab.js';

const EAGAIN = 11;
const { UDP_FIELDS } = native;

test('it refuses the rest of the call at once; nothing is tried again', () => {
  ip('link', 'add', 'near', 'type', 'veth', 'peer', 'name', 'far');
  ip('link', 'set', 'far', 'up');
  ip('link', 'set', 'near', 'up');
  ip('address', 'add', '10.9.0.1/24', 'dev', 'near');
  const { fd } = native.openUdp({
    address: Int32Array.of(0, 0, 0xffff, 0),
    port: 0,
    scope: 0,
    packetInfo: false,
    receiveBytes: 0,
    sendBytes: 1,
  });
  const list = new Int32Array(64 * UDP_FIELDS);
  for (let i = 0; i < 64; i++) list.set([0, 200, 4, 53, 0, 0, 0, 0xffff, 0x0a090002], i * UDP_FIELDS);
  const refused = new Int32Array(2);
  const sent = native.sendBatch(fd, new Uint8Array(200), list, 64, refused);
  native.closeUdp(fd);
  assert.ok(sent > 0 && sent < 64, String(sent));
  assert.deepEqual([...refused], [64 - sent, EAGAIN]);
});

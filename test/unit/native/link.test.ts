/** The state of an interface. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import native from '#native';
import { close, ip, open, openDescriptors } from './lab.js';

test('linkState follows up, down and the MTU, and ends with the device', () => {
  const queue = open({ name: 'watched' });
  const before = openDescriptors();
  assert.deepEqual(native.linkState('watched'), { up: false, mtu: 1500 });
  ip('link', 'set', 'watched', 'up', 'mtu', '9000');
  assert.deepEqual(native.linkState('watched'), { up: true, mtu: 9000 });
  ip('link', 'set', 'watched', 'down', 'mtu', '68');
  assert.deepEqual(native.linkState('watched'), { up: false, mtu: 68 });
  ip('link', 'del', 'watched');
  assert.equal(native.linkState('watched'), null);
  assert.equal(openDescriptors(), before);
  close(queue);
});

test('linkState takes a name and nothing else', () => {
  assert.throws(() => native.linkState(1 as never), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
  assert.throws(() => native.linkState(''), { name: 'RangeError', code: 'ERR_OUT_OF_RANGE' });
  assert.throws(() => native.linkState('x234567890123456'), { name: 'RangeError' });
});

/** The state of an interface. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
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

test('interfaceAddresses knows those of a device that nobody has open, and has open only now', () => {
  ip('tuntap', 'add', 'dev', 'addressed', 'mode', 'tun');
  writeFileSync('/proc/sys/net/ipv6/conf/addressed/disable_ipv6', '0');
  ip('link', 'set', 'addressed', 'up');
  ip('addr', 'add', '192.0.2.1/24', 'dev', 'addressed');
  ip('addr', 'add', '192.0.2.2/32', 'dev', 'addressed', 'label', 'addressed:more');
  ip('addr', 'add', '2001:db8::1/64', 'dev', 'addressed', 'nodad');
  const before = openDescriptors();
  const all = ['192.0.2.1/24', '192.0.2.2/32', '2001:db8::1/64'];
  assert.deepEqual(native.interfaceAddresses('addressed'), all);
  const queue = open({ name: 'addressed', multiQueue: false });
  const global = native.interfaceAddresses('addressed').filter((text) => !text.startsWith('fe80'));
  assert.deepEqual(global, all);
  assert.deepEqual(native.interfaceAddresses('addresse'), []);
  assert.deepEqual(native.interfaceAddresses('lo'), networkInterfaces().lo?.map(({ cidr }) => cidr) ?? []);
  close(queue);
  assert.equal(openDescriptors(), before);
  ip('link', 'del', 'addressed');
});

test('linkState takes a name and nothing else', () => {
  assert.throws(() => native.linkState(1 as never), { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
  assert.throws(() => native.linkState(''), { name: 'RangeError', code: 'ERR_OUT_OF_RANGE' });
  assert.throws(() => native.linkState('x234567890123456'), { name: 'RangeError' });
});

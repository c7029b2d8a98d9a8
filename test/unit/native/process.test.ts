/** What a process gives up, and becomes; each in a child, for there is no way back. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import native from '#native';
import { listenForDatagrams } from '../../helpers/datagram-listener.js';

const ADDON = fileURLToPath(new URL('../../../../native/index.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'nat64d-process-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Runs a program with `native` and `status()`, this process's lines of /proc, in a Node of its own. */
function inChild(program: string) {
  const status = `const status = () => require('fs').readFileSync('/proc/thread-self/status', 'utf8');`;
  const script = `const native = require(${JSON.stringify(ADDON)}); ${status} ${program}`;
  const { stdout, stderr, status: code } = spawnSync(process.execPath, ['-e', script], { encoding: 'utf8' });
  return { stdout, stderr, code };
}

test('setNoNewPrivs holds for the children of the thread', () => {
  const { stdout, stderr } = inChild(
    `native.setNoNewPrivs(); console.log(require('child_process').execFileSync('cat', ['/proc/self/status']) + '')`,
  );
  assert.match(stdout, /NoNewPrivs:\t1/, stderr);
});

test('dropBoundingSet leaves a child the named capabilities alone', () => {
  const keep = 2 ** 12 + 2 ** 6;
  const { stdout, stderr } = inChild(
    `native.dropBoundingSet(${keep}); console.log(require('child_process').execFileSync('cat', ['/proc/self/status']) + '')`,
  );
  for (const set of ['CapBnd', 'CapEff', 'CapPrm']) {
    assert.match(stdout, new RegExp(`${set}:\\t0+1040\\n`), stderr);
  }
});

test('dropBoundingSet without CAP_SETPCAP says so', () => {
  const { stderr } = inChild(`process.setuid(65534); native.dropBoundingSet(0)`);
  assert.match(stderr, /takes CAP_SETPCAP \(prctl: EPERM\)/);
});

test('keepCapabilities and setCapabilities leave another user the named ones, and the program that it becomes', () => {
  const { stdout, stderr } = inChild(
    `native.keepCapabilities(); process.setgroups([]); process.setgid(1); process.setuid(65534);
     native.setCapabilities(${2 ** 12 + 2 ** 10}); console.log(status());
     native.exec('/bin/cat', ['cat', '/proc/self/status'], []);`,
  );
  const sets = ['CapPrm', 'CapEff', 'CapInh', 'CapAmb'];
  for (const set of sets) {
    const found = [...stdout.matchAll(new RegExp(`^${set}:\\t(.*)$`, 'gm'))].map(([, bits]) => bits);
    assert.deepEqual(found, Array(2).fill('0000000000001400'), `${set}: ${stderr}`);
  }
  assert.equal(stdout.match(/^Uid:\t65534\t65534\t65534\t65534$/gm)?.length, 2);
});

test('setCapabilities gives none that the thread has not, and those beyond 2^32 too', () => {
  const { stdout } = inChild(
    `native.setCapabilities(2 ** 39); native.setCapabilities(2 ** 52 - 1); console.log(status())`,
  );
  assert.match(stdout, /CapEff:\t0000008000000000/);
});

test('chroot makes a folder the root and the working folder', () => {
  writeFileSync(join(folder, 'here'), 'inside');
  const { stdout, stderr } = inChild(
    `native.chroot(${JSON.stringify(folder)}); process.chdir('/'); const fs = require('fs');
     console.log(process.cwd(), fs.readFileSync('/here', 'utf8'), fs.readFileSync('here', 'utf8'), fs.existsSync('/proc'))`,
  );
  assert.equal(stdout, '/ inside inside false\n', stderr);
});

test('chroot of a folder that is not there, or without the right to', () => {
  assert.match(
    inChild(`native.chroot('/nowhere')`).stderr,
    /\/nowhere: No such file or directory; make the folder \(chdir: ENOENT\)/,
  );
  assert.match(
    inChild(`process.setuid(65534); native.chroot('/')`).stderr,
    /takes CAP_SYS_CHROOT \(chroot: EPERM\)/,
  );
});

test('exec becomes another program, with its arguments, its environment, the same pid and streams', () => {
  const { stdout, code } = inChild(
    `console.log(process.pid); native.exec('/bin/sh', ['sh', '-c', 'echo $$ "$1" $X; exit 7', 'sh', 'a b'], ['X=y'])`,
  );
  const [first = '', second] = stdout.split('\n');
  assert.equal(second, `${first} a b y`);
  assert.equal(code, 7);
});

test('exec of what is no program comes back with an error', () => {
  assert.match(
    inChild(`native.exec('/nowhere', ['x'], [])`).stderr,
    /\/nowhere: No such file or directory \(execve: ENOENT\)/,
  );
  assert.match(inChild(`native.exec('/', ['x'], [])`).stderr, /\(execve: EACCES\)/);
});

const WRONG: readonly (readonly [string, () => unknown, object])[] = [
  ['exec without a list', () => native.exec('/bin/true', 'x' as never, []), { name: 'TypeError' }],
  ['exec with numbers', () => native.exec('/bin/true', [1] as never, []), { name: 'TypeError' }],
  ['exec with a zero byte', () => native.exec('/bin/true', ['a\0b'], []), { name: 'RangeError' }],
  [
    'exec with a wrong environment',
    () => native.exec('/bin/true', ['true'], {} as never),
    { name: 'TypeError' },
  ],
  ['exec without the name of the program', () => native.exec('/bin/true', [], []), { name: 'RangeError' }],
  ['exec of nothing', () => native.exec('', [], []), { name: 'RangeError' }],
  ['chroot of a number', () => native.chroot(1 as never), { name: 'TypeError' }],
  ['chroot of too long a path', () => native.chroot('x'.repeat(5000)), { name: 'RangeError' }],
  ['a bounding set of a fraction', () => native.dropBoundingSet(0.5), { name: 'RangeError' }],
  ['a bounding set below zero', () => native.dropBoundingSet(-1), { name: 'RangeError' }],
  ['a bounding set of text', () => native.dropBoundingSet('1' as never), { name: 'TypeError' }],
  ['capabilities of a fraction', () => native.setCapabilities(0.5), { name: 'RangeError' }],
  ['capabilities below zero', () => native.setCapabilities(-1), { name: 'RangeError' }],
  ['capabilities of text', () => native.setCapabilities('1' as never), { name: 'TypeError' }],
  ['a datagram to nothing', () => native.openDatagram(''), { name: 'RangeError' }],
  ['a datagram to too long a path', () => native.openDatagram('x'.repeat(108)), { name: 'RangeError' }],
  ['a datagram to nobody', () => native.openDatagram('/nowhere'), { code: 'ENOENT', syscall: 'connect' }],
  ['a datagram to no abstract name', () => native.openDatagram('@nat64d-nowhere'), { code: 'ECONNREFUSED' }],
  ['a datagram on no descriptor', () => native.sendDatagram(-1, new Uint8Array(1)), { name: 'RangeError' }],
  [
    'a datagram on a closed descriptor',
    () => native.sendDatagram(9999, new Uint8Array(1)),
    { code: 'EBADF' },
  ],
  ['a datagram of text', () => native.sendDatagram(1, 'x' as never), { name: 'TypeError' }],
];
for (const [name, call, error] of WRONG) test(`${name} is refused`, () => assert.throws(call, error));

test('datagrams arrive whole, by path and by abstract name; a listener that has gone is no error', async () => {
  for (const name of [join(folder, 'socket'), `@nat64d-test-${process.pid}`]) {
    const listener = await listenForDatagrams(name);
    const fd = native.openDatagram(name);
    assert.equal(native.sendDatagram(fd, Buffer.from('READY=1')), true);
    assert.equal(native.sendDatagram(fd, new Uint8Array(new SharedArrayBuffer(3)).fill(0x61)), true);
    assert.throws(() => native.sendDatagram(fd, new Uint8Array(1 << 22)), { code: 'EMSGSIZE' });
    assert.deepEqual(await listener.received(2), ['READY=1', 'aaa']);
    await listener.close();
    assert.equal(native.sendDatagram(fd, Buffer.from('nobody')), false);
    native.closeQueue(fd);
  }
});

test('lock: one holder at a time, until it closes the descriptor', () => {
  const first = openSync(folder, 'r');
  const second = openSync(folder, 'r');
  assert.equal(native.lock(first), true);
  assert.equal(native.lock(second), false);
  closeSync(first);
  assert.equal(native.lock(second), true);
  closeSync(second);
  assert.throws(() => native.lock(second), { code: 'EBADF', syscall: 'flock' });
  assert.throws(() => native.lock('x' as never), { name: 'TypeError' });
});

/** `npm run fuzz -- sanitize`: the allocator is AddressSanitizer's own, which keeps what is freed. */
const isSanitized = /libasan|libclang_rt\.asan/.test(process.env.LD_PRELOAD ?? '');

test('releaseMemory gives back what was freed below what is still used', { skip: isSanitized }, () => {
  const { stdout, stderr } = inChild(
    `require('v8').setFlagsFromString('--expose-gc'); const gc = require('vm').runInNewContext('gc');
     let blocks = Array.from({ length: 600 }, () => Buffer.allocUnsafeSlow(100_000).fill(1));
     const last = blocks.at(-1); blocks = undefined;
     setTimeout(() => gc(), 1);
     setTimeout(() => { const before = process.memoryUsage.rss(); native.releaseMemory();
       console.log(before - process.memoryUsage.rss() > 20_000_000, last.length); }, 200)`,
  );
  assert.equal(stdout, 'true 100000\n', stderr);
});

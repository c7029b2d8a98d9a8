/** Queues: opening, closing, sharing and refusals. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import native, { type QueueOptions } from '#native';
import { close, ip, open, openDescriptors } from './lab.js';

const { offload } = native;

/** The names of all TUN devices. */
function devices(): string[] {
  const links: { ifname: string }[] = JSON.parse(ip('-j', 'link', 'show', 'type', 'tun') || '[]');
  return links.map((link) => link.ifname);
}

test('opens a queue, makes the device, closes it and the device is gone', () => {
  const queue = open({ name: 'first' });
  const { fd, name } = queue;
  assert.equal(name, 'first');
  const flags = Number.parseInt(
    /flags:\s*(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))![1]!,
    8,
  );
  assert.equal(flags & 3, 2, 'O_RDWR');
  assert.notEqual(flags & 0o4000, 0, 'O_NONBLOCK');
  assert.notEqual(flags & 0o2000000, 0, 'O_CLOEXEC');
  assert.deepEqual(devices(), ['first']);
  close(queue);
  assert.deepEqual(devices(), []);
});

test('the kernel numbers the devices where the name holds %d', () => {
  const queues = [open({ name: 'num%d' }), open({ name: 'num%d' })];
  assert.deepEqual(
    queues.map((queue) => queue.name),
    ['num0', 'num1'],
  );
});

test('a name of 15 bytes is not cut', () => {
  assert.equal(open({ name: 'x23456789012345' }).name, 'x23456789012345');
});

for (const vnetHdr of [false, true]) {
  for (const multiQueue of [false, true]) {
    test(`sets the flags asked for: vnetHdr ${vnetHdr}, multiQueue ${multiQueue}; and owner and group`, () => {
      open({ name: 'flags', vnetHdr, multiQueue, owner: 1234, group: 4321 });
      const [link] = JSON.parse(ip('-j', '-d', 'link', 'show', 'flags'));
      const { type, pi, vnet_hdr, multi_queue, persist, user, group } = link.linkinfo.info_data;
      assert.deepEqual(
        [type, pi, vnet_hdr, multi_queue, persist],
        ['tun', false, vnetHdr, multiQueue, false],
      );
      assert.deepEqual([String(user), String(group)], ['1234', '4321']);
    });
  }
}

test('a multi-queue device takes 256 queues and says so at the next', () => {
  const options = { name: 'many', multiQueue: true };
  for (let i = 0; i < 256; i++) open(options);
  const before = openDescriptors();
  assert.throws(() => open(options), {
    code: 'E2BIG',
    errno: 7,
    syscall: 'TUNSETIFF',
    message: /'many' has as many queues as the kernel allows/,
  });
  assert.equal(openDescriptors(), before);
});

test('a persistent device outlives its queue until persist is taken back', () => {
  const first = open({ name: 'stays' });
  native.setPersist(first.fd, true);
  close(first);
  assert.deepEqual(devices(), ['stays']);
  const second = open({ name: 'stays' });
  native.setPersist(second.fd, false);
  close(second);
  assert.deepEqual(devices(), []);
});

/** Each refusal: what is there before, what is asked, and the error. */
const refusals: {
  what: string;
  before?: () => unknown;
  options: Partial<QueueOptions>;
  code: string;
  errno: number;
  message: RegExp;
}[] = [
  {
    what: 'exclusive, and a device of this name exists',
    before: () => ip('tuntap', 'add', 'dev', 'taken', 'mode', 'tun'),
    options: { name: 'taken', exclusive: true },
    code: 'EBUSY',
    errno: 16,
    message: /an interface named 'taken' exists; choose another name or remove it \(TUNSETIFF: EBUSY\)/,
  },
  {
    what: 'a device in use',
    before: () => open({ name: 'busy' }),
    options: { name: 'busy' },
    code: 'EBUSY',
    errno: 16,
    message: /'busy' is in use by another process/,
  },
  {
    what: 'multi-queue of a device made without',
    before: () => ip('tuntap', 'add', 'dev', 'single', 'mode', 'tun'),
    options: { name: 'single', multiQueue: true },
    code: 'EINVAL',
    errno: 22,
    message: /'single' was made without multi_queue/,
  },
  {
    what: 'one queue of a multi-queue device',
    before: () => ip('tuntap', 'add', 'dev', 'multi', 'mode', 'tun', 'multi_queue'),
    options: { name: 'multi' },
    code: 'EINVAL',
    errno: 22,
    message: /'multi' was made with multi_queue/,
  },
  {
    what: 'a TAP device',
    before: () => ip('tuntap', 'add', 'dev', 'ether', 'mode', 'tap'),
    options: { name: 'ether' },
    code: 'EINVAL',
    errno: 22,
    message: /interface 'ether' exists and is not a TUN device/,
  },
  {
    what: 'another kind of interface',
    options: { name: 'lo' },
    code: 'EINVAL',
    errno: 22,
    message: /interface 'lo' exists and is not a TUN device/,
  },
  ...['a/b', 'a b', 'a:b', '.', '..', 'a%s', '%d%d'].map((name) => ({
    what: `the name '${name}'`,
    options: { name },
    code: 'EINVAL',
    errno: 22,
    message: /is not a name for an interface/,
  })),
];

for (const { what, before, options, code, errno, message } of refusals) {
  test(`refuses ${what}`, () => {
    before?.();
    const descriptors = openDescriptors();
    assert.throws(() => open(options), { name: 'Error', code, errno, syscall: 'TUNSETIFF', message });
    assert.equal(openDescriptors(), descriptors);
  });
}

test('offloads: what the kernel does not know is false, the rest true', () => {
  const { fd } = open();
  const tso = offload.CSUM | offload.TSO4 | offload.TSO6 | offload.TSO_ECN;
  for (const [bits, accepted] of [
    [0, true],
    [offload.CSUM, true],
    [tso, true],
    [1 << 20, false],
    [0xffffffff, false],
    // Linux takes both kinds of USO or none.
    [tso | offload.USO4, false],
    [0, true],
  ] as const) {
    assert.equal(native.setOffload(fd, bits), accepted, `bits ${bits}`);
  }
  assert.equal(typeof native.setOffload(fd, tso | offload.USO4 | offload.USO6), 'boolean');
  assert.deepEqual({ ...offload }, { CSUM: 1, TSO4: 2, TSO6: 4, TSO_ECN: 8, USO4: 0x20, USO6: 0x40 });
  assert.ok(Object.isFrozen(offload));
});

test('a descriptor that is no queue, and one that is closed', () => {
  const file = openSync('/dev/null', 'r');
  assert.throws(() => native.setOffload(file, 0), { code: 'ENOTTY', errno: 25, syscall: 'TUNSETOFFLOAD' });
  assert.throws(() => native.setPersist(file, true), { code: 'ENOTTY', errno: 25, syscall: 'TUNSETPERSIST' });
  native.closeQueue(file);
  const closed = { name: 'Error', code: 'EBADF', errno: 9 };
  assert.throws(() => native.closeQueue(file), { ...closed, syscall: 'close' });
  assert.throws(() => native.setOffload(file, 0), { ...closed, syscall: 'TUNSETOFFLOAD' });
  assert.throws(() => native.setPersist(file, true), { ...closed, syscall: 'TUNSETPERSIST' });
  assert.throws(() => closeSync(file), { code: 'EBADF' });
});

/** Runs `task` as a user without rights. */
function asNobody(task: () => void): void {
  process.setegid!(65534);
  process.seteuid!(65534);
  try {
    task();
  } finally {
    process.seteuid!(0);
    process.setegid!(0);
  }
}

test('without rights, and without the device node', (t) => {
  // In the mount namespace of this process only.
  const folder = mkdtempSync('/tmp/nat64d-native-');
  t.after(() => {
    execFileSync('umount', ['/dev/net']);
    rmSync(folder, { recursive: true });
  });
  execFileSync('mount', ['--bind', folder, '/dev/net']);
  assert.throws(() => open(), { code: 'ENOENT', errno: 2, syscall: 'open', message: /modprobe tun.*mknod/ });

  execFileSync('mknod', [join(folder, 'tun'), 'c', '10', '200']);
  chmodSync(join(folder, 'tun'), 0o600);
  chmodSync(folder, 0o755);
  asNobody(() =>
    assert.throws(() => open(), { code: 'EACCES', errno: 13, syscall: 'open', message: /CAP_NET_ADMIN/ }),
  );

  chmodSync(join(folder, 'tun'), 0o666);
  open({ name: 'owned', multiQueue: true, owner: 0, group: 0 });
  asNobody(() => {
    const refused = { code: 'EPERM', errno: 1, syscall: 'TUNSETIFF', message: /CAP_NET_ADMIN/ };
    assert.throws(() => open(), refused, 'make a device');
    assert.throws(() => open({ name: 'owned', multiQueue: true }), refused, 'attach to one of another owner');
  });
});

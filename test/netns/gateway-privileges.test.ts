/** `user` and `group`: what a gateway may still do once it serves, in every one of its threads, and that this is enough. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { GatewayProcess, Lab, PUBLIC4 } from '../helpers/lab.js';

const CTL = fileURLToPath(new URL('../../../dist/bin/nat64ctl.js', import.meta.url));
const WARN = 40;
const NOBODY = 65534;
const DAEMON = 1;
const bits = (...numbers: number[]) =>
  numbers
    .reduce((sum, number) => sum + 2n ** BigInt(number), 0n)
    .toString(16)
    .padStart(16, '0');
const [NET_BIND_SERVICE, NET_ADMIN, SYS_NICE, BPF] = [10, 12, 23, 39];

let lab: Lab;
beforeEach(() => {
  lab = new Lab();
  // The gateway's folders lie in it.
  chmodSync(lab.folder, 0o755);
});
afterEach(() => lab.close());

/** Where /dev/net/tun is everybody's, as udev makes it, however it is on this machine. */
async function startWithTun(toml: string, mode = '666'): Promise<GatewayProcess> {
  const setUp = 'mknod -m "$1" "$0" c 10 200 && mount --bind "$0" /dev/net/tun && shift && exec "$@"';
  const program = join(lab.checkout, 'dist/bin/nat64d.js');
  const words = [process.execPath, program, '--config', lab.configure(toml)];
  const [command = '', ...args] = lab.inReach('sh', '-c', setUp, join(lab.folder, 'tun'), mode, ...words);
  const child = lab.spawn(lab.gateway, command, args);
  return new GatewayProcess(child);
}

/** Of each thread, these lines of its status. */
function threadsOf({ child: { pid } }: GatewayProcess): Record<string, string>[] {
  return readdirSync(`/proc/${pid}/task`).map((thread) =>
    Object.fromEntries(
      [...readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8').matchAll(/^(\w+):\t(.*)$/gm)].map(
        ([, name, value]) => [name, (value as string).trim()],
      ),
    ),
  );
}

test('every thread is the user, with the few capabilities that a reload and the end need, and no way to others', async () => {
  const before = await lab.snapshot();
  const toml = (more: string) =>
    `user = "nobody"\ncontrol-group = "daemon"\nworkers = 2\nworker-nice = -10\n${more}`;
  const gateway = await startWithTun(toml(''));
  await gateway.waitFor('ready');
  assert.ok(await lab.pings());
  const threads = threadsOf(gateway);
  assert.ok(threads.length >= 1 + 2 + 4 + 4, 'of Node, of V8, of libuv, and workers');
  const caps = bits(NET_ADMIN, NET_BIND_SERVICE, SYS_NICE, BPF);
  for (const { Uid, Gid, Groups, NoNewPrivs, CapPrm, CapEff, CapBnd, CapAmb } of threads) {
    assert.deepEqual(
      { Uid, Gid, Groups, NoNewPrivs },
      {
        Uid: Array(4).fill(NOBODY).join('\t'),
        Gid: Array(4).fill(NOBODY).join('\t'),
        Groups: `${DAEMON} ${NOBODY}`,
        NoNewPrivs: '1',
      },
    );
    assert.deepEqual(
      { CapPrm, CapEff, CapBnd, CapAmb },
      { CapPrm: caps, CapEff: caps, CapBnd: caps, CapAmb: caps },
    );
  }
  for (const folder of ['data', 'run']) assert.equal(statSync(join(lab.folder, folder)).uid, NOBODY);
  const socket = statSync(join(lab.folder, 'run/control.sock'));
  assert.deepEqual([socket.uid, socket.gid, socket.mode & 0o777], [NOBODY, DAEMON, 0o660]);

  lab.configure(toml('pref64 = "2001:db8:64:64::/96"\npool4 = "10.65.0.0/16"\n'));
  gateway.kill('SIGHUP');
  await gateway.waitFor('reloaded');
  assert.deepEqual(
    // There is no name server in this lab.
    gateway.lines.filter(({ level, event }) => Number(level) >= WARN && event !== 'dns64-no-forwarder'),
    [],
    'nothing was refused',
  );
  assert.ok(await lab.pings(`2001:db8:64:64::${PUBLIC4}`), 'addresses, routes and steering are changed');
  assert.match(lab.ip(lab.gateway, 'route show dev nat64'), /10\.65\.0\.0\/16/);
  assert.equal(await gateway.stop(), 0);
  assert.equal(await lab.snapshot(), before, 'and all of it is taken down');
});

test('a capability that nothing asks for is not kept; what root left in the folders is handed over', async () => {
  const data = join(lab.folder, 'data');
  mkdirSync(data);
  writeFileSync(join(data, 'dynamic.map'), '', { mode: 0o600 });
  const gateway = await startWithTun(
    'user = "nobody"\ngroup = "daemon"\nworkers = 1\nworker-nice = 0\n[dns64]\nenabled = false\n',
  );
  await gateway.waitFor('ready');
  for (const { Gid, CapEff } of threadsOf(gateway)) {
    assert.deepEqual([Gid, CapEff], [Array(4).fill(DAEMON).join('\t'), bits(NET_ADMIN)]);
  }
  assert.equal(statSync(join(data, 'dynamic.map')).uid, NOBODY);
  lab.configure('user = "daemon"\nworkers = 1\nworker-nice = 0\n[dns64]\nenabled = false\n');
  gateway.kill('SIGHUP');
  assert.match(
    (await gateway.waitFor('reload-failed')).msg as string,
    /: user cannot change while the gateway runs/,
  );
  await gateway.waitFor('reload-failed', 3);

  // What takes one of those that were given up.
  const rest = 'user = "nobody"\ngroup = "daemon"\nworker-nice = 0\n';
  lab.configure(`${rest}workers = 1\n[dns64]\nforwarders = ["192.0.2.1"]\n`);
  const { length } = gateway.events('reload-failed');
  gateway.kill('SIGHUP');
  assert.match(
    (await gateway.waitFor('reload-failed', length + 1)).msg as string,
    /DNS64 cannot listen on .*no permission for this port/,
  );
  lab.configure(`${rest}workers = 2\n[advertise]\ninterfaces = ["lan0"]\n[dns64]\nenabled = false\n`);
  gateway.kill('SIGHUP');
  await gateway.waitFor('reloaded');
  const words = [CTL, '--socket', join(lab.folder, 'run/control.sock'), '--json', 'status'];
  const { steering, workers } = JSON.parse((await lab.run(lab.gateway, process.execPath, words)).stdout);
  assert.deepEqual([steering, workers.running], ['kernel', 2]);
  assert.equal(gateway.events('no-steering').length, 1);
  assert.match((await gateway.waitFor('advertise-waits')).msg as string, /EPERM|not permitted/);
  assert.ok(await lab.pings());
  assert.equal(await gateway.stop(), 0);
});

test('a /dev/net/tun that the user may not open is told before anything is set up', async () => {
  const gateway = await startWithTun('user = "nobody"\n', '600');
  assert.match(
    (await gateway.waitFor('failed')).msg as string,
    /'nobody' may not open \/dev\/net\/tun: chmod 0666/,
  );
  assert.equal(await gateway.exited, 1);
});

test('a folder with folders of others in it is not handed over', async () => {
  mkdirSync(join(lab.folder, 'run/of-others'), { recursive: true });
  const gateway = await lab.startGateway({ toml: 'user = "nobody"\n', isFailing: true });
  const { msg } = await gateway.waitFor('failed');
  assert.match(msg as string, /run is not the gateway's alone.* name a folder of its own/);
  assert.equal(await gateway.exited, 1);
  assert.equal(statSync(join(lab.folder, 'run')).uid, 0);
});

test('who is not root is told where to name the user', async () => {
  const file = lab.configure('user = "daemon"\n');
  const asNobody = ['setpriv', '--reuid=nobody', '--clear-groups'];
  const program = join(lab.checkout, 'dist/bin/nat64d.js');
  const [command = '', ...args] = lab.inReach(...asNobody, process.execPath, program, '--config', file);
  const { status, stdout } = await lab.run(lab.gateway, command, args);
  assert.equal(status, 1);
  assert.match(stdout, /may not become 'daemon': root can, and where systemd starts nat64d, the unit: User=/);
});

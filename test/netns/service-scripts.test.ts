/** The init scripts of others and ours, run for real: OpenRC's, and the one that Debian's package of TAYGA brings. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { InitRoot } from '../helpers/init-root.js';
import { Lab, PUBLIC4 } from '../helpers/lab.js';
import { bootOpenrc } from '../helpers/openrc.js';
import { fetchPeer } from '../helpers/peers.js';
import { until } from '../helpers/until.js';

const CONFIG = fileURLToPath(new URL('../../../config/', import.meta.url));
const PREFIX = '2001:dead:beef:1264::';
const TAYGA_CONF = `tun-device nat64
ipv4-addr 192.168.0.2
prefix ${PREFIX}/96
dynamic-pool 192.168.0.0/24
data-dir /var/lib/tayga
`;

let lab: Lab;
let root: InitRoot;
beforeEach(() => {
  lab = new Lab();
  root = new InitRoot(lab);
  root.write('etc/tayga.conf', TAYGA_CONF);
  lab.ip(lab.server, 'route add 192.168.0.0/24 via 203.0.113.1');
});
afterEach(async () => {
  for (const name of ['tayga', 'nat64d', 'totd']) {
    const { stdout } = await root.run('cat', [`/run/${name}.pid`]);
    if (existsSync(`/proc/${stdout.trim() || 'none'}`)) process.kill(Number(stdout), 'SIGKILL');
  }
  await lab.close();
});

const pings = (address = `${PREFIX}${PUBLIC4}`) => lab.pings(address);

const ours = (path: string) => readFileSync(join(CONFIG, path), 'utf8');

/** A machine that has booted with OpenRC, and whose network is up. */
async function boot(): Promise<(service: string, command: string) => Promise<string>> {
  await bootOpenrc(root);
  return async (service, command) => {
    const words = [`/etc/init.d/${service}`, command];
    const { status, stdout, stderr } = await root.run('/sbin/openrc-run', words);
    assert.equal(status, 0, `${words.join(' ')}: ${stdout}${stderr}`);
    return stdout;
  };
}

const FORWARD = 'echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding';

test('OpenRC: preup() of conf.d/net makes the device, the script of tayga starts, reloads and stops it', async () => {
  root.write('etc/init.d/tayga', ours('openrc/tayga'), 0o755);
  root.write('etc/conf.d/tayga', ours('openrc/conf.d-tayga'));
  root.write('etc/conf.d/net', ours('openrc/conf.d-net'));
  root.write('var/lib/tayga/.keep', '');
  const rc = await boot();
  await root.run('chown', ['nobody', '/var/lib/tayga']);
  // netifrc calls preup() with the interface's name, then does what config_ and routes_ say.
  const preup = await root.run('sh', ['-c', `. /etc/conf.d/net; IFACE=nat64; preup && ${FORWARD}`]);
  assert.equal(preup.status, 0, preup.stderr);
  lab.ip(lab.gateway, 'addr add 192.168.0.1/24 dev nat64');
  lab.ip(lab.gateway, 'link set nat64 up');
  lab.ip(lab.gateway, `route add ${PREFIX}/96 dev nat64`);

  await rc('tayga', 'start');
  assert.ok(await pings(), 'it serves when the script has ended');
  assert.match(await rc('tayga', 'status'), /started/);
  const pid = (await root.run('cat', ['/run/tayga.pid'])).stdout.trim();
  assert.match(readFileSync(`/proc/${pid}/status`, 'utf8'), /Uid:\t65534/);
  await rc('tayga', 'reload');
  await sleep(300);
  assert.ok(await pings());
  assert.equal((await root.run('cat', ['/run/tayga.pid'])).stdout.trim(), pid);
  await rc('tayga', 'stop');
  assert.ok(!existsSync(`/proc/${pid}`), 'no process is left');
  assert.match((await root.run('cat', ['/var/lib/tayga/dynamic.map'])).stdout, /\t2001:db8:1::2\t/);
  const postdown = await root.run('sh', ['-c', '. /etc/conf.d/net; IFACE=nat64; postdown']);
  assert.equal(postdown.status, 0, postdown.stderr);
  assert.ok(!lab.ip(lab.gateway, 'link').includes('nat64'));
});

test('OpenRC: the script of nat64d starts, reloads and stops it', async () => {
  root.write('etc/init.d/nat64d', ours('openrc/nat64d'), 0o755);
  root.write('etc/conf.d/nat64d', 'NAT64D_COMMAND=/usr/sbin/nat64d\n');
  root.write('etc/nat64d/nat64d.toml', `pref64 = "${PREFIX}/96"\n[dns64]\nenabled = false\n`);
  const rc = await boot();
  const before = await lab.snapshot();
  await rc('nat64d', 'start');
  for (let tries = 0; !(await pings()); tries++) assert.ok(tries < 60, 'it does not serve');
  assert.match(await rc('nat64d', 'status'), /started/);
  await rc('nat64d', 'reload');
  await sleep(300);
  assert.ok(await pings());
  await rc('nat64d', 'stop');
  assert.equal(await lab.snapshot(), before);
});

test('neither the OpenRC script nor the systemd unit starts nat64d with a half-edited configuration, and both say what is wrong', async () => {
  root.write('etc/init.d/nat64d', ours('openrc/nat64d'), 0o755);
  root.write('etc/conf.d/nat64d', 'NAT64D_COMMAND=/usr/sbin/nat64d\n');
  root.write('etc/nat64d/nat64d.toml', `pref64 = "${PREFIX}/96"\npool4 = "10.64.\n`);
  await bootOpenrc(root);
  const before = await lab.snapshot();
  const started = await root.run('/sbin/openrc-run', ['/etc/init.d/nat64d', 'start']);
  assert.notEqual(started.status, 0);
  assert.match(started.stdout + started.stderr, /nat64d\.toml:2:\d+: /);
  assert.equal((await root.run('test', ['-e', '/run/nat64d.pid'])).status, 1, 'nothing was started');
  assert.equal(await lab.snapshot(), before);

  // What systemd does before it starts a service: these in their order, and no more once one fails, but for those with a `-`.
  const checks = [...ours('systemd/nat64d.service').matchAll(/^ExecStartPre=(.*)$/gm)].map(
    ([, line = '']) => line,
  );
  assert.ok(checks.length > 0);
  const run = async (line: string) => {
    assert.match(line, /^\/usr\/bin\/nat64d /, 'as systemd reads it, a failure counts');
    return root.run('/usr/sbin/nat64d', line.split(' ').slice(1));
  };
  const results = await Promise.all(checks.map(run));
  const failed = results.filter(({ status }) => status !== 0);
  assert.ok(failed.length > 0, 'the unit would start it');
  assert.match(failed[0]?.stderr ?? '', /nat64d\.toml:2:\d+: /);

  await root.run('sh', ['-c', 'echo "[dns64]\nenabled = false" > /etc/nat64d/nat64d.toml']);
  for (const line of checks) assert.equal((await run(line)).status, 0, line);
});

test('OpenRC: the script of totd starts, reloads and stops it', async () => {
  root.write('etc/init.d/totd', ours('openrc/totd'), 0o755);
  root.write('etc/conf.d/totd', ours('openrc/conf.d-totd'));
  root.write('etc/totd.conf', `forwarder 192.0.2.1\nprefix ${PREFIX}\n`);
  const rc = await boot();
  await rc('totd', 'start');
  // Its prefix is known without any name server (RFC 7050).
  const asked = await root.run('dig', ['@127.0.0.1', '+short', 'ipv4only.arpa', 'AAAA']);
  assert.match(asked.stdout, /^2001:dead:beef:1264::c000:a[ab]$/m);
  assert.match(await rc('totd', 'status'), /started/);
  const pid = (await root.run('cat', ['/run/totd.pid'])).stdout.trim();
  assert.match(readFileSync(`/proc/${pid}/status`, 'utf8'), /Uid:\t65534/);
  await rc('totd', 'reload');
  await sleep(300);
  assert.ok(existsSync(`/proc/${pid}`));
  await rc('totd', 'stop');
  assert.ok(!existsSync(`/proc/${pid}`), 'no process is left');
});

test("Debian's own init script of TAYGA starts and stops ours", async () => {
  const debian = fetchPeer('tayga', ['tayga']);
  root.write('etc/init.d/tayga', readFileSync(join(debian.root, 'etc/init.d/tayga'), 'utf8'), 0o755);
  // NAT44 by iptables is not what is tried here; the server knows the way back.
  const settings = ours('default/tayga').replace('CONFIGURE_NAT44="yes"', 'CONFIGURE_NAT44="no"');
  root.write('etc/default/tayga', settings.replace('IPV4_TUN_ADDR=""', 'IPV4_TUN_ADDR="192.168.0.1"'));
  await root.mount();
  await root.run('sh', ['-c', FORWARD]);
  const script = async (command: string) => {
    const { status, stdout, stderr } = await root.run('/etc/init.d/tayga', [command]);
    assert.equal(status, 0, `${command}: ${stdout}${stderr}`);
  };
  await script('start');
  assert.ok(await pings());
  await script('status');
  const pid = (await root.run('cat', ['/run/tayga.pid'])).stdout.trim();
  await script('stop');
  await until(() => !existsSync(`/proc/${pid}`), `the end of ${pid}`, 30_000);
  assert.ok(!lab.ip(lab.gateway, 'link').includes('nat64'), '--rmtun waits for the daemon');
});

/** `tayga`: the service scripts' flows, with real kernels, and with the real TAYGA as the neighbour. */
import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { CLIENT6, GatewayProcess, Lab, PUBLIC4, SERVER4 } from '../helpers/lab.js';
import { helpersStepBack } from '../helpers/niceness.js';
import { fetchPeer } from '../helpers/peers.js';
import { until } from '../helpers/until.js';

const TAYGA = fileURLToPath(new URL('../../../dist/bin/tayga.js', import.meta.url));
const PREFIX = '2001:dead:beef:1264::';

let lab: Lab;
let conf: string;
let pidfile: string;
beforeEach(() => {
  lab = new Lab();
  conf = join(lab.folder, 'tayga.conf');
  pidfile = join(lab.folder, 'tayga.pid');
  // The daemon is another user, and finds its data-dir below.
  chmodSync(lab.folder, 0o755);
});
afterEach(async () => {
  // A detached daemon is nobody's child.
  if (existsSync(pidfile) && isRunning(pid())) await stop();
  await lab.close();
});

const tayga = (...args: string[]) =>
  lab.runWith(
    { NAT64D_TEST_HOOKS: '1' },
    lab.gateway,
    process.execPath,
    [TAYGA, '--config', conf, ...args],
    30_000,
  );

const pings = (address = `${PREFIX}${PUBLIC4}`) => lab.pings(address);

const pid = () => Number(readFileSync(pidfile, 'utf8'));

async function stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  const id = pid();
  process.kill(id, signal);
  await until(() => !existsSync(`/proc/${id}`), `the end of ${id}`, 30_000);
}

function isRunning(id: number): boolean {
  return existsSync(`/proc/${id}`);
}

/** The lines of /proc about each thread of the daemon. */
function threads(id: number): string[] {
  const folder = `/proc/${id}/task`;
  return readdirSync(folder).map((task) => readFileSync(join(folder, task, 'status'), 'utf8'));
}

/** The configuration of the classic article, but for where its data is kept. */
const ARTICLE = () => `tun-device nat64
ipv4-addr 192.168.0.2
prefix ${PREFIX}/96
dynamic-pool 192.168.0.0/24
data-dir ${join(lab.folder, 'spool')}
`;

/** What the article's /etc/conf.d/net does: preup() makes the device, then it gets addresses and routes. */
async function preup(): Promise<void> {
  const made = await tayga('--mktun');
  assert.equal(made.status, 0, made.stderr);
  lab.ip(lab.gateway, 'addr add 192.168.0.1/24 dev nat64');
  lab.ip(lab.gateway, `addr add ${PREFIX}1/64 dev nat64 nodad`);
  lab.ip(lab.gateway, 'link set nat64 up');
  lab.ip(lab.gateway, `route add ${PREFIX}/96 dev nat64`);
  const forward = 'echo 1 > /proc/sys/net/ipv4/ip_forward && echo 1 > /proc/sys/net/ipv6/conf/all/forwarding';
  await lab.run(lab.gateway, 'sh', ['-c', forward]);
  lab.ip(lab.server, 'route replace 192.168.0.0/24 via 203.0.113.1');
}

test("the article's own files bring up a gateway whose ping to 8.8.8.8 under the prefix succeeds [TAYGA-8]", async () => {
  writeFileSync(conf, ARTICLE());
  await preup();
  // start-stop-daemon runs this line of the article's init script.
  const started = await tayga('-u', 'nobody', '-g', 'nogroup', '--pidfile', pidfile);
  assert.equal(started.status, 0, started.stderr);
  assert.ok(await pings(), 'it serves once the launcher has ended');
  assert.equal(statSync(pidfile).mode & 0o777, 0o644);
  assert.ok(isRunning(pid()));
  assert.equal(readFileSync(`/proc/${pid()}/comm`, 'utf8'), 'tayga\n');
  // The gateway's own traffic is translated too.
  const own = await lab.run(lab.gateway, 'ping', ['-6', '-c', '1', '-W', '1', `${PREFIX}${PUBLIC4}`]);
  assert.match(own.stdout, / 0% packet loss/, 'a ping of the gateway itself');
  const id = pid();
  await stop();
  assert.ok(!isRunning(id));
  const map = readFileSync(join(lab.folder, 'spool', 'dynamic.map'), 'utf8');
  assert.match(map, new RegExp(`^192\\.168\\.0\\.\\d+\\t${CLIENT6}\\t\\d+$`, 'm'));
  // The device is the administrator's, with what is on it.
  assert.match(lab.ip(lab.gateway, 'addr show nat64'), /192\.168\.0\.1\/24/);
  const removed = await tayga('--rmtun');
  assert.equal(removed.status, 0, removed.stderr);
  assert.ok(!lab.ip(lab.gateway, 'link').includes('nat64'));
});

test('-u and -g hold for all threads: ids, groups, capabilities, no new privileges', async () => {
  writeFileSync(conf, ARTICLE());
  await preup();
  assert.equal((await tayga('-u', 'nobody', '-g', 'daemon', '-p', pidfile)).status, 0);
  const all = threads(pid());
  assert.ok(all.length > 4);
  for (const status of all) {
    assert.match(status, /Uid:\t65534\t65534\t65534\t65534\n/);
    assert.match(status, /Gid:\t1\t1\t1\t1\n/);
    assert.match(status, /Groups:\t1 \n/);
    assert.match(status, /CapInh:\t0+\nCapPrm:\t0+\nCapEff:\t0+\n/);
    assert.match(status, /NoNewPrivs:\t1\n/);
  }
  assert.ok(await pings());
  // A worker that dies is replaced, by one that is no more than the others.
  process.kill(pid(), 'SIGALRM');
  await sleep(500);
  assert.ok(await pings());
  for (const status of threads(pid())) assert.match(status, /Uid:\t65534\t65534\t65534\t65534\n/);
});

test('without -u it stays root, with few capabilities in all threads and no way to more', async () => {
  writeFileSync(conf, ARTICLE());
  await preup();
  assert.equal((await tayga('-p', pidfile)).status, 0);
  // chown, dac_override, fowner, kill, net_bind_service, net_admin, sys_nice
  const few = (1 << 0) | (1 << 1) | (1 << 3) | (1 << 5) | (1 << 10) | (1 << 12) | (1 << 23);
  for (const status of threads(pid())) {
    for (const set of ['CapPrm', 'CapEff', 'CapBnd']) {
      assert.match(status, new RegExp(`${set}:\\t${few.toString(16).padStart(16, '0')}\n`));
    }
    assert.match(status, /NoNewPrivs:\t1\n/);
  }
  assert.ok(await pings());
});

test('-r: a worker that dies in the chroot is replaced, HUP reads what is inside and names what is not', async () => {
  const spool = join(lab.folder, 'spool');
  mkdirSync(spool);
  const log = join(lab.folder, 'log');
  writeFileSync(conf, `${ARTICLE()}map-file maps\n`);
  writeFileSync(join(spool, 'maps'), `map 198.51.100.9 ${CLIENT6}\n`);
  // The user's, so that dynamic.map can be written; root's, the daemon could not.
  await lab.run(lab.gateway, 'chown', ['nobody', spool]);
  await preup();
  const line = `exec "$0" "${TAYGA}" --config "${conf}" -u nobody -r -n --stdout -p "${pidfile}" > "${log}" 2>&1`;
  lab.spawn(lab.gateway, 'sh', ['-c', line, process.execPath], { NAT64D_TEST_HOOKS: '1' });
  const logged = async (text: string, count = 1) => {
    await until(
      () => readFileSync(log, 'utf8').split(text).length > count,
      () => `'${text}' in ${readFileSync(log, 'utf8')}`,
      30_000,
    );
  };
  await until(() => existsSync(log), log, 30_000);
  lab.ip(lab.gateway, 'route add 198.51.100.0/24 dev nat64');
  lab.ip(lab.server, 'route add 198.51.100.0/24 via 203.0.113.1');
  await logged('try, from');
  // The line comes before the pidfile, that before what is in it, and all before the chroot.
  const root = () => (existsSync(pidfile) && pid() > 0 ? readlinkSync(`/proc/${pid()}/root`) : '');
  await until(
    () => root() === spool,
    () => `${spool} as its root, which is '${root()}'`,
    30_000,
  );
  const id = pid();
  await helpersStepBack(id);
  assert.ok(await pings());
  process.kill(id, 'SIGUSR2');
  await logged('died (test hook');
  assert.ok(await pings());
  process.kill(id, 'SIGALRM');
  await logged('exited with code: 3');
  assert.ok(await pings());
  for (const status of threads(id)) assert.match(status, /Uid:\t65534\t65534\t65534\t65534\n/);

  const reaches = (address: string) => lab.pings(address, { from: lab.server });
  assert.ok(await reaches('198.51.100.9'));
  writeFileSync(join(spool, 'maps'), `map 198.51.100.10 ${CLIENT6}\n`);
  process.kill(id, 'SIGHUP');
  await logged(`the configuration ${conf} lies outside the chroot`);
  await logged('dynamic.map written');
  assert.ok(await reaches('198.51.100.10'));
  assert.ok(!(await reaches('198.51.100.9')));
  assert.ok(existsSync(join(spool, 'dynamic.map')));

  lab.ip(lab.gateway, 'link set nat64 down');
  await logged('nat64 is down');
  lab.ip(lab.gateway, 'link set nat64 up');
  await logged('nat64 may lack addresses and routes, and this process may not set them any more');
});

test("clatd's flow: --mktun, --nodetach with one map, --rmtun; IPv4 of an IPv6-only host through both (464XLAT)", async () => {
  const gateway = await lab.startGateway();
  // As clatd writes it, on the host.
  writeFileSync(
    conf,
    'tun-device clat\nprefix 64:ff9b:1::/96\nipv4-addr 192.0.0.2\nmap 192.0.0.1 2001:db8:1::464\n',
  );
  const words = [TAYGA, '--config', conf];
  const onHost = (arg: string) => lab.run(lab.client, process.execPath, [...words, arg]);
  assert.equal((await onHost('--mktun')).status, 0);
  lab.ip(lab.client, 'link set clat up');
  lab.ip(lab.client, 'addr add 192.0.0.1/32 dev clat');
  lab.ip(lab.client, 'route add default dev clat');
  lab.ip(lab.client, '-6 route add 2001:db8:1::464/128 dev clat');
  lab.ip(lab.gateway, 'route add 2001:db8:1::464/128 via', CLIENT6);
  await lab.run(lab.client, 'sh', ['-c', 'echo 1 > /proc/sys/net/ipv6/conf/all/forwarding']);
  const child = lab.spawn(lab.client, process.execPath, [...words, '--nodetach', '--stdout']);
  let output = '';
  child.stdout?.on('data', (data) => {
    output += data;
  });
  await until(
    () => output.includes('serving'),
    () => `'serving' in ${output}`,
    30_000,
  );
  assert.ok(await pings(PUBLIC4), output);
  const ended = new Promise((resolve) => child.once('close', resolve));
  child.kill('SIGTERM');
  assert.equal(await ended, 0);
  assert.ok(!(await pings(PUBLIC4)));
  assert.equal((await onHost('--rmtun')).status, 0);
  assert.ok(!lab.ip(lab.client, 'link').includes('clat'));
  assert.equal(await gateway.stop(), 0);
});

test('a daemon that cannot serve makes its launcher print why and exit 1', async () => {
  writeFileSync(conf, ARTICLE());
  await preup();
  assert.equal((await tayga('-p', pidfile)).status, 0);
  const second = await tayga('-p', join(lab.folder, 'other.pid'));
  assert.equal(second.status, 1);
  assert.match(second.stderr, /another nat64d already serves the device nat64/);
  assert.ok(!existsSync(join(lab.folder, 'other.pid')));
  assert.ok(await pings());
});

const REFUSED: readonly (readonly [string, readonly string[], RegExp])[] = [
  [
    'a bad configuration',
    [],
    /tayga\.conf:6:1: nonsense: there is no such directive.*\n.*tayga\.conf:7:9: workers: /,
  ],
  ['an unknown option', ['--nope'], /tayga: there is no option --nope\ntry: tayga --help/],
  ['an operand', ['start'], /'start' is too much/],
  ['--mktun with -u', ['--mktun', '-u', 'nobody'], /--user has no meaning with --mktun/],
  ['--mktun with --rmtun', ['--mktun', '--rmtun'], /exclude each other/],
  ['an unknown user', ['-u', 'nobody-at-all'], /there is no user 'nobody-at-all'/],
  ['an unknown group', ['-g', 'no-such-group'], /there is no group 'no-such-group'/],
  ['-r as root', ['-r'], /--chroot needs --user/],
];
for (const [name, args, message] of REFUSED) {
  test(`${name} is refused with exit code 1, before anything is started`, async () => {
    writeFileSync(conf, `${ARTICLE()}${name === 'a bad configuration' ? 'nonsense\nworkers 99\n' : ''}`);
    const { status, stderr } = await tayga(...args);
    assert.equal(status, 1);
    assert.match(stderr, message);
    assert.ok(!lab.ip(lab.gateway, 'link').includes('nat64'));
  });
}

test('-r without a data-dir is refused; STATE_DIRECTORY is one', async () => {
  writeFileSync(conf, ARTICLE().replace(/^data-dir.*\n/m, ''));
  assert.match((await tayga('-r', '-u', 'nobody')).stderr, /--chroot needs a data-dir/);
  await preup();
  const state = join(lab.folder, 'state');
  const words = [TAYGA, '--config', conf, '-r', '-u', 'nobody', '-p', pidfile];
  const env = { STATE_DIRECTORY: `${state}:/nowhere` };
  const { status, stderr } = await lab.runWith(env, lab.gateway, process.execPath, words, 30_000);
  assert.equal(status, 0, stderr);
  assert.ok(await pings());
  await stop();
  assert.ok(existsSync(join(state, 'dynamic.map')));
});

test('tun-up, tun-ip and tun-route set the device up', async () => {
  writeFileSync(
    conf,
    `${ARTICLE()}tun-up on\ntun-ip 192.168.0.1/24\ntun-ip ${PREFIX}1/64\ntun-route ${PREFIX}/96\n`,
  );
  await lab.run(lab.gateway, 'sh', [
    '-c',
    'echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding',
  ]);
  lab.ip(lab.server, 'route replace 192.168.0.0/24 via 203.0.113.1');
  const { status, stderr } = await tayga('-u', 'nobody', '-p', pidfile);
  assert.equal(status, 0, stderr);
  assert.ok(await pings());
});

test('HUP: the map-file is read again, the configuration too; what is wrong with it changes nothing', async () => {
  const maps = join(lab.folder, 'maps');
  writeFileSync(maps, '');
  writeFileSync(conf, `${ARTICLE()}map-file ${maps}\n`);
  await preup();
  lab.ip(lab.gateway, 'route add 198.51.100.0/24 dev nat64');
  lab.ip(lab.server, 'route add 198.51.100.0/24 via 203.0.113.1');
  assert.equal((await tayga('-p', pidfile)).status, 0);
  const reaches = () => lab.pings('198.51.100.9', { from: lab.server });
  const hangUp = async () => {
    process.kill(pid(), 'SIGHUP');
    await sleep(700);
  };
  assert.ok(!(await reaches()));
  writeFileSync(maps, `map 198.51.100.9 ${CLIENT6}\n`);
  await hangUp();
  assert.ok(await reaches());
  writeFileSync(maps, '');
  writeFileSync(conf, 'nonsense\n');
  await hangUp();
  assert.ok(await reaches(), 'the configuration in force stays');
  writeFileSync(conf, `${ARTICLE()}map 198.51.100.9 ${CLIENT6}\nmap-file ${maps}\n`);
  await hangUp();
  assert.ok(await reaches(), 'an entry of the configuration does not go with the map-file');
});

test('nat64d --tayga with --totd: both of the old pair by their own files, in one process', async () => {
  await lab.serve(lab.server, 'dns-server');
  writeFileSync(conf, ARTICLE());
  const totd = join(lab.folder, 'totd.conf');
  writeFileSync(totd, `forwarder ${SERVER4}\nprefix ${PREFIX}\ninterfaces lan0 ; the hosts' side\n`);
  await preup();
  const nat64d = fileURLToPath(new URL('../../../dist/bin/nat64d.js', import.meta.url));
  const words = [nat64d, '--tayga', conf, '--totd', totd];
  const gateway = new GatewayProcess(lab.spawn(lab.gateway, process.execPath, words));
  await gateway.waitFor('ready');
  assert.ok(await pings());
  const { stdout } = await lab.run(lab.client, 'dig', [
    '+short',
    '@2001:db8:1::1',
    'AAAA',
    'www.example.com',
  ]);
  assert.equal(stdout, `${PREFIX}cb00:7102\n`);
  assert.equal(await gateway.stop(), 0);
});

test('a device that TAYGA made serves us, and one that we made serves TAYGA; so does dynamic.map; and both give the same address [TAYGA-11]', async () => {
  const peer = fetchPeer('tayga', ['tayga']);
  const original = join(peer.root, 'usr/sbin/tayga');
  const spool = join(lab.folder, 'spool');
  const map = join(spool, 'dynamic.map');
  mkdirSync(spool);
  writeFileSync(conf, ARTICLE());
  const theirs = (...args: string[]) => lab.run(lab.gateway, original, ['--config', conf, ...args]);
  const addressOf = (text: string) => /^(\S+)\s+2001:db8:1::2\s/m.exec(text)?.[1];

  // Theirs first: the device, and a map.
  assert.equal((await theirs('--mktun')).status, 0);
  lab.ip(lab.gateway, 'addr add 192.168.0.1/24 dev nat64');
  lab.ip(lab.gateway, `addr add ${PREFIX}1/64 dev nat64 nodad`);
  lab.ip(lab.gateway, 'link set nat64 up');
  lab.ip(lab.gateway, `route add ${PREFIX}/96 dev nat64`);
  lab.ip(lab.server, 'route replace 192.168.0.0/24 via 203.0.113.1');
  await lab.run(lab.gateway, 'sh', [
    '-c',
    'echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding',
  ]);
  const first = lab.spawn(lab.gateway, original, ['--config', conf, '--nodetach']);
  for (let tries = 0; !(await pings()); tries++) assert.ok(tries < 10, 'TAYGA does not serve');
  first.kill('SIGTERM');
  await new Promise((resolve) => first.once('close', resolve));
  const chosen = addressOf(readFileSync(map, 'utf8'));
  assert.ok(chosen !== undefined);

  // Ours, on its device and with its map.
  assert.equal((await tayga('-p', pidfile)).status, 0);
  assert.ok(await pings());
  await stop();
  assert.equal(addressOf(readFileSync(map, 'utf8')), chosen, 'the map is taken over');
  writeFileSync(map, '');
  assert.equal((await tayga('-p', pidfile)).status, 0);
  assert.ok(await pings());
  await stop();
  assert.equal(
    addressOf(readFileSync(map, 'utf8')),
    chosen,
    'a host gets the address that TAYGA would give it',
  );
  assert.equal((await tayga('--rmtun')).status, 0);

  // Theirs again, on our device, after we have served on it, and with our map.
  await preup();
  assert.equal((await tayga('-p', pidfile)).status, 0);
  assert.ok(await pings());
  await stop();
  const second = lab.spawn(lab.gateway, original, ['--config', conf, '--nodetach']);
  for (let tries = 0; !(await pings()); tries++) assert.ok(tries < 10, 'TAYGA does not serve on our device');
  // No super-frames for a reader that knows nothing of them.
  await lab.serve(lab.server, 'server');
  const { stdout } = await lab.node(lab.client, 'client', ['get', `${PREFIX}${SERVER4}`, '300000']);
  assert.match(stdout, /^"[0-9a-f]{64}"\n$/);
  second.kill('SIGTERM');
  await new Promise((resolve) => second.once('close', resolve));
  assert.equal(addressOf(readFileSync(map, 'utf8')), chosen);
  assert.equal((await theirs('--rmtun')).status, 0);
});

test('nobody but root attaches a queue to the running device [TAYGA-10]', async () => {
  writeFileSync(conf, `${ARTICLE()}workers 2\n`);
  await preup();
  assert.equal((await tayga('-u', 'nobody', '-p', pidfile)).status, 0);
  const attach = (uid: number) => {
    const options = {
      name: 'nat64',
      multiQueue: true,
      vnetHdr: true,
      exclusive: false,
      owner: uid,
      group: uid,
    };
    const script = `process.setuid(${uid}); require(${JSON.stringify(join(lab.checkout, 'native'))}).openQueue(${JSON.stringify(options)})`;
    // Most systems let anybody open the device node, and so does this one here.
    const open = 'mknod -m 666 "$1" c 10 200 && mount --bind "$1" /dev/net/tun && exec "$0" -e "$2"';
    const words = ['sh', '-c', open, process.execPath, join(lab.folder, `tun-${uid}`), script];
    const [command = '', ...args] = lab.inReach(...words);
    return lab.run(lab.gateway, command, args);
  };
  const nobody = await attach(65534);
  assert.notEqual(nobody.status, 0);
  assert.match(nobody.stderr, /TUNSETIFF: EPERM/);
  const root = await attach(0);
  assert.equal(root.status, 0, root.stderr);
});

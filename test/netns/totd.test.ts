/** `totd`: the classic article's set-up, with a real BIND on port 65053 behind it and dig before it. */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Lab } from '../helpers/lab.js';
import { fetchBind } from '../helpers/name-servers.js';
import { helpersStepBack } from '../helpers/niceness.js';
import { until } from '../helpers/until.js';

const TOTD = fileURLToPath(new URL('../../../dist/bin/totd.js', import.meta.url));
const PREFIX = '2001:dead:beef:1264::';
const GATEWAY6 = '2001:db8:1::1';
const BIND = fetchBind();

let lab: Lab;
let conf: string;
let pidfile: string;
beforeEach(async () => {
  lab = new Lab();
  conf = join(lab.folder, 'totd.conf');
  pidfile = join(lab.folder, 'totd.pid');
  chmodSync(lab.folder, 0o755);
  await startBind();
});
afterEach(async () => {
  // A detached daemon is nobody's child.
  if (existsSync(pidfile) && isRunning(pid())) await stop();
  await lab.close();
});

const ZONES: Record<string, string> = {
  'article.example': `ns A 203.0.113.1
www A 192.0.2.80
both A 192.0.2.81
both AAAA 2001:db8:99::81
alias CNAME www
host AAAA 2001:db8:1::2`,
  '2.0.192.in-addr.arpa': '80 PTR www.article.example.',
  '168.192.in-addr.arpa': '9.0 PTR printer.article.example.',
  // BIND knows no 6to4 name.
  '2.0.0.2.ip6.arpa': '',
  '0.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa': '2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0 PTR host.article.example.',
};

/** BIND as the article has it: on port 65053 of loopback, with the zones of its network. */
async function startBind(): Promise<void> {
  const folder = join(lab.folder, 'bind');
  mkdirSync(folder);
  const zones = Object.entries(ZONES).map(([zone, records]) => {
    const head = `$TTL 300\n@ SOA ns.article.example. root.article.example. 1 3600 600 86400 120\n@ NS ns.article.example.\n`;
    writeFileSync(join(folder, zone), `${head}${records}\n`);
    return `zone "${zone}" { type primary; file "${zone}"; };`;
  });
  writeFileSync(
    join(folder, 'named.conf'),
    `options { directory "${folder}"; listen-on port 65053 { 127.0.0.1; }; listen-on-v6 { none; }; pid-file none;
recursion no; session-keyfile none; empty-zones-enable no; dnssec-validation no; managed-keys-directory "${folder}"; };
controls { };\n${zones.join('\n')}\n`,
  );
  const named = lab.spawn(
    lab.gateway,
    join(BIND.root, 'usr/sbin/named'),
    ['-g', '-n', '1', '-c', join(folder, 'named.conf')],
    BIND.env,
  );
  let output = '';
  named.stderr?.on('data', (data) => {
    output += data;
  });
  const isServing = () => / running$/m.test(output);
  await until(
    () => isServing() || named.exitCode !== null,
    () => `' running' in ${output}`,
    30_000,
  );
  assert.ok(isServing(), output);
  assert.doesNotMatch(output, /not loaded/);
}

const ARTICLE = () => `forwarder 127.0.0.1 port 65053
prefix ${PREFIX}
port 53
stf
pidfile ${pidfile}
`;

/** `dig +short` from the client; its lines. */
async function dig(...args: string[]): Promise<string[]> {
  const words = [...args, '+short', '+time=2', '+tries=1'];
  const { stdout } = await lab.runWith(BIND.env, lab.client, join(BIND.root, 'usr/bin/dig'), words, 20_000);
  return stdout.trim().split('\n');
}

const totd = (...args: string[]) => lab.run(lab.gateway, process.execPath, [TOTD, ...args], 30_000);

const pid = () => Number(readFileSync(pidfile, 'utf8'));
const isRunning = (id: number) => id > 0 && existsSync(`/proc/${id}`);

async function stop(): Promise<void> {
  const id = pid();
  process.kill(id, 'SIGTERM');
  await until(() => !isRunning(id), `the end of ${id}`, 30_000);
}

test("the article's totd.conf, with BIND on port 65053: AAAA, PTR in the prefix, PTR of 6to4, all from another host", async () => {
  writeFileSync(conf, ARTICLE());
  const started = await totd('-c', conf, '-u', 'nobody', '-g', 'nogroup');
  assert.equal(started.status, 0, started.stderr);
  const server = `@${GATEWAY6}`;
  assert.deepEqual(await dig(server, 'AAAA', 'www.article.example'), [`${PREFIX}c000:250`]);
  assert.deepEqual(await dig(server, 'AAAA', 'alias.article.example'), [
    'www.article.example.',
    `${PREFIX}c000:250`,
  ]);
  assert.deepEqual(await dig(server, 'AAAA', 'both.article.example'), ['2001:db8:99::81']);
  assert.deepEqual(await dig(server, 'A', 'www.article.example'), ['192.0.2.80']);
  assert.deepEqual(await dig(server, '+tcp', 'AAAA', 'www.article.example'), [`${PREFIX}c000:250`]);
  assert.deepEqual(await dig(server, '-x', `${PREFIX}192.0.2.80`), [
    '80.2.0.192.in-addr.arpa.',
    'www.article.example.',
  ]);
  // The private reverse zone is BIND's.
  assert.deepEqual(await dig(server, '-x', `${PREFIX}192.168.0.9`), [
    '9.0.168.192.in-addr.arpa.',
    'printer.article.example.',
  ]);
  assert.deepEqual(await dig(server, '-x', '2002:c000:250::1'), [
    '80.2.0.192.in-addr.arpa.',
    'www.article.example.',
  ]);
  const status = readFileSync(`/proc/${pid()}/status`, 'utf8');
  assert.match(status, /Uid:\t65534\t65534\t65534\t65534\nGid:\t65534\t/);
  assert.match(status, /CapInh:\t0+\nCapPrm:\t0+\nCapEff:\t0+\n/);
  assert.match(status, /NoNewPrivs:\t1\n/);
  const id = pid();
  await stop();
  assert.ok(!isRunning(id));
});

test('-t: the configuration is read inside the chroot, and again at SIGHUP, without privileges and with the same sockets', async () => {
  const root = join(lab.folder, 'jail');
  mkdirSync(join(root, 'etc'), { recursive: true });
  mkdirSync(join(root, 'run'));
  const inside = join(root, 'etc/totd.conf');
  const text = ARTICLE().replace(pidfile, '/run/totd.pid');
  pidfile = join(root, 'run/totd.pid');
  writeFileSync(inside, text);
  const started = await totd('-t', root, '-u', 'nobody');
  assert.equal(started.status, 0, started.stderr);
  const id = pid();
  assert.equal((await lab.run(lab.gateway, 'readlink', [`/proc/${id}/root`])).stdout.trim(), root);
  await helpersStepBack(id);
  const ask = async () => (await dig(`@${GATEWAY6}`, 'AAAA', 'www.article.example'))[0];
  assert.equal(await ask(), `${PREFIX}c000:250`);
  writeFileSync(inside, text.replace(PREFIX, '2001:db8:64::'));
  process.kill(id, 'SIGHUP');
  await until(async () => (await ask()) === '2001:db8:64::c000:250', 'the new prefix', 30_000);
  // It may not open port 53 any more, and so keeps what it has.
  writeFileSync(inside, text.replace('port 53\n', 'port 5300\n'));
  process.kill(id, 'SIGHUP');
  await until(async () => (await ask()) === `${PREFIX}c000:250`, 'the old prefix', 30_000);
  lab.ip(lab.gateway, `addr del ${GATEWAY6}/64 dev lan0`);
  await sleep(1500);
  lab.ip(lab.gateway, `addr add ${GATEWAY6}/64 dev lan0 nodad`);
  await until(async () => (await ask()) === `${PREFIX}c000:250`, 'an address that came back', 30_000);
  await stop();
  // The user may not remove root's file.
  assert.equal(readFileSync(pidfile, 'utf8'), '');
});

test('without -u: few capabilities, none for the network; a bad file in a chroot is told by the launcher', async () => {
  writeFileSync(conf, ARTICLE());
  assert.equal((await totd('-c', conf)).status, 0);
  const few = (1 << 0) | (1 << 1) | (1 << 3) | (1 << 5) | (1 << 10);
  assert.match(
    readFileSync(`/proc/${pid()}/status`, 'utf8'),
    new RegExp(`CapEff:\\t${few.toString(16).padStart(16, '0')}\n`),
  );
  await stop();
  assert.ok(!existsSync(pidfile));
  writeFileSync(conf, 'nonsense\n');
  const { status, stderr } = await totd('-c', '/totd.conf', '-t', lab.folder, '-u', 'nobody');
  assert.equal(status, 1);
  assert.match(stderr, /^\/totd\.conf:1:1: nonsense: there is no such keyword/);
});

test('interfaces: an address that comes is served, one that goes is not; scoped for who asks by link-local addresses', async () => {
  writeFileSync(conf, `${ARTICLE()}interfaces lan0\nscoped 2001:db8:1:: fe80:: 64\n`);
  assert.equal((await totd('-c', conf)).status, 0);
  const answers = async (server: string) =>
    (await dig(`@${server}`, 'AAAA', 'www.article.example'))[0] === `${PREFIX}c000:250`;
  assert.ok(await answers(GATEWAY6));
  lab.ip(lab.gateway, 'addr add 2001:db8:1::53/64 dev lan0 nodad');
  await until(() => answers('2001:db8:1::53'), 'the new address is served', 30_000);
  lab.ip(lab.gateway, 'addr del 2001:db8:1::53/64 dev lan0');
  lab.ip(lab.gateway, 'addr add 2001:db8:1::54/64 dev lan0 nodad');
  await until(() => answers('2001:db8:1::54'), 'another one', 30_000);

  const shown = lab.ip(lab.gateway, '-6 -o addr show dev lan0 scope link');
  const linkLocal = /inet6 (fe80:\S+)\/64/.exec(shown)?.[1];
  const server = `@${linkLocal}%up0`;
  assert.deepEqual(await dig(server, 'AAAA', 'host.article.example'), ['2001:db8:1::2', 'fe80::2']);
  assert.deepEqual(await dig(`@${GATEWAY6}`, 'AAAA', 'host.article.example'), ['2001:db8:1::2']);
  assert.deepEqual(await dig(server, '-x', 'fe80::2'), ['host.article.example.']);
});

test('nat64d --totd beside NAT64: several prefixes, stf, interfaces followed; SIGHUP applies a change', async () => {
  writeFileSync(conf, `${ARTICLE()}prefix 2001:db8:65::\ninterfaces lan0\n`);
  const gateway = await lab.startGateway({ args: ['--totd', conf] });
  const ask = async (server = GATEWAY6) => (await dig(`@${server}`, 'AAAA', 'www.article.example'))[0];
  assert.deepEqual(
    [await ask(), await ask(), await ask()],
    [`${PREFIX}c000:250`, '2001:db8:65::c000:250', `${PREFIX}c000:250`],
  );
  assert.equal((await dig(`@${GATEWAY6}`, '-x', '2002:c000:250::1'))[1], 'www.article.example.');
  lab.ip(lab.gateway, 'addr add 2001:db8:1::53/64 dev lan0 nodad');
  await until(async () => (await ask('2001:db8:1::53')) !== '', 'the new address is served', 30_000);
  writeFileSync(conf, ARTICLE().replace(PREFIX, '2001:db8:66::'));
  gateway.kill('SIGHUP');
  await gateway.waitFor('reloaded');
  assert.equal(await ask(), '2001:db8:66::c000:250');
  assert.deepEqual(gateway.events('config-warning'), []);
  assert.equal(await gateway.stop(), 0);
});

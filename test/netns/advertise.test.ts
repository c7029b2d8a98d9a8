/** Router advertisements, heard by a real Linux host and by rdisc6. */

import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { CLIENT6, Lab } from '../helpers/lab.js';
import { fetchPeer } from '../helpers/peers.js';
import { until } from '../helpers/until.js';

interface Heard {
  source: string;
  hopLimit: number;
  hex: string;
}

let lab: Lab;
beforeEach(() => {
  lab = new Lab();
});
afterEach(() => lab.close());

/** Every advertisement that the client's link brings from now on. */
async function listen(): Promise<Heard[]> {
  const heard: Heard[] = [];
  const child: ChildProcess = await lab.serve(lab.client, 'router', ['listen', 'up0']);
  createInterface({ input: child.stdout as NonNullable<ChildProcess['stdout']> }).on('line', (line) => {
    if (line.startsWith('{')) heard.push(JSON.parse(line) as Heard);
  });
  return heard;
}

/** What rdisc6 understands of the first advertisement after its solicitation; it knows nothing of PREF64. */
async function solicit(waitMs: number) {
  const { root } = fetchPeer('ndisc6', ['ndisc6']);
  const args = ['-1', '-r', '1', '-w', String(waitMs), 'up0'];
  return lab.run(lab.client, join(root, 'bin/rdisc6'), args);
}

const routes = () => lab.ip(lab.client, '-6 route show');
const sysctl = (key: string, value: number) =>
  lab.run(lab.client, 'sh', ['-c', `echo ${value} > /proc/sys/net/ipv6/conf/up0/${key}`]);

async function metrics(): Promise<string> {
  const { stdout } = await lab.run(lab.gateway, 'curl', ['-gs', 'http://127.0.0.1:6464/metrics']);
  return stdout;
}

const CTL = fileURLToPath(new URL('../../../dist/bin/nat64ctl.js', import.meta.url));

/** The option, and the route, of pref64 64:ff9b:1::/96. */
const PREF64 = '0064ff9b0001000000000000';
/** Its scaled lifetime of 1800 s with the code of /96, and at the end. */
const OPTION = `26020708${PREF64}`;
const OPTION_END = `26020000${PREF64}`;
const RDNSS = 25;
const ROUTE = 24;

/** The types of an advertisement's options (RFC 4861 section 4.6), which follow its 16 bytes. */
function optionTypes(hex: string): number[] {
  const bytes = Buffer.from(hex, 'hex');
  const types: number[] = [];
  for (let at = 16; at < bytes.length; at += 8 * (bytes[at + 1] as number)) types.push(bytes[at] as number);
  return types;
}

test('silent until asked for by a reload; then hosts hear, and a goodbye when it is taken back or the gateway ends', async () => {
  const heard = await listen();
  const gateway = await lab.startGateway();
  const { status, stdout } = await solicit(700);
  assert.notEqual(status, 0, stdout);
  assert.equal(heard.length, 0);
  assert.doesNotMatch(await metrics(), /router_/);

  lab.configure('[advertise]\ninterfaces = ["lan0"]\n');
  const hearing = solicit(5000);
  gateway.kill('SIGHUP');
  await gateway.waitFor('advertise');
  await until(() => heard.length === 1, 'the first', 30_000);
  const [first] = heard as [Heard];
  assert.match(first.source, /^fe80::/);
  assert.equal(first.hopLimit, 255);
  assert.match(first.hex, /^8600.{4}00000000/, 'router lifetime 0');
  assert.ok(first.hex.includes(OPTION), first.hex);
  for (const type of [RDNSS, ROUTE]) assert.ok(optionTypes(first.hex).includes(type), first.hex);
  const known = await hearing;
  assert.equal(known.status, 0, known.stderr);
  // DNS64's address on the device, 10.64.0.2 under pref64, reached by the route that is told as well.
  assert.match(known.stdout, /Recursive DNS server +: 64:ff9b:1::a40:2/);
  assert.match(known.stdout, /Route +: 64:ff9b:1::\/96/);
  assert.match(known.stdout, /Source link-layer address: ([0-9A-F]{2}:?){6}/);
  assert.match(known.stdout, /Router lifetime +: +0 /);

  // No flag, no prefix: whatever the host had is as it was, and its own default route with it.
  assert.match(routes(), /^default via 2001:db8:1::1 dev up0/m);
  assert.doesNotMatch(lab.ip(lab.client, '-6 addr show dev up0'), /dynamic/);

  lab.configure('pref64 = "64:ff9b:1:1::/96"\n[advertise]\ninterfaces = ["lan0"]\nrouter-lifetime = 900\n');
  gateway.kill('SIGHUP');
  await until(() => heard.at(-1)?.hex.includes(OPTION_END) === true, 'another prefix', 30_000);
  assert.ok(
    heard.at(-1)?.hex.includes('260207080064ff9b0001000100000000'),
    'the new one, and the old one at its end',
  );
  await until(() => /^default via fe80::\S+ dev up0 proto ra/m.test(routes()), 'a default router', 30_000);

  lab.configure('pref64 = "64:ff9b:1:1::/96"\n');
  gateway.kill('SIGHUP');
  await until(
    () => heard.at(-1)?.hex.includes('260200000064ff9b0001000100000000') === true,
    'a goodbye',
    30_000,
  );
  await until(() => !/proto ra/.test(routes()), 'no default router', 30_000);
  assert.match(routes(), /^default via 2001:db8:1::1 dev up0/m);

  lab.configure('[advertise]\ninterfaces = ["lan0"]\ndns-servers = []\nroute = false\n');
  gateway.kill('SIGHUP');
  await until(() => heard.at(-1)?.hex.includes(OPTION) === true, 'again', 30_000);
  const types = optionTypes(heard.at(-1)?.hex ?? '');
  for (const type of [RDNSS, ROUTE]) assert.ok(!types.includes(type), `options ${types}`);
  assert.equal(await gateway.stop(), 0);
  await until(() => heard.at(-1)?.hex.includes(OPTION_END) === true, 'the last', 30_000);
});

test('a host that knows nothing gets address, route and name server, and reaches IPv4', async () => {
  await sysctl('accept_ra_rt_info_max_plen', 96);
  lab.ip(lab.client, '-6 route del default');
  lab.ip(lab.client, `addr del ${CLIENT6}/64 dev up0`);
  const heard = await listen();
  assert.ok(!(await lab.pings()));
  const gateway = await lab.startGateway({
    toml: '[advertise]\ninterfaces = ["lan0"]\nprefix = "2001:db8:1::/64"\nmtu = 1400\n[dns64]\ninterfaces = ["lan0"]\n',
  });
  await until(
    () => /inet6 2001:db8:1::?\S+\/64 scope global dynamic/.test(lab.ip(lab.client, '-6 addr show dev up0')),
    'an address',
    30_000,
  );
  assert.match(routes(), /^64:ff9b:1::\/96 via fe80::\S+ dev up0 proto ra/m);
  assert.doesNotMatch(routes(), /^default/m);
  assert.ok(await lab.pings());
  const [{ hex } = { hex: '' }] = heard;
  assert.ok(hex.includes('190300000000070820010db8000100000000000000000001'), 'the name server, on the link');
  assert.ok(hex.includes('0501000000000578'), 'the MTU');
  assert.equal(await gateway.stop(), 0);
  await until(() => !/64:ff9b:1::/.test(routes()), 'no route', 30_000);
});

test('an interface that is not there yet, or goes, is reported once and used when it is back; bad messages are counted', async () => {
  const gateway = await lab.startGateway({
    toml: '[advertise]\ninterfaces = ["lan0", "late0"]\n',
  });
  const { interface: missing } = await gateway.waitFor('advertise-waits');
  assert.equal(missing, 'late0');
  const appear = () => {
    lab.ip(lab.gateway, 'link add late0 type veth peer name late1');
    for (const name of ['late0', 'late1']) lab.ip(lab.gateway, `link set ${name} up`);
  };
  appear();
  // The first was lan0's.
  await gateway.waitFor('advertise', 2);
  lab.ip(lab.gateway, 'link del late0');
  await gateway.waitFor('advertise-waits', 2);
  appear();
  await gateway.waitFor('advertise', 3);
  assert.equal(gateway.events('advertise-waits').length, 2);

  // To hosts, another source is another router: it is told at once.
  const moved = await listen();
  lab.ip(lab.gateway, 'addr add fe80::77/64 dev lan0 nodad');
  for (const own of lab.ip(lab.gateway, '-6 -o addr show dev lan0 scope link').match(/fe80::\S+\/64/g) ??
    []) {
    if (own !== 'fe80::77/64') lab.ip(lab.gateway, `addr del ${own} dev lan0`);
  }
  await until(() => moved.some(({ source }) => source === 'fe80::77'), 'the new source', 30_000);

  const answer = await solicit(4000);
  assert.equal(answer.status, 0, answer.stderr);

  const send = (namespace: string, on: string, ...messages: string[]) =>
    lab.node(namespace, 'router', ['send', on, ...messages]);
  const status = await lab.run(lab.gateway, process.execPath, [
    CTL,
    '--socket',
    join(lab.folder, 'run', 'control.sock'),
    'status',
  ]);
  assert.match(status.stdout, /^advertising +on lan0: pref64 64:ff9b:1::\/96, DNS 64:ff9b:1::a40:2$/m);
  // Another code, and an option of length 0.
  const bad = await send(lab.client, 'up0', '8501000000000000', '85000000000000000100000000000000');
  assert.equal(bad.status, 0, bad.stderr);
  await until(
    async () =>
      /router_solicitations_invalid_total\{interface="lan0",reason="option"\} 1/.test(await metrics()),
    'bad ones counted',
    30_000,
  );
  const text = await metrics();
  assert.match(text, /router_solicitations_invalid_total\{interface="lan0",reason="code"\} 1/);
  assert.match(text, /router_solicitations_total\{interface="lan0"\} 3/);
  assert.match(text, /router_advertisements_sent_total\{interface="lan0"\} [1-9]/);

  // Somebody else on the gateway makes it a default router, and we say that it is none.
  const other = await lab.run(lab.gateway, 'python3', [
    '-c',
    `from socket import *
s = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6)
s.setsockopt(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 255)
for lifetime in range(1800, 1900):
    s.sendto(bytes.fromhex('860000000000%04x0000000000000000' % lifetime), ('ff02::1%lan0', 0))`,
  ]);
  assert.equal(other.status, 0, other.stderr);
  const { msg } = await gateway.waitFor('advertise-contradicted');
  assert.match(msg, /advertises on lan0 with router lifetime 1800, and we with 0/);
  // The last of them.
  await sleep(300);
  assert.equal(gateway.events('advertise-contradicted').length, 1, 'said once in a minute');
  assert.equal(await gateway.stop(), 0);
});

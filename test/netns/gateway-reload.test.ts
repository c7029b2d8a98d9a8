/** SIGHUP: another configuration comes into force under traffic, without the loss of a packet that it does not concern. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { afterEach, beforeEach, test } from 'node:test';
import { CLIENT6, type GatewayProcess, Lab, PUBLIC4, SERVER4, under } from '../helpers/lab.js';
import { patternBytes } from '../helpers/pattern.js';
import { until } from '../helpers/until.js';

let lab: Lab;
beforeEach(() => {
  lab = new Lab();
});
afterEach(() => lab.close());

/** The half of the pool that an address lies in. */
function halfOf(address: string): string {
  return Number(address.split('.')[2]) < 128 ? '10.64.0.0/17' : '10.64.128.0/17';
}

/** Writes another configuration, and waits until the gateway has done with it. */
async function reload(gateway: GatewayProcess, toml: string, event = 'reloaded') {
  const count = gateway.events(event).length;
  lab.configure(toml);
  gateway.kill('SIGHUP');
  return gateway.waitFor(event, count + 1);
}

test('50 reloads in a row, each with other workers, maps, settings, DNS and pool, lose no packet of a flow', async () => {
  await lab.serve(lab.server, 'server');
  const gateway = await lab.startGateway({
    toml: 'workers = 2\n[log]\npackets = ["dyn"]\n',
    // Each worker compiles its code beside the first frames, as where nobody tests.
    env: { NAT64D_TEST_NO_REHEARSAL: '' },
  });
  const running = join(lab.folder, 'running');
  writeFileSync(running, '');
  const words = ['stream', under(SERVER4), '100', '4', running];
  const stream = lab.node(lab.client, 'client', words, 110_000);
  const half = halfOf((await gateway.waitFor('assigned')).ipv4 as string);
  const bytes = 4 << 20;
  const put = lab.node(lab.client, 'client', ['put', under(SERVER4), String(bytes), '6'], 110_000);
  for (let i = 0; i < 50; i++) {
    const [fifth, tenth] = [Math.floor(i / 5), Math.floor(i / 10)];
    const pool = i % 10 === 5 ? `pool4 = "${half}"\n` : '';
    const maps = Array.from(
      { length: i },
      (_, n) => `[[map]]\nipv4 = "198.51.100.${n}"\nipv6 = "2001:db8:77::${n}"\n`,
    );
    await reload(
      gateway,
      `workers = ${1 + (fifth % 2)}\n${pool}[translation]\nlowest-ipv6-mtu = ${1280 + i}\n` +
        `[device]\nmtu = ${1500 + tenth}\n[log]\nlevel = "${i % 2 === 0 ? 'debug' : 'info'}"\n` +
        `[dns64]\nforwarders = ["${SERVER4}"]\ncache-size = ${i}\nlisten = ["127.0.0.1:${5300 + fifth}"]\n` +
        `[http]\nlisten = ["127.0.0.1:${6464 + tenth}"]\n${maps.join('')}`,
    );
  }
  rmSync(running);
  const { sent, received, disordered } = JSON.parse((await stream).stdout) as Record<string, number>;
  const hash = createHash('sha256').update(patternBytes(bytes)).digest('hex');
  assert.equal(JSON.parse((await put).stdout), hash);
  assert.equal(await gateway.stop(), 0);
  const counters = gateway.events('stopped')[0]?.counters as Record<string, number>;
  assert.deepEqual({ received, disordered }, { received: sent, disordered: 0 }, JSON.stringify(counters));
  assert.ok(
    (counters['translated-v6-to-v4'] as number) >= (sent as number),
    'what workers counted that are gone is kept',
  );
  assert.equal(counters['drop-hold-timeout'] ?? 0, 0);
  assert.equal(gateway.events('worker-replaced').length, 0);
});

test('a reload that fails half way takes back all it has done, and says everything that was in its way', async () => {
  const taken = (name: string, port: number) =>
    `require('net').createServer().listen(${port}, '${name}', () => console.log('ready'))`;
  const blocker = lab.spawn(lab.gateway, process.execPath, [
    '-e',
    `${taken('127.0.0.1', 5399)};${taken('127.0.0.1', 6499)}`,
  ]);
  await once(blocker.stdout as Readable, 'data');
  const toml = `workers = 2\n[[map]]\nipv4 = "198.51.100.7"\nipv6 = "2001:db8:77::7"\n[device]\nmasquerade = "wan0"\n`;
  const gateway = await lab.startGateway({ toml });
  assert.ok(await lab.pings());
  const before = await lab.snapshot();
  await reload(
    gateway,
    'workers = 1\npool4 = "10.65.0.0/24"\npref64 = "2001:db8:64:64::/96"\n[device]\nmtu = 1400\nforwarding = false\nmasquerade = true\noffload = false\n' +
      '[dns64]\nlisten = ["127.0.0.1:5399", "127.0.0.1:5398"]\n[http]\nlisten = ["127.0.0.1:6499", "127.0.0.1:6498"]\n',
    'reload-failed',
  );
  const lines =
    (await gateway.waitFor('reload-failed', 3)) && gateway.events('reload-failed').map(({ msg }) => msg);
  assert.match(lines[0] as string, /DNS64 cannot listen on 127\.0\.0\.1:5399 \(TCP\): the port is taken/);
  assert.match(lines[1] as string, /HTTP cannot listen on 127\.0\.0\.1:6499: the port is taken/);
  assert.match(lines[2] as string, /stays as it was/);
  assert.equal(await lab.snapshot(), before);
  assert.ok(await lab.pings());
  const listening = (await lab.run(lab.gateway, 'ss', ['-Hlntu'])).stdout;
  assert.match(listening, /10\.64\.0\.2:53 /);
  assert.match(listening, /127\.0\.0\.1:6464 /);
  assert.doesNotMatch(listening, /:(5398|6498) /);
  blocker.kill();
  await once(blocker, 'close');
  await reload(
    gateway,
    'workers = 1\n[device]\nmtu = 1400\nmasquerade = false\nforwarding = false\n[dns64]\nlisten = ["127.0.0.1:5399"]\n',
  );
  assert.match(lab.ip(lab.gateway, 'link show nat64'), / mtu 1400 /);
  assert.doesNotMatch((await lab.run(lab.gateway, 'nft', ['list', 'ruleset'])).stdout, /nat64d/);
  assert.ok(!(await lab.pings()), 'forwarding is off again');
  lab.configure('[log]\nformat = "pretty"\n');
  gateway.kill('SIGHUP');
  const isPretty = (line: string) => /^\[?\d\d:\d\d.*read again; changed: .*log\.format/.test(line);
  await until(
    () => gateway.output.some(isPretty),
    () => `a pretty line behind ${gateway.output.slice(-3).join('\n')}`,
    30_000,
  );
  assert.ok(await lab.pings());
  assert.equal(await gateway.stop(), 0);
});

test('routes of maps outlive the address that they had for a source', async () => {
  const map = '[[map]]\nipv4 = "198.51.100.7"\nipv6 = "2001:db8:77::7"\n';
  const gateway = await lab.startGateway({ toml: map });
  await reload(gateway, `pool4 = "10.9.0.0/24"\n${map}`);
  assert.match(lab.ip(lab.gateway, 'route show 198.51.100.7'), /dev nat64 .*src 10\.9\.0\.2/);
  assert.equal(await gateway.stop(), 0);
});

test('another prefix, other maps and a smaller pool are in force after SIGHUP, and what they replace is not', async () => {
  const gateway = await lab.startGateway();
  assert.ok(await lab.pings());
  const moved = '2001:db8:64:64::';
  const { changed } = await reload(
    gateway,
    `pref64 = "${moved}/96"\npool4 = "10.64.0.0/24"\n[[map]]\nipv4 = "198.51.100.7"\nipv6 = "${CLIENT6}"\n`,
  );
  assert.ok(await lab.pings(`${moved}${PUBLIC4}`));
  assert.ok(!(await lab.pings()));
  const routes = lab.ip(lab.gateway, '-6 route show dev nat64');
  assert.match(routes, /2001:db8:64:64::\/96/);
  assert.doesNotMatch(routes, /64:ff9b:1::\/96/);
  assert.match(lab.ip(lab.gateway, 'route show dev nat64'), /198\.51\.100\.7/);
  assert.deepEqual(
    (changed as string[]).filter((key) => ['pref64', 'pool4', 'map'].includes(key)),
    ['pref64', 'pool4', 'map'],
  );
  const before = await lab.snapshot();
  await reload(gateway, '');
  assert.ok(await lab.pings());
  assert.notEqual(await lab.snapshot(), before);
  assert.equal(await gateway.stop(), 0);
});

test('a map-file is read again at SIGHUP; a bad line is named and left out, what is not listed any more is gone', async () => {
  const file = join(lab.folder, 'maps');
  writeFileSync(
    file,
    `map 198.51.100.9 ${CLIENT6}\nmap 198.51.100.300 2001:db8::1\nmap 10.64.0.1 2001:db8::2\n`,
  );
  const toml = `map-file = "${file}"\n`;
  const gateway = await lab.startGateway({ toml });
  assert.deepEqual(
    gateway.events('map-file-line').map(({ line }) => line),
    [2, 3],
  );
  lab.ip(lab.server, 'route add 198.51.100.9/32 via 203.0.113.1');
  const reaches = () => lab.pings('198.51.100.9', { from: lab.server });
  assert.ok(await reaches());
  writeFileSync(file, '# nothing\n');
  await reload(gateway, toml);
  assert.ok(!(await reaches()));
  assert.ok(await lab.pings(), 'the host has a dynamic map now');
  writeFileSync(file, `map 198.51.100.9/32 ${CLIENT6}/128\n`);
  await reload(gateway, toml);
  assert.ok(await reaches());
  assert.equal(await gateway.stop(), 0);
});

test('a bad configuration changes nothing and says why; a map-file that is missing does too', async () => {
  const gateway = await lab.startGateway();
  await reload(gateway, 'pool5 = "10.64.0.0/16"\npref64 = "64:ff9b:1::/97"\n', 'reload-failed');
  await gateway.waitFor('reload-failed', 3);
  const lines = gateway.events('reload-failed').map(({ msg }) => msg);
  assert.match(lines[0] as string, /nat64d\.toml:\d+:\d+: pool5: there is no such key/);
  assert.match(lines[1] as string, /nat64d\.toml:\d+:\d+: pref64: /);
  assert.match(lines[2] as string, /stays as it was/);
  assert.ok(await lab.pings());
  await reload(gateway, 'map-file = "/nowhere/maps"\n', 'reload-failed');
  await gateway.waitFor('reload-failed', 5);
  assert.match(gateway.events('reload-failed')[3]?.msg as string, /map-file.*\/nowhere\/maps/);
  assert.ok(await lab.pings());
  assert.equal(await gateway.stop(), 0);
});

test('what cannot change is said by name, and nothing is applied', async () => {
  const gateway = await lab.startGateway();
  await reload(
    gateway,
    'pref64 = "2001:db8:64:64::/96"\n[device]\nname = "other"\nconfigure = false\nmtu = 1400\n',
    'reload-failed',
  );
  await gateway.waitFor('reload-failed', 3);
  const lines = gateway.events('reload-failed').map(({ msg }) => msg);
  assert.match(lines[0] as string, /nat64d\.toml: device\.name cannot change while the gateway runs/);
  assert.match(lines[1] as string, /nat64d\.toml: device\.configure cannot change while the gateway runs/);
  assert.ok(await lab.pings());
  assert.doesNotMatch(lab.ip(lab.gateway, 'link show nat64'), / mtu 1400 /);
  assert.equal(await gateway.stop(), 0);
});

test('dynamic maps survive a reload that moves their pool only in part, and one that maps their host explicitly ends them', async () => {
  await lab.serve(lab.server, 'server');
  const gateway = await lab.startGateway({ toml: '[log]\npackets = ["dyn"]\n' });
  assert.ok(await lab.pings());
  const address = gateway.events('assigned')[0]?.ipv4 as string;
  const half = halfOf(address);
  await reload(gateway, `pool4 = "${half}"\n[log]\npackets = ["dyn"]\n`);
  assert.ok(await lab.pings());
  assert.equal(gateway.events('assigned').length, 1);
  await reload(gateway, `pool4 = "${half}"\n[[map]]\nipv4 = "198.51.100.7"\nipv6 = "${CLIENT6}"\n`);
  lab.ip(lab.server, 'route add 198.51.100.7/32 via 203.0.113.1');
  assert.ok(await lab.pings('198.51.100.7', { from: lab.server }));
  assert.equal(await gateway.stop(), 0);
});

test('another pool is masqueraded as the one before it, and by no rule more', async () => {
  await lab.serve(lab.server, 'server');
  const gateway = await lab.startGateway();
  assert.ok(await lab.pings());
  await reload(gateway, 'pool4 = "10.9.0.0/24"\n');
  const { stdout } = await lab.run(lab.client, 'curl', ['-gs', `http://[${under(SERVER4)}]/`]);
  assert.match(stdout, /You are 203\.0\.113\.1\./);
  const rules = (await lab.run(lab.gateway, 'nft', ['list', 'ruleset'])).stdout;
  assert.match(rules, /ip saddr 10\.9\.0\.0\/24 /);
  assert.doesNotMatch(rules, /10\.64\.0\.0/);
  await reload(gateway, 'pool4 = false\nipv4-address = "192.0.0.8"\n');
  await reload(gateway, '');
  assert.ok(await lab.pings());
  assert.equal(await gateway.stop(), 0);
  assert.doesNotMatch((await lab.run(lab.gateway, 'nft', ['list', 'ruleset'])).stdout, /nat64d/);
});

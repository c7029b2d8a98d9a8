/** SIGHUP: another configuration comes into force under traffic, without the loss of a packet that it does not concern. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { CLIENT6, type GatewayProcess, Lab, PUBLIC4, SERVER4, under } from '../helpers/lab.js';

let lab: Lab;
beforeEach(() => {
  lab = new Lab();
});
afterEach(() => lab.close());

async function pings(address: string): Promise<boolean> {
  const { stdout } = await lab.run(lab.client, 'ping', ['-c', '1', '-W', '1', address]);
  return / 0% packet loss/.test(stdout);
}

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

test('50 reloads in a row, each with other maps, settings and pool, lose no packet of a flow', async () => {
  await lab.serve(lab.server, 'server');
  const gateway = await lab.startGateway({ toml: '[log]\npackets = ["dyn"]\n' });
  const stream = lab.node(lab.client, 'client', ['stream', under(SERVER4), '6']);
  const half = halfOf((await gateway.waitFor('assigned')).ipv4 as string);
  for (let i = 0; i < 50; i++) {
    const pool = i % 10 === 5 ? `pool4 = "${half}"\n` : '';
    const maps = Array.from(
      { length: i },
      (_, n) => `[[map]]\nipv4 = "198.51.100.${n}"\nipv6 = "2001:db8:77::${n}"\n`,
    );
    await reload(gateway, `${pool}[translation]\nlowest-ipv6-mtu = ${1280 + i}\n${maps.join('')}`);
  }
  const { sent, received, disordered } = JSON.parse((await stream).stdout) as Record<string, number>;
  assert.equal(await gateway.stop(), 0);
  assert.deepEqual(
    { received, disordered },
    { received: sent, disordered: 0 },
    JSON.stringify(gateway.events('stopped')[0]),
  );
});

test('another prefix, other maps and a smaller pool are in force after SIGHUP, and what they replace is not', async () => {
  const gateway = await lab.startGateway();
  assert.ok(await pings(under(PUBLIC4)));
  const moved = '2001:db8:64:64::';
  const { changed } = await reload(
    gateway,
    `pref64 = "${moved}/96"\npool4 = "10.64.0.0/24"\n[[map]]\nipv4 = "198.51.100.7"\nipv6 = "${CLIENT6}"\n`,
  );
  assert.ok(await pings(`${moved}${PUBLIC4}`));
  assert.ok(!(await pings(under(PUBLIC4))));
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
  assert.ok(await pings(under(PUBLIC4)));
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
  const reaches = async () => {
    const { stdout } = await lab.run(lab.server, 'ping', ['-c', '1', '-W', '1', '198.51.100.9']);
    return / 0% packet loss/.test(stdout);
  };
  assert.ok(await reaches());
  writeFileSync(file, '# nothing\n');
  await reload(gateway, toml);
  assert.ok(!(await reaches()));
  assert.ok(await pings(under(PUBLIC4)), 'the host has a dynamic map now');
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
  assert.ok(await pings(under(PUBLIC4)));
  await reload(gateway, 'map-file = "/nowhere/maps"\n', 'reload-failed');
  await gateway.waitFor('reload-failed', 5);
  assert.match(gateway.events('reload-failed')[3]?.msg as string, /map-file.*\/nowhere\/maps/);
  assert.ok(await pings(under(PUBLIC4)));
  assert.equal(await gateway.stop(), 0);
});

test('what cannot change is said by name, and the rest is applied', async () => {
  const gateway = await lab.startGateway();
  await reload(
    gateway,
    'workers = 1\npref64 = "2001:db8:64:64::/96"\n[device]\nname = "other"\nmtu = 1400\n',
  );
  assert.deepEqual(
    gateway.events('needs-restart').map(({ key }) => key),
    ['workers', 'device.name', 'device.mtu'],
  );
  assert.ok(await pings(`2001:db8:64:64::${PUBLIC4}`));
  assert.equal(await gateway.stop(), 0);
});

test('dynamic maps survive a reload that moves their pool only in part, and one that maps their host explicitly ends them', async () => {
  await lab.serve(lab.server, 'server');
  const gateway = await lab.startGateway({ toml: '[log]\npackets = ["dyn"]\n' });
  assert.ok(await pings(under(PUBLIC4)));
  const address = gateway.events('assigned')[0]?.ipv4 as string;
  const half = halfOf(address);
  await reload(gateway, `pool4 = "${half}"\n[log]\npackets = ["dyn"]\n`);
  assert.ok(await pings(under(PUBLIC4)));
  assert.equal(gateway.events('assigned').length, 1);
  await reload(gateway, `pool4 = "${half}"\n[[map]]\nipv4 = "198.51.100.7"\nipv6 = "${CLIENT6}"\n`);
  lab.ip(lab.server, 'route add 198.51.100.7/32 via 203.0.113.1');
  const { stdout } = await lab.run(lab.server, 'ping', ['-c', '1', '-W', '1', '198.51.100.7']);
  assert.match(stdout, / 0% packet loss/);
  assert.equal(await gateway.stop(), 0);
});

test('another pool is masqueraded as the one before it, and by no rule more', async () => {
  await lab.serve(lab.server, 'server');
  const gateway = await lab.startGateway();
  assert.ok(await pings(under(PUBLIC4)));
  await reload(gateway, 'pool4 = "10.9.0.0/24"\n');
  const { stdout } = await lab.run(lab.client, 'curl', ['-gs', `http://[${under(SERVER4)}]/`]);
  assert.match(stdout, /You are 203\.0\.113\.1\./);
  const rules = (await lab.run(lab.gateway, 'nft', ['list', 'ruleset'])).stdout;
  assert.match(rules, /ip saddr 10\.9\.0\.0\/24 /);
  assert.doesNotMatch(rules, /10\.64\.0\.0/);
  await reload(gateway, 'pool4 = false\nipv4-address = "192.0.0.8"\n');
  await reload(gateway, '');
  assert.ok(await pings(under(PUBLIC4)));
  assert.equal(await gateway.stop(), 0);
  assert.doesNotMatch((await lab.run(lab.gateway, 'nft', ['list', 'ruleset'])).stdout, /nat64d/);
});

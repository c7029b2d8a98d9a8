/** What lies beside the main road: tiny datagrams, refusals, and traffic that IPv4 hosts begin. */
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { CLIENT6, Lab, type LabOptions, SERVER4, under } from '../helpers/lab.js';

/** The client's address for IPv4 hosts, by an explicit map. */
const CLIENT4 = '198.51.100.7';
const MAP = `[[map]]\nipv4 = "${CLIENT4}"\nipv6 = "${CLIENT6}"\n`;

let lab: Lab;
afterEach(() => lab.close());

async function start(options: LabOptions = {}, toml = MAP) {
  lab = new Lab(options);
  lab.ip(lab.server, `route add ${CLIENT4} via 203.0.113.1`);
  return lab.startGateway({ toml });
}

/** Both streams of a command, for messages that are sometimes on one and sometimes on the other. */
async function output(namespace: string, command: string, ...args: string[]): Promise<string> {
  const { stdout, stderr } = await lab.run(namespace, command, args);
  return stdout + stderr;
}

/** Runs a line of JavaScript (CommonJS) in a namespace. */
const script = (namespace: string, code: string) => output(namespace, process.execPath, '-e', code);

test('datagrams of 0 to 15 bytes come back whole', async () => {
  await start();
  await lab.serve(lab.server, 'server');
  const sizes = Array.from({ length: 16 }, (_, i) => i);
  const { stdout, stderr } = await lab.node(lab.client, 'client', [
    'udp',
    under(SERVER4),
    ...sizes.map(String),
  ]);
  assert.deepEqual(JSON.parse(stdout), sizes, stderr);
});

test('pings of no and of few bytes', async () => {
  await start();
  for (const size of ['0', '1', '7']) {
    assert.match(
      await output(lab.client, 'ping', '-c', '2', '-i', '0.1', '-W', '2', '-s', size, under(SERVER4)),
      / 0% packet loss/,
    );
  }
});

test('a closed TCP port refuses, and a closed UDP port is told as an ICMP error', async () => {
  await start();
  const tcp = `require('net').connect(9, '${under(SERVER4)}').on('error', (e) => console.log(e.code))`;
  assert.equal(await script(lab.client, tcp), 'ECONNREFUSED\n');
  const udp = `const s = require('dgram').createSocket('udp6');
    s.on('error', (e) => { console.log(e.code); s.close(); });
    s.connect(9, '${under(SERVER4)}', () => s.send('x'));
    setTimeout(() => process.exit(), 5000).unref();`;
  assert.equal(await script(lab.client, udp), 'ECONNREFUSED\n');
});

// RFC 7915 section 4.2: ICMPv4 3/1 becomes ICMPv6 1/0, and 3/13 becomes 1/1.
for (const [type, message] of [
  ['unreachable', /Destination unreachable: No route/],
  ['prohibit', /Destination unreachable: Administratively prohibited/],
] as const) {
  test(`a route of type ${type} behind the gateway is told to the client`, async () => {
    await start();
    lab.ip(lab.gateway, `route add ${type} 192.0.2.77`);
    assert.match(await output(lab.client, 'ping', '-c', '1', '-W', '2', under('192.0.2.77')), message);
  });
}

test('an IPv4 host sees the hops to an IPv6 host', async () => {
  await start();
  const stdout = await output(lab.server, 'traceroute', '-n', '-q', '1', '-w', '2', CLIENT4);
  const hops = stdout.split('\n').map((line) => line.trim().split(/\s+/)[1]);
  // The gateway's kernel forwards twice, by IPv4 and by IPv6; the address of the second has no map, so the translator's own
  // stands for it (RFC 6791).
  assert.deepEqual(hops.slice(1, 4), ['203.0.113.1', '10.64.0.1', '10.64.0.1'], stdout);
  // A kernel answers only so many probes at once, so its line may be a later one.
  assert.ok(hops.includes(CLIENT4), stdout);
});

test('an IPv4 host that may not fragment is told the MTU of a narrow IPv6 link', async () => {
  await start({ clientLinkMtu: 1400 });
  const ping = (size: number) =>
    output(lab.server, 'ping', '-M', 'do', '-c', '2', '-i', '0.2', '-W', '1', '-s', String(size), CLIENT4);
  assert.match(await ping(1400), /mtu ?= ?1380/);
  // 1380 with 20 bytes of IPv4 header and 8 of ICMP.
  assert.match(await ping(1380 - 28), / 0% packet loss/);
});

test('an IPv4 host opens a TCP connection to an IPv6 host', async () => {
  await start();
  const server = `require('net').createServer((s) => s.end(s.remoteAddress)).listen(8080, '::', () => console.log('up'))`;
  const listening = lab.spawn(lab.client, process.execPath, ['-e', server]);
  await new Promise((resolve) => listening.stdout?.once('data', resolve));
  const stdout = await script(lab.server, `require('net').connect(8080, '${CLIENT4}').pipe(process.stdout)`);
  assert.equal(stdout, '64:ff9b:1::cb00:7102');
});

test('a host without a map is refused to an IPv4 host that calls it', async () => {
  await start();
  lab.ip(lab.server, 'route add 10.64.0.0/16 via 203.0.113.1');
  const stdout = await output(lab.server, 'ping', '-c', '1', '-W', '2', '10.64.77.77');
  assert.match(stdout, /From 10\.64\.0\.1 .*Destination Host Unreachable/);
});

async function counted(name: string): Promise<number> {
  const text = await output(lab.gateway, 'curl', '-gs', 'http://127.0.0.1:6464/metrics');
  return Number(new RegExp(`^nat64d_drops_total\\{reason="${name}".*\\} ([0-9]+)$`, 'm').exec(text)?.[1]);
}

test('forged sources are dropped and counted, those that allow-from names pass, and a reload takes a map back', async () => {
  const gateway = await start({}, 'allow-from = ["2001:db8:1::/64"]\n');
  const elsewhere = '2001:db8:2::2';
  lab.ip(lab.client, `addr add ${elsewhere}/128 dev lo nodad`);
  lab.ip(lab.gateway, `route add ${elsewhere} via ${CLIENT6}`);
  assert.ok(await lab.pings(under(SERVER4), { source: CLIENT6 }));
  assert.ok(!(await lab.pings(under(SERVER4), { source: elsewhere })));
  // The translator itself does not answer it either.
  assert.ok(!(await lab.pings(under('10.64.0.1'), { source: elsewhere })));
  assert.equal(await counted('v6-source-not-allowed'), 2);

  const reload = async (toml: string) => {
    const { length } = gateway.events('reloaded');
    lab.configure(toml);
    gateway.kill('SIGHUP');
    await gateway.waitFor('reloaded', length + 1);
  };
  await reload('');
  assert.ok(await lab.pings(under(SERVER4), { source: elsewhere }));
  await reload('allow-from = ["2001:db8:1::/64"]\n');
  assert.ok(!(await lab.pings(under(SERVER4), { source: elsewhere })), 'its map has ended');
  assert.equal(await counted('v6-source-not-allowed'), 3);
  assert.ok(await lab.pings(under(SERVER4), { source: CLIENT6 }));
});

test('an IPv4 host that sends from the pool is dropped and counted', async () => {
  await start({}, '[device]\nmasquerade = false\n');
  lab.ip(lab.server, 'route add 10.64.0.0/16 via 203.0.113.1');
  assert.ok(await lab.pings(under(SERVER4)));
  lab.ip(lab.server, 'addr add 10.64.9.9/32 dev lo');
  // The kernel would not let it in: strict reverse path filtering, where it is on, is the first line.
  await lab.run(lab.gateway, 'sh', ['-c', 'echo 0 | tee /proc/sys/net/ipv4/conf/*/rp_filter']);
  assert.ok(!(await lab.pings('10.64.0.1', { from: lab.server, source: '10.64.9.9' })));
  assert.equal(await counted('v4-source-in-pool4'), 1);
});

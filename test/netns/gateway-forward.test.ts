/** Real clients through the real gateway to real servers. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';
import { type GatewayProcess, Lab, PUBLIC4, SERVER4, under } from '../helpers/lab.js';
import { patternBytes } from '../helpers/pattern.js';

const HOSTS = 200;
let lab: Lab;
let gateway: GatewayProcess;

before(async () => {
  lab = new Lab({ clientAddresses: HOSTS });
  await lab.serve(lab.server, 'server');
  await lab.serve(lab.server, 'dns-server', [SERVER4]);
  gateway = await lab.startGateway();
});
after(() => lab.close());

async function ping(namespace: string, address: string, ...more: string[]) {
  const { status, stdout, stderr } = await lab.run(namespace, 'ping', [
    '-c',
    '3',
    '-i',
    '0.1',
    '-W',
    '2',
    ...more,
    address,
  ]);
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, / 0% packet loss/);
}

test('ping of 56 bytes', () => ping(lab.client, under(PUBLIC4)));
test('ping of 1400 bytes', () => ping(lab.client, under(PUBLIC4), '-s', '1400'));
test("ping of the translator's own IPv6 address", () => ping(lab.client, under('10.64.0.1')));
test("ping of the kernel's address on the device", () => ping(lab.client, under('10.64.0.2')));
test('ping of the own IPv4 address from the gateway', () => ping(lab.gateway, '10.64.0.1'));
test("the gateway's own traffic is translated", () => ping(lab.gateway, under(PUBLIC4)));

test('a web page by address', async () => {
  const { stdout } = await lab.run(lab.client, 'curl', ['-sS', '-m', '5', `http://[${under(SERVER4)}]/`]);
  assert.match(stdout, /^Hello from the IPv4 internet\. You are 203\.0\.113\.1\.$/m);
});

test('a web page by name, as any program finds it', async () => {
  lab.useNameServer(lab.client, under('10.64.0.2'));
  const { stdout, stderr } = await lab.run(lab.client, 'curl', [
    '-sS',
    '-m',
    '5',
    'http://alias.example.com/',
  ]);
  assert.match(stdout, /^Hello from the IPv4 internet/, stderr);
});

test('a name that has only an IPv4 address, by DNS64', async () => {
  const dig = (...words: string[]) =>
    lab.run(lab.client, 'dig', ['+time=2', '+tries=2', '+short', `@${under('10.64.0.2')}`, ...words]);
  assert.equal((await dig('AAAA', 'www.example.com')).stdout, '64:ff9b:1::cb00:7102\n');
  assert.equal((await dig('AAAA', 'alias.example.com')).stdout, 'www.example.com.\n64:ff9b:1::cb00:7102\n');
  assert.equal((await dig('AAAA', 'six.example.com')).stdout, '2001:db8:1::1\n');
  assert.equal((await dig('+tcp', 'AAAA', 'www.example.com')).stdout, '64:ff9b:1::cb00:7102\n');
  const { stdout } = await lab.run(lab.client, 'dig', [
    '+time=2',
    `@${under('10.64.0.2')}`,
    'AAAA',
    'none.example.com',
  ]);
  assert.match(stdout, /status: NXDOMAIN/);
});

test('traceroute shows the gateway and the server', async () => {
  const { stdout } = await lab.run(lab.client, 'traceroute', ['-n', '-q', '1', '-w', '2', under(PUBLIC4)]);
  const hops = stdout.split('\n').map((line) => line.trim().split(/\s+/)[1]);
  assert.equal(hops[1], '2001:db8:1::1', stdout);
  assert.equal(hops[2], '64:ff9b:1::a40:1', stdout);
  assert.ok(hops.includes('64:ff9b:1::808:808'), stdout);
});

const MEGABYTES_20 = 20 << 20;
const PATTERN_HASH = createHash('sha256').update(patternBytes(MEGABYTES_20)).digest('hex');
for (const task of ['get', 'put']) {
  test(`20 MB by TCP arrive whole (${task})`, async () => {
    const { stdout, stderr } = await lab.node(lab.client, 'client', [
      task,
      under(SERVER4),
      String(MEGABYTES_20),
    ]);
    assert.equal(stdout.trim(), JSON.stringify(PATTERN_HASH), stderr);
  });
}

test('datagrams of every size come back whole', async () => {
  const sizes = [16, 17, 100, 512, 1231, 1232, 1233, 1300, 1400, 1451, 1452];
  const { stdout, stderr } = await lab.node(lab.client, 'client', [
    'udp',
    under(SERVER4),
    ...sizes.map(String),
  ]);
  assert.deepEqual(JSON.parse(stdout), sizes, stderr);
});

test('datagrams in fragments come back whole', async () => {
  const { stdout, stderr } = await lab.node(lab.client, 'client', [
    'udp',
    under(SERVER4),
    '1453',
    '4000',
    '60000',
  ]);
  assert.deepEqual(JSON.parse(stdout), [1453, 4000, 60000], stderr);
});

test('no first packet is lost when 200 hosts come at once, and each has an address of its own', async () => {
  const other = new Lab({ clientAddresses: HOSTS });
  try {
    await other.serve(other.server, 'server');
    other.ip(other.server, 'route add 10.64.0.0/16 via 203.0.113.1');
    const second = await other.startGateway({ toml: '[device]\nmasquerade = false\n' });
    const { stdout, stderr } = await other.node(other.client, 'client', [
      'hosts',
      under(SERVER4),
      String(HOSTS),
    ]);
    const seen = Object.values(JSON.parse(stdout) as Record<string, string>);
    assert.equal(seen.length, HOSTS, stderr);
    assert.equal(new Set(seen).size, HOSTS);
    for (const address of seen) assert.match(address, /^10\.64\./);
    assert.equal(await second.stop(), 0);
  } finally {
    await other.close();
  }
});

test('a ping in fragments, where they are held', async () => {
  const other = new Lab();
  try {
    await other.startGateway({ toml: '[translation]\nicmp-fragments = "hold"\n' });
    const args = ['-c', '2', '-i', '0.2', '-W', '2', '-s', '4000', under(SERVER4)];
    const { stdout } = await other.run(other.client, 'ping', args);
    assert.match(stdout, / 0% packet loss/);
  } finally {
    await other.close();
  }
});

test('an explicit map is the address that the server sees', async () => {
  const other = new Lab();
  try {
    await other.serve(other.server, 'server');
    other.ip(other.server, 'route add 198.51.100.7 via 203.0.113.1');
    await other.startGateway({ toml: '[[map]]\nipv4 = "198.51.100.7"\nipv6 = "2001:db8:1::2"\n' });
    const { stdout } = await other.run(other.client, 'curl', [
      '-sS',
      '-m',
      '5',
      `http://[${under(SERVER4)}]/`,
    ]);
    assert.match(stdout, /You are 198\.51\.100\.7\./);
    // And in: the IPv4 host reaches the IPv6 one by it.
    const back = await other.run(other.server, 'ping', ['-c', '2', '-i', '0.1', '-W', '2', '198.51.100.7']);
    assert.match(back.stdout, / 0% packet loss/);
  } finally {
    await other.close();
  }
});

test('two hosts reach each other by their IPv4 addresses, and no further than through the gateway [TAYGA-7]', async () => {
  const other = new Lab({ clientAddresses: 1 });
  try {
    const maps = ['2001:db8:1::2', '2001:db8:1::100:1'].map(
      (ipv6, i) => `[[map]]\nipv4 = "198.51.100.${7 + i}"\nipv6 = "${ipv6}"\n`,
    );
    await other.startGateway({ toml: maps.join('') });
    const args = ['-c', '2', '-i', '0.1', '-W', '2', '-I', '2001:db8:1::2', under('198.51.100.8')];
    const { stdout } = await other.run(other.client, 'ping', args);
    assert.match(stdout, / 0% packet loss/);
  } finally {
    await other.close();
  }
});

test('nothing went wrong on the way', () => {
  assert.deepEqual(
    gateway.lines.filter((line) => Number(line.level) >= 40),
    [],
  );
});

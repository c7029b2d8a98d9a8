/** What others do to the device while the gateway runs: down, up, another MTU, another name, gone. */
import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { CLIENT6, type GatewayProcess, Lab, SERVER4, under } from '../helpers/lab.js';

const CLIENT4 = '198.51.100.7';
const MAP = `[[map]]\nipv4 = "${CLIENT4}"\nipv6 = "${CLIENT6}"\n`;
/** A worker that spun would make some hundred thousand. */
const FEW_BURSTS = 1000;

let lab: Lab;
afterEach(() => lab.close());

async function start(args: string[] = []): Promise<GatewayProcess> {
  lab = new Lab();
  lab.ip(lab.server, `route add ${CLIENT4} via 203.0.113.1`);
  return lab.startGateway({ toml: MAP, args });
}

async function stopCalm(gateway: GatewayProcess): Promise<void> {
  assert.equal(await gateway.stop(), 0);
  const counters = gateway.events('stopped')[0]?.counters as Record<string, number>;
  assert.ok((counters.bursts as number) < FEW_BURSTS, `${counters.bursts} bursts`);
}

test('a device that is set down is reported, and costs nothing; set up again it has its addresses and routes', async () => {
  const gateway = await start();
  const before = await lab.snapshot();
  lab.ip(lab.gateway, 'link set nat64 down');
  assert.match((await gateway.waitFor('device-down')).msg, /nat64 is down.*ip link set nat64 up/);
  assert.ok(!(await lab.pings()));
  await sleep(1000);
  assert.equal(gateway.events('device-down').length, 1, 'said once');
  lab.ip(lab.gateway, 'link set nat64 up');
  await gateway.waitFor('device-up');
  assert.equal(await lab.snapshot(), before);
  assert.ok(await lab.pings());
  await stopCalm(gateway);
});

test('down and up again, or too small and large again, before anybody looks: addresses and routes are set again', async () => {
  // Ten seconds of the gateway's are one.
  const gateway = await start(['--test-clock-rate', '10']);
  const before = await lab.snapshot();
  for (const [index, lines] of [
    'link set nat64 down\nlink set nat64 up',
    'link set nat64 mtu 1000\nlink set nat64 mtu 1500',
  ].entries()) {
    await lab.run(lab.gateway, 'sh', ['-c', `echo "${lines}" | ip -batch -`]);
    await gateway.waitFor('device-up', index + 1);
    assert.equal(await lab.snapshot(), before, lines);
    assert.ok(await lab.pings());
  }
  const resets = gateway.events('device-reset').length;
  lab.ip(lab.gateway, 'address flush dev nat64');
  assert.match((await gateway.waitFor('device-reset', resets + 1)).msg, /nat64 has lost addresses/);
  await gateway.waitFor('device-up', 3);
  assert.ok(await lab.pings());
  await stopCalm(gateway);
});

test('a set-up that the kernel refuses is a problem that is told, and is tried again until it succeeds', async () => {
  // Ten seconds of the gateway's are one.
  const gateway = await start(['--test-clock-rate', '10']);
  const before = await lab.snapshot();
  const ready = () => lab.run(lab.gateway, 'curl', ['-s', 'http://127.0.0.1:6464/readyz']);
  const isIpv6Disabled = (value: 0 | 1) =>
    lab.run(lab.gateway, 'sh', ['-c', `echo ${value} > /proc/sys/net/ipv6/conf/nat64/disable_ipv6`]);
  assert.equal((await ready()).stdout, 'ready\n');
  lab.ip(lab.gateway, 'link set nat64 down');
  await gateway.waitFor('device-down');
  await isIpv6Disabled(1);
  lab.ip(lab.gateway, 'link set nat64 up');
  assert.match((await gateway.waitFor('set-up-failed')).msg, /IPv6 seems to be disabled/);
  assert.match(
    (await ready()).stdout,
    /nat64 is not set up \(.*IPv6.*\); it is tried again every 10 seconds/s,
  );
  await sleep(2500);
  assert.equal(gateway.events('set-up-failed').length, 1, 'said once');
  await isIpv6Disabled(0);
  await gateway.waitFor('device-up');
  assert.equal((await ready()).stdout, 'ready\n');
  assert.equal(await lab.snapshot(), before);
  assert.ok(await lab.pings());
  await stopCalm(gateway);
});

test('another MTU of the device is reported, and packets are translated for it', async () => {
  const gateway = await start();
  lab.ip(lab.gateway, 'link set nat64 mtu 1400');
  const { mtu, msg } = await gateway.waitFor('device-mtu');
  assert.equal(mtu, 1400);
  assert.match(msg, /MTU of nat64 is 1400 now, no longer 1500/);
  const ping = async (size: number) => {
    const args = ['-M', 'do', '-c', '2', '-i', '0.2', '-W', '1', '-s', String(size), CLIENT4];
    const { stdout, stderr } = await lab.run(lab.server, 'ping', args);
    return stdout + stderr;
  };
  // 1390 bytes of IPv4 would be 1410 of IPv6.
  assert.match(await ping(1390 - 28), /mtu ?= ?1380/);
  assert.match(await ping(1380 - 28), / 0% packet loss/);
  await stopCalm(gateway);
});

test('an MTU below 1280, where the kernel takes IPv6 away, is an error; with a larger one all is as before', async () => {
  const gateway = await start();
  const before = await lab.snapshot();
  lab.ip(lab.gateway, 'link set nat64 mtu 1279');
  assert.match((await gateway.waitFor('device-mtu')).msg, /1279.*below 1280/);
  lab.ip(lab.gateway, 'link set nat64 mtu 1500');
  await gateway.waitFor('device-up');
  assert.equal(await lab.snapshot(), before);
  assert.ok(await lab.pings());
  assert.ok(await lab.pings(under(SERVER4)));
  await stopCalm(gateway);
});

test('a device with another name, or in another namespace, ends the gateway with a message', async () => {
  const gateway = await start();
  lab.ip(lab.gateway, 'link set nat64 down');
  lab.ip(lab.gateway, 'link set nat64 name other');
  assert.equal(await gateway.exited, 1);
  assert.match(gateway.output.join('\n'), /nat64 is gone.*deleted, renamed or moved/);
});

test('addresses that somebody else gives the device, and takes away, are followed', async () => {
  lab = new Lab();
  lab.ip(lab.server, 'route add 10.64.0.0/16 via 203.0.113.1');
  const gateway = await lab.startGateway({ toml: '[device]\nconfigure = false\n' });
  // Under pref64 no host may have an address, but for the kernel's own on the device.
  const source = '64:ff9b:1::a40:9';
  const batch = [
    'link set nat64 up',
    'route add 64:ff9b:1::/96 dev nat64',
    'route add 10.64.0.0/16 dev nat64',
  ];
  for (const command of batch) lab.ip(lab.gateway, command);
  await lab.run(lab.gateway, 'sh', ['-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward']);
  const known = gateway.events('addresses-changed').length;
  lab.ip(lab.gateway, `address add ${source}/128 dev nat64 nodad`);
  await gateway.waitFor('addresses-changed', known + 1);
  assert.ok(await lab.pings(under(SERVER4), { from: lab.gateway, source }));
  lab.ip(lab.gateway, `address del ${source}/128 dev nat64`);
  await gateway.waitFor('addresses-changed', known + 2);
  assert.equal(await gateway.stop(), 0);
});

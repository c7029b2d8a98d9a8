/** Starting, stopping, dying, expiring. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { CLIENT6, Lab, SERVER4, under } from '../helpers/lab.js';

let lab: Lab;
beforeEach(() => {
  lab = new Lab();
});
afterEach(() => lab.close());

test('a worker killed under traffic is replaced, the other queue and later packets do not suffer [R7915-5] [R7915-37]', async () => {
  await lab.serve(lab.server, 'server');
  const gateway = await lab.startGateway({ toml: 'worker-nice = -10\n' });
  const stream = lab.node(lab.client, 'client', ['stream', under(SERVER4), '3']);
  await sleep(1000);
  gateway.kill('SIGUSR2');
  await gateway.waitFor('worker-replaced');
  await sleep(500);
  gateway.kill('SIGALRM');
  await gateway.waitFor('worker-replaced', 2);
  // Of stat, field 19; the main thread's stays.
  const niceness = (thread: string) =>
    Number(readFileSync(`/proc/${gateway.pid}/task/${thread}/stat`, 'utf8').split(') ')[1]?.split(' ')[16]);
  const all = readdirSync(`/proc/${gateway.pid}/task`).map(niceness);
  assert.ok(all.filter((nice) => nice === -10).length >= 2, `niceness of the threads: ${all}`);
  assert.equal(niceness(String(gateway.pid)), 0);
  const { sent, received, disordered } = JSON.parse((await stream).stdout) as Record<string, number>;
  assert.ok((received as number) > (sent as number) * 0.9, `${received} of ${sent} came back`);
  assert.equal(disordered, 0);
  const reasons = gateway.events('worker-replaced').map((line) => line.reason);
  assert.deepEqual(reasons, ['test hook: this worker was told to throw', 'worker exited with code: 3']);
  assert.equal(await gateway.stop(), 0);
  const counters = gateway.events('stopped')[0]?.counters as Record<string, number>;
  assert.ok(
    (counters['translated-v6-to-v4'] as number) >= (received as number),
    'what the dead had counted is kept',
  );
});

test('hosts that come while a worker is dead: their first packets wait in its queue, none is lost; questions begin anew', async () => {
  const [rounds, each] = [2, 40];
  await lab.close();
  lab = new Lab({ clientAddresses: rounds * each });
  await lab.serve(lab.server, 'server');
  const gateway = await lab.startGateway({ toml: 'workers = 1\n' });
  assert.ok(await lab.pings());
  for (let round = 0; round < rounds; round++) {
    gateway.kill(round % 2 === 0 ? 'SIGUSR2' : 'SIGALRM');
    // Having told the worker to die, the main thread stands still for 3 s, and does not replace it.
    await sleep(50);
    gateway.kill('SIGURG');
    await sleep(1000);
    const words = ['hosts', under(SERVER4), String(each), '6000', '1', String(1 + round * each)];
    const { stdout } = await lab.node(lab.client, 'client', words);
    assert.equal(Object.keys(JSON.parse(stdout)).length, each, `round ${round}`);
    await gateway.waitFor('worker-replaced', round + 1);
  }
  assert.equal(await gateway.stop(), 0);
  const counters = gateway.events('stopped')[0]?.counters as Record<string, number>;
  assert.equal(
    counters['hosts-asked'],
    1 + rounds * each,
    'each was asked for once; what the dead had counted is kept',
  );
});

test('hosts that are held when their worker dies are served by their next packet', async () => {
  const count = 40;
  await lab.close();
  lab = new Lab({ clientAddresses: count });
  await lab.serve(lab.server, 'server');
  const gateway = await lab.startGateway({ toml: 'workers = 1\n' });
  // Nobody answers questions for 3 s; then the worker is told to die before it is told the answers, or right after.
  gateway.kill('SIGURG');
  const coming = lab.node(lab.client, 'client', ['hosts', under(SERVER4), String(count), '12000', '6']);
  await sleep(1000);
  gateway.kill('SIGALRM');
  assert.equal(Object.keys(JSON.parse((await coming).stdout)).length, count);
  assert.equal((await gateway.waitFor('worker-replaced')).reason, 'worker exited with code: 3');
  assert.equal(await gateway.stop(), 0);
});

test('a worker that does not come round any more is ended and replaced, while the other serves', async () => {
  const gateway = await lab.startGateway();
  // The hooks are there a moment after `ready`; before, this signal would stop the process.
  assert.ok(await lab.pings());
  gateway.kill('SIGTTIN');
  const { worker } = await gateway.waitFor('worker-stuck');
  assert.equal(worker, 0);
  await gateway.waitFor('worker-replaced');
  // Of sixteen flows some are the replaced one's.
  for (let i = 0; i < 16; i++) assert.ok(await lab.pings());
  assert.equal(await gateway.stop(), 0);
});

test('a worker that does not come round any more is no reason not to end', async () => {
  const gateway = await lab.startGateway();
  assert.ok(await lab.pings());
  gateway.kill('SIGTTIN');
  await sleep(200);
  assert.equal(await gateway.stop(), 0);
  assert.equal(gateway.events('worker-stuck').length, 0, 'the end did not wait for that');
});

test('a map ends 124 minutes after its last packet in either direction, and its host gets the same again [TAYGA-9]', async () => {
  lab.ip(lab.server, 'route add 10.64.0.0/16 via 203.0.113.1');
  // A second is a thousand seconds: a map lasts 7.44.
  const gateway = await lab.startGateway({
    toml: '[device]\nmasquerade = false\n[log]\npackets = ["dyn"]\n',
    args: ['--test-clock-rate', '1000'],
  });
  assert.ok(await lab.pings());
  const { ipv4 } = await gateway.waitFor('assigned');
  const fromServer = async () => {
    const { stdout } = await lab.run(lab.server, 'ping', ['-c', '1', '-W', '5', String(ipv4)]);
    return / 0% packet loss/.test(stdout)
      ? 'answered'
      : /Destination Host Unreachable/.test(stdout)
        ? 'unreachable'
        : stdout;
  };
  // Packets from the IPv4 side alone keep it.
  for (let i = 0; i < 3; i++) {
    await sleep(4000);
    assert.equal(await fromServer(), 'answered');
  }
  await sleep(9000);
  assert.equal(await fromServer(), 'unreachable');
  assert.ok(await lab.pings());
  assert.equal((await gateway.waitFor('assigned', 2)).ipv4, ipv4);
  assert.equal(gateway.events('assigned').length, 2);
});

test('SIGTERM under load leaves no trace, and the maps in dynamic.map', async () => {
  await lab.serve(lab.server, 'server');
  const before = await lab.snapshot();
  const gateway = await lab.startGateway({ toml: '[log]\npackets = ["dyn"]\n' });
  const stream = lab.node(lab.client, 'client', ['stream', under(SERVER4), '2']);
  await gateway.waitFor('assigned');
  await sleep(1000);
  assert.notEqual(await lab.snapshot(), before);
  assert.equal(await gateway.stop(), 0);
  assert.equal(await lab.snapshot(), before);
  await stream;
  assert.match(
    readFileSync(join(lab.folder, 'data', 'dynamic.map'), 'utf8'),
    new RegExp(`^10\\.64\\.\\d+\\.\\d+\t${CLIENT6}\t\\d+$`, 'm'),
  );
});

test('SIGINT in the middle of the start takes down what is up', async () => {
  const before = await lab.snapshot();
  for (const delayMs of [150, 250, 350, 450]) {
    const gateway = await lab.startGateway({ isFailing: true });
    await sleep(delayMs);
    gateway.kill('SIGINT');
    await gateway.exited;
    assert.equal(await lab.snapshot(), before, `after ${delayMs} ms`);
  }
});

test('kill -9: the next start works, keeps each host its address, and restores the switches at its end', async () => {
  const before = await lab.snapshot();
  const first = await lab.startGateway();
  assert.ok(await lab.pings());
  assert.equal(await first.stop('SIGKILL'), null);
  const second = await lab.startGateway();
  assert.ok(await lab.pings());
  assert.equal(await second.stop(), 0);
  assert.equal(await lab.snapshot(), before);
});

test('a damaged dynamic.map starts with the good lines and a warning for each bad one', async () => {
  const first = await lab.startGateway();
  assert.equal(await first.stop(), 0);
  const file = join(lab.folder, 'data', 'dynamic.map');
  const now = Math.floor(Date.now() / 1000);
  writeFileSync(file, `10.64.9.9\t${CLIENT6}\t${now}\nnonsense\n192.0.2.1\t2001:db8::1\t${now}\n`);
  const second = await lab.startGateway({ toml: '[log]\npackets = ["dyn"]\n' });
  assert.ok(await lab.pings());
  assert.equal(second.events('assigned').length, 0, 'the remembered map serves');
  assert.equal(second.events('dynamic-map-line')[0]?.line, 2);
  assert.equal(second.events('dynamic-map-entry')[0]?.line, 3);
});

test('a second gateway on the same device ends with a clear error and harms nothing', async () => {
  const first = await lab.startGateway();
  const second = await lab.startGateway({ isFailing: true });
  assert.equal(await second.exited, 1);
  assert.match(second.output.join('\n'), /another nat64d already serves the device nat64/);
  assert.ok(await lab.pings());
  assert.equal(await first.stop(), 0);
});

test('a device made without multi_queue is served by one worker, and stays', async () => {
  lab.ip(lab.gateway, 'tuntap add dev nat64 mode tun');
  const gateway = await lab.startGateway();
  assert.equal(gateway.events('ready')[0]?.workers, 1);
  assert.equal(gateway.events('one-queue').length, 1);
  assert.ok(await lab.pings());
  assert.equal(await gateway.stop(), 0);
  assert.match(lab.ip(lab.gateway, '-d link show nat64'), /persist on/);
  assert.doesNotMatch(lab.ip(lab.gateway, 'addr show nat64'), /inet/);
});

test('a taken DNS port is a loud error that names what to do, and NAT64 runs on; required makes it fatal; SIGHUP tries again', async () => {
  const other = await lab.serve(lab.gateway, 'dns-server');
  const gateway = await lab.startGateway();
  const failure = await gateway.waitFor('dns64-listen-failed');
  assert.match(failure.msg, /taken by node \(pid \d+\)/);
  assert.match(failure.msg, /key "listen" of \[dns64\]/);
  assert.ok(await lab.pings());
  const failed = gateway.events('dns64-listen-failed').length;
  gateway.child.kill('SIGHUP');
  await gateway.waitFor('reloaded');
  assert.equal(gateway.events('dns64-listen-failed').length, 2 * failed, 'said again');
  assert.equal(gateway.events('dns64-listening').length, 0);
  const gone = once(other, 'close');
  other.kill();
  await gone;
  gateway.child.kill('SIGHUP');
  await gateway.waitFor('dns64-listening');
  assert.equal(gateway.events('dns64-listen-failed').length, 2 * failed);
  await gateway.waitFor('dynamic-map-written', 2);
  // One that comes too late is about nothing.
  gateway.child.kill('SIGTERM');
  await gateway.waitFor('stopping');
  gateway.child.kill('SIGHUP');
  assert.equal(await gateway.exited, 0);
  assert.equal(gateway.events('reload-failed').length, 0);
  assert.equal(gateway.events('dynamic-map-written').length, 2);
  await lab.serve(lab.gateway, 'dns-server');
  const fatal = await lab.startGateway({ isFailing: true, toml: '[dns64]\nrequired = true\n' });
  assert.equal(await fatal.exited, 1);
  assert.match(fatal.output.join('\n'), /taken by node \(pid \d+\)/);
});

test('a device that is deleted ends the gateway with a message, not with a spin', async () => {
  const gateway = await lab.startGateway();
  lab.ip(lab.gateway, 'link del nat64');
  assert.equal(await gateway.exited, 1);
  assert.match(gateway.output.join('\n'), /nat64 is gone/);
});

test('a configuration with errors lists them all and exits 1; --check says fine; a wrong option exits 2', async () => {
  const gateway = await lab.startGateway({ isFailing: true, toml: 'workers = 99\npref64 = 1\n' });
  assert.equal(await gateway.exited, 1);
  assert.match(gateway.output.join('\n'), /nat64d\.toml:3:11: workers: .*\n.*nat64d\.toml:4:10: pref64: /);
  const check = await lab.startGateway({ isFailing: true, args: ['--check'] });
  assert.equal(await check.exited, 0);
  assert.match(check.output.join('\n'), /: fine$/);
  const usage = await lab.startGateway({ isFailing: true, args: ['--no-such-option'] });
  assert.equal(await usage.exited, 2);
});

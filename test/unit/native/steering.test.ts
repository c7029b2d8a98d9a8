import './lab.js';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import native from '#native';
import { bytes, fragment6, icmp, ipv4, ipv6, type Layer, tcp, udp } from '../../helpers/packet.js';
import { ip, type Link, open, openLink } from './lab.js';

const SECRET = 0x5eedf00d;
const QUEUES = 4;
const HOST4 = '10.64.3.7';
const HOST6 = '2001:db8::7';

/** All queues of a device; the kernel puts into them what is written to `inject`. */
function openQueues(): { link: Link; fds: number[] } {
  const link = openLink({ multiQueue: true });
  const more = Array.from({ length: QUEUES - 1 }, () => open({ name: link.name, multiQueue: true }).fd);
  return { link, fds: [link.fd, ...more] };
}

/** Sends packets into the device as the kernel does, and tells the queue of each. */
function queuesOf({ link, fds }: ReturnType<typeof openQueues>, packets: readonly Uint8Array[]): number[] {
  // The packets come to the kernel by a second device and are routed into the first.
  const inject = open();
  ip('link', 'set', inject.name, 'up');
  for (const name of ['all', inject.name]) writeFileSync(`/proc/sys/net/ipv4/conf/${name}/rp_filter`, '0');
  writeFileSync('/proc/sys/net/ipv4/ip_forward', '1');
  for (const name of ['all', inject.name, link.name]) {
    writeFileSync(`/proc/sys/net/ipv6/conf/${name}/disable_ipv6`, '0');
    writeFileSync(`/proc/sys/net/ipv6/conf/${name}/forwarding`, '1');
  }
  ip('route', 'replace', '10.64.0.0/16', 'dev', link.name);
  ip('-6', 'route', 'replace', '64:ff9b::/16', 'dev', link.name);
  const ring = new Uint8Array(1 << 20);
  const frames = new Int32Array(2 * 64);
  const drain = (fd: number) => native.read(fd, ring, 0, ring.length, 16, frames, 64);
  for (const fd of fds) while (drain(fd) > 0);
  return packets.map((packet) => {
    const frame = Buffer.concat([Buffer.alloc(10), packet]);
    const refused = new Int32Array(2);
    native.write(inject.fd, frame, Int32Array.of(1, 0, frame.length), 1, refused);
    assert.equal(refused[0], 0);
    const found = fds.flatMap((fd, queue) => {
      const count = drain(fd);
      return Array.from({ length: count }, (_, i) => frames[2 * i] as number)
        .filter((at) => ring[at] === packet[0] && ring[at + 1] === packet[1])
        .map(() => queue);
    });
    assert.equal(found.length, 1, 'the packet came out of one queue');
    return found[0] as number;
  });
}

const there = (server: string, layer: Layer, ...more: Layer[]) =>
  ipv6({ src: HOST6, dst: server, trafficClass: 0x14 }, layer, ...more);
const back = (server: string, layer: Layer, mf = false) =>
  ipv4({ src: server, dst: HOST4, tos: 0x14, mf }, layer);

const SERVERS = Array.from({ length: 40 }, (_, i) => `8.8.${i}.${(i * 37) % 251}`);

/** Prefix, where in an address the embedded IPv4 address begins, and how much of it is in one piece. */
const PREFIXES = [
  ['64:ff9b::', 96, 12, 32, (ipv4: string) => `64:ff9b::${ipv4}`],
  ['64:ff9b:1:2::', 64, 9, 32, (ipv4: string) => `64:ff9b:1:2:${embed64(ipv4)}`],
] as const;

function embed64(text: string): string {
  const [a, b, c, d] = text.split('.').map(Number) as [number, number, number, number];
  return [a, (b << 8) | c, d << 8, 0].map((part) => part.toString(16)).join(':');
}

for (const [prefix, length, at, bits, embed] of PREFIXES) {
  test(`both directions of a flow go to one queue, and flows to all queues (${prefix}/${length})`, () => {
    const device = openQueues();
    assert.equal(native.setSteering(device.link.fd, at, bits, SECRET, 0, QUEUES), true);
    const layers: [Layer, Layer][] = SERVERS.map((_, i) =>
      i % 2 === 0
        ? [udp({ sport: 40000 + i, dport: 53 }, bytes(8)), udp({ sport: 53, dport: 40000 + i }, bytes(8))]
        : [tcp({ sport: 40000 + i, dport: 80 }), tcp({ sport: 80, dport: 40000 + i })],
    );
    const out = queuesOf(
      device,
      SERVERS.map((server, i) => there(embed(server), layers[i]?.[0] as Layer)),
    );
    const home = queuesOf(
      device,
      SERVERS.map((server, i) => back(server, layers[i]?.[1] as Layer)),
    );
    assert.deepEqual(home, out);
    assert.equal(new Set(out).size, QUEUES);
    const again = queuesOf(
      device,
      SERVERS.map((server, i) => there(embed(server), layers[i]?.[0] as Layer)),
    );
    assert.deepEqual(again, out, 'always the same');
  });
}

test('what shows no ports goes by the address alone: fragments, ICMP', () => {
  const device = openQueues();
  assert.equal(native.setSteering(device.link.fd, 12, 32, SECRET, 0, QUEUES), true);
  const server = '8.8.4.4';
  const [echo, first, first4, echo4, options] = queuesOf(device, [
    there(`64:ff9b::${server}`, icmp({ type: 128 })),
    there(`64:ff9b::${server}`, fragment6({ more: true }), udp({ sport: 9 }, bytes(8))),
    back(server, udp({ sport: 53, dport: 9 }, bytes(8)), true),
    back(server, icmp({ type: 8 })),
    ipv4({ src: server, dst: HOST4, tos: 0x14, options: [1, 1, 1, 0] }, udp({}, bytes(8))),
  ]);
  assert.deepEqual([first, first4, echo4, options], [echo, echo, echo, echo]);
});

test('only the named queues are chosen, and what is too short for its headers goes to one of them too', () => {
  const device = openQueues();
  for (const bits of [32, 0]) {
    assert.equal(native.setSteering(device.link.fd, 12, bits, SECRET, 2, 2), true);
    const flows = SERVERS.map((server, i) => there(`64:ff9b::${server}`, udp({ sport: i + 1 }, bytes(8))));
    assert.deepEqual(new Set(queuesOf(device, flows)), new Set([2, 3]), `${bits} bits`);
  }
  const cut = ipv4({ src: '8.8.4.4', dst: HOST4, tos: 0x14, protocol: 17 }, bytes(2));
  assert.ok((queuesOf(device, [cut])[0] as number) >= 2);
});

test('another secret is another choice; without a program the kernel chooses', () => {
  const device = openQueues();
  const flows = SERVERS.map((server, i) => there(`64:ff9b::${server}`, udp({ sport: i + 1 }, bytes(8))));
  native.setSteering(device.link.fd, 12, 32, SECRET, 0, QUEUES);
  const first = queuesOf(device, flows);
  native.setSteering(device.link.fd, 12, 32, 0x12345678, 0, QUEUES);
  assert.notDeepEqual(queuesOf(device, flows), first);
  native.clearSteering(device.link.fd);
  native.clearSteering(device.link.fd);
  assert.equal(queuesOf(device, flows).length, flows.length);
});

test('every length that a prefix can have is a program that the kernel accepts', () => {
  const { link } = openQueues();
  for (const [at, bits] of [
    [4, 32],
    [5, 24],
    [6, 16],
    [7, 8],
    [9, 32],
    [12, 32],
    [0, 0],
  ] as const) {
    assert.equal(native.setSteering(link.fd, at, bits, SECRET, 0, QUEUES), true, `${at} ${bits}`);
  }
});

test('arguments of setSteering are checked', () => {
  const { fd } = openLink();
  const call = native.setSteering as (...args: unknown[]) => boolean;
  assert.throws(() => call(), TypeError);
  assert.throws(() => call(fd, '4', 32, 0), TypeError);
  for (const [at, bits, secret, first, count] of [
    [-1, 32, 0, 0, 1],
    [16, 8, 0, 0, 1],
    [13, 32, 0, 0, 1],
    [0, 12, 0, 0, 1],
    [0, 40, 0, 0, 1],
    [0, 32, 2 ** 32, 0, 1],
    [0, 32, 0, -1, 1],
    [0, 32, 0, 256, 1],
    [0, 32, 0, 0, 0],
    [0, 32, 0, 0, 257],
  ]) {
    const given = [at, bits, secret, first, count];
    assert.throws(() => call(fd, ...given), RangeError, given.join(' '));
  }
  assert.throws(() => call(99_999, 12, 32, 0, 0, 1), { code: 'EBADF' });
  assert.throws(() => (native.clearSteering as (...args: unknown[]) => void)(), TypeError);
});

test('who may not load a program is told so, and nothing else happens', () => {
  const addon = fileURLToPath(new URL('../../../../native/index.js', import.meta.url));
  const script = `
    const native = require(${JSON.stringify(addon)});
    const options = { name: 't%d', multiQueue: true, vnetHdr: true, exclusive: false, owner: 0, group: 0 };
    console.log(native.setSteering(native.openQueue(options).fd, 12, 32, 1, 0, 1));`;
  const limits = ['--bounding-set', '-all,+net_admin', '--inh-caps', '-all'];
  const output = execFileSync('setpriv', [...limits, process.execPath, '-e', script], { encoding: 'utf8' });
  assert.equal(output.trim(), 'false');
});

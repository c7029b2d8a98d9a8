/**
 * Runs the file that imports this in a network and mount namespace of its own, and has what its tests share.
 *
 * A thread cannot move into a namespace without its whole process, so the file is started again under unshare(1). The
 * second run writes where the first would, so the test runner sees its results as the first one's. The namespace and its
 * devices are gone with the process.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { afterEach } from 'node:test';
import native, { type Queue, type QueueOptions } from '#native';
import { until } from '../../helpers/until.js';

const IN_LAB = 'NAT64D_NATIVE_LAB';
/** A poll that never reports must fail the run, not hold it. */
const LIMIT_MS = 180_000;

if (process.env[IN_LAB] === undefined) {
  const script = process.argv[1] as string;
  const { status, error } = spawnSync(
    'unshare',
    ['--net', '--mount', process.execPath, ...process.execArgv, script],
    {
      stdio: 'inherit',
      timeout: LIMIT_MS,
      killSignal: 'SIGKILL',
      env: { ...process.env, [IN_LAB]: readlinkSync('/proc/self/ns/net') },
    },
  );
  if (error) console.error(`unshare: ${error.message}`);
  process.exit(status ?? 1);
}
if (readlinkSync('/proc/self/ns/net') === process.env[IN_LAB]) throw new Error('not in a namespace');
// Neighbour discovery would put frames of its own into the queues.
writeFileSync('/proc/sys/net/ipv6/conf/default/disable_ipv6', '1');

export function ip(...args: string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8' });
}

export const DEFAULTS: QueueOptions = {
  name: 't%d',
  multiQueue: false,
  vnetHdr: true,
  exclusive: false,
  owner: 0,
  group: 0,
};

const queues = new Set<Queue>();

export function open(options: Partial<QueueOptions> = {}): Queue {
  const queue = native.openQueue({ ...DEFAULTS, ...options });
  queues.add(queue);
  return queue;
}

export function close(queue: Queue): void {
  queues.delete(queue);
  native.closeQueue(queue.fd);
}

// What a test leaves open, a failed one too.
afterEach(() => {
  for (const queue of queues) close(queue);
  for (const receiver of receivers) receiver.close();
});

let networks = 0;

export interface Link extends Queue {
  /** The kernel's address on the device, and one beyond the device. */
  near: string;
  far: string;
}

/** A queue of a device that is up, with a network of its own routed into it. */
export function openLink(options: Partial<QueueOptions> = {}): Link {
  const queue = open(options);
  const network = `10.1.${networks++}`;
  ip('address', 'add', `${network}.1/24`, 'dev', queue.name);
  ip('link', 'set', queue.name, 'up');
  return Object.assign(queue, { near: `${network}.1`, far: `${network}.2` });
}

/** Has the kernel send one UDP packet per payload to `address`. */
export async function sendUdp(address: string, payloads: (string | Uint8Array)[], port = 7): Promise<void> {
  const socket = dgram.createSocket('udp4');
  for (const payload of payloads) {
    await new Promise<void>((resolve, reject) => {
      socket.send(payload, port, address, (error) => (error ? reject(error) : resolve()));
    });
  }
  socket.close();
  await once(socket, 'close');
}

/** An IPv4 packet with a UDP payload, as it crosses a TUN device. The UDP checksum is left out (RFC 768: zero). */
export function udpPacket(source: string, destination: string, port: number, payload: Uint8Array): Buffer {
  const packet = Buffer.alloc(28);
  packet[0] = 0x45;
  packet.writeUInt16BE(28 + payload.length, 2);
  packet[8] = 64;
  packet[9] = 17;
  packet.set(source.split('.').map(Number), 12);
  packet.set(destination.split('.').map(Number), 16);
  let sum = 0;
  for (let i = 0; i < 20; i += 2) sum += packet.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  packet.writeUInt16BE(~sum & 0xffff, 10);
  packet.writeUInt16BE(7, 20);
  packet.writeUInt16BE(port, 22);
  packet.writeUInt16BE(8 + payload.length, 24);
  return Buffer.concat([packet, payload]);
}

const receivers = new Set<Receiver>();

/** A UDP socket that collects what it gets, until the test ends. */
export class Receiver {
  readonly received: string[] = [];
  readonly #socket = dgram.createSocket('udp4');

  async bind(): Promise<number> {
    receivers.add(this);
    this.#socket.on('message', (message) => this.received.push(message.toString('latin1')));
    this.#socket.bind(0);
    await once(this.#socket, 'listening');
    return this.#socket.address().port;
  }

  /** Resolves when `count` packets have come. */
  async wait(count: number): Promise<void> {
    await until(
      () => this.received.length >= count,
      () => `${count} packets, there are ${this.received.length}`,
    );
  }

  close(): void {
    receivers.delete(this);
    this.#socket.close();
  }
}

/** Turns of the event loop; each polls every descriptor once. */
export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

export function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

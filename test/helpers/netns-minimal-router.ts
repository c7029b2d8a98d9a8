/**
 * A router that answers packets too large for its link with ICMP errors that quote as little as the old rules allow: the IP
 * header and 8 bytes (RFC 792; for IPv6 no router should, and some do). Kernels quote more, so it is made of a TUN device:
 *
 *   netns-minimal-router.js DEVICE MTU SOURCE4 SOURCE6
 *
 * What the namespace routes into the device comes back out of it unchanged, or as an error from the given source.
 */
import { execFileSync } from 'node:child_process';
import native from '#native';

const [device = '', mtuText = '', source4 = '', source6 = ''] = process.argv.slice(2);
const mtu = Number(mtuText);
const ROOM = 1 << 20;
const HEADROOM = 64;
const FRAMES = 64;

const queue = native.openQueue({
  name: device,
  multiQueue: false,
  vnetHdr: true,
  exclusive: false,
  owner: 0,
  group: 0,
});
execFileSync('ip', ['link', 'set', device, 'up']);

const ring = Buffer.from(new SharedArrayBuffer(ROOM));
const frames = new Int32Array(new SharedArrayBuffer(FRAMES * 8));
const list = new Int32Array(new SharedArrayBuffer(16));
const refused = new Int32Array(new SharedArrayBuffer(8));

function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i + 1 < bytes.length; i += 2) sum += bytes.readUInt16BE(i);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

const bytes4 = (text: string) => Buffer.from(text.split('.').map(Number));

/** Bytes of an IPv6 address that is written with one `::`. */
function bytes6(text: string): Buffer {
  const [head = '', tail = ''] = text.split('::');
  const groups = (part: string) =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16));
  const result = Buffer.alloc(16);
  for (const [i, group] of groups(head).entries()) result.writeUInt16BE(group, 2 * i);
  for (const [i, group] of groups(tail).reverse().entries()) result.writeUInt16BE(group, 14 - 2 * i);
  return result;
}

/** ICMP 3/4 about an IPv4 packet. */
function error4(packet: Buffer): Buffer {
  const quote = packet.subarray(0, ((packet[0] as number) & 15) * 4 + 8);
  const error = Buffer.alloc(28 + quote.length);
  error[0] = 0x45;
  error.writeUInt16BE(error.length, 2);
  error[8] = 64;
  error[9] = 1;
  bytes4(source4).copy(error, 12);
  packet.copy(error, 16, 12, 16);
  error.writeUInt16BE(checksum(error.subarray(0, 20)), 10);
  error[20] = 3;
  error[21] = 4;
  error.writeUInt16BE(mtu, 26);
  quote.copy(error, 28);
  error.writeUInt16BE(checksum(error.subarray(20)), 22);
  return error;
}

/** ICMPv6 2/0 about an IPv6 packet. */
function error6(packet: Buffer): Buffer {
  const quote = packet.subarray(0, 48);
  const error = Buffer.alloc(48 + quote.length);
  error[0] = 0x60;
  error.writeUInt16BE(8 + quote.length, 4);
  error[6] = 58;
  error[7] = 64;
  bytes6(source6).copy(error, 8);
  packet.copy(error, 24, 8, 24);
  error[40] = 2;
  error.writeUInt32BE(mtu, 44);
  quote.copy(error, 48);
  const pseudo = Buffer.alloc(8);
  pseudo.writeUInt32BE(8 + quote.length, 0);
  pseudo[7] = 58;
  error.writeUInt16BE(checksum(Buffer.concat([error.subarray(8, 40), pseudo, error.subarray(40)])), 42);
  return error;
}

function send(offset: number, length: number): void {
  list.set([1, offset - native.VNET_HDR_BYTES, length + native.VNET_HDR_BYTES]);
  native.write(queue.fd, ring, list, 1, refused);
}

new native.Poller(queue.fd, () => {
  const count = native.read(queue.fd, ring, 0, ROOM, HEADROOM, frames, FRAMES);
  for (let i = 0; i < count; i++) {
    const offset = frames[2 * i] as number;
    const length = frames[2 * i + 1] as number;
    if (length <= mtu) {
      send(offset, length);
      continue;
    }
    const packet = ring.subarray(offset, offset + length);
    const error = (packet[0] as number) >>> 4 === 4 ? error4(packet) : error6(packet);
    ring.fill(0, offset - native.VNET_HDR_BYTES, offset);
    error.copy(ring, offset);
    send(offset, error.length);
  }
});
console.log('ready');

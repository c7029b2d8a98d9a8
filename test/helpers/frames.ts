/** Frames by the shape that matters to a benchmark, as bytes; checksums are whatever: the translator adjusts them. */
import { address4, address6, HOST4, HOST6 } from './harness.js';

const SERVER4 = '8.8.8.8';
const SERVER6 = '64:ff9b:1::8.8.8.8';

function address6Bytes(text: string): Buffer {
  const bytes = Buffer.alloc(16);
  for (const [i, word] of address6(text).entries()) bytes.writeInt32BE(word, 4 * i);
  return bytes;
}

export function ipv6Frame(
  protocol: number,
  payload: Uint8Array,
  source = HOST6,
  destination = SERVER6,
): Buffer {
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header.writeUInt16BE(payload.length, 4);
  header[6] = protocol;
  header[7] = 64;
  address6Bytes(source).copy(header, 8);
  address6Bytes(destination).copy(header, 24);
  return Buffer.concat([header, payload]);
}

export function ipv4Frame(
  protocol: number,
  payload: Uint8Array,
  { source = SERVER4, destination = HOST4, fragment = 0x4000 } = {},
): Buffer {
  const header = Buffer.alloc(20);
  header[0] = 0x45;
  header.writeUInt16BE(20 + payload.length, 2);
  header.writeUInt16BE(fragment, 6);
  header[8] = 64;
  header[9] = protocol;
  header.writeUInt32BE(address4(source), 12);
  header.writeUInt32BE(address4(destination), 16);
  header.writeUInt16BE(checksum(header), 10);
  return Buffer.concat([header, payload]);
}

export function checksum(...parts: Uint8Array[]): number {
  const bytes = Buffer.concat(parts);
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] as number) << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

export function tcpPayload(size: number): Buffer {
  const tcp = Buffer.alloc(20 + size);
  tcp[12] = 0x50;
  tcp[13] = 0x10;
  tcp.writeUInt16BE(0x1234, 16);
  return tcp;
}

export function udpPayload(size: number): Buffer {
  const udp = Buffer.alloc(8 + size);
  udp.writeUInt16BE(8 + size, 4);
  udp.writeUInt16BE(0x1234, 6);
  return udp;
}

/** An ICMPv6 error: port unreachable about a UDP packet from the server to the host. */
export function icmp6Error(): Buffer {
  const quote = ipv6Frame(17, udpPayload(32), SERVER6, HOST6);
  const message = Buffer.concat([Buffer.from([1, 4, 0, 0, 0, 0, 0, 0]), quote]);
  const pseudo = Buffer.alloc(8);
  pseudo.writeUInt32BE(message.length, 0);
  pseudo[7] = 58;
  message.writeUInt16BE(checksum(address6Bytes(HOST6), address6Bytes(SERVER6), pseudo, message), 2);
  return ipv6Frame(58, message);
}

/** An ICMPv4 error: port unreachable about a UDP packet from the host to the server. */
export function icmp4Error(): Buffer {
  const quote = ipv4Frame(17, udpPayload(32), { source: HOST4, destination: SERVER4 });
  const message = Buffer.concat([Buffer.from([3, 3, 0, 0, 0, 0, 0, 0]), quote]);
  message.writeUInt16BE(checksum(message), 2);
  return ipv4Frame(1, message);
}

/** What every frame that leaves must be, whatever came in. Knows nothing of src/. */
import assert from 'node:assert/strict';

const VNET_BYTES = 10;
const NEEDS_CSUM = 1;
const ECN = 0x80;

function sum16(bytes: Buffer, start: number, end: number): number {
  let sum = 0;
  for (let at = start; at < end; at += 2) sum += ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

/** The frame at `start`, its virtio-net header first, as it goes to the device in `pieces` pieces. */
export function checkFrame(bytes: Buffer, start: number, end: number, pieces: number): void {
  const at = start + VNET_BYTES;
  const length = end - at;
  const fail = (what: string) =>
    assert.fail(`${what}: ${bytes.toString('hex', start, Math.min(end, start + 120))} (${length} bytes)`);
  if (length < 20) fail('too short to be a packet');
  const version = (bytes[at] as number) >>> 4;
  let upper = at + 40;
  let protocol = bytes[at + 6] as number;
  if (version === 4) {
    // What we send has no options.
    if (bytes[at] !== 0x45) fail('an IPv4 header of other than 20 bytes');
    if (bytes.readUInt16BE(at + 2) !== length) fail('an IPv4 length that lies');
    if (sum16(bytes, at, at + 20) !== 0xffff) fail('an IPv4 header checksum that is wrong');
    upper = at + 20;
    protocol = bytes[at + 9] as number;
  } else if (version === 6) {
    if (length < 40 || bytes.readUInt16BE(at + 4) !== length - 40) fail('an IPv6 length that lies');
  } else fail('neither IPv4 nor IPv6');
  checkVnet(bytes, start, end, upper, protocol, pieces, fail);
}

/** As drivers/net/tun.c and virtio_net_hdr_to_skb of the kernel check it, and more strictly. */
function checkVnet(
  bytes: Buffer,
  start: number,
  end: number,
  upper: number,
  protocol: number,
  pieces: number,
  fail: (what: string) => never,
): void {
  const flags = bytes[start] as number;
  const gso = bytes[start + 1] as number;
  const [headers, gsoSize, checksumStart, checksumOffset] = [2, 4, 6, 8].map((field) =>
    bytes.readUInt16LE(start + field),
  ) as [number, number, number, number];
  const at = start + VNET_BYTES;
  if (flags === 0) {
    if (gso !== 0 || headers !== 0 || gsoSize !== 0 || checksumStart !== 0 || checksumOffset !== 0)
      fail('fields without a flag');
    return;
  }
  if (flags !== NEEDS_CSUM) fail('a flag that no driver may set');
  if (protocol !== 6 && protocol !== 17 && protocol !== 33 && protocol !== 136)
    fail('a checksum left to the device, of a protocol that has none');
  if (at + checksumStart !== upper) fail('csum_start elsewhere than the upper layer');
  if (checksumOffset !== (protocol === 6 ? 16 : 6)) fail('csum_offset elsewhere than the checksum');
  if (upper + checksumOffset + 2 > end) fail('csum_start behind the end');
  if (gso === 0) {
    if (gsoSize !== 0) fail('a gso_size without a type');
    return;
  }
  const isV6 = (bytes[at] as number) >>> 4 === 6;
  const tcp = isV6 ? 4 : 1;
  if (protocol === 6 ? (gso & ~ECN) !== tcp : gso !== 5 || protocol !== 17)
    fail('a gso_type of another protocol');
  const upperHeader = protocol === 6 ? ((bytes[upper + 12] as number) >>> 4) * 4 : 8;
  if (upperHeader < 8 || at + headers !== upper + upperHeader || at + headers > end)
    fail('a hdr_len that lies');
  if (gsoSize === 0) fail('a gso_size of 0');
  if (pieces > 1 && Math.ceil((end - at - headers) / gsoSize) !== pieces)
    fail('a joined frame of another number of segments');
}

/** fast-check: a packet from the host, and the IPv4 packet that a server answers it with: the same, addresses swapped. */
import fc from 'fast-check';
import { HOST6 } from '../harness.js';
import { prefix } from './addresses.js';
import {
  bytesOf,
  checksum,
  concat,
  type Packet4,
  pseudo6,
  serialize4,
  serialize6,
  withU16,
} from './bytes.js';
import { ICMP6 } from './icmp.js';
import { CHECKSUM_AT, TCP, UDP } from './offload.js';

const source = prefix(`${HOST6}/128`).address;
const destination = prefix('64:ff9b:1::808:808/128').address;

export interface RoundTrip {
  readonly request: Uint8Array;
  readonly answer: (received: Packet4) => Uint8Array;
}

/** Bytes of upper header; others have ports, or whatever it is, in the first 12. */
const HEADER_BYTES: ReadonlyMap<number, number> = new Map([
  [TCP, 20],
  [UDP, 8],
  [33, 16],
  [136, 8],
  [ICMP6, 8],
]);

export const roundTrips: fc.Arbitrary<RoundTrip> = fc
  .record({
    protocol: fc.constantFrom(TCP, UDP, 136, 33, 132, 50, 47, ICMP6),
    header: fc.uint8Array({ minLength: 20, maxLength: 20 }),
    body: fc.uint8Array({ maxLength: 1400, size: 'max' }),
    trafficClass: fc.nat({ max: 255 }),
    hopLimit: fc.integer({ min: 3, max: 255 }),
  })
  .map(({ protocol, header, body, trafficClass, hopLimit }) => {
    const own = header.slice(0, HEADER_BYTES.get(protocol) ?? 12);
    if (protocol === TCP) own[12] = 0x50;
    if (protocol === UDP) own.set(bytesOf(own.length + body.length, 2), 4);
    if (protocol === ICMP6) own.set([128, 0]);
    const at = protocol === ICMP6 ? 2 : CHECKSUM_AT.get(protocol);
    let upper = concat(own, body);
    if (at !== undefined) {
      upper = withU16(upper, at, 0);
      const sum = checksum(concat(pseudo6(source, destination, protocol, upper.length), upper));
      upper = withU16(upper, at, protocol === UDP || protocol === 136 ? sum || 0xffff : sum);
    }
    const request = serialize6({
      trafficClass,
      flowLabel: 0,
      payloadLength: upper.length,
      nextHeader: protocol,
      hopLimit,
      source,
      destination,
      payload: upper,
    });
    const answer = (received: Packet4) =>
      serialize4({ ...received, source: received.destination, destination: received.source });
    return { request, answer };
  });

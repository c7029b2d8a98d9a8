/** What the conformance tests of the translator share: one server, one host, and fragments put together again. */
import assert from 'node:assert/strict';
import { decode } from '../helpers/checker.js';
import { Harness, type HarnessOptions, HOST4, HOST6, type Outcome } from '../helpers/harness.js';
import { type Ipv4Fields, type Ipv6Fields, ipv4, ipv6, join } from '../helpers/packet.js';

export const SERVER4 = '8.8.8.8';
/** The server under the pref64 of the harness, as text by RFC 5952. */
export const SERVER6 = '64:ff9b:1::808:808';
export const OWN4 = '10.64.0.1';
export const OWN6 = '64:ff9b:1::a40:1';

export const zeros = (length: number): Uint8Array => new Uint8Array(length);

/** A packet from the server to the host. */
export const from4 = (fields: Partial<Ipv4Fields>, ...parts: Parameters<typeof ipv4>[1][]): Uint8Array =>
  ipv4({ src: SERVER4, dst: HOST4, ...fields }, ...parts);

/** A packet from the host to the server. */
export const from6 = (fields: Partial<Ipv6Fields>, ...parts: Parameters<typeof ipv6>[1][]): Uint8Array =>
  ipv6({ src: HOST6, dst: SERVER6, ...fields }, ...parts);

/** Sends one packet through a gateway of its own. */
export const send = (packet: Uint8Array, options?: HarnessOptions): Outcome =>
  new Harness(options).send(packet);

/** Sends one packet that has to come out as exactly one. */
export function only(packet: Uint8Array, gateway: Harness = new Harness()): Uint8Array {
  const { verdict, frames } = gateway.send(packet);
  assert.equal(verdict, 'forward');
  assert.equal(frames.length, 1);
  return frames[0]!.bytes;
}

/** Sends packets in this order; returns every one that comes out. */
export function sendAll(packets: readonly Uint8Array[], gateway: Harness = new Harness()): Uint8Array[] {
  return packets.flatMap((packet) => {
    const { verdict, frames } = gateway.send(packet);
    assert.equal(verdict, 'forward');
    return frames.map(({ bytes }) => bytes);
  });
}

interface Piece {
  offsetBytes: number;
  more: boolean;
  id: number;
  protocol: number;
  data: Uint8Array;
}

function pieceOf(packet: Uint8Array, version: 4 | 6): Piece {
  if (version === 4) {
    const { offsetBytes, mf, id, protocol, headerLength, totalLength } = decode(packet, 4);
    return { offsetBytes, more: mf, id, protocol, data: packet.slice(headerLength, totalLength) };
  }
  const { extensions } = decode(packet, 6);
  const [fragment] = extensions;
  assert.ok(fragment?.kind === 'fragment', 'a Fragment header comes first');
  const { offsetBytes, more, id } = fragment;
  return { offsetBytes, more, id, protocol: packet[40]!, data: packet.slice(48) };
}

/**
 * Puts the fragments of one packet together as their receiver does (RFC 791 section 3.2, RFC 8200 section 4.5): in any order, all with
 * one identification, without gaps and overlaps. Returns a whole packet of the same addresses.
 */
export function reassemble(packets: readonly Uint8Array[], version: 4 | 6): Uint8Array {
  const pieces = packets.map((packet) => pieceOf(packet, version));
  pieces.sort((a, b) => a.offsetBytes - b.offsetBytes);
  let end = 0;
  for (const [i, piece] of pieces.entries()) {
    assert.equal(piece.offsetBytes, end, 'no gap and no overlap');
    assert.equal(piece.more, i < pieces.length - 1, 'only the last piece says that it is the last');
    assert.equal(piece.id, pieces[0]!.id);
    end += piece.data.length;
  }
  const { src, dst } = version === 4 ? decode(packets[0]!, 4) : decode(packets[0]!, 6);
  const whole = join(...pieces.map(({ data }) => data));
  const { protocol } = pieces[0]!;
  return version === 4
    ? ipv4({ src, dst, protocol }, whole)
    : ipv6({ src, dst, nextHeader: protocol }, whole);
}

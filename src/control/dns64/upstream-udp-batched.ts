/**
 * Connected sockets over the addon, or over Node's dgram where it is absent. The addon needs no object, no callback and no
 * 64 KiB of memory for each datagram, and so takes less time.
 */
import { isIPv6 } from 'node:net';
import { getSystemErrorName } from 'node:util';
import type native from '#native';
import { mappedAddress, readAddress } from './access.js';
import { udpAddon } from './native-udp.js';
import { type ConnectedSocket, type OpenSocket, openDgram } from './upstream-udp.js';

/** A socket seldom has more at a time. */
const BATCH = 16;
/** More than a query has: header, question and OPT. */
const QUERY_BYTES = 512;
/** Answers are asked for with at most 1232 bytes. */
const SLOT_BYTES = 4096;
/** Indexes among a datagram's fields. */
const OFFSET = 0;
const LENGTH = 1;

const ANY4 = Int32Array.from(mappedAddress(0));
const ANY6 = new Int32Array(4);

/** Makes `OpenSocket` of the addon. */
function openWith(addon: typeof native): OpenSocket {
  const stride = addon.UDP_FIELDS;
  // All sockets share these: what is received is copied before anybody looks at it.
  const ring = Buffer.alloc(BATCH * SLOT_BYTES);
  const fields = new Int32Array(BATCH * stride);
  /** What one socket sends. */
  const out = Buffer.alloc(BATCH * QUERY_BYTES);
  const list = new Int32Array(BATCH * stride);
  const failures = new Int32Array(2);
  const failure = (errno = failures[1] as number) => new Error(getSystemErrorName(-errno));

  return (to, listener): ConnectedSocket => {
    const peer = readAddress(to.address);
    if (peer === null) return openDgram(to, listener);
    let fd = -1;
    try {
      const address = isIPv6(to.address) ? ANY6 : ANY4;
      fd = addon.openUdp({
        address,
        port: 0,
        scope: 0,
        packetInfo: false,
        receiveBytes: 0,
        sendBytes: 0,
      }).fd;
      addon.connectUdp(fd, Int32Array.from(peer.words), to.port, peer.scope);
    } catch {
      // No descriptor left, or no way there, which dgram tells when it is not called any more.
      if (fd >= 0) addon.closeUdp(fd);
      return openDgram(to, listener);
    }
    let isClosed = false;
    const poller = new addon.Poller(fd, (errno) => {
      if (errno !== 0) {
        listener.onError(failure(errno));
        return;
      }
      const got = addon.receiveBatch(fd, ring, SLOT_BYTES, fields, BATCH, failures);
      const error = failures[0] === 0 ? null : failure();
      const datagrams: Buffer[] = [];
      for (let i = 0; i < got; i++) {
        const length = fields[i * stride + LENGTH] as number;
        // A longer one is not the answer to what was asked.
        const bytes = Buffer.allocUnsafe(length > SLOT_BYTES ? 0 : length);
        // Short as they are, octet by octet is the quickest.
        for (let at = 0; at < bytes.length; at++) bytes[at] = ring[i * SLOT_BYTES + at] as number;
        datagrams.push(bytes);
      }
      for (const bytes of datagrams) if (!isClosed) listener.onDatagram(bytes);
      if (error !== null && !isClosed) listener.onError(error);
    });
    let waiting: Buffer[] = [];
    const flush = () => {
      const all = waiting;
      waiting = [];
      for (let from = 0; from < all.length && !isClosed; from += BATCH) {
        const some = all.slice(from, from + BATCH);
        for (let i = 0; i < some.length; i++) {
          const bytes = some[i] as Buffer;
          out.set(bytes, i * QUERY_BYTES);
          list[i * stride + OFFSET] = i * QUERY_BYTES;
          list[i * stride + LENGTH] = bytes.length;
        }
        const sent = addon.sendBatch(fd, out, list, some.length, failures);
        if (sent === some.length) continue;
        // A full buffer has no room for the last ones; any other error is all of theirs.
        const error = failure();
        for (const bytes of some.slice(sent)) if (!isClosed) listener.onUnsent(bytes, error);
      }
    };
    return {
      send: (bytes) => {
        if (waiting.push(bytes) === 1) process.nextTick(flush);
      },
      close: () => {
        isClosed = true;
        poller.stop();
        addon.closeUdp(fd);
      },
    };
  };
}

/** The better of the two that this machine has. */
export const openSocket: OpenSocket = udpAddon === null ? openDgram : openWith(udpAddon);

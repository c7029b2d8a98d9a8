/**
 * What a worker does while hardly anything comes: it plays frames through a loop of its own, without a device, so that the
 * JIT has compiled the way of a frame before the first real one takes it. Interpreted, the first frames would take ten times as
 * long, and the compiler would work while they wait.
 *
 * Everything that the played frames touch is the rehearsal's own: tables, ring, counters, clock.
 */
import { randomFillSync } from 'node:crypto';
import { createCounters } from '../shm/counters.js';
import { createFrameRing, HEADROOM } from '../shm/frame-ring.js';
import { createHostRing } from '../shm/host-ring.js';
import { createHostTable, HostTableWriter } from '../shm/host-table.js';
import { createPrefixTable } from '../shm/prefix-table.js';
import { createSharedState } from '../shm/shared-state.js';
import type { WorkerTask } from '../shm/worker-task.js';
import type { Address6 } from '../wire/address.js';
import { get16, set16 } from '../wire/bytes.js';
import { adjustChecksum, fold, sumBytes } from '../wire/checksum.js';
import {
  checksumOffset,
  IPV4_DESTINATION,
  IPV4_HEADER,
  IPV4_PROTOCOL,
  IPV4_SOURCE,
  IPV6_DESTINATION,
  IPV6_HEADER,
  IPV6_HOP_LIMIT,
  IPV6_NEXT_HEADER,
  IPV6_PAYLOAD_LENGTH,
  IPV6_SOURCE,
  PROTO_ICMPV6,
  PROTO_TCP,
  PROTO_UDP,
} from '../wire/ip.js';
import { embedAddress } from '../wire/rfc6052.js';
import { TABULATION_WORDS } from '../wire/tabulation.js';
import { VNET_HEADER } from '../wire/vnet.js';
import { type FrameIo, Loop } from './loop.js';

/** Frames of a whole rehearsal: more changes nothing in what is compiled. */
const FRAMES = 60_000;
/** Frames between two turns of the event loop: about a millisecond's work, once it is compiled. */
const FRAMES_PER_TURN = 1000;
/** Every third burst is long: joined frames take a way of their own. */
const BURST_SIZES = [1, 1, 16];

const HOST: Address6 = [0x20010db8, 0, 0, 1];
const HOST_INDEX = 3;
const POOL4 = 0x0a400000;
const POOL4_SIZE = 16;
const SERVER4 = 0x08080808;
const TCP_PAYLOAD = 512;
const NO_DESCRIPTOR = -1;

/** A datagram, segment or echo request from the host to the server, its checksum right. */
function makeFrame(protocol: number, upper: Uint8Array, destination: Address6): Uint8Array {
  const bytes = new Uint8Array(IPV6_HEADER + upper.length);
  const view = new DataView(bytes.buffer);
  bytes[0] = 0x60;
  set16(bytes, IPV6_PAYLOAD_LENGTH, upper.length);
  bytes[IPV6_NEXT_HEADER] = protocol;
  bytes[IPV6_HOP_LIMIT] = 64;
  for (const [i, word] of HOST.entries()) view.setInt32(IPV6_SOURCE + 4 * i, word);
  for (const [i, word] of destination.entries()) view.setInt32(IPV6_DESTINATION + 4 * i, word);
  bytes.set(upper, IPV6_HEADER);
  const pseudo = sumBytes(view, IPV6_SOURCE, 32) + protocol + upper.length;
  const field = IPV6_HEADER + (protocol === PROTO_ICMPV6 ? 2 : checksumOffset(protocol));
  set16(bytes, field, ~fold(sumBytes(view, IPV6_HEADER, upper.length) + pseudo) & 0xffff);
  return bytes;
}

function requests(server: Address6): Uint8Array[] {
  const udp = new Uint8Array(8 + 64);
  udp.set([0x30, 0x39, 0, 53, 0, udp.length]);
  const tcp = new Uint8Array(20 + TCP_PAYLOAD);
  tcp.set([0x30, 0x39, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff]);
  const echo = new Uint8Array(8 + 56);
  echo.set([128, 0, 0, 0, 0x12, 0x34, 0, 1]);
  return [
    makeFrame(PROTO_UDP, udp, server),
    makeFrame(PROTO_TCP, tcp, server),
    makeFrame(PROTO_ICMPV6, echo, server),
  ];
}

/** The way back: a translated packet with its ends exchanged. No sum changes by that. */
function turnRound(packet: Uint8Array): Uint8Array {
  const back = packet.slice();
  back.set(packet.subarray(IPV4_SOURCE, IPV4_SOURCE + 4), IPV4_DESTINATION);
  back.set(packet.subarray(IPV4_DESTINATION, IPV4_DESTINATION + 4), IPV4_SOURCE);
  const isEcho = back[9] === 1;
  if (!isEcho) {
    back.set(packet.subarray(IPV4_HEADER, IPV4_HEADER + 2), IPV4_HEADER + 2);
    back.set(packet.subarray(IPV4_HEADER + 2, IPV4_HEADER + 4), IPV4_HEADER);
  }
  return back;
}

function protocolOf(frame: Uint8Array): number {
  return frame[(frame[0] as number) >>> 4 === 4 ? IPV4_PROTOCOL : IPV6_NEXT_HEADER] as number;
}

/** Makes a segment the one that follows `count` like it, so that they can be joined. */
function goOn(ring: Uint8Array, offset: number, count: number): void {
  const upper = offset + ((ring[offset] as number) >>> 4 === 4 ? IPV4_HEADER : IPV6_HEADER);
  const sequence = upper + 6;
  const field = upper + checksumOffset(PROTO_TCP);
  const before = get16(ring, sequence);
  const after = before + count * TCP_PAYLOAD;
  set16(ring, sequence, after);
  set16(ring, field, adjustChecksum(get16(ring, field), before, after));
}

/** Stands for the device: gives frames, and takes what comes of them. Also for the benchmark of captures. */
export class Stage implements FrameIo {
  /** Copies of this one are given. */
  frame: Uint8Array = new Uint8Array(0);
  /** How many are left to give. */
  left = 0;
  /** The first of the frames that the last write had. */
  written: Uint8Array = new Uint8Array(0);

  readonly read: FrameIo['read'] = (_fd, ring, _start, _end, _headroom, frames, maxFrames) => {
    const { frame } = this;
    const count = Math.min(this.left, maxFrames);
    const step = HEADROOM + ((frame.length + 15) & ~15);
    for (let i = 0; i < count; i++) {
      const offset = HEADROOM + i * step;
      ring.fill(0, offset - VNET_HEADER, offset);
      ring.set(frame, offset);
      if (protocolOf(frame) === PROTO_TCP) goOn(ring, offset, i);
      frames[2 * i] = offset;
      frames[2 * i + 1] = frame.length;
    }
    this.left -= count;
    return count;
  };

  readonly wait: FrameIo['wait'] = () => this.left > 0;

  readonly write: FrameIo['write'] = (_fd, bytes, list, count, refused) => {
    const offset = list[1] as number;
    this.written = bytes.slice(offset + VNET_HEADER, offset + (list[2] as number));
    refused[0] = 0;
    return count;
  };
}

/**
 * Rehearses in the background of the worker's event loop, with the worker's own settings.
 * @param isBusy real frames are coming: they do the same, and it ends
 * @param counters what it counts; for tests
 */
export function rehearse(task: WorkerTask, isBusy: () => boolean, counters = createCounters(1)): void {
  const { pref64 } = task.settings;
  if (pref64 === null) return;
  const hosts = createHostTable(POOL4, POOL4_SIZE, 1, randomFillSync(new Int32Array(TABULATION_WORDS)));
  new HostTableWriter(hosts).publish(HOST_INDEX, HOST, 1);
  const stage = new Stage();
  const loop = new Loop(
    {
      ...task,
      worker: 0,
      workerCount: 1,
      fd: NO_DESCRIPTOR,
      settings: { ...task.settings, logPackets: [] },
      hosts,
      maps4: createPrefixTable([], 4),
      maps6: createPrefixTable([], 6),
      state: createSharedState(1).buffer as SharedArrayBuffer,
      counters,
      ring: createFrameRing(),
      questions: createHostRing(16),
      answers: createHostRing(16),
      captures: [],
      samples: null,
    },
    () => {},
    stage,
  );
  const play = (frame: Uint8Array, copies: number) => {
    stage.frame = frame;
    stage.left = copies;
    loop.serve();
  };
  const frames = requests(embedAddress(pref64, SERVER4)).flatMap((frame) => {
    play(frame, 1);
    return [frame, turnRound(stage.written)];
  });
  let played = 0;
  let bursts = 0;
  const turn = () => {
    if (isBusy()) return;
    const end = played + FRAMES_PER_TURN;
    for (; played < end; bursts++) {
      const size = BURST_SIZES[bursts % BURST_SIZES.length] as number;
      // Not in step with the sizes, so that each frame comes in each of them.
      play(frames[(bursts >> 2) % frames.length] as Uint8Array, size);
      played += size;
    }
    if (played < FRAMES) setImmediate(turn);
  };
  setImmediate(turn);
}

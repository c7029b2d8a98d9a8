/**
 * What the translator costs a frame: `npm run bench -- micro --only translation`. Nanoseconds per frame, without reading or writing the
 * device. Each sample translates a burst laid out in the ring as a read lays it out, restored between samples.
 */
import { setFlagsFromString } from 'node:v8';
import type { Context } from '#nat64d/dataplane/context.js';
import { translateFrame } from '#nat64d/dataplane/translate.js';
import { HEADROOM, SCRATCH_START } from '#nat64d/shm/frame-ring.js';
import { V8_FLAGS } from '#nat64d/shm/v8-flags.js';
import {
  icmp4Error,
  icmp6Error,
  ipv4Frame,
  ipv6Frame,
  tcpPayload,
  udpPayload,
} from '../test/helpers/frames.js';
import { Harness, type Vnet } from '../test/helpers/harness.js';
import { timeParts } from './parts.js';
import type { Measurement } from './report.js';

const FRAMES = 64;

interface Case {
  name: string;
  frame: Buffer;
  vnet?: Vnet;
}

const partial = (gsoType: number, start: number, csumOffset: number, headers: number): Vnet => ({
  flags: 1,
  gsoType,
  hdrLen: start + headers,
  gsoSize: 1400,
  csumStart: start,
  csumOffset,
});

const echo = (type: number) =>
  Buffer.concat([Buffer.from([type, 0, 0x12, 0x34, 0, 1, 0, 1]), Buffer.alloc(56)]);
const fragmentHeader = Buffer.from([17, 0, 0, 0xb9, 0, 0, 0, 7]);

const cases: Case[] = [
  { name: 'TCP 1400 B, v6-to-v4', frame: ipv6Frame(6, tcpPayload(1400)) },
  { name: 'TCP 1400 B, v4-to-v6', frame: ipv4Frame(6, tcpPayload(1400)) },
  { name: 'UDP 64 B, v6-to-v4', frame: ipv6Frame(17, udpPayload(64)) },
  { name: 'UDP 64 B, v4-to-v6', frame: ipv4Frame(17, udpPayload(64)) },
  { name: 'UDP 1400 B, v6-to-v4', frame: ipv6Frame(17, udpPayload(1400)) },
  { name: 'UDP 1400 B, v4-to-v6', frame: ipv4Frame(17, udpPayload(1400)) },
  { name: 'ICMP echo 56 B, v6-to-v4', frame: ipv6Frame(58, echo(128)) },
  { name: 'ICMP echo 56 B, v4-to-v6', frame: ipv4Frame(1, echo(8)) },
  { name: 'ICMP error, v6-to-v4', frame: icmp6Error() },
  { name: 'ICMP error, v4-to-v6', frame: icmp4Error() },
  {
    name: 'fragment 1000 B, v6-to-v4',
    frame: ipv6Frame(44, Buffer.concat([fragmentHeader, Buffer.alloc(1000)])),
  },
  { name: 'fragment 1000 B, v4-to-v6', frame: ipv4Frame(17, Buffer.alloc(1000), { fragment: 0x2017 }) },
  {
    name: 'super-frame 60 KiB, v6-to-v4',
    frame: ipv6Frame(6, tcpPayload(60_000)),
    vnet: partial(4, 40, 16, 20),
  },
  {
    name: 'super-frame 60 KiB, v4-to-v6',
    frame: ipv4Frame(6, tcpPayload(60_000)),
    vnet: partial(1, 20, 16, 20),
  },
];

/** Bytes at the start of a frame that translation may change: headers, and a quote's headers. */
const TOUCHED = 160;

/** Lays copies of a frame out; returns their offsets. Large ones share a region: only their headers are apart. */
function layOut(frame: Buffer): number[] {
  const step = HEADROOM + ((Math.min(frame.length, TOUCHED) + 15) & ~15);
  return Array.from({ length: FRAMES }, (_, i) => HEADROOM + i * step);
}

function restore(ctx: Context, frame: Buffer, vnet: Vnet | undefined, offsets: number[]): void {
  const head = frame.subarray(0, TOUCHED);
  for (const offset of offsets) {
    ctx.u8.set(head, offset);
    ctx.u8.fill(0, offset - 10, offset);
    if (vnet === undefined) continue;
    ctx.u8[offset - 10] = vnet.flags;
    ctx.u8[offset - 9] = vnet.gsoType;
    for (const [i, value] of [vnet.hdrLen, vnet.gsoSize, vnet.csumStart, vnet.csumOffset].entries()) {
      ctx.dv.setUint16(offset - 8 + 2 * i, value, true);
    }
  }
}

/** The part of a worker's loop that is measured. */
function translateBurst(ctx: Context, offsets: number[], length: number): number {
  ctx.listEnd = 0;
  ctx.listFrames = 0;
  ctx.scratchEnd = SCRATCH_START;
  let bad = 0;
  for (let i = 0; i < offsets.length; i++) {
    bad |= translateFrame(ctx, offsets[i] as number, length);
  }
  return bad;
}

export async function measure(): Promise<Measurement[]> {
  setFlagsFromString(V8_FLAGS);
  const { ctx } = new Harness();
  const parts = cases.map(({ name, frame, vnet }) => {
    const offsets = layOut(frame);
    const beforeEach = () => restore(ctx, frame, vnet, offsets);
    const run = () => translateBurst(ctx, offsets, frame.length);
    beforeEach();
    if (run() !== 0) throw new Error(`${name}: not forwarded`);
    return { name, count: FRAMES, run, beforeEach };
  });
  return timeParts('translation, a frame', parts);
}

/**
 * The fast translator against the reference: same verdict, same bytes, for packets of every shape. FC_RUNS=20 runs each
 * property twenty times as often, FC_SEED=n with other packets.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { HEADROOM, SCRATCH_START } from '#nat64d/shm/frame-ring.js';
import { Harness, HOST4, HOST6, type Outcome } from '../helpers/harness.js';
import { parse4, parse6 } from '../helpers/reference/bytes.js';
import { templates } from '../helpers/reference/generate-frames.js';
import { roundTrips } from '../helpers/reference/generate-round-trips.js';
import { setups } from '../helpers/reference/generate-settings.js';
import type { Frame } from '../helpers/reference/offload.js';
import { Reference } from '../helpers/reference.js';

/** The same packets each time, so that a run that passes once passes again; FC_SEED asks for others. */
const SEED = Number(process.env.FC_SEED ?? 20_261_123);

const runs = (count: number) => ({
  seed: SEED,
  numRuns: Math.ceil(count * Number(process.env.FC_RUNS ?? 1)),
});

const hexFrames = (frames: readonly Frame[]) =>
  frames.map(({ vnet, bytes }) => ({ vnet, bytes: Buffer.from(bytes).toString('hex') }));

const shown = ({ verdict, frames }: Outcome) => ({ verdict, frames: hexFrames(frames) });

/** Up to three frames one after another: identifications go on from frame to frame. */
const conversations = fc
  .record({ setup: setups, sent: fc.array(templates, { minLength: 1, maxLength: 3 }) })
  .map(({ setup, sent }) => {
    const frames = sent.map((template) => template(setup));
    const text = () => `${JSON.stringify(setup.options)}\n${JSON.stringify(hexFrames(frames), null, 1)}`;
    return { setup, sent: frames, [fc.toStringMethod]: text };
  });

test('RFC 7915: the fast translator and the reference agree on verdict, virtio-net header and every byte', () => {
  fc.assert(
    fc.property(conversations, ({ setup, sent }) => {
      const fast = new Harness(setup.options);
      const reference = new Reference(setup.options);
      for (const { bytes, vnet } of sent) {
        assert.deepEqual(shown(fast.send(bytes, vnet)), shown(reference.translate(bytes, vnet)));
      }
    }),
    runs(4000),
  );
});

function onlyFrame(outcome: Outcome): Frame {
  assert.equal(outcome.verdict, 'forward');
  assert.equal(outcome.frames.length, 1);
  return outcome.frames[0] as Frame;
}

test('RFC 7915: v6 to v4, answered with swapped addresses, and back to v6 keeps payload and ports', () => {
  fc.assert(
    fc.property(roundTrips, ({ request, answer }) => {
      const gateway = new Harness({ hosts: [[HOST4, HOST6]] });
      const there = onlyFrame(gateway.send(request));
      const packet4 = parse4(there.bytes, false);
      assert.ok(packet4);
      const back = onlyFrame(gateway.send(answer(packet4)));
      const packet6 = parse6(back.bytes, false);
      const first = parse6(request, false);
      assert.ok(packet6 && first);
      assert.equal(packet6.source, first.destination);
      assert.equal(packet6.destination, first.source);
      // Checksums too: swapped addresses have the same sum.
      assert.equal(packet6.nextHeader, first.nextHeader);
      assert.deepEqual(packet6.payload, first.payload);
    }),
    runs(1500),
  );
});

/** A frame somewhere inside the burst region: other frames lie before and behind it. */
const FRAME_AT = 64 * 1024;
const CANARIES = Buffer.alloc(70 * 1024, 0xa5);

/** Sends one frame between canaries; says whether all of them live. */
function staysInSlot(gateway: Harness, { bytes, vnet }: Frame): boolean {
  const { u8 } = gateway.ctx;
  const end = FRAME_AT + HEADROOM + bytes.length;
  const before = u8.subarray(FRAME_AT - 4096, FRAME_AT);
  const behind = u8.subarray(end, end + CANARIES.length);
  before.set(CANARIES.subarray(0, before.length));
  behind.set(CANARIES);
  gateway.send(bytes, vnet, FRAME_AT);
  return CANARIES.subarray(0, before.length).equals(before) && CANARIES.equals(behind);
}

/** Bytes without a plan but for the version, so that more than the first check sees them. */
const noise = fc
  .record({
    version: fc.constantFrom(0x45, 0x46, 0x4f, 0x60, 0x6f, 0x00),
    rest: fc.uint8Array({ maxLength: 1600, size: 'max' }),
    saysItsLength: fc.boolean(),
    vnet: fc.record({
      flags: fc.nat({ max: 3 }),
      gsoType: fc.constantFrom(0, 1, 3, 4, 5, 0x81, 0x84, 0x85, 0xff),
      hdrLen: fc.nat({ max: 65535 }),
      gsoSize: fc.nat({ max: 65535 }),
      csumStart: fc.oneof(fc.nat({ max: 80 }), fc.nat({ max: 65535 })),
      csumOffset: fc.oneof(fc.nat({ max: 20 }), fc.nat({ max: 65535 })),
    }),
  })
  .map(({ version, rest, saysItsLength, vnet }): Frame => {
    const bytes = Uint8Array.of(version, ...rest);
    if (saysItsLength && bytes.length >= 60) {
      const isV6 = version >> 4 === 6;
      const length = bytes.length - (isV6 ? 40 : 0);
      bytes.set([length >> 8, length & 255], isV6 ? 4 : 2);
    }
    return { vnet, bytes };
  });

test('no input throws or writes outside its slot: random bytes', () => {
  const gateway = new Harness();
  fc.assert(
    fc.property(noise, (frame) => {
      assert.ok(staysInSlot(gateway, frame));
    }),
    runs(1500),
  );
});

test('no input throws or writes outside its slot: packets of every shape, right and wrong', () => {
  fc.assert(
    fc.property(setups, fc.array(templates, { minLength: 1, maxLength: 4 }), (setup, sent) => {
      const gateway = new Harness(setup.options);
      for (const template of sent) assert.ok(staysInSlot(gateway, template(setup)));
    }),
    runs(700),
  );
});

test('what the translator writes lies in the slot of its frame or in the scratch region', () => {
  fc.assert(
    fc.property(setups, templates, (setup, template) => {
      const gateway = new Harness(setup.options);
      const frame = template(setup);
      gateway.send(frame.bytes, frame.vnet, FRAME_AT);
      const { list, listEnd, listFrames } = gateway.ctx;
      let at = 0;
      for (let i = 0; i < listFrames; i++) {
        for (let pieces = list[at++] as number; pieces > 0; pieces--) {
          const offset = list[at++] as number;
          const end = offset + (list[at++] as number);
          const isOwn = offset >= FRAME_AT && end <= FRAME_AT + HEADROOM + frame.bytes.length;
          assert.ok(isOwn || offset >= SCRATCH_START, `piece from ${offset} to ${end}`);
        }
      }
      assert.equal(at, listEnd);
    }),
    runs(500),
  );
});

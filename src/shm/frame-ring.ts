/**
 * A worker's private memory for frames, one SharedArrayBuffer.
 *
 *   +--------------------------+---------------------------+-----------------------------------+-----------------+
 *   | burst                    | hold                      | scratch                           | fragments       |
 *   | what one read brings in, | frames of hosts that wait | headers of fragments, segments of | first fragments |
 *   | one frame after another  | for a map                 | super-frames, rebuilt ICMP errors | of ICMP echoes  |
 *   +--------------------------+---------------------------+-----------------------------------+-----------------+
 *   0                          HOLD_START                  SCRATCH_START                       FRAGMENTS_START
 *
 * In the burst and the hold region each frame has room in front:
 *
 *   | at least HEADROOM bytes of its own, the last 10 the virtio-net header | IP header, payload | next frame's headroom …
 *                                                                           ^ a multiple of 16
 *
 * Longer headers grow into it: an IPv6 header is 20 bytes longer than an IPv4 one, a Fragment header takes 8, the same
 * again inside an ICMP error; or 48 for an ICMPv6 error about the frame; and the virtio-net header in front of all.
 */

/** Bytes before a frame that belong to it: 10 (virtio-net) + 2 × 28 (growth of outer and quoted header), rounded up. */
export const HEADROOM = 80;

/** What one read call fills: thirty super-frames, or more small frames than a burst has. */
export const BURST_BYTES = 2 << 20;

/** Frames of one burst at most. */
export const BURST_FRAMES = 256;

export const HOLD_START = BURST_BYTES;
export const HOLD_BYTES = 2 << 20;
/** What the hold region may hold at most. */
export const HOLD_HOSTS = 1024;
export const HOLD_FRAMES = 4096;
export const SCRATCH_START = HOLD_START + HOLD_BYTES;
export const SCRATCH_BYTES = 512 << 10;
/** What one frame may take of the scratch region: a super-frame cut into MAX_SEGMENTS packets. */
export const SCRATCH_PER_FRAME = 320 << 10;
export const MAX_SEGMENTS = 1024;
/** First fragments of ICMP echoes that wait for the last (icmp-fragments.ts): slots of equal size. */
export const FRAGMENTS_START = SCRATCH_START + SCRATCH_BYTES;
export const FRAGMENT_SLOTS = 64;
export const FRAGMENT_SLOT_BYTES = 10 << 10;
export const RING_BYTES = FRAGMENTS_START + FRAGMENT_SLOTS * FRAGMENT_SLOT_BYTES;
/** Memory that no frame in hand takes without asking ends here. */
export const SCRATCH_END = FRAGMENTS_START;

/** Words of the list of frames to write: pieces, then (offset, length) of each. See `write` of the native addon. */
export const LIST_WORDS = 64 << 10;
/** What one frame may take of the list: every segment cut into fragments of two pieces each. */
export const LIST_PER_FRAME = 16 << 10;

export function createFrameRing(): SharedArrayBuffer {
  return new SharedArrayBuffer(RING_BYTES);
}

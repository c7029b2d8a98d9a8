/**
 * One queue's work: read a burst, translate each frame, write what came of it. Runs when the queue is readable, and when
 * control has answered a question.
 */
import native from '#native';
import { counter } from '../shm/counters.js';
import {
  BURST_BYTES,
  BURST_FRAMES,
  HEADROOM,
  LIST_PER_FRAME,
  LIST_WORDS,
  SCRATCH_END,
  SCRATCH_PER_FRAME,
  SCRATCH_START,
} from '../shm/frame-ring.js';
import { ANSWER_NETWORK_FULL, ANSWER_REFUSED, HostRing, nowUs } from '../shm/host-ring.js';
import { beatWord, CLOCK, EPOCH_BUSY, epochWord, GENERATION, POOL_FULL } from '../shm/shared-state.js';
import type { CaptureTask, FromWorker, Tables, WorkerTask } from '../shm/worker-task.js';
import type { Address6 } from '../wire/address.js';
import { IPV6_HEADER, IPV6_SOURCE } from '../wire/ip.js';
import { VNET_GSO_TYPE, VNET_HEADER, VNET_HEADER_LENGTH } from '../wire/vnet.js';
import { Capture } from './capture.js';
import { Coalescer } from './coalesce.js';
import { type Context, count, countDrop, HOLD } from './context.js';
import { type FrameWatcher, joinWatchers } from './frame-watcher.js';
import { DROP_HOLD_FULL, DROP_HOLD_TIMEOUT, HELD_NEW_HOST, HELD_NOT, HoldArea } from './hold.js';
import { PacketLog } from './packet-log.js';
import { Refusals } from './refusals.js';
import { Sampler } from './sampler.js';
import { createContext, reconfigure, translateFrame } from './translate.js';
import { refuseSource } from './translate-v6-to-v4.js';

const FRAMES_IN_V6 = counter('frames-in-v6');
const FRAMES_IN_V4 = counter('frames-in-v4');
const BYTES_IN_V6 = counter('bytes-in-v6');
const BYTES_IN_V4 = counter('bytes-in-v4');
const SUPER_FRAMES_IN = counter('super-frames-in');
const FRAMES_OUT = counter('frames-out');
const BYTES_OUT = counter('bytes-out');
const BURSTS = counter('bursts');
const HOSTS_ASKED = counter('hosts-asked');
const WRITE_REFUSED = counter('write-refused');
const DROP_REFUSED = counter('drop-refused');

/** Frames, and bursts, before the event loop gets its turn: messages, timers, the end. */
const FRAMES_PER_TURN = 1024;
const BURSTS_PER_TURN = 64;
/** How long the next frame of a stream is waited for on the spot: about what a round of the event loop costs, several times over. */
const WAIT_US = 100;
/** Super-frames of a turn and the one before it that make a bulk stream. */
const BULK_SUPER_FRAMES = 8;
/** After so long the event loop gets its turn where one comes. */
const BULK_TURN_MS = 2;
/** Frames of a turn that make the next one a sparse one. */
const SPARSE_FRAMES = 2;
const ANSWERS_PER_BURST = 1024;
/** A worker that has seen so many bursts has nothing to rehearse. */
const BUSY_BURSTS = 5000;

/** Where frames come from and go to: the native addon's functions for a queue. */
export type FrameIo = Pick<typeof native, 'read' | 'wait' | 'write'>;

export class Loop {
  /** The queue's descriptor. */
  #fd: number;
  #workerCount: number;
  readonly #ctx: Context;
  readonly #state: Int32Array;
  readonly #epoch: number;
  readonly #beat: number;
  readonly #hold: HoldArea;
  readonly #refusals = new Refusals();
  readonly #questions: HostRing;
  readonly #answers: HostRing;
  readonly #send: (message: FromWorker) => void;
  readonly #read: FrameIo['read'];
  readonly #wait: FrameIo['wait'];
  readonly #write: FrameIo['write'];
  /** Null where no packet is to be logged. */
  #packetLog: PacketLog | null;
  #captures: readonly Capture[];
  /** Packet log and captures; null where there is none, which is all that a frame pays for them. */
  #watcher: FrameWatcher | null = null;
  /** Null while nobody looks at the busiest hosts. */
  #sampler: Sampler | null = null;
  readonly #coalescer: Coalescer;
  readonly #frames = new Int32Array(new SharedArrayBuffer(BURST_FRAMES * 8));
  readonly #refused = new Int32Array(new SharedArrayBuffer(8));
  /** The last turn had hardly a frame. */
  #isSparse = true;
  /** How many super-frames had come when the last turn began. */
  #superFrames = 0;
  /** Numbers of the held hosts that have their answer. */
  readonly #released: number[] = [];
  readonly #takeAnswer = (host: Address6, answer: number) => {
    const { nowSec } = this.#ctx;
    if (answer === ANSWER_REFUSED) this.#refusals.remember(host, nowSec);
    else if (answer === ANSWER_NETWORK_FULL) this.#refusals.rememberNetwork(host, nowSec);
    const held = this.#hold.hostOf(host[0], host[1], host[2], host[3]);
    if (held >= 0) this.#released.push(held);
  };
  readonly #translateHeld = (offset: number, length: number) => this.#translate(offset, length, false);
  readonly #dropHeld = (offset: number, length: number) => {
    this.#watcher?.before(offset, length, false);
    countDrop(this.#ctx, DROP_HOLD_TIMEOUT, true);
    this.#watcher?.after(DROP_HOLD_TIMEOUT);
  };

  /** @param send to control */
  constructor(task: WorkerTask, send: (message: FromWorker) => void, io: FrameIo = native) {
    this.#fd = task.fd;
    this.#read = io.read;
    this.#wait = io.wait;
    this.#write = io.write;
    this.#ctx = createContext(task);
    this.#state = new Int32Array(task.state);
    this.#epoch = epochWord(task.worker);
    this.#beat = beatWord(task.worker);
    this.#hold = new HoldArea(this.#ctx);
    this.#coalescer = new Coalescer(this.#ctx);
    this.#questions = new HostRing(task.questions);
    this.#answers = new HostRing(task.answers);
    this.#send = send;
    this.#workerCount = task.workerCount;
    this.#packetLog = PacketLog.of(this.#ctx, task.settings);
    this.#captures = task.captures.map((capture) => new Capture(this.#ctx, capture));
    this.#watch();
    this.sample(task.samples);
  }

  /** Whether so many frames have come that the JIT has been busy with them. */
  get isBusy(): boolean {
    return (this.#ctx.counters[BURSTS] as number) > BUSY_BURSTS;
  }

  /** Works with other settings and tables from now on. Never in the middle of a burst. */
  reload(tables: Tables): void {
    reconfigure(this.#ctx, tables);
    this.#refusals.forget();
    this.#workerCount = tables.workerCount;
    this.#tellPackets();
    this.#packetLog = PacketLog.of(this.#ctx, tables.settings);
    this.#watch();
  }

  /** Copies frames for one who captures, from now on. Never in the middle of a burst. */
  capture(task: CaptureTask): void {
    this.#captures = [...this.#captures, new Capture(this.#ctx, task)];
    this.#watch();
  }

  endCapture(id: number): void {
    this.#captures = this.#captures.filter((capture) => capture.id !== id);
    this.#watch();
  }

  /** Tells of the hosts of some frames in a ring, or, with null, no more. */
  sample(ring: SharedArrayBuffer | null): void {
    this.#sampler = ring && new Sampler(this.#ctx, new HostRing(ring), this.#workerCount);
  }

  #watch(): void {
    this.#watcher = joinWatchers([this.#packetLog, ...this.#captures]);
  }

  /**
   * Serves the queue until it stays empty for a moment or others deserve a turn. Throws what the device throws (see native `read`).
   *
   * Where frames come one at a time, the read that finds the queue empty is worth more behind the write than before it: the frame
   * is on its way sooner, and an answer that it caused on this very machine is found at once.
   *
   * Where super-frames come in a row, the next frame is waited for awake. A bulk stream has few of them under way, and who paces by round trips
   * (BBR) sends less for every one that takes longer.
   */
  serve(): void {
    const { counters } = this.#ctx;
    const bulkAt = this.#superFrames + BULK_SUPER_FRAMES;
    this.#superFrames = counters[SUPER_FRAMES_IN] as number;
    let endMs = 0;
    let frames = 0;
    for (let bursts = 0; bursts < BURSTS_PER_TURN && frames < FRAMES_PER_TURN; bursts++) {
      const most = this.#isSparse && bursts < SPARSE_FRAMES ? 1 : BURST_FRAMES;
      const n = this.#burst(most);
      frames += n;
      const isBulk = (counters[SUPER_FRAMES_IN] as number) >= bulkAt;
      // What was not filled has emptied the queue.
      if (n < most && (frames === 0 || !this.#wait(this.#fd, WAIT_US, isBulk))) break;
      if (!isBulk) continue;
      // Each wait may have lent the CPU to another thread for milliseconds.
      const nowMs = performance.now();
      if (endMs === 0) endMs = nowMs + BULK_TURN_MS;
      else if (nowMs > endMs) break;
    }
    this.#isSparse = frames <= SPARSE_FRAMES;
  }

  /** Serves another queue from now on. Never in the middle of a burst. */
  useQueue(fd: number): void {
    this.#fd = fd;
  }

  /** Whether a frame waits for the answer to a question. */
  get isHolding(): boolean {
    return this.#hold.hostCount !== 0;
  }

  /** Serves the queue until it is empty, or others deserve a turn: false. Throws what the device throws. */
  drain(): boolean {
    let frames = 0;
    for (let bursts = 0; bursts < BURSTS_PER_TURN && frames < FRAMES_PER_TURN; bursts++) {
      const n = this.#burst(BURST_FRAMES);
      if (n === 0) return true;
      frames += n;
    }
    return false;
  }

  /** Sends held frames whose hosts have their answer, without reading. */
  serveAnswers(): void {
    this.#answers.answerBell();
    this.#enter();
    this.#leave();
  }

  /** Once a second: frames that nobody answers for. */
  tick(): void {
    Atomics.add(this.#state, this.#beat, 1);
    this.#look();
    this.#hold.expire(this.#dropHeld);
    this.#ctx.fragments?.expire();
    this.#lookAway();
    this.#sampler?.tick();
    this.#tellPackets();
  }

  /** The last thing it does: what it holds is dropped, and counted. */
  end(): void {
    this.#look();
    this.#hold.clear(this.#dropHeld);
    this.#ctx.fragments?.clear();
    this.#lookAway();
    this.#tellPackets();
  }

  #tellPackets(): void {
    const packets = this.#packetLog?.take();
    if (packets !== undefined) this.#send({ type: 'packets', ...packets });
  }

  /** Takes a view of the tables that stays valid until `lookAway`. */
  #look(): void {
    const ctx = this.#ctx;
    Atomics.store(this.#state, this.#epoch, EPOCH_BUSY);
    ctx.generation = Atomics.load(this.#state, GENERATION);
    Atomics.store(this.#state, this.#epoch, ctx.generation);
    ctx.nowSec = this.#state[CLOCK] as number;
    ctx.poolFull = this.#state[POOL_FULL] as number;
  }

  #lookAway(): void {
    Atomics.store(this.#state, this.#epoch, 0);
  }

  /** Begins a burst: looks at the tables, and sends what waited for them. */
  #enter(): void {
    // Control publishes a map before it answers, so a generation read after the answers covers them all.
    this.#released.length = 0;
    if (!this.#answers.isEmpty) this.#answers.drain(ANSWERS_PER_BURST, this.#takeAnswer);
    this.#look();
    for (const host of this.#released) this.#hold.release(host, this.#translateHeld);
  }

  #leave(): void {
    this.#flush();
    this.#hold.reclaim();
    this.#ctx.fragments?.reclaim();
    this.#lookAway();
  }

  #burst(maxFrames: number): number {
    this.#enter();
    const { u8 } = this.#ctx;
    const frames = this.#frames;
    const n = this.#read(this.#fd, u8, 0, BURST_BYTES, HEADROOM, frames, maxFrames);
    if (this.#sampler !== null && n > 0 && this.#sampler.isDue()) this.#takeSamples(n);
    for (let i = 0; i < n; i++) this.#translate(frames[2 * i] as number, frames[2 * i + 1] as number, true);
    count(this.#ctx, BURSTS, 1);
    this.#leave();
    return n;
  }

  #takeSamples(n: number): void {
    const frames = this.#frames;
    for (let i = 0; i < n; i++) this.#sampler?.take(frames[2 * i] as number, frames[2 * i + 1] as number);
  }

  /** @param isNew false for a frame that was held: it has been counted, and has waited its turn */
  #translate(offset: number, length: number, isNew: boolean): void {
    const ctx = this.#ctx;
    if (ctx.listEnd + LIST_PER_FRAME > LIST_WORDS || ctx.scratchEnd + SCRATCH_PER_FRAME > SCRATCH_END)
      this.#flush();
    const isV6 = (ctx.u8[offset] as number) >>> 4 === 6;
    if (isNew) {
      count(ctx, isV6 ? FRAMES_IN_V6 : FRAMES_IN_V4, 1);
      count(ctx, isV6 ? BYTES_IN_V6 : BYTES_IN_V4, length);
      if (ctx.u8[offset - VNET_HEADER + VNET_GSO_TYPE] !== 0) count(ctx, SUPER_FRAMES_IN, 1);
      if (isV6 && this.#hold.hostCount !== 0 && this.#joinsHeld(offset, length)) return;
    }
    if (this.#watcher !== null) {
      this.#translateWatched(this.#watcher, offset, length, isNew, isV6);
      return;
    }
    let verdict = translateFrame(ctx, offset, length);
    if (verdict === HOLD) verdict = this.#holdFrame(offset, length);
    if (verdict > 0) countDrop(ctx, verdict, isV6);
  }

  /** The same with somebody looking on. Apart, so that the JIT never has the lookers in the way of a frame that nobody looks at. */
  #translateWatched(
    watcher: FrameWatcher,
    offset: number,
    length: number,
    isNew: boolean,
    isV6: boolean,
  ): void {
    const ctx = this.#ctx;
    watcher.before(offset, length, isNew);
    let verdict = translateFrame(ctx, offset, length);
    if (verdict === HOLD) verdict = this.#holdFrame(offset, length);
    if (verdict > 0) countDrop(ctx, verdict, isV6);
    watcher.after(verdict);
  }

  /** Puts a frame behind others of its host that still wait, so that none overtakes another. */
  #joinsHeld(offset: number, length: number): boolean {
    if (length < IPV6_HEADER) return false;
    const { dv } = this.#ctx;
    const w0 = dv.getInt32(offset + IPV6_SOURCE);
    const w1 = dv.getInt32(offset + IPV6_SOURCE + 4);
    const w2 = dv.getInt32(offset + IPV6_SOURCE + 8);
    const w3 = dv.getInt32(offset + IPV6_SOURCE + 12);
    if (this.#hold.hostOf(w0, w1, w2, w3) < 0) return false;
    this.#watcher?.before(offset, length, true);
    const isHeld = this.#hold.add([w0, w1, w2, w3], offset, length) !== HELD_NOT;
    if (!isHeld) countDrop(this.#ctx, DROP_HOLD_FULL, true);
    this.#watcher?.after(isHeld ? HOLD : DROP_HOLD_FULL);
    return true;
  }

  /** A frame whose source has no map: held, and control asked; or refused. Returns a verdict. */
  #holdFrame(offset: number, length: number): number {
    const ctx = this.#ctx;
    const { host0, host1, host2, host3 } = ctx;
    if (this.#refusals.has(host0, host1, host2, host3, ctx.nowSec)) {
      // The table may have missed a host of a full /64 while slots moved: see shm/host-table.ts.
      if (ctx.hosts.find(host0, host1, host2, host3, ctx.generation, ctx.nowSec) >= 0) {
        const verdict = translateFrame(ctx, offset, length);
        if (verdict !== HOLD) return verdict;
      }
      refuseSource(ctx, offset, length);
      return DROP_REFUSED;
    }
    const held = this.#hold.add([host0, host1, host2, host3], offset, length);
    if (held === HELD_NOT) return DROP_HOLD_FULL;
    if (held === HELD_NEW_HOST) {
      // A full ring loses the question, not the host: its frames run out of time, and its next one asks again.
      if (this.#questions.push(host0, host1, host2, host3, nowUs())) count(ctx, HOSTS_ASKED, 1);
      if (this.#questions.ring()) this.#send({ type: 'questions' });
    }
    return HOLD;
  }

  #flush(): void {
    const ctx = this.#ctx;
    if (ctx.listFrames !== 0) {
      const refused = this.#refused;
      const joined = ctx.coalesceTcp ? this.#coalescer.run() : 0;
      const list = joined === 0 ? ctx.list : this.#coalescer.list;
      const frames = joined === 0 ? ctx.listFrames : joined;
      this.#write(this.#fd, ctx.u8, list, frames, refused);
      if (refused[0] !== 0) this.#takeOffRefused(list, frames);
      count(ctx, FRAMES_OUT, ctx.listFrames);
      count(ctx, BYTES_OUT, ctx.listBytes);
      ctx.listEnd = 0;
      ctx.listFrames = 0;
      ctx.listBytes = 0;
    }
    ctx.scratchEnd = SCRATCH_START;
  }

  /**
   * Takes frames that the device refused off those that are out: none is tried again. What was joined counts as what it was joined
   * from, headers included.
   */
  #takeOffRefused(list: Int32Array, frames: number): void {
    const ctx = this.#ctx;
    for (let i = 0, at = 0; i < frames; i++) {
      const pieces = list[at] as number;
      const vnetAt = list[at + 1] as number;
      const end = at + 1 + 2 * Math.abs(pieces);
      if (pieces < 0) {
        // A frame of several pieces was joined, or is a fragment with its headers elsewhere.
        const isJoined = pieces < -1 && ctx.u8[vnetAt + VNET_GSO_TYPE] !== 0;
        const refused = isJoined ? -pieces : 1;
        let bytes = -VNET_HEADER;
        for (let length = at + 2; length < end; length += 2) bytes += list[length] as number;
        if (isJoined) bytes += (refused - 1) * (ctx.u8[vnetAt + VNET_HEADER_LENGTH] as number);
        ctx.listFrames -= refused;
        ctx.listBytes -= bytes;
        count(ctx, WRITE_REFUSED, refused);
      }
      at = end;
    }
  }
}

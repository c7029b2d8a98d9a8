/**
 * Frames through a worker's own loop. A case is a list of steps, each a byte and what belongs to it:
 *
 *   FRAME, NEXT   a virtio-net header and a frame; NEXT comes in the same burst as the one before
 *   TICK n        n × n seconds pass
 *   ANSWER n      control answers a question: the host gets its map, or is refused where n is odd
 *   WITHDRAW n    a map ends
 *   RELOAD n      other settings
 *   REFUSE n      the device takes only some frames from now on
 *   FULL n        the pool has no address to give, or has some again
 *
 * Each case is played twice at once, with other bytes around the frames' slots and before the frames. What must hold:
 * no exception; no byte outside of a slot is another one afterwards; what comes out is the same on both stages, and is a
 * frame that the device may have; and after each burst the counters add up.
 */
import assert from 'node:assert/strict';
import { Loop } from '#nat64d/dataplane/loop.js';
import { COUNTER_NAMES, type CounterName, counter, workerCounters } from '#nat64d/shm/counters.js';
import { createFrameRing } from '#nat64d/shm/frame-ring.js';
import { ANSWER_ASSIGNED, ANSWER_REFUSED, createHostRing, HostRing } from '#nat64d/shm/host-ring.js';
import { HostTableWriter } from '#nat64d/shm/host-table.js';
import { createPrefixTable } from '#nat64d/shm/prefix-table.js';
import { CLOCK, GENERATION, POOL_FULL } from '#nat64d/shm/shared-state.js';
import type { TranslatorSettings, WorkerTask } from '#nat64d/shm/worker-task.js';
import type { Address6 } from '#nat64d/wire/address.js';
import { address6, DEFAULT_SETTINGS, prefix4, prefix6 } from '../helpers/harness.js';
import { makeTask } from '../helpers/worker-task.js';
import type { Case, Runner, Target } from './driver.js';
import { FrameStage, type Written } from './frame-stage.js';
import { flood, flow, frame, HOSTS, MAPPED_HOSTS, VNET_BYTES } from './make-frames.js';
import type { Random } from './random.js';

const FRAME = 0;
const NEXT = 1;
const TICK = 2;
const ANSWER = 3;
const WITHDRAW = 4;
const RELOAD = 5;
const REFUSE = 6;
const FULL = 7;

/** Longer than a frame, a fragment or a refusal is remembered. */
const ALL_EXPIRES_SEC = 10;
const FIRST_INDEX = 256;

const SETTINGS: readonly Partial<TranslatorSettings>[] = [
  {},
  { coalesce: 'all', icmpFragments: 'hold' },
  { coalesce: 'tcp', udpZeroChecksum: 'calc', mssClamp: 'auto', ipv6Mtu: 1280, ipv4Mtu: 1260 },
  {
    coalesce: 'all',
    udpZeroChecksum: 'forward',
    copyTrafficClass: false,
    ipv6Mtu: 9000,
    ipv4Mtu: 576,
    lowestIpv6Mtu: 9000,
  },
  {
    icmpFragments: 'hold',
    forwardClassE: true,
    clat: true,
    ipv4Mtu: 68,
    logPackets: ['drop', 'reject', 'icmp', 'self'],
  },
  {
    coalesce: 'all',
    ipv6Mtu: 65535,
    ipv4Mtu: 65535,
    lowestIpv6Mtu: 65535,
    icmpSourcePool4: prefix4('198.51.100.0/24'),
  },
  { pref64: prefix6('64:ff9b::/96'), coalesce: 'all', ipv6Address: address6('2001:db8:ff::1') },
  { pref64: prefix6('64:ff9b::/32'), wkpfStrict: false, udpZeroChecksum: 'calc' },
  { pref64: null, ipv6Address: address6('2001:db8:ff::1'), coalesce: 'all' },
  { coalesce: 'all', icmpErrorsPerSec: 0, icmpErrorBurst: 0 },
];

const MAPS = [
  ['198.51.100.8/32', '2001:db8:9::8/128'],
  ['198.51.100.128/25', '2001:db8:9::80/121'],
].map(([ipv4 = '', ipv6 = '']) => ({ ipv4: prefix4(ipv4), ipv6: prefix6(ipv6) }));

const DROPS = COUNTER_NAMES.flatMap((name, index) => (name.startsWith('drop-') ? [index] : []));
const HELD = ['held', 'held-icmp-fragments'].map((name) => counter(name as CounterName));
const TRANSLATED = ['translated-v6-to-v4', 'translated-v4-to-v6'].map((name) => counter(name as CounterName));

function wordsOf(host: Buffer): Address6 {
  return [host.readInt32BE(0), host.readInt32BE(4), host.readInt32BE(8), host.readInt32BE(12)];
}

/** One loop with all that control would give it. */
class Player {
  readonly stage: FrameStage;
  readonly loop: Loop;
  readonly counters: Float64Array;
  readonly asked: Address6[] = [];
  readonly #task: WorkerTask;
  readonly #state: Int32Array;
  readonly #hosts: HostTableWriter;
  readonly #questions: HostRing;
  readonly #answers: HostRing;
  readonly #isMapped = new Array<boolean>(HOSTS.length).fill(false);

  constructor(canary: number, makeStage: (canary: number) => FrameStage) {
    const base = makeTask({ ...SETTINGS[0] });
    this.#task = {
      ...base,
      ring: createFrameRing(),
      maps4: createPrefixTable(MAPS, 4),
      maps6: createPrefixTable(MAPS, 6),
      questions: createHostRing(64),
      answers: createHostRing(64),
    };
    base.port.close();
    this.stage = makeStage(canary);
    this.loop = new Loop(this.#task, () => {}, this.stage);
    this.counters = workerCounters(this.#task.counters, 0);
    this.#state = new Int32Array(this.#task.state);
    this.#hosts = new HostTableWriter(this.#task.hosts);
    this.#questions = new HostRing(this.#task.questions);
    this.#answers = new HostRing(this.#task.answers);
  }

  begin(): void {
    this.asked.length = 0;
    this.stage.refuseEvery = 0;
    this.setFull(false);
    for (const [i, isMapped] of this.#isMapped.entries()) {
      if (i < MAPPED_HOSTS && !isMapped) this.map(i);
      if (i >= MAPPED_HOSTS && isMapped) this.withdraw(i);
      this.#hosts.table.lastSeen[FIRST_INDEX + i] = this.#state[CLOCK] as number;
    }
  }

  map(host: number): void {
    if (this.#isMapped[host]) return;
    this.#isMapped[host] = true;
    this.#hosts.table.lastSeen[FIRST_INDEX + host] = this.#state[CLOCK] as number;
    const generation = (this.#state[GENERATION] as number) + 1;
    this.#hosts.publish(FIRST_INDEX + host, wordsOf(HOSTS[host] as Buffer), generation);
    this.#state[GENERATION] = generation;
  }

  withdraw(host: number): void {
    if (!this.#isMapped[host]) return;
    this.#isMapped[host] = false;
    this.#hosts.withdraw(FIRST_INDEX + host);
    this.#state[GENERATION]!++;
  }

  pass(seconds: number): void {
    this.#state[CLOCK]! += seconds;
    this.loop.tick();
  }

  setFull(isFull: boolean): void {
    this.#state[POOL_FULL] = isFull ? 1 : 0;
  }

  reload(number: number): void {
    const settings = { ...DEFAULT_SETTINGS, ...SETTINGS[number % SETTINGS.length] };
    this.loop.reload({ ...this.#task, settings });
  }

  /** Takes questions off the ring. */
  listen(): void {
    this.#questions.answerBell();
    this.#questions.drain(64, (host) => {
      this.asked.push(host);
    });
  }

  answer(number: number): void {
    const host = this.asked.shift();
    if (host === undefined) return;
    const known = HOSTS.findIndex((one) => wordsOf(one).join() === host.join());
    const isRefused = (number & 1) === 1 || known < 0;
    if (!isRefused) this.map(known);
    this.#answers.push(...host, isRefused ? ANSWER_REFUSED : ANSWER_ASSIGNED);
    this.loop.serveAnswers();
  }
}

class Frames implements Runner {
  readonly #players: readonly [Player, Player];
  readonly #before: Float64Array;
  /** Frames that wait somewhere inside. Where super-frames were cut, what it is at least, and by how much it may be more. */
  #waiting = 0;
  #slack = 0;
  #settings = 0;

  constructor(makeStage: (canary: number) => FrameStage) {
    this.#players = [new Player(0xa5, makeStage), new Player(0x3c, makeStage)];
    this.#before = new Float64Array(this.#players[0].counters.length);
  }

  run(records: Case): void {
    this.#waiting = 0;
    this.#slack = 0;
    for (const player of this.#players) player.begin();
    for (let i = 0; i < records.length; ) {
      let end = i + 1;
      const op = (records[i] as Buffer)[0] as number;
      if (op === FRAME || op === NEXT) {
        while (end < records.length && (records[end] as Buffer)[0] === NEXT) end++;
        const burst = records.slice(i, end).map((record) => record.subarray(1));
        this.#play(burst.filter(({ length }) => length >= VNET_BYTES));
      } else this.#step(op, (records[i] as Buffer)[1] ?? 0);
      i = end;
    }
    this.#step(TICK, Math.ceil(Math.sqrt(ALL_EXPIRES_SEC)));
    if (this.#settings !== 0) this.#step(RELOAD, 0);
    const least = this.#slack === 0 ? 0 : -this.#slack;
    assert.ok(
      this.#waiting <= 0 && this.#waiting >= least,
      `${this.#waiting} frames are in no counter (${this.#slack} segments made)`,
    );
  }

  close(): void {
    for (const { stage } of this.#players) stage.close();
  }

  count(name: CounterName): number {
    return this.#players[0].counters[counter(name)] as number;
  }

  #step(op: number, argument: number): void {
    this.#note();
    if (op === RELOAD) this.#settings = argument % SETTINGS.length;
    this.#onBoth((player) => {
      if (op === TICK) player.pass(argument * argument);
      else if (op === ANSWER) player.answer(argument);
      else if (op === WITHDRAW) player.withdraw(argument % HOSTS.length);
      else if (op === RELOAD) player.reload(argument);
      else if (op === FULL) player.setFull((argument & 1) === 1);
      else if (op === REFUSE) player.stage.refuseEvery = argument % 5;
    });
    this.#check(0);
  }

  #play(burst: readonly Buffer[]): void {
    this.#note();
    this.#onBoth((player) => {
      player.stage.give(burst);
      while (player.stage.hasFrames) player.loop.serve();
    });
    this.#check(burst.length);
  }

  #onBoth(play: (player: Player) => void): void {
    let first: Written | undefined;
    for (const player of this.#players) {
      player.stage.beginTurn();
      play(player);
      player.listen();
      player.stage.checkCanaries();
      if (first === undefined) first = player.stage.written;
      else player.stage.written.assertSame(first);
    }
    const [one, other] = this.#players;
    assert.deepEqual(one.asked, other.asked, 'both have asked for the same hosts');
    for (let i = 0; i < one.counters.length; i++) {
      if (one.counters[i] !== other.counters[i])
        assert.fail(`counter ${COUNTER_NAMES[i]} depends on what is around the frames`);
    }
  }

  #note(): void {
    this.#before.set(this.#players[0].counters);
  }

  #grown(index: number): number {
    return (this.#players[0].counters[index] as number) - (this.#before[index] as number);
  }

  #sumOf(indexes: readonly number[]): number {
    let sum = 0;
    for (const index of indexes) sum += this.#grown(index);
    return sum;
  }

  #check(given: number): void {
    const grown = (name: CounterName) => this.#grown(counter(name));
    const equal = (what: string, is: number, should: number) => {
      if (is !== should) assert.fail(`${what}: ${is}, and should be ${should}`);
    };
    const { written } = this.#players[0].stage;
    equal('frames in', grown('frames-in-v6') + grown('frames-in-v4'), given);
    equal('frames out', grown('frames-out'), written.taken);
    equal('bytes out', grown('bytes-out'), written.takenBytes);
    equal('frames refused by the device', grown('write-refused'), written.refused);
    equal(
      'frames out by what they were',
      grown('frames-out') + grown('write-refused'),
      this.#sumOf(TRANSLATED) +
        grown('icmp-errors-sent') +
        grown('self-answered') +
        grown('fragments-made') -
        written.fragmented,
    );
    const ended = this.#sumOf(TRANSLATED) + this.#sumOf(DROPS) + grown('self-answered');
    const segments = grown('segments-made');
    this.#waiting += given - ended;
    this.#slack += segments;
    // A super-frame alone: its segments pass, or at least one of them has been dropped and the whole counts once for that.
    if (given === 1 && segments > 0 && this.#sumOf(HELD) === 0) {
      const passed = this.#sumOf(TRANSLATED);
      equal('drops of a super-frame that was cut', this.#sumOf(DROPS), passed < segments ? 1 : 0);
    }
    if (this.#waiting + this.#slack < 0)
      assert.fail(`${-this.#waiting} frames more came to an end than came in`);
  }
}

function make(random: Random): Case {
  const steps: Buffer[] = [];
  if (!random.oneIn(3)) steps.push(Buffer.of(RELOAD, random.below(SETTINGS.length)));
  for (let left = random.between(1, 12); left > 0; left--) {
    const kind = random.below(16);
    if (kind < 8) {
      steps.push(Buffer.concat([Buffer.of(FRAME), frame(random)]));
    } else if (kind < 12) {
      const burst = random.oneIn(1500)
        ? flood(random)
        : random.oneIn(2)
          ? flow(random, random.between(2, 20))
          : Array.from({ length: random.between(2, 12) }, () => frame(random));
      for (const [i, one] of burst.entries())
        steps.push(Buffer.concat([Buffer.of(i === 0 ? FRAME : NEXT), one]));
    } else if (kind === 12) steps.push(Buffer.of(TICK, random.oneIn(12) ? 90 : random.below(4)));
    else if (kind === 13) for (let i = 0; i < 3; i++) steps.push(Buffer.of(ANSWER, random.oneIn(3) ? 1 : 0));
    else if (kind === 14) steps.push(Buffer.of(WITHDRAW, random.below(256)));
    else steps.push(Buffer.of(random.pick([REFUSE, RELOAD, RELOAD, FULL]), random.below(256)));
  }
  return steps;
}

const isFrame = (record: Buffer) => (record[0] === FRAME || record[0] === NEXT) && record.length > VNET_BYTES;

export type FramesRunner = Omit<Frames, 'close'>;

/** @param makeStage what stands for the device */
export function framesTarget(
  makeStage: (canary: number) => FrameStage = (canary) => new FrameStage(canary),
): Omit<Target, 'open'> & { open: () => Frames } {
  return {
    name: 'frames',
    about: 'frames of every kind through a worker’s loop',
    wholeCount: 10_000_000,
    shortCount: 30_000,
    unit: 'frames',
    weigh: (records) => records.filter(isFrame).length,
    make,
    open: () => new Frames(makeStage),
  };
}

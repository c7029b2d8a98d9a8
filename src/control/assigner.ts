/** Answers the workers' questions: who gets which address, in slices, so that DNS is served in between. */
import { ANSWER_ASSIGNED, ANSWER_NETWORK_FULL, ANSWER_REFUSED, nowUs } from '../shm/host-ring.js';
import { POOL_FULL } from '../shm/shared-state.js';
import { type Address6, formatAddress4, formatAddress6 } from '../wire/address.js';
import type { Clock } from './clock.js';
import type { LineLevel } from './config/types.js';
import type { Assignments } from './inspect/assignments.js';
import type { Log } from './log.js';
import type { MapPublisher } from './map-publisher.js';
import { type DynamicPool, REFUSED_LIMIT_PER_64 } from './pool/dynamic-pool.js';
import type { Workers } from './workers.js';

/** Beside the pool's own reasons. */
const REFUSED_NOT_ALLOWED = -3;
/** Questions answered before the event loop gets its turn. */
const SLICE = 256;
/** Lines about assignments and refusals; the rest are only counted. */
const NOTES_PER_SEC = 50;

export interface AssignerSurroundings {
  readonly state: Int32Array;
  readonly clock: Clock;
  readonly log: Log;
  readonly assignments: Assignments;
}

export class Assigner {
  readonly #pool: DynamicPool;
  readonly #publisher: MapPublisher;
  readonly #state: Int32Array;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #assignments: Assignments;
  /** Whether a host may have a map: a worker may still ask by settings that are over. */
  isAllowed: (host: Address6) => boolean = () => true;
  /** How new maps and refusals are logged, so many a second. Null: they are not. */
  mapLevel: LineLevel | null = null;
  #notes = 0;
  /** Those that there was no room for. */
  #left = 0;

  constructor(
    pool: DynamicPool,
    publisher: MapPublisher,
    { state, clock, log, assignments }: AssignerSurroundings,
  ) {
    this.#pool = pool;
    this.#publisher = publisher;
    this.#state = state;
    this.#clock = clock;
    this.#log = log;
    this.#assignments = assignments;
  }

  /** Answers what waits in a worker's ring. */
  answer(workers: Workers, worker: number): void {
    const rings = workers.rings(worker);
    if (rings === undefined) return;
    const { questions, answers } = rings;
    questions.answerBell();
    const reply = (host: Address6, value: number) => {
      // Room is certain: a worker has no more hosts in flight than the ring has records.
      answers.push(host[0], host[1], host[2], host[3], value);
      if (answers.ring()) workers.send(worker, { type: 'answers' });
    };
    const taken = questions.drain(SLICE, (host, askedUs) => {
      const index = this.isAllowed(host)
        ? this.#pool.assign(host, this.#clock.nowSec())
        : REFUSED_NOT_ALLOWED;
      if (index < 0) {
        this.#assignments.refused++;
        this.noteFullness();
        if (this.#hasRoom())
          this.#say(
            { event: 'refused', host: formatAddress6(host) },
            `no address for ${formatAddress6(host)}`,
          );
        reply(host, index === REFUSED_LIMIT_PER_64 ? ANSWER_NETWORK_FULL : ANSWER_REFUSED);
        return;
      }
      this.#assignments.assigned++;
      if (this.#hasRoom()) this.#logMap(host, index);
      this.#publisher.whenPublished(index, () => {
        this.#assignments.times.observe(((nowUs() - askedUs) | 0) / 1e6);
        reply(host, ANSWER_ASSIGNED);
      });
    });
    // By whoever answers then: a reload may bring another pool.
    if (taken === SLICE) setImmediate(() => workers.noteQuestions(worker));
  }

  /**
   * Answers what waits in any ring. For those who keep the thread busy, between two pieces of their work: a look at the rings costs
   * next to nothing, and a question's own message would wait for the end of their turn.
   */
  answerWaiting(workers: Workers): void {
    for (let worker = 0; worker < workers.count; worker++) {
      if (workers.rings(worker)?.questions.isEmpty === false) this.answer(workers, worker);
    }
  }

  /** Whether one more may be logged. */
  #hasRoom(): boolean {
    if (this.mapLevel === null) return false;
    if (this.#notes < NOTES_PER_SEC) {
      this.#notes++;
      return true;
    }
    this.#left++;
    return false;
  }

  /** Once a second: makes room for more lines, and says how many were left out. */
  tick(): void {
    const left = this.#left;
    this.#notes = 0;
    this.#left = 0;
    if (left > 0)
      this.#say(
        { event: 'assignments-left', left },
        `and ${left} more assignments and refusals in this second`,
      );
  }

  #logMap(host: Address6, index: number): void {
    const fields = { host: formatAddress6(host), ipv4: formatAddress4(this.#pool.addressOf(index)) };
    this.#say({ event: 'assigned', ...fields }, `${fields.host} is now ${fields.ipv4}`);
  }

  #say(fields: object, message: string): void {
    this.#log[this.mapLevel ?? 'info'](fields, message);
  }

  /** Tells workers whether the pool can give an address at all, so that they need not ask. */
  noteFullness(): void {
    const isFull = this.#pool.freeCount === 0 && this.#pool.dormantCount === 0;
    Atomics.store(this.#state, POOL_FULL, isFull ? 1 : 0);
  }
}

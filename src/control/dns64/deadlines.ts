/**
 * Time-outs of many questions at once. They are nearly all ended before they are due, so setting and ending one must cost
 * nothing: a wheel of lists, each for one tick, that the deadlines themselves are links of.
 *
 *   slot:   … | t | t+1 | t+2 | …            t = time / TICK_MS, modulo SLOTS
 *             head ⇄ deadline ⇄ deadline ⇄ (head)
 *
 * A timer of Node's runs only while there is something to wait for. Deadlines are due up to two ticks late, never early.
 */

const TICK_MS = 8;
/** A deadline further off than one turn (8 s) waits in the last slot and is set again there. */
const SLOTS = 1024;

/** Something to be done at a time. To be linked into one `Deadlines` at most. */
export abstract class Deadline {
  /** By performance.now(). */
  dueMs = 0;
  /** Neighbours in the slot's list; null: not set. For `Deadlines` only. */
  before: Deadline | null = null;
  after: Deadline | null = null;

  abstract due(nowMs: number): void;
}

class Head extends Deadline {
  override before: Deadline = this;
  override after: Deadline = this;
  due(): void {}
}

function unlink(deadline: Deadline): void {
  (deadline.before as Deadline).after = deadline.after;
  (deadline.after as Deadline).before = deadline.before;
  deadline.before = null;
  deadline.after = null;
}

export class Deadlines {
  readonly #slots = Array.from({ length: SLOTS }, () => new Head());
  #count = 0;
  /** The last tick whose slot was emptied. */
  #tick = 0;
  #timer: NodeJS.Timeout | undefined;
  #sweeping = false;

  /** How many are set. */
  get count(): number {
    return this.#count;
  }

  /** Sets it, or moves it. */
  set(deadline: Deadline, dueMs: number): void {
    this.end(deadline);
    if (this.#timer === undefined && !this.#sweeping) this.#start();
    deadline.dueMs = dueMs;
    const tick = Math.floor(dueMs / TICK_MS);
    const within = Math.min(Math.max(tick, this.#tick + 1), this.#tick + SLOTS - 1);
    const head = this.#slots[within % SLOTS] as Head;
    deadline.before = head.before;
    deadline.after = head;
    head.before.after = deadline;
    head.before = deadline;
    this.#count++;
  }

  /** Ends it; nothing happens if it is not set. */
  end(deadline: Deadline): void {
    if (deadline.before === null) return;
    unlink(deadline);
    this.#count--;
  }

  /** Ends all of them, without their being due. */
  clear(): void {
    for (const head of this.#slots) {
      while (head.after !== head) this.end(head.after);
    }
    this.#stop();
  }

  #start(): void {
    this.#tick = Math.floor(performance.now() / TICK_MS) - 1;
    // What a busy process has not read yet is no silence: sockets are read between the timer and the sweep.
    this.#timer = setInterval(() => setImmediate(() => this.#sweep()), TICK_MS);
  }

  #stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #sweep(): void {
    if (this.#timer === undefined) return;
    const nowMs = performance.now();
    const until = Math.floor(nowMs / TICK_MS) - 1;
    this.#sweeping = true;
    // Behind by more than a turn, each slot is still looked at once.
    for (let tick = Math.max(this.#tick + 1, until - SLOTS + 1); tick <= until; tick++) {
      this.#tick = tick;
      const head = this.#slots[tick % SLOTS] as Head;
      while (head.after !== head) {
        const deadline: Deadline = head.after;
        this.end(deadline);
        if (deadline.dueMs > nowMs) this.set(deadline, deadline.dueMs);
        else deadline.due(nowMs);
      }
    }
    this.#sweeping = false;
    if (this.#count === 0) this.#stop();
  }
}

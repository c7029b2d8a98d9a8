/** What a client can have itself told again and again. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import * as z from 'zod';
import { type Capture, MAX_SNAP_LENGTH, TooManyCapturesError } from '../capture/captures.js';
import { busiestHosts } from '../inspect/busiest.js';
import { statusOf } from '../inspect/status.js';
import type { Dataplane } from '../inspect/subject.js';
import { RequestError } from './protocol.js';
import { checkedArguments, countersOf, filterOf, filterText, type Surroundings } from './requests.js';

/** Addresses of the pool looked at in one go: less than a millisecond. */
const SLICE = 262_144;
/** How often a capture is looked at that has had nothing. */
const CAPTURE_MS = 20;

const subscribeArguments = z.discriminatedUnion('topic', [
  z.strictObject({
    topic: z.enum(['counters', 'status']),
    intervalMs: z.number().int().min(100).max(3_600_000).default(1000),
  }),
  z.strictObject({
    topic: z.literal('capture'),
    host: filterText.nullable().default(null),
    side: z.enum(['v6', 'v4', 'both']).default('both'),
    snapLength: z.number().int().min(1).max(MAX_SNAP_LENGTH).default(MAX_SNAP_LENGTH),
  }),
]);

const TOPICS: Readonly<
  Record<'counters' | 'status', (surroundings: Surroundings) => Promise<unknown> | unknown>
> = {
  counters: ({ subject }) => countersOf(subject),
  status: async ({ subject, rates }) => ({
    status: statusOf(subject, await rates.rates()),
    counters: countersOf(subject),
    dns64: subject.dns64?.stats ?? null,
    activeHosts: await activeHosts(subject.dataplane),
    busiestHosts: busiestHosts(subject),
  }),
};

/** Hosts whose map was used within the last ten seconds. A large pool is walked in slices, so that others are served in between. */
async function activeHosts(dataplane: Dataplane): Promise<number | null> {
  const pool = dataplane.keeper?.pool;
  if (pool === undefined) return null;
  const sinceSec = dataplane.nowSec() - 10;
  let count = 0;
  for (let from = 0; from < pool.size; from += SLICE) {
    if (from > 0) await nextTurn();
    count += pool.countUsedSince(sinceSec, from, from + SLICE);
  }
  return count;
}

/** The way to the client. */
export interface Outlet {
  /** Undefined while the gateway starts or ends. */
  surroundings(): Surroundings | undefined;
  send(event: unknown): void;
  /** It has not read the last event yet. */
  readonly isFull: boolean;
  /** Calls back when it has, unless it goes before, or what is returned is called. */
  onceRead(then: () => void): () => void;
}

export interface Subscription {
  /** Ends it, and tells what there is to tell at the end. */
  finish(): object;
  /** Ends it: nobody listens any more. */
  close(): void;
}

/** Begins to tell, from the next turn of the event loop on. Throws RequestError. */
export function startSubscription(given: unknown, surroundings: Surroundings, outlet: Outlet): Subscription {
  const wanted = checkedArguments(subscribeArguments, given);
  if (wanted.topic !== 'capture') return tellAtIntervals(TOPICS[wanted.topic], wanted.intervalMs, outlet);
  const { host, side, snapLength } = wanted;
  const { dataplane, device } = surroundings.subject;
  const options = { host: host === null ? null : filterOf(host), side, snapLength };
  try {
    return new CaptureSubscription(dataplane.captures.open(device, options), outlet);
  } catch (error) {
    if (error instanceof TooManyCapturesError) throw new RequestError('busy', error.message);
    throw error;
  }
}

function tellAtIntervals(
  topic: (surroundings: Surroundings) => Promise<unknown> | unknown,
  intervalMs: number,
  outlet: Outlet,
): Subscription {
  let isBusy = false;
  let isOver = false;
  const tell = async () => {
    const surroundings = outlet.surroundings();
    // A client that has not read the last event misses this one.
    if (isBusy || surroundings === undefined || outlet.isFull) return;
    isBusy = true;
    try {
      const event = await topic(surroundings);
      if (!isOver) outlet.send(event);
    } finally {
      isBusy = false;
    }
  };
  const timer = setInterval(() => void tell().catch(() => {}), intervalMs);
  // After the reply that tells its number.
  setImmediate(() => void tell().catch(() => {}));
  const close = () => {
    isOver = true;
    clearInterval(timer);
  };
  const finish = () => {
    close();
    return {};
  };
  return { finish, close };
}

/** Reads a capture as fast as its client does, a bounded piece in each turn. Behind one who is slow the rings run full, not the memory. */
class CaptureSubscription implements Subscription {
  readonly #capture: Capture;
  readonly #outlet: Outlet;
  #timer: NodeJS.Timeout | undefined;
  #stopWaiting = () => {};
  #isOver = false;

  constructor(capture: Capture, outlet: Outlet) {
    this.#capture = capture;
    this.#outlet = outlet;
    setImmediate(this.#tell);
  }

  finish(): object {
    this.#stop();
    return this.#capture.end();
  }

  close(): void {
    this.#stop();
    this.#capture.close();
  }

  /** Nothing is to hold on to the rings, least of all a client that never reads. */
  #stop(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#stopWaiting();
  }

  readonly #tell = (): void => {
    if (this.#isOver) return;
    if (this.#outlet.isFull) {
      this.#stopWaiting = this.#outlet.onceRead(this.#tell);
      return;
    }
    const chunk = this.#capture.read();
    if (chunk === null) {
      this.#timer = setTimeout(this.#tell, CAPTURE_MS);
      return;
    }
    this.#outlet.send(chunk);
    setImmediate(this.#tell);
  };
}

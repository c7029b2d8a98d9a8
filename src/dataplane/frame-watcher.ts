/** Who looks on while frames are translated. Where nobody does there is no watcher, and the loop has nothing to call. */

export interface FrameWatcher {
  /** @param isNew false for a frame that was held: it has been seen already */
  before(offset: number, length: number, isNew: boolean): void;
  /** @param verdict what became of the frame that `before` saw: a drop counter, FORWARD, or HOLD */
  after(verdict: number): void;
}

class Watchers implements FrameWatcher {
  constructor(private readonly all: readonly FrameWatcher[]) {}

  before(offset: number, length: number, isNew: boolean): void {
    for (const one of this.all) one.before(offset, length, isNew);
  }

  after(verdict: number): void {
    for (const one of this.all) one.after(verdict);
  }
}

/** One for all of these; null where there are none. */
export function joinWatchers(all: readonly (FrameWatcher | null)[]): FrameWatcher | null {
  const some = all.filter((one) => one !== null);
  return some.length > 1 ? new Watchers(some) : (some[0] ?? null);
}

/** Several changes as one: what can fail is done first, and taken back where anything does; the rest follows once all is certain. */
import type { Log } from './log.js';

type Act = () => Promise<void> | void;

interface Step {
  /** May fail, and may then have done a part of it. */
  readonly apply: Act;
  readonly undo: Act;
  readonly commit?: Act;
}

export class Steps {
  readonly #undo: Act[] = [];
  readonly #commit: Act[] = [];
  readonly #failures: string[] = [];

  async do({ apply, undo, commit }: Step): Promise<void> {
    this.#undo.push(undo);
    if (commit !== undefined) this.#commit.push(commit);
    await apply();
  }

  /** The same for something that leaves nothing behind where it fails. */
  async prepare<T extends { undo: Act }>(make: () => Promise<T>): Promise<T> {
    const made = await make();
    this.#undo.push(() => made.undo());
    return made;
  }

  /** Does what others do not depend on; where it fails, `check` says so, after the others. */
  async attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#failures.push(error instanceof Error ? error.message : String(error));
    }
  }

  /** Throws where an attempt has failed: what all of them said. */
  check(): void {
    if (this.#failures.length > 0) throw new Error(this.#failures.join('\n'));
  }

  atUndo(act: Act): void {
    this.#undo.push(act);
  }

  atCommit(act: Act): void {
    this.#commit.push(act);
  }

  /** Takes back what has been done, the last first. What fails is logged. */
  async undo(log: Log): Promise<void> {
    await runAll(this.#undo.reverse(), log, 'while a reload was taken back');
  }

  /** Completes what has been begun, the last first: what was set up last may rest on what was set up first. What fails is logged. */
  async commit(log: Log): Promise<void> {
    await runAll(this.#commit.reverse(), log, 'at the end of a reload');
  }
}

async function runAll(acts: readonly Act[], log: Log, when: string): Promise<void> {
  for (const act of acts) {
    try {
      await act();
    } catch (error) {
      log.error({ event: 'reload-step-failed', err: error }, `${when}: ${String(error)}`);
    }
  }
}

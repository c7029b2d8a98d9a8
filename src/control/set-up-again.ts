/** The device's set-up after the kernel has forgotten it: tried until it succeeds. */
import type { Clock } from './clock.js';

const RETRY_SEC = 10;

export class SetUpAgain {
  #failure: { readonly message: string; readonly sec: number } | null = null;
  #begunSec = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly device: string,
    private readonly clock: Clock,
    /** Rejects where the kernel does not take it. */
    private readonly setUp: () => Promise<void>,
  ) {}

  /** Why the device is not set up as it should be; null where it is. */
  get problem(): string | null {
    if (this.#failure === null) return null;
    return `${this.device} is not set up (${this.#failure.message}); it is tried again every ${RETRY_SEC} seconds`;
  }

  /** Whether it has failed, and it is time for another try: that one is under way then. */
  takeTurn(): boolean {
    const sec = this.clock.nowSec();
    if (this.#failure === null || sec - this.#failure.sec < RETRY_SEC) return false;
    this.#failure = { ...this.#failure, sec };
    return true;
  }

  /** Whether it is no trouble known already that something is missing. Who takes it away again and again is followed every ten seconds. */
  get isDue(): boolean {
    return this.#failure === null && this.clock.nowSec() - this.#begunSec >= RETRY_SEC;
  }

  /** Rejects where it fails for another reason than the time before. */
  async run(): Promise<void> {
    const before = this.#failure?.message;
    this.#begunSec = this.clock.nowSec();
    try {
      await this.setUp();
      this.#failure = null;
    } catch (error) {
      this.fail(error);
      if (this.#failure?.message !== before) throw error;
    }
  }

  /** Somebody else has found that something of it is missing. */
  fail(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    this.#failure = { message, sec: this.clock.nowSec() };
  }
}

/** A control socket that somebody has removed, or the whole run-dir with it, is made anew. */
import type { Log } from '../log.js';
import type { ControlSocket } from './server.js';

export interface SocketKeeperOptions {
  readonly log: Log;
  /** What listens, or did; undefined where none is wanted. */
  readonly current: () => ControlSocket | undefined;
  readonly open: () => Promise<ControlSocket>;
  readonly use: (opened: ControlSocket) => void;
  /** Runs a change after those under way. One that will never run ends with the process. */
  readonly inBackground: (change: () => Promise<void>) => void;
}

/** Looks whether the control socket is there, and makes it anew; who is connected to the one that was removed is let go. */
export class SocketKeeper {
  readonly #options: SocketKeeperOptions;
  #isMending = false;
  /** Why it could not be made anew, as it was logged last. */
  #told = '';

  constructor(options: SocketKeeperOptions) {
    this.#options = options;
  }

  /** To be called now and then; never throws. */
  look(): void {
    if (this.#isMending || this.#options.current()?.isThere !== false) return;
    this.#isMending = true;
    this.#options.inBackground(async () => {
      // A reload may have opened another one by now.
      const current = this.#options.current();
      if (current?.isThere === false) await this.#mend(current);
      this.#isMending = false;
    });
  }

  async #mend(gone: ControlSocket): Promise<void> {
    const { log, open, use } = this.#options;
    const { path } = gone;
    try {
      use(await open());
      gone.retire();
      this.#told = '';
      log.warn(
        { event: 'control-socket-again', path },
        `${path} was removed from under this gateway, and is there again`,
      );
    } catch (error) {
      const { message } = error as Error;
      if (message === this.#told) return;
      this.#told = message;
      log.error(
        { event: 'control-socket-gone', path },
        `${path} was removed, so nat64ctl cannot reach this gateway; tried again every second: ${message}`,
      );
    }
  }
}

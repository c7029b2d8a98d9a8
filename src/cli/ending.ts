/** How the commands end. Apart from what they do, so that one that does little has little to load. */
import type { Log } from '../control/log.js';

export const EXIT_FAILURE = 1;
export const EXIT_USAGE = 2;

/** Resolves when a signal says to stop. Asked for before the start, so that a Ctrl-C in the middle of it takes down what is up. */
export function untilSignal(log: Log): Promise<void> {
  let isStopping = false;
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGQUIT'] as const) {
      process.on(signal, () => {
        // A Ctrl-C under npm comes twice: from the terminal, and from npm.
        if (!isStopping) log.info({ event: 'stopping', signal }, `${signal}: stopping`);
        isStopping = true;
        resolve();
      });
    }
  });
}

/**
 * What the two stages of `tayga` and `totd` say to each other, where the second one is a process of its own:
 *
 *   launcher ──starts──► daemon
 *      ◄──one word by a pipe: 'serving', or why it does not──
 */
import { spawn } from 'node:child_process';
import { closeSync, writeSync } from 'node:fs';
import { EXIT_FAILURE } from './ending.js';

/** The daemon's end of the pipe. */
const WORD_FD = 3;
const SERVING = 'serving';
/** The stage of a daemon that a launcher waits for. */
export const DETACHED = 'detached';

/**
 * Starts a daemon, and waits for its word. Resolves with the launcher's exit code; why the daemon does not serve is printed.
 * @param args Node's command line
 * @param folder where it works; left out: here
 */
export async function launchDaemon(
  name: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  folder?: string,
): Promise<number> {
  const child = spawn(process.execPath, args, {
    ...(folder === undefined ? {} : { cwd: folder }),
    detached: true,
    env,
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  });
  // The pipe alone keeps us waiting.
  child.unref();
  let word = '';
  for await (const data of child.stdio[WORD_FD] as AsyncIterable<Buffer>) {
    word += data.toString();
    if (word.startsWith(SERVING)) return 0;
  }
  console.error(word.trim() || `${name}: the daemon ended before it served`);
  return EXIT_FAILURE;
}

/** The daemon's way to its launcher, where it has one. Only the first word counts. */
export class LauncherPipe {
  #isOver: boolean;

  constructor(stage: string) {
    this.#isOver = stage !== DETACHED;
  }

  tellServing(): void {
    this.#tell(SERVING);
  }

  /** @param message why the daemon does not serve */
  tellFailure(message: string): void {
    this.#tell(message);
  }

  #tell(word: string): void {
    // Once: the descriptor is another's afterwards.
    if (this.#isOver) return;
    this.#isOver = true;
    try {
      writeSync(WORD_FD, word);
    } catch {
      // A launcher that was killed meanwhile is no reason not to serve.
    }
    closeSync(WORD_FD);
  }
}

#!/usr/bin/env node
/**
 * `totd`: DNS64 alone, with the options, the configuration file and the manners of totd. Every failure exits 1.
 *
 *   launcher ──limits what the next program may──► daemon, in the same process (-d) or detached; the launcher then waits for
 *   the daemon's word that it serves, and exits.
 */
import { fileURLToPath } from 'node:url';
import native from '#native';
import { findIdentity } from '../control/identity.js';
import { limitNextProgram } from '../control/privileges.js';
import { EXIT_FAILURE } from './ending.js';
import { UsageError } from './getopt.js';
import { DETACHED, launchDaemon } from './launcher.js';
import { HELP, type Options, readOptions } from './totd-options.js';

/** What tells the second stage that it is one. */
const STAGE = 'NAT64D_TOTD_STAGE';

/** First stage: starts the daemon with as few privileges as it can do with. */
async function launch(options: Options, words: readonly string[]): Promise<number> {
  const identity = findIdentity(options.user, options.group);
  if (options.chroot !== undefined && (identity === null || identity.uid === 0)) {
    console.error('totd: -t without -u keeps little in: root can leave a chroot');
  }
  if (native.absence) {
    console.error(
      'totd: without the native addon it is slower, limits its privileges by -u alone, and has neither syslog nor notice to systemd',
    );
    // What is left needs no second stage in the foreground.
    if (options.isForeground) return serve(options, 'foreground');
  } else
    limitNextProgram({ identity: identity !== null, chroot: options.chroot !== undefined, device: false });
  const args = [...process.execArgv, fileURLToPath(import.meta.url), ...words];
  if (options.isForeground) {
    const env = Object.entries({ ...process.env, [STAGE]: 'foreground' }).map(
      ([name, value]) => `${name}=${value}`,
    );
    native.exec(process.execPath, [process.execPath, ...args], env);
  }
  return launchDaemon('totd', args, { ...process.env, [STAGE]: DETACHED });
}

async function serve(options: Options, stage: string): Promise<number> {
  // Not before: most of the time that a command takes to start is that of its modules.
  const { run } = await import('./totd-daemon.js');
  return run(options, stage);
}

async function main(): Promise<number> {
  try {
    const words = process.argv.slice(2);
    const options = readOptions(words);
    if (options.isHelp) {
      process.stdout.write(HELP);
      return 0;
    }
    const stage = process.env[STAGE];
    if (stage === undefined) return await launch(options, words);
    delete process.env[STAGE];
    return await serve(options, stage);
  } catch (error) {
    console.error(`totd: ${error instanceof Error ? error.message : error}`);
    if (error instanceof UsageError) console.error('try: totd -h');
    return EXIT_FAILURE;
  }
}

process.exitCode = await main();

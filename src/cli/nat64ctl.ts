#!/usr/bin/env node
/** `nat64ctl`: looks into a running gateway, and at its configuration. Exit codes: 0 fine, 1 failure, 2 usage. */
import { CommanderError } from 'commander';
import { buildProgram } from './ctl/program.js';
import { CommandError } from './ctl/session.js';
import { EXIT_FAILURE, EXIT_USAGE } from './ending.js';

// `nat64ctl maps | head`: nobody reads on, and that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : EXIT_FAILURE);
});

const io = {
  out: (text: string) => void process.stdout.write(text),
  err: (text: string) => void process.stderr.write(text),
};

try {
  await buildProgram(io).parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE;
  } else {
    const text = error instanceof CommandError ? error.message : ((error as Error).stack ?? String(error));
    io.err(`nat64ctl: ${text}\n`);
    process.exitCode = EXIT_FAILURE;
  }
}

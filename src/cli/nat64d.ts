#!/usr/bin/env node
/** `nat64d`: the gateway in the foreground. Exit codes: 0 fine, 1 failure, 2 usage. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { ConfigError, loadConfig } from '../control/config/index.js';
import type { GatewayConfig } from '../control/config/types.js';
import { Gateway } from '../control/gateway.js';
import { createLog, type Log } from '../control/log.js';

interface CliOptions {
  config: string;
  check: boolean;
  testClockRate: number;
}

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;

function version(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('a number above 0 is needed.');
  return value;
}

function parseArguments(): CliOptions {
  const program = new Command('nat64d')
    .description('NAT64/DNS64 gateway: IPv6-only hosts reach the IPv4 internet through it.')
    .option('-c, --config <file>', 'configuration file', '/etc/nat64d/nat64d.toml')
    .option('--check', 'check the configuration, print every error with its place, and exit', false)
    .addOption(
      new Option('--test-clock-rate <n>', 'seconds per second').argParser(positive).default(1).hideHelp(),
    )
    .version(`nat64d ${version()}`, '-V, --version')
    .allowExcessArguments(false)
    .exitOverride();
  try {
    return program.parse().opts<CliOptions>();
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    process.exit(error.exitCode === 0 ? 0 : EXIT_USAGE);
  }
}

function load(file: string): GatewayConfig {
  try {
    return loadConfig(file);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    console.error(error.message);
    process.exit(EXIT_FAILURE);
  }
}

/** Resolves when a signal says to stop. Asked for before the start, so that a Ctrl-C in the middle of it takes down what is up. */
function untilSignal(log: Log): Promise<void> {
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
    // Until there is a reload, a hang-up must not end the gateway with its things still up.
    process.on('SIGHUP', () => log.warn({ event: 'reload-ignored' }, 'SIGHUP: restart to apply a change'));
  });
}

/** Runs the gateway until it is told to stop or cannot go on. Returns the exit code. */
async function run(config: GatewayConfig, log: Log, clockRate: number): Promise<number> {
  const signal = untilSignal(log);
  const gateway = await Gateway.start(config, { log, clockRate });
  if (process.env.NAT64D_TEST_HOOKS === '1') {
    process.on('SIGUSR2', () => gateway.killWorker(0, 'throw'));
    process.on('SIGALRM', () => gateway.killWorker(0, 'exit'));
  }
  const lost = await Promise.race([signal, gateway.lost]);
  if (lost !== undefined) log.error({ event: 'device-lost' }, `${lost}. Stopping.`);
  await gateway.stop();
  return lost === undefined ? 0 : EXIT_FAILURE;
}

const options = parseArguments();
const config = load(options.config);
if (options.check) {
  console.log(`${options.config}: fine`);
} else {
  const log = createLog(config.log);
  try {
    process.exitCode = await run(config, log, options.testClockRate);
  } catch (error) {
    log.error({ event: 'failed', err: error }, error instanceof Error ? error.message : String(error));
    process.exitCode = EXIT_FAILURE;
  }
}

#!/usr/bin/env node
/** `nat64d`: the gateway in the foreground. Exit codes: 0 fine, 1 failure, 2 usage. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { ConfigError, loadConfig } from '../control/config/index.js';
import type { GatewayConfig } from '../control/config/types.js';
import { createLog } from '../control/log.js';
import { EXIT_FAILURE, EXIT_USAGE, serve } from './serve.js';

interface CliOptions {
  config: string;
  check: boolean;
  testClockRate: number;
}

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

const options = parseArguments();
const config = load(options.config);
if (options.check) {
  console.log(`${options.config}: fine`);
} else {
  const log = createLog(config.log);
  try {
    process.exitCode = await serve({
      config,
      log,
      load: () => loadConfig(options.config),
      clockRate: options.testClockRate,
    });
  } catch (error) {
    log.error({ event: 'failed', err: error }, error instanceof Error ? error.message : String(error));
    process.exitCode = EXIT_FAILURE;
  }
}

#!/usr/bin/env node
/** `nat64d`: the gateway in the foreground. Exit codes: 0 fine, 1 failure, 2 usage. */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { ConfigError, loadConfig, parseConfig } from '../control/config/index.js';
import { loadTayga } from '../control/config/tayga.js';
import { formatToml } from '../control/config/to-toml.js';
import { loadTotd, withTotd } from '../control/config/totd.js';
import type { GatewayConfig } from '../control/config/types.js';
import { createLog, type Log, type OpenedLog } from '../control/log.js';
import { enterUser } from '../control/privileges.js';
import { VERSION } from '../control/version.js';
import { EXIT_FAILURE, EXIT_USAGE } from './ending.js';
import { nat64dPage } from './manual/pages.js';
import { serve } from './serve.js';

interface RunOptions {
  config: string;
  tayga?: string;
  totd?: string;
  check: boolean;
  syslog: boolean;
  testClockRate: number;
}

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('a number above 0 is needed.');
  return value;
}

/** The configuration that the options name. Throws ConfigError. */
function load({ config, tayga, totd }: Partial<RunOptions>): GatewayConfig {
  const base =
    tayga === undefined
      ? config === undefined
        ? parseConfig('', totd ?? '')
        : loadConfig(config)
      : loadTayga(tayga, { stateDirectory: process.env.STATE_DIRECTORY });
  return totd === undefined ? base : withTotd(base, loadTotd(totd));
}

/** Runs what needs a configuration; what is wrong with it is printed, and is a failure. */
async function withConfig(run: () => Promise<number> | number): Promise<void> {
  try {
    process.exitCode = await run();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    console.error(error.message);
    process.exitCode = EXIT_FAILURE;
  }
}

async function runGateway(options: RunOptions): Promise<number> {
  const config = load(options);
  if (options.check) {
    for (const warning of config.warnings) console.error(warning);
    console.log(`${config.file}: fine`);
    return 0;
  }
  const destination = options.syslog ? 'syslog' : config.log.destination;
  try {
    enterUser(config);
  } catch (error) {
    // Not in a file that would be root's.
    return failed(
      createLog({ ...config.log, destination: destination.startsWith('file:') ? 'stdout' : destination }),
      error,
    );
  }
  let log: OpenedLog;
  try {
    log = createLog({ ...config.log, destination });
  } catch (error) {
    console.error(`nat64d: ${(error as Error).message}`);
    return EXIT_FAILURE;
  }
  try {
    return await serve({ config, log, load: () => load(options), clockRate: options.testClockRate });
  } catch (error) {
    return failed(log, error);
  }
}

function failed(log: Log, error: unknown): number {
  log.error({ event: 'failed', err: error }, error instanceof Error ? error.message : String(error));
  return EXIT_FAILURE;
}

const program = new Command('nat64d')
  .description('NAT64/DNS64 gateway: IPv6-only hosts reach the IPv4 internet through it.')
  .option('-c, --config <file>', 'configuration file', '/etc/nat64d/nat64d.toml')
  .option('--tayga <file>', "run with TAYGA's configuration file instead")
  .option('--totd <file>', "with DNS64 as totd's configuration file says")
  .option('--check', 'check the configuration, print every error with its place, and exit', false)
  .option('--syslog', 'log to syslog instead of standard output', false)
  .addOption(
    new Option('--test-clock-rate <n>', 'seconds per second').argParser(positive).default(1).hideHelp(),
  )
  .version(`nat64d ${VERSION}`, '-V, --version')
  .allowExcessArguments(false)
  // An option behind `import` is import's.
  .enablePositionalOptions()
  .exitOverride()
  .action((options: RunOptions) => withConfig(() => runGateway(options)));

program
  .command('import')
  .description("print the TOML that says what TAYGA's and totd's configuration files say")
  .option('--tayga <file>', "TAYGA's configuration file")
  .option('--totd <file>', "totd's configuration file")
  .allowExcessArguments(false)
  .exitOverride()
  .action((files: { tayga?: string; totd?: string }, command: Command) =>
    withConfig(() => {
      if (files.tayga === undefined && files.totd === undefined)
        command.error("error: required option '--tayga <file>' or '--totd <file>' not specified");
      const config = load(files);
      for (const warning of config.warnings) console.error(warning);
      process.stdout.write(formatToml(config));
      return 0;
    }),
  );

program
  .command('man', { hidden: true })
  .description('print the manual page, as roff')
  .action(() => void process.stdout.write(nat64dPage(program)));

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE;
}

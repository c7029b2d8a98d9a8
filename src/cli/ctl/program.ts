/** The commands of nat64ctl and their options: what --help, the man page and the completions are made from. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Argument, Command, InvalidArgumentError, Option } from 'commander';
import { MAX_SNAP_LENGTH } from '../../control/capture/captures.js';
import { ConfigError, loadConfig } from '../../control/config/index.js';
import type { ControlClient } from '../../control/control-socket/client.js';
import type { Difference } from '../../control/inspect/difference.js';
import type { MapPage, MapView } from '../../control/inspect/maps.js';
import type { Status } from '../../control/inspect/status.js';
import type { WorkerView } from '../../control/inspect/subject.js';
import type { Trace } from '../../control/inspect/trace.js';
import { VERSION } from '../../control/version.js';
import { type CaptureOptions, runCapture } from './capture.js';
import { bashCompletion, zshCompletion } from './completion.js';
import { formatAnything } from './format.js';
import { manPage } from './man.js';
import { CommandError, DEFAULT_SOCKET, type GlobalOptions, type Io, withGateway } from './session.js';
import {
  SORTS,
  type Sort,
  showCounterRates,
  showCounters,
  showDifference,
  showMaps,
  showStatus,
  showTraces,
  showWorkers,
  sortMaps,
} from './show.js';
import { runTop } from './top.js';

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'];
type Counters = Record<string, number>;

function positive(text: string): number {
  const value = Number(text);
  if (!(value >= 0.1 && value <= 3600))
    throw new InvalidArgumentError('a number of seconds from 0.1 to 3600 is needed.');
  return value;
}

function whole(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError('a whole number is needed.');
  return value;
}

function snapLength(text: string): number {
  const value = whole(text);
  if (value < 1 || value > MAX_SNAP_LENGTH)
    throw new InvalidArgumentError(`a number of bytes from 1 to ${MAX_SNAP_LENGTH} is needed.`);
  return value;
}

export function buildProgram(io: Io): Command {
  const program = new Command('nat64ctl')
    .description('Looks into a running nat64d, and has it do a few things.')
    .option(
      '-s, --socket <file>',
      'the control socket of the gateway',
      process.env.NAT64D_SOCKET ?? DEFAULT_SOCKET,
    )
    .option('--json', 'print JSON, for programs', false)
    .version(`nat64ctl ${VERSION}`, '-V, --version')
    .helpCommand(false)
    .configureOutput({ writeOut: io.out, writeErr: io.err })
    .exitOverride();
  const command = (parent: Command, name: string, description: string) =>
    parent
      .command(name)
      .description(description)
      .helpCommand(false)
      .allowExcessArguments(false)
      .configureOutput({ writeOut: io.out, writeErr: io.err })
      .exitOverride();

  const globals = () => program.opts<GlobalOptions>();
  /** Asks, and prints the answer. */
  const ask = (request: (client: ControlClient) => Promise<unknown>, show: (result: never) => string) => {
    const { socket, json } = globals();
    return withGateway(socket, async (client) => {
      const result = await request(client);
      io.out(json ? `${JSON.stringify(result, null, 2)}\n` : show(result as never));
    });
  };

  command(program, 'status', 'the gateway at a glance').action(() =>
    ask(
      (client) => client.request('status'),
      (status: Status) => showStatus(status),
    ),
  );

  command(program, 'maps', 'the maps of IPv6 hosts to IPv4 addresses')
    .option('--host <address>', 'only those of this address or network, of either family')
    .addOption(new Option('--sort <key>', 'in the order of this').choices(SORTS).default('ipv4'))
    .action(({ host = null, sort }: { host?: string | null; sort: Sort }) =>
      ask(
        async (client) => sortMaps(await allMaps(client, host), sort),
        (maps: MapView[]) => showMaps(maps),
      ),
    );

  const map = command(program, 'map', 'one map');
  const address = 'an IPv4 or IPv6 address that has the map';
  command(map, 'show', 'show the maps of an address')
    .argument('<address>', address)
    .action((given: string) =>
      ask(
        (client) => client.request('map-show', { address: given }),
        (maps: MapView[]) => showMaps(maps),
      ),
    );
  command(map, 'drop', "end a dynamic map; its host's next packet gets it an address anew")
    .argument('<address>', address)
    .action((given: string) =>
      ask(
        (client) => client.request('map-drop', { address: given }),
        ({ ipv4, ipv6 }: MapView) => `${ipv6} has ${ipv4} no more\n`,
      ),
    );
  command(map, 'pin', 'keep a dynamic map from running out, until the gateway ends')
    .argument('<address>', address)
    .option('--off', 'let it run out again', false)
    .action((given: string, { off }: { off: boolean }) =>
      ask(
        (client) => client.request('map-pin', { address: given, isPinned: !off }),
        ({ ipv4, ipv6 }: MapView) =>
          off
            ? `${ipv6} has ${ipv4} for as long as it is in use\n`
            : `${ipv6} keeps ${ipv4} until the gateway ends. For good, put this into its configuration:\n\n[[map]]\nipv4 = "${ipv4}"\nipv6 = "${ipv6}"\n`,
      ),
    );

  command(program, 'workers', 'the worker threads, and what each has done').action(() =>
    ask(
      (client) => client.request('workers'),
      (workers: WorkerView[]) => showWorkers(workers),
    ),
  );

  command(program, 'counters', 'all that is counted')
    .option('-a, --all', 'those that are 0 too', false)
    .option('-w, --watch [seconds]', 'again and again, what has been counted since the last time', positive)
    .option('-n, --count <n>', 'with --watch: how many times; 0 is without end', whole, 0)
    .action(({ all, watch, count }: { all: boolean; watch?: number | true; count: number }) => {
      if (watch === undefined) {
        return ask(
          (client) => client.request('counters'),
          (counters: Counters) => showCounters(counters, all),
        );
      }
      const { socket, json } = globals();
      return withGateway(socket, (client) =>
        watchCounters(client, io, { sec: watch === true ? 1 : watch, count, json }),
      );
    });

  const dns = command(program, 'dns', 'DNS64');
  command(dns, 'stats', 'what DNS64 has counted').action(() =>
    ask(
      (client) => client.request('dns-stats'),
      (stats: unknown) => formatAnything(stats),
    ),
  );
  command(dns, 'cache', 'how full its cache is, and what is in it')
    .option('-n, --limit <n>', 'how many entries to show, at most 1000', whole, 100)
    .action(({ limit }: { limit: number }) =>
      ask(
        (client) => client.request('dns-cache', { limit }),
        (cache: { stats: unknown; entries: unknown[] }) =>
          formatAnything(cache.stats) + (limit === 0 ? '' : `\n${formatAnything(cache.entries)}`),
      ),
    );
  command(dns, 'flush', 'forget what is cached of a name, or all of it')
    .argument('[name]', 'the name')
    .action((name: string | undefined) =>
      ask(
        (client) => client.request('dns-flush', { name: name ?? null }),
        ({ flushed }: { flushed: number }) => `${flushed} ${flushed === 1 ? 'entry' : 'entries'} forgotten\n`,
      ),
    );
  const prefix = command(dns, 'prefix', 'the prefixes that answers are made under');
  const askPrefixes = (change: 'add' | 'drop' | null, text = '') =>
    ask(
      (client) => client.request('dns-prefixes', { change, prefix: text }),
      ({ prefixes }: { prefixes: string[] }) =>
        `${prefixes.join('\n')}\n${change === null ? '' : '(until a reload or a restart: what is to stay belongs into the configuration)\n'}`,
    );
  command(prefix, 'list', 'show them').action(() => askPrefixes(null));
  for (const [change, what] of [
    ['add', 'make answers under one more'],
    ['drop', 'make no more answers under one'],
  ] as const) {
    command(prefix, change, `${what}, until a reload or a restart`)
      .argument('<prefix>', 'the prefix of a NAT64')
      .action((text: string) => askPrefixes(change, text));
  }
  command(dns, 'explain', 'how a question is answered, and why')
    .argument('<name>', 'the name')
    .argument('[type]', 'the type of record', 'AAAA')
    .action((name: string, type: string) =>
      ask(
        (client) => client.request('dns-explain', { name, type }),
        (explanation: unknown) => formatAnything(explanation),
      ),
    );

  command(program, 'reload', 'bring the configuration file into force; print what changes')
    .option('-n, --dry-run', 'only print what would change, and what that would interrupt', false)
    .action(({ dryRun }: { dryRun: boolean }) =>
      ask(
        (client) => client.request('reload', { isDryRun: dryRun }),
        (difference: Difference) => showDifference(difference, dryRun),
      ),
    );

  command(program, 'check', 'check a configuration file; no gateway is needed')
    .argument('<file>', 'the file')
    .action((file: string) => check(file, globals().json, io));

  const log = command(program, 'log', 'the log of the gateway');
  command(log, 'level', 'set the least level that is logged, until the next reload')
    .addArgument(new Argument('<level>', 'the level').choices(LEVELS))
    .action((level: string) =>
      ask(
        (client) => client.request('log-level', { level }),
        ({ before }: { before: string }) => `log level is ${level} now; it was ${before}\n`,
      ),
    );

  command(program, 'trace', 'what would become of a packet to or from an address, or from one to another')
    .argument('<address>', 'an IPv4 or IPv6 address; with a second one, the source')
    .argument('[destination]', 'an address of the same family')
    .action((first: string, second: string | undefined) =>
      ask(
        (client) => client.request('trace', { addresses: second === undefined ? [first] : [first, second] }),
        (traces: (Trace & { what: string })[]) => showTraces(traces),
      ),
    );

  command(program, 'capture', 'copy frames on both sides of the translator into a pcapng file, for Wireshark')
    .option('-w, --write <file>', "the file; '-' is standard output; without it, a line for each frame")
    .option('--host <address>', 'only frames of this host or network, of either family')
    .addOption(new Option('--side <side>', 'only this side').choices(['v6', 'v4', 'both']).default('both'))
    .option('-n, --count <n>', 'end after so many frames; 0 is without end', whole, 0)
    .option('--snaplen <bytes>', 'keep so many bytes of each frame', snapLength, MAX_SNAP_LENGTH)
    .action((options: Omit<CaptureOptions, 'json'>) => {
      const { socket, json } = globals();
      return withGateway(socket, (client) => runCapture(client, io, { ...options, json }));
    });

  command(program, 'top', 'the gateway live: throughput, drops, maps, DNS; q ends it')
    .option('-d, --delay <seconds>', 'how often it is drawn', positive, 1)
    .option('-b, --batch', 'print one screen after another, without a terminal', false)
    .option('-n, --count <n>', 'how many times; 0 is without end', whole, 0)
    .action(({ delay, batch, count }: { delay: number; batch: boolean; count: number }) =>
      withGateway(globals().socket, (client) => runTop(client, { delaySec: delay, isBatch: batch, count })),
    );

  command(program, 'completion', 'print what makes a shell complete these commands')
    .addArgument(new Argument('<shell>', 'the shell').choices(['bash', 'zsh']))
    .action((shell: string) => io.out(shell === 'bash' ? bashCompletion(program) : zshCompletion(program)));

  command(program, 'man', 'print the manual page, as roff').action(() => io.out(manPage(program)));
  return program;
}

async function allMaps(client: ControlClient, host: string | null): Promise<MapView[]> {
  const maps: MapView[] = [];
  for (let from: string | null = null; ; ) {
    const page = (await client.request('maps', { host, from })) as MapPage;
    maps.push(...page.maps);
    if (page.next === null) return maps;
    from = page.next;
  }
}

interface WatchOptions {
  readonly sec: number;
  readonly count: number;
  readonly json: boolean;
}

async function watchCounters(
  client: ControlClient,
  io: Io,
  { sec, count, json }: WatchOptions,
): Promise<void> {
  let before = (await client.request('counters')) as Counters;
  for (let i = 0; count === 0 || i < count; i++) {
    await Promise.race([
      sleep(sec * 1000),
      client.closed.then((error) => Promise.reject(new CommandError(error.message))),
    ]);
    const after = (await client.request('counters')) as Counters;
    io.out(
      json ? `${JSON.stringify(after)}\n` : `${i === 0 ? '' : '\n'}${showCounterRates(before, after, sec)}`,
    );
    before = after;
  }
}

function check(file: string, json: boolean, io: Io): void {
  try {
    const { warnings } = loadConfig(file);
    if (json) io.out(`${JSON.stringify({ file, isFine: true, warnings, problems: [] }, null, 2)}\n`);
    else io.out(`${warnings.map((warning) => `warning: ${warning}\n`).join('')}${file}: fine\n`);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    if (json)
      io.out(`${JSON.stringify({ file, isFine: false, warnings: [], problems: error.problems }, null, 2)}\n`);
    throw new CommandError(`${file} is no good:\n${error.message}`);
  }
}

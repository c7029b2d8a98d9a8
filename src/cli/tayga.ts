#!/usr/bin/env node
/**
 * `tayga`: the gateway with the options, the configuration file and the manners of TAYGA. Every failure exits 1.
 *
 *   launcher ──limits what the next program may──► daemon, in the same process (-n, -d) or detached; the launcher then waits
 *   for the daemon's word that it serves, and exits.
 */
import { chownSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { isAbsolute, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import native from '#native';
import { ConfigError } from '../control/config/problem.js';
import { loadTayga } from '../control/config/tayga.js';
import type { ExplicitMap, GatewayConfig } from '../control/config/types.js';
import { makeFolder } from '../control/folder.js';
import type { Gateway } from '../control/gateway.js';
import { findIdentity, type Identity } from '../control/identity.js';
import { createPlainLog, type Log, type LogTarget } from '../control/log.js';
import { openNotifier } from '../control/notify.js';
import { becomeUser, changeRoot, limitNextProgram } from '../control/privileges.js';
import { makePersistentDevice, removePersistentDevice } from '../control/queues.js';
import { sealWorkers } from '../control/sealed-workers.js';
import { EXIT_FAILURE } from './ending.js';
import { type OptionSpec, parseOptions, UsageError } from './getopt.js';
import { DETACHED, LauncherPipe, launchDaemon } from './launcher.js';
import { serve } from './serve.js';

const OPTIONS: readonly OptionSpec[] = [
  { name: 'config', short: 'c', value: 'a file' },
  { name: 'debug', short: 'd' },
  { name: 'nodetach', short: 'n' },
  { name: 'syslog' },
  { name: 'stdout' },
  { name: 'journal' },
  { name: 'user', short: 'u', value: 'a user' },
  { name: 'group', short: 'g', value: 'a group' },
  { name: 'chroot', short: 'r' },
  { name: 'pidfile', short: 'p', value: 'a file' },
  { name: 'mktun' },
  { name: 'rmtun' },
  { name: 'help', short: 'h' },
];

const HELP = `usage: tayga [options]

  -c, --config FILE    configuration (default /etc/tayga.conf)
  -d, --debug          stay in the foreground, log to standard output, with more detail
  -n, --nodetach       stay in the foreground
      --syslog         log to syslog (default)
      --stdout         log to standard output
      --journal        log to standard output with priorities, for systemd's journal
  -u, --user NAME      run as this user once the device is set up
  -g, --group NAME     run as this group
  -r, --chroot         run with data-dir as the root; needs --user
  -p, --pidfile FILE   write the daemon's process id there
      --mktun          make the persistent device of the configuration, and exit
      --rmtun          remove it, and exit
  -h, --help           show this

SIGHUP reads the configuration and the map-file again, and writes dynamic.map. This is nat64d, with TAYGA's options.
`;

/** What tells the second stage that it is one. */
const STAGE = 'NAT64D_TAYGA_STAGE';

interface Options {
  readonly config: string;
  readonly isForeground: boolean;
  readonly target: LogTarget;
  readonly level: 'debug' | 'info';
  readonly user: string | undefined;
  readonly group: string | undefined;
  readonly chroot: boolean;
  readonly pidfile: string | undefined;
  readonly action: 'run' | 'mktun' | 'rmtun' | 'help';
}

function readOptions(words: readonly string[]): Options {
  const { options, operands } = parseOptions(OPTIONS, words);
  if (operands[0] !== undefined) throw new UsageError(`'${operands[0]}' is too much: there are only options`);
  const has = (name: string) => options.some((option) => option.name === name);
  const last = (name: string) => options.findLast((option) => option.name === name)?.value;
  const actions = (['help', 'mktun', 'rmtun'] as const).filter(has);
  if (has('mktun') && has('rmtun')) throw new UsageError('--mktun and --rmtun exclude each other');
  for (const name of ['user', 'group', 'chroot']) {
    if (has(name) && (has('mktun') || has('rmtun'))) {
      throw new UsageError(`--${name} has no meaning with --mktun and --rmtun`);
    }
  }
  const target = options.findLast(({ name }) =>
    ['syslog', 'stdout', 'journal', 'debug'].includes(name),
  )?.name;
  const isDebug = has('debug');
  const pidfile = last('pidfile');
  return {
    config: resolve(last('config') ?? '/etc/tayga.conf'),
    isForeground: isDebug || has('nodetach'),
    target: target === 'stdout' || target === 'debug' ? 'plain' : target === 'journal' ? 'journal' : 'syslog',
    level: isDebug ? 'debug' : 'info',
    user: last('user'),
    group: last('group'),
    chroot: has('chroot'),
    pidfile: pidfile === undefined ? undefined : resolve(pidfile),
    action: actions[0] ?? 'run',
  };
}

/** The command line of the daemon: as given, with whole paths, for its working folder is /. */
function wordsOf({ config, isForeground, target, level, user, group, chroot, pidfile }: Options): string[] {
  const words = ['--config', config];
  if (level === 'debug') words.push('--debug');
  if (isForeground) words.push('--nodetach');
  words.push(target === 'plain' ? '--stdout' : `--${target}`);
  if (user !== undefined) words.push('--user', user);
  if (group !== undefined) words.push('--group', group);
  if (chroot) words.push('--chroot');
  if (pidfile !== undefined) words.push('--pidfile', pidfile);
  return words;
}

function load({ config }: Options): GatewayConfig {
  return loadTayga(config, { stateDirectory: process.env.STATE_DIRECTORY });
}

/** Checks what options and configuration ask of each other. */
function checkTogether({ chroot }: Options, { dataDir }: GatewayConfig, identity: Identity | null): void {
  if (!chroot) return;
  if (dataDir === null) throw new Error('--chroot needs a data-dir in the configuration, to become the root');
  if (identity === null || identity.uid === 0)
    throw new Error('--chroot needs --user: root can leave a chroot');
}

/** First stage: does what needs no daemon, or starts one with as few privileges as it can do with. */
async function launch(options: Options): Promise<number> {
  const config = load(options);
  if (options.action !== 'run') {
    for (const warning of config.warnings) console.error(warning);
    await changeDevice(options.action, config);
    return 0;
  }
  const identity = findIdentity(options.user, options.group);
  checkTogether(options, config, identity);
  limitNextProgram({ identity: identity !== null, chroot: options.chroot });
  const words = [...process.execArgv, fileURLToPath(import.meta.url), ...wordsOf(options)];
  if (options.isForeground) {
    const env = Object.entries({ ...process.env, [STAGE]: 'foreground' }).map(
      ([name, value]) => `${name}=${value}`,
    );
    native.exec(process.execPath, [process.execPath, ...words], env);
  }
  return launchDaemon('tayga', words, { ...process.env, [STAGE]: DETACHED }, '/');
}

/** `--mktun` and `--rmtun`. */
async function changeDevice(
  action: Options['action'],
  { device: { name }, workers }: GatewayConfig,
): Promise<void> {
  if (action === 'mktun') {
    const isNew = await makePersistentDevice(name, workers > 1);
    console.error(
      isNew
        ? `made the persistent device ${name}`
        : `the device ${name} is there already; it is persistent now`,
    );
  } else {
    console.error(
      (await removePersistentDevice(name)) ? `removed the device ${name}` : `there is no device ${name}`,
    );
  }
}

/** Second stage: the gateway itself. */
async function run(options: Options, stage: string): Promise<number> {
  delete process.env[STAGE];
  process.title = 'tayga';
  const launcher = new LauncherPipe(stage);
  const log = createPlainLog(options.level, options.target, 'tayga');
  const notifier = openNotifier(process.env.NOTIFY_SOCKET);
  try {
    const config = load(options);
    const identity = findIdentity(options.user, options.group);
    prepareDataDir(config, identity);
    const view = new FilesView(options, config);
    return await serve({
      config,
      log,
      load: () => view.load(log),
      notifier,
      onServing: (gateway) => {
        if (options.pidfile !== undefined)
          writeFileSync(options.pidfile, `${process.pid}\n`, { mode: 0o644 });
        view.keepMaps(gateway.maps);
        giveUpPrivileges(options, config, identity, gateway);
        view.isInside = options.chroot;
        launcher.tellServing();
      },
    });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    log.error({ event: 'failed', err: error }, message);
    launcher.tellFailure(message);
    // In the foreground somebody reads along, wherever the log goes.
    if (stage === 'foreground' && options.target === 'syslog') console.error(message);
    return EXIT_FAILURE;
  } finally {
    if (options.pidfile !== undefined) removePidfile(options.pidfile);
  }
}

/** A data-dir that is not there yet is made, and is the user's who writes to it. */
function prepareDataDir({ dataDir }: GatewayConfig, identity: Identity | null): void {
  if (dataDir === null) return;
  try {
    statSync(dataDir);
  } catch {
    makeFolder(dataDir);
    if (identity !== null) chownSync(dataDir, identity.uid, identity.gid);
  }
}

function giveUpPrivileges(
  options: Options,
  config: GatewayConfig,
  identity: Identity | null,
  gateway: Gateway,
): void {
  if (identity === null) return;
  gateway.keepSetUp();
  // Neither in a chroot nor as another user are our own files sure to be there.
  sealWorkers();
  if (options.chroot && config.dataDir !== null) {
    changeRoot(config.dataDir);
    gateway.moveDataDir('/');
  }
  becomeUser(identity);
}

/** What a reload can read, before and after a change of root. */
class FilesView {
  readonly #options: Options;
  readonly #first: GatewayConfig;
  /** What was in the map-file before the change of root. */
  #kept: readonly ExplicitMap[] = [];
  isInside = false;

  constructor(options: Options, first: GatewayConfig) {
    this.#options = options;
    this.#first = first;
  }

  /** @param maps those in force: of the configuration, then of the map-file */
  keepMaps(maps: readonly ExplicitMap[]): void {
    this.#kept = maps.slice(this.#first.maps.length);
  }

  /** Reads the configuration again: inside a chroot what can be reached of it, and names what cannot. */
  load(log: Log): GatewayConfig {
    if (!this.isInside) return load(this.#options);
    const first = this.#first;
    const config = this.#inside(this.#options.config);
    const base = config === null ? first : { ...loadTayga(config), dataDir: first.dataDir };
    if (config === null) this.#name(log, this.#options.config, 'the configuration');
    const { mapFile } = base;
    if (mapFile === null) return base;
    const inside = this.#inside(mapFile);
    if (inside !== null) return { ...base, mapFile: inside };
    this.#name(log, mapFile, 'the map-file');
    return { ...base, mapFile: null, maps: [...base.maps, ...this.#kept] };
  }

  #name(log: Log, path: string, what: string): void {
    log.warn(
      { event: 'outside-chroot', file: path },
      `${what} ${path} lies outside the chroot ${this.#first.dataDir} and cannot be read again: restart to apply a change`,
    );
  }

  /** A path as it is inside; null where it lies outside. */
  #inside(path: string): string | null {
    const within = relative(this.#first.dataDir ?? '/', path);
    return within.startsWith('..') || isAbsolute(within) ? null : join('/', within);
  }
}

function removePidfile(file: string): void {
  try {
    if (readFileSync(file, 'utf8').trim() === String(process.pid)) rmSync(file);
  } catch {
    // Another user, or another root, than the one that wrote it.
  }
}

async function main(): Promise<number> {
  try {
    const options = readOptions(process.argv.slice(2));
    if (options.action === 'help') {
      process.stdout.write(HELP);
      return 0;
    }
    const stage = process.env[STAGE];
    return stage === undefined ? await launch(options) : await run(options, stage);
  } catch (error) {
    const lines =
      error instanceof ConfigError
        ? error.message
        : `tayga: ${error instanceof Error ? error.message : error}`;
    console.error(error instanceof UsageError ? `${lines}\ntry: tayga --help` : lines);
    return EXIT_FAILURE;
  }
}

process.exitCode = await main();

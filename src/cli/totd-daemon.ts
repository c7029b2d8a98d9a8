/** The name server of `totd`: its second stage, which the launcher has no need to load. */
import { resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { parseConfig } from '../control/config/index.js';
import { loadTotd, type TotdConfig, totdDns64, totdWarnings } from '../control/config/totd.js';
import type { Dns64Config } from '../control/config/types.js';
import type { Dns64 } from '../control/dns64/index.js';
import { goBeforeHelpers } from '../control/helper-threads.js';
import { findIdentity, type Identity } from '../control/identity.js';
import { createPlainLog, type Log } from '../control/log.js';
import { type NameServerConfig, prepareNameServer, startNameServer } from '../control/name-server.js';
import { openNotifier } from '../control/notify.js';
import { Pidfile } from '../control/pidfile.js';
import { becomeUser, changeRoot, UNPRIVILEGED_PORT } from '../control/privileges.js';
import { EXIT_FAILURE, untilSignal } from './ending.js';
import { LauncherPipe } from './launcher.js';
import type { Options } from './totd-options.js';

/**
 * Runs until a signal comes. Resolves with the exit code.
 * @param stage DETACHED: a launcher waits
 */
export async function run(options: Options, stage: string): Promise<number> {
  process.title = 'totd';
  // While there is a /proc.
  goBeforeHelpers();
  const launcher = new LauncherPipe(stage);
  const log = createPlainLog(options.level, options.isForeground ? 'plain' : 'syslog', 'totd');
  const notifier = openNotifier(process.env.NOTIFY_SOCKET);
  const signal = untilSignal(log);
  // Without a listener Node would open its debugger.
  process.on('SIGUSR1', () => {});
  let daemon: Daemon | undefined;
  process.on('SIGHUP', () => {
    if (daemon === undefined) return;
    notifier.reloading();
    void daemon.reload().then(() => notifier.notify('READY=1'));
  });
  try {
    // Both are looked up outside.
    const identity = findIdentity(options.user, options.group);
    const file = options.chroot === undefined ? resolve(options.config) : options.config;
    if (options.chroot !== undefined) changeRoot(resolve(options.chroot));
    else process.chdir('/');
    daemon = await Daemon.start({ ...options, config: file }, identity, log);
    launcher.tellServing();
    notifier.notify('READY=1');
    await signal;
    notifier.notify('STOPPING=1');
    await daemon.stop();
    return 0;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    for (const line of message.split('\n')) log.error({ event: 'failed', err: error }, line);
    launcher.tellFailure(message);
    await daemon?.stop();
    return EXIT_FAILURE;
  }
}

class Daemon {
  #dns64: Dns64 | undefined;
  #pidfile: Pidfile | undefined;
  /** Reloads wait for each other. */
  #reloading: Promise<void> = Promise.resolve();
  #isStopping = false;

  private constructor(
    private readonly options: Options,
    private readonly log: Log,
    private config: NameServerConfig,
  ) {}

  /** Rejects where it cannot serve. */
  static async start(options: Options, identity: Identity | null, log: Log): Promise<Daemon> {
    const totd = loadTotd(options.config, options.prefixes);
    const daemon = new Daemon(options, log, configOf(totd, options));
    daemon.#warn(totd);
    daemon.#pidfile = Pidfile.take(resolve(totd.pidfile));
    try {
      await daemon.#listen();
      if (identity !== null) becomeUser(identity);
      if (identity !== null && identity.uid !== 0 && totd.port < UNPRIVILEGED_PORT)
        await daemon.#freeze(totd);
      return daemon;
    } catch (error) {
      await daemon.stop();
      throw error;
    }
  }

  /** From here on no socket can be opened: those that are open stay, even where their address goes, for it may come again. */
  async #freeze({ port }: TotdConfig): Promise<void> {
    const before = this.config;
    const own = new Set(before.dns64.listen.map(({ address }) => address));
    const frozen = (this.#dns64?.listening ?? []).filter(({ address }) => !own.has(address));
    this.config = { ...before, frozen };
    await this.#bringIntoForce(this.config);
    if (before.dns64.interfaces.length > 0) {
      this.log.info(
        { event: 'config-warning' },
        `'${this.options.user ?? this.options.group}' may not open port ${port}: addresses that come later are served after a restart`,
      );
    }
  }

  /** What a file that was read again brings into force. */
  #applicable(read: NameServerConfig, file: string): NameServerConfig {
    const { frozen, dns64 } = this.config;
    if (frozen === undefined) return read;
    const { listen, interfaces, port } = dns64;
    const where = (one: Dns64Config) => [one.listen, one.interfaces, one.port];
    if (!isDeepStrictEqual(where(read.dns64), where(dns64))) {
      this.log.warn(
        { event: 'needs-restart' },
        `${file}: where to listen cannot change without privileges: restart to apply it`,
      );
    }
    return { ...read, frozen, dns64: { ...read.dns64, listen, interfaces, port } };
  }

  /** Where it rejects, all is as it was. */
  async #bringIntoForce(config: NameServerConfig): Promise<void> {
    const ready = await prepareNameServer(this.#dns64, config, this.log);
    this.#dns64 = await ready.commit();
  }

  async #listen(): Promise<void> {
    const dns64 = await startNameServer(this.config, this.log);
    this.#dns64 = dns64;
    const failures = dns64?.failures ?? [];
    if (dns64 === undefined || dns64.listening.length === 0) {
      throw (
        failures[0]?.error ??
        new Error('there is no address to listen on: see the interfaces in the configuration')
      );
    }
    for (const { error } of failures)
      this.log.error({ event: 'dns64-listen-failed', err: error }, error.message);
    const shown = dns64.listening.map(({ address, port }) =>
      address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`,
    );
    this.log.info({ event: 'ready', listening: dns64.listening }, `serving DNS64 on ${shown.join(', ')}`);
  }

  #warn(totd: TotdConfig): void {
    const lines = totdWarnings(totd);
    if (this.options.hasHttpPort) lines.push('-http-port means nothing: there is no HTTP interface');
    for (const line of lines) this.log.warn({ event: 'config-warning' }, line);
  }

  /** Reads the file again; what is wrong with it is logged, and changes nothing. Never rejects. */
  reload(): Promise<void> {
    this.#reloading = this.#reloading.then(async () => {
      // What it opened would stay open.
      if (this.#isStopping) return;
      try {
        const totd = loadTotd(this.options.config, this.options.prefixes);
        this.#warn(totd);
        const after = this.#applicable(configOf(totd, this.options), totd.file);
        const { log } = this;
        await this.#bringIntoForce(after);
        this.config = after;
        for (const { error } of this.#dns64?.failures ?? [])
          log.error({ event: 'dns64-listen-failed', err: error }, error.message);
        log.info({ event: 'reloaded' }, `${totd.file} read again`);
      } catch (error) {
        const lines = (error instanceof Error ? error.message : String(error)).split('\n');
        for (const line of lines) this.log.error({ event: 'reload-failed' }, line);
        this.log.error({ event: 'reload-failed' }, 'the configuration in force stays as it was');
      }
    });
    return this.#reloading;
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#reloading;
    await this.#dns64?.close();
    this.#pidfile?.remove();
    this.log.info({ event: 'stopped' }, 'stopped');
  }
}

/** The file as DNS64's configuration, with what the options say. */
export function configOf(totd: TotdConfig, { ipv4, ipv6 }: Options): NameServerConfig {
  // What totd has no word for is as nat64d has it by default.
  const base: Dns64Config = { ...parseConfig('', totd.file).dns64, enabled: true, required: true };
  const dns64 = totdDns64(base, totd);
  const isWanted = ({ address }: { address: string }) => (address.includes(':') ? ipv6 : ipv4);
  return {
    dns64: { ...dns64, listen: dns64.listen.filter(isWanted) },
    pref64: null,
    pool4: null,
    wkpfStrict: true,
    families: { ipv4, ipv6 },
  };
}

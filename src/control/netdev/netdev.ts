/** Sets up the kernel's side of the TUN device, and takes it down again. */
import { inSlices, type Sliced } from '../slices.js';
import { ipBatch, ipJson, ipRemove, ipRoutes, type NetdevError, type NetdevLog } from './command.js';
import { describeRule, Masquerade, type MasqueradeRule } from './masquerade.js';
import { buildRoutePlan, type KernelRoute, routeCommand, routeSource } from './routes.js';
import { formatInterfaceAddress, type NetdevRoute, type NetdevSettings } from './settings.js';
import { enableForwarding, forwardingOff, recoverSysctls, restoreSysctls } from './sysctl.js';

/** Routes that the start-up log names; a configuration may have thousands of maps. */
const NAMED_ROUTES = 8;

interface Link {
  readonly flags: readonly string[];
  readonly mtu: number;
  readonly inet6_addr_gen_mode?: string;
}

interface LinkAddresses {
  readonly addr_info?: readonly { readonly local?: string; readonly prefixlen?: number }[];
}

/** Takes the elements of a set out that a condition names. */
function takeOut(set: Set<string>, isTaken: (element: string) => boolean): string[] {
  const taken = [...set].filter(isTaken);
  for (const element of taken) set.delete(element);
  return taken;
}

/** A link-local address would bring router solicitations, and each address MLD reports: no host is there to hear them. */
function noAutomaticAddresses(device: string): string {
  return `link set dev ${device} addrgenmode none`;
}

/** What has been set up, with the way back. */
export class Netdev {
  readonly #log: NetdevLog;
  readonly #summary: string[] = [];
  readonly #undo: (() => Promise<unknown>)[] = [];
  /** Addresses and routes that were not there before, as `ip` writes them. */
  readonly #addresses = new Set<string>();
  /** With the source of each. */
  readonly #routes = new Map<string, string>();
  #masquerade: Masquerade | undefined;
  /** What it does, in words. */
  #masqueraded: string | undefined;
  #mtu: number | undefined;
  #isUp = false;
  #isForwarding = false;
  #isStarted = false;
  #restored: Promise<void> | null = null;

  /** @internal Made by `configureNetdev`. */
  constructor(log: NetdevLog) {
    this.#log = log;
  }

  /** Lines for the start-up log. */
  get summary(): readonly string[] {
    return this.#summary;
  }

  #note(line: string): void {
    if (!this.#isStarted) this.#summary.push(line);
  }

  /**
   * @internal Sets everything up for the first time. What stands in the way without making the gateway useless is a warning.
   * @throws NetdevError
   */
  async start(settings: NetdevSettings, log: NetdevLog): Promise<void> {
    const { device } = settings;
    this.#undo.push(async () => this.#masquerade?.stop());
    if (settings.configure) await this.#setLink(settings);
    this.#undo.push(() => this.#removeAddresses(device, () => true));
    this.#undo.push(() => this.#removeRoutes(device, () => true));
    await this.extend(settings, log);
    if (settings.configure && !settings.forwarding) await this.#warnOfForwarding(settings, log);
    this.#isStarted = true;
  }

  /** Sets up what is not there yet: MTU, masquerade, addresses, routes and forwarding. @throws NetdevError */
  async extend(settings: NetdevSettings, log: NetdevLog): Promise<void> {
    const { device, configure, up, mtu, forwarding } = settings;
    if (configure && mtu !== this.#mtu) {
      await ipBatch(`cannot set the MTU of ${device}`, [`link set dev ${device} mtu ${mtu}`]);
      this.#mtu = mtu;
    }
    if (!configure && up && !this.#isUp) await this.#takeUp(device);
    // Masquerade before the routes: no packet of the pool is to leave as it is.
    if (configure) await this.#setMasquerade(settings, log);
    await this.#setAddresses(settings);
    await this.#setRoutes(settings, log);
    if (configure && forwarding && !this.#isForwarding) await this.#setForwarding(settings, log);
  }

  /**
   * Sets up again what the kernel forgets of a device that was down, or too small for IPv6: its IPv6 addresses and how it makes
   * them, and all its routes. @throws NetdevError
   */
  async setUpAgain(settings: NetdevSettings, log: NetdevLog): Promise<void> {
    const { device, configure } = settings;
    if (configure) {
      await ipBatch(`cannot set up the device ${device}`, [
        noAutomaticAddresses(device),
        `address flush dev ${device} scope link`,
      ]);
    }
    const before = [...this.#routes];
    this.#routes.clear();
    try {
      await this.extend(settings, log);
    } finally {
      // Those that the kernel has kept are ours as before, and whatever fails, those that are to be set yet.
      for (const [prefix, source] of before) if (!this.#routes.has(prefix)) this.#routes.set(prefix, source);
    }
  }

  /** Takes down what we had set up and these settings have no more. What fails is logged. */
  async reduce(settings: NetdevSettings, log: NetdevLog): Promise<void> {
    const addresses = new Set(settings.addresses.map(formatInterfaceAddress));
    const routes = new Set<string>();
    function* collect(): Sliced<void> {
      for (const { prefix } of settings.routes) {
        routes.add(prefix);
        yield;
      }
    }
    await inSlices(collect());
    const isMasqueraded = settings.masquerade !== false && settings.masqueradeSource !== null;
    // Each by itself: what one leaves behind is no reason to leave the others.
    for (const removal of [
      () => this.#removeRoutes(settings.device, (prefix) => !routes.has(prefix)),
      () => this.#removeAddresses(settings.device, (address) => !addresses.has(address)),
      () => (isMasqueraded ? undefined : this.#stopMasquerade()),
    ]) {
      try {
        await removal();
      } catch (error) {
        log.warn((error as Error).message);
      }
    }
    if (!settings.forwarding && this.#isForwarding) {
      this.#isForwarding = false;
      restoreSysctls(settings.runDir, log);
    }
  }

  async #setLink({ device, mtu }: NetdevSettings): Promise<void> {
    const what = `cannot set up the device ${device}`;
    const [link] = await ipJson<Link>(what, ['-d', 'link', 'show', 'dev', device]);
    if (link === undefined) return;
    const before = [
      `link set dev ${device} mtu ${link.mtu} multicast ${link.flags.includes('MULTICAST') ? 'on' : 'off'}`,
      ...(link.inet6_addr_gen_mode ? [`link set dev ${device} addrgenmode ${link.inet6_addr_gen_mode}`] : []),
      ...(link.flags.includes('UP') ? [] : [`link set dev ${device} down`]),
    ];
    // Matters where the device stays: one that the administrator made persistent.
    this.#undo.push(() => ipRemove(`cannot reset the device ${device}`, before));
    // The mode must be set before the device is up.
    await ipBatch(what, [
      `link set dev ${device} mtu ${mtu} multicast off`,
      noAutomaticAddresses(device),
      `link set dev ${device} up`,
    ]);
    this.#mtu = mtu;
    this.#note(`device ${device}: up, MTU ${mtu}`);
  }

  async #takeUp(device: string): Promise<void> {
    await ipBatch(`cannot take the device ${device} up`, [`link set dev ${device} up`]);
    this.#isUp = true;
    this.#note(`device ${device}: up`);
  }

  /** Originals that are still kept must not be overwritten by values that a dead gateway set. */
  async #warnOfForwarding({ runDir }: NetdevSettings, log: NetdevLog): Promise<void> {
    await recoverSysctls(runDir, log);
    const off = forwardingOff();
    if (off.length === 0) return;
    log.warn(
      `${off.join(' and ')} are off, and so is forwarding in [device]: nothing is forwarded until they are set to 1`,
    );
  }

  async #setForwarding({ device, runDir }: NetdevSettings, log: NetdevLog): Promise<void> {
    await recoverSysctls(runDir, log);
    const learned = await ipJson<KernelRoute>('cannot list the advertised routes', [
      '-6',
      'route',
      'show',
      'table',
      'all',
      'proto',
      'ra',
    ]);
    const raDevices = [...new Set(learned.flatMap((route) => route.dev ?? []))];
    this.#undo.push(async () => {
      const lines = restoreSysctls(runDir, log);
      if (lines.length > 0) log.debug(`restored ${lines.join(', ')}`);
    });
    this.#isForwarding = true;
    for (const line of enableForwarding(runDir, device, raDevices, log)) this.#note(line);
  }

  async #setMasquerade(settings: NetdevSettings, log: NetdevLog): Promise<void> {
    const { device, masquerade, masqueradeSource: source } = settings;
    if (masquerade === false) return;
    if (source === null) {
      log.warn('masquerade has nothing to do without a pool4');
      return;
    }
    const rule: MasqueradeRule = { device, source, outgoing: masquerade };
    const text = describeRule(rule);
    if (text === this.#masqueraded) return;
    this.#masqueraded = undefined;
    if (this.#masquerade === undefined) this.#masquerade = await Masquerade.start(rule, log);
    else await this.#masquerade.change(rule);
    this.#masqueraded = text;
    this.#note(`masquerade: ${text}`);
  }

  async #stopMasquerade(): Promise<void> {
    const masquerade = this.#masquerade;
    this.#masquerade = undefined;
    this.#masqueraded = undefined;
    await masquerade?.stop();
  }

  async #setAddresses({ device, addresses }: NetdevSettings): Promise<void> {
    if (addresses.length === 0) return;
    const what = `cannot set the addresses of ${device}`;
    const [present] = await ipJson<LinkAddresses>(what, ['address', 'show', 'dev', device]);
    const there = new Set(present?.addr_info?.map(({ local, prefixlen }) => `${local}/${prefixlen}`));
    const missing = addresses
      .map((address) => ({
        text: formatInterfaceAddress(address),
        flag: address.family === 6 ? ' nodad' : '',
      }))
      .filter(({ text }) => !there.has(text));
    for (const { text } of missing) this.#addresses.add(text);
    await ipBatch(
      what,
      missing.map(({ text, flag }) => `address add ${text} dev ${device}${flag}`),
    );
    this.#note(`addresses of ${device}: ${addresses.map(formatInterfaceAddress).join(', ')}`);
  }

  async #setRoutes(settings: NetdevSettings, log: NetdevLog): Promise<void> {
    const { device, routes } = settings;
    const source = { 4: routeSource(4, settings), 6: routeSource(6, settings) };
    const { fresh, stale } = await inSlices(this.#compareRoutes(routes, source));
    if (fresh.length + stale.length === 0) return;
    const what = `cannot set the routes to ${device}`;
    const existing = {
      4: await ipRoutes<KernelRoute>(what, 4),
      6: await ipRoutes<KernelRoute>(what, 6),
    };
    const { add, hopeless, warnings } = await inSlices(buildRoutePlan(fresh, existing, device));
    for (const warning of warnings) log.warn(warning);
    const mine = this.#routes;
    function* commands(): Sliced<string[]> {
      const lines: string[] = [];
      for (const [verb, some] of [
        ['add', add],
        ['replace', stale],
      ] as const) {
        for (const route of some) {
          mine.set(route.prefix, source[route.family]);
          lines.push(routeCommand(route, settings, verb, source[route.family]));
          yield;
        }
      }
      return lines;
    }
    await ipBatch(what, await inSlices(commands()));
    if (this.#isStarted) return;
    const lost = new Set(hopeless);
    const set = routes.filter((route) => !lost.has(route));
    const named = set.slice(0, NAMED_ROUTES).map((route) => `${route.prefix} (${route.key})`);
    if (set.length > NAMED_ROUTES) named.push(`${set.length - NAMED_ROUTES} more`);
    if (set.length > 0) this.#note(`routes to ${device}: ${named.join(', ')}`);
  }

  /** Those that we have not set, and those of ours with another source: the kernel drops a route whose source address goes. */
  *#compareRoutes(
    routes: readonly NetdevRoute[],
    source: Readonly<Record<4 | 6, string>>,
  ): Sliced<{ fresh: NetdevRoute[]; stale: NetdevRoute[] }> {
    const [fresh, stale]: [NetdevRoute[], NetdevRoute[]] = [[], []];
    for (const route of routes) {
      yield;
      const old = this.#routes.get(route.prefix);
      if (old === undefined) fresh.push(route);
      else if (old !== source[route.family]) stale.push(route);
    }
    return { fresh, stale };
  }

  async #removeAddresses(device: string, isRemoved: (address: string) => boolean): Promise<void> {
    const removed = takeOut(this.#addresses, isRemoved);
    await ipRemove(
      `cannot remove the addresses of ${device}`,
      removed.map((text) => `address del ${text} dev ${device}`),
    );
  }

  async #removeRoutes(device: string, isRemoved: (prefix: string) => boolean): Promise<void> {
    const mine = this.#routes;
    function* commands(): Sliced<string[]> {
      const lines: string[] = [];
      for (const prefix of [...mine.keys()]) {
        yield;
        if (!isRemoved(prefix)) continue;
        mine.delete(prefix);
        lines.push(`route del ${prefix} dev ${device}`);
      }
      return lines;
    }
    await ipRemove(`cannot remove the routes to ${device}`, await inSlices(commands()));
  }

  /** Takes down all that was put up, the last first. Idempotent; never throws: what fails is logged. */
  restore(): Promise<void> {
    this.#restored ??= this.#takeDown();
    return this.#restored;
  }

  async #takeDown(): Promise<void> {
    for (const undo of this.#undo.reverse()) {
      try {
        await undo();
      } catch (error) {
        this.#log.warn(`${(error as Error).message}`);
      }
    }
  }
}

/**
 * Sets up a TUN device that exists: MTU, addresses, routes, forwarding, masquerade. What stands in the way without
 * making the gateway useless is a warning.
 * @throws NetdevError after taking down what had been put up
 */
export async function configureNetdev(settings: NetdevSettings, log: NetdevLog): Promise<Netdev> {
  const netdev = new Netdev(log);
  try {
    await netdev.start(settings, log);
  } catch (error) {
    await netdev.restore();
    throw error as NetdevError;
  }
  return netdev;
}

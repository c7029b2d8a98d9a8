/** Sets up the kernel's side of the TUN device, and takes it down again. */
import { formatPrefix4 } from '../../wire/address.js';
import { ipBatch, ipJson, ipRemove, type NetdevError, type NetdevLog } from './command.js';
import { describeRule, Masquerade, type MasqueradeRule } from './masquerade.js';
import { type KernelRoute, planRoutes, routeCommand } from './routes.js';
import { formatInterfaceAddress, type NetdevSettings } from './settings.js';
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

/** What has been set up, with the way back. */
export class Netdev {
  readonly #log: NetdevLog;
  readonly #summary: string[] = [];
  readonly #undo: (() => Promise<unknown>)[] = [];
  /** Addresses and routes that were not there before, as `ip` writes them. */
  readonly #addresses = new Set<string>();
  readonly #routes = new Set<string>();
  #masquerade: Masquerade | undefined;
  #masqueradeSource: string | undefined;
  #restored: Promise<void> | null = null;

  /** @internal Made by `configureNetdev`. */
  constructor(log: NetdevLog) {
    this.#log = log;
  }

  /** Lines for the start-up log. */
  get summary(): readonly string[] {
    return this.#summary;
  }

  /** @internal Adds a line to the summary. */
  note(line: string): void {
    this.#summary.push(line);
  }

  /** @internal Adds a step to the way back. */
  onRestore(undo: () => Promise<unknown>): void {
    this.#undo.push(undo);
  }

  /** Sets up what is not there yet: masquerade, addresses and routes. @throws NetdevError */
  async extend(settings: NetdevSettings, log: NetdevLog): Promise<void> {
    // Masquerade before the routes: no packet of the pool is to leave as it is.
    if (settings.configure) await this.#setMasquerade(settings, log);
    await this.#setAddresses(settings);
    await this.#setRoutes(settings, log);
  }

  /** Takes down what we had set up and these settings have no more. What fails is logged. */
  async reduce(settings: NetdevSettings, log: NetdevLog): Promise<void> {
    const addresses = new Set(settings.addresses.map(formatInterfaceAddress));
    const routes = new Set(settings.routes.map((route) => route.prefix));
    try {
      await this.#removeRoutes(settings.device, (prefix) => !routes.has(prefix));
      await this.#removeAddresses(settings.device, (address) => !addresses.has(address));
    } catch (error) {
      log.warn((error as Error).message);
    }
  }

  async #setMasquerade(settings: NetdevSettings, log: NetdevLog): Promise<void> {
    const { device, masquerade, masqueradeSource: source } = settings;
    if (masquerade === false) return;
    if (source === null) {
      log.warn('masquerade has nothing to do without a pool4');
      return;
    }
    const text = formatPrefix4(source);
    if (text === this.#masqueradeSource) return;
    const rule: MasqueradeRule = { device, source, outgoing: masquerade };
    if (this.#masquerade === undefined) this.#masquerade = await Masquerade.start(rule, log);
    else await this.#masquerade.change(rule);
    this.#masqueradeSource = text;
    this.note(`masquerade: ${describeRule(rule)}`);
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
    this.note(`addresses of ${device}: ${addresses.map(formatInterfaceAddress).join(', ')}`);
  }

  async #setRoutes(settings: NetdevSettings, log: NetdevLog): Promise<void> {
    const { device, routes } = settings;
    if (routes.length === 0) return;
    const what = `cannot set the routes to ${device}`;
    const existing = {
      4: await ipJson<KernelRoute>(what, ['-4', 'route', 'show']),
      6: await ipJson<KernelRoute>(what, ['-6', 'route', 'show']),
    };
    const { add, hopeless, warnings } = planRoutes(routes, existing, device);
    for (const warning of warnings) log.warn(warning);
    for (const { prefix } of add) this.#routes.add(prefix);
    await ipBatch(
      what,
      add.map((route) => routeCommand(route, settings)),
    );
    const set = routes.filter((route) => !hopeless.includes(route));
    const named = set.slice(0, NAMED_ROUTES).map((route) => `${route.prefix} (${route.key})`);
    if (set.length > NAMED_ROUTES) named.push(`${set.length - NAMED_ROUTES} more`);
    if (set.length > 0) this.note(`routes to ${device}: ${named.join(', ')}`);
  }

  async #removeAddresses(device: string, isRemoved: (address: string) => boolean): Promise<void> {
    const removed = takeOut(this.#addresses, isRemoved);
    await ipRemove(
      `cannot remove the addresses of ${device}`,
      removed.map((text) => `address del ${text} dev ${device}`),
    );
  }

  async #removeRoutes(device: string, isRemoved: (prefix: string) => boolean): Promise<void> {
    const removed = takeOut(this.#routes, isRemoved);
    await ipRemove(
      `cannot remove the routes to ${device}`,
      removed.map((prefix) => `route del ${prefix} dev ${device}`),
    );
  }

  /** @internal Takes the masquerade down again at the end. */
  stopMasqueradeAtRestore(): void {
    this.onRestore(async () => this.#masquerade?.stop());
  }

  /** @internal Takes addresses and routes down again at the end. */
  removeAtRestore(device: string): void {
    this.onRestore(() => this.#removeAddresses(device, () => true));
    this.onRestore(() => this.#removeRoutes(device, () => true));
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
    netdev.stopMasqueradeAtRestore();
    if (settings.configure) await setLink(netdev, settings);
    else if (settings.up) await takeUp(netdev, settings);
    netdev.removeAtRestore(settings.device);
    await netdev.extend(settings, log);
    if (settings.configure) await setForwarding(netdev, settings, log);
  } catch (error) {
    await netdev.restore();
    throw error as NetdevError;
  }
  return netdev;
}

async function setLink(netdev: Netdev, { device, mtu }: NetdevSettings): Promise<void> {
  const what = `cannot set up the device ${device}`;
  const [link] = await ipJson<Link>(what, ['-d', 'link', 'show', 'dev', device]);
  if (link === undefined) return;
  const before = [
    `link set dev ${device} mtu ${link.mtu} multicast ${link.flags.includes('MULTICAST') ? 'on' : 'off'}`,
    ...(link.inet6_addr_gen_mode ? [`link set dev ${device} addrgenmode ${link.inet6_addr_gen_mode}`] : []),
    ...(link.flags.includes('UP') ? [] : [`link set dev ${device} down`]),
  ];
  // Matters where the device stays: one that the administrator made persistent.
  netdev.onRestore(() => ipRemove(`cannot reset the device ${device}`, before));
  // A link-local address would bring router solicitations, and each address MLD reports: no host is there to hear them.
  // The mode must be set before the device is up.
  await ipBatch(what, [
    `link set dev ${device} mtu ${mtu} multicast off`,
    `link set dev ${device} addrgenmode none`,
    `link set dev ${device} up`,
  ]);
  netdev.note(`device ${device}: up, MTU ${mtu}`);
}

async function takeUp(netdev: Netdev, { device }: NetdevSettings): Promise<void> {
  await ipBatch(`cannot take the device ${device} up`, [`link set dev ${device} up`]);
  netdev.note(`device ${device}: up`);
}

async function setForwarding(netdev: Netdev, settings: NetdevSettings, log: NetdevLog): Promise<void> {
  const { device, forwarding, runDir } = settings;
  // Originals that are still kept must not be overwritten by values that a dead gateway set.
  await recoverSysctls(runDir, log);
  if (!forwarding) {
    const off = forwardingOff();
    if (off.length > 0) {
      log.warn(
        `${off.join(' and ')} are off, and so is forwarding in [device]: nothing is forwarded until they are set to 1`,
      );
    }
    return;
  }
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
  netdev.onRestore(async () => {
    const lines = restoreSysctls(runDir, log);
    if (lines.length > 0) log.debug(`restored ${lines.join(', ')}`);
  });
  for (const line of enableForwarding(runDir, device, raDevices, log)) netdev.note(line);
}

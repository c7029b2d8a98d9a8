/** Routes into the device, and which routes of others stand in their way. */
import {
  type Prefix6,
  parseAddress4,
  parseAddress6,
  parsePrefix4,
  parsePrefix6,
  prefix6Contains,
} from '../../wire/address.js';
import { atOnce, type Sliced, sorted } from '../slices.js';
import { formatInterfaceAddress, type NetdevRoute, type NetdevSettings } from './settings.js';

/** A route as `ip -j route show` lists it; only what is used here. */
export interface KernelRoute {
  readonly type?: string;
  readonly dst?: string;
  readonly gateway?: string;
  readonly dev?: string;
  readonly protocol?: string;
  readonly metric?: number;
}

export interface RoutePlan {
  /** The routes that are to be added: neither there yet nor hopeless. */
  readonly add: readonly NetdevRoute[];
  /** The routes that another device has. */
  readonly hopeless: readonly NetdevRoute[];
  readonly warnings: readonly string[];
}

/** What the kernel gives a route that names no metric. */
const DEFAULT_METRIC = { 4: 0, 6: 1024 } as const;

/** Conflicts of one prefix that are named; more of them say nothing new. */
const NAMED_CONFLICTS = 3;

/** A prefix of either family; an IPv4 one lies in the first word. Families are never compared with each other. */
function parseDestination(family: 4 | 6, text: string): Prefix6 | null {
  if (text === 'default') return { address: [0, 0, 0, 0], length: 0 };
  if (family === 6) {
    const address = parseAddress6(text);
    return address === null ? parsePrefix6(text) : { address, length: 128 };
  }
  const address = parseAddress4(text);
  const prefix = address === null ? parsePrefix4(text) : { address, length: 32 };
  return prefix === null ? null : { address: [prefix.address | 0, 0, 0, 0], length: prefix.length };
}

function describe(route: KernelRoute): string {
  const words = [
    route.type,
    route.dst,
    route.gateway && `via ${route.gateway}`,
    route.dev && `dev ${route.dev}`,
  ];
  return `'${[...words, route.metric && `metric ${route.metric}`].filter(Boolean).join(' ')}'`;
}

/** What a route of another device does to ours; null: nothing. `lost`: ours would see no packet at all. */
function conflict(
  wanted: NetdevRoute,
  ours: Prefix6,
  other: KernelRoute,
  theirs: Prefix6,
): { lost: boolean; text: string } | null {
  const name = `${wanted.prefix} (${wanted.key})`;
  const inOurs = prefix6Contains(ours, theirs.address) && theirs.length > ours.length;
  if (theirs.length === ours.length && prefix6Contains(ours, theirs.address)) {
    // The kernel takes the route of the lowest metric.
    const metric = DEFAULT_METRIC[wanted.family];
    if ((other.metric ?? 0) > metric) return null;
    return {
      lost: true,
      text: `there is a route ${describe(other)} already, so packets for ${name} do not come to the gateway: delete that route, or change ${wanted.key}`,
    };
  }
  // Under a default route of ours every other route is a more specific one, by intent.
  if (inOurs && ours.length > 0) {
    return {
      lost: false,
      text: `the route ${describe(other)} takes a part of ${name} away from the gateway: delete that route, or change ${wanted.key}`,
    };
  }
  // Networks on a link hold hosts that look for the address on that link (ARP, neighbour discovery).
  if (
    other.protocol === 'kernel' &&
    theirs.length > 0 &&
    theirs.length < ours.length &&
    prefix6Contains(theirs, ours.address)
  ) {
    return {
      lost: false,
      text: `${name} lies inside the network ${other.dst} of ${other.dev}, whose hosts look for it on their own link: change ${wanted.key}, or have the gateway answer there (proxy ARP, proxy NDP)`,
    };
  }
  return null;
}

/**
 * Decides which routes to add, given the kernel's main tables. A route of the same prefix on the device itself (of its
 * own address, or made by the administrator) is as good as ours and stays; a route of others is never replaced.
 */
export function planRoutes(
  wanted: readonly NetdevRoute[],
  existing: Readonly<Record<4 | 6, readonly KernelRoute[]>>,
  device: string,
): RoutePlan {
  return atOnce(buildRoutePlan(wanted, existing, device));
}

/** The same in slices. */
export function* buildRoutePlan(
  wanted: readonly NetdevRoute[],
  existing: Readonly<Record<4 | 6, readonly KernelRoute[]>>,
  device: string,
): Sliced<RoutePlan> {
  const known = {
    4: yield* indexRoutes(4, existing[4], device),
    6: yield* indexRoutes(6, existing[6], device),
  };
  const add: NetdevRoute[] = [];
  const hopeless: NetdevRoute[] = [];
  const warnings: string[] = [];
  for (const route of wanted) {
    yield;
    const ours = parseDestination(route.family, route.prefix);
    if (ours === null) throw new RangeError(`not a prefix: ${route.prefix}`);
    if (known[route.family].own.has(keyOf(ours))) continue;
    const conflicts = nearTo(ours, known[route.family])
      .map((other) => conflict(route, ours, other.route, other.destination))
      .filter((found) => found !== null);
    warnings.push(...conflicts.slice(0, NAMED_CONFLICTS).map((found) => found.text));
    if (conflicts.length > NAMED_CONFLICTS) {
      warnings.push(
        `${conflicts.length - NAMED_CONFLICTS} more routes overlap ${route.prefix} (${route.key})`,
      );
    }
    (conflicts.some((found) => found.lost) ? hopeless : add).push(route);
  }
  return { add, hopeless, warnings };
}

interface ParsedRoute {
  readonly route: KernelRoute;
  readonly destination: Prefix6;
  /** In the kernel's list. */
  readonly place: number;
}

interface RouteIndex {
  /** Destinations of routes on the device itself. */
  readonly own: ReadonlySet<string>;
  /** Those of others, by address. */
  readonly others: readonly ParsedRoute[];
  /** Of these, networks on a link. */
  readonly networks: readonly ParsedRoute[];
}

const keyOf = ({ address, length }: Prefix6) => `${address.join()}/${length}`;

function* indexRoutes(family: 4 | 6, routes: readonly KernelRoute[], device: string): Sliced<RouteIndex> {
  const own = new Set<string>();
  const others: ParsedRoute[] = [];
  for (const [place, route] of routes.entries()) {
    yield;
    const destination = route.dst === undefined ? null : parseDestination(family, route.dst);
    if (destination === null) continue;
    if (route.dev === device) own.add(keyOf(destination));
    else others.push({ route, destination, place });
  }
  return {
    own,
    others: yield* sorted(others, (a, b) => compareAddresses(a.destination, b.destination)),
    networks: others.filter(({ route }) => route.protocol === 'kernel'),
  };
}

function compareAddresses(a: Prefix6, b: Prefix6): number {
  for (const [i, word] of a.address.entries()) {
    const difference = (word >>> 0) - ((b.address[i] as number) >>> 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Those routes of others that can matter to ours, in the kernel's order. */
function nearTo(ours: Prefix6, { others, networks }: RouteIndex): ParsedRoute[] {
  let low = 0;
  for (let high = others.length; low < high; ) {
    const middle = (low + high) >> 1;
    if (compareAddresses((others[middle] as ParsedRoute).destination, ours) < 0) low = middle + 1;
    else high = middle;
  }
  const near = networks.filter(({ destination }) => destination.length < ours.length);
  for (let other = others[low]; other !== undefined; other = others[++low]) {
    if (!prefix6Contains(ours, other.destination.address)) break;
    if (other.destination.length >= ours.length) near.push(other);
  }
  return near.sort((a, b) => a.place - b.place);
}

/**
 * The address that the gateway's own traffic carries on a route, as text: the device's, which the translator gives a map, whatever
 * other addresses the machine has (a ping from the gateway itself). Empty where it has none of that family.
 */
export function routeSource(family: 4 | 6, { addresses }: NetdevSettings): string {
  const source = addresses.find((address) => address.family === family);
  return source === undefined ? '' : (formatInterfaceAddress(source).split('/')[0] as string);
}

/** The `ip` command, without `ip`, that adds a route, or with `replace` gives one of ours another source. */
export function routeCommand(
  route: NetdevRoute,
  settings: NetdevSettings,
  verb: 'add' | 'replace' = 'add',
  source = routeSource(route.family, settings),
): string {
  return `route ${verb} ${route.prefix} dev ${settings.device}${source && ` src ${source}`}`;
}

/** The requests of the control socket: what each takes, and what it answers. */
import * as z from 'zod';
import { type Address6, parseAddress4, parseAddress6 } from '../../wire/address.js';
import { differenceTo } from '../inspect/difference.js';
import { dynamicView, indexOfSingle, mapsOf, mapsPage, readHostFilter } from '../inspect/maps.js';
import type { RateMeter } from '../inspect/rates.js';
import { statusOf } from '../inspect/status.js';
import type { Subject } from '../inspect/subject.js';
import { type Address, traceEnd, tracePacket } from '../inspect/trace.js';
import { dns64Of, dnsPrefixes } from './dns.js';
import { RequestError } from './protocol.js';

export interface Surroundings {
  readonly subject: Subject;
  readonly rates: RateMeter;
  readonly reloads: ReloadGate;
}

/** Lets one reload or dry run through at a time. */
export class ReloadGate {
  #isBusy = false;

  /** Rejects with `busy` while another one is under way. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    if (this.#isBusy) {
      throw new RequestError('busy', 'a reload or a dry run is under way already; ask again when it is done');
    }
    this.#isBusy = true;
    try {
      return await work();
    } finally {
      this.#isBusy = false;
    }
  }
}

interface Request<T extends z.ZodType> {
  readonly takes: T;
  readonly run: (arguments_: z.output<T>, surroundings: Surroundings) => unknown;
}

const request = <T extends z.ZodType>(takes: T, run: Request<T>['run']): Request<z.ZodType> =>
  ({ takes, run }) as Request<z.ZodType>;

const nothing = z.strictObject({});
export const filterText = z.string().max(64);

export function filterOf(text: string) {
  const filter = readHostFilter(text);
  if (filter !== null) return filter;
  throw new RequestError(
    'bad-arguments',
    `'${text}' is neither an address nor a prefix; give one as in 10.64.0.7, 2001:db8::1 or 2001:db8::/64`,
  );
}

export function readAddress(text: string): Address {
  const address4 = parseAddress4(text);
  if (address4 !== null) return { family: 4, address: address4 | 0 };
  const address6: Address6 | null = parseAddress6(text);
  if (address6 !== null) return { family: 6, address: address6 };
  throw new RequestError(
    'bad-arguments',
    `'${text}' is not an address; give one as in 10.64.0.7 or 2001:db8::1`,
  );
}

/** The pool, and the index in it of the dynamic map of one address. */
function dynamicMap({ subject }: Surroundings, text: string) {
  const filter = filterOf(text);
  const index = indexOfSingle(subject, filter);
  const { keeper } = subject.dataplane;
  if (index === undefined)
    throw new RequestError('bad-arguments', `'${text}' is a network; give one address`);
  const entry = keeper?.pool.entry(index) ?? null;
  if (keeper !== undefined && entry !== null) return { keeper, index, view: dynamicView(subject, entry) };
  const isExplicit = mapsOf(subject, filter).length > 0;
  throw new RequestError(
    'not-found',
    isExplicit
      ? `the map of ${text} stands in the configuration: change it there, and reload`
      : `${text} has no dynamic map; 'nat64ctl maps' lists those there are`,
  );
}

/** What is wrong with the file, a line each, is the message. */
async function orFailed<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw new RequestError('failed', error instanceof Error ? error.message : String(error));
  }
}

export const REQUESTS: ReadonlyMap<string, Request<z.ZodType>> = new Map([
  ['status', request(nothing, async (_, { subject, rates }) => statusOf(subject, await rates.rates()))],
  ['counters', request(nothing, (_, { subject }) => countersOf(subject))],
  ['workers', request(nothing, (_, { subject }) => subject.dataplane.workers)],
  [
    'maps',
    request(
      z.strictObject({
        host: filterText.nullable().default(null),
        from: z
          .string()
          .regex(/^(explicit|dynamic):[0-9]{1,10}$/)
          .nullable()
          .default(null),
      }),
      ({ host, from }, { subject }) => mapsPage(subject, from, host === null ? null : filterOf(host)),
    ),
  ],
  [
    'map-show',
    request(z.strictObject({ address: filterText }), ({ address }, { subject }) => {
      const filter = filterOf(address);
      if (indexOfSingle(subject, filter) === undefined) {
        throw new RequestError(
          'bad-arguments',
          `'${address}' is a network; 'nat64ctl maps --host ${address}' lists the maps in it`,
        );
      }
      const maps = mapsOf(subject, filter);
      if (maps.length > 0) return maps;
      throw new RequestError(
        'not-found',
        `${address} has no map; 'nat64ctl trace ${address}' tells what would become of it`,
      );
    }),
  ],
  [
    'map-drop',
    request(z.strictObject({ address: filterText }), async ({ address }, surroundings) => {
      const { keeper, index, view } = dynamicMap(surroundings, address);
      keeper.drop(index);
      surroundings.subject.note('map-dropped', `the map of ${view.ipv6} to ${view.ipv4} was dropped by hand`);
      // A crash must not bring it back, and the journal has no word for an end.
      try {
        await surroundings.subject.save();
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        throw new RequestError(
          'failed',
          `the map is dropped, but dynamic.map cannot be written (${reason}): a crash would bring it back`,
        );
      }
      return view;
    }),
  ],
  [
    'map-pin',
    request(
      z.strictObject({ address: filterText, isPinned: z.boolean().default(true) }),
      ({ address, isPinned }, surroundings) => {
        const { keeper, index, view } = dynamicMap(surroundings, address);
        if (!isPinned) {
          if (!keeper.unpin(index))
            throw new RequestError('not-found', `the map of ${address} is not pinned`);
        } else if (!keeper.pin(index)) {
          throw new RequestError(
            'failed',
            `the map of ${address} rests, and the /64 of its host has as many as it may`,
          );
        }
        surroundings.subject.note(
          isPinned ? 'map-pinned' : 'map-unpinned',
          `the map of ${view.ipv6} to ${view.ipv4} was ${isPinned ? 'pinned' : 'let loose'} by hand`,
        );
        const entry = keeper.pool.entry(index);
        return entry === null ? view : dynamicView(surroundings.subject, entry);
      },
    ),
  ],
  [
    'reload',
    request(z.strictObject({ isDryRun: z.boolean().default(false) }), ({ isDryRun }, { subject, reloads }) =>
      reloads.alone(async () => {
        const { given, complete } = await orFailed(subject.load(isDryRun));
        const difference = await differenceTo(subject, complete);
        if (!isDryRun) await orFailed(subject.reload(given));
        return difference;
      }),
    ),
  ],
  [
    'log-level',
    request(
      z.strictObject({ level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']) }),
      ({ level }, { subject }) => {
        const before = subject.logLevel;
        subject.logLevel = level;
        return { before, level };
      },
    ),
  ],
  [
    'trace',
    request(
      z.strictObject({ addresses: z.array(filterText).min(1).max(2) }),
      ({ addresses: [first = '', second] }, { subject }) => {
        const one = readAddress(first);
        if (second !== undefined) {
          return [{ what: `from ${first} to ${second}`, ...tracePacket(subject, one, readAddress(second)) }];
        }
        return [
          { what: `to ${first}`, ...traceEnd(subject, one, 'destination') },
          { what: `from ${first}`, ...traceEnd(subject, one, 'source') },
        ];
      },
    ),
  ],
  ['dns-stats', request(nothing, (_, { subject }) => dns64Of(subject).stats)],
  [
    'dns-cache',
    request(
      z.strictObject({ limit: z.number().int().min(0).max(1000).default(100) }),
      ({ limit }, { subject }) => ({
        stats: dns64Of(subject).cacheStats(),
        entries: limit === 0 ? [] : dns64Of(subject).cacheEntries(limit),
      }),
    ),
  ],
  [
    'dns-flush',
    request(
      z.strictObject({ name: z.string().max(1024).nullable().default(null) }),
      ({ name }, { subject }) => {
        const dns64 = dns64Of(subject);
        return { flushed: name === null ? dns64.flush() : dns64.flush(name) };
      },
    ),
  ],
  [
    'dns-prefixes',
    request(
      z.strictObject({
        change: z.enum(['add', 'drop']).nullable().default(null),
        prefix: filterText.default(''),
      }),
      ({ change, prefix }, { subject }) => {
        const changed = dnsPrefixes(dns64Of(subject), change, prefix);
        if (change !== null)
          subject.note(
            'dns64-prefixes',
            `DNS64 makes answers under ${changed.prefixes.join(', ')} from now on`,
          );
        return changed;
      },
    ),
  ],
  [
    'dns-explain',
    request(
      z.strictObject({ name: z.string().min(1).max(1024), type: z.string().min(1).max(20).default('AAAA') }),
      ({ name, type }, { subject }) => dns64Of(subject).explain(name, type.toUpperCase()),
    ),
  ],
]);

/** All that is counted, by name. */
export function countersOf({ dataplane }: Subject): Record<string, number> {
  const { assigned, refused } = dataplane.assignments;
  return { ...dataplane.counters, assigned, refused, 'workers-replaced': dataplane.workersReplaced };
}

/** Checks the arguments of a request and runs it. Rejects with RequestError, or with what went wrong. */
export async function runRequest(name: string, given: unknown, surroundings: Surroundings): Promise<unknown> {
  const found = REQUESTS.get(name);
  if (found === undefined) {
    throw new RequestError(
      'unknown-request',
      `there is no request '${name}'; there are ${[...REQUESTS.keys()].join(', ')}`,
    );
  }
  return found.run(checkedArguments(found.takes, given), surroundings);
}

export function checkedArguments<T extends z.ZodType>(takes: T, given: unknown): z.output<T> {
  const parsed = takes.safeParse(given);
  if (parsed.success) return parsed.data;
  const lines = parsed.error.issues.map(
    ({ path, message }) => `${path.join('.') || 'arguments'}: ${message}`,
  );
  throw new RequestError('bad-arguments', lines.join('; '));
}

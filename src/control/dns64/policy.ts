/**
 * Who gets what: each client's policy. The first [[dns64.policy]] that names a client is its policy; the others have that of
 * [dns64], and those that its `clients` leaves out get what the forwarders say.
 */
import { type Address6, type Prefix4, type Prefix6, prefix6Contains } from '../../wire/address.js';
import { WELL_KNOWN_PREFIX } from '../../wire/rfc6052.js';
import type { NamesConfig } from '../config/synthesis.js';
import type {
  Pref64Choice,
  Pref64Config,
  ReverseMode,
  ScopedConfig,
  SynthesisConfig,
} from '../config/types.js';
import { mappedAddress } from './access.js';
import { CLASS_IN, FLAG_CD, nameOf } from './message.js';
import type { Query } from './query.js';

/** A set of names, each with all below it. Looking one up costs a step for each of its labels. */
export class NameSet {
  readonly #names: ReadonlySet<string>;

  /** @param names dotted text in lower case */
  constructor(names: readonly string[]) {
    this.#names = new Set(names.map(nameOf));
  }

  /** Whether a folded name (see message.ts) is one of them or below one. */
  has(name: string): boolean {
    return this.#names.size > 0 && nearestOf(this.#names, name) !== null;
  }
}

/** The longest tail of a folded name, itself included, that is in `zones`; null if none is. */
export function nearestOf(zones: { has(name: string): boolean }, name: string): string | null {
  for (let at = 0; ; at += 1 + name.charCodeAt(at)) {
    const tail = name.slice(at);
    if (zones.has(tail)) return tail;
    if (tail.length <= 1) return null;
  }
}

/** What a client gets. */
export interface Policy {
  /** From 0, without gaps: part of the key of what is cached for a policy's clients. */
  readonly id: number;
  readonly synthesize: boolean;
  /** At least one. */
  readonly pref64s: readonly Pref64Config[];
  readonly choice: Pref64Choice;
  /** AAAA in these are treated as absent (RFC 6147 section 5.1.4). */
  readonly excludedAaaa: readonly Prefix6[];
  readonly excludedIpv4: readonly Prefix4[];
  readonly excludedNames: NameSet;
  readonly ignoreAaaa: NameSet;
  readonly breakDnssec: boolean;
  /** Whether the Well-Known Prefix may not represent non-global IPv4 addresses (RFC 6052 section 3.1): as the data plane does. */
  readonly wkpfStrict: boolean;
  /** Whose reverse names are ours, the longest first. */
  readonly reversePrefixes: readonly Prefix6[];
  readonly reverse: ReverseMode;
  readonly reverse6to4: boolean;
  /** Only where client and our own address are of one scope. */
  readonly scoped: readonly ScopedConfig[];
  /** The same without `scoped`; null where it has none. */
  readonly unscoped: Policy | null;
}

/** Scopes within which totd shows other addresses: link-local, and unique-local, which site-local once was (RFC 3879). */
const SCOPES: readonly (readonly Prefix6[])[] = [
  [{ address: [0xfe800000 | 0, 0, 0, 0], length: 10 }],
  [
    { address: [0xfc000000 | 0, 0, 0, 0], length: 7 },
    { address: [0xfec00000 | 0, 0, 0, 0], length: 10 },
  ],
];

function isOneScope(a: Address6, b: Address6): boolean {
  return SCOPES.some((scope) =>
    [a, b].every((address) => scope.some((prefix) => prefix6Contains(prefix, address))),
  );
}

/** A policy for clients of the same scope as the address they ask, and for all others. */
interface Pair {
  readonly plain: Policy;
  readonly scoped: Policy;
}

export interface PolicySetOptions {
  readonly names: NamesConfig;
  /** The translator's prefix: where a policy names none. */
  readonly pref64: Prefix6;
  readonly wkpfStrict: boolean;
}

export class PolicySet {
  readonly #named: readonly { readonly clients: readonly Prefix6[]; readonly pair: Pair }[];
  readonly #others: Pair;
  readonly #all: Policy[] = [];
  readonly #isScoped: boolean;

  constructor({ names, pref64, wkpfStrict }: PolicySetOptions) {
    const { clients, policies, scoped, reverse6to4 } = names;
    this.#isScoped = scoped.length > 0;
    const pairOf = (config: SynthesisConfig): Pair => {
      const add = (own: readonly ScopedConfig[], unscoped: Policy | null) => {
        const rest = { pref64, wkpfStrict, reverse6to4, scoped: own, unscoped };
        const policy = policyOf(this.#all.length, config, rest);
        this.#all.push(policy);
        return policy;
      };
      const plain = add([], null);
      return { plain, scoped: this.#isScoped ? add(scoped, plain) : plain };
    };
    const ofAll = pairOf(names);
    this.#others = clients === null ? ofAll : pairOf({ ...names, synthesize: false });
    const named = policies.map((one) => ({ clients: one.clients.map(mapped), pair: pairOf(one) }));
    if (clients !== null) named.push({ clients: clients.map(mapped), pair: ofAll });
    this.#named = named;
  }

  /** All policies, by id. */
  get all(): readonly Policy[] {
    return this.#all;
  }

  /**
   * The policy of who asks.
   * @param client its address, IPv4 as ::ffff:a.b.c.d
   * @param local the address that was asked; null: not known
   */
  policyFor(client: Address6, local: Address6 | null): Policy {
    let pair = this.#others;
    // `::/0` is all of IPv6, and not the mapped addresses by which IPv4 is written here.
    const least = prefix6Contains(MAPPED, client) ? MAPPED.length : 0;
    for (const one of this.#named) {
      if (one.clients.some((prefix) => prefix.length >= least && prefix6Contains(prefix, client))) {
        pair = one.pair;
        break;
      }
    }
    return this.#isScoped && local !== null && isOneScope(client, local) ? pair.scoped : pair.plain;
  }
}

const MAPPED: Prefix6 = { address: mappedAddress(0), length: 96 };

/** A prefix of IPv4 addresses as one of IPv4-mapped ones. */
function mapped(prefix: Prefix4 | Prefix6): Prefix6 {
  const { address, length } = prefix;
  return typeof address === 'number'
    ? { address: mappedAddress(address), length: MAPPED.length + length }
    : { address, length };
}

function policyOf(
  id: number,
  config: SynthesisConfig,
  rest: Pick<Policy, 'wkpfStrict' | 'reverse6to4' | 'scoped' | 'unscoped'> & { readonly pref64: Prefix6 },
): Policy {
  const { pref64, ...common } = rest;
  const pref64s =
    config.pref64s.length > 0 ? config.pref64s : [{ prefix: pref64, ipv4: [], excludeAaaa: [] }];
  const prefixes = pref64s.map(({ prefix }) => prefix);
  return {
    id,
    ...common,
    synthesize: config.synthesize,
    pref64s,
    choice: config.pref64Choice,
    excludedAaaa: [...config.excludeAaaa, ...prefixes, ...pref64s.flatMap((one) => one.excludeAaaa)],
    excludedIpv4: config.excludeIpv4,
    excludedNames: new NameSet(config.excludeNames),
    ignoreAaaa: new NameSet(config.ignoreAaaa),
    breakDnssec: config.breakDnssec,
    reversePrefixes: [...prefixes, WELL_KNOWN_PREFIX].sort((a, b) => b.length - a.length),
    reverse: config.reverse,
  };
}

/** Why nothing is synthesized for a query, whatever the forwarders say; null where it may be. */
export type Bypass = 'class' | 'checking-disabled' | 'client' | 'excluded-name';

/**
 * RFC 6147 section 5.1: only class IN has AAAA records; 5.5, case 3: who checks signatures itself gets what the servers say.
 * @param name the folded name that addresses are for
 */
export function bypassOf(query: Query, policy: Policy, name = query.name): Bypass | null {
  if (query.qclass !== CLASS_IN) return 'class';
  if ((query.flags & FLAG_CD) !== 0) return 'checking-disabled';
  if (!policy.synthesize) return 'client';
  return policy.excludedNames.has(name) ? 'excluded-name' : null;
}

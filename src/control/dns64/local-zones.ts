/**
 * Names that are answered here, without asking anybody: ipv4only.arpa, by which clients learn the prefix (RFC 7050, RFC 8880),
 * resolver.arpa (RFC 9462), the special names of RFC 6761 and RFC 7686, and zones that are private to every network (RFC 6303).
 */
import {
  type Address6,
  formatAddress4,
  type Prefix6,
  parsePrefix6,
  prefix6Contains,
  UNSPECIFIED6,
} from '../../wire/address.js';
import { embedAddress } from '../../wire/rfc6052.js';
import type { PrivateZones } from '../config/types.js';
import { readAddress } from './access.js';
import {
  ANSWER,
  AUTHORITY,
  CLASS_IN,
  FLAG_AA,
  FLAG_CD,
  nameOf,
  RCODE_NOERROR,
  RCODE_NXDOMAIN,
  TYPE_A,
  TYPE_AAAA,
  TYPE_ANY,
  TYPE_DS,
  TYPE_NS,
  TYPE_PTR,
  TYPE_SOA,
} from './message.js';
import { nearestOf, type Policy } from './policy.js';
import { type Query, type Reply, writtenReply } from './query.js';
import { addressBytes } from './synthesize.js';
import { MessageWriter } from './writer.js';

/** Short enough that clients notice a new prefix within the hour. */
const LOCAL_TTL_SEC = 3600;
const NEGATIVE_TTL_SEC = 600;
/** RFC 7050 section 2.2: the Well-Known IPv4 Addresses. */
const WELL_KNOWN_IPV4: readonly number[] = [0xc00000aa, 0xc00000ab];
const LOOPBACK4 = 0x7f000001;
const LOOPBACK6: Address6 = [0, 0, 0, 1];
const IPV4ONLY = nameOf('ipv4only.arpa');
const LOCALHOST = nameOf('localhost');

interface SpecialZone {
  /** What demands it. */
  readonly rfc: string;
  /** What a name below the zone is: the same as the zone, there without data, or not there. */
  readonly below: 'same' | 'empty' | 'absent';
  /** False: the zone itself does not exist either. */
  readonly exists: boolean;
  /** The parent answers DS: with it a validator learns that the zone is not signed. */
  readonly hasParent: boolean;
  readonly a?: readonly number[];
  readonly aaaa?: readonly Address6[] | 'prefixes';
  readonly ptr?: string;
}

const ZONE = { below: 'absent', exists: true, hasParent: true } as const;
const ABSENT = { below: 'absent', exists: false, hasParent: false } as const;
const RFC_8880 = 'RFC 8880 section 7';
const RFC_6761_LOCALHOST = 'RFC 6761 section 6.3';

const SPECIAL: ReadonlyMap<string, SpecialZone> = new Map([
  [IPV4ONLY, { ...ZONE, rfc: RFC_8880, a: WELL_KNOWN_IPV4, aaaa: 'prefixes' }],
  ...WELL_KNOWN_IPV4.map(
    (ipv4) =>
      [reverseName(formatAddress4(ipv4)), { ...ZONE, rfc: RFC_8880, ptr: IPV4ONLY }] as [string, SpecialZone],
  ),
  // We designate no encrypted resolver, and nobody else's is ours. Every name is there, without data.
  [nameOf('resolver.arpa'), { ...ZONE, rfc: 'RFC 9462 section 6.4', below: 'empty', hasParent: false }],
  [
    LOCALHOST,
    { ...ZONE, rfc: RFC_6761_LOCALHOST, below: 'same', hasParent: false, a: [LOOPBACK4], aaaa: [LOOPBACK6] },
  ],
  ...['1.0.0.127.in-addr.arpa', `1.${'0.'.repeat(31)}ip6.arpa`].map(
    (name) => [nameOf(name), { ...ZONE, rfc: RFC_6761_LOCALHOST, ptr: LOCALHOST }] as [string, SpecialZone],
  ),
  [nameOf('invalid'), { ...ABSENT, rfc: 'RFC 6761 section 6.4' }],
  [nameOf('onion'), { ...ABSENT, rfc: 'RFC 7686 section 2' }],
]);

/** What demands that a special name (folded) is answered here; undefined of any other. */
export function specialRfc(name: string): string | undefined {
  return SPECIAL.get(nearestOf(SPECIAL, name) ?? '')?.rfc;
}

/** RFC 6303 section 4, RFC 7793, RFC 8375; and domains that only a network's own name servers know (RFC 6761, RFC 6762). */
const PRIVATE: ReadonlySet<string> = new Set(
  [
    ...['0', '10', '127', '254.169', '168.192', '2.0.192', '100.51.198', '113.0.203', '255.255.255.255'],
    ...Array.from({ length: 16 }, (_, i) => `${16 + i}.172`),
    ...Array.from({ length: 64 }, (_, i) => `${64 + i}.100`),
  ]
    .map((labels) => `${labels}.in-addr.arpa`)
    .concat(
      [
        '0.'.repeat(31) + 0,
        `1.${'0.'.repeat(30)}0`,
        ...['d.f', '8.e.f', '9.e.f', 'a.e.f', 'b.e.f', '8.b.d.0.1.0.0.2'],
      ].map((labels) => `${labels}.ip6.arpa`),
      ['home.arpa', 'test', 'local'],
    )
    .map(nameOf),
);

function reverseName(ipv4: string): string {
  return nameOf(`${ipv4.split('.').reverse().join('.')}.in-addr.arpa`);
}

function writeSoa(writer: MessageWriter, zone: string, section: typeof ANSWER | typeof AUTHORITY): void {
  const numbers = Buffer.alloc(20);
  for (const [i, value] of [1, 7200, 3600, 86400, NEGATIVE_TTL_SEC].entries())
    numbers.writeUInt32BE(value, 4 * i);
  // RFC 2308 section 3: the negative answer carries the zone's SOA. Server and mailbox by RFC 6303 section 3.
  const rdata = Buffer.concat([Buffer.from(`${zone}${nameOf('nobody.invalid')}`, 'latin1'), numbers]);
  writer.record(zone, TYPE_SOA, CLASS_IN, NEGATIVE_TTL_SEC, rdata, section);
}

/** NXDOMAIN or an empty answer of ours, with the SOA of a zone of ours. */
export function negativeReply(query: Query, rcode: number, zone: string): Reply {
  const writer = new MessageWriter(FLAG_AA, query.question);
  writeSoa(writer, zone, AUTHORITY);
  return writtenReply(query, writer, rcode);
}

/** Addresses that only a network of one's own has: loopback, private (RFC 1918), shared (RFC 6598), link-local, unique-local. */
const OWN_NETWORK: readonly Prefix6[] = [
  ...['127.0.0.0/104', '10.0.0.0/104', '172.16.0.0/108', '192.168.0.0/112', '169.254.0.0/112'].map(
    (text) => `::ffff:${text}`,
  ),
  ...['::ffff:100.64.0.0/106', '::1/128', 'fe80::/10', 'fc00::/7'],
].map((text) => parsePrefix6(text) as Prefix6);

const isOfOwnNetwork = (address: string) => {
  const words = readAddress(address)?.words ?? UNSPECIFIED6;
  return OWN_NETWORK.some((prefix) => prefix6Contains(prefix, words));
};

export class LocalZones {
  readonly #privateZones: PrivateZones;
  readonly #forwarders: () => readonly { readonly address: string }[];

  /** @param forwarders those in use now: with `auto` they decide whether private zones are forwarded */
  constructor(privateZones: PrivateZones, forwarders: () => readonly { readonly address: string }[]) {
    this.#privateZones = privateZones;
    this.#forwarders = forwarders;
  }

  /** The answer to a question about special names, whoever the forwarders are. Null: not such a name. */
  special(query: Query, policy: Policy): Reply | null {
    if (query.qclass !== CLASS_IN) return null;
    const zone = nearestOf(SPECIAL, query.name);
    return zone === null ? null : specialReply(query, zone, SPECIAL.get(zone) as SpecialZone, policy);
  }

  /** RFC 6303: the answer of an empty zone to a question about a private one, where it is not to be forwarded. */
  private(query: Query): Reply | null {
    if (query.qclass !== CLASS_IN) return null;
    const zone = nearestOf(PRIVATE, query.name);
    if (zone === null || this.#isForwarded()) return null;
    if (query.name !== zone) return negativeReply(query, RCODE_NXDOMAIN, zone);
    if (query.qtype === TYPE_DS) return null;
    // Section 3: the zone holds its SOA, and an NS that is itself.
    const asks = (type: number) => query.qtype === type || query.qtype === TYPE_ANY;
    if (!asks(TYPE_SOA) && !asks(TYPE_NS)) return negativeReply(query, RCODE_NOERROR, zone);
    const writer = new MessageWriter(FLAG_AA, query.question);
    if (asks(TYPE_SOA)) writeSoa(writer, zone, ANSWER);
    if (asks(TYPE_NS)) writer.nameRecord(zone, TYPE_NS, CLASS_IN, NEGATIVE_TTL_SEC, zone, ANSWER);
    return writtenReply(query, writer, RCODE_NOERROR);
  }

  #isForwarded(): boolean {
    if (this.#privateZones !== 'auto') return this.#privateZones === 'forward';
    const forwarders = this.#forwarders();
    return forwarders.length > 0 && forwarders.every(({ address }) => isOfOwnNetwork(address));
  }
}

function specialReply(query: Query, name: string, zone: SpecialZone, policy: Policy): Reply | null {
  const isApex = query.name === name;
  if (query.qtype === TYPE_DS && isApex && zone.hasParent) return null;
  if (!zone.exists || (!isApex && zone.below === 'absent')) return negativeReply(query, RCODE_NXDOMAIN, name);
  if (!isApex && zone.below === 'empty') return negativeReply(query, RCODE_NOERROR, name);
  const writer = new MessageWriter(FLAG_AA, query.question);
  const owner = query.question.toString('latin1', 0, query.question.length - 4);
  const asks = (type: number) => query.qtype === type || query.qtype === TYPE_ANY;
  let found = false;
  const write = (type: number, rdata: Buffer) => {
    found = true;
    writer.record(owner, type, CLASS_IN, LOCAL_TTL_SEC, rdata, ANSWER);
  };
  if (asks(TYPE_A)) {
    for (const ipv4 of zone.a ?? []) {
      const rdata = Buffer.alloc(4);
      rdata.writeUInt32BE(ipv4);
      write(TYPE_A, rdata);
    }
  }
  if (zone.aaaa === 'prefixes') {
    // ANY gets what is there without synthesis.
    if (query.qtype === TYPE_AAAA)
      for (const one of prefixAddresses(query, policy)) write(TYPE_AAAA, addressBytes(one));
  } else if (asks(TYPE_AAAA)) {
    for (const one of zone.aaaa ?? []) write(TYPE_AAAA, addressBytes(one));
  }
  if (asks(TYPE_PTR) && zone.ptr !== undefined) {
    found = true;
    writer.nameRecord(owner, TYPE_PTR, CLASS_IN, LOCAL_TTL_SEC, zone.ptr, ANSWER);
  }
  return found ? writtenReply(query, writer, RCODE_NOERROR) : negativeReply(query, RCODE_NOERROR, name);
}

/** RFC 7050 section 3: a client that wants the prefix leaves CD clear. Each prefix in use is shown. */
function prefixAddresses(query: Query, policy: Policy): Address6[] {
  if (!policy.synthesize || (query.flags & FLAG_CD) !== 0) return [];
  return policy.pref64s.flatMap(({ prefix }) => WELL_KNOWN_IPV4.map((ipv4) => embedAddress(prefix, ipv4)));
}

/** fast-check: packets of every shape, whole and wrong. */
import fc from 'fast-check';
import { bytesOf, checksum, concat, pseudo4, pseudo6, withU16 } from './bytes.js';
import { type NamedEnds, namedEnds, resolveEnds, type Setup } from './generate-settings.js';
import { ICMP4, ICMP6 } from './icmp.js';
import { CHECKSUM_AT, type Frame, NO_VNET, TCP, UDP } from './offload.js';

/** Bytes that differ from place to place. */
export function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (seed + i * 7 + (i >> 8) * 3) & 255);
}

export const byte = fc.nat({ max: 255 });
const word = fc.nat({ max: 65535 });
/** Around every limit: 68, 576, 1260, 1280, 1400, 1500, with all headers that may come on top. */
export const dataSize = fc.oneof(
  { weight: 5, arbitrary: fc.nat({ max: 40 }) },
  { weight: 2, arbitrary: fc.integer({ min: 1180, max: 1290 }) },
  { weight: 1, arbitrary: fc.integer({ min: 1300, max: 1520 }) },
  { weight: 1, arbitrary: fc.integer({ min: 100, max: 600 }) },
);
const data = (size: fc.Arbitrary<number>) => fc.tuple(size, byte).map(([n, seed]) => pattern(n, seed));

interface Upper {
  readonly protocol: number;
  /** The checksum field zero, or as it shall be sent if `sum` is 'keep'. */
  readonly bytes: Uint8Array;
  readonly sum: 'good' | 'zero' | 'bad' | 'keep';
}

const sums = fc.constantFrom('good', 'good', 'good', 'good', 'zero', 'bad') as fc.Arbitrary<Upper['sum']>;

const mss = fc.constantFrom(536, 1220, 1240, 1241, 1440, 1460, 8960);
const tcpOptions = fc.oneof(
  fc.constant(new Uint8Array()),
  mss.map((value) => concat(Uint8Array.of(2, 4), bytesOf(value, 2))),
  mss.map((value) => concat(Uint8Array.of(1, 3, 3, 7, 1, 2, 4), bytesOf(value, 2), Uint8Array.of(1, 0, 0))),
  fc.uint8Array({ minLength: 4, maxLength: 12 }).map((bytes) => bytes.slice(0, bytes.length & ~3)),
);

export const tcpHeader = fc
  .record({ ports: fc.nat(), flags: fc.oneof(fc.constantFrom(2, 0x12, 0x10, 0x99), byte), tcpOptions })
  .map(({ ports, flags, tcpOptions: options }) =>
    concat(
      bytesOf(ports, 4),
      bytesOf(0xfffff000 + (ports % 4096), 4),
      bytesOf(ports * 3, 4),
      Uint8Array.of((5 + options.length / 4) << 4, flags, 1, 2, 0, 0, 0, 7),
      options,
    ),
  );

const tcp = fc
  .record({ header: tcpHeader, body: data(dataSize), sum: sums })
  .map(({ header, body, sum }): Upper => ({ protocol: TCP, bytes: concat(header, body), sum }));

/** UDP, UDP-Lite and DCCP have the checksum at the same place. */
const datagram = fc
  .record({
    protocol: fc.constantFrom(UDP, UDP, UDP, 136, 33),
    ports: fc.nat(),
    body: data(dataSize),
    sum: sums,
    lie: fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, fc.integer({ min: -9, max: 9 })),
  })
  .map(({ protocol, ports, body, sum, lie }): Upper => {
    const length = protocol === UDP ? Math.max(0, body.length + 8 + lie) : protocol === 136 ? 8 : 0x5000;
    return { protocol, bytes: concat(bytesOf(ports, 4), bytesOf(length, 2), bytesOf(0, 2), body), sum };
  });

const otherProtocol = fc
  .tuple(fc.constantFrom(132, 50, 47, 51, 59, 135, 0, 43, 44, 60, 1, 58, 4, 41, 253), data(dataSize))
  .map(([protocol, bytes]): Upper => ({ protocol, bytes, sum: 'keep' }));

const echo = (protocol: number, types: number[]) =>
  fc
    .record({
      type: fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...types) }, byte),
      body: data(dataSize),
      sum: sums,
    })
    .map(
      ({ type, body, sum }): Upper => ({
        protocol,
        bytes: concat(Uint8Array.of(type, 0, 0, 0, 0x12, 0x34, 0, 1), body),
        sum,
      }),
    );

const shortUpper = fc
  .tuple(fc.constantFrom(TCP, UDP, 33, 136, ICMP4, ICMP6, 132), fc.uint8Array({ maxLength: 24 }))
  .map(([protocol, bytes]): Upper => ({ protocol, bytes, sum: 'keep' }));

interface Ends {
  readonly source: bigint;
  readonly destination: bigint;
}

function checksumAt(protocol: number): number | undefined {
  return protocol === ICMP4 || protocol === ICMP6 ? 2 : CHECKSUM_AT.get(protocol);
}

export function pseudo(family: 4 | 6, protocol: number, ends: Ends, length: number): Uint8Array {
  if (family === 6) return pseudo6(ends.source, ends.destination, protocol, length);
  return protocol === ICMP4 ? new Uint8Array() : pseudo4(ends.source, ends.destination, protocol, length);
}

/** The upper layer with the checksum it shall have. */
export function finished(upper: Upper, family: 4 | 6, ends: Ends): Uint8Array {
  const at = checksumAt(upper.protocol);
  if (at === undefined || upper.sum === 'keep' || upper.bytes.length < at + 2) return upper.bytes;
  if (upper.sum === 'zero') return upper.bytes;
  if (upper.sum === 'bad') return withU16(upper.bytes, at, 0xbad);
  const value = checksum(concat(pseudo(family, upper.protocol, ends, upper.bytes.length), upper.bytes));
  return withU16(upper.bytes, at, value || 0xffff);
}

interface Fragment {
  readonly offset: number;
  readonly more: boolean;
  readonly id: number;
}

const fragments: fc.Arbitrary<Fragment> = fc.record({
  offset: fc.oneof(fc.constant(0), fc.nat({ max: 200 }), fc.integer({ min: 7900, max: 8191 })),
  more: fc.boolean(),
  id: fc.oneof(word, fc.constant(0xdeadbeef)),
});
const maybeFragment = fc.oneof({ weight: 3, arbitrary: fc.constant(null) }, fragments);
const ttl = fc.constantFrom(...new Array<number>(30).fill(64), 255, 0, 1, 2);

interface Header {
  readonly ends: NamedEnds;
  readonly ttl: number;
  readonly tos: number;
  readonly fragment: Fragment | null;
  readonly df: boolean;
  readonly options: Uint8Array;
  /** IPv6 extension headers: type and body behind its next-header byte. */
  readonly extensions: readonly { type: number; body: Uint8Array }[];
  /** What the length field says too much. */
  readonly lie: number;
}

export function ipv4(header: Header, ends: Ends, protocol: number, payload: Uint8Array): Uint8Array {
  const { fragment, options } = header;
  const bytes = concat(
    Uint8Array.of(0x45 + options.length / 4, header.tos),
    bytesOf(Math.max(0, 20 + options.length + payload.length + header.lie) % 65536, 2),
    bytesOf((fragment?.id ?? 0x4321) % 65536, 2),
    bytesOf((header.df ? 0x4000 : 0) + (fragment?.more ? 0x2000 : 0) + (fragment?.offset ?? 0), 2),
    Uint8Array.of(header.ttl, protocol, 0, 0),
    bytesOf(ends.source, 4),
    bytesOf(ends.destination, 4),
    options,
  );
  return concat(withU16(bytes, 10, checksum(bytes)), payload);
}

export function ipv6(header: Header, ends: Ends, protocol: number, payload: Uint8Array): Uint8Array {
  const all = [...header.extensions];
  const { fragment } = header;
  if (fragment) {
    const body = concat(
      Uint8Array.of(0),
      bytesOf(fragment.offset * 8 + (fragment.more ? 1 : 0), 2),
      bytesOf(fragment.id, 4),
    );
    all.splice(fragment.id % 5 === 0 ? 0 : all.length, 0, { type: 44, body });
  }
  const chain = concat(
    ...all.map(({ body }, i) => concat(Uint8Array.of(all[i + 1]?.type ?? protocol), body)),
  );
  return concat(
    bytesOf(0x60000000 + header.tos * 0x100000 + 0x12345, 4),
    bytesOf(Math.max(0, chain.length + payload.length + header.lie) % 65536, 2),
    Uint8Array.of(all[0]?.type ?? protocol, header.ttl),
    bytesOf(ends.source, 16),
    bytesOf(ends.destination, 16),
    chain,
    payload,
  );
}

const options4 = fc.oneof(
  { weight: 8, arbitrary: fc.constant(new Uint8Array()) },
  fc.constant(Uint8Array.of(1, 1, 1, 0)),
  fc
    .record({ type: fc.constantFrom(131, 137, 7), pointer: fc.constantFrom(4, 7, 8, 11) })
    .map(({ type, pointer }) => Uint8Array.of(1, type, 7, pointer, 8, 8, 4, 4)),
  fc.uint8Array({ minLength: 4, maxLength: 40 }).map((bytes) => bytes.slice(0, bytes.length & ~3)),
);

const extension6 = fc.oneof(
  fc
    .record({ type: fc.constantFrom(0, 60, 60, 43), units: fc.constantFrom(0, 0, 0, 1, 2) })
    .map(({ type, units }) => ({
      type,
      body: concat(Uint8Array.of(units), pattern(6 + 8 * units, 0).fill(0)),
    })),
  fc.record({ left: fc.constantFrom(0, 1), type: fc.constantFrom(0, 4) }).map(({ left, type }) => ({
    type: 43,
    body: Uint8Array.of(0, type, left, 0, 0, 0, 0),
  })),
  fc.record({ field: fc.constantFrom(0, 1, 8, 9) }).map(({ field }) => ({
    type: 44,
    body: concat(Uint8Array.of(0), bytesOf(field, 2), bytesOf(77, 4)),
  })),
  fc.constantFrom(51, 50, 135, 139).map((type) => ({ type, body: Uint8Array.of(0, 0, 0, 0, 0, 0, 0) })),
);

const headersOf = (family: 4 | 6): fc.Arbitrary<Header> =>
  fc.record({
    ends: namedEnds(family),
    ttl,
    tos: byte,
    fragment: maybeFragment,
    df: fc.boolean(),
    options: family === 4 ? options4 : fc.constant(new Uint8Array()),
    extensions:
      family === 6
        ? fc.oneof({ weight: 5, arbitrary: fc.constant([]) }, fc.array(extension6, { maxLength: 3 }))
        : fc.constant([]),
    lie: fc.oneof({ weight: 25, arbitrary: fc.constant(0) }, fc.integer({ min: -30, max: 30 })),
  });
export const headers = { 4: headersOf(4), 6: headersOf(6) };

function build(s: Setup, family: 4 | 6, header: Header, upper: Upper): Uint8Array {
  const ends = resolveEnds(s, family, header.ends);
  return (family === 4 ? ipv4 : ipv6)(header, ends, upper.protocol, finished(upper, family, ends));
}

const icmpOf = (family: 4 | 6) => (family === 4 ? echo(ICMP4, [8, 0]) : echo(ICMP6, [128, 129]));

/** A frame that waits for the addresses of a setup. */
export type Template = (s: Setup) => Frame;

/** Packets with no offload. */
export function plain(family: 4 | 6): fc.Arbitrary<Template> {
  const uppers = fc.oneof(tcp, datagram, datagram, icmpOf(family), otherProtocol, shortUpper);
  return fc.tuple(headers[family], uppers).map(([header, upper]) => (s) => ({
    vnet: NO_VNET,
    bytes: build(s, family, header, upper),
  }));
}

/** ICMP errors that quote a packet, whole, cut, and with RFC 4884 extensions. */
export function errors(family: 4 | 6): fc.Arbitrary<Template> {
  return fc
    .record({
      outer: headers[family],
      isOuterFragment: fc.constantFrom(...new Array(9).fill(false), true),
      quotedHeader: headers[family],
      quotedUpper: fc.oneof(tcp, datagram, icmpOf(family), otherProtocol, shortUpper),
      isSourceMine: fc.constantFrom(...new Array(9).fill(true), false),
      isDestinationMine: fc.constantFrom(true, true, false),
      cut: fc.oneof(fc.nat({ max: 100 }), fc.nat({ max: 1300 }), fc.constantFrom(28, 48, 9000)),
      padding: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, fc.constantFrom(1, 4, 8, 100, 130)),
      type: family === 4 ? fc.constantFrom(3, 3, 3, 11, 12, 4, 5) : fc.constantFrom(1, 1, 2, 3, 4, 0, 100),
      code: fc.oneof({ weight: 3, arbitrary: fc.constantFrom(0, 1, 2, 3, 4) }, fc.nat({ max: 16 })),
      pointer: fc.oneof(fc.nat({ max: 45 }), byte),
      mtu: fc.constantFrom(0, 68, 576, 1200, 1280, 1300, 1400, 1480, 1500, 9000, 65535),
      length: fc.oneof(
        { weight: 3, arbitrary: fc.constant(0) },
        { weight: 2, arbitrary: fc.constantFrom(1, 15, 16, 17, 20, 31, 32, 33, 40, 64, 130, 255) },
      ),
      extensions: fc.oneof(
        fc.constant(new Uint8Array()),
        fc.constantFrom(4, 8, 12, 17, 100, 420, 440, 600).map((n) => pattern(n, 0x20)),
      ),
      sum: sums.map((sum) => (sum === 'zero' ? 'good' : sum)),
    })
    .map((e) => (s) => {
      const header = e.isOuterFragment ? e.outer : { ...e.outer, fragment: null, lie: 0 };
      const quotedEnds = {
        source: e.isSourceMine ? header.ends.destination : e.quotedHeader.ends.source,
        destination: e.isDestinationMine ? header.ends.source : e.quotedHeader.ends.source,
      };
      const quoted = build(s, family, { ...e.quotedHeader, ends: quotedEnds }, e.quotedUpper);
      let quote = concat(quoted.slice(0, e.cut), bytesOf(0, e.padding));
      if (e.length > 0) {
        const original = new Uint8Array(e.length * (family === 4 ? 4 : 8));
        original.set(quote.slice(0, original.length));
        quote = concat(original, e.extensions);
      }
      const rest = new Uint8Array(4);
      rest[family === 4 ? 1 : 0] = e.length;
      if (family === 4 ? e.type === 3 && e.code === 4 : e.type === 2) rest.set(bytesOf(e.mtu, 2), 2);
      if (family === 4 && e.type === 12) rest[0] = e.pointer;
      if (family === 6 && e.type === 4) rest.set([0, 0, 0, e.pointer]);
      const protocol = family === 4 ? ICMP4 : ICMP6;
      const bytes = concat(Uint8Array.of(e.type, e.code, 0, 0), rest, quote);
      return { vnet: NO_VNET, bytes: build(s, family, header, { protocol, bytes, sum: e.sum }) };
    });
}

/** fast-check: frames as they come from the device: packets with and without offload, whole, wrong and on the edge. */
import fc from 'fast-check';
import type { Vnet } from '../harness.js';
import { Reference } from '../reference.js';
import { bytesOf, checksum, concat, onesSum, parse4, parse6, u16, withU16 } from './bytes.js';
import { type Chain, walkChain } from './gateway.js';
import {
  byte,
  dataSize,
  errors,
  finished,
  headers,
  ipv4,
  ipv6,
  pattern,
  plain,
  pseudo,
  type Template,
  tcpHeader,
} from './generate-packets.js';
import { resolveEnds } from './generate-settings.js';
import { CHECKSUM_AT, NO_VNET, TCP, UDP } from './offload.js';

const often = <T>(value: T, rare: fc.Arbitrary<T>, weight = 12) =>
  fc.oneof({ weight, arbitrary: fc.constant(value) }, rare);

/** TCP and UDP that ask the device to finish the checksum, and perhaps to cut them. */
function offloaded(family: 4 | 6): fc.Arbitrary<Template> {
  return fc
    .record({
      header: headers[family],
      isFragmentAllowed: often(false, fc.constant(true), 6),
      isTcp: fc.boolean(),
      tcp: tcpHeader,
      size: fc.oneof(
        { weight: 4, arbitrary: dataSize },
        { weight: 4, arbitrary: fc.integer({ min: 1, max: 9000 }) },
        { weight: 1, arbitrary: fc.integer({ min: 65300, max: 65560 }) },
      ),
      seed: byte,
      gsoSize: fc.oneof(
        fc.constantFrom(1, 100, 536, 1200, 1208, 1212, 1220, 1232, 1240, 1400, 1440, 1460, 8960, 0),
        fc.integer({ min: 30, max: 1500 }),
      ),
      isSuper: fc.boolean(),
      ecn: fc.constantFrom(0, 0, 0x80),
      wrongType: often<number | null>(null, fc.constantFrom(1, 3, 4, 5, 0x7f)),
      flags: often(1, fc.constantFrom(0, 2, 3)),
      startOff: often(0, fc.integer({ min: -40, max: 60 })),
      offsetOff: often(0, fc.integer({ min: -6, max: 40 })),
    })
    .map((o) => (s) => {
      const header = { ...o.header, lie: 0, fragment: o.isFragmentAllowed ? o.header.fragment : null };
      const ends = resolveEnds(s, family, header.ends);
      const protocol = o.isTcp ? TCP : UDP;
      const most =
        family === 4
          ? 65535 - 20 - header.options.length
          : 65535 + 40 - ipv6(header, ends, protocol, new Uint8Array()).length;
      const own = o.isTcp ? o.tcp : concat(bytesOf(0x12345678, 4), bytesOf(0, 4));
      const upper = concat(own, pattern(o.size, o.seed)).slice(0, most);
      if (!o.isTcp) upper.set(bytesOf(upper.length, 2), 4);
      const at = o.isTcp ? 16 : 6;
      const isPartial = (o.flags & 1) === 1;
      const payload = isPartial
        ? withU16(upper, at, onesSum(pseudo(family, protocol, ends, upper.length)))
        : finished({ protocol, bytes: upper, sum: 'good' }, family, ends);
      const bytes = (family === 4 ? ipv4 : ipv6)(header, ends, protocol, payload);
      const start = bytes.length - upper.length;
      const type = o.wrongType ?? (o.isTcp ? (family === 4 ? 1 : 4) : 5);
      const vnet: Vnet = {
        flags: o.flags,
        gsoType: o.isSuper ? type | o.ecn : 0,
        hdrLen: start + own.length,
        gsoSize: o.isSuper ? o.gsoSize : 0,
        csumStart: isPartial ? Math.max(0, start + o.startOff) : 0,
        csumOffset: isPartial ? Math.max(0, at + o.offsetOff) : 0,
      };
      return { vnet, bytes };
    });
}

/** A few bytes of it other than they were. The IPv4 header checksum is mostly made good again. */
function mutated(templates: fc.Arbitrary<Template>): fc.Arbitrary<Template> {
  const change = fc.record({ at: fc.oneof(fc.nat({ max: 80 }), fc.nat({ max: 200 })), value: byte });
  return fc
    .record({
      template: templates,
      changes: fc.array(change, { minLength: 1, maxLength: 3 }),
      cut: fc.option(fc.nat({ max: 1400 }), { freq: 3 }),
      isRepaired: often(true, fc.constant(false), 3),
    })
    .map(({ template, changes, cut, isRepaired }) => (s) => {
      const frame = template(s);
      let bytes: Uint8Array = frame.bytes.slice(0, cut ?? undefined);
      for (const { at, value } of changes) if (at < bytes.length) bytes[at] = value;
      const headerLength = ((bytes[0] ?? 0) & 15) * 4;
      if (isRepaired && (bytes[0] ?? 0) >> 4 === 4 && headerLength >= 20 && bytes.length >= headerLength) {
        bytes = withU16(bytes, 10, 0);
        bytes = withU16(bytes, 10, checksum(bytes.subarray(0, headerLength)));
      }
      return { vnet: frame.vnet, bytes };
    });
}

/** Where the checksum of a packet's upper layer lies; -1 where it has none, or no one knows. */
function checksumFieldOf(bytes: Uint8Array): number {
  const packet4 = parse4(bytes, false);
  if (packet4 !== null) {
    const at = CHECKSUM_AT.get(packet4.protocol);
    return at === undefined || packet4.offset > 0 ? -1 : 20 + packet4.options.length + at;
  }
  const packet6 = parse6(bytes, false);
  if (packet6 === null) return -1;
  let chain: Chain;
  try {
    chain = walkChain(packet6);
  } catch {
    return -1;
  }
  const at = CHECKSUM_AT.get(chain.protocol);
  return at === undefined || (chain.fragment?.offset ?? 0) > 0 ? -1 : 40 + chain.length + at;
}

/** With a checksum that adjusts to 0 or a neighbour of it: the two zeros of one's complement, and UDP's "none". */
function withZeroSum(templates: fc.Arbitrary<Template>): fc.Arbitrary<Template> {
  return fc.tuple(templates, fc.constantFrom(0, 0, 0, 1, 0xfffe)).map(([template, wanted]) => (s) => {
    const { bytes } = template(s);
    const [result] = new Reference(s.options).translate(bytes).frames;
    const from = checksumFieldOf(bytes);
    const to = result ? checksumFieldOf(result.bytes) : -1;
    if (!result || from < 0 || to < 0 || from + 2 > bytes.length || to + 2 > result.bytes.length) {
      return { vnet: NO_VNET, bytes };
    }
    const field = (u16(bytes, from) - u16(result.bytes, to) + wanted + 2 * 65535) % 65535;
    return { vnet: NO_VNET, bytes: withU16(bytes, from, field || 0xffff) };
  });
}

const right = fc.oneof(
  ...([4, 6] as const).flatMap((family) => [
    { weight: 4, arbitrary: plain(family) },
    { weight: 4, arbitrary: errors(family) },
    { weight: 3, arbitrary: offloaded(family) },
  ]),
);

/** Behind its end, as Ethernet pads. */
const padded = right.map(
  (template): Template =>
    (s) => {
      const { vnet, bytes } = template(s);
      return { vnet, bytes: concat(bytes, pattern(7, 9)) };
    },
);

/** Frames as they come from the device, right and wrong. */
export const templates: fc.Arbitrary<Template> = fc.oneof(
  { weight: 5, arbitrary: right },
  { weight: 2, arbitrary: mutated(right) },
  { weight: 1, arbitrary: padded },
  { weight: 1, arbitrary: withZeroSum(fc.oneof(plain(4), plain(6))) },
);

/** Names and records as text (RFC 1035 section 5.1), for people: what a query costs does not depend on it. */
import { address6At, formatAddress4, formatAddress6 } from '../../wire/address.js';
import {
  CLASS_IN,
  type DnsMessage,
  type DnsRecord,
  readName,
  TYPE_A,
  TYPE_AAAA,
  TYPE_ANY,
  TYPE_CNAME,
  TYPE_DNAME,
  TYPE_DS,
  TYPE_NS,
  TYPE_PTR,
  TYPE_RRSIG,
  TYPE_SOA,
} from './message.js';

const TYPES: ReadonlyMap<string, number> = new Map([
  ['A', TYPE_A],
  ['NS', TYPE_NS],
  ['CNAME', TYPE_CNAME],
  ['SOA', TYPE_SOA],
  ['PTR', TYPE_PTR],
  ['MX', 15],
  ['TXT', 16],
  ['AAAA', TYPE_AAAA],
  ['SRV', 33],
  ['NAPTR', 35],
  ['DNAME', TYPE_DNAME],
  ['DS', TYPE_DS],
  ['RRSIG', TYPE_RRSIG],
  ['NSEC', 47],
  ['DNSKEY', 48],
  ['NSEC3', 50],
  ['TLSA', 52],
  ['SVCB', 64],
  ['HTTPS', 65],
  ['CAA', 257],
  ['ANY', TYPE_ANY],
]);
const TYPE_NAMES: ReadonlyMap<number, string> = new Map([...TYPES].map(([name, type]) => [type, name]));
const RCODES = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED'];

/** `AAAA`, or `TYPE999` (RFC 3597 section 5). */
export function typeText(type: number): string {
  return TYPE_NAMES.get(type) ?? `TYPE${type}`;
}

/** Null: no such type. Any case; `TYPE999` too. */
export function parseType(text: string): number | null {
  const name = text.toUpperCase();
  const number = /^TYPE(\d{1,5})$/.exec(name)?.[1];
  const type = TYPES.get(name) ?? (number === undefined ? null : Number(number));
  return type === null || type === 0 || type > 65535 ? null : type;
}

export function rcodeText(rcode: number): string {
  return RCODES[rcode] ?? `RCODE${rcode}`;
}

/** A name in wire form (see message.ts) as dotted text without the final dot; the root is `.`. */
export function nameText(name: string): string {
  const labels: string[] = [];
  for (let at = 0; name.charCodeAt(at) !== 0; at += 1 + name.charCodeAt(at)) {
    const label = name.slice(at + 1, at + 1 + name.charCodeAt(at));
    labels.push(
      label.replace(/[^!-~]|[."();@$\\]/g, (octet) =>
        octet > ' ' && octet < '\x7f' ? `\\${octet}` : `\\${String(octet.charCodeAt(0)).padStart(3, '0')}`,
      ),
    );
  }
  return labels.length === 0 ? '.' : labels.join('.');
}

/** Dotted text with `\.` and `\DDD` in wire form; null where it is no name. */
export function parseName(text: string): string | null {
  if (text === '.') return '\0';
  let name = '';
  let label = '';
  let size = 0;
  const octets = /\\(\d{3})|\\(.)|(.)/gsu;
  const end = () => {
    const isFine = size > 0 && size < 64;
    name += String.fromCharCode(size) + label;
    label = '';
    size = 0;
    return isFine;
  };
  for (const [, decimal, escaped, plain] of text.matchAll(octets)) {
    if (plain === '.') {
      if (!end()) return null;
      continue;
    }
    const octet = decimal === undefined ? (escaped ?? plain ?? '').codePointAt(0) : Number(decimal);
    if (octet === undefined || octet > 255) return null;
    label += String.fromCharCode(octet);
    size++;
  }
  if (!text.endsWith('.') || size > 0) if (!end()) return null;
  return name.length > 254 ? null : `${name}\0`;
}

/** `www.example 300 AAAA 2001:db8::1`; RDATA without a text form is its size. */
export function recordText(message: DnsMessage, record: DnsRecord): string {
  const { bytes } = message;
  const { type, rdataAt, rdataLength } = record;
  const target = (at: number) => nameText(readName(bytes, at));
  let data = `${rdataLength} octets`;
  if (record.class === CLASS_IN && type === TYPE_A) data = formatAddress4(bytes.readUInt32BE(rdataAt));
  else if (record.class === CLASS_IN && type === TYPE_AAAA) data = formatAddress6(address6At(bytes, rdataAt));
  else if ([TYPE_CNAME, TYPE_DNAME, TYPE_NS, TYPE_PTR].includes(type)) data = target(rdataAt);
  else if (type === TYPE_SOA)
    data = `${target(rdataAt)}, minimum ${bytes.readUInt32BE(rdataAt + rdataLength - 4)}`;
  return `${target(record.nameAt)} ${record.ttl} ${typeText(type)} ${data}`;
}

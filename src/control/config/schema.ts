/** The keys of the configuration file, what each may hold, and its default. Rules between keys are in rules.ts. */
import { isIP } from 'node:net';
import { z } from 'zod';
import {
  formatAddress6,
  type Prefix4,
  type Prefix6,
  parseAddress4,
  parseAddress6,
  parsePrefix4,
  parsePrefix6,
} from '../../wire/address.js';
import { PREF64_LENGTHS } from '../../wire/rfc6052.js';
import type { InterfaceAddress, SocketAddress } from './types.js';

/** A string that `read` understands; null is answered with what is allowed. */
function text<T>(read: (value: string) => T | null, allowed: string) {
  return z.string({ error: (issue) => wrongType(issue.input, allowed) }).transform((value, ctx) => {
    const result = read(value);
    if (result !== null) return result;
    ctx.addIssue({ code: 'custom', message: `'${value}' is not allowed; ${allowed}` });
    return z.NEVER;
  });
}

function wrongType(input: unknown, allowed: string): string {
  return input === undefined ? `is missing; ${allowed}` : `${describe(input)} is not allowed; ${allowed}`;
}

function describe(input: unknown): string {
  if (Array.isArray(input)) return 'a list';
  if (input instanceof Date) return 'a date';
  return typeof input === 'object'
    ? 'a table'
    : `${typeof input === 'string' ? `'${input}'` : String(input)}`;
}

function integer(min: number, max: number) {
  const error = (issue: { input?: unknown }) =>
    wrongType(issue.input, `it must be a whole number from ${min} to ${max}`);
  return z.int({ error }).min(min, { error }).max(max, { error });
}

const boolean = z.boolean({ error: (issue) => wrongType(issue.input, 'it must be true or false') });

function oneOf<const T extends readonly [string, ...string[]]>(values: T) {
  return z.enum(values, { error: (issue) => wrongType(issue.input, `it must be ${values.join(', ')}`) });
}

function table<T extends z.ZodRawShape>(shape: T) {
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'invalid_type' ? wrongType(issue.input, 'it must be a table') : undefined,
  });
}

function list<T extends z.ZodType>(element: T) {
  return z.array(element, { error: (issue) => wrongType(issue.input, 'it must be a list') });
}

const absolutePath = text(
  (value) => (/^\/[^\0]*$/.test(value) ? value : null),
  'it must be an absolute path',
);

/** An address, with or without the length of its network. */
function readInterfaceAddress(value: string): InterfaceAddress | null {
  const [address = '', lengthText] = value.split('/', 2);
  const v4 = parseAddress4(address);
  const v6 = parseAddress6(address);
  if (v4 === null && v6 === null) return null;
  const max = v4 === null ? 128 : 32;
  const length =
    lengthText === undefined ? max : /^(0|[1-9][0-9]{0,2})$/.test(lengthText) ? Number(lengthText) : -1;
  if (length < 1 || length > max || value.split('/').length > 2) return null;
  return v4 === null
    ? { family: 6, address: v6 as NonNullable<typeof v6>, length }
    : { family: 4, address: v4, length };
}

/** One text for each address, so that the same socket is recognized however it is written. */
function canonical(text: string): string {
  const address = parseAddress6(text);
  return address === null ? text : formatAddress6(address);
}

/** `192.0.2.1`, `192.0.2.1:53`, `2001:db8::1`, `[2001:db8::1]:53`. */
function readSocketAddress(value: string): SocketAddress | null {
  if (isIP(value) !== 0) return { address: canonical(value), port: 53 };
  const match = /^(?:\[([^[\]]+)\]|([^:]+))(?::([0-9]{1,5}))?$/.exec(value);
  if (match === null) return null;
  const address = match[1] ?? match[2] ?? '';
  const port = match[3] === undefined ? 53 : Number(match[3]);
  const isRight = isIP(address) === (match[1] === undefined ? 4 : 6);
  return isRight && port >= 1 && port <= 65535 ? { address: canonical(address), port } : null;
}

const socketAddress = text(
  readSocketAddress,
  "it must be an address, or an address and a port as in '192.0.2.1:53' or '[2001:db8::1]:53'",
);

function readPref64(value: string): Prefix6 | null {
  const prefix = parsePrefix6(value);
  if (prefix === null || !PREF64_LENGTHS.includes(prefix.length)) return null;
  // RFC 6052 section 2.2: bits 64 to 71 are zero.
  return prefix.address[2] >>> 24 === 0 ? prefix : null;
}

/** An IPv4 address is a /32. */
function readMap4(value: string): Prefix4 | null {
  const address = parseAddress4(value);
  return address === null ? parsePrefix4(value) : { address, length: 32 };
}

/** An IPv6 address is a /128. */
function readMap6(value: string): Prefix6 | null {
  const address = parseAddress6(value);
  return address === null ? parsePrefix6(value) : { address, length: 128 };
}

function readAnyPrefix(value: string): Prefix4 | Prefix6 | null {
  return readMap4(value) ?? readMap6(value);
}

const interfaceName = text(
  (value) =>
    /^[^\s/:"\\]{1,15}$/.test(value) && Buffer.byteLength(value) <= 15 && !/^\.\.?$/.test(value)
      ? value
      : null,
  'it must be an interface name: at most 15 bytes, no blanks, quotes, slashes or colons',
);

const pool4 = z.union([
  z.literal(false),
  text((value) => {
    const prefix = parsePrefix4(value);
    return prefix !== null && prefix.length >= 4 && prefix.length <= 31 ? prefix : null;
  }, "it must be false, or an IPv4 prefix of length 4 to 31 without host bits, as in '10.64.0.0/16'"),
]);

const masquerade = z.union([boolean, interfaceName]);

export const schema = table({
  pref64: text(
    readPref64,
    "it must be an IPv6 prefix of length 32, 40, 48, 56, 64 or 96 without host bits, as in '64:ff9b:1::/96'",
  ).prefault('64:ff9b:1::/96'),
  'wkpf-strict': boolean.default(true),
  'ipv4-address': text(parseAddress4, 'it must be an IPv4 address').optional(),
  'ipv6-address': text(parseAddress6, 'it must be an IPv6 address').optional(),
  pool4: pool4.prefault('10.64.0.0/16'),
  'map-lifetime': integer(1, 1_000_000).default(7440),
  'max-maps-per-64': integer(0, 1_000_000_000).default(256),
  workers: integer(0, 64).default(0),
  'data-dir': absolutePath.prefault('/var/lib/nat64d'),
  'run-dir': absolutePath.prefault('/run/nat64d'),
  map: list(
    table({
      ipv4: text(readMap4, 'it must be an IPv4 address or a prefix without host bits'),
      ipv6: text(readMap6, 'it must be an IPv6 address or a prefix without host bits'),
    }),
  ).default([]),
  device: table({
    name: interfaceName.prefault('nat64'),
    mtu: integer(1280, 65535).default(1500),
    addresses: list(
      text(
        readInterfaceAddress,
        "it must be an address with or without a length, as in '10.64.0.2' or '10.64.0.2/32'",
      ),
    ).optional(),
    configure: boolean.default(true),
    forwarding: boolean.default(true),
    masquerade: masquerade.default(true),
    offload: boolean.default(true),
  }).prefault({}),
  translation: table({
    'ipv6-mtu': integer(1280, 65535).optional(),
    'ipv4-mtu': integer(68, 65535).optional(),
    'lowest-ipv6-mtu': integer(1280, 65535).default(1280),
    'udp-zero-checksum': oneOf(['drop', 'calc', 'forward']).default('drop'),
    'copy-traffic-class': boolean.default(true),
    'mss-clamp': oneOf(['off', 'auto']).default('off'),
    'icmp-errors-per-sec': integer(0, 1_000_000).default(1000),
    'icmp-error-burst': integer(0, 1_000_000).default(50),
  }).prefault({}),
  dns64: table({
    enabled: boolean.default(true),
    required: boolean.default(false),
    listen: list(socketAddress).optional(),
    forwarders: list(socketAddress).default([]),
    'allow-from': list(text(readAnyPrefix, 'it must be an address or a prefix without host bits')).optional(),
  }).prefault({}),
  log: table({
    level: oneOf(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info'),
    format: oneOf(['auto', 'pretty', 'json']).default('auto'),
  }).prefault({}),
});

export type FileConfig = z.output<typeof schema>;

/** The keys allowed in the table at a path; for suggestions. */
export function keysAt(path: readonly PropertyKey[]): string[] {
  const inner = path.filter((part) => typeof part !== 'number')[0];
  if (inner === undefined) return Object.keys(schema.shape);
  const keys: Record<string, string[]> = {
    map: Object.keys(schema.shape.map.unwrap().element.shape),
    device: Object.keys(schema.shape.device.unwrap().shape),
    translation: Object.keys(schema.shape.translation.unwrap().shape),
    dns64: Object.keys(schema.shape.dns64.unwrap().shape),
    log: Object.keys(schema.shape.log.unwrap().shape),
  };
  return keys[String(inner)] ?? [];
}

/** The keys of the configuration file, what each may hold, and its default. Rules between keys are in rules.ts. */
import * as z from 'zod';
import {
  type Address6,
  maskAddress6,
  type Prefix4,
  type Prefix6,
  parseAddress4,
  parseAddress6,
  parsePrefix4,
  parsePrefix6,
} from '../../wire/address.js';
import { readPref64 } from '../../wire/rfc6052.js';
import { PREF64_MAX_LIFETIME_SEC } from '../../wire/router-discovery.js';
import { readCertificates } from './certificates.js';
import { FORWARDER_ALLOWED, readForwarder } from './forwarder.js';
import { readInterfaceName } from './interface-name.js';
import { readSocketAddress } from './socket-address.js';
import {
  type InterfaceAddress,
  LINE_LEVELS,
  type LogDestination,
  PACKET_EVENTS,
  PREF64_CHOICES,
  PRIVATE_ZONES,
  type Pref64Config,
  REVERSE_MODES,
} from './types.js';

/** A string that `read` understands; null is answered with what is allowed. */
function text<T>(read: (value: string) => T | null, allowed: string) {
  return z.string({ error: (issue) => wrong(issue.input, allowed) }).transform((value, ctx) => {
    const result = read(value);
    if (result !== null) return result;
    ctx.addIssue({ code: 'custom', message: wrong(value, allowed) });
    return z.NEVER;
  });
}

function wrong(input: unknown, allowed: string): string {
  return input === undefined ? `is missing; ${allowed}` : `${describe(input)} is not allowed; ${allowed}`;
}

/** As much of a value as a message needs. */
const MAX_SHOWN = 80;

function describe(input: unknown): string {
  if (Array.isArray(input)) return 'a list';
  if (input instanceof Date) return 'a date or time';
  if (typeof input === 'object') return 'a table';
  if (typeof input !== 'string') return String(input);
  return input.length > MAX_SHOWN ? `'${input.slice(0, MAX_SHOWN)}…'` : `'${input}'`;
}

function integer(min: number, max: number) {
  return z.custom<number>(
    (value) => Number.isInteger(value) && Number(value) >= min && Number(value) <= max,
    {
      error: (issue) => wrong(issue.input, `it must be a whole number from ${min} to ${max}`),
    },
  );
}

const boolean = z.boolean({ error: (issue) => wrong(issue.input, 'it must be true or false') });

function oneOf<const T extends readonly [string, ...string[]]>(values: T) {
  return z.enum(values, { error: (issue) => wrong(issue.input, `it must be ${values.join(', ')}`) });
}

function table<T extends z.ZodRawShape>(shape: T) {
  return z.strictObject(shape, {
    error: (issue) => (issue.code === 'invalid_type' ? wrong(issue.input, 'it must be a table') : undefined),
  });
}

function list<T extends z.ZodType>(element: T, allowed = 'it must be a list, as in ["a", "b"]') {
  return z.array(element, { error: (issue) => wrong(issue.input, allowed) });
}

const readAbsolutePath = (value: string) => (/^\/[^\0]*$/.test(value) ? value : null);
const readDestination = (value: string) =>
  /^(stdout|stderr|journal|syslog|file:\/[^\0]+)$/.test(value) ? (value as LogDestination) : null;
const absolutePath = text(readAbsolutePath, 'it must be an absolute path');

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

/** 127.0.0.0/8 and ::1. */
function isLoopback(address: string): boolean {
  const ipv4 = parseAddress4(address);
  return ipv4 === null ? address === '::1' : ipv4 >>> 24 === 127;
}

const socketAddress = text(
  (value) => readSocketAddress(value),
  "it must be an address, or an address and a port as in '192.0.2.1:53' or '[2001:db8::1]:53'",
);

/** An IPv4 address is a /32. */
export function readMap4(value: string): Prefix4 | null {
  const address = parseAddress4(value);
  return address === null ? parsePrefix4(value) : { address, length: 32 };
}

/** An IPv6 address is a /128. */
export function readMap6(value: string): Prefix6 | null {
  const address = parseAddress6(value);
  return address === null ? parsePrefix6(value) : { address, length: 128 };
}

function readAnyPrefix(value: string): Prefix4 | Prefix6 | null {
  return readMap4(value) ?? readMap6(value);
}

const NAME = 'an interface name: at most 15 bytes, no blanks, quotes, slashes, colons or percent signs';

function either<A extends z.ZodType, T>(first: A, read: (value: string) => T | null, allowed: string) {
  return z.union([first, text(read, allowed)], { error: (issue) => wrong(issue.input, allowed) });
}

const masquerade = either(boolean, readInterfaceName, `it must be true, false or ${NAME}`);

const pool4 = either(
  z.literal(false),
  (value) => {
    const prefix = parsePrefix4(value);
    return prefix !== null && prefix.length >= 4 && prefix.length <= 31 ? prefix : null;
  },
  "it must be false, or an IPv4 prefix of length 4 to 31 without host bits, as in '10.64.0.0/16'",
);

const dataDir = either(z.literal(false), readAbsolutePath, 'it must be an absolute path, or false');

const PREF64 =
  "it must be an IPv6 prefix of length 32, 40, 48, 56, 64 or 96 without host bits and with bits 64 to 71 zero (RFC 6052), as in '64:ff9b:1::/96'";
const pref64 = either(z.literal(false), readPref64, `${PREF64}; or false`);

const HTTP_PORT = 6464;
const httpAddress = text(
  (value) => readSocketAddress(value, HTTP_PORT),
  "it must be an address, or an address and a port as in '127.0.0.1:6464' or '[::1]:6464'",
);
const httpListen = z.preprocess(
  (value) => (value === false ? [] : value),
  list(httpAddress, 'it must be false, or a list of addresses, as in ["127.0.0.1:6464"]'),
);
/** A message does not show it. */
const token = z.custom<string>(
  (value) => /^[\x21-\x7e]{16,256}$/.test(String(value)) && typeof value === 'string',
  {
    error: 'is not allowed; it must be a string of 16 to 256 characters without blanks',
  },
);
const readGroup = (value: string) => (/^[a-z0-9_][a-z0-9_-]{0,31}\$?$/i.test(value) ? value : null);
const readHostName = (value: string) => (/^[a-z0-9_.-]{1,253}$/i.test(value) ? value.toLowerCase() : null);
const anyPrefix = text(readAnyPrefix, 'it must be an address or a prefix without host bits');
const anyPrefix4 = text(readMap4, 'it must be an IPv4 address or a prefix without host bits');
const anyPrefix6 = text(readMap6, 'it must be an IPv6 address or a prefix without host bits');

const pref64Keys = {
  prefix: text(readPref64, PREF64),
  ipv4: list(anyPrefix4).default([]),
  'exclude-aaaa': list(anyPrefix6).default([]),
};
const PREF64_KEYS = Object.keys(pref64Keys);
const pref64Table = table(pref64Keys).transform(
  ({ prefix, ipv4, 'exclude-aaaa': excludeAaaa }): Pref64Config => ({ prefix, ipv4, excludeAaaa }),
);

const onlyPrefix = (prefix: Prefix6): Pref64Config => ({ prefix, ipv4: [], excludeAaaa: [] });

/** One prefix, or several, each a string or a table: told apart by hand, so that a mistake is named where it is. */
const pref64s = z
  .unknown()
  .transform((value, ctx): Pref64Config[] => {
    const isList = Array.isArray(value);
    return (isList ? value : [value]).flatMap((one: unknown, index) => {
      const isTable = typeof one === 'object' && one !== null && !Array.isArray(one);
      const result = isTable ? pref64Table.safeParse(one) : text(readPref64, PREF64).safeParse(one);
      const path = isList ? [index] : [];
      for (const issue of result.error?.issues ?? []) {
        ctx.addIssue({ ...issue, path: [...path, ...issue.path] } as never);
      }
      if (!result.success) return [];
      return 'prefix' in result.data ? result.data : onlyPrefix(result.data);
    });
  })
  .refine((prefixes) => prefixes.length > 0, { error: `a list without a prefix is not allowed; ${PREF64}` });

/** A domain as RFC 1035 section 2.3.1 allows it and underscores: lower case, without the final dot. */
export function readDomain(value: string): string | null {
  const name = value.toLowerCase().replace(/\.$/, '');
  const isDomain = /^(?!.{254})[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*$/.test(name);
  return isDomain ? name : null;
}

const domain = text(readDomain, "it must be a name, as in 'example.com'");

function readLinkPrefix(value: string): Prefix6 | null {
  const prefix = parsePrefix6(value);
  if (prefix === null || prefix.length !== 64) return null;
  // Global unicast and unique-local.
  const top = prefix.address[0] >>> 24;
  return top >>> 5 === 1 || top >>> 1 === 0x7e ? prefix : null;
}

/** No host could ask a multicast address, :: or ::1. */
function readServer6(value: string): Address6 | null {
  const address = parseAddress6(value);
  if (address === null || address[0] >>> 24 === 0xff) return null;
  return address[0] === 0 && address[1] === 0 && address[2] === 0 && address[3] >>> 1 === 0 ? null : address;
}

/** Router advertisements must not be fragmented (RFC 6980 section 5). */
const MAX_SERVERS = 16;

/** RFC 4861 section 6.2.1; RFC 8319 section 4 for the router's lifetime. */
const advertise = table({
  interfaces: list(text(readInterfaceName, `it must be ${NAME}`)).default([]),
  'dns-servers': list(text(readServer6, 'it must be an IPv6 address that hosts can ask'))
    .max(MAX_SERVERS, { error: `more than ${MAX_SERVERS} are not allowed` })
    .optional(),
  interval: integer(4, 1800).default(600),
  lifetime: integer(4, PREF64_MAX_LIFETIME_SEC).optional(),
  mtu: integer(1280, 65535).optional(),
  prefix: text(
    readLinkPrefix,
    "it must be a global or unique-local IPv6 prefix of length 64, as in '2001:db8:1::/64'",
  ).optional(),
  route: boolean.default(true),
  'router-lifetime': integer(0, 65535).default(0),
}).superRefine((given, ctx) => {
  // What is told must not end before it is told again.
  for (const key of ['lifetime', 'router-lifetime'] as const) {
    const value = given[key];
    if (value === undefined || value >= given.interval || (key === 'router-lifetime' && value === 0))
      continue;
    const message = `${value} is not allowed; it must be at least interval (${given.interval})${key === 'lifetime' ? '' : ', or 0'}`;
    ctx.addIssue({ code: 'custom', path: [key], message });
  }
});

/** Keys of [dns64] that a [[dns64.policy]] may have, too. */
const synthesis = {
  synthesize: boolean.optional(),
  pref64: pref64s.optional(),
  'pref64-choice': oneOf(PREF64_CHOICES).optional(),
  'exclude-aaaa': list(anyPrefix6).optional(),
  'exclude-ipv4': list(anyPrefix4).optional(),
  'exclude-names': list(domain).optional(),
  'ignore-aaaa': list(domain).optional(),
  'break-dnssec': boolean.optional(),
  reverse: oneOf(REVERSE_MODES).optional(),
};

const policy = table({
  clients: list(anyPrefix).refine((clients) => clients.length > 0, {
    error: 'an empty list is not allowed; name the addresses or prefixes that this is for',
  }),
  ...synthesis,
});

/** A prefix of whole octets; host bits are dropped, as totd does. */
function readScope(value: string): Prefix6 | null {
  const [address, length] = value.split('/') as [string, string | undefined];
  const read = parseAddress6(address);
  const bits = length !== undefined && /^[0-9]{1,3}$/.test(length) ? Number(length) : -1;
  if (read === null || bits < 8 || bits > 128 || bits % 8 !== 0) return null;
  return { address: maskAddress6(read, bits), length: bits };
}

const scope = text(readScope, "it must be an IPv6 prefix whose length is a multiple of 8, as in 'fe80::/64'");
const scoped = table({ from: scope, to: scope }).refine(({ from, to }) => from.length === to.length, {
  error: "'from' and 'to' must have the same length",
});

export const schema = table({
  pref64: pref64.prefault('64:ff9b:1::/96'),
  'wkpf-strict': boolean.default(true),
  'ipv4-address': text(parseAddress4, 'it must be an IPv4 address').optional(),
  'ipv6-address': text(parseAddress6, 'it must be an IPv6 address').optional(),
  pool4: pool4.prefault('10.64.0.0/16'),
  'allow-from': list(anyPrefix6).optional(),
  'map-lifetime': integer(1, 1_000_000).default(7440),
  'max-maps-per-64': integer(0, 1_000_000_000).default(256),
  workers: integer(0, 64).default(0),
  'worker-nice': integer(-20, 19).default(-2),
  'data-dir': dataDir.prefault('/var/lib/nat64d'),
  'run-dir': absolutePath.prefault('/run/nat64d'),
  'control-socket': boolean.default(true),
  user: text(readGroup, 'it must be the name or the number of a user').optional(),
  group: text(readGroup, 'it must be the name or the number of a group').optional(),
  'control-group': text(readGroup, 'it must be the name or the number of a group').optional(),
  'map-file': absolutePath.optional(),
  map: list(
    table({
      ipv4: text(readMap4, 'it must be an IPv4 address or a prefix without host bits'),
      ipv6: text(readMap6, 'it must be an IPv6 address or a prefix without host bits'),
    }),
    'it must be a list of tables, each under a line [[map]]',
  ).default([]),
  device: table({
    name: text(readInterfaceName, `it must be ${NAME}`).prefault('nat64'),
    mtu: integer(1280, 65535).default(1500),
    addresses: list(
      text(
        readInterfaceAddress,
        "it must be an address with or without a length, as in '10.64.0.2' or '10.64.0.2/32'",
      ),
    ).optional(),
    configure: boolean.default(true),
    up: boolean.default(false),
    routes: list(text(readAnyPrefix, 'it must be an address or a prefix without host bits')).default([]),
    forwarding: boolean.default(true),
    masquerade: masquerade.default(true),
    offload: boolean.default(true),
    coalesce: boolean.default(true),
  }).prefault({}),
  translation: table({
    'ipv6-mtu': integer(1280, 65535).optional(),
    'ipv4-mtu': integer(68, 65535).optional(),
    'lowest-ipv6-mtu': integer(1280, 65535).default(1280),
    'udp-zero-checksum': oneOf(['drop', 'calc', 'forward']).default('drop'),
    'copy-traffic-class': boolean.default(true),
    'mss-clamp': oneOf(['off', 'auto']).default('off'),
    'icmp-fragments': oneOf(['drop', 'hold']).default('drop'),
    'icmp-source-pool4': text(
      readMap4,
      'it must be an IPv4 address or a prefix without host bits',
    ).optional(),
    'forward-class-e': boolean.default(false),
    clat: boolean.default(false),
    'icmp-errors-per-sec': integer(0, 1_000_000).default(1000),
    'icmp-error-burst': integer(0, 1_000_000).default(50),
  }).prefault({}),
  advertise: advertise.prefault({}),
  dns64: table({
    enabled: boolean.default(true),
    required: boolean.default(false),
    listen: list(socketAddress).optional(),
    interfaces: list(
      text((value) => (value === '*' ? value : readInterfaceName(value)), `it must be '*' or ${NAME}`),
    ).default([]),
    port: integer(1, 65535).default(53),
    forwarders: list(text(readForwarder, FORWARDER_ALLOWED)).default([]),
    'forwarders-ca': text(
      readCertificates,
      'it must be the absolute path of a file with certificates in PEM, which may be read',
    ).optional(),
    'randomize-case': boolean.default(false),
    retry: integer(0, 1_000_000).default(300),
    'allow-from': list(anyPrefix).optional(),
    'cache-size': integer(0, 2 ** 30).default(64 * 2 ** 20),
    prefetch: boolean.default(true),
    'serve-stale': integer(0, 7 * 86_400).default(0),
    cookies: boolean.default(true),
    'rate-limit': integer(0, 1_000_000).default(0),
    'tcp-connections': integer(1, 100_000).default(1000),
    'tcp-idle': integer(1, 3600).default(10),
    clients: list(anyPrefix).optional(),
    ...synthesis,
    'reverse-6to4': boolean.default(false),
    'private-zones': oneOf(PRIVATE_ZONES).default('auto'),
    scoped: list(scoped, 'it must be a list of tables, each under a line [[dns64.scoped]]').default([]),
    policy: list(policy, 'it must be a list of tables, each under a line [[dns64.policy]]').default([]),
  }).prefault({}),
  http: table({
    listen: httpListen.prefault([`127.0.0.1:${HTTP_PORT}`]),
    token: token.optional(),
    names: list(text(readHostName, "it must be a host name, as in 'gateway.example'")).default([]),
  })
    .superRefine(({ listen, token }, ctx) => {
      for (const [index, { address }] of listen.entries()) {
        if (token !== undefined || isLoopback(address)) continue;
        const message = `${address} can be reached from outside: without a token only loopback addresses are allowed`;
        ctx.addIssue({ code: 'custom', path: ['listen', index], message });
      }
    })
    .prefault({}),
  log: table({
    level: oneOf(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info'),
    format: oneOf(['auto', 'pretty', 'json']).default('auto'),
    packets: list(oneOf(PACKET_EVENTS)).default([]),
    'packet-level': oneOf(LINE_LEVELS).default('info'),
    'assignment-level': oneOf(LINE_LEVELS).default('info'),
    maps: boolean.default(false),
    destination: text(
      readDestination,
      "it must be 'stdout', 'stderr', 'journal', 'syslog', or 'file:' and an absolute path",
    ).prefault('stdout'),
  })
    .superRefine(({ level, maps }, ctx) => {
      if (!maps || ['trace', 'debug', 'info'].includes(level)) return;
      const message = `is on, but its lines have the level info, and level = "${level}" leaves them out`;
      ctx.addIssue({ code: 'custom', path: ['maps'], message });
    })
    .prefault({}),
});

export type FileConfig = z.output<typeof schema>;
export type FileSynthesis = Omit<z.output<typeof policy>, 'clients'>;

/** The keys of each table; those at the top under ''. */
const KEYS: ReadonlyMap<string, readonly string[]> = new Map([
  ['', Object.keys(schema.shape)],
  ['map', Object.keys(schema.shape.map.unwrap().element.shape)],
  ...(['device', 'translation', 'dns64', 'http', 'log', 'advertise'] as const).map(
    (name) => [name, Object.keys(schema.shape[name].unwrap().shape)] as const,
  ),
  ['dns64.policy', Object.keys(policy.shape)],
  ['dns64.scoped', Object.keys(scoped.shape)],
  ...['dns64.pref64', 'dns64.policy.pref64'].map((name) => [name, PREF64_KEYS] as const),
]);

/** The names of all tables, the top of the file as ''. */
export const TABLES: readonly string[] = [...KEYS.keys()];

/** The keys allowed in the table at a path; for suggestions. */
export function keysAt(path: readonly PropertyKey[]): readonly string[] {
  const name = path.filter((part) => typeof part === 'string').join('.');
  return KEYS.get(name) ?? KEYS.get(String(path[0] ?? '')) ?? [];
}

/** The table that has such a key ('' is the top), if any. Inline tables are not looked into. */
export function tableWith(key: string): string | undefined {
  return [...KEYS].find(([name, keys]) => !name.endsWith('.pref64') && keys.includes(key))?.[0];
}

/** totd.conf: what totd's DNS64 is told, as far as it is not about totd's own process. */
import { isIP } from 'node:net';
import { maskAddress6, type Prefix6, parseAddress6 } from '../../wire/address.js';
import { readPref64, WELL_KNOWN_PREFIX } from '../../wire/rfc6052.js';
import { plainForwarder } from './forwarder.js';
import { readInterfaceName } from './interface-name.js';
import { ConfigError, type Problem } from './problem.js';
import { readConfigFile } from './read-file.js';
import type { Dns64Config, GatewayConfig, SocketAddress } from './types.js';
import { splitLine, type Word } from './words.js';

export interface TotdConfig {
  readonly file: string;
  readonly forwarders: readonly SocketAddress[];
  /** None: DNS64 uses 64:ff9b::/96. */
  readonly prefixes: readonly Prefix6[];
  readonly port: number;
  readonly retrySec: number;
  readonly pidfile: string;
  /** Names, or 'all', 'any' or '*'; none is all. */
  readonly interfaces: readonly string[];
  readonly stf: boolean;
  readonly scoped: readonly { readonly from: Prefix6; readonly to: Prefix6 }[];
  /** Who may use totd's HTTP interface. */
  readonly allow: readonly string[];
}

type Mutable = { -readonly [K in keyof TotdConfig]: TotdConfig[K] };

/** Takes a keyword's words into the configuration; returns what is wrong with them, or null. */
type Take = (config: Mutable, words: readonly Word[]) => { word: Word | undefined; message: string } | null;

const wrong = (word: Word | undefined, message: string) => ({ word, message });

function readNumber(word: Word | undefined, max: number): number | null {
  if (word === undefined || !/^[0-9]{1,9}$/.test(word.text)) return null;
  const value = Number(word.text);
  return value <= max ? value : null;
}

/** The first 96 bits of an address, or a prefix of RFC 6052 with its length. */
export function readTotdPrefix(text: string): Prefix6 | null {
  const address = parseAddress6(text);
  // totd takes any 96 bits, those of older translators too: RFC 6052 has 64 to 71 zero.
  if (address !== null) return { address: [address[0], address[1], address[2], 0], length: 96 };
  return readPref64(text);
}

const KEYWORDS: Readonly<Record<string, Take>> = {
  forwarder: (config, [address, keyword, port, more]) => {
    if (address === undefined || isIP(address.text) === 0)
      return wrong(address, 'needs the address of a name server');
    const isPortSaid = keyword !== undefined;
    const number = isPortSaid ? readNumber(port, 65535) : 53;
    if (isPortSaid && keyword.text.toLowerCase() !== 'port')
      return wrong(keyword, "takes an address, and 'port' with a number");
    if (number === null || number === 0 || more !== undefined)
      return wrong(port ?? keyword, "needs a number from 1 to 65535 behind 'port', and nothing more");
    config.forwarders = [...config.forwarders, { address: address.text, port: number }];
    return null;
  },
  prefix: (config, [prefix, more]) => {
    const read = readTotdPrefix(prefix?.text ?? '');
    if (read === null || more !== undefined)
      return wrong(more ?? prefix, 'needs one IPv6 prefix, as 2001:db8:1:ffff::');
    config.prefixes = [...config.prefixes, read];
    return null;
  },
  port: (config, [port, more]) => {
    const number = readNumber(port, 65535);
    if (number === null || number === 0 || more !== undefined)
      return wrong(more ?? port, 'needs a number from 1 to 65535');
    config.port = number;
    return null;
  },
  retry: (config, [seconds, more]) => {
    const number = readNumber(seconds, 1_000_000);
    if (number === null || more !== undefined) return wrong(more ?? seconds, 'needs a number of seconds');
    config.retrySec = number;
    return null;
  },
  pidfile: (config, [file, more]) => {
    if (file === undefined || more !== undefined) return wrong(more, 'needs the name of a file');
    config.pidfile = file.text;
    return null;
  },
  interfaces: (config, words) => {
    const bad = words.find(({ text }) => text !== '*' && readInterfaceName(text) === null);
    if (words.length === 0 || bad !== undefined) return wrong(bad, 'needs names of interfaces, or all');
    config.interfaces = [...config.interfaces, ...words.map(({ text }) => text)];
    return null;
  },
  stf: (config, [more]) => {
    if (more !== undefined) return wrong(more, 'takes no words');
    config.stf = true;
    return null;
  },
  scoped: (config, [from, to, length, more]) => {
    const bits = readNumber(length, 128);
    const fromAddress = parseAddress6(from?.text ?? '');
    const toAddress = parseAddress6(to?.text ?? '');
    if (fromAddress === null || toAddress === null || more !== undefined)
      return wrong(more ?? from, 'needs two IPv6 prefixes and their length');
    if (bits === null || bits === 0 || bits % 8 !== 0)
      return wrong(length, 'needs a length that is a multiple of 8, from 8 to 128');
    config.scoped = [
      ...config.scoped,
      {
        from: { address: maskAddress6(fromAddress, bits), length: bits },
        to: { address: maskAddress6(toAddress, bits), length: bits },
      },
    ];
    return null;
  },
  allow: (config, [address, more]) => {
    if (address === undefined || isIP(address.text) === 0 || more !== undefined)
      return wrong(more ?? address, 'needs an address');
    config.allow = [...config.allow, address.text];
    return null;
  },
};

/**
 * Reads the text of a totd.conf. `file` is its name, for messages. Throws ConfigError with every error in it.
 * @param prefixes those of the command line, which come first
 */
export function parseTotd(text: string, file: string, prefixes: readonly Prefix6[] = []): TotdConfig {
  const problems: Omit<Problem, 'file'>[] = [];
  const config: Mutable = {
    file,
    forwarders: [],
    prefixes,
    port: 53,
    retrySec: 300,
    pidfile: '/var/run/totd.pid',
    interfaces: [],
    stf: false,
    scoped: [],
    allow: [],
  };
  for (const [index, raw] of text.split('\n').entries()) {
    const line = index + 1;
    // Unlike in tayga.conf a comment may begin in the middle of a word.
    const { words, problem } = splitLine(raw.replace(/[#;].*$/s, ''), line);
    const [keyword, ...rest] = words;
    if (problem !== null) problems.push({ line, col: 1, key: '', message: problem });
    if (keyword === undefined) continue;
    const name = keyword.text.toLowerCase();
    const take = Object.hasOwn(KEYWORDS, name) ? KEYWORDS[name] : undefined;
    const mistake =
      take === undefined
        ? wrong(keyword, `there is no such keyword; allowed are ${Object.keys(KEYWORDS).join(', ')}`)
        : take(config, rest);
    if (mistake !== null)
      problems.push({ line, col: (mistake.word ?? keyword).col, key: name, message: mistake.message });
  }
  if (config.forwarders.length === 0 && problems.length === 0) {
    problems.push({ line: 1, col: 1, key: 'forwarder', message: 'is missing; name a name server to ask' });
  }
  if (config.scoped.length > 0 && config.interfaces.length === 0) {
    problems.push({ line: 1, col: 1, key: 'scoped', message: "needs 'interfaces'" });
  }
  if (problems.length > 0) throw new ConfigError(file, problems);
  return config;
}

/** Reads a file. Throws ConfigError. */
export function loadTotd(file: string, prefixes: readonly Prefix6[] = []): TotdConfig {
  return parseTotd(readConfigFile(file), file, prefixes);
}

/** Names of all interfaces; '*' is no interface but the wildcard socket. */
const ALL = ['all', 'any'];

/** What is read and means nothing here, each a line. */
export function totdWarnings(totd: TotdConfig): string[] {
  const lines: [boolean, string][] = [
    [
      totd.allow.length > 0,
      'allow means nothing: there is no HTTP interface; prefixes change with the file and SIGHUP',
    ],
  ];
  return lines.filter(([isThere]) => isThere).map(([, text]) => `${totd.file}: ${text}`);
}

/** The DNS64 that a totd.conf describes, where `base` says what totd has no word for. */
export function totdDns64(base: Dns64Config, totd: TotdConfig): Dns64Config {
  const names = totd.interfaces.map((name) => name.toLowerCase());
  const isWildcard = names.includes('*');
  // By itself on each address, as totd does, answers come from where they were asked for.
  const isAll = names.length === 0 || names.some((name) => ALL.includes(name));
  const prefixes = totd.prefixes.length > 0 ? totd.prefixes : [WELL_KNOWN_PREFIX];
  return {
    ...base,
    enabled: true,
    listen: isWildcard ? ['0.0.0.0', '::'].map((address) => ({ address, port: totd.port })) : [],
    interfaces: isWildcard ? [] : isAll ? ['*'] : totd.interfaces,
    port: totd.port,
    forwarders: totd.forwarders.map(plainForwarder),
    retrySec: totd.retrySec,
    pref64s: prefixes.map((prefix) => ({ prefix, ipv4: [], excludeAaaa: [] })),
    pref64Choice: 'round-robin',
    reverse6to4: totd.stf,
    scoped: totd.scoped,
  };
}

/** A gateway's configuration with the DNS64 that a totd.conf describes. */
export function withTotd(config: GatewayConfig, totd: TotdConfig): GatewayConfig {
  return {
    ...config,
    dns64: totdDns64(config.dns64, totd),
    warnings: [...config.warnings, ...totdWarnings(totd)],
  };
}

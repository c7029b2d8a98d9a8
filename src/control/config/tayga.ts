/** tayga.conf: read into the same data that the TOML file holds, and checked by the same schema and rules. */
import { isAbsolute, join } from 'node:path';
import { parseAddress4, prefix6Contains } from '../../wire/address.js';
import { readGiven } from './given.js';
import { ConfigError, type Problem } from './problem.js';
import { readConfigFile } from './read-file.js';
import { checkRules, complete } from './rules.js';
import { readMap4, readMap6, schema } from './schema.js';
import type { Place } from './toml.js';
import type { GatewayConfig } from './types.js';
import { splitLine, type Word } from './words.js';

export interface TaygaSurroundings {
  /** STATE_DIRECTORY: where systemd lets a service keep its state. The first of a list with ':'. */
  readonly stateDirectory?: string | undefined;
}

type Path = readonly (string | number)[];
type Data = { [key: string]: unknown };

/** Takes a directive's arguments into the data; returns what is wrong with them, or null. */
interface Directive {
  readonly arguments: number | 'any';
  readonly isRepeatable?: boolean;
  readonly take: (reader: Reader, args: readonly Word[]) => string | null;
}

const TRUE = ['yes', 'true', 'on', '1'];
const FALSE = ['no', 'false', 'off', '0'];
const LOG_WORDS = ['drop', 'reject', 'icmp', 'self', 'dyn'];
const LINK_LOCAL4 = 0xa9fe;

/** A word that the schema checks at this path. */
const text =
  (...path: Path) =>
  (reader: Reader, [word]: readonly Word[]): null => {
    reader.set(path, word as Word, (word as Word).text);
    return null;
  };

const number =
  (...path: Path) =>
  (reader: Reader, [word]: readonly Word[]): null => {
    const { text: value } = word as Word;
    reader.set(path, word as Word, /^[0-9]{1,9}$/.test(value) ? Number(value) : value);
    return null;
  };

const boolean =
  (also: readonly string[], ...path: Path) =>
  (reader: Reader, [word]: readonly Word[]): string | null => {
    const value = (word as Word).text.toLowerCase();
    const isTrue = [...TRUE, ...also].includes(value);
    if (!isTrue && !FALSE.includes(value)) {
      return `'${value}' is not allowed; it must be ${[...also, ...TRUE, ...FALSE].join(', ')}`;
    }
    reader.set(path, word as Word, isTrue);
    return null;
  };

const listed =
  (...path: Path) =>
  (reader: Reader, words: readonly Word[]): null => {
    for (const word of words) reader.push(path, word, word.text);
    return null;
  };

const DIRECTIVES: Readonly<Record<string, Directive>> = {
  'tun-device': { arguments: 1, take: text('device', 'name') },
  'ipv4-addr': {
    arguments: 1,
    take: (reader, [word]) => {
      const address = parseAddress4((word as Word).text);
      if (address !== null && address >>> 16 === LINK_LOCAL4) {
        reader.warn(
          word as Word,
          `ipv4-addr ${(word as Word).text} is link-local: routers do not forward to it`,
        );
      }
      return text('ipv4-address')(reader, [word as Word]);
    },
  },
  'ipv6-addr': { arguments: 1, take: text('ipv6-address') },
  prefix: { arguments: 1, take: text('pref64') },
  'wkpf-strict': { arguments: 1, take: boolean([], 'wkpf-strict') },
  map: { arguments: 2, isRepeatable: true, take: takeMap },
  'dynamic-pool': { arguments: 1, take: text('pool4') },
  'data-dir': { arguments: 1, take: text('data-dir') },
  'map-file': {
    arguments: 1,
    take: (reader, [word]) => {
      reader.mapFile = word as Word;
      return null;
    },
  },
  'udp-cksum-mode': {
    arguments: 1,
    take: (reader, [word]) => {
      const value = (word as Word).text.toLowerCase();
      const mode = (['drop', 'calc', 'forward', 'fwd'] as const).find((one) => value.startsWith(one));
      if (mode === undefined) return `'${value}' is not allowed; it must be drop, calc or forward`;
      reader.set(['translation', 'udp-zero-checksum'], word as Word, mode === 'fwd' ? 'forward' : mode);
      return null;
    },
  },
  log: {
    arguments: 'any',
    take: (reader, words) => {
      const wrong = words.find((word) => !LOG_WORDS.includes(word.text.toLowerCase()));
      if (wrong !== undefined) return `'${wrong.text}' is not allowed; it must be ${LOG_WORDS.join(', ')}`;
      for (const word of words) reader.push(['log', 'packets'], word, word.text.toLowerCase());
      return null;
    },
  },
  'offlink-mtu': { arguments: 1, take: number('translation', 'lowest-ipv6-mtu') },
  workers: { arguments: 1, take: number('workers') },
  'tun-up': { arguments: 1, take: boolean(['up'], 'device', 'up') },
  'tun-ip': { arguments: 1, isRepeatable: true, take: listed('device', 'addresses') },
  'tun-route': { arguments: 1, isRepeatable: true, take: listed('device', 'routes') },
  'strict-frag-hdr': {
    arguments: 1,
    take: (reader, [word]) => {
      reader.warn(word as Word, 'strict-frag-hdr does nothing any more: remove it');
      return boolean([], 'ignored')(reader, [word as Word]);
    },
  },
};

function takeMap(reader: Reader, [v4, v6]: readonly Word[]): string | null {
  const ipv4 = readMap4((v4 as Word).text);
  const ipv6 = readMap6((v6 as Word).text);
  if (ipv4 !== null && ipv6 !== null && 32 - ipv4.length !== 128 - ipv6.length) {
    return `${(v4 as Word).text} and ${(v6 as Word).text} have not as many addresses; the IPv6 length must be ${96 + ipv4.length}`;
  }
  const index = reader.count(['map']);
  reader.set(['map', index, 'ipv4'], v4 as Word, (v4 as Word).text);
  reader.set(['map', index, 'ipv6'], v6 as Word, (v6 as Word).text);
  return null;
}

/** What the lines say, as data for the schema, and where each value stands. */
class Reader {
  readonly data: Data = {};
  readonly warnings: string[] = [];
  mapFile: Word | undefined;
  readonly #file: string;
  readonly #words = new Map<string, { word: Word; directive: string }>();
  directive = '';

  constructor(file: string) {
    this.#file = file;
  }

  set(path: Path, word: Word, value: unknown): void {
    this.#words.set(path.join('.'), { word, directive: this.directive });
    const last = path.at(-1) as string | number;
    Reflect.set(this.#parent(path), last, value);
  }

  push(path: Path, word: Word, value: unknown): void {
    this.set([...path, this.count(path)], word, value);
  }

  count(path: Path): number {
    const list = path.reduce<unknown>((inner, key) => (inner as Data | undefined)?.[key], this.data);
    return Array.isArray(list) ? list.length : 0;
  }

  warn({ line, col }: Word, message: string): void {
    this.warnings.push(`${this.#file}:${line}:${col}: ${message}`);
  }

  has(path: Path): boolean {
    return this.#words.has(path.join('.'));
  }

  /** The place of a value, or of the nearest around it that stands in the file, and the directive that it belongs to. */
  placeOf(path: readonly PropertyKey[]): Place & { directive: string } {
    for (let length = path.length; length > 0; length--) {
      const found = this.#words.get(path.slice(0, length).join('.'));
      if (found !== undefined)
        return { line: found.word.line, col: found.word.col, directive: found.directive };
    }
    return { line: 1, col: 1, directive: NAMES[String(path[0])] ?? path.map(String).join('.') };
  }

  #parent(path: Path): object {
    return path.slice(0, -1).reduce<Data>((inner, key, depth) => {
      inner[key] ??= typeof path[depth + 1] === 'number' ? [] : {};
      return inner[key] as Data;
    }, this.data);
  }
}

/** Directives of values that may be missing. */
const NAMES: Readonly<Record<string, string>> = {
  'ipv4-address': 'ipv4-addr',
  'ipv6-address': 'ipv6-addr',
  pref64: 'prefix',
  pool4: 'dynamic-pool',
};

/** Reads a file. Throws ConfigError. */
export function loadTayga(file: string, surroundings: TaygaSurroundings = {}): GatewayConfig {
  return parseTayga(readConfigFile(file), file, surroundings);
}

/** Reads the text of a tayga.conf. `file` is its name, for messages. Throws ConfigError with every error in it. */
export function parseTayga(text: string, file: string, surroundings: TaygaSurroundings = {}): GatewayConfig {
  const problems: Omit<Problem, 'file'>[] = [];
  const reader = new Reader(file);
  readDirectives(text, reader, problems);
  const add = (path: readonly PropertyKey[], message: string) => {
    const { line, col, directive } = reader.placeOf(path);
    problems.push({ line, col, key: directive, message });
  };
  for (const [path, name] of [
    [['device', 'name'], 'tun-device'],
    [['ipv4-address'], 'ipv4-addr'],
  ] as const) {
    if (!reader.has(path))
      problems.push({ line: 1, col: 1, key: name, message: 'is missing; it must be given' });
  }

  const data = withDefaults(reader, surroundings, add);
  const parsed = schema.safeParse(data);
  for (const issue of parsed.error?.issues ?? []) add(issue.path, issue.message);
  const given = { ...readGiven(data), allowsClassE: true };
  const { ipv4Address, ipv6Address, device } = checkRules(
    reader.has(['ipv4-address']) ? given : { ...given, ipv4Address: null },
    (path) => `line ${reader.placeOf(path).line}`,
    add,
  );
  if (given.pref64 && given.ipv6Address && prefix6Contains(given.pref64, given.ipv6Address)) {
    const isSaid = problems.some(({ key }) => key === 'ipv6-addr');
    if (!isSaid) add(['ipv6-address'], 'lies in the prefix; use an address outside it, or leave it out');
  }
  if (
    parsed.success &&
    problems.length === 0 &&
    ipv4Address !== null &&
    ipv6Address !== null &&
    device !== null
  ) {
    const config = complete(parsed.data, file, { ipv4Address, ipv6Address, device });
    return { ...config, warnings: reader.warnings };
  }
  throw new ConfigError(
    file,
    problems.sort((a, b) => a.line - b.line || a.col - b.col),
  );
}

function readDirectives(text: string, reader: Reader, problems: Omit<Problem, 'file'>[]): void {
  const first = new Map<string, number>();
  for (const [index, raw] of text.split('\n').entries()) {
    const line = index + 1;
    const { words, problem } = splitLine(raw, line);
    if (problem !== null) problems.push({ line, col: 1, key: '', message: problem });
    const [keyword, ...args] = words;
    if (problem !== null || keyword === undefined) continue;
    const name = keyword.text.toLowerCase();
    const wrong = (message: string, { col }: Word = keyword) => {
      problems.push({ line, col, key: name, message });
    };
    const directive = Object.hasOwn(DIRECTIVES, name) ? DIRECTIVES[name] : undefined;
    if (directive === undefined) {
      wrong(`there is no such directive; allowed are ${Object.keys(DIRECTIVES).join(', ')}`);
      continue;
    }
    const earlier = first.get(name);
    if (earlier !== undefined && directive.isRepeatable !== true) {
      wrong(`stands at line ${earlier} already; keep one`);
      continue;
    }
    first.set(name, line);
    if (directive.arguments !== 'any' && args.length !== directive.arguments) {
      wrong(
        `takes ${directive.arguments} argument${directive.arguments === 1 ? '' : 's'}, not ${args.length}`,
      );
      continue;
    }
    reader.directive = name;
    const message = directive.take(reader, args);
    if (message !== null) wrong(message, args[0]);
  }
}

/** The data of the file, with what TAYGA does where a directive is missing. */
function withDefaults(
  { data, mapFile }: Reader,
  { stateDirectory = '' }: TaygaSurroundings,
  add: (path: readonly PropertyKey[], message: string) => void,
): Data {
  const [state = ''] = stateDirectory.split(':');
  const dataDir = data['data-dir'] ?? (state === '' ? false : state);
  const device = { ...(data.device as Data | undefined) };
  const complete: Data = {
    pref64: false,
    pool4: false,
    'max-maps-per-64': 0,
    ...data,
    'data-dir': dataDir,
    device: { addresses: [], masquerade: false, forwarding: false, ...device, configure: false },
    dns64: { enabled: false },
    // Several run on one machine, and give up the rights that a reload of these would need.
    'control-socket': false,
    http: { listen: false },
    // TAYGA maps all of IPv4 under the prefix, for both ends of a packet: clatd counts on it.
    translation: { clat: true, ...(data.translation as Data | undefined) },
  };
  delete complete.ignored;
  if (mapFile === undefined) return complete;
  if (!isAbsolute(mapFile.text) && typeof dataDir !== 'string') {
    add(['map-file'], `'${mapFile.text}' is relative, and there is no data-dir; write the whole path`);
  } else {
    complete['map-file'] = isAbsolute(mapFile.text) ? mapFile.text : join(String(dataDir), mapFile.text);
  }
  return complete;
}

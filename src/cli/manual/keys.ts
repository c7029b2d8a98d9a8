/**
 * Every key of the configuration file, for the reference and nat64d.toml(5): what it does is what the sample file says above it,
 * what it may hold is what the reader says about a value that is wrong, and its default is the one under which nothing changes.
 */
import { isDeepStrictEqual } from 'node:util';
import { restartReason } from '../../control/changes.js';
import { ConfigError, parseConfig } from '../../control/config/index.js';
import { keysAt, TABLES } from '../../control/config/schema.js';

export interface Key {
  readonly name: string;
  /** As in 'a whole number from 0 to 64'. */
  readonly allowed: string;
  /** As TOML. Null: the text says it, or there is none. */
  readonly standard: string | null;
  /** Why a change of it needs a restart; null: a reload does. */
  readonly restartReason: string | null;
  readonly tayga: string | null;
  readonly totd: string | null;
}

/** Keys that the sample file explains together. */
export interface Group {
  /** Lines. Empty: the table's text is all there is to say. */
  readonly text: readonly string[];
  readonly keys: readonly Key[];
}

export interface Table {
  /** '' is the top of the file. */
  readonly name: string;
  /** It may stand several times, under [[name]]. */
  readonly isRepeatable: boolean;
  readonly text: readonly string[];
  readonly groups: readonly Group[];
}

/** Directives of tayga.conf, by the key that says the same. */
export const TAYGA: Readonly<Record<string, string>> = {
  'data-dir': 'data-dir',
  'device.addresses': 'tun-ip',
  'device.name': 'tun-device',
  'device.routes': 'tun-route',
  'device.up': 'tun-up',
  'ipv4-address': 'ipv4-addr',
  'ipv6-address': 'ipv6-addr',
  'log.packets': 'log',
  'map-file': 'map-file',
  'map.ipv4': 'map',
  'map.ipv6': 'map',
  pool4: 'dynamic-pool',
  pref64: 'prefix',
  'translation.lowest-ipv6-mtu': 'offlink-mtu',
  'translation.udp-zero-checksum': 'udp-cksum-mode',
  'wkpf-strict': 'wkpf-strict',
  workers: 'workers',
};

/** Keywords of totd.conf, likewise. */
export const TOTD: Readonly<Record<string, string>> = {
  'dns64.forwarders': 'forwarder',
  'dns64.interfaces': 'interfaces',
  'dns64.port': 'port',
  'dns64.pref64': 'prefix',
  'dns64.retry': 'retry',
  'dns64.reverse-6to4': 'stf',
  'dns64.scoped.from': 'scoped',
  'dns64.scoped.to': 'scoped',
};

type Draft<T> = { -readonly [K in keyof T]: T[K] };
interface OpenGroup {
  text: string[];
  keys: Key[];
}

/** Reads the sample file, in which every key stands, in force or commented out. */
export function readKeys(sample: string): Table[] {
  const tables: Draft<Table>[] = [{ name: '', isRepeatable: false, text: [], groups: [] }];
  let text: string[] = [];
  let group: OpenGroup | undefined;
  for (const line of sample.split('\n')) {
    const table = tables.at(-1) as Draft<Table>;
    const [, bracket = '', name] = /^(?:# )?(\[\[?)([a-z0-9.]+)\]\]?$/.exec(line) ?? [];
    const [, key = '', value = ''] = /^(?:# )?([a-z0-9-]+) = (.*)$/.exec(line) ?? [];
    if (name !== undefined) {
      tables.push({ name, isRepeatable: bracket === '[[', text, groups: [] });
      [text, group] = [[], undefined];
    } else if (keysAt(pathOf(table.name)).includes(key)) {
      if (group === undefined) {
        group = { text, keys: [] };
        table.groups = [...table.groups, group];
        text = [];
      }
      group.keys.push(describeKey(table, key, value, group.text));
    } else if (line.startsWith('# ')) {
      text.push(line.slice(2));
    } else {
      [text, group] = [[], undefined];
    }
  }
  return tables;
}

const pathOf = (name: string) => (name === '' ? [] : name.split('.'));

function describeKey(table: Table, name: string, value: string, text: readonly string[]): Key {
  const dotted = table.name === '' ? name : `${table.name}.${name}`;
  return {
    name,
    allowed: allowedFor(table, name),
    standard: isStandard(table, name, value)
      ? value
      : table.isRepeatable || text.join(' ').includes('Default:')
        ? null
        : 'none',
    restartReason: restartReason(dotted),
    tayga: TAYGA[dotted] ?? null,
    totd: TOTD[dotted] ?? null,
  };
}

function header({ name, isRepeatable }: Table): string {
  return name === '' ? '' : isRepeatable ? `[[${name}]]\n` : `[${name}]\n`;
}

/** Whether nothing changes where a file says this. What stands in a repeatable table is never a default. */
function isStandard(table: Table, name: string, value: string): boolean {
  if (table.isRepeatable) return false;
  try {
    const given = parseConfig(`${header(table)}${name} = ${value}\n`, '');
    return isDeepStrictEqual({ ...given, warnings: [] }, { ...parseConfig('', ''), warnings: [] });
  } catch {
    // A value that needs others beside it.
    return false;
  }
}

/** What the reader says that it must be. NaN is nothing's value. */
function allowedFor(table: Table, name: string): string {
  const whole = said(table, name, 'nan');
  const element = /^a list, as in/.test(whole) ? said(table, name, '[nan]') : null;
  return element === null ? whole : `a list; each of it ${element}`;
}

function said(table: Table, name: string, value: string): string {
  const key = table.name === '' ? name : `${table.name}.${name}`;
  try {
    parseConfig(`${header(table)}${name} = ${value}\n`, '');
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    for (const problem of error.problems) {
      if (problem.key.replace(/\[\d+\]/g, '') !== key) continue;
      const [, allowed] = /not allowed; it must be (.*)$/.exec(problem.message) ?? [];
      if (allowed !== undefined) return allowed;
    }
  }
  throw new Error(`the reader does not say what ${key} may be`);
}

/** The keys that a file may have, dotted; those of [[dns64.policy]] and of inline tables are explained where [dns64] has them. */
export function schemaKeys(): string[] {
  const isTable = (dotted: string) => TABLES.includes(dotted) && !dotted.endsWith('pref64');
  return TABLES.filter((table) => !table.endsWith('.pref64')).flatMap((table) =>
    keysAt(pathOf(table))
      .map((key) => (table === '' ? key : `${table}.${key}`))
      .filter((dotted) => !isTable(dotted)),
  );
}

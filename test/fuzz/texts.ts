/** Files that people and other programs write: each ends in what it says, or in errors that name line and column. */
import assert from 'node:assert/strict';
import childProcess from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { isIP } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseConfig } from '#nat64d/control/config/index.js';
import { parseMapFile } from '#nat64d/control/config/map-file.js';
import { ConfigError } from '#nat64d/control/config/problem.js';
import { parseTayga } from '#nat64d/control/config/tayga.js';
import { formatToml } from '#nat64d/control/config/to-toml.js';
import { parseTotd, withTotd } from '#nat64d/control/config/totd.js';
import type { GatewayConfig } from '#nat64d/control/config/types.js';
import { readResolvConf } from '#nat64d/control/dns64/resolvers.js';
import { DynamicMapStore } from '#nat64d/control/pool/dynamic-map-store.js';
import { DynamicPool } from '#nat64d/control/pool/dynamic-pool.js';
import { atOnce } from '#nat64d/control/slices.js';
import { prefix4 } from '../helpers/harness.js';
import type { Case, Runner, Target } from './driver.js';
import { assertUnpolluted } from './fake-socket.js';
import { mutateText } from './mutate.js';
import type { Random } from './random.js';

const shipped = (name: string) =>
  readFileSync(fileURLToPath(new URL(`../../../config/${name}`, import.meta.url)), 'latin1');

/** What means something in one of these files or another. */
const COMMON = [
  '=',
  '[',
  ']',
  '[[',
  ']]',
  '{',
  '}',
  '"',
  '"""',
  "'",
  ',',
  '#',
  ';',
  '\\',
  '\\u0000',
  '\t',
  '\r',
  '\0',
  '\xff',
  '\xef\xbb\xbf',
  ' ',
  '.',
  '..',
  '/',
  '../',
  '-1',
  '0',
  '1',
  '1e999',
  'nan',
  'inf',
  '0x7fffffff',
  '9223372036854775808',
  '4294967296',
  '65535',
  '65536',
  'true',
  'no',
  '__proto__',
  'constructor',
  'toString',
  '1979-05-27',
  '64:ff9b::/96',
  '64:ff9b:1::',
  '::',
  '::1',
  'fe80::1%lo',
  'ff02::1',
  '2001:db8::/32',
  '2001:db8::1/128',
  '10.64.0.0/16',
  '10.64.0.1',
  '0.0.0.0/0',
  '255.255.255.255',
  '192.0.2.1/33',
  '127.0.0.1:53',
  '[::1]:53',
  'tls://192.0.2.1#dns.example',
  'https://dns.example/dns-query',
  'a'.repeat(300),
  '2001:db8:9::8',
];

/** Texts to begin with, the parts of them that a case takes some of, and words to put in. */
interface Seeds {
  readonly parts: readonly string[];
  readonly words: readonly Buffer[];
}

function seedsOf(parts: readonly string[]): Seeds {
  const own = new Set(parts.join('\n').match(/[\w.:/%-]+/g) ?? []);
  return { parts, words: [...own, ...COMMON].map((word) => Buffer.from(word, 'latin1')) };
}

/** With the keys that are commented out, and without the comments. */
function tomlTables(): string[] {
  const keys = shipped('nat64d.toml')
    .replace(/^#\s?(?=[\w-]+ *=|\[)/gm, '')
    .replace(/^#.*\n/gm, '')
    .replace(/ +#.*$/gm, '');
  return keys.split(/\n(?=\[)/);
}

const TAYGA = [
  'tun-device nat64',
  'ipv4-addr 192.168.255.1',
  'ipv6-addr 2001:db8:1::2',
  'prefix 2001:db8:1:ffff::/96',
  'dynamic-pool 192.168.255.0/24',
  'data-dir /var/db/tayga',
  'map 192.168.5.42 2001:db8:1:4444::1',
  'map 192.0.2.0/24 2001:db8:2::/120',
  'map-file maps',
  'wkpf-strict no',
  'udp-cksum-mode calc',
  'log drop reject icmp self dyn',
  'offlink-mtu 1492',
  'workers 4',
  'tun-up yes',
  'tun-ip 192.168.255.2/32',
  'tun-route 192.168.255.0/24',
  'strict-frag-hdr on',
];
const TOTD = [
  'forwarder 192.0.2.53',
  'forwarder ::1 port 65053',
  'prefix 2001:db8:1:ffff::',
  'prefix 64:ff9b::/96',
  'port 5300',
  'retry 60',
  'pidfile /run/totd.pid',
  'interfaces lo eth0',
  'interfaces *',
  'stf',
  'scoped 2001:db8:: fe80:: 64',
  'allow 127.0.0.1',
  'allow ::1',
];
const MAPS = [
  'map 192.168.5.42 2001:db8:1:4444::1',
  'map 192.0.2.0/24 2001:db8:2::/120',
  '# a comment',
  'MAP 198.51.100.1/32 2001:db8:3::1/128',
];
const ENTRIES = [
  '10.64.0.3\t2001:db8:1::2\t1800000000',
  '10.64.0.4\t2001:db8:1::3\t1700000000',
  '10.64.255.255 2001:db8:1::4 999999999999',
  '# a comment',
  '10.64.0.3 2001:db8:1::9 1',
  '10.65.0.1\t2001:db8::1\t1',
];
const SERVERS = [
  'nameserver 192.0.2.53',
  'nameserver 2001:db8::53',
  'nameserver fe80::1%lo',
  'search example',
  'options edns0 trust-ad',
  '# a comment',
  ' nameserver\t127.0.0.53 # here',
];

/** Some of the parts, mostly in order, then gone wrong. */
function makeText({ parts, words }: Seeds, random: Random, separator = '\n'): Buffer {
  const rarity = Math.max(3, parts.length / 3);
  const kept = parts.filter((_, i) => (i === 0 && !random.oneIn(4)) || random.below(rarity) < 1);
  const text = Buffer.from(`${kept.join(separator)}\n`, 'latin1');
  return random.oneIn(10) ? text : mutateText(random, text, words);
}

const whole = (records: Case) => Buffer.concat(records).toString('utf8');

/** An error of ours, all of whose problems have a place in the text. */
function checkError(error: unknown, text: string): void {
  if (!(error instanceof ConfigError)) throw error;
  assert.ok(error.problems.length > 0);
  const lines = text.split('\n').length;
  for (const { line, col, message } of error.problems) {
    assert.ok(
      Number.isInteger(line) && line >= 1 && line <= lines + 1,
      `line ${line} of ${lines}: ${message}`,
    );
    assert.ok(Number.isInteger(col) && col >= 1, `column ${col}: ${message}`);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: none may be in a message.
    assert.doesNotMatch(message, /[\u0000-\u001f\u007f-\u009f]/);
    assert.ok(message.length > 0);
  }
}

/** Answers that are kept at most. */
const MOST_ANSWERS = 10_000;

/**
 * Programs say who a user or a group is. Each is asked once: they would take nearly all of a run's time. Returns what undoes it.
 */
function askOnce(): () => void {
  const { execFileSync } = childProcess;
  const answers = new Map<string, () => unknown>();
  const ask = (...call: Parameters<typeof execFileSync>): (() => unknown) => {
    try {
      const output = execFileSync(...call);
      return () => output;
    } catch (error) {
      return () => {
        throw error;
      };
    }
  };
  const replaced = (...call: Parameters<typeof execFileSync>) => {
    const key = JSON.stringify(call);
    let answer = answers.get(key);
    if (answer === undefined) {
      if (answers.size === MOST_ANSWERS) answers.clear();
      answer = ask(...call);
      answers.set(key, answer);
    }
    return answer();
  };
  childProcess.execFileSync = replaced as typeof execFileSync;
  syncBuiltinESMExports();
  return () => {
    childProcess.execFileSync = execFileSync;
    syncBuiltinESMExports();
  };
}

/** @param read throws ConfigError, or returns what has to stand up to `use` */
function configTarget<T>(
  name: string,
  about: string,
  parts: readonly string[],
  read: (text: string) => T,
  use: (config: T) => void,
): Target {
  let seeds: Seeds | undefined;
  return {
    name,
    about,
    wholeCount: 1_000_000,
    shortCount: 1000,
    isText: true,
    make: (random, corpus) => {
      seeds ??= seedsOf(parts);
      if (corpus.length > 0 && random.oneIn(20))
        return [mutateText(random, Buffer.concat(random.pick(corpus)), seeds.words)];
      return [makeText(seeds, random)];
    },
    open: () => ({
      run: (records) => {
        const text = whole(records);
        let config: T;
        try {
          config = read(text);
        } catch (error) {
          checkError(error, text);
          return;
        } finally {
          assertUnpolluted();
        }
        use(config);
      },
      close: askOnce(),
    }),
  };
}

/** Written as TOML it can be read again. */
function rewrite(config: GatewayConfig): void {
  const text = formatToml(config);
  try {
    parseConfig(text, 'rewritten');
  } catch (error) {
    throw new Error(`what was read cannot be read when it is written anew: ${String(error)}\n${text}`, {
      cause: error,
    });
  }
}

const toml = configTarget('toml', 'nat64d.toml', tomlTables(), (text) => parseConfig(text, 'f'), rewrite);
const tayga = configTarget(
  'tayga',
  'tayga.conf',
  TAYGA,
  (text) => parseTayga(text, 'f', { stateDirectory: '/var/lib/x' }),
  rewrite,
);
const totd = configTarget(
  'totd',
  'totd.conf',
  TOTD,
  (text) => parseTotd(text, 'f'),
  (config) => withTotd(parseConfig('', 'f'), config),
);

const mapFile = configTarget(
  'map-file',
  'lists of explicit maps',
  MAPS,
  parseMapFile,
  ({ maps, lines, problems }) => {
    assert.equal(maps.length, lines.length);
    for (const { line, col } of problems) assert.ok(line >= 1 && col >= 1);
  },
);

/** A folder in memory, if there is one. */
function scratchFolder(): string {
  try {
    return mkdtempSync('/dev/shm/nat64d-fuzz-');
  } catch {
    return mkdtempSync(join(tmpdir(), 'nat64d-fuzz-'));
  }
}

class ResolvConf implements Runner {
  readonly #folder = scratchFolder();

  run(records: Case): void {
    const file = join(this.#folder, 'resolv.conf');
    writeFileSync(file, Buffer.concat(records));
    for (const { address, port } of readResolvConf(file)) assert.ok(isIP(address) !== 0 && port === 53);
  }

  close(): void {
    rmSync(this.#folder, { recursive: true });
  }
}

const serverSeeds = seedsOf(SERVERS);
const resolvConf: Target = {
  name: 'resolv-conf',
  about: 'resolv.conf',
  wholeCount: 1_000_000,
  shortCount: 1000,
  isText: true,
  make: (random) => [makeText(serverSeeds, random)],
  open: () => new ResolvConf(),
};

const POOL4 = prefix4('10.64.0.0/28');
/** One case in so many writes the files anew. */
const COMPACTED = 32;

/** The records are dynamic.map, its journal, and the journal set aside. */
class DynamicMap implements Runner {
  readonly #folder = scratchFolder();
  #runs = 0;

  #pool(): DynamicPool {
    return new DynamicPool({
      pool4: POOL4,
      reserved: [],
      lastSeen: new Int32Array(2 ** (32 - POOL4.length)),
      lifetimeSec: 60,
      dormantSec: 2 ** 31,
      maxMapsPer64: 0,
      publisher: { publish: () => {}, withdraw: () => {} },
    });
  }

  async run(records: Case): Promise<void> {
    const file = join(this.#folder, 'dynamic.map');
    for (const [i, suffix] of ['', '.journal', '.journal.old'].entries())
      writeFileSync(file + suffix, records[i] ?? '');
    const store = new DynamicMapStore(file);
    const { entries, problems } = atOnce(store.read());
    for (const { line, message } of problems) assert.ok(line >= 1 && message.length > 0);
    const pool = this.#pool();
    for (const { line, message } of atOnce(pool.restore(entries, 2_000_000, 1_800_000_000)))
      assert.ok(line >= 1 && message.length > 0);
    const hosts = new Set<string>();
    for (const { ipv4, host } of pool.entries()) {
      assert.ok(ipv4 > 0x0a400000 && ipv4 <= 0x0a40000f, 'an address outside of the pool');
      assert.ok(!hosts.has(host.join()), 'a host with two addresses');
      hosts.add(host.join());
    }
    if (this.#runs++ % COMPACTED !== 0) return;
    // A line behind whatever the journal ended in is read again.
    store.record(0x0a400777, [0x20010db8, 7, 7, 7], 1_800_000_000);
    const again = [...atOnce(new DynamicMapStore(file).read()).entries];
    assert.ok(
      again.some(({ ipv4, host }) => ipv4 === 0x0a400777 && host[3] === 7),
      'a map recorded is lost',
    );
    await store.compact(pool.entries(), 1_000_000, 1_800_000_000);
    await store.close();
    const rewritten = atOnce(new DynamicMapStore(file).read());
    assert.deepEqual([rewritten.entries.length, rewritten.problems.length], [hosts.size, 0]);
  }

  close(): void {
    rmSync(this.#folder, { recursive: true });
  }
}

const entrySeeds = seedsOf(ENTRIES);
const dynamicMap: Target = {
  name: 'dynamic-map',
  about: 'dynamic.map and its journals',
  wholeCount: 1_000_000,
  shortCount: 1000,
  make: (random) => {
    const one = () => {
      const text = makeText(entrySeeds, random);
      return random.oneIn(4) ? text.subarray(0, random.below(text.length + 1)) : text;
    };
    return [one(), random.oneIn(2) ? one() : Buffer.alloc(0), random.oneIn(3) ? one() : Buffer.alloc(0)];
  },
  open: () => new DynamicMap(),
};

export const texts: readonly Target[] = [toml, tayga, totd, mapFile, dynamicMap, resolvConf];

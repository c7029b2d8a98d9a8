/** totd's options. */
import { readTotdPrefix } from '../control/config/totd.js';
import type { Prefix6 } from '../wire/address.js';
import { type OptionSpec, parseOptions, UsageError } from './getopt.js';

const OPTIONS: readonly OptionSpec[] = [
  ...['6', 'no6', '4', 'no4', '64', '46'].map((name) => ({ name, isWord: true })),
  { name: 'http-port', isWord: true, value: 'a port' },
  { name: 'config', short: 'c', value: 'a file' },
  { name: 'debug', short: 'd', hasAttachedNumber: true },
  { name: 'prefix', short: 'p', value: 'an IPv6 prefix' },
  { name: 'user', short: 'u', value: 'a user' },
  { name: 'group', short: 'g', value: 'a group' },
  { name: 'chroot', short: 't', value: 'a folder' },
  { name: 'quiet', short: 'q' },
  { name: 'verbose', short: 'v' },
  { name: 'help', short: 'h' },
];

export const HELP = `usage: totd [options]

  -c FILE          configuration (default /etc/totd.conf; inside the chroot with -t)
  -d[N]            N above 0: stay in the foreground, log to standard output, with more detail
  -4, -no4         listen on IPv4 addresses, or do not
  -6, -no6         listen on IPv6 addresses, or do not
  -64, -46         listen on both (default)
  -p PREFIX        a prefix for addresses, before those of the file (repeat for several)
  -u USER          run as this user once the sockets are open
  -g GROUP         run as this group
  -t DIR           make this folder the root, before the configuration is read
  -q               log errors only
  -v               log with more detail
  -h               show this
  -http-port N     has no effect: there is no HTTP interface

SIGHUP reads the configuration again. This is nat64d's DNS64, with totd's options.
`;

export interface Options {
  readonly config: string;
  readonly prefixes: readonly Prefix6[];
  /** Families to listen on. */
  readonly ipv4: boolean;
  readonly ipv6: boolean;
  readonly isForeground: boolean;
  readonly level: 'error' | 'info' | 'debug';
  readonly user: string | undefined;
  readonly group: string | undefined;
  readonly chroot: string | undefined;
  readonly hasHttpPort: boolean;
  readonly isHelp: boolean;
}

/** Throws UsageError. */
export function readOptions(words: readonly string[]): Options {
  const { options, operands } = parseOptions(OPTIONS, words);
  if (operands[0] !== undefined) throw new UsageError(`'${operands[0]}' is too much: there are only options`);
  const has = (name: string) => options.some((option) => option.name === name);
  const last = (name: string) => options.findLast((option) => option.name === name)?.value;
  const prefixes = options
    .filter(({ name }) => name === 'prefix')
    .map(({ value }) => {
      const prefix = readTotdPrefix(value);
      if (prefix === null)
        throw new UsageError(`-p needs an IPv6 prefix, as 2001:db8:1:ffff::, not '${value}'`);
      return prefix;
    });
  const families = { ipv4: true, ipv6: true };
  for (const { name } of options) {
    if (name === '4' || name === '64' || name === '46') families.ipv4 = true;
    if (name === '6' || name === '64' || name === '46') families.ipv6 = true;
    if (name === 'no4') families.ipv4 = false;
    if (name === 'no6') families.ipv6 = false;
  }
  if (!families.ipv4 && !families.ipv6)
    throw new UsageError('-no4 and -no6 together leave nothing to listen on');
  const isForeground = Number(last('debug') ?? 0) > 0;
  return {
    config: last('config') ?? '/etc/totd.conf',
    prefixes,
    ...families,
    isForeground,
    level: has('quiet') ? 'error' : isForeground || has('verbose') ? 'debug' : 'info',
    user: last('user'),
    group: last('group'),
    chroot: last('chroot'),
    hasHttpPort: has('http-port'),
    isHelp: has('help'),
  };
}

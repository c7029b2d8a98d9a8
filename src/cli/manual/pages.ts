/** The manual pages of nat64d, of its configuration file, and of the programs that stand in for TAYGA and totd. */
import type { Command } from 'commander';
import { type Group, type Key, readKeys, type Table } from './keys.js';
import { commandSection, entry, optionsSection, roff, sentence, title } from './roff.js';

const EXIT_CODES = `.SH EXIT STATUS
0: fine. 1: failure, and what is wrong is said on standard error. 2: wrong usage.
`;

/** nat64d(8). */
export function nat64dPage(program: Command): string {
  const commands = program.createHelp().visibleCommands(program);
  const sections = commands.map((command) => commandSection(command, '')).join('');
  return `${title('nat64d', 8)}.SH NAME
nat64d \\- NAT64/DNS64 gateway: IPv6\\-only hosts reach the IPv4 internet through it
.SH SYNOPSIS
.B nat64d
[options]
.SH DESCRIPTION
Translates between IPv6 and IPv4 (RFC 7915) on a TUN device, gives IPv6 hosts IPv4 addresses from a pool for as long as they
need one, and answers DNS queries with IPv6 addresses for names that have only IPv4 ones (RFC 6147). It stays in the
foreground, sets up the device, addresses, routes, forwarding and masquerading when it starts, and takes all of it down when
it ends.
${optionsSection(program)}.SH COMMANDS
${sections}.SH SIGNALS
${entry('SIGHUP', 'Reads the configuration again, and brings it into force where it has no mistake.')}${entry('SIGTERM, SIGINT, SIGQUIT', 'Takes down what was set up, and ends.')}.SH FILES
${entry('/etc/nat64d/nat64d.toml', 'The configuration, nat64d.toml(5).')}${entry('/var/lib/nat64d/dynamic.map', 'The IPv4 addresses that IPv6 hosts have or had.')}${entry('/run/nat64d/control.sock', 'The control socket that nat64ctl(8) speaks to.')}${EXIT_CODES}.SH SEE ALSO
.BR nat64ctl (8),
.BR nat64d.toml (5),
.BR tayga (8),
.BR totd (8)
`;
}

function keyEntry(key: Key): string {
  const standard =
    key.standard === null ? '' : key.standard === 'none' ? ' No default.' : ` Default: ${key.standard}.`;
  const restart = key.restartReason === null ? '' : ` A change needs a restart: ${key.restartReason}.`;
  return entry(key.name, `Value: ${key.allowed}.${standard}${restart}`);
}

function groupSection({ text, keys }: Group): string {
  const said = text.length === 0 ? '' : `.RS\n${roff(text.join('\n'))}\n.RE\n`;
  return `${keys.map(keyEntry).join('')}${said}`;
}

function tableSection({ name, isRepeatable, text, groups }: Table): string {
  const heading = name === '' ? 'At the top of the file' : isRepeatable ? `[[${name}]]` : `[${name}]`;
  const said = text.length === 0 ? '' : `${roff(text.join('\n'))}\n`;
  return `.SS ${roff(heading)}\n${said}${groups.map(groupSection).join('')}`;
}

/**
 * nat64d.toml(5).
 * @param sample the text of config/nat64d.toml
 */
export function configurationPage(sample: string): string {
  return `${title('nat64d.toml', 5)}.SH NAME
nat64d.toml \\- configuration of nat64d
.SH SYNOPSIS
.I /etc/nat64d/nat64d.toml
.SH DESCRIPTION
A file in TOML. An empty one is fine: every key has a default that serves, or stands for something that is off.
.B nat64d \\-\\-check
names every mistake in it with its place. Changes are brought into force by
.B nat64ctl reload
or SIGHUP, but for those that need a restart, which are named below.
.SH KEYS
${readKeys(sample).map(tableSection).join('')}.SH SEE ALSO
.BR nat64d (8),
.BR nat64ctl (8)
`;
}

export interface StandIn {
  readonly name: string;
  readonly about: string;
  readonly description: string;
  readonly files: readonly (readonly [string, string])[];
}

export const STAND_INS: readonly StandIn[] = [
  {
    name: 'tayga',
    about: "nat64d with TAYGA's options and configuration file",
    description:
      "NAT64 as TAYGA does it: the same options, configuration file, dynamic.map and signals. It detaches, and ends once the daemon serves, unless --nodetach or --debug is given. docs/migrating-from-tayga.md of nat64d says what differs. `nat64d import --tayga FILE' prints the same configuration for nat64d itself.",
    files: [['/etc/tayga.conf', "The configuration, in TAYGA's format."]],
  },
  {
    name: 'totd',
    about: "nat64d's DNS64 with totd's options and configuration file",
    description:
      "DNS64 without NAT64, as totd does it: the same options, configuration file and signals. docs/dns64.md of nat64d says what differs. `nat64d import --totd FILE' prints the same configuration for nat64d itself.",
    files: [['/etc/totd.conf', "The configuration, in totd's format."]],
  },
];

/**
 * tayga(8) and totd(8).
 * @param help what the program prints for -h
 */
export function standInPage({ name, about, description, files }: StandIn, help: string): string {
  const options = help.split('\n').flatMap((line) => {
    const [, flags, text] = /^ {2,}(-.*?) {2,}(\S.*)$/.exec(line) ?? [];
    return flags === undefined || text === undefined ? [] : [entry(flags, sentence(text))];
  });
  return `${title(name, 8)}.SH NAME
${name} \\- ${roff(about)}
.SH SYNOPSIS
.B ${name}
[options]
.SH DESCRIPTION
${roff(description)}
.SH OPTIONS
${options.join('')}.SH SIGNALS
${entry('SIGHUP', 'Reads the configuration again, and brings it into force where it has no mistake.')}${entry('SIGTERM, SIGINT, SIGQUIT', 'Ends it.')}.SH FILES
${files.map(([file, text]) => entry(file, text)).join('')}.SH EXIT STATUS
0: fine. 1: failure, wrong usage among them.
.SH SEE ALSO
.BR nat64d (8)
`;
}

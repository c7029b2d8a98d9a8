/** The manual page (man 7 man), made from the definitions of the commands. */
import type { Command, Option } from 'commander';
import { VERSION } from '../../control/version.js';

/** Text as roff takes it: no line begins with a control character, no hyphen becomes a dash. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^([.'])/gm, '\\&$1');
}

function usage(command: Command, names: string): string {
  const values = command.registeredArguments.map((argument) =>
    argument.required ? `<${argument.name()}>` : `[${argument.name()}]`,
  );
  const hasOptions = command.options.length > 0;
  return [names, ...(hasOptions ? ['[options]'] : []), ...values].join(' ');
}

function optionLines({ flags, description, argChoices, defaultValue }: Option): string {
  const choices = argChoices === undefined ? '' : ` (${argChoices.join(', ')})`;
  const standard =
    defaultValue === undefined || defaultValue === false ? '' : `; default ${String(defaultValue)}`;
  return `.TP\n.B ${roff(flags)}\n${roff(`${description}${choices}${standard}`)}\n`;
}

function commandLines(command: Command, path: string): string {
  const names = `${path}${command.name()}`;
  if (command.commands.length > 0)
    return command.commands.map((sub) => commandLines(sub, `${names} `)).join('');
  const choices = command.registeredArguments.flatMap((argument) =>
    argument.argChoices === undefined ? [] : [`${argument.name()}: ${argument.argChoices.join(', ')}.`],
  );
  const options = command.options.map(optionLines).join('');
  return [
    `.SS ${roff(usage(command, names))}\n`,
    `${roff(`${sentence(command.description())}`)}\n`,
    ...choices.map((line) => `.PP\n${roff(line)}\n`),
    options,
  ].join('');
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${text.endsWith('.') ? '' : '.'}`;
}

export function manPage(program: Command): string {
  const options = program.createHelp().visibleOptions(program).map(optionLines).join('');
  const commands = program.commands.map((command) => commandLines(command, '')).join('');
  return `.TH NAT64CTL 8 "" "nat64d ${VERSION}" "System Administration"
.SH NAME
nat64ctl \\- look into a running nat64d, and have it do a few things
.SH SYNOPSIS
.B nat64ctl
[options] <command> [arguments]
.SH DESCRIPTION
Speaks with the gateway over its control socket. Root may, and whoever is in the group that
.I control\\-group
names in the gateway's configuration.
.SH OPTIONS
${options}.SH COMMANDS
${commands}.SH ENVIRONMENT
.TP
.B NAT64D_SOCKET
The control socket, where \\-\\-socket does not name it.
.TP
.B NO_COLOR
Set to anything: top draws without colours.
.SH FILES
.TP
.I /run/nat64d/control.sock
The control socket of a gateway with the default run\\-dir.
.SH EXIT STATUS
0: fine. 1: failure, and what to do is said on standard error. 2: wrong usage.
.SH EXAMPLES
.nf
nat64ctl maps \\-\\-host 2001:db8:1::/64 \\-\\-sort used
nat64ctl reload \\-\\-dry\\-run
nat64ctl trace 2001:db8:1::2 64:ff9b:1::192.0.2.1
nat64ctl capture \\-w x.pcapng \\-\\-host 2001:db8:1::2
nat64ctl capture \\-w \\- | tshark \\-r \\-
nat64ctl \\-\\-json status
.fi
.SH SEE ALSO
.BR ip (8)
`;
}

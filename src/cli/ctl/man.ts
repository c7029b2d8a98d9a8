/** nat64ctl(8), made from the definitions of the commands. */
import type { Command } from 'commander';
import { commandSection, optionsSection, title } from '../manual/roff.js';

export function manPage(program: Command): string {
  const commands = program.commands.map((command) => commandSection(command, '')).join('');
  return `${title('nat64ctl', 8)}.SH NAME
nat64ctl \\- look into a running nat64d, and have it do a few things
.SH SYNOPSIS
.B nat64ctl
[options] <command> [arguments]
.SH DESCRIPTION
Speaks with the gateway over its control socket. Root may, and whoever is in the group that
.I control\\-group
names in the gateway's configuration.
${optionsSection(program)}.SH COMMANDS
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
.BR nat64d (8),
.BR nat64d.toml (5),
.BR ip (8)
`;
}

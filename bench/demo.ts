/** `npm run demo`: the gateway between an IPv6-only client and an IPv4-only server, all of it on this machine. Needs root. */
import { CLIENT6, Lab, PUBLIC4, SERVER4, under } from '../test/helpers/lab.js';

const isTerminal = process.stdout.isTTY === true;
const bold = (text: string) => (isTerminal ? `\u001b[1m${text}\u001b[0m` : text);
const dim = (text: string) => (isTerminal ? `\u001b[2m${text}\u001b[0m` : text);

const PICTURE = `
   IPv6-only client               gateway                      IPv4-only server
  +----------------+     +------------------------+     +------------------------+
  | ${CLIENT6}  |-----| nat64d                 |-----| ${SERVER4}            |
  |                | v6  | 64:ff9b:1::/96 == IPv4 | v4  | ${PUBLIC4}                |
  +----------------+     +------------------------+     | web page, name server  |
                                                        +------------------------+
`;

/** Prints a command, runs it in the client's namespace, prints what it said. False where it failed. */
async function show(lab: Lab, heading: string, command: string, args: string[]): Promise<boolean> {
  console.log(`\n${bold(heading)}`);
  console.log(dim(`client# ${command} ${args.join(' ')}`));
  const { status, stdout, stderr } = await lab.run(lab.client, command, args);
  process.stdout.write(stdout);
  process.stderr.write(stderr);
  return status === 0;
}

async function demo(lab: Lab): Promise<boolean> {
  console.log(PICTURE);
  await lab.serve(lab.server, 'server');
  await lab.serve(lab.server, 'dns-server', [SERVER4]);
  console.log(bold('The gateway starts'));
  console.log(dim(`gateway# nat64d   (forwarders = ["${SERVER4}"])`));
  const gateway = await lab.startGateway();
  for (const { event, msg } of gateway.lines) if (event === 'set-up' || event === 'ready') console.log(msg);

  const nameServer = under('10.64.0.2');
  lab.useNameServer(lab.client, nameServer);
  const results = [
    await show(lab, 'The client has IPv6 only', 'ip', ['-brief', 'addr', 'show', 'up0']),
    await show(lab, 'It pings an IPv4 address', 'ping', ['-c', '3', '-i', '0.3', under(PUBLIC4)]),
    await show(lab, 'It asks for a name that has only an IPv4 address', 'dig', [
      '+noall',
      '+answer',
      `@${nameServer}`,
      'AAAA',
      'www.example.com',
    ]),
    await show(lab, 'It reads a web page by name', 'curl', ['-sS', 'http://www.example.com/']),
    await show(lab, 'It follows the way', 'traceroute', ['-n', '-q', '1', '-w', '1', under(PUBLIC4)]),
  ];

  console.log(`\n${bold('The gateway stops, and takes everything down')}`);
  const code = await gateway.stop();
  const counters = gateway.events('stopped')[0]?.counters as Record<string, number>;
  for (const [name, value] of Object.entries(counters)) console.log(`${name.padEnd(24)}${value}`);
  return results.every(Boolean) && code === 0;
}

const lab = new Lab();
try {
  process.exitCode = (await demo(lab)) ? 0 : 1;
} finally {
  await lab.close();
}

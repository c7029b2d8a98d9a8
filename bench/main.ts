/** `npm run bench -- NAME`: benchmarks, and a load generator for gateways anywhere. */
import { Command, InvalidArgumentError } from 'commander';

function number(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('It must be a number above 0.');
  return value;
}

function integer(text: string): number {
  const value = number(text);
  if (!Number.isInteger(value)) throw new InvalidArgumentError('It must be a whole number.');
  return value;
}

function poolLength(text: string): number {
  const length = integer(text);
  if (length < 8 || length > 29) throw new InvalidArgumentError('It must be from 8 to 29.');
  return length;
}

const program = new Command('npm run bench --')
  .description(
    'Benchmarks. Each prints a table, and writes JSON and an SVG chart into bench/results; `load` only prints.',
  )
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2));

program
  .command('throughput')
  .description(
    'through the gateway, TAYGA, the kernel and a mere copy of frames, between network namespaces (root)',
  )
  .option('--runs <n>', 'runs, of which the median counts', number, 5)
  .option('--seconds <n>', 'seconds for each figure', number, 3)
  .option('--only <text>', 'only loads with this in their name', '')
  .action(async (options) => (await import('./throughput.bench.js')).run(options));
program
  .command('dns')
  .description('DNS64 beside unbound and BIND: queries a second, latency, new IPv6 hosts meanwhile (root)')
  .option('--runs <n>', 'runs, of which the median counts', number, 3)
  .option('--seconds <n>', 'seconds for each figure', number, 3)
  .option('--only <part>', 'beside the rates only "latency", "hosts" or "rates"', '')
  .action(async (options) => (await import('./dns.bench.js')).run(options));
program
  .command('micro')
  .description('nanoseconds that each part takes for a frame, a lookup, a map or a query, without a device')
  .option('--runs <n>', 'runs, of which the median counts', integer, 3)
  .option('--only <text>', 'only families with this in their name', '')
  .action(async (options) => (await import('./micro.bench.js')).run(options));
program
  .command('watch')
  .description('nanoseconds a frame that captures cost, beside a loop without them; the captures of `micro`')
  .option('--runs <n>', 'runs, of which the median counts', integer, 3)
  .action(async ({ runs }) => (await import('./micro.bench.js')).run({ runs, only: 'captures' }, 'watch'));
program
  .command('dns-paths')
  .description('nanoseconds that DNS64 takes for a query, without sockets; the DNS of `micro`')
  .option('--runs <n>', 'runs, of which the median counts', integer, 3)
  .action(async ({ runs }) => (await import('./micro.bench.js')).run({ runs, only: 'dns' }, 'dns-paths'));
program
  .command('pool')
  .description('what allocation, expiry and dynamic.map cost with a large pool')
  .option('--runs <n>', 'runs, of which the median counts', integer, 3)
  .option('--length <n>', 'prefix length of the pool', poolLength, 10)
  .action(async (options) => (await import('./pool.bench.js')).run(options));
program
  .command('control')
  .description('how soon a reload and a stop take effect, idle and under full load (root)')
  .action(async () => (await import('./control.bench.js')).run());
program
  .command('soak')
  .description('memory, descriptors and CPU, idle and under load (root)')
  .option('--minutes <n>', 'of load', number, 10)
  .action(async (options) => (await import('./soak.bench.js')).run(options));
program
  .command('floods')
  .description('what floods cost established flows, cached names and memory (root)')
  .option('--seconds <n>', 'of each flood that are measured', number, 5)
  .option('--only <text>', 'only floods with this in their name', '')
  .action(async (options) => (await import('./floods.bench.js')).run(options));
program
  .command('endurance')
  .description(
    'full load with reloads, deaths and hosts that come and go: memory, descriptors, accounts (root)',
  )
  .option('--minutes <n>', 'how long', number, 10)
  .action(async (options) => (await import('./endurance.bench.js')).run(options));
program
  .command('tuning')
  .description('what each piece of tuning advice is worth (root)')
  .option('--runs <n>', 'runs, of which the median counts', integer, 3)
  .option('--seconds <n>', 'seconds for each figure', integer, 2)
  .option('--congestion <name>', "congestion control of TCP's sender", 'cubic')
  .action(async (options) => (await import('./tuning.bench.js')).run(options));
program
  .command('profile')
  .description('where the time goes, with flame graphs (root, perf)')
  .option('--runs <n>', 'runs, of which the median counts', integer, 3)
  .action(async (options) => (await import('./profile.bench.js')).run(options));
program
  .command('load')
  .description('load on a gateway anywhere: round trips to a machine behind it that runs `echo`')
  .requiredOption('--target <address>', 'the machine, as its clients reach it through the gateway')
  .option('--port <n>', 'its UDP port', integer, 6401)
  .option('--flows <n>', 'sockets', integer, 16)
  .option('--size <bytes>', 'of a datagram', integer, 200)
  .option('--rate <n>', 'datagrams a second (default: as fast as it goes)', number)
  .option('--seconds <n>', 'how long', number, 10)
  .action(async (options) => (await import('./load.bench.js')).run(options));
program
  .command('echo')
  .description('answers the datagrams of `load`')
  .option('--port <n>', 'UDP port', integer, 6401)
  .action(async ({ port }) => (await import('./load.bench.js')).echo(port));

await program.parseAsync();

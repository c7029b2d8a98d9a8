/** `npm run bench -- NAME`: benchmarks, and a load generator for gateways anywhere. */
import { Command, InvalidArgumentError } from 'commander';

function number(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('It must be a number above 0.');
  return value;
}

const program = new Command('npm run bench --')
  .description('Benchmarks. Each prints a table and writes JSON, most an SVG chart too, into bench/results.')
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2));

program
  .command('throughput')
  .description('through the gateway, TAYGA and the kernel, between network namespaces (root)')
  .option('--runs <n>', 'runs, of which the median counts', number, 5)
  .option('--seconds <n>', 'seconds for each figure', number, 3)
  .option('--only <text>', 'only loads with this in their name', '')
  .action(async (options) => (await import('./throughput.bench.js')).run(options));
program
  .command('translate')
  .description('nanoseconds that the translator takes for a frame')
  .action(async () => (await import('./translate.bench.js')).run());
program
  .command('lookup')
  .description('nanoseconds that a lookup takes with 10 to 100,000 maps')
  .action(async () => (await import('./lookup.bench.js')).run());
program
  .command('pool')
  .description('what allocation, expiry and dynamic.map cost with a /10')
  .action(async () => (await import('./pool.bench.js')).run());

await program.parseAsync();

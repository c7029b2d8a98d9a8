/** `npm run fuzz`: every target for as long as it takes to run a million cases (ten million frames), or those that are named. */
import { randomInt } from 'node:crypto';
import { Command, InvalidArgumentError, Option } from 'commander';
import { fuzz, report } from './driver.js';
import { COMPILERS, type Compiler, sanitize, underValgrind } from './sanitize.js';
import { TARGETS } from './targets.js';

function number(text: string): number {
  const value = Number(text);
  if (!(value >= 0)) throw new InvalidArgumentError('It must be a number.');
  return value;
}

const program = new Command('npm run fuzz --')
  .description(
    `Random and mutated input, for as long as it takes or until something breaks. Targets:\n${TARGETS.map(({ name, about }) => `  ${name.padEnd(14)}${about}`).join('\n')}`,
  )
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2))
  .argument('[targets...]', 'all, if none is named')
  .option('--count <n>', 'cases of each target, or frames', number)
  .option('--first <n>', 'number of the first case', number, 0)
  .option('--seed <n>', 'for the same cases again', number, randomInt(2 ** 31))
  .option('--seconds <n>', 'the longest time for each target', number)
  .action(
    async (names: string[], options: { count?: number; first: number; seed: number; seconds?: number }) => {
      const unknown = names.find((name) => TARGETS.every((target) => target.name !== name));
      if (unknown !== undefined)
        program.error(`no target '${unknown}'; there are ${TARGETS.map(({ name }) => name).join(', ')}`);
      for (const target of TARGETS) {
        if (names.length > 0 && !names.includes(target.name)) continue;
        const {
          seed,
          first,
          seconds,
          count = seconds === undefined ? target.wholeCount : Number.POSITIVE_INFINITY,
        } = options;
        report(
          target,
          seed,
          await fuzz(target, { seed, first, count, ...(seconds === undefined ? {} : { seconds }) }),
        );
      }
    },
  );

program
  .command('sanitize')
  .description('the native addon under AddressSanitizer and UBSan: its tests, and frames (root)')
  .addOption(
    new Option('--compiler <name>', 'whose sanitizers; clang is fetched').choices(COMPILERS).default('clang'),
  )
  .action(({ compiler }: { compiler: Compiler }) => {
    process.exitCode = sanitize(compiler) ? 0 : 1;
  });
program
  .command('valgrind')
  .description('the native addon under valgrind: every function with wrong arguments (root)')
  .action(() => {
    process.exitCode = underValgrind() ? 0 : 1;
  });

try {
  await program.parseAsync();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

/**
 * Options as getopt_long of the C library takes them, for the programs that we stand in for: `--opt=V`, `--opt V`, abbreviations
 * of long options, bundled short ones (`-dnc F`), `--`; and as totd takes them: whole words behind one dash (`-no6`), and a
 * number that hangs on its letter (`-d9`).
 */

export interface OptionSpec {
  /** What results call it; also its long form, unless `isWord`. */
  readonly name: string;
  /** One letter. */
  readonly short?: string;
  /** What its value is called in messages; without, it takes none. */
  readonly value?: string;
  /** Written as a word behind one dash. */
  readonly isWord?: boolean;
  /** A number may hang on its letter; its value is '' without. */
  readonly hasAttachedNumber?: boolean;
}

export interface ParsedOptions {
  /** In the order in which they were given. */
  readonly options: readonly { readonly name: string; readonly value: string }[];
  readonly operands: readonly string[];
}

/** A command line that cannot be understood; the message says what to do. */
export class UsageError extends Error {
  readonly code = 'USAGE';
}

/** Reads a command line, without the program's name. Throws UsageError. */
export function parseOptions(specs: readonly OptionSpec[], words: readonly string[]): ParsedOptions {
  const options: { name: string; value: string }[] = [];
  const operands: string[] = [];
  const left = [...words];
  const take = (spec: OptionSpec, written: string, attached: string | undefined) => {
    if (spec.value === undefined) {
      if (attached !== undefined) throw new UsageError(`${written} takes no value`);
      options.push({ name: spec.name, value: '' });
      return;
    }
    const value = attached ?? left.shift();
    if (value === undefined) throw new UsageError(`${written} needs a value: ${spec.value}`);
    options.push({ name: spec.name, value });
  };

  for (let word = left.shift(); word !== undefined; word = left.shift()) {
    if (word === '--') {
      operands.push(...left.splice(0));
    } else if (word.startsWith('--')) {
      const [, name = '', attached] = /^--([^=]*)(?:=(.*))?$/s.exec(word) ?? [];
      take(findLong(specs, name), `--${name}`, attached);
    } else if (word.startsWith('-') && word !== '-') {
      const whole = specs.find((spec) => spec.isWord === true && `-${spec.name}` === word);
      if (whole !== undefined) take(whole, word, undefined);
      else takeShort(specs, word, options, take);
    } else {
      operands.push(word);
    }
  }
  return { options, operands };
}

function takeShort(
  specs: readonly OptionSpec[],
  word: string,
  options: { name: string; value: string }[],
  take: (spec: OptionSpec, written: string, attached: string | undefined) => void,
): void {
  for (let i = 1; i < word.length; i++) {
    const letter = word[i] as string;
    const rest = word.slice(i + 1);
    const spec = specs.find(({ short }) => short === letter);
    if (spec === undefined)
      throw new UsageError(`there is no option -${letter}${word.length > 2 ? ` (in ${word})` : ''}`);
    if (spec.hasAttachedNumber === true) {
      const number = /^[0-9]*/.exec(rest)?.[0] ?? '';
      options.push({ name: spec.name, value: number });
      i += number.length;
    } else if (spec.value !== undefined) {
      take(spec, `-${letter}`, rest === '' ? undefined : rest);
      return;
    } else {
      take(spec, `-${letter}`, undefined);
    }
  }
}

function findLong(specs: readonly OptionSpec[], name: string): OptionSpec {
  const long = specs.filter((spec) => spec.isWord !== true && spec.name.length > 1);
  const exact = long.find((spec) => spec.name === name);
  if (exact !== undefined) return exact;
  const candidates = name === '' ? [] : long.filter((spec) => spec.name.startsWith(name));
  const [only] = candidates;
  if (only === undefined) throw new UsageError(`there is no option --${name}`);
  if (candidates.length > 1) {
    throw new UsageError(
      `--${name} may mean ${candidates.map((spec) => `--${spec.name}`).join(' or ')}: write it out`,
    );
  }
  return only;
}

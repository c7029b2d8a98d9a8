/** Text for manual pages (man 7 man). */
import type { Command, Option } from 'commander';
import { VERSION } from '../../control/version.js';

/** Text as roff takes it: no line begins with a control character, no hyphen becomes a dash. */
export function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^([.'])/gm, '\\&$1');
}

export function title(name: string, section: number): string {
  const about = section === 5 ? 'File Formats' : 'System Administration';
  return `.TH ${name.toUpperCase()} ${section} "" "nat64d ${VERSION}" "${about}"\n`;
}

/** A term and what it means. */
export function entry(term: string, text: string): string {
  return `.TP\n.B ${roff(term)}\n${roff(text)}\n`;
}

export function optionEntry({ flags, description, argChoices, defaultValue }: Option): string {
  const choices = argChoices === undefined ? '' : ` (${argChoices.join(', ')})`;
  const standard =
    defaultValue === undefined || defaultValue === false ? '' : `; default ${String(defaultValue)}`;
  return entry(flags, `${description}${choices}${standard}`);
}

export function usage(command: Command, names: string): string {
  const values = command.registeredArguments.map((argument) =>
    argument.required ? `<${argument.name()}>` : `[${argument.name()}]`,
  );
  const hasOptions = command.options.length > 0;
  return [names, ...(hasOptions ? ['[options]'] : []), ...values].join(' ');
}

/** A command of a program, with the commands below it. */
export function commandSection(command: Command, path: string): string {
  const names = `${path}${command.name()}`;
  if (command.commands.length > 0)
    return command.commands.map((sub) => commandSection(sub, `${names} `)).join('');
  const choices = command.registeredArguments.flatMap((argument) =>
    argument.argChoices === undefined ? [] : [`${argument.name()}: ${argument.argChoices.join(', ')}.`],
  );
  const options = command.options.map(optionEntry).join('');
  return [
    `.SS ${roff(usage(command, names))}\n`,
    `${roff(`${sentence(command.description())}`)}\n`,
    ...choices.map((line) => `.PP\n${roff(line)}\n`),
    options,
  ].join('');
}

export function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${text.endsWith('.') ? '' : '.'}`;
}

export function optionsSection(program: Command): string {
  return `.SH OPTIONS\n${program.createHelp().visibleOptions(program).map(optionEntry).join('')}`;
}

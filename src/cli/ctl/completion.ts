/** Shell completion, made from the definitions of the commands. */
import type { Command } from 'commander';

interface Place {
  /** The words that lead there, each behind a blank: ' map show'. */
  readonly at: string;
  /** Commands, options, and what a first argument may be. */
  readonly words: readonly string[];
  /** A file may stand there. */
  readonly takesFile: boolean;
}

/** An option that is followed by a value. */
interface ValueOption {
  readonly flags: readonly string[];
  readonly choices: readonly string[];
  readonly takesFile: boolean;
}

function places(command: Command, at = ''): Place[] {
  const help = command.createHelp();
  const subcommands = help.visibleCommands(command);
  const options = help.visibleOptions(command).flatMap(({ long }) => long ?? []);
  const choices = command.registeredArguments.flatMap(({ argChoices }) => argChoices ?? []);
  const place = {
    at,
    words: [...subcommands.map((sub) => sub.name()), ...choices, ...options],
    takesFile: command.registeredArguments.some((argument) => argument.name() === 'file'),
  };
  return [place, ...subcommands.flatMap((sub) => places(sub, `${at} ${sub.name()}`))];
}

function valueOptions(command: Command): ValueOption[] {
  const own = command.options
    .filter(({ required, optional }) => required || optional)
    .map(({ short, long, argChoices, flags }) => ({
      flags: [short, long].flatMap((flag) => flag ?? []),
      choices: argChoices ?? [],
      takesFile: flags.includes('<file>'),
    }));
  return [...own, ...command.commands.flatMap(valueOptions)];
}

export function bashCompletion(program: Command): string {
  const name = program.name();
  const known = places(program);
  const steps = known.slice(1).map(({ at }) => `      '${at}') at='${at}' ;;\n`);
  const words = known.map(
    ({ at, words: list, takesFile }) =>
      `    '${at}') words='${list.join(' ')}'${takesFile ? '; files=1' : ''} ;;\n`,
  );
  const values = valueOptions(program).map(
    ({ flags, choices, takesFile }) =>
      `    ${flags.join('|')}) words='${choices.join(' ')}'; files=${takesFile ? 1 : ''} ;;\n`,
  );
  return `# bash completion for ${name}: ${name} completion bash > /etc/bash_completion.d/${name}
_${name}() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} at='' files='' words='' word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$at $word" in
${steps.join('')}    esac
  done
  case "$at" in
${words.join('')}  esac
  case "$prev" in
${values.join('')}  esac
  COMPREPLY=( $(compgen -W "$words" -- "$cur") )
  if [ -n "$files" ]; then COMPREPLY+=( $(compgen -f -- "$cur") ); fi
}
complete -F _${name} ${name}
`;
}

export function zshCompletion(program: Command): string {
  const name = program.name();
  const known = places(program);
  const steps = known.slice(1).map(({ at }) => `      '${at}') at='${at}' ;;\n`);
  const cases = known.map(
    ({ at, words, takesFile }) =>
      `    '${at}') list=(${words.join(' ')})${takesFile ? '; files=1' : ''} ;;\n`,
  );
  const values = valueOptions(program).map(
    ({ flags, choices, takesFile }) =>
      `    ${flags.join('|')}) list=(${choices.join(' ')}); files=${takesFile ? 1 : ''} ;;\n`,
  );
  return `#compdef ${name}
# zsh completion for ${name}: ${name} completion zsh > /usr/local/share/zsh/site-functions/_${name}
_${name}() {
  local at='' files='' word
  local -a list
  for word in "\${(@)words[2,CURRENT-1]}"; do
    case "$at $word" in
${steps.join('')}    esac
  done
  case "$at" in
${cases.join('')}  esac
  case "\${words[CURRENT-1]}" in
${values.join('')}  esac
  compadd -- $list
  if [[ -n "$files" ]]; then _files; fi
}
if [ "$funcstack[1]" = "_${name}" ]; then _${name} "$@"; else compdef _${name} ${name}; fi
`;
}

/**
 * The pages of README.md and docs/, and their fenced blocks, by what the first word behind the fence says:
 *
 *   console         a session that test/netns/docs.test.ts plays: `HOST# command`, and below it what must be printed, where `…` stands
 *                   for anything, and a line of its own for any lines. Without lines below it the command must succeed.
 *   toml, conf, …   the content of a file, which stands where it says so (`toml /etc/nat64d/nat64d.toml`)
 *   sh              commands alone. Those of RUN are played as well, and must succeed; what can be checked of the others without running
 *                   them is by test/unit/docs.test.ts
 *   screenshot      what `npm run screenshots` has put there
 *   text, nothing   pictures and formats, no commands
 *
 * What a page does behind the reader's back is in a comment: `<!-- play`, lines as in a session, `-->`, where `^C PROGRAM` ends what runs in the
 * foreground; `<!-- lab NAME -->` chooses
 * where the page is played.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

export interface Block {
  readonly kind: string;
  /** Absolute, and on which host: of what stands in a file. */
  readonly path: string | null;
  readonly text: string;
  /** From 1, of the fence. */
  readonly line: number;
}

/** Lines that a host is told, and what they print. */
export interface Step {
  readonly host: string;
  readonly command: string;
  readonly expected: readonly string[];
  readonly line: number;
}

export interface Page {
  /** Relative to the root of the project. */
  readonly file: string;
  readonly text: string;
  readonly lab: string | null;
  /** With those in comments, whose kind is `play`. */
  readonly blocks: readonly Block[];
}

/** Programs of `sh` blocks that are run, and on which host. */
const RUN: Readonly<Record<string, string>> = {
  dig: 'client',
  install: 'gateway',
  nat64ctl: 'gateway',
  nat64d: 'gateway',
  'rc-update': 'gateway',
  totd: 'gateway',
};

/** What goes on until somebody ends it, and how somebody does. */
const ENDED: readonly (readonly [RegExp, (command: string) => string])[] = [
  [/^nat64ctl top$/, (command) => `(sleep 1; echo q) | script -qec '${command}' /dev/null`],
  [
    /^nat64ctl capture -w \S+ /,
    (command) =>
      `${command} & until [ -s ${command.split(' ')[3]} ]; do sleep 0.1; done; kill -INT $! && wait $!`,
  ],
];

/** A line of a `sh` block without its comment: where it is run, and how. Null: it is only checked. */
export function runnable(line: string): { host: string; command: string } | null {
  const command = commandOf(line);
  const host = RUN[command.split(' ')[0] ?? ''];
  if (host === undefined) return null;
  const [, end] = ENDED.find(([pattern]) => pattern.test(command)) ?? [];
  // Who asks 127.0.0.1 is the machine that the page is about.
  return { host: command.includes('@127.') ? 'gateway' : host, command: end?.(command) ?? command };
}

/** A line of a `sh` block without its comment. */
export const commandOf = (line: string) => line.replace(/\s+#.*$/, '').trim();

const PROMPT = /^([a-z][a-z0-9]*)[#$] (.*)$/;

export function pages(): Page[] {
  const docs = readdirSync(join(ROOT, 'docs')).filter((name) => name.endsWith('.md'));
  return ['README.md', ...docs.sort().map((name) => join('docs', name))].map(readPage);
}

export function readPage(file: string): Page {
  const text = readFileSync(join(ROOT, file), 'utf8');
  return { file, text, lab: /^<!-- lab (\S+) -->$/m.exec(text)?.[1] ?? null, blocks: blocksOf(text) };
}

/** Throws where a fence has no end. */
export function blocksOf(text: string): Block[] {
  const blocks: Block[] = [];
  let open: { kind: string; path: string | null; end: string; lines: string[]; line: number } | undefined;
  for (const [index, line] of text.split('\n').entries()) {
    if (open !== undefined) {
      if (line !== open.end) {
        open.lines.push(line);
        continue;
      }
      const { kind, path, lines } = open;
      blocks.push({ kind, path, text: lines.map((one) => `${one}\n`).join(''), line: open.line });
      open = undefined;
    } else if (line === '<!-- play') {
      open = { kind: 'play', path: null, end: '-->', lines: [], line: index + 1 };
    } else if (line.startsWith('```')) {
      const [kind = '', path = null] = line.slice(3).split(' ');
      open = { kind, path, end: '```', lines: [], line: index + 1 };
    }
  }
  if (open !== undefined) throw new Error(`line ${open.line}: a block without an end`);
  return blocks;
}

/** What is played of a block: a session, or of commands alone those that can be. */
export function playedSteps(block: Block): Step[] {
  if (block.kind === 'console' || block.kind === 'play') return stepsOf(block);
  if (block.kind !== 'sh') return [];
  return block.text
    .trimEnd()
    .split('\n')
    .flatMap((line, index) => {
      const run = runnable(line);
      return run === null ? [] : [{ ...run, expected: [], line: block.line + 1 + index }];
    });
}

/** The commands of a session. Throws where it does not begin with one. */
export function stepsOf(block: Block): Step[] {
  const steps: { host: string; command: string; expected: string[]; line: number }[] = [];
  for (const [index, line] of block.text.trimEnd().split('\n').entries()) {
    const [, host, command = ''] = PROMPT.exec(line) ?? [];
    const last = steps.at(-1);
    if (host !== undefined) steps.push({ host, command, expected: [], line: block.line + 1 + index });
    else if (last === undefined)
      throw new Error(`line ${block.line + 1}: a session begins with HOST# COMMAND`);
    else if (last.expected.length === 0 && last.command.endsWith('\\'))
      last.command = `${last.command.slice(0, -1).trimEnd()} ${line.trim()}`;
    else last.expected.push(line);
  }
  return steps;
}

/** Whether a text is what a page promises, whatever the number of blanks. */
export function matches(expected: readonly string[], text: string): boolean {
  const plain = (line: string) => line.trim().replace(/\s+/g, ' ');
  const pattern = expected
    .map(plain)
    .map((line) =>
      line === '…'
        ? '(?:.*\n)*?'
        : `${line
            .split('…')
            .map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
            .join('.*')}\n`,
    )
    .join('');
  const lines = text.split('\n').map(plain);
  while (lines.at(-1) === '') lines.pop();
  return new RegExp(`^${pattern}$`).test(lines.map((line) => `${line}\n`).join(''));
}

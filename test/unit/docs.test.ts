/** README.md and docs/: every block is of a kind that is tested, files have no mistakes, commands exist, links lead somewhere. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { after, test } from 'node:test';
import { buildProgram } from '#nat64d/cli/ctl/program.js';
import { parseConfig } from '#nat64d/control/config/index.js';
import { keysAt, TABLES } from '#nat64d/control/config/schema.js';
import { parseTayga } from '#nat64d/control/config/tayga.js';
import { parseTotd, withTotd } from '#nat64d/control/config/totd.js';
import { makeCertificate } from '../helpers/certificate.js';
import {
  type Block,
  blocksOf,
  commandOf,
  matches,
  pages,
  ROOT,
  runnable,
  stepsOf,
} from '../helpers/documents.js';

const all = pages();
const blocks = all.flatMap(({ file, blocks: inPage }) => inPage.map((block) => ({ ...block, file })));
const of = (kind: string) => blocks.filter((block) => block.kind === kind);
const where = ({ file, line }: { file: string; line: number }) => `${file}:${line}`;

const SCREENSHOTS = readFileSync(join(ROOT, 'bench/screenshots.ts'), 'utf8');
/** In the place of a file of certificates that a page names. */
const CA_FILE = join(mkdtempSync(join(tmpdir(), 'nat64d-docs-')), 'ca.pem');
writeFileSync(CA_FILE, makeCertificate(['test']).cert);
after(() => rmSync(dirname(CA_FILE), { recursive: true }));

/** What a page calls a file, and what reads it. */
const CHECKS: Readonly<Record<string, (block: Block) => void>> = {
  toml: ({ text }) =>
    // The user that a page has its reader make is not there.
    assert.deepEqual(
      parseConfig(
        text
          .replace('/etc/nat64d/ca.pem', CA_FILE)
          .replace('user = "nat64d"', 'user = "nobody"')
          .replace('group = "nat64d"', 'group = "nogroup"'),
        'f',
      ).warnings,
      [],
    ),
  conf: ({ text }) => {
    if (/^tun-device /m.test(text)) assert.deepEqual(parseTayga(text, 'f').warnings, []);
    else assert.deepEqual(withTotd(parseConfig('', 'g'), parseTotd(text, 'f')).warnings, []);
  },
  sh: ({ text }) => {
    for (const line of text.trimEnd().split('\n')) checkCommand(commandOf(line));
  },
  // Played with the page that they are on, which fails where they are wrong.
  console: (block) => assert.ok(stepsOf(block).length > 0),
  play: (block) => assert.ok(stepsOf(block).length > 0),
  nft: ({ path }) => assert.ok(path?.startsWith('/')),
  ini: ({ text }) => assert.match(text, /^\[\w+\]\n(\w+=.+\n|\n|\[\w+\]\n)+$/),
  screenshot: ({ path }) => assert.match(SCREENSHOTS, new RegExp(`print\\(lab, '${path}'`)),
  text: noCommands,
  '': noCommands,
};

function noCommands({ text }: Block): void {
  for (const line of text.split('\n')) {
    const [word = ''] = line.replace(/^\w+[#$] /, '').split(' ');
    assert.ok(
      !Object.hasOwn(COMMANDS, word),
      `'${line}' is a command: make the block one of 'console' or 'sh'`,
    );
  }
}

/** Commands of `sh` blocks and of the text, and what can be checked of them without running them. */
const COMMANDS: Readonly<Record<string, (words: readonly string[]) => void>> = {
  npm: ([verb, name, ...rest]) => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    const script = verb === 'run' ? name : verb;
    if (script === 'install' || script === 'pack') return;
    assert.ok(script !== undefined && script in scripts, `there is no script '${script}'`);
    const program = PROGRAMS[script];
    if (program === undefined || rest[0] !== '--') return;
    const [, first = '', ...others] = rest;
    // A benchmark has a help of its own, and one that is not there has none.
    const isCommand = script === 'bench' && /^[a-z]/.test(first);
    const words = isCommand ? [first, '--help'] : ['--help'];
    const help = helpOf([program, ...words].join(' '), join('dist-test', program), ...words);
    for (const word of isCommand ? others : rest.slice(1))
      if (/^(-|[a-z])/.test(word))
        assert.match(help, new RegExp(`(^|[ ,[|])${word}\\b`, 'm'), `npm run ${script}: ${word}`);
  },
  nat64d: (words) => optionsExist('nat64d', words[0] === 'import' ? ['import'] : [], '--help', words),
  tayga: (words) => optionsExist('tayga', [], '--help', words),
  totd: (words) => optionsExist('totd', [], '-h', words),
  nat64ctl: ctlCommandExists,
  systemctl: ([verb, ...units]) => {
    assert.match(verb ?? '', /^(daemon-reload|enable|disable|edit|start|stop|restart|reload|status)$/);
    for (const unit of units.filter((one) => !one.startsWith('-') && !one.startsWith('systemd-')))
      assert.ok(existsSync(join(ROOT, 'config/systemd', `${unit}.service`)), `there is no unit '${unit}'`);
  },
  'rc-update': ([, service]) => assert.ok(existsSync(join(ROOT, 'config/openrc', service ?? '')), service),
  install: (words) => {
    for (const path of words.filter((one) => one.startsWith('config/')))
      assert.ok(existsSync(join(ROOT, path)), `there is no ${path}`);
  },
  // Of others, and not for a namespace; docs/README.md says so.
  journalctl: () => {},
  rdisc6: () => {},
  sysctl: () => {},
  tcpdump: () => {},
};

/** Programs behind `npm run`, whose help names all that they take. */
const PROGRAMS: Readonly<Record<string, string>> = { bench: 'bench/main.js', fuzz: 'test/fuzz/main.js' };

function checkCommand(line: string): void {
  if (runnable(line)?.command.startsWith('dig ')) return;
  const [word = '', ...words] = line.trim().split(/\s+/);
  const check = Object.hasOwn(COMMANDS, word) ? COMMANDS[word] : undefined;
  assert.ok(check !== undefined, `'${line}': nothing checks '${word}'`);
  check(words);
}

const helps = new Map<string, string>();

function helpOf(key: string, program: string, ...args: string[]): string {
  const known = helps.get(key);
  if (known !== undefined) return known;
  const help = execFileSync(process.execPath, [join(ROOT, program), ...args], { encoding: 'utf8' });
  helps.set(key, help);
  return help;
}

function optionsExist(program: string, command: string[], flag: string, words: readonly string[]): void {
  const help = helpOf([program, ...command].join(' '), `dist/bin/${program}.js`, ...command, flag);
  for (const word of words.filter((one) => one.startsWith('-')))
    assert.match(help, new RegExp(`(^|[ ,])${word.replace(/=.*/, '')}\\b`, 'm'), `${program}: ${word}`);
}

function ctlCommandExists(words: readonly string[]): void {
  let command = buildProgram({ out: () => {}, err: () => {} });
  const options = [...command.options];
  for (const word of words) {
    if (word.startsWith('-')) {
      const isKnown = options.some(({ short, long }) => word === short || word === long);
      assert.ok(isKnown || word === '--help', `nat64ctl ${words.join(' ')}: ${word}`);
      continue;
    }
    const next = command.commands.find((one) => one.name() === word);
    if (next === undefined) continue;
    command = next;
    options.push(...next.options);
  }
  assert.ok(words[0]?.startsWith('-') || command.parent !== null, `there is no nat64ctl ${words[0]}`);
}

for (const block of blocks) {
  test(`${where(block)}: ${block.kind || 'text'}`, () => {
    const check = Object.hasOwn(CHECKS, block.kind) ? CHECKS[block.kind] : undefined;
    assert.ok(check !== undefined, `nothing checks blocks of the kind '${block.kind}'`);
    check(block);
  });
}

test('each kind of block is there', () => {
  for (const kind of ['toml', 'conf', 'sh', 'console']) assert.ok(of(kind).length > 0, kind);
});

test('docs/README.md names the commands of blocks that are not run, and no other', () => {
  const words = of('sh').flatMap(({ text }) =>
    text
      .trimEnd()
      .split('\n')
      .filter((line) => runnable(line) === null),
  );
  const index = all.find(({ file }) => file === 'docs/README.md')?.text ?? '';
  const [, list = ''] = /Not run, because.*?, are those of (.*?):/s.exec(index) ?? [];
  const named = [...list.matchAll(/`([a-z0-9-]+)`/g)].map(([, name]) => name);
  assert.deepEqual(named.sort(), [...new Set(words.map((line) => line.split(' ')[0]))].sort());
});

test('commands in the text exist', () => {
  let count = 0;
  for (const { file, text } of all) {
    for (const [, line = ''] of text.replace(/^```.*?^```$/gms, '').matchAll(/`([^`\n]+)`/g)) {
      const [word = ''] = line.split(' ');
      if (!/^(npm|nat64d|nat64ctl|systemctl)$/.test(word) || !line.includes(' ')) continue;
      count++;
      assert.doesNotThrow(() => checkCommand(line), `${file}: ${line}`);
    }
  }
  assert.ok(count > 20);
});

test('keys that the text names are keys', () => {
  const known = new Set(TABLES.flatMap((table) => keysAt(table === '' ? [] : table.split('.'))));
  for (const { file, text } of all.filter((page) => page.file !== 'docs/compliance.md'))
    for (const [, key = ''] of text.matchAll(/`([a-z0-9-]+) = /g))
      assert.ok(known.has(key) || key.startsWith('net.'), `${file}: ${key}`);
});

/** As GitHub makes them of headings. */
function anchorsOf(text: string): Set<string> {
  const headings = text.replace(/^```.*?^```$/gms, '').matchAll(/^#+ (.*)$/gm);
  return new Set(
    [...headings].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

test('links lead to files and headings that are there', () => {
  for (const { file, text } of all) {
    for (const [, target = ''] of text.matchAll(/(?:\]\(|src(?:set)?=")([^)"\s]+)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [path = '', anchor] = target.split('#');
      const full = path === '' ? join(ROOT, file) : join(ROOT, dirname(file), path);
      assert.ok(existsSync(full), `${file}: ${target}`);
      if (anchor === undefined || statSync(full).isDirectory()) continue;
      assert.ok(anchorsOf(readFileSync(full, 'utf8')).has(anchor), `${file}: ${target}`);
    }
  }
});

test('docs/README.md leads to every page', () => {
  const index = all.find(({ file }) => file === 'docs/README.md');
  for (const { file } of all.filter((page) => page !== index && page.file !== 'README.md'))
    assert.ok(index?.text.includes(`(${relative('docs', file)})`), file);
});

test('what is expected of a session is compared, but for what it leaves open', () => {
  assert.ok(matches(['a … d', '…', 'e'], 'a  b c d\nx\ny\ne\n\n'));
  assert.ok(matches(['a', '…'], 'a\n'));
  assert.ok(!matches(['a'], 'a\nb\n'));
  assert.ok(!matches(['a.c'], 'abc\n'));
  const [block] = blocksOf('x\n```console\nhost# one \\\n  two\nout\nhost$ three\n```\n');
  assert.deepEqual(stepsOf(block as Block), [
    { host: 'host', command: 'one two', expected: ['out'], line: 3 },
    { host: 'host', command: 'three', expected: [], line: 6 },
  ]);
  assert.throws(() => blocksOf('```\nnever ended\n'), /line 1/);
});

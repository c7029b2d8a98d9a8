/** docs/dns64.md: what it tells people to write is understood. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseConfig } from '#nat64d/control/config/index.js';
import { keysAt } from '#nat64d/control/config/schema.js';
import { parseTotd, withTotd } from '#nat64d/control/config/totd.js';

const path = (name: string) => fileURLToPath(new URL(`../../../${name}`, import.meta.url));
const document = readFileSync(path('docs/dns64.md'), 'utf8');

const snippets = [...document.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(([, kind = '', text = ''], i) => ({
  kind,
  text,
  name: `snippet ${i + 1} (${kind}): ${text.split('\n').find((line) => !line.startsWith('[')) ?? ''}`,
}));
const of = (kind: string) => snippets.filter((snippet) => snippet.kind === kind);

test('each kind of snippet is there', () => {
  for (const kind of ['toml', 'conf', 'sh']) assert.ok(of(kind).length > 0, kind);
});

for (const { name, text } of of('toml')) {
  test(name, () => assert.deepEqual(parseConfig(text, 'f').warnings, []));
}

for (const { name, text } of of('conf')) {
  test(name, () => assert.deepEqual(withTotd(parseConfig('', 'g'), parseTotd(text, 'f')).warnings, []));
}

for (const program of ['totd', 'nat64d']) {
  test(`commands of ${program} have only options that it has`, () => {
    const lines = of('sh').flatMap(({ text }) =>
      text.split('\n').filter((line) => line.startsWith(`${program} `)),
    );
    assert.ok(lines.length > 0);
    for (const line of lines) {
      const words = line.split(' ').slice(1);
      const command = words[0] === 'import' ? ['import'] : [];
      const help = execFileSync(
        process.execPath,
        [path(`dist/cli/${program}.js`), ...command, program === 'totd' ? '-h' : '--help'],
        {
          encoding: 'utf8',
        },
      );
      for (const word of words.filter((one) => one.startsWith('-')))
        assert.match(help, new RegExp(`(^|[ ,])${word}\\b`, 'm'), line);
    }
  });
}

test('keys that the text names are keys', () => {
  const known = [
    ...keysAt([]),
    ...keysAt(['dns64']),
    ...keysAt(['dns64', 'pref64']),
    ...keysAt(['dns64', 'scoped']),
  ];
  for (const [, key] of document.matchAll(/`([a-z0-9-]+) = /g)) assert.ok(known.includes(key ?? ''), key);
});
